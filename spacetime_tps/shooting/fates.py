"""Which state fresh trajectories from given frames reach first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spacetime_tps.parallel import WorkerPool
from spacetime_tps.progress import progress_bar
from spacetime_tps.seeds import generator, openmm_seed, torch_seed
from spacetime_tps.shooting.chains import EngineRecipe
from spacetime_tps.shooting.engine import IN_A, IN_B
from spacetime_tps.shooting.first import still


@dataclass(frozen=True)
class _Task:
    """Trajectories from some frames, picklable; ``seeds`` are those of the dynamics and of the velocities."""

    recipe: EngineRecipe
    frames: np.ndarray
    shots: int
    max_frames: int
    seeds: tuple[int, np.random.Generator]


def fates_of(
    recipe: EngineRecipe, frames: np.ndarray, shots: int, max_frames: int, seed: int, name: str, pool: WorkerPool
) -> tuple[np.ndarray, int]:
    """Where trajectories with Maxwell-Boltzmann velocities arrive.

    Args:
        recipe: of the unguided dynamics.
        frames: positions [nm], shape (n, n_atoms, 3), or points, shape (n, d).
        shots: trajectories from each.
        max_frames: after which one has arrived nowhere.
        seed: of the run.
        name: of the random streams.
        pool: where trajectories of a molecule run.

    Returns:
        ``IN_A``, ``IN_B`` or ``NOWHERE``, shape (n, shots), and the force evaluations of all.
    """
    toy = recipe.potential is not None
    noise = torch_seed if toy else openmm_seed
    tasks = [
        (_Task(recipe, batch, shots, max_frames, (noise(seed, name, k), generator(seed, name, k))),)
        for k, batch in enumerate([frames] if toy else [frame[None] for frame in frames])
    ]
    with progress_bar(len(tasks), "committors", "frame") as bar:
        found = [_fates(*tasks[0])] if len(tasks) == 1 else pool.map(_fates, tasks, bar)
    return np.concatenate([fates for fates, _ in found]), sum(cost for _, cost in found)


def _fates(task: _Task) -> tuple[np.ndarray, int]:
    noise, rng = task.seeds
    engine = task.recipe.build(noise)
    points = [still(frame, task.recipe) for frame in task.frames for _ in range(task.shots)]
    starts, _ = engine.starts(points, 0.0, rng)
    segments = engine.integrate(starts, np.full(len(points), task.max_frames), stop=True)
    fates = np.array([segment.state for segment in segments]).reshape(len(task.frames), task.shots)
    a, b = (state.contains(task.recipe.variables(task.frames)) for state in task.recipe.states)
    fates[a], fates[b] = IN_A, IN_B
    return fates, engine.force_evaluations
