"""The run folder: who may write in it, which stages are finished, and what they said."""

from __future__ import annotations

import fcntl
import glob
import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from spacetime_tps.config import MoleculeConfig, RunConfig, TrajectoriesConfig, dump, validate
from spacetime_tps.errors import UserError
from spacetime_tps.files import TEMPORARY_PREFIX, plain, read_json, replacing, write_json, write_text
from spacetime_tps.settings import apply_override, read_yaml

STAGES = ("sample", "train", "geodesic", "refine", "paths", "windows", "export")
_LOCK = ".lock"
_OWN = {
    "config.yaml", "inputs", "stages", "samples.npz", "transitions.npz", "torsions.npz", "representation.npz",
    "denoiser.pt", "geodesic.npz", "surface.npz", "paths.npz", "windows.npz", "topology.pdb", "paths", "paths.csv",
    "colvar.csv", "summary.json", "profiles.csv", "plumed.dat", "report.html", "refined", "refining", "refinement.npz",
    "figures", "shooting", "committor", "compare", "tensorboard", _LOCK,
}  # fmt: skip
_DIGEST = "sha256"
_LEFT_BY_AN_EARLY_END = {"inputs"}
_FIRST_USED = {
    "denoiser": "train",
    "geodesic": "geodesic",
    "refine": "refine",
    "paths": "paths",
    "windows": "windows",
    "tps": "export",
    "shooting": "export",
    "committor": "export",
    "comparison": "export",
    "hardware": "export",
    "reporter": "export",
}
"""The stage that reads a section of the settings first; what is not named here, sampling has read."""
_OUTPUT = {
    "sample": "samples.npz",
    "train": "denoiser.pt",
    "geodesic": "geodesic.npz",
    "refine": "refinement.npz",
    "paths": "paths.npz",
    "windows": "windows.npz",
    "export": "paths.csv",
}
"""The file of each stage that later ones need."""
_MORE_OUTPUT = {
    "sample": ("transitions.npz", "torsions.npz", "representation.npz"),
    "geodesic": ("surface.npz",),
    "export": (
        "colvar.csv",
        "profiles.csv",
        "plumed.dat",
        "report.html",
        "topology.pdb",
        "paths/path_*.dcd",
        "figures/*.png",
    ),
}


def stages_of(config: RunConfig) -> tuple[str, ...]:
    """The stages that a configuration asks for, in their order."""
    return tuple(name for name in STAGES if name != "refine" or config.refine.rounds)


