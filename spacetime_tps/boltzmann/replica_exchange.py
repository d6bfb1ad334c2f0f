"""Replica exchange in temperature (Sugita and Okamoto, Chem. Phys. Lett. 314, 141 (1999)), reweighted by MBAR.

Every replica is simulated at one rung of a ladder of temperatures; now and then two of them exchange their rungs. All
rungs together become samples at the lowest temperature with the weights of Shirts and Chodera, J. Chem. Phys. 129,
124105 (2008). Several ladders know nothing of each other. The exchange itself is OpenMM's.

A bias V of a few torsions may act on all rungs alike: temperature takes the molecule over a ridge now and then, but
leaves hardly a sample on it. All energies are then those of U + V, and a sample's log-weight gains V/kT.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import openmm
from openmm import app

from spacetime_tps.boltzmann.bias import Filled, TabulatedBias, fill
from spacetime_tps.boltzmann.ladder import SETTLING_STEPS, EnergyCurve, pilot_energies, temperature_ladder
from spacetime_tps.boltzmann.recording import Recorder
from spacetime_tps.boltzmann.reweighting import solved
from spacetime_tps.boltzmann.transitions import TransitionRecorder, Transitions, Watched
from spacetime_tps.config import ReplicaExchangeConfig
from spacetime_tps.dynamics import (
    MolecularDynamics,
    advance,
    look_lengths,
    positions_of,
    restraint_energy_of,
    thermalise,
)
from spacetime_tps.errors import UserError
from spacetime_tps.parallel import WorkerPool
from spacetime_tps.progress import progress_bar
from spacetime_tps.seeds import openmm_seed
from spacetime_tps.topology import Isomers
from spacetime_tps.units import GAS_CONSTANT

_ROUNDS = 20
"""Parts of a run, between which progress shows."""


# --- one round ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Plan:
    """What every round of a ladder shares.

    Attributes:
        dynamics: of the molecule.
        bias: that acts on all rungs; None: none does.
        temperatures: of the rungs [K], lowest first, shape (n_rungs,).
        recorded: what is kept of each sample.
        isomers: what a frame may be.
        watched: states between which transitions are looked for.
        steps: integration steps between exchanges.
        sample_every: exchanges between samples.
        frame_every: samples between frames that are kept.
    """

    dynamics: MolecularDynamics
    bias: Filled | None
    temperatures: np.ndarray
    recorded: Recorder
    isomers: Isomers
    watched: Watched
    steps: int
    sample_every: int
    frame_every: int

    def context(self, seed: int, temperature_k: float | None = None) -> openmm.Context:
        """The molecule under the bias, at the lowest temperature unless another is given."""
        dynamics = self.dynamics if temperature_k is None else self.dynamics.at(temperature_k)
        if self.bias is None:
            return dynamics.context(seed)
        return dynamics.context(seed, [TabulatedBias(self.bias.quadruples, self.bias.table, dynamics.platform).force])


@dataclass(frozen=True)
class Ladder:
    """A ladder between two rounds; row k is the replica that stands on rung k.

    Attributes:
        positions: shape (n_rungs, n_atoms, 3) [nm].
        velocities: shape (n_rungs, n_atoms, 3) [nm/ps].
        replica: which replica that is, shape (n_rungs,).
        recorders: of transitions, by replica.
    """

    positions: np.ndarray
    velocities: np.ndarray
    replica: np.ndarray
    recorders: tuple[TransitionRecorder, ...]


@dataclass(frozen=True)
class Round:
    """What one round of a ladder saw.

    Attributes:
        rungs: rung of every replica at every exchange, shape (n_exchanges, n_rungs).
        acceptance: expected acceptance between neighbours by the energies, averaged, shape (n_rungs - 1,).
        seen: what was recorded (see ``Recorder``), shape (n, n_rungs, n_recorded); row k belongs to rung k.
        energies: potential with the bias [kJ/mol], shape (n, n_rungs).
        biases: of them the bias [kJ/mol], shape (n, n_rungs).
        broken: which isomers are unlike both ends, shape (n, n_rungs, n_checks).
        frames: some positions [nm], shape (m, n_atoms, 3), unbroken.
    """

    rungs: np.ndarray
    acceptance: np.ndarray
    seen: np.ndarray
    energies: np.ndarray
    biases: np.ndarray
    broken: np.ndarray
    frames: np.ndarray


class _LookingIntegrator:
    """Steps an integrator and keeps the positions that are looked at on the way."""

    def __init__(self, context: openmm.Context, every: int):
        self._context, self._every = context, every
        self.seen: list[np.ndarray] = []

    def step(self, steps: int) -> None:
        self.seen = []
        for part in look_lengths(steps, self._every):
            self._context.getIntegrator().step(part)
            self.seen.append(positions_of(self._context))


class _Sampler(app.ReplicaExchangeSampler):
    """Hands what each replica passes through to its recorder."""

    def __init__(self, plan: Plan, ladder: Ladder, context: openmm.Context):
        looking = _LookingIntegrator(context, plan.watched.every)
        simulation = SimpleNamespace(context=context, integrator=looking)
        super().__init__([{"temperature": float(t)} for t in plan.temperatures], simulation, plan.steps)
        self._recorders, self._variables = [ladder.recorders[r] for r in ladder.replica], plan.watched.variables
        self.biases = np.zeros(len(ladder.replica))
        for k, (positions, velocities) in enumerate(zip(ladder.positions, ladder.velocities, strict=True)):
            context.setPositions(positions)
            context.setVelocities(velocities)
            self.replicaConformation[k] = _state_of(context)

    def simulateReplica(self, index: int, steps: int | None = None) -> None:
        super().simulateReplica(index, steps)
        self.biases[index] = restraint_energy_of(self.simulation.context)
        seen = np.array(self.simulation.integrator.seen)
        self._recorders[index].look(self._variables(seen), seen)


def _state_of(context: openmm.Context) -> openmm.State:
    return context.getState(positions=True, velocities=True, parameters=True, integratorParameters=True)


@contextmanager
def _seeded_random(seed: int) -> Iterator[None]:
    """OpenMM draws exchanges from Python's global generator: seed it, and put it back."""
    before = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(before)


