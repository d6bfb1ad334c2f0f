"""Rate constants and transition paths out of ridge windows, against the exact chain and brute force."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import ks_2samp

from spacetime_tps.analysis.rates import (
    Rates,
    ShotEnsemble,
    Stay,
    effective_share,
    pareto_k,
    rates_of,
    shot_ensemble,
)
from spacetime_tps.boltzmann.pool import WITHIN_A, WITHIN_B, Pool, Seen
from spacetime_tps.boltzmann.windows import WindowSteps, sample_windows_of_potential
from spacetime_tps.collective_variables import CollectiveVariables
from spacetime_tps.parallel import WorkerPool
from spacetime_tps.potentials import DoubleWell
from spacetime_tps.representations import Identity
from spacetime_tps.representations.ridge import RidgeWindows
from spacetime_tps.shooting import OverdampedEngine
from spacetime_tps.shooting.chains import EngineRecipe
from spacetime_tps.shooting.engine import Phase
from spacetime_tps.shooting.shots import RidgeSpace, ShotPlan, Shots, shots_from
from spacetime_tps.states import Box, State
from tests.oracles import euler_maruyama_rates

EDGE, DT, BARRIER = 0.7, 2.5e-3, 3.0
WELL = DoubleWell(barrier=BARRIER, stiffness=10.0)
A = State("a", (Box((0,), (-9.0,), (9.0 - EDGE,), None),))
B = State("b", (Box((0,), (EDGE,), (9.0 - EDGE,), None),))
RECIPE = EngineRecipe(CollectiveVariables(["x", "y"], None), (A, B), 1, potential=WELL, time_step=DT)
SPACE, PLANE = Identity(2), RidgeSpace((0, 1))
REPEATS, WALKERS = 40, 6
TILTED = np.array([np.cos(0.3), np.sin(0.3)])
"""A direction that is not the best: the weights have to make up for it."""
WINDOWS = RidgeWindows(
    np.array([[1.0, 0.0], TILTED, [1.0, 0.0]]),
    np.array([-0.15, 0.1, 0.0]),
    np.array([40.0, 40.0, 12.0]),
    np.zeros((3, 2)),
    np.zeros(3),
)


def seen(points: np.ndarray) -> Seen:
    return Seen(points, np.stack([A.contains(points), B.contains(points)], axis=-1), points)


@dataclass(frozen=True)
class Repeats:
    """So many independent measurements."""

    pools: list[Pool]
    stays: list[tuple[Stay, Stay]]
    shots: list[Shots]


@cache
def repeats() -> Repeats:
    y, snr = np.linspace(-1, 1, 9), 8.0
    eta = np.column_stack([snr * y, 0 * y, np.full(9, -snr / 2)])
    etas = np.concatenate([np.zeros((1, 3)), eta, np.zeros((1, 3))])
    starts = np.stack([np.concatenate([[-1], y, [1]]), np.zeros(11)], axis=-1)
    steps = WindowSteps(equilibration=400, sampled=4000, every=20, time_step=2.5e-3)
    many = np.repeat(starts[:, None], 2 * REPEATS, axis=1)
    points, _ = sample_windows_of_potential(WELL, 1.0, SPACE, etas, many, steps, seed=1)
    free = OverdampedEngine(WELL, 1.0, DT, (A, B), 1, 2)
    ends = np.repeat(np.array([[-1.0, 0.0], [1.0, 0.0]]), 6 * REPEATS, axis=0)
    walked = free.integrate(Phase(ends, np.zeros((len(ends), 0))), np.full(len(ends), 2000), stop=False)
    looks = np.array([walk.variables for walk in walked]).reshape(2, REPEATS, 6, 2000, 2)
    plan = ShotPlan(equilibration_frames=200, spacing_frames=40, shots=20, max_frames=5000)
    centers = np.column_stack([WINDOWS.center, np.zeros(3)])
    from_here = np.tile(np.repeat(centers[:, None], WALKERS, axis=1), (REPEATS, 1, 1))
    all_windows = WINDOWS[np.tile(np.arange(3), REPEATS)]
    shots = shots_from(RECIPE, PLANE, all_windows, from_here, plan, 3, "shots", WorkerPool(1))
    pools, stays, some = [], [], []
    for k in range(REPEATS):
        own = seen(points[:, 2 * k : 2 * k + 2])
        both = [Pool.of_state(state, own[row], 3) for state, row in ((WITHIN_A, 0), (WITHIN_B, -1))]
        pools.append(both[0].joined(Pool.of_windows(eta, own[1:-1])).joined(both[1]))
        in_a, in_b = A.contains(looks[:, k]), B.contains(looks[:, k])
        stays.append((Stay.of(in_a[0], in_b[0]), Stay.of(in_b[1], in_a[1])))
        some.append(shots.of_windows(3 * k + np.arange(3)))
    return Repeats(pools, stays, some)


def ensemble(k: int) -> ShotEnsemble:
    found = repeats()
    shots = found.shots[k]
    return shot_ensemble(found.pools[k], SPACE, WINDOWS, PLANE, shots, seen(shots.positions))


@cache
def rates() -> list[Rates]:
    return [rates_of(ensemble(k), repeats().stays[k], DT) for k in range(REPEATS)]


def test_rate_constants_are_those_of_the_chain_and_their_errors_hold() -> None:
    grid = np.linspace(-2.2, 2.2, 900)
    k_ab, k_ba, p_a = euler_maruyama_rates(lambda x: -4 * BARRIER * x * (x**2 - 1), 1.0, DT, -EDGE, EDGE, grid)
    found = np.array([each.log_constants for each in rates()])
    errors = np.array([each.errors for each in rates()])
    for side, exact in enumerate(np.log([k_ab, k_ba])):
        sigmas = (found[:, side] - exact) / errors[:, side]
        assert 18 <= (np.abs(sigmas) < 1).sum() <= 36, sigmas  # 68 % of 40, three standard deviations
        assert (np.abs(sigmas) < 1.96).sum() >= 33
        assert abs(found[:, side].mean() - exact) < 3 * found[:, side].std() / np.sqrt(REPEATS) + 0.03
    populations = np.mean([each.populations for each in rates()], axis=0)
    assert np.mean([each.accounted for each in rates()]) == pytest.approx(1.0, abs=0.03)
    assert populations == pytest.approx([p_a, 1 - p_a], abs=0.03)


def test_weighted_paths_are_the_transition_path_ensemble() -> None:
    """Lengths against unbiased walkers; without the weights they differ."""
    rng = np.random.default_rng(5)
    free = OverdampedEngine(WELL, 1.0, DT, (A, B), 1, 6)
    starts = np.repeat(np.array([[-1.0, 0.0]]), 1500, axis=0)
    walked = free.integrate(Phase(starts, np.zeros((1500, 0))), np.full(1500, 8000), stop=False)
    expected = np.concatenate([transitions(walk.variables) for walk in walked])
    chosen, plain = [], []
    for k in range(REPEATS):
        found = ensemble(k)
        lengths = np.array([len(path) for path in found.shots.paths])
        chosen.extend(rng.choice(lengths, int(found.effective), p=found.weights))
        plain.extend(lengths)
    assert len(expected) > 1000
    assert ks_2samp(chosen, expected).pvalue > 0.01
    assert ks_2samp(plain, expected).pvalue < 1e-4
    times = [each.transition_time for each in rates()]
    assert np.mean(times) == pytest.approx(DT * (expected.mean() - 1), rel=0.05)


def transitions(walk: np.ndarray) -> list[int]:
    """Frames of the transitions from A to B in a walk, both ends counted."""
    where = np.where(A.contains(walk), 1, np.where(B.contains(walk), 2, 0))
    found, last, left = [], 0, 0
    for t, state in enumerate(where):
        if state == 2 and last == 1:
            found.append(t - left + 1)
        if state:
            last, left = state, t
    return found


def test_windows_alone_tell_how_many_paths_a_shot_is_worth() -> None:
    """Free energies of the three windows by their own points; those of all other samples change them little."""
    found = ensemble(0)
    alone = effective_share(WINDOWS, PLANE, found.shots) * len(found.shots)
    assert alone == pytest.approx(found.effective, rel=0.1)
    assert alone < 0.9 * len(found.shots.paths)
    none = found.shots.of_windows(np.zeros(0, dtype=int))
    assert (
        effective_share(WINDOWS[:1], PLANE, replace(none, window=np.zeros(1, dtype=int), variables=np.zeros((1, 2))))
        == 0.0
    )


def test_shots_know_where_they_went() -> None:
    shots = repeats().shots[0]
    assert len(shots) == 3 * WALKERS * 20
    connected = np.sort(shots.ends, axis=1).tolist()
    assert [k for k, ends in enumerate(connected) if ends == [1, 2]] == sorted(shots.shot.tolist())
    assert (shots.inside == seen(shots.variables).in_states.any(axis=1)).all()
    assert (shots.ends[shots.inside] == 0).all()
    for path, k in zip(shots.paths, shots.shot, strict=True):
        assert A.contains(path.variables).tolist() == [True] + [False] * (len(path) - 1)
        assert B.contains(path.variables).tolist() == [False] * (len(path) - 1) + [True]
        assert np.abs(path.positions - shots.positions[k]).max(axis=1).min() < 1e-6  # single precision


def test_shots_that_went_nowhere_are_stored_too(tmp_path: Path) -> None:
    """None connects, since two frames are too few, and what was lost is found again."""
    plan = ShotPlan(equilibration_frames=1, spacing_frames=1, shots=3, max_frames=2)
    starts = np.zeros((3, 2, 2))
    shots = shots_from(RECIPE, PLANE, WINDOWS, starts, plan, 3, "short", WorkerPool(1))
    assert not shots.paths
    assert len(shots.lost) == len(shots) == 18
    shots.save(tmp_path / "round.npz")
    again = Shots.load(tmp_path / "round.npz")
    assert again.lost.tolist() == shots.lost.tolist()
    assert again.losses.tolist() == shots.losses.tolist()
    assert (again.paths, len(again.shot)) == ([], 0)


def test_joined_shots_are_those_of_both() -> None:
    first, second = repeats().shots[:2]
    both = first.joined(second, len(WINDOWS))
    assert both.window.max() == 2 * len(WINDOWS) - 1
    assert len(np.unique(both.walker)) == 6 * WALKERS
    assert both.positions[both.shot[-1]] == pytest.approx(second.positions[second.shot[-1]])
    assert len(both.paths) == len(first.paths) + len(second.paths)


def test_a_stay_ends_where_the_other_state_is_reached() -> None:
    own = np.array([[1, 1, 0, 1, 0, 0, 1], [1, 0, 0, 1, 1, 1, 1]], dtype=bool)
    other = np.array([[0, 0, 0, 0, 1, 0, 0], [0, 0, 0, 0, 0, 0, 0]], dtype=bool)
    found = Stay.of(own, other)
    assert found.inside == pytest.approx((3 + 5) / (4 + 7))
    left = np.log([5 / 7, 3 / 4])
    assert found.error == pytest.approx(np.sqrt(0.5 * ((left - left.mean()) ** 2).sum()))
    assert np.isnan(Stay.of(own[:1], other[:1]).error)


@pytest.mark.parametrize("shape", [0.2, 0.5, 0.9])
def test_the_tail_of_weights_has_its_shape(shape: float) -> None:
    rng = np.random.default_rng(0)
    found = [pareto_k((1.0 - rng.random(4000)) ** -shape) for _ in range(20)]
    assert np.mean(found) == pytest.approx(shape, abs=0.08)
    assert np.isnan(pareto_k(np.ones(24)))
    assert pareto_k(np.ones(100)) == -np.inf


def test_shares_and_transition_times_have_errors_that_hold() -> None:
    """The well is its own mirror image in y, so half of the flux passes above zero where x first does."""
    shares, times = [], []
    for k in range(REPEATS):
        found = ensemble(k)
        own = np.array([path.variables[(path.variables[:, 0] >= 0).argmax(), 1] > 0 for path in found.shots.paths])
        (share, rest) = found.averages([own.astype(float), (~own).astype(float)])
        assert share[0] + rest[0] == pytest.approx(1.0)
        assert share[0] == pytest.approx(found.weights[own].sum())
        assert share[1] == pytest.approx(rest[1], rel=1e-6)
        shares.append(share)
        times.append((rates()[k].transition_time, rates()[k].transition_time_error))
    for found_values, expected in ((np.array(shares), 0.5), (np.array(times), np.mean([t for t, _ in times]))):
        sigmas = (found_values[:, 0] - expected) / found_values[:, 1]
        assert 18 <= (np.abs(sigmas) < 1).sum() <= 36, sigmas
        assert (np.abs(sigmas) < 1.96).sum() >= 33
        assert abs(found_values[:, 0].mean() - expected) < 3 * found_values[:, 0].std() / np.sqrt(REPEATS)
    ((everything, error),) = ensemble(0).averages([np.ones(len(ensemble(0).shots.paths))])
    assert everything == pytest.approx(1.0)
    assert error == pytest.approx(0.0, abs=1e-9)
