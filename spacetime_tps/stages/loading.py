"""The paths of a finished run, for other packages."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from openmm import app

from spacetime_tps.errors import DamagedFileError, UserError
from spacetime_tps.export.transition_path import TransitionPath
from spacetime_tps.files import read_arrays, read_json
from spacetime_tps.paths.ensemble import PathEnsemble
from spacetime_tps.shooting.path import unpack
from spacetime_tps.stages.context import frame_interval
from spacetime_tps.stages.export import NATURE_OF_PATHS
from spacetime_tps.stages.folder import RunFolder, check_files
from spacetime_tps.stages.shoot import NATURE_OF_SAMPLES
from spacetime_tps.stages.shot_files import ENSEMBLE_PATHS, NATURE_OF_EXPORTED_PATHS, whole_frames
from spacetime_tps.systems import System, load_system
from spacetime_tps.topology import without_solvent

_KINDS = ("annealed", "ensemble", "sampled")


def load_paths(out: Path | str, kind: str = "annealed") -> list[TransitionPath]:
    """Paths of a run folder, in the order in which they are numbered there, without water and ions.

    Args:
        out: the run folder.
        kind: ``annealed``, in the direction in which each ran; ``ensemble``: unguided ones by the stage
            ``transitions``, those of ``ensemble/path_*.dcd``, each once, however often it was drawn; or ``sampled``:
            all that the chains of ``shoot`` kept.

    Raises:
        UserError: the folder holds no such paths, or they are not those of a molecule.
    """
    folder = RunFolder(Path(out))
    config = folder.config()
    folder.check()
    system = load_system(config, folder.path)
    if system.molecule is None:
        raise UserError(f"{out} holds paths of an analytic potential: points, which need no trajectory file.")
    if kind not in _KINDS:
        raise UserError(f"Paths are 'annealed', 'ensemble' or 'sampled', not {kind!r}.")
    topology, _ = without_solvent(system.molecule.topology, system.structures[0])
    if kind == "annealed":
        return _annealed(folder, system, topology)
    return _of_ensemble(folder, system, topology) if kind == "ensemble" else _sampled(folder, system, topology)


def _annealed(folder: RunFolder, system: System, topology: app.Topology) -> list[TransitionPath]:
    assert system.molecule is not None
    if not folder.finished("paths"):
        raise UserError(f"{folder.path} has no annealed paths yet; run its stages up to 'paths' first.")
    paths = PathEnsemble.load(folder / "paths.npz")
    inside = system.in_states(paths.variables)
    return [
        TransitionPath(topology, frames[:, system.molecule.solute], paths.interval, inside[k], NATURE_OF_PATHS)
        for k, frames in enumerate(paths.frames)
    ]


def _of_ensemble(folder: RunFolder, system: System, topology: app.Topology) -> list[TransitionPath]:
    assert system.molecule is not None
    if not folder.finished("transitions"):
        raise UserError(f"{folder.path} has no unguided paths yet; run its stages up to 'transitions' first.")
    file = folder / ENSEMBLE_PATHS
    if not file.is_file():
        summary = folder.record("transitions")["summary"]
        reason = summary.get("no_rates_because") or "transitions.shots is 0"
        raise UserError(f"{folder.path} has no unguided paths: {reason}.")
    interval = frame_interval(system.config, system.config.transitions.frame_every)
    return [
        TransitionPath(
            topology,
            whole_frames(system.molecule, path.positions)[:, system.molecule.solute],
            interval,
            system.in_states(path.variables),
            NATURE_OF_EXPORTED_PATHS,
        )
        for path in unpack(read_arrays(file))
    ]


def _sampled(folder: RunFolder, system: System, topology: app.Topology) -> list[TransitionPath]:
    assert system.molecule is not None
    summary, atoms = folder / "shooting/summary.json", system.molecule.solute
    if not summary.is_file():
        raise UserError(f"{folder.path} has no sampled paths yet; run 'shoot' first.")
    try:
        sampled = read_json(summary)
        files, interval = dict(sampled["files"]), float(sampled["frame_interval"])
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedFileError(f"{summary} is damaged; run 'shoot' again with --overwrite.") from error
    check_files(summary.parent, files, "shoot")
    return [
        TransitionPath(
            topology,
            path.positions[:, atoms],
            interval,
            system.in_states(path.variables),
            NATURE_OF_SAMPLES,
            np.where(path.backward[:, None, None], -1.0, 1.0) * path.velocities[:, atoms],
        )
        for path in unpack(read_arrays(folder / "shooting/paths.npz"))
    ]