def start_ladder(plan: Plan, structures: np.ndarray, first: int, seed: int) -> Ladder:
    """Replicas that start from the structures in turn, beginning with ``first``, settled at their temperatures."""
    positions, velocities = [], []
    for k, temperature in enumerate(plan.temperatures):
        context = plan.context(openmm_seed(seed, k), float(temperature))
        context.setPositions(structures[(first + k) % len(structures)])
        thermalise(context, float(temperature), openmm_seed(seed, k))
        advance(context, SETTLING_STEPS)
        state = context.getState(positions=True, velocities=True)
        positions.append(state.getPositions(asNumpy=True)._value)
        velocities.append(state.getVelocities(asNumpy=True)._value)
    recorders = tuple(TransitionRecorder(plan.watched.states) for _ in plan.temperatures)
    return Ladder(np.array(positions), np.array(velocities), np.arange(len(positions)), recorders)


def exchange_round(plan: Plan, ladder: Ladder, exchanges: int, seed: int) -> tuple[Ladder, Round]:
    """Simulate every replica and let them exchange, ``exchanges`` times."""
    betas = 1.0 / (GAS_CONSTANT * plan.temperatures)
    sampler = _Sampler(plan, ladder, plan.context(seed))
    rungs, acceptance, positions, energies, biases = [], [], [], [], []

    def report(sampler: _Sampler) -> None:
        standing = np.array(sampler.replicaStateIndex)
        by_rung = np.argsort(standing)
        energy = np.array([sampler.replicaStateEnergy[i][0]._value for i in by_rung])
        rungs.append(standing)
        acceptance.append(np.exp(np.minimum(0.0, (betas[:-1] - betas[1:]) * (energy[:-1] - energy[1:]))))
        if sampler.currentIteration % plan.sample_every == 0:
            frames = [sampler.replicaConformation[i].getPositions(asNumpy=True)._value for i in by_rung]
            positions.append(np.array(frames))
            energies.append(energy)
            biases.append(sampler.biases[by_rung])

    sampler.reporters.append(report)
    with _seeded_random(seed):
        sampler.simulate(exchanges)
    left = _left(plan, ladder, sampler, rungs[-1])
    seen = np.array(positions).reshape(-1, *ladder.positions.shape)
    broken = plan.isomers.broken(seen.reshape(-1, *seen.shape[2:])).reshape(*seen.shape[:2], -1)
    whole = ~broken[:: plan.frame_every].any(axis=-1)
    identity = np.stack([_by_replica(ladder.replica, row) for row in rungs])
    round_ = Round(
        rungs=identity,
        acceptance=np.mean(acceptance, axis=0),
        seen=plan.recorded(seen),
        energies=np.array(energies).reshape(len(seen), -1),
        biases=np.array(biases).reshape(len(seen), -1),
        broken=broken,
        frames=seen[:: plan.frame_every][whole].astype(np.float32),
    )
    return left, round_


