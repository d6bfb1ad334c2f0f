"""Shooting on a double well against brute-force transitions: path lengths, crossing points, fixed lengths."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from scipy.stats import ks_2samp

from spacetime_tps.potentials import DoubleWell
from spacetime_tps.shooting import (
    GaussianSelector,
    Move,
    OverdampedEngine,
    ShootingState,
    ShotPath,
    init,
    step,
    walk,
)
from spacetime_tps.states import Box, State

WELL = DoubleWell(barrier=3.0, stiffness=10.0)
DT, EDGE = 2.5e-3, 0.7
A = State("a", (Box((0,), (-9.0,), (9.0 - EDGE,), None),))
B = State("b", (Box((0,), (EDGE,), (9.0 - EDGE,), None),))
CHAINS, FIXED = 600, 160


@dataclass(frozen=True)
class Truth:
    """Transitions of unbiased walkers: frames from the last exit to the first entry, y where x turns positive."""

    length: np.ndarray
    crossing: np.ndarray
    fixed_above: np.ndarray
    """Frames at positive x in windows of ``FIXED`` frames that begin in A and end in B."""


@pytest.fixture(scope="module")
def truth() -> Truth:
    """5000 walkers for 8000 steps in plain NumPy, started in A and left alone for a while."""
    rng = np.random.default_rng(20261125)
    walkers, steps = 5000, 8000
    x, y = np.full(walkers, -1.0), np.zeros(walkers)
    last, exit_time, crossing = np.full(walkers, "a"), np.zeros(walkers, dtype=int), np.full(walkers, np.nan)
    lengths, crossings, above = [], [], []
    history = np.zeros((FIXED, walkers))
    for t in range(steps):
        noise = np.sqrt(2 * DT) * rng.standard_normal((2, walkers))
        x = x - DT * 12.0 * x * (x**2 - 1) + noise[0]
        y = y - DT * 10.0 * y + noise[1]
        in_a, in_b = x <= -EDGE, x >= EDGE
        crossing = np.where(np.isnan(crossing) & (x > 0), y, crossing)
        arrived = in_b & (last == "a")
        if t > 800:
            lengths.extend(t - exit_time[arrived] + 1)
            crossings.extend(crossing[arrived])
        last = np.where(in_a, "a", np.where(in_b, "b", last))
        exit_time = np.where(in_a | in_b, t, exit_time)
        crossing = np.where(in_a | in_b, np.nan, crossing)
        history[t % FIXED] = x
        if t > 800 and t % 40 == 0:
            first = history[(t + 1) % FIXED]
            above.extend((history > 0).sum(axis=0)[(first <= -EDGE) & in_b])
    return Truth(np.array(lengths), np.array(crossings), np.array(above))


def straight(frames: int) -> ShotPath:
    """A first path that no dynamics would make."""
    points = np.stack([np.linspace(-EDGE - 0.005, EDGE + 0.005, frames), np.full(frames, 0.4)], axis=1)
    born = np.zeros(frames, dtype=int)
    return ShotPath(points, np.zeros((frames, 0)), born.astype(bool), points, born)


def sampled(move: Move, steps: int, frames: int = 60, seed: int = 1) -> list[ShootingState]:
    """The chains' states after so many steps, each independent of the others."""
    engine = OverdampedEngine(WELL, 1.0, DT, (A, B), 1, seed)
    rng = np.random.default_rng(seed)
    states = [init(straight(frames)) for _ in range(CHAINS)]
    for k, state, _ in walk(states, engine, move, rng, steps):
        states[k] = state
    return states


def lengths_of(states: list[ShootingState]) -> np.ndarray:
    return np.array([len(state.path) for state in states])


def crossings_of(states: list[ShootingState]) -> np.ndarray:
    return np.array([state.path.positions[np.argmax(state.path.positions[:, 0] > 0), 1] for state in states])


def sigmas(found: np.ndarray, expected: np.ndarray) -> float:
    error = np.hypot(found.std() / np.sqrt(len(found)), expected.std() / np.sqrt(len(expected)))
    return float(abs(found.mean() - expected.mean()) / error)


def agree(found: np.ndarray, expected: np.ndarray) -> bool:
    return sigmas(found, expected) < 3 and ks_2samp(found, expected).pvalue > 0.01


MOVES = {
    "one_way": (Move(), 100),
    "two_way": (Move(two_way=True), 100),
    "one_way_biased": (Move(selector=GaussianSelector(0, -0.1, 0.3, None)), 160),
    "two_way_biased": (Move(two_way=True, selector=GaussianSelector(0, 0.2, 0.4, None)), 160),
}


