"""Replica exchange of one analytic dihedral, its ladder and its weights."""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np
import pytest

from spacetime_tps.boltzmann.ladder import EnergyCurve, temperature_ladder
from spacetime_tps.boltzmann.recording import Recorder
from spacetime_tps.boltzmann.replica_exchange import (
    ReplicaExchange,
    exchange_round,
    lowest_rung_log_weights,
    round_trips,
    sample_replica_exchange,
)
from spacetime_tps.boltzmann.transitions import Watched
from spacetime_tps.collective_variables import CollectiveVariables
from spacetime_tps.config import ReplicaExchangeConfig
from spacetime_tps.errors import UserError
from spacetime_tps.parallel import WorkerPool
from spacetime_tps.representations.torsions import dihedral_angles
from spacetime_tps.states import Ball, State
from spacetime_tps.topology import Isomers, NamedTorsions
from spacetime_tps.units import GAS_CONSTANT
from tests.boltzmann.dihedral import STRUCTURES, dihedral, energy_kt, histogram_sigmas

KT = GAS_CONSTANT * 300.0
QUADRUPLES = np.array([[0, 1, 2, 3]])
NONE = NamedTorsions([], np.zeros((0, 4), dtype=int))
WATCHED = Watched(
    (
        State("up", (Ball((0,), (math.pi / 2,), 0.5, 2 * np.pi),)),
        State("down", (Ball((0,), (-math.pi / 2,), 0.5, 2 * np.pi),)),
    ),
    CollectiveVariables(["theta"], QUADRUPLES),
    5,
)


def config(**changes: Any) -> ReplicaExchangeConfig:
    given: dict[str, Any] = {
        "walkers": 4, "highest_temperature": "1500 K", "exchange_interval": "0.4 ps", "time": "300 ps",
        "discard_time": "10 ps", "sample_interval": "0.4 ps", "frame_interval": "20 ps", "acceptance": 0.5,
    }  # fmt: skip
    return ReplicaExchangeConfig(kind="replica_exchange", **(given | changes))


def sample(workers: int = 1, seed: int = 1, biased: np.ndarray | None = None, **changes: Any) -> ReplicaExchange:
    return sample_in(WorkerPool(workers), seed, biased, **changes)


ALL_WHOLE = Isomers(NONE, NONE, np.zeros((2, 0)), np.zeros((2, 0), dtype=bool))


def sample_in(
    pool: WorkerPool, seed: int = 1, biased: np.ndarray | None = None, isomers: Isomers = ALL_WHOLE, **changes: Any
) -> ReplicaExchange:
    with pool:
        return sample_replica_exchange(
            dihedral(), Recorder(QUADRUPLES), STRUCTURES, config(**changes), isomers, WATCHED, seed, pool, biased
        )


@pytest.fixture(scope="module")
def sampled() -> ReplicaExchange:
    return sample(workers=2)


def test_weighted_histogram_is_the_boltzmann_distribution(sampled: ReplicaExchange) -> None:
    """Errors from the four ladders and five blocks in time of each; the wells differ by 1.4 kT, the ridges by 8."""
    parts = [part for w in range(4) for part in np.array_split(np.flatnonzero(sampled.walker == w), 5)]
    sigmas, off, _ = histogram_sigmas(sampled.seen[:, 0], sampled.log_weights, parts, energy_kt)
    assert np.abs(sigmas).max() < 4.5
    assert np.mean(sigmas**2) < 3.2  # the largest of ten seeds is 2.6
    assert np.abs(off).max() < 0.7  # and 0.51


def test_the_ladder_has_the_acceptance_that_it_was_chosen_for(sampled: ReplicaExchange) -> None:
    """Six coordinates hardly differ from five to seven rungs; normal energies are an approximation for so few."""
    assert sampled.temperatures[[0, -1]] == pytest.approx([300, 1500])
    assert np.ptp(np.diff(np.log(sampled.temperatures))) < 1e-12
    assert 0.45 < sampled.acceptance.min() <= sampled.acceptance.max() < 0.65
    assert sampled.round_trips > 20
    assert len(sampled.transitions) > 20
    assert sampled.discarded == {}


FLATTEN = {
    "walkers": 2,
    "bias_factor": 15,
    "build_time": "80 ps",
    "exchange_interval": "4 ps",
    "hill_interval": "0.4 ps",
}


def test_a_bias_fills_the_ridges_and_is_weighed_out_again(sampled: ReplicaExchange) -> None:
    """Without it a sample in two hundred lies in the bins of the ridges, where F is 7 kT; with it one in twenty."""
    flat = sample(workers=2, biased=QUADRUPLES, flatten=FLATTEN)
    parts = [part for w in range(4) for part in np.array_split(np.flatnonzero(flat.walker == w), 5)]
    sigmas, off, inside = histogram_sigmas(flat.seen[:, 0], flat.log_weights, parts, energy_kt)
    assert np.abs(sigmas).max() < 4.5
    assert np.mean(sigmas**2) < 2.5
    assert np.abs(off).max() < 0.3
    _, _, before = histogram_sigmas(sampled.seen[:, 0], sampled.log_weights, parts, energy_kt)
    ridges = [0, 5, 6, 11]
    assert inside.mean(axis=0)[ridges].min() > 4 * before.mean(axis=0)[ridges].min()
    assert inside.mean(axis=0)[ridges].min() > 0.03
    assert flat.force_evaluations == sampled.force_evaluations + 2 * 80 / 0.004


