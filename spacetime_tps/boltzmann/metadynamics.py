"""Well-tempered metadynamics on one to three torsions with several walkers, then sampling under the frozen bias.

Barducci, Bussi and Parrinello, Phys. Rev. Lett. 100, 020603 (2008); several walkers: Raiteri et al. 2006.
Walkers pool their hills at fixed step counts, so the result depends on the seed alone. Under the frozen bias V the
ensemble is exp(-(U + V)/kT), so a sample's log-weight is exactly +V/kT.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import openmm

from spacetime_tps.boltzmann.transitions import TransitionRecorder, Transitions, Watched
from spacetime_tps.config import MetadynamicsConfig
from spacetime_tps.dynamics import (
    MolecularDynamics,
    advance,
    look_lengths,
    positions_of,
    restraint_energy_of,
    thermalise,
)
from spacetime_tps.parallel import WorkerPool
from spacetime_tps.progress import progress_bar
from spacetime_tps.representations import dihedral_angles, wrap
from spacetime_tps.seeds import openmm_seed


class TabulatedBias:
    """A bias V [kJ/mol] on a periodic grid of torsions as an OpenMM force.

    ``table`` has shape (n,) * n_torsions without the repeated end point; grid point i lies at -pi + 2 pi i / n.
    """

    def __init__(self, quadruples: np.ndarray, table: np.ndarray):
        self.table = table
        self._atoms = quadruples.ravel().astype(int).tolist()
        names = [f"dihedral({','.join(f'p{4 * k + j}' for j in range(1, 5))})" for k in range(len(quadruples))]
        self.force = openmm.CustomCompoundBondForce(len(self._atoms), f"bias({','.join(names)})")
        self.force.setName("MetadynamicsBias")
        self.force.addTabulatedFunction("bias", self._function(new=True))
        self.force.addBond(self._atoms, [])

    def _function(self, new: bool = False) -> openmm.TabulatedFunction | None:
        closed = np.pad(self.table, [(0, 1)] * self.table.ndim, mode="wrap")
        values = closed.ravel(order="F").tolist()
        limits = [-math.pi, math.pi] * self.table.ndim
        sizes = list(closed.shape) if closed.ndim > 1 else []
        if new:
            kind = getattr(openmm, f"Continuous{closed.ndim}DFunction")
            return kind(*sizes, values, *limits, True)
        self.force.getTabulatedFunction(0).setFunctionParameters(*sizes, values, *limits)
        return None

    def update(self, context: openmm.Context) -> None:
        """Hand the present table to the context."""
        self._function()
        self.force.updateParametersInContext(context)


def hill(angles: np.ndarray, size: int, width: float) -> np.ndarray:
    """A unit Gaussian hill at ``angles`` [rad], shape (n_torsions,), on the periodic grid (size,) * n_torsions."""
    grid = -np.pi + 2 * np.pi * np.arange(size) / size
    shape = np.ones(())
    for angle in angles:
        shape = np.multiply.outer(shape, np.exp(-0.5 * (wrap(grid - angle) / width) ** 2))
    return shape


@dataclass(frozen=True)
class Walker:
    """Where a walker is between two rounds: positions [nm] and velocities [nm/ps], shape (n_atoms, 3)."""

    positions: np.ndarray
    velocities: np.ndarray


def _resume(dynamics: MolecularDynamics, bias: TabulatedBias, walker: Walker, seed: int) -> openmm.Context:
    context = dynamics.context(seed, [bias.force])
    context.setPositions(walker.positions)
    context.setVelocities(walker.velocities)
    return context


def _leave(context: openmm.Context) -> Walker:
    state = context.getState(positions=True, velocities=True)
    return Walker(state.getPositions(asNumpy=True)._value, state.getVelocities(asNumpy=True)._value)


def start_walker(dynamics: MolecularDynamics, positions: np.ndarray, seed: int) -> Walker:
    """A walker at a structure, with Maxwell-Boltzmann velocities."""
    context = dynamics.context(seed)
    context.setPositions(positions)
    thermalise(context, dynamics.temperature_k, seed)
    return _leave(context)


def build_round(
    dynamics: MolecularDynamics,
    quadruples: np.ndarray,
    walker: Walker,
    table: np.ndarray,
    config: MetadynamicsConfig,
    seed: int,
) -> tuple[Walker, np.ndarray]:
    """One walker's share of a round: where it ends, and the bias it added [kJ/mol]."""
    bias = TabulatedBias(quadruples, table.copy())
    context = _resume(dynamics, bias, walker, seed)
    interval = dynamics.steps(config.hill_interval)
    for _ in range(dynamics.steps(config.exchange_interval) // interval):
        context.getIntegrator().step(interval)
        angles = dihedral_angles(positions_of(context), quadruples)
        cell = tuple(np.rint((angles + np.pi) / (2 * np.pi) * config.grid_points).astype(int) % config.grid_points)
        tempering = math.exp(-bias.table[cell] / ((config.bias_factor - 1) * dynamics.kt))
        height = config.hill_height_kt * dynamics.kt * tempering
        bias.table += height * hill(angles, config.grid_points, config.hill_width)
        bias.update(context)
    return _leave(context), bias.table - table


def frozen_round(
    dynamics: MolecularDynamics,
    quadruples: np.ndarray,
    walker: Walker,
    table: np.ndarray,
    config: MetadynamicsConfig,
    seed: int,
    watched: Watched | None = None,
    recorded: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, Transitions]:
    """Sample one walker under the frozen bias.

    Returns:
        torsion angles [rad], shape (n, n_torsions), the bias there [kJ/mol], shape (n,), some frames [nm], shape
        (m, n_atoms, 3), and the transitions that the walker made.
    """
    context = _resume(dynamics, TabulatedBias(quadruples, table), walker, seed)
    advance(context, dynamics.steps(config.discard_time))
    interval = dynamics.steps(config.sample_interval)
    looks = look_lengths(interval, watched.every) if watched is not None else [interval]
    frame_stride = max(1, round(config.frame_interval / config.sample_interval))
    angles, biases, frames = [], [], []
    recorder = TransitionRecorder(watched.states) if watched is not None else None
    for n in range(dynamics.steps(config.frozen_time) // interval):
        seen = []
        for steps in looks:
            context.getIntegrator().step(steps)
            seen.append(positions_of(context))
        positions = seen[-1]
        if watched is not None and recorder is not None:
            recorder.look(watched.variables(np.array(seen)), np.array(seen))
        angles.append(dihedral_angles(positions, quadruples if recorded is None else recorded))
        biases.append(restraint_energy_of(context))
        if n % frame_stride == 0:
            frames.append(positions.astype(np.float32))
    found = recorder.transitions() if recorder is not None else Transitions.none()
    return np.array(angles), np.array(biases), np.array(frames), found


@dataclass(frozen=True)
class Metadynamics:
    """What metadynamics gave under its frozen bias.

    Attributes:
        angles: of the recorded torsions [rad], shape (n, n_torsions).
        log_weights: shape (n,).
        walker: that each sample comes from, shape (n,).
        frames: some positions [nm], shape (m, n_atoms, 3).
        table: the bias on its grid [kJ/mol].
        transitions: between the states.
        force_evaluations: of both phases.
    """

    angles: np.ndarray
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
    recorded: np.ndarray | None = None,
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
        recorded: atoms of the torsions that are sampled, where they are others than the biased ones.
    """
    table = np.zeros((config.grid_points,) * len(quadruples))
    walkers = [
        start_walker(dynamics, structures[w % len(structures)], openmm_seed(seed, "walker", w))
        for w in range(config.walkers)
    ]
    rounds = max(1, round(config.build_time / config.exchange_interval))
    with progress_bar(rounds * config.walkers, "metadynamics", "round") as bar:
        for r in range(rounds):
            tasks = [
                (dynamics, quadruples, walker, table, config, openmm_seed(seed, "metadynamics", r, w))
                for w, walker in enumerate(walkers)
            ]
            results = pool.map(build_round, tasks, bar)
            walkers = [walker for walker, _ in results]
            table = table + sum(added for _, added in results)
    frozen_tasks = [
        (dynamics, quadruples, walker, table, config, openmm_seed(seed, "frozen", w), watched, recorded)
        for w, walker in enumerate(walkers)
    ]
    with progress_bar(config.walkers, "frozen-bias sampling", "walker") as bar:
        sampled = pool.map(frozen_round, frozen_tasks, bar)
    columns = tuple(zip(*sampled, strict=True))
    angles, biases, frames = (np.concatenate(column) for column in columns[:3])
    interval = dynamics.steps(config.hill_interval)
    per_round = dynamics.steps(config.exchange_interval) // interval * interval
    frozen = dynamics.steps(config.discard_time) + len(sampled[0][0]) * dynamics.steps(config.sample_interval)
    return Metadynamics(
        angles=angles,
        log_weights=biases / dynamics.kt,
        walker=np.repeat(np.arange(config.walkers), len(sampled[0][0])),
        frames=frames,
        table=table,
        transitions=Transitions.joined(columns[3]),
        force_evaluations=config.walkers * (rounds * per_round + frozen),
    )
