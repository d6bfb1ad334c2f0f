"""First paths for chains of shooting moves: annealed ones, unguided ones, hot ones, or those of a given trajectory."""

from __future__ import annotations

from pathlib import Path

import mdtraj
import numpy as np

from spacetime_tps.analysis.structure import TURNED, integrity_problems
from spacetime_tps.config import ShootingConfig, ToyConfig
from spacetime_tps.dynamics import MolecularDynamics
from spacetime_tps.errors import UserError
from spacetime_tps.files import read_arrays
from spacetime_tps.inputs import ANY_BYTES, regular_file
from spacetime_tps.paths.ensemble import PathEnsemble
from spacetime_tps.progress import progress_bar
from spacetime_tps.seeds import generator, openmm_seed, torch_seed
from spacetime_tps.shooting.chains import EngineRecipe
from spacetime_tps.shooting.first import energy_problem, first_path, hot_paths, stretched, with_velocities
from spacetime_tps.shooting.path import ShotPath, unpack
from spacetime_tps.stages.context import Context
from spacetime_tps.stages.shot_files import ENSEMBLE_PATHS
from spacetime_tps.structures import check_frames
from spacetime_tps.systems import System
from spacetime_tps.trajectories import read_frames

_STREAM = "shooting"


def first_paths(context: Context, config: ShootingConfig, trajectory: Path | None) -> tuple[list[ShotPath], int, str]:
    """A first path for every chain, what they cost in force evaluations, and where they come from.

    Raises:
        UserError: there is no usable path.
    """
    system = context.system
    dynamics = context.dynamics() if system.molecule is not None else None
    recipe = EngineRecipe.of(system, dynamics, config.frame_every)
    if trajectory is not None:
        path = path_from_file(trajectory, system)
        check_first(path, system, dynamics)
        found, cost, source = [path] * config.chains, 0, str(trajectory.name)
    elif config.first == "high_temperature":
        found, cost = _from_heat(context, config, recipe)
        source = f"run at {config.temperature_factor:g} times the temperature"
    elif config.first == "ensemble":
        found, cost, source = _from_ensemble(context, config), 0, "unguided paths of the run"
    else:
        found, cost, source = _from_annealed(context, config), 0, "annealed paths of the run"
    engine = recipe.build(_noise_seed(context, "first"))
    rng = generator(context.config.seed, _STREAM, "velocities")
    found = [with_velocities(path, engine, rng) for path in found]
    if config.fixed_frames is not None:
        try:
            longer = stretched(found, config.fixed_frames, system.states, engine, rng)
            found = [longer[k % len(longer)] for k in range(config.chains)]
        except ValueError as error:
            raise UserError(f"No first path of shooting.fixed_frames frames can be made: {error}.") from error
    elif (longest := max(map(len, found))) > config.max_frames:
        raise UserError(
            f"A first path has {longest} frames, and shooting.max_frames is {config.max_frames}: raise it, "
            "or shooting.frame_every."
        )
    return found, cost + engine.force_evaluations, source


def _noise_seed(context: Context, name: str, *keys: int) -> int:
    make = torch_seed if context.system.potential is not None else openmm_seed
    return make(context.config.seed, _STREAM, name, *keys)


def check_first(path: ShotPath, system: System, dynamics: MolecularDynamics | None) -> None:
    """Refuse a path whose frames are no configurations of the molecule.

    Raises:
        UserError: with the reason.
    """
    if reason := unphysical(path.positions, system, dynamics):
        raise UserError(f"The first path is not physical: {reason}; give another one.")


def unphysical(frames: np.ndarray, system: System, dynamics: MolecularDynamics | None) -> str:
    """Why frames, shape (T, n_atoms, 3) [nm], are no configurations of the molecule; empty if they are."""
    if system.molecule is None or dynamics is None:
        return ""
    problems = integrity_problems(system.molecule.topology, system.structures, frames, TURNED)
    return problems[0] if problems else energy_problem(frames, system.structures, dynamics) or ""


def _from_annealed(context: Context, config: ShootingConfig) -> list[ShotPath]:
    file = context.folder / "paths.npz"
    if not context.folder.finished("paths"):
        raise UserError(
            f"{context.folder.path} has no annealed paths to start from; run its stages up to 'paths' first, "
            "or give --from high-temperature or --from a trajectory."
        )
    paths, candidates, reason = PathEnsemble.load(file), [], "none"
    for frames, variables in zip(paths.frames, paths.variables, strict=True):
        try:
            candidates.append(first_path(frames, variables, context.system.states))
        except ValueError as error:
            reason = str(error)
    found, refused = _physical(candidates, context)
    if not found:
        raise UserError(f"None of the annealed paths in {file} can be a first path ({refused or reason}).")
    return [found[k % len(found)] for k in range(config.chains)]