def _by_replica(replica: np.ndarray, standing: np.ndarray) -> np.ndarray:
    """Rung of every replica, in the order of their numbers."""
    rungs = np.empty_like(standing)
    rungs[replica] = standing
    return rungs


def _left(plan: Plan, ladder: Ladder, sampler: _Sampler, simulated_at: np.ndarray) -> Ladder:
    """The ladder after a round, sorted by rung; velocities go to the temperature that the last exchange gave."""
    by_rung = np.argsort(sampler.replicaStateIndex)
    conformations = [sampler.replicaConformation[i] for i in by_rung]
    scale = np.sqrt(plan.temperatures / plan.temperatures[simulated_at[by_rung]])
    return Ladder(
        positions=np.array([state.getPositions(asNumpy=True)._value for state in conformations]),
        velocities=scale[:, None, None] * [state.getVelocities(asNumpy=True)._value for state in conformations],
        replica=ladder.replica[by_rung],
        recorders=ladder.recorders,
    )


# --- the whole ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class ReplicaExchange:
    """What replica exchange gave.

    Attributes:
        seen: what was recorded of each sample, shape (n, n_recorded), all rungs together.
        log_weights: at the lowest temperature, shape (n,).
        walker: the ladder that each sample comes from, shape (n,).
        frames: some positions [nm], shape (m, n_atoms, 3).
        bias: that acted on all rungs, if any.
        temperatures: of the rungs [K].
        acceptance: of exchanges between neighbours, shape (n_rungs - 1,).
        round_trips: of all replicas from the lowest rung to the highest and back.
        discarded: samples thrown away, by what had flipped.
        transitions: between the states, by replicas on their way through the temperatures.
        force_evaluations: of everything.
    """

    seen: np.ndarray
    log_weights: np.ndarray
    walker: np.ndarray
    frames: np.ndarray
    bias: Filled | None
    temperatures: np.ndarray
    acceptance: np.ndarray
    round_trips: int
    discarded: dict[str, int]
    transitions: Transitions
    force_evaluations: int


def sample_replica_exchange(
    dynamics: MolecularDynamics,
    recorded: Recorder,
    structures: np.ndarray,
    config: ReplicaExchangeConfig,
    isomers: Isomers,
    watched: Watched,
    seed: int,
    pool: WorkerPool,
    biased: np.ndarray | None = None,
) -> ReplicaExchange:
    """Grow the bias, choose the ladder, run ``config.walkers`` of them, and weight what all rungs saw.

    Args:
        dynamics: of the molecule, at the lowest temperature.
        recorded: what is kept of each sample.
        structures: starting frames, dealt out to the replicas in turn [nm], shape (n, n_atoms, 3).
        config: temperatures and times.
        isomers: frames unlike both ends are thrown away.
        watched: the states, and how often a transition between them is looked for.
        seed: of the run.
        pool: where the ladders run.
        biased: atoms of the torsions that ``config.flatten`` is for, shape (n, 4); None: no bias.

    Raises:
        UserError: the ladder would need too many replicas, or every sample had flipped.
    """
    bias = None
    if biased is not None and config.flatten is not None:
        bias = fill(dynamics, biased, structures, config.flatten, seed, pool)
    temperatures, cost = _ladder(dynamics, structures, config, seed, pool)
    cost += 0 if bias is None else bias.force_evaluations
    steps = dynamics.steps(config.exchange_interval)
    sample_every = max(1, round(dynamics.steps(config.sample_interval) / steps))
    frame_every = max(1, round(config.frame_interval / config.sample_interval))
    plan = Plan(dynamics, bias, temperatures, recorded, isomers, watched, steps, sample_every, frame_every)
    per_round = max(1, round(config.time / config.sample_interval / _ROUNDS)) * sample_every
    discarded_rounds = int(np.ceil(dynamics.steps(config.discard_time) / (per_round * steps)))
    rounds = discarded_rounds + max(1, round(dynamics.steps(config.time) / (per_round * steps)))
    n = len(temperatures)
    with progress_bar(config.walkers * (rounds + 1), f"replica exchange, {n} temperatures", "round") as bar:
        starts = [(plan, structures, w, openmm_seed(seed, "ladder", w)) for w in range(config.walkers)]
        ladders = pool.map(start_ladder, starts, bar)
        history: list[list[Round]] = [[] for _ in ladders]
        for r in range(rounds):
            if r == discarded_rounds:
                fresh = tuple(TransitionRecorder(watched.states) for _ in temperatures)
                ladders = [Ladder(each.positions, each.velocities, each.replica, fresh) for each in ladders]
            tasks = [(plan, each, per_round, openmm_seed(seed, "exchange", r, w)) for w, each in enumerate(ladders)]
            results = pool.map(exchange_round, tasks, bar)
            ladders = [ladder for ladder, _ in results]
            if r >= discarded_rounds:
                for kept, (_, seen) in zip(history, results, strict=True):
                    kept.append(seen)
    cost += config.walkers * n * (SETTLING_STEPS + rounds * per_round * (steps + 1))
    return _gathered(plan, history, ladders, cost)