class RunFolder:
    """Files of one run. Every file is written to a temporary name and renamed; ``summary.json`` comes last."""

    def __init__(self, path: Path):
        self.path = path
        self._lock: IO[str] | None = None

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    # --- opening ---------------------------------------------------------------------------------

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for writing; another process that tries is told so.

        Raises:
            UserError: the folder cannot be written or is in use.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = (self.path / _LOCK).open("a")
        except OSError as error:
            raise UserError(
                f"The output folder {self.path} cannot be written ({error.strerror}); choose another with -o."
            ) from error
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise UserError(f"The run folder {self.path} is in use by another process; wait for it.") from error
            for stale in self.path.rglob(f"{TEMPORARY_PREFIX}*"):
                stale.unlink(missing_ok=True)
            try:
                yield
            finally:
                if not (self / "config.yaml").exists():  # refused: leave no trace in a folder of somebody else
                    (self / _LOCK).unlink(missing_ok=True)

    def begin(self, config: RunConfig, source: Path, resume: bool, overwrite: bool) -> RunConfig:
        """Make the folder ready for ``config`` and return the configuration as stored in it.

        Args:
            config: file names in it are relative to ``source``.
            source: folder of the system file.
            resume: go on where an earlier run of the same configuration and seed stopped.
            overwrite: delete an earlier run first.

        Raises:
            UserError: the folder holds something else, or another configuration or seed is to be resumed.
        """
        present = {entry.name for entry in self.path.iterdir()} - {_LOCK}
        foreign = sorted(present - _OWN)
        if foreign:
            raise UserError(
                f"The output folder {self.path} holds files that no run wrote ({foreign[0]}); choose another with -o."
            )
        if not (self / "config.yaml").is_file() and not present <= _LEFT_BY_AN_EARLY_END:
            raise UserError(
                f"The output folder {self.path} holds files but no config.yaml, so no run wrote it; "
                "choose another with -o."
            )
        if present and not resume and not overwrite:
            raise UserError(f"The output folder {self.path} is not empty; use --resume to go on or --overwrite.")
        if overwrite and (self / "config.yaml").is_file():
            self.config()  # files of another program may be called so, too
        stored = _with_inputs(config, source)
        if overwrite:
            self._check_spares(stored)
        inputs = {
            copy: (source / original).read_bytes()
            for original, copy in zip(_input_files(config, source), _copies(config, source), strict=True)
        }
        if overwrite:
            self._clear(present)
        if (self / "config.yaml").exists():
            self._check_same(stored)
            return self.config()
        for copy, content in inputs.items():
            with replacing(self / copy) as temporary:
                temporary.write_bytes(content)
        write_text(self / "config.yaml", dump(stored))
        return self.config()

    def _check_spares(self, config: RunConfig) -> None:
        """A run that is to be deleted must not hold what the new one reads."""
        if isinstance(config.sampling, TrajectoriesConfig):
            for file in (*config.sampling.files, *config.sampling.weights):
                if Path(os.path.normpath(file)).is_relative_to(self.path.resolve()):
                    raise UserError(
                        f"'sampling' reads {file}, which --overwrite would delete with {self.path}; "
                        "choose another folder with -o."
                    )

    def _clear(self, names: set[str]) -> None:
        for name in ["summary.json", "config.yaml", *sorted(names)]:
            path = self / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def _check_same(self, wanted: RunConfig) -> None:
        stored = self.config()
        if stored.seed != wanted.seed:
            raise UserError(
                f"The run in {self.path} has seed {stored.seed}, not {wanted.seed}; give the same seed to --resume."
            )
        ours, theirs = wanted.model_dump(mode="json"), stored.model_dump(mode="json")
        for settings in (ours, theirs):
            settings["hardware"].pop("workers")
        different = _first_difference(theirs, ours)
        if different:
            raise UserError(
                f"The run in {self.path} has another configuration ({different}); "
                "--resume goes on with the same one only."
            )

    def config(self) -> RunConfig:
        """The configuration stored in the folder.

        Raises:
            UserError: this is no run folder.
        """
        file = self / "config.yaml"
        if not file.is_file():
            raise UserError(f"{self.path} is no run folder: it has no config.yaml; start one with 'spacetime-tps run'.")
        return validate(read_yaml(file), str(file))

    def changed(self, stage: str, assignments: Sequence[str]) -> RunConfig:
        """The stored configuration with ``KEY=VALUE`` assignments to settings of a stage or of later ones.

        Raises:
            UserError: a setting is unfit, or an earlier stage has used it.
        """
        stored = self.config()
        if not assignments:
            return stored
        settings = read_yaml(self / "config.yaml")
        for assignment in assignments:
            apply_override(settings, assignment)
        wanted = validate(settings, f"{self / 'config.yaml'} with --set")
        if wanted.hardware.platform != stored.hardware.platform:
            raise UserError(f"{self.path} has chosen its OpenMM platform already; start a new run to change it.")
        for section in type(stored).model_fields:
            if getattr(wanted, section) == getattr(stored, section):
                continue
            first = _FIRST_USED.get(section, STAGES[0])
            if STAGES.index(first) < STAGES.index(stage):
                advice = "start a new run to change them"
                if first != STAGES[0]:
                    advice = f"change them with 'spacetime-tps {first} {self.path} --overwrite --set ...'"
                raise UserError(
                    f"The settings under {section!r} were used by the stage {first!r} of {self.path}, which comes "
                    f"before {stage!r}; {advice}."
                )
        return wanted

    # --- stages ----------------------------------------------------------------------------------

    def finished(self, stage: str) -> bool:
        """Whether a stage and all before it that are asked for are done and what they wrote is still there."""
        before = [name for name in stages_of(self.config()) if STAGES.index(name) < STAGES.index(stage)]
        return all(
            (self / f"stages/{name}.json").is_file() and (self / _OUTPUT[name]).is_file() for name in (*before, stage)
        )

    def reached(self, stage: str) -> bool:
        """Whether a stage or one behind it, which would be dropped, has left its record."""
        return any((self / f"stages/{name}.json").is_file() for name in STAGES[STAGES.index(stage) :])

    def record(self, stage: str) -> dict[str, Any]:
        """What a finished stage left: ``summary``, ``force_evaluations``, ``wall_seconds``, ``timings``.

        Raises:
            UserError: the record is missing, or it is not as the stage left it.
        """
        file = self / f"stages/{stage}.json"
        try:
            record = read_json(file)
        except UserError:
            record = None
        if not isinstance(record, dict) or record.pop(_DIGEST, None) != _digest(record):
            raise UserError(f"{file} is not as the stage left it; run '{stage}' again with --overwrite.")
        return record

    def finish(self, stage: str, record: dict[str, Any]) -> None:
        """Mark a stage as done."""
        record = plain(record)
        write_json(self / f"stages/{stage}.json", {**record, _DIGEST: _digest(record)})

    def paths_digest(self) -> str | None:
        """Of what the stage ``paths`` said of its result: tells results that start from paths whether they still do."""
        file = self / "stages/paths.json"
        if not file.is_file():
            return None
        return _digest(self.record("paths")["summary"])[:16]

    def make_room(self, stage: str, config: RunConfig) -> None:
        """Drop what a stage and all after it left, and store the configuration they are to have.

        The records go first: killed on the way, the stage simply is not finished.
        """
        (self / "summary.json").unlink(missing_ok=True)
        dropped = STAGES[STAGES.index(stage) :]
        for name in reversed(dropped):
            (self / f"stages/{name}.json").unlink(missing_ok=True)
        if config != self.config():
            write_text(self / "config.yaml", dump(config))
        if "refine" in dropped:
            shutil.rmtree(self / "refined", ignore_errors=True)
            if stage != "refine":
                shutil.rmtree(self / "refining", ignore_errors=True)
        for file in (file for name in dropped[1:] for file in (_OUTPUT[name], *_MORE_OUTPUT.get(name, ()))):
            for path in self.path.glob(file):
                path.unlink()