def test_workers_and_the_global_generator_do_not_matter() -> None:
    import random

    short: dict[str, Any] = {"walkers": 2, "time": "8 ps", "discard_time": "0.4 ps", "replicas": 3}
    random.seed(1)
    first = sample(workers=1, **short)
    after = random.random()
    random.seed(2)
    second = sample(workers=2, **short)
    for name in ("seen", "log_weights", "walker", "frames", "acceptance"):
        assert np.array_equal(getattr(first, name), getattr(second, name)), name
    random.seed(1)
    assert after == random.random()
    assert not np.array_equal(first.seen, sample(seed=2, **short).seen)
    assert 0.2 < first.acceptance.min() <= first.acceptance.max() < 0.8
    assert first.bias is None
    assert first.force_evaluations == 2 * 3 * (2000 + 21 * (100 + 1))


class Upper:
    """Calls a frame broken whose dihedral is positive."""

    names = ("up", "never")

    def broken(self, frames: np.ndarray) -> np.ndarray:
        up = dihedral_angles(frames, QUADRUPLES)[:, 0] > 0
        return np.stack([up, np.zeros_like(up)], axis=-1)


def test_what_is_broken_is_left_out_and_counted() -> None:
    """Of the samples and of the frames that are kept, at every temperature."""
    short: dict[str, Any] = {"walkers": 1, "replicas": 3, "time": "8 ps", "frame_interval": "0.8 ps"}
    found = sample_in(WorkerPool(1), isomers=cast(Isomers, Upper()), **short)
    assert len(found.seen) + found.discarded["up"] == 20 * 3
    assert set(found.discarded) == {"up"}
    assert found.discarded["up"] > 5
    assert found.seen[:, 0].max() <= 0
    assert len(found.frames) > 5
    assert dihedral_angles(found.frames.astype(float), QUADRUPLES).max() <= 1e-5


class WatchedPool(WorkerPool):
    """Keeps the recorders of transitions of each round of one ladder, before and after it."""

    def __init__(self) -> None:
        super().__init__(1)
        self.before: list[set[int]] = []
        self.after: list[set[int]] = []
        self._alive: list[Any] = []  # or another object could have the same id

    def map(self, task: Any, arguments: Any, *more: Any) -> list[Any]:
        results = super().map(task, arguments, *more)
        if task is exchange_round:
            ((_, ladder, _, _),), ((left, _),) = arguments, results
            self._alive += [*ladder.recorders, *left.recorders]
            self.before.append(set(map(id, ladder.recorders)))
            self.after.append(set(map(id, left.recorders)))
        return results


def test_transitions_are_counted_from_the_end_of_what_is_discarded() -> None:
    """Three rounds of 0.4 ps settle; the recorders of the fourth are new, and stay until the end."""
    pool = WatchedPool()
    sample_in(pool, walkers=1, replicas=2, time="8 ps", discard_time="1.2 ps")
    assert len(pool.before) == 3 + 20
    kept = [earlier == later for earlier, later in zip(pool.after, pool.before[1:], strict=False)]
    assert kept == [True, True, False] + [True] * 19


@pytest.mark.parametrize("dof", [20, 200])
def test_expected_acceptance_is_that_of_harmonic_oscillators(dof: int) -> None:
    """U of n oscillators is Gamma distributed with shape n / 2."""
    rng, cold, hot = np.random.default_rng(dof), 300.0, 300.0 * 1.25
    first, second = (GAS_CONSTANT * t * rng.gamma(dof / 2, size=200_000) for t in (cold, hot))
    exponent = (1 / cold - 1 / hot) / GAS_CONSTANT * (first - second)
    brute = np.exp(np.minimum(0.0, exponent)).mean()
    curve = EnergyCurve(np.array([0.0, dof / 2 * GAS_CONSTANT, 0.0]))
    assert curve.acceptance(cold, hot) == pytest.approx(brute, abs=0.015)


def test_a_ladder_that_would_need_too_many_rungs_is_refused() -> None:
    water = EnergyCurve(np.array([0.0, 9000 * GAS_CONSTANT, 0.0]))
    with pytest.raises(UserError, match="more than 32 replicas"):
        temperature_ladder(300.0, 600.0, water, 0.3)
    assert len(temperature_ladder(300.0, 600.0, EnergyCurve(np.array([0.0, 60 * GAS_CONSTANT, 0.0])), 0.3)) == 5


def test_weights_of_an_oscillator_at_four_temperatures_are_those_of_its_partition_functions() -> None:
    """log w = -b_0 U - log sum_k N_k b_k^(1/2) exp(-b_k U): f_k is known."""
    temperatures = np.geomspace(300, 900, 4)
    rng, counts = np.random.default_rng(0), np.array([4000, 3000, 2000, 1000])
    rung = rng.permutation(np.repeat(np.arange(4), counts))
    energies = 0.5 * GAS_CONSTANT * temperatures[rung] * rng.standard_normal(len(rung)) ** 2
    found = lowest_rung_log_weights(energies, rung, temperatures)
    betas = 1 / (GAS_CONSTANT * temperatures)
    logits = np.log(counts)[:, None] + 0.5 * np.log(betas)[:, None] - betas[:, None] * energies
    exact = -betas[0] * energies - np.logaddexp.reduce(logits, axis=0)
    assert found - found.mean() == pytest.approx(exact - exact.mean(), abs=0.03)
    weights = np.exp(found - found.max())
    assert (weights * energies).sum() / weights.sum() == pytest.approx(KT / 2, rel=0.03)


def test_round_trips_go_down_and_up_again() -> None:
    assert round_trips(np.array([[0, 1, 2, 1, 0, 1, 2], [2, 1, 0, 1, 2, 1, 0], [1, 0, 1, 0, 1, 0, 1]]).T) == 2