def _ladder(
    dynamics: MolecularDynamics, structures: np.ndarray, config: ReplicaExchangeConfig, seed: int, pool: WorkerPool
) -> tuple[np.ndarray, int]:
    """Temperatures of the rungs [K], and the force evaluations that their choice took."""
    lowest, highest = dynamics.temperature_k, config.highest_temperature
    if config.replicas != "auto":
        return np.geomspace(lowest, highest, config.replicas), 0
    at, energies, cost = pilot_energies(dynamics, structures[0], highest, seed, pool)
    return temperature_ladder(lowest, highest, EnergyCurve.fitted(at, energies), config.acceptance), cost


def _gathered(plan: Plan, history: Sequence[Sequence[Round]], ladders: Sequence[Ladder], cost: int) -> ReplicaExchange:
    seen, energies, biases, broken = (
        np.stack([np.concatenate([getattr(seen, name) for seen in rounds]) for rounds in history])
        for name in ("seen", "energies", "biases", "broken")
    )
    whole = ~broken.any(axis=-1)
    if not whole.any():
        raise UserError(
            "Every sample had another chirality or peptide-bond isomer than both end structures; "
            "check the structures or lower sampling.highest_temperature."
        )
    rung = np.broadcast_to(np.arange(len(plan.temperatures)), whole.shape)[whole]
    walker = np.broadcast_to(np.arange(len(history))[:, None, None], whole.shape)[whole]
    counts = broken.sum(axis=(0, 1, 2))
    return ReplicaExchange(
        seen=seen[whole],
        log_weights=lowest_rung_log_weights(energies[whole], rung, plan.temperatures)
        + biases[whole] / plan.dynamics.kt,
        walker=walker,
        frames=np.concatenate([seen.frames for rounds in history for seen in rounds]),
        bias=plan.bias,
        temperatures=plan.temperatures,
        acceptance=np.mean([seen.acceptance for rounds in history for seen in rounds], axis=0),
        round_trips=sum(round_trips(np.concatenate([seen.rungs for seen in rounds])) for rounds in history),
        discarded={name: int(count) for name, count in zip(plan.isomers.names, counts, strict=True) if count},
        transitions=Transitions.joined([r.transitions() for ladder in ladders for r in ladder.recorders]),
        force_evaluations=cost,
    )


def lowest_rung_log_weights(energies: np.ndarray, rung: np.ndarray, temperatures: np.ndarray) -> np.ndarray:
    """Log-weights of samples of all temperatures at the lowest one.

    Args:
        energies: potential [kJ/mol], shape (n,).
        rung: temperature that each sample was drawn at, shape (n,).
        temperatures: of the rungs [K], shape (n_rungs,).
    """
    order = np.argsort(rung, kind="stable")
    reduced = (energies - energies.min()) / (GAS_CONSTANT * temperatures[:, None])
    log_mixture = solved(reduced[:, order], np.bincount(rung, minlength=len(temperatures))).log_mixture
    log_weights = np.empty(len(energies))
    log_weights[order] = -reduced[0, order] - log_mixture
    return log_weights


def round_trips(rungs: np.ndarray) -> int:
    """Ways from the lowest rung to the highest and back, of all replicas; ``rungs`` has shape (n, n_replicas)."""
    total, top = 0, rungs.max()
    for path in rungs.T:
        ends = path[(path == 0) | (path == top)]
        turns = int(np.count_nonzero(np.diff(ends)))
        total += turns // 2
    return total