def _digest(content: Any) -> str:
    """SHA-256 of what can be written as JSON."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _input_files(config: RunConfig, source: Path) -> list[str]:
    """Files that a run needs, relative to the folder of the system file; those of OpenMM itself lie elsewhere."""
    files = [state.pdb for state in (config.states.a, config.states.b)] + [config.reference]
    used = [given.pdb for given in config.collective_variables.values() if not isinstance(given, list)]
    known = {os.path.normpath(source / file) for file in files if file is not None}
    for file in used:
        path = os.path.normpath(source / file)
        files += [] if path in known else [file]
        known.add(path)
    if isinstance(config.system, MoleculeConfig):
        files += [config.system.prmtop, config.system.openmm_system]
        files += [file for file in config.system.forcefield or [] if (source / file).is_file()]
    return [file for file in files if file is not None]


def _copies(config: RunConfig, source: Path) -> list[str]:
    return [_copy_of(file) for file in _input_files(config, source)]


def _copy_of(file: str) -> str:
    """Where an input file lies in a run folder."""
    return f"inputs/{os.path.basename(file)}"


def _with_inputs(config: RunConfig, source: Path) -> RunConfig:
    """The configuration with its files under ``inputs/``, so that a run folder can be moved.

    Trajectories stay where they are: they may be large, and only sampling reads them.
    """
    states = {}
    for key, state in (("a", config.states.a), ("b", config.states.b)):
        pdb = _copy_of(state.pdb) if state.pdb else None
        states[key] = state.model_copy(update={"pdb": pdb})
    copies = Counter(_copies(config, source))
    if twice := [copy for copy, count in copies.items() if count > 1]:
        raise UserError(f"Two input files are called {os.path.basename(twice[0])}; rename one of them.")
    reference = _copy_of(config.reference) if config.reference else None
    variables = {
        name: given if isinstance(given, list) else given.model_copy(update={"pdb": _copy_of(given.pdb)})
        for name, given in config.collective_variables.items()
    }
    changes: dict[str, Any] = {
        "collective_variables": variables,
        "states": config.states.model_copy(update=states),
        "reference": reference,
    }
    if isinstance(config.system, MoleculeConfig):
        described: dict[str, Any] = {
            key: _copy_of(file)
            for key in ("prmtop", "openmm_system")
            if (file := getattr(config.system, key)) is not None
        }
        own = dict(zip(_input_files(config, source), _copies(config, source), strict=True))
        if config.system.forcefield is not None:
            described["forcefield"] = [own.get(file, file) for file in config.system.forcefield]
        changes["system"] = config.system.model_copy(update=described)
    if isinstance(config.sampling, TrajectoriesConfig):
        files = {key: [_absolute(source, f) for f in getattr(config.sampling, key)] for key in ("files", "weights")}
        changes["sampling"] = config.sampling.model_copy(update=files)
    return config.model_copy(update=changes)


def _absolute(source: Path, pattern: str) -> str:
    """A pattern of file names from the folder of the system file, whose own name is none."""
    return pattern if os.path.isabs(pattern) else os.path.join(glob.escape(str(source.resolve())), pattern)


def _first_difference(stored: Any, wanted: Any, place: str = "") -> str:
    if isinstance(stored, dict) and isinstance(wanted, dict):
        for key in sorted({*stored, *wanted}):
            found = _first_difference(stored.get(key), wanted.get(key), f"{place}.{key}" if place else key)
            if found:
                return found
        return ""
    return "" if stored == wanted else f"{place} is {stored!r} there and {wanted!r} here"
