"""Brute force: unbiased dynamics for as long as it takes to cross, where that is feasible."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spacetime_tps.boltzmann.transitions import TransitionRecorder, Transitions
from spacetime_tps.parallel import WorkerPool
from spacetime_tps.progress import progress_bar
from spacetime_tps.seeds import generator, openmm_seed, torch_seed
from spacetime_tps.shooting.chains import EngineRecipe
from spacetime_tps.shooting.engine import Phase
from spacetime_tps.shooting.first import still

_STRIDE = 1000
_WITH_FRAMES = 64


@dataclass(frozen=True)
class _Walk:
    recipe: EngineRecipe
    starts: np.ndarray
    frames: int
    with_frames: int
    seeds: tuple[int, np.random.Generator]


def unbiased_transitions(
    recipe: EngineRecipe, structures: np.ndarray, walkers: int, frames: int, seed: int, pool: WorkerPool
) -> tuple[Transitions, np.ndarray, int]:
    """Transitions of independent walkers in both directions, and the force evaluations they took.

    Between them, of every walker, the frames at which the state visited last was A, and B, shape (n_walkers, 2).

    Args:
        recipe: of the dynamics.
        structures: in A and in B, dealt out to the walkers in turn.
        walkers: their number; on an analytic potential one batch.
        frames: length of each walk.
        seed: of the run.
        pool: where walkers of a molecule run.
    """
    starts = structures[np.arange(walkers) % len(structures)]
    toy = recipe.potential is not None
    batches = [starts] if toy else [start[None] for start in starts]
    noise = torch_seed if toy else openmm_seed
    each = max(1, _WITH_FRAMES // len(starts))
    tasks = [
        _Walk(recipe, batch, frames, each, (noise(seed, "unbiased", k), generator(seed, "unbiased", k)))
        for k, batch in enumerate(batches)
    ]
    with progress_bar(len(tasks), "unbiased dynamics", "walker") as bar:
        results = [_walk(tasks[0])] if toy else pool.map(_walk, [(task,) for task in tasks], bar)
    spent = np.concatenate([each for _, each, _ in results])
    return Transitions.joined([found for found, _, _ in results]), spent, sum(cost for _, _, cost in results)


def _walk(task: _Walk) -> tuple[Transitions, np.ndarray, int]:
    noise, rng = task.seeds
    engine = task.recipe.build(noise)
    here, _ = engine.starts([still(start, task.recipe) for start in task.starts], 0.0, rng)
    recorders = [TransitionRecorder(task.recipe.states, task.with_frames) for _ in task.starts]
    for done in range(0, task.frames, _STRIDE):
        limits = np.full(len(recorders), min(_STRIDE, task.frames - done))
        segments = engine.integrate(here, limits, stop=False)
        for recorder, segment in zip(recorders, segments, strict=True):
            recorder.look(segment.variables, segment.positions)
        here = Phase(np.stack([s.positions[-1] for s in segments]), np.stack([s.velocities[-1] for s in segments]))
    found = Transitions.joined([recorder.transitions() for recorder in recorders])
    return found, np.array([recorder.spent for recorder in recorders]), engine.force_evaluations
