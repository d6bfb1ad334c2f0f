"""A run from Python: the stages of the command line, one method each, in a run folder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from spacetime_tps.config import Preset
from spacetime_tps.errors import UserError
from spacetime_tps.export.transition_path import TransitionPath
from spacetime_tps.files import read_json
from spacetime_tps.stages.chain import stages_to_run
from spacetime_tps.stages.committor import committor_in
from spacetime_tps.stages.context import Stage, check_beforehand, run_stages
from spacetime_tps.stages.export import export
from spacetime_tps.stages.folder import REPORT, STAGES, RunFolder
from spacetime_tps.stages.geodesic import geodesic
from spacetime_tps.stages.infretis import write_infretis
from spacetime_tps.stages.loading import load_paths
from spacetime_tps.stages.paths import paths
from spacetime_tps.stages.refine import refine
from spacetime_tps.stages.report import conclude, write_report
from spacetime_tps.stages.sample import sample
from spacetime_tps.stages.shoot import end_with_paths_of_the_ensemble, shoot_in
from spacetime_tps.stages.train import train
from spacetime_tps.stages.transitions import transitions
from spacetime_tps.stages.windows import windows
from spacetime_tps.systems import System, find_system_file, load_config, load_system


class Run:
    """A run folder, in which stages are run in their order; each says which one is missing before it.

    A stage that is finished is not run again, unless ``again`` is true or settings are changed; what came after it is
    dropped then.
    """

    def __init__(self, folder: Path | str):
        """A folder that ``Run.new`` or the command line began.

        Raises:
            UserError: it is not a run folder.
        """
        self.folder = RunFolder(Path(folder))
        self.folder.config()

    @classmethod
    def new(
        cls,
        system: str | Path,
        folder: Path | str,
        seed: int | None = None,
        changes: Iterable[str] = (),
        preset: Preset | None = None,
        overwrite: bool = False,
    ) -> Run:
        """Begin a run, or go on with one of the same system, seed and settings.

        Args:
            system: a name, a folder with a ``system.yaml``, or such a file.
            folder: for everything that the run writes.
            seed: of all random numbers; None: as in the file.
            changes: ``KEY=VALUE`` as after ``--set``.
            preset: ``quick`` (not for science) or ``standard``.
            overwrite: drop what an earlier run left there.

        Raises:
            UserError: there is no such system, a setting is wrong, or the folder holds something else.
        """
        file = find_system_file(str(system))
        config = load_config(file, preset, seed, _texts(changes))
        check_beforehand(config, load_system(config, file.parent))
        made = RunFolder(Path(folder))
        with made.locked():
            made.begin(config, file.parent, resume=not overwrite, overwrite=overwrite)
        return cls(folder)

    @property
    def system(self) -> System:
        """What the run works on."""
        return load_system(self.folder.config(), self.folder.path)

    @property
    def summary(self) -> dict[str, Any]:
        """``summary.json`` of a finished run.

        Raises:
            UserError: it is not there yet.
        """
        if not (self.folder / "summary.json").is_file():
            raise UserError(f"{self.folder.path} has no summary yet; run its stages up to 'export' first.")
        return dict(read_json(self.folder / "summary.json"))

    def finish(self) -> None:
        """Run every stage that is not finished yet, as ``spacetime-tps run`` does, and write the report."""
        with self.folder.locked(existing=True):
            config = self.folder.config()
            run_stages(self.folder, config, stages_to_run(config), conclude=conclude)
            if end_with_paths_of_the_ensemble(self.folder, config, lambda _: None):
                write_report(self.folder)

    def sample(self) -> None:
        """Draw Boltzmann samples."""
        self._stage("sample", sample, (), False)

    def train(self, changes: Iterable[str] = (), again: bool = False) -> None:
        """Train the denoiser."""
        self._stage("train", train, changes, again)

    def geodesic(self, changes: Iterable[str] = (), again: bool = False) -> None:
        """Find the geodesics of all channels."""
        self._stage("geodesic", geodesic, changes, again)

    def refine(self, changes: Iterable[str] = (), again: bool = False) -> None:
        """Let windows correct denoiser and geodesic, ``refine.rounds`` times at most."""
        self._stage("refine", refine, changes, again)

    def paths(self, changes: Iterable[str] = (), again: bool = False) -> None:
        """Anneal paths along the chosen geodesic."""
        self._stage("paths", paths, changes, again)

    def windows(self, changes: Iterable[str] = (), again: bool = False) -> None:
        """Check the denoiser along the geodesic by restrained simulations."""
        self._stage("windows", windows, changes, again)

    def transitions(self, changes: Iterable[str] = (), again: bool = False) -> None:
        """Shoot across the ridge: unguided transition paths and rate constants."""
        self._stage("transitions", transitions, changes, again)

    def export(self) -> None:
        """Write trajectories, tables, figures, ``summary.json`` and the report."""
        self._stage("export", export, (), False)

    def shoot(self, changes: Iterable[str] = (), overwrite: bool = False) -> None:
        """Sample the transition path ensemble by chains of shooting moves; goes on with what an earlier call began."""
        with self.folder.locked(existing=True):
            config = self.folder.changed("export", _texts(changes))
            shoot_in(self.folder, config, None, resume=not overwrite, overwrite=overwrite)

    def committor(self, changes: Iterable[str] = (), along: bool = False) -> dict[str, Any]:
        """Shoot from frames of the annealed paths, where the free energy is highest or ``along`` the curve."""
        with self.folder.locked(existing=True):
            config = self.folder.changed("export", _texts(changes))
            return committor_in(self.folder, config, None, overwrite=True, along=along)

    def report(self) -> Path:
        """Write ``report.html`` and say where."""
        with self.folder.locked(existing=True):
            write_report(self.folder)
        return self.folder / REPORT

    def transition_paths(self, kind: str = "annealed") -> list[TransitionPath]:
        """Paths for other packages, ``annealed``, ``ensemble`` or ``sampled``; see ``load_paths``."""
        return load_paths(self.folder.path, kind)

    def to_infretis(self, folder: Path | str, variable: str, interfaces: Sequence[float]) -> None:
        """Write the load folder of an infRETIS simulation from sampled paths, see ``write_infretis``."""
        write_infretis(self.folder.path, Path(folder), variable, interfaces)

    def _stage(self, name: str, stage: Stage, changes: Iterable[str], again: bool) -> None:
        changes = _texts(changes)
        again = again or bool(changes)
        with self.folder.locked(existing=True):
            config = self.folder.changed(name, changes) if changes else self.folder.config()
            run_stages(self.folder, config, {name: stage}, conclude=conclude, again=again)

    def __repr__(self) -> str:
        done = [name for name in STAGES if self.folder.finished(name)]
        return f"Run({str(self.folder.path)!r}, finished: {', '.join(done) or 'nothing'})"


def _texts(changes: Iterable[str]) -> tuple[str, ...]:
    """Settings ``KEY=VALUE`` as they are wanted: a list of them, not one."""
    found = (changes,) if isinstance(changes, str) else tuple(changes)
    if not all(isinstance(change, str) for change in found):
        raise UserError(f"changes should be texts such as 'paths.count=8', not {list(found)!r}.")
    return found