def _from_ensemble(context: Context, config: ShootingConfig) -> list[ShotPath]:
    """Of the exported ones, which were drawn by their weights, each once and in random order."""
    file, instead = context.folder / ENSEMBLE_PATHS, "give --from paths, --from high-temperature or --from a trajectory"
    if not file.is_file():
        raise UserError(f"{context.folder.path} has no unguided paths to start from (transitions.shots); {instead}.")
    paths = unpack(read_arrays(file))
    if paths[0].positions.shape[1:] != context.system.structures.shape[1:]:
        raise UserError(f"The unguided paths in {file} were kept without their water; {instead}.")
    order = generator(context.config.seed, _STREAM, "ensemble").permutation(len(paths))
    states = context.system.states
    candidates = [first_path(paths[k].positions, paths[k].variables, states) for k in order.tolist()]
    found, refused = _physical(candidates, context)
    if not found:
        raise UserError(f"None of the unguided paths in {file} can be a first path ({refused}); {instead}.")
    return [found[k % len(found)] for k in range(config.chains)]


def _physical(candidates: list[ShotPath], context: Context) -> tuple[list[ShotPath], str]:
    """Those that ``check_first`` lets pass, and why the last of the others was refused."""
    system, found, reason = context.system, [], ""
    dynamics = context.dynamics() if system.molecule is not None else None
    for path in candidates:
        try:
            check_first(path, system, dynamics)
            found.append(path)
        except UserError as error:
            reason = str(error)
    return found, reason


def _from_heat(context: Context, config: ShootingConfig, recipe: EngineRecipe) -> tuple[list[ShotPath], int]:
    seed, toy = context.config.seed, recipe.potential is not None
    batches = [config.chains] if toy else [1] * config.chains
    fixed = (recipe, config.temperature_factor, context.system.structures[0])
    tasks = [
        (*fixed, size, config.first_steps, _noise_seed(context, "heat", k), generator(seed, _STREAM, "heat", k))
        for k, size in enumerate(batches)
    ]
    with progress_bar(len(tasks), "first paths", "path") as bar:
        results = [hot_paths(*tasks[0])] if toy else context.pool.map(hot_paths, tasks, bar)
    candidates = [path for paths, _ in results for path in paths]
    found, refused = _physical(candidates, context)
    if not found:
        reason = refused or f"none went from A to B within shooting.first_steps = {config.first_steps}"
        raise UserError(
            f"No run at {config.temperature_factor:g} times the temperature gave a first path ({reason.rstrip('.')}); "
            "change shooting.temperature_factor or raise shooting.first_steps."
        )
    return [found[k % len(found)] for k in range(config.chains)], sum(cost for _, cost in results)


def path_from_file(file: Path, system: System) -> ShotPath:
    """The path from A to B in a trajectory file, without velocities.

    Raises:
        UserError: the file is unfit or holds none.
    """
    frames = frames_from_file(file, system)
    try:
        return first_path(frames, system.variables(frames), system.states)
    except ValueError as error:
        raise UserError(f"{file} holds no path from A to B: {error}.") from error


def frames_from_file(file: Path, system: System) -> np.ndarray:
    """Frames [nm] of a trajectory that MDTraj reads, or of an analytic potential from a ``.npy`` array (T, d).

    Raises:
        UserError: the file is missing, unreadable or of another system.
    """
    regular_file(file, "The trajectory", ANY_BYTES)
    try:
        if system.molecule is None:
            frames = _points(file)
        else:
            frames = read_frames(file, mdtraj.Topology.from_openmm(system.molecule.topology))
    except Exception as error:  # every reader of MDTraj raises its own
        reason = " ".join(str(error).split())
        raise UserError(f"{file} cannot be read as a trajectory of this system ({reason}).") from error
    expected = system.structures.shape[1:]
    if frames.dtype.kind != "f" or frames.shape[1:] != expected or not len(frames):
        shown = ", ".join(["T", *map(str, expected)])
        raise UserError(
            f"{file} holds an array of shape {frames.shape} and type {frames.dtype}; floating-point numbers of shape "
            f"({shown}) are expected."
        )
    if not np.isfinite(frames).all():
        raise UserError(f"{file} holds coordinates that are not finite.")
    if isinstance(system.config.system, ToyConfig):
        _check_inside(frames, file, np.array(system.config.system.box))
    if system.molecule is not None:
        check_frames(system.molecule.topology, frames, str(file), system.structures[0])
    return np.asarray(frames, dtype=float)


def _points(file: Path) -> np.ndarray:
    """The array of a ``.npy`` file; archives and pickled objects are not read.

    Raises:
        ValueError: it is something else.
    """
    with file.open("rb") as handle:
        if handle.read(6) != b"\x93NUMPY":
            raise ValueError("it is no .npy file")
    try:
        return np.load(file, allow_pickle=False)
    except ValueError as error:
        raise ValueError("it is damaged, or holds Python objects") from error


def _check_inside(frames: np.ndarray, file: Path, box: np.ndarray) -> None:
    """Refuse points from which the potential's dynamics would overflow: further out than the box is wide."""
    low, high = box.T
    far = ((frames < 2 * low - high) | (frames > 2 * high - low)).any(axis=1)
    if far.any():
        raise UserError(
            f"Frame {int(far.argmax())} of {file} lies at {frames[far.argmax()].tolist()}, far outside the box of the "
            f"system, {box.tolist()}."
        )