@pytest.mark.parametrize("name", list(MOVES))
def test_agrees_with_brute_force(name: str, truth: Truth) -> None:
    move, steps = MOVES[name]
    states = sampled(move, steps)
    assert len(truth.length) >= 2000
    decorrelated = [state for state in states if state.path.born.min() > 0]
    assert len(decorrelated) >= 500
    assert agree(lengths_of(states), truth.length)
    assert agree(crossings_of(states), truth.crossing)
    for state in states:
        where = A.contains(state.path.variables), B.contains(state.path.variables)
        assert where[0].tolist() == [True] + [False] * (len(state.path) - 1)
        assert where[1].tolist() == [False] * (len(state.path) - 1) + [True]


def test_fixed_lengths_agree_with_windows_of_brute_force(truth: Truth) -> None:
    states = sampled(Move(fixed_length=True), 120, frames=FIXED)
    assert {len(state.path) for state in states} == {FIXED}
    above = np.array([(state.path.positions[:, 0] > 0).sum() for state in states])
    assert agree(above, truth.fixed_above)


class LengthBlind:
    """A selector whose weights depend on the path: every trial that connects the states is accepted."""

    def weights(self, variables: np.ndarray) -> np.ndarray:
        return np.full(len(variables), 1.0 / len(variables))


@pytest.mark.parametrize("two_way", [False, True])
def test_without_the_ratio_of_lengths_it_does_not(two_way: bool, truth: Truth) -> None:
    states = sampled(Move(two_way=two_way, selector=LengthBlind()), 60)
    assert not agree(lengths_of(states), truth.length)


def test_without_counting_rejections_it_does_not(truth: Truth) -> None:
    """Each chain's path when it has changed for the twelfth time, however long it was kept before."""
    engine, rng = OverdampedEngine(WELL, 1.0, DT, (A, B), 1, 2), np.random.default_rng(2)
    states, changes = [init(straight(60)) for _ in range(CHAINS)], np.zeros(CHAINS, dtype=int)
    while left := [k for k in range(CHAINS) if changes[k] < 12]:
        made, infos = step([states[k] for k in left], engine, Move(two_way=True), rng)
        for k, state, info in zip(left, made, infos, strict=True):
            states[k] = state
            changes[k] += info.accepted
    assert not agree(lengths_of(states), truth.length)


def test_a_rejected_chain_counts_its_path_again() -> None:
    engine, rng = OverdampedEngine(WELL, 1.0, DT, (A, B), 1, 3), np.random.default_rng(3)
    states = [init(straight(60)) for _ in range(64)]
    after, infos = step(states, engine, Move(two_way=True), rng)
    for old, new, info in zip(states, after, infos, strict=True):
        assert new.steps == old.steps + 1
        assert (new.path is old.path) == (not info.accepted)
    assert {info.accepted for info in infos} == {True, False}


def test_chains_that_do_not_wait_make_their_steps_one_after_the_other() -> None:
    engine, rng = OverdampedEngine(WELL, 1.0, DT, (A, B), 1, 6), np.random.default_rng(6)
    states, order = [init(straight(60)) for _ in range(32)], []
    for k, state, info in walk(states, engine, Move(), rng, 5):
        assert state.steps == states[k].steps + 1
        assert info.accepted == (state.path is not states[k].path)
        states[k] = state
        order.append(state.steps)
    assert [state.steps for state in states] == [5] * 32
    assert order != sorted(order)


@pytest.mark.parametrize("largest", [40, 120])
def test_no_path_is_longer_than_the_maximum_and_rejections_are_told(largest: int) -> None:
    engine, rng = OverdampedEngine(WELL, 1.0, DT, (A, B), 1, 4), np.random.default_rng(4)
    states, reasons = [init(straight(40)) for _ in range(128)], []
    for _ in range(20):
        states, infos = step(states, engine, Move(max_frames=largest), rng)
        reasons += [info.reason for info in infos]
    assert max(len(state.path) for state in states) <= largest
    assert "maximum length" in reasons


def cost_of(run: Callable[[OverdampedEngine], object]) -> int:
    engine = OverdampedEngine(WELL, 1.0, DT, (A, B), 3, 5)
    run(engine)
    return engine.force_evaluations


def test_every_integration_step_is_counted() -> None:
    path = straight(10)
    limits = np.array([5, 7])

    def run(engine: OverdampedEngine) -> None:
        starts, _ = engine.starts([path.part(5, 6)] * 2, 1.0, np.random.default_rng(0))
        assert [len(s) for s in engine.integrate(starts, limits, stop=False)] == [5, 7]

    assert cost_of(run) == 2 * 7 * 3  # both run to the end of the chunk
