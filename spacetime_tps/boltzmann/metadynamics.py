"""Metadynamics on one to three torsions: a bias grows, is frozen, and is sampled under.

Under the frozen bias V the ensemble is exp(-(U + V)/kT), so a sample's log-weight is exactly +V/kT.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spacetime_tps.boltzmann.bias import TabulatedBias, Walker, fill, resume
from spacetime_tps.boltzmann.recording import Recorder
from spacetime_tps.boltzmann.transitions import TransitionRecorder, Transitions, Watched
from spacetime_tps.config import MetadynamicsConfig
from spacetime_tps.dynamics import MolecularDynamics, advance, look_lengths, positions_of, restraint_energy_of
from spacetime_tps.parallel import WorkerPool
from spacetime_tps.progress import progress_bar
from spacetime_tps.seeds import openmm_seed


def frozen_round(
    dynamics: MolecularDynamics,
    quadruples: np.ndarray,
    walker: Walker,
    table: np.ndarray,
    config: MetadynamicsConfig,
    seed: int,
    watched: Watched | None = None,
    recorded: Recorder | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, Transitions]:
    """Sample one walker under the frozen bias.

    Returns:
        what was recorded of each sample, shape (n, n_recorded), the bias there [kJ/mol], shape (n,), some frames [nm],
        shape (m, n_atoms, 3), and the transitions that the walker made.
    """
    context = resume(dynamics, TabulatedBias(quadruples, table, dynamics.platform), walker, seed)
    advance(context, dynamics.steps(config.discard_time))
    interval = dynamics.steps(config.sample_interval)
    looks = look_lengths(interval, watched.every) if watched is not None else [interval]
    frame_stride = max(1, round(config.frame_interval / config.sample_interval))
    kept, biases, frames = [], [], []
    recorded = recorded or Recorder(quadruples)
    recorder = TransitionRecorder(watched.states) if watched is not None else None
    for n in range(dynamics.steps(config.frozen_time) // interval):
        seen = []
        for steps in looks:
            context.getIntegrator().step(steps)
            seen.append(positions_of(context))
        positions = seen[-1]
        if watched is not None and recorder is not None:
            recorder.look(watched.variables(np.array(seen)), np.array(seen))
        kept.append(recorded(positions))
        biases.append(restraint_energy_of(context))
        if n % frame_stride == 0:
            frames.append(positions.astype(np.float32))
    found = recorder.transitions() if recorder is not None else Transitions.none()
    return np.array(kept), np.array(biases), np.array(frames), found


@dataclass(frozen=True)
class Metadynamics:
    """What metadynamics gave under its frozen bias.

    Attributes:
        seen: what was recorded of each sample (see ``Recorder``), shape (n, n_recorded).
        log_weights: shape (n,).
        walker: that each sample comes from, shape (n,).
        frames: some positions [nm], shape (m, n_atoms, 3).
        table: the bias on its grid [kJ/mol].
        transitions: between the states.
        force_evaluations: of both phases.
    """

    seen: np.ndarray
    log_weights: np.ndarray
    walker: np.ndarray
    frames: np.ndarray
    table: np.ndarray
    transitions: Transitions
    force_evaluations: int


def sample_metadynamics(
    dynamics: MolecularDynamics,
    quadruples: np.ndarray,
    structures: np.ndarray,
    config: MetadynamicsConfig,
    seed: int,
    pool: WorkerPool,
    watched: Watched | None = None,
    recorded: Recorder | None = None,
) -> Metadynamics:
    """Build the bias, freeze it, sample.

    Args:
        dynamics: of the molecule.
        quadruples: atoms of the biased torsions, shape (n_torsions, 4).
        structures: starting frames dealt out to the walkers in turn [nm], shape (n, n_atoms, 3).
        config: times, hills and number of walkers.
        seed: of the run.
        pool: where the walkers run.
        watched: the states, and how often a transition between them is looked for under the frozen bias.
        recorded: what is kept of each sample; None: the biased torsions.
    """
    filled = fill(dynamics, quadruples, structures, config, seed, pool)
    frozen_tasks = [
        (dynamics, quadruples, walker, filled.table, config, openmm_seed(seed, "frozen", w), watched, recorded)
        for w, walker in enumerate(filled.walkers)
    ]
    with progress_bar(config.walkers, "frozen-bias sampling", "walker") as bar:
        sampled = pool.map(frozen_round, frozen_tasks, bar)
    columns = tuple(zip(*sampled, strict=True))
    seen, biases, frames = (np.concatenate(column) for column in columns[:3])
    frozen = dynamics.steps(config.discard_time) + len(sampled[0][0]) * dynamics.steps(config.sample_interval)
    return Metadynamics(
        seen=seen,
        log_weights=biases / dynamics.kt,
        walker=np.repeat(np.arange(config.walkers), len(sampled[0][0])),
        frames=frames,
        table=filled.table,
        transitions=Transitions.joined(columns[3]),
        force_evaluations=filled.force_evaluations + config.walkers * frozen,
    )
