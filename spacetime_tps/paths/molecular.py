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
from spacetime_tps.dynamics import MolecularDynamics, advance, energies_of, look_lengths, positions_of, thermalise
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
    """Everything one path needs, picklable; ``schedule`` and ``states`` are in the path's own direction."""

    dynamics: MolecularDynamics
    representation: Molecular
    variables: CollectiveVariables
    states: tuple[State, State]
    surface: FreeEnergySurface | None
    avoided: State | None
    schedule: Schedule
    structure_nm: np.ndarray
    config: PathsConfig
    steps_per_point: int
    seed: int


@dataclass(frozen=True)
class _Release:
    stays: bool
    inside: bool
    steps: int


def anneal_path(task: AnnealingTask) -> dict[str, np.ndarray]:
    """Run one path; returns its fields of ``PathEnsemble`` without the first axis."""
    restraint = task.representation.restraint(task.dynamics.kt)
    context = task.dynamics.context(task.seed, [restraint.force])
    config = task.config
    context.setPositions(task.representation.placed(task.structure_nm))
    thermalise(context, task.dynamics.temperature_k, task.seed)
    restraint.move_to(task.schedule.natural[0], context)
    advance(context, config.equilibration_steps)
    start = context.getState(positions=True, velocities=True)
    released_start = _release(context, restraint, task, *task.states)
    context.setState(start)
    restraint.move_to(task.schedule.natural[0], context)
    recorded = _follow(context, restraint, task)
    released_end = _release(context, restraint, task, *task.states[::-1])
    in_start, in_end = (
        bool(state.contains(recorded["variables"][k])) for state, k in zip(task.states, (0, -1), strict=True)
    )
    steps = len(task.schedule.natural) * task.steps_per_point + config.equilibration_steps
    steps += released_start.steps + released_end.steps + len(recorded["frames"])
    return recorded | {
        "starts_in_state": np.array(in_start),
        "ends_in_state": np.array(in_end),
        "start_stays": np.array(released_start.stays),
        "end_stays": np.array(released_end.stays),
        "start_inside": np.array(released_start.inside),
        "end_inside": np.array(released_end.inside),
        "force_evaluations": np.array(steps),
    }


def _follow(context: openmm.Context, restraint: Restraint, task: AnnealingTask) -> dict[str, np.ndarray]:
    """Move the restraint along the schedule, looking every few steps and saving frames at equal curve points."""
    natural, integrator = task.schedule.natural, context.getIntegrator()
    saved_points = frame_points(len(natural), task.config.frames)
    looks = look_lengths(task.steps_per_point, task.config.look_every)
    frames, energies, free_energies, saved = [], [], [], set(saved_points.tolist())
    work, positions, seen = 0.0, positions_of(context), []
    inside, looked, last = 0, 0, None
    for n, eta in enumerate(natural):
        if n:
            statistics = held_in(task.representation, positions)
            work += float(restraint_work(eta - natural[n - 1], statistics))
            restraint.move_to(eta, context)
        for steps in looks:
            integrator.step(steps)
            positions = positions_of(context)
            seen.append(positions)
        if n in saved:
            frames.append(positions.astype(np.float32))
            energies.append(energies_of(context))
            angles = task.representation.torsions.angles(np.array(seen))
            linked = angles if last is None else np.concatenate([last, angles])
            highest = float("nan") if task.surface is None else task.surface.maximum_along(linked, LINE_SUBDIVISIONS)
            free_energies.append(highest)
            last = angles[-1:]
            inside += 0 if task.avoided is None else int(task.avoided.contains(angles).sum())
            looked += len(seen)
            seen = []
    return {
        "frames": np.array(frames),
        "curve_parameter": saved_points / (len(natural) - 1),
        "variables": task.variables(np.array(frames, dtype=float)),
        "potential_energy": np.array([potential for potential, _ in energies]),
        "kinetic_energy": np.array([kinetic for _, kinetic in energies]),
        "free_energy": np.array(free_energies),
        "avoided_share": np.array(float("nan") if task.avoided is None else inside / looked),
        "work_kt": np.array(work),
    }


def frame_points(curve_points: int, frames: int) -> np.ndarray:
    """Indices of the curve points at which a frame is saved: equally spaced, the first and the last among them."""
    return np.unique(np.rint(np.linspace(0, curve_points - 1, min(frames, curve_points))).astype(int))


def _release(
    context: openmm.Context, restraint: Restraint, task: AnnealingTask, state: State, other: State
) -> _Release:
    """Let go and see whether the end is committed to ``state``.

    A thermal state is larger than its defining region (a ball of 25 degrees holds 78 % of C7ax), so an end that is
    outside both regions when the release time is over is followed until it enters one of them.
    """
    config, integrator = task.config, context.getIntegrator()
    restraint.move_to(np.zeros(task.representation.n_parameters), context)
    integrator.step(config.release_steps)
    steps = config.release_steps
    stride = max(1, config.release_steps // 25)

    def where() -> np.ndarray:
        return task.variables(positions_of(context))

    inside = bool(state.contains(where()))
    while not state.contains(here := where()) and not other.contains(here):
        if steps >= COMMITMENT_FACTOR * config.release_steps:
            return _Release(False, inside, steps)
        integrator.step(stride)
        steps += stride
    return _Release(bool(state.contains(here)), inside, steps)


def anneal_molecule(
    system: System,
    dynamics: MolecularDynamics,
    schedule: Schedule,
    config: PathsConfig,
    steps_per_point: int,
    seed_of: Callable[[int], int],
    pool: WorkerPool,
) -> PathEnsemble:
    """Run ``config.count`` paths, every other one from B to A."""
    tasks = []
    for k in range(config.count):
        forward = k % 2 == 0
        tasks.append(
            AnnealingTask(
                dynamics=dynamics,
                representation=system.molecular,
                variables=system.variables,
                states=system.states if forward else system.states[::-1],
                surface=system.reference,
                avoided=system.avoided,
                schedule=schedule if forward else schedule.reversed(),
                structure_nm=system.structures[0 if forward else 1],
                config=config,
                steps_per_point=steps_per_point,
                seed=seed_of(k),
            )
        )
    with progress_bar(config.count, f"paths, {len(schedule.natural) * steps_per_point} steps each", "path") as bar:
        results = pool.map(anneal_path, [(task,) for task in tasks], bar)
    stacked = {name: np.stack([result[name] for result in results]) for name in results[0]}
    forward = np.arange(config.count) % 2 == 0
    stacked["curve_parameter"][~forward] = 1.0 - stacked["curve_parameter"][~forward]
    points_per_frame = (len(schedule.natural) - 1) / max(1, len(stacked["curve_parameter"][0]) - 1)
    interval = points_per_frame * steps_per_point * dynamics.time_step_ps
    return PathEnsemble(forward=forward, interval=interval, **stacked)
