"""Annealed Langevin dynamics of a molecule in OpenMM: the restraint follows the geodesic.

At each curve point K Langevin steps of the restrained ensemble are run, starting where the last point ended. The
start is equilibrated under the first restraint; both ends are also released to see whether they stay in their state.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import openmm

from spacetime_tps.collective_variables import CollectiveVariables
from spacetime_tps.config import PathsConfig
from spacetime_tps.dynamics import (
    MolecularDynamics,
    advance,
    copies_of,
    copy_energies,
    look_lengths,
    positions_of,
    thermalise,
)
from spacetime_tps.parallel import WorkerPool
from spacetime_tps.paths.ensemble import PathEnsemble
from spacetime_tps.paths.schedule import Schedule, restraint_work
from spacetime_tps.potentials import FreeEnergySurface
from spacetime_tps.progress import progress_bar
from spacetime_tps.representations import Molecular, Restraint, held_in
from spacetime_tps.states import State
from spacetime_tps.systems import System

LINE_SUBDIVISIONS = 4
"""Of the straight line in torsions between two looks, for MaxFreeEnergy."""
COMMITMENT_FACTOR = 10
"""A released end that has left both states is followed for this many release times, until it enters either."""


@dataclass(frozen=True)
class AnnealingTask:
    """Everything that paths in one OpenMM Context need, picklable.

    Attributes:
        dynamics: of one molecule.
        representation: whose restraint they follow.
        variables, states: of the system, A first.
        surface: where their free energy is read.
        avoided: where their steps are counted.
        schedule: from A to B.
        structures_nm: in A and in B, shape (2, n_atoms, 3).
        forward: of each path, whether it runs from A to B, shape (n_paths,).
        config: of the paths.
        steps_per_point: at each point of the schedule.
        seed: of their noise.
    """

    dynamics: MolecularDynamics
    representation: Molecular
    variables: CollectiveVariables
    states: tuple[State, State]
    surface: FreeEnergySurface | None
    avoided: State | None
    schedule: Schedule
    structures_nm: np.ndarray
    forward: np.ndarray
    config: PathsConfig
    steps_per_point: int
    seed: int

    @property
    def natural(self) -> np.ndarray:
        """eta along every path in its own direction, shape (n_points, n_paths, n_parameters)."""
        ways = {True: self.schedule.natural, False: self.schedule.reversed().natural}
        return np.stack([ways[bool(forward)] for forward in self.forward], axis=1)

    @property
    def starts(self) -> np.ndarray:
        """0 for a path that starts in A, 1 for one that starts in B, shape (n_paths,)."""
        return np.where(self.forward, 0, 1)

    def contained(self, variables: np.ndarray, sides: np.ndarray) -> np.ndarray:
        """Whether collective variables, shape (n_paths, n_cv), lie in A (side 0) or in B (side 1), shape (n_paths,)."""
        inside = np.stack([state.contains(variables) for state in self.states])
        return inside[sides, np.arange(len(sides))]


@dataclass(frozen=True)
class _Release:
    """Of each path, shape (n_paths,), whether the end stays and lies inside; and the steps that all of them took."""

    stays: np.ndarray
    inside: np.ndarray
    steps: int


def anneal_paths(task: AnnealingTask) -> dict[str, np.ndarray]:
    """Run the paths of one Context; returns their fields of ``PathEnsemble``."""
    copies, natural = len(task.forward), task.natural
    restraint = task.representation.restraint(task.dynamics.kt, copies, task.structures_nm.shape[1])
    context = task.dynamics.copied(copies).context(task.seed, [restraint.force])
    config = task.config
    context.setPositions(np.concatenate([task.representation.placed(task.structures_nm[k]) for k in task.starts]))
    thermalise(context, task.dynamics.temperature_k, task.seed)
    restraint.move_to(natural[0], context)
    advance(context, config.equilibration_steps)
    start = context.getState(positions=True, velocities=True)
    released_start = _release(context, restraint, task, task.starts)
    context.setState(start)
    restraint.move_to(natural[0], context)
    recorded = _follow(context, restraint, task, natural)
    released_end = _release(context, restraint, task, 1 - task.starts)
    steps = len(natural) * task.steps_per_point + config.equilibration_steps
    steps += released_start.steps + released_end.steps + recorded["frames"].shape[1]
    return recorded | {
        "starts_in_state": task.contained(recorded["variables"][:, 0], task.starts),
        "ends_in_state": task.contained(recorded["variables"][:, -1], 1 - task.starts),
        "start_stays": released_start.stays,
        "end_stays": released_end.stays,
        "start_inside": released_start.inside,
        "end_inside": released_end.inside,
        "force_evaluations": np.full(copies, steps),
    }


def _follow(
    context: openmm.Context, restraint: Restraint, task: AnnealingTask, natural: np.ndarray
) -> dict[str, np.ndarray]:
    """Move the restraints along the schedule, looking every few steps and saving frames at equal curve points."""
    integrator, copies = context.getIntegrator(), len(task.forward)
    saved_points = frame_points(len(natural), task.config.frames)
    looks = look_lengths(task.steps_per_point, task.config.look_every)
    energies_of_copies = copy_energies(context, task.dynamics, copies)
    frames, energies, free_energies, saved = [], [], [], set(saved_points.tolist())
    work, positions, seen = np.zeros(copies), copies_of(positions_of(context), copies), []
    inside, looked, last = np.zeros(copies, dtype=int), 0, None
    for n, eta in enumerate(natural):
        if n:
            work += restraint_work(eta - natural[n - 1], held_in(task.representation, positions))
            restraint.move_to(eta, context)
        for steps in looks:
            integrator.step(steps)
            positions = copies_of(positions_of(context), copies)
            seen.append(positions)
        if n in saved:
            frames.append(positions.astype(np.float32))
            energies.append(energies_of_copies())
            angles = task.representation.torsions.angles(np.array(seen))
            linked = angles if last is None else np.concatenate([last, angles])
            free_energies.append(_highest(task.surface, linked))
            last = angles[-1:]
            inside += 0 if task.avoided is None else task.avoided.contains(angles).sum(axis=0)
            looked += len(seen)
            seen = []
    kept = np.swapaxes(np.array(frames), 0, 1)
    potential, kinetic = np.moveaxis(np.array(energies), (1, 2), (0, 1))
    return {
        "frames": kept,
        "curve_parameter": np.tile(saved_points / (len(natural) - 1), (copies, 1)),
        "variables": task.variables(kept.astype(float)),
        "potential_energy": potential,
        "kinetic_energy": kinetic,
        "free_energy": np.array(free_energies).T,
        "avoided_share": np.full(copies, np.nan) if task.avoided is None else inside / looked,
        "work_kt": work,
    }


def _highest(surface: FreeEnergySurface | None, angles: np.ndarray) -> list[float]:
    """Of each path, the highest free energy along its looks, shape (n_looks, n_paths, n_torsions)."""
    if surface is None:
        return [float("nan")] * angles.shape[1]
    return [surface.maximum_along(angles[:, k], LINE_SUBDIVISIONS) for k in range(angles.shape[1])]


def frame_points(curve_points: int, frames: int) -> np.ndarray:
    """Indices of the curve points at which a frame is saved: equally spaced, the first and the last among them."""
    return np.unique(np.rint(np.linspace(0, curve_points - 1, min(frames, curve_points))).astype(int))


def _release(context: openmm.Context, restraint: Restraint, task: AnnealingTask, sides: np.ndarray) -> _Release:
    """Let go and see whether ends are committed to the states ``sides``, 0 for A and 1 for B, shape (n_paths,).

    A thermal state is larger than its defining region (a ball of 25 degrees holds 78 % of C7ax), so an end that is
    outside both regions when the release time is over is followed until it enters one of them.
    """
    config, integrator, copies = task.config, context.getIntegrator(), len(sides)
    restraint.move_to(np.zeros((copies, task.representation.n_parameters)), context)
    integrator.step(config.release_steps)
    steps = config.release_steps
    stride = max(1, config.release_steps // 25)

    def where() -> tuple[np.ndarray, np.ndarray]:
        variables = task.variables(copies_of(positions_of(context), copies))
        return task.contained(variables, sides), task.contained(variables, 1 - sides)

    stays, lost = where()
    inside = stays
    while not (stays | lost).all() and steps < COMMITMENT_FACTOR * config.release_steps:
        integrator.step(stride)
        steps += stride
        entered, left = where()
        undecided = ~(stays | lost)
        stays, lost = stays | (undecided & entered), lost | (undecided & left & ~entered)
    return _Release(stays, inside, steps)


def anneal_molecule(
    system: System,
    dynamics: MolecularDynamics,
    schedule: Schedule,
    config: PathsConfig,
    steps_per_point: int,
    seed_of: Callable[[int], int],
    pool: WorkerPool,
    copies: int = 1,
) -> PathEnsemble:
    """Run ``config.count`` paths, every other one from B to A, ``copies`` of them in one Context."""
    forward = np.arange(config.count) % 2 == 0
    tasks = [
        AnnealingTask(
            dynamics=dynamics,
            representation=system.molecular,
            variables=system.variables,
            states=system.states,
            surface=system.reference,
            avoided=system.avoided,
            schedule=schedule,
            structures_nm=system.structures,
            forward=forward[first : first + copies],
            config=config,
            steps_per_point=steps_per_point,
            seed=seed_of(first),
        )
        for first in range(0, config.count, copies)
    ]
    with progress_bar(config.count, f"paths, {len(schedule.natural) * steps_per_point} steps each", "path") as bar:
        results = pool.map(anneal_paths, [(task,) for task in tasks], bar, weight=copies)
    joined = {name: np.concatenate([result[name] for result in results]) for name in results[0]}
    joined["curve_parameter"][~forward] = 1.0 - joined["curve_parameter"][~forward]
    points_per_frame = (len(schedule.natural) - 1) / max(1, len(joined["curve_parameter"][0]) - 1)
    interval = points_per_frame * steps_per_point * dynamics.time_step_ps
    return PathEnsemble(forward=forward, interval=interval, **joined)
