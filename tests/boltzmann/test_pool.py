"""Pools of windows and confined simulations: free energies against quadrature, and whether their errors hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spacetime_tps.analysis.free_energies import difference_of_states, least_overlap
from spacetime_tps.analysis.windows import STUCK, disagreement
from spacetime_tps.boltzmann.pool import WITHIN_A, WITHIN_B, Pool, Seen, sampler_bias, solve
from spacetime_tps.representations import Torsions, wrap
from tests.oracles import circle

TORSION = Torsions(["theta"], [(0, 1, 2, 3)])
THETA = circle(3600)
ENERGY = 3.0 * (1 - np.cos(2 * THETA)) + 0.8 * np.cos(THETA - 0.4)
"""Wells at 0 and pi, the second deeper, with six kT between them."""
CENTERS = np.linspace(0, np.pi, 8)
NATURAL = 15.0 * np.stack([np.cos(CENTERS), np.sin(CENTERS)], axis=-1)


def in_states(theta: np.ndarray) -> np.ndarray:
    return np.stack([np.abs(theta) < 0.7, np.abs(wrap(theta - np.pi)) < 0.5], axis=-1)


def seen(theta: np.ndarray) -> Seen:
    return Seen(TORSION.features_of_angles(theta[..., None]), in_states(theta), theta[..., None])


def exact() -> float:
    weights = np.exp(-ENERGY)[:, None] * in_states(THETA)
    return float(np.log(weights[:, 0].sum() / weights[:, 1].sum()))


def drawn(logits: np.ndarray, shape: tuple[int, ...], rng: np.random.Generator, repeats: int = 1) -> np.ndarray:
    """Angles of a density on the grid; each comes ``repeats`` times in a row along the last axis."""
    weights = np.exp(logits - logits.max())
    count = (*shape[:-1], shape[-1] // repeats)
    return np.repeat(rng.choice(THETA, count, p=weights / weights.sum()), repeats, axis=-1)


def pool(rng: np.random.Generator, each: int, walkers: int = 2, repeats: int = 1) -> Pool:
    features = np.stack([np.cos(THETA), np.sin(THETA)], axis=-1)
    windows = np.stack([drawn(features @ eta - ENERGY, (walkers, each), rng, repeats) for eta in NATURAL])
    parts = []
    for state in (WITHIN_A, WITHIN_B):
        # what left its state: must not count
        theta = drawn(np.where(in_states(THETA)[:, state], -ENERGY, -20.0), (walkers, each), rng, repeats)
        theta[:, -repeats:] += np.pi
        parts.append(Pool.of_state(state, seen(theta), 2))
    between = Pool.of_windows(NATURAL, seen(windows))
    return parts[0].joined(between).joined(parts[1])


def test_weights_are_those_of_the_unrestrained_ensemble() -> None:
    found = pool(np.random.default_rng(0), 4000)
    weights = np.exp(solve(found, TORSION).log_weights)
    boltzmann = np.exp(-ENERGY) / np.exp(-ENERGY).sum()
    for function in (np.cos, np.sin, lambda theta: np.cos(2 * theta)):
        theta = np.arctan2(found.features[:, 1], found.features[:, 0])
        assert (weights * function(theta)).sum() / weights.sum() == pytest.approx(
            (boltzmann * function(THETA)).sum(), abs=0.03
        )


def test_free_energies_of_windows_and_states_are_those_of_quadrature() -> None:
    found = pool(np.random.default_rng(1), 4000)
    solution = solve(found, TORSION)
    features = np.stack([np.cos(THETA), np.sin(THETA)])
    partition = [*(np.exp(-ENERGY)[:, None] * in_states(THETA)).sum(axis=0)]
    partition[1:1] = np.exp(NATURAL @ features - ENERGY).sum(axis=1)
    assert solution.reweighted.free_energies == pytest.approx(-np.log(np.array(partition) / partition[0]), abs=0.06)
    assert solution.reweighted.overlap.sum(axis=1) == pytest.approx(1.0)
    assert len(found) == int(found.counts.sum()) < 2 * 4000 * 10


@pytest.mark.parametrize("repeats", [1, 5])
def test_intervals_cover_as_often_as_they_say(repeats: int) -> None:
    """Two hundred repetitions: of independent samples, and of samples that come five times each."""
    sigmas, overlaps = [], []
    for seed in range(200):
        solution = solve(pool(np.random.default_rng(seed), 60 * repeats, repeats=repeats), TORSION)
        delta_f, error = difference_of_states(solution)
        sigmas.append((delta_f - exact()) / error)
        overlaps.append(least_overlap(solution))
    assert 120 <= np.count_nonzero(np.abs(sigmas) <= 0.9945) <= 152
    assert np.count_nonzero(np.abs(sigmas) <= 1.96) >= 183
    assert min(overlaps) > 0.03


def test_covariance_is_that_of_repetition() -> None:
    """Of the profile in eight bins, beside the states."""
    edges = np.linspace(-np.pi / 8, 2 * np.pi - np.pi / 8, 9)

    def log_bins(found: Pool) -> np.ndarray:
        theta = np.mod(np.arctan2(found.features[:, 1], found.features[:, 0]) + np.pi / 8, 2 * np.pi) - np.pi / 8
        with np.errstate(divide="ignore"):
            return np.log(((theta[:, None] >= edges[:5]) & (theta[:, None] < edges[1:6])).astype(float))

    values, errors = [], []
    for seed in range(100):
        found = pool(np.random.default_rng(seed), 200)
        estimate = solve(found, TORSION).estimate(log_bins(found))
        differences = np.array([estimate.difference(0, k) for k in range(5)])
        values.append(differences[:, 0])
        errors.append(differences[:, 1])
    scatter, told = np.std(values, axis=0), np.sqrt(np.mean(np.square(errors), axis=0))
    assert told[1:] == pytest.approx(scatter[1:], rel=0.25)


def test_an_ensemble_without_samples_adds_nothing_to_a_variance_wherever_it_stands() -> None:
    """Stuck windows have none, and the last ensemble may be one."""
    sound = pool(np.random.default_rng(4), 200)
    none = Pool.of_windows(NATURAL[:1], seen(np.zeros((1, 2, 5))), kept=np.array([False]))
    found = []
    for made in (sound, sound.joined(none), none.joined(sound)):
        with np.errstate(divide="ignore"):
            estimate = solve(made, TORSION).estimate(np.log(made.in_states.astype(float)))
        found.append(estimate.variance_by_ensemble(0, 1))
    assert found[1] == pytest.approx(np.append(found[0], 0.0), rel=1e-6)
    assert found[2] == pytest.approx(np.append(0.0, found[0]), rel=1e-6)


def test_some_of_the_ensembles_are_a_pool_of_their_own() -> None:
    first, second = (pool(np.random.default_rng(seed), 50) for seed in (1, 2))
    kept = np.arange(2 * len(first.natural)) >= len(first.natural)
    found = first.joined(second).of_ensembles(kept)
    assert difference_of_states(solve(found, TORSION)) == pytest.approx(difference_of_states(solve(second, TORSION)))
    assert np.array_equal(found.features, second.features)
    assert np.array_equal(found.ensemble, second.ensemble)


def test_parts_of_a_variance_say_what_more_samples_of_an_ensemble_are_worth() -> None:
    """With four times as many of the window that adds most, repetitions scatter as the parts foretell."""

    def with_more(seed: int, window: int) -> Pool:
        rng, features = np.random.default_rng(seed), np.stack([np.cos(THETA), np.sin(THETA)], axis=-1)
        more = drawn(features @ NATURAL[window] - ENERGY, (1, 2, 600), rng)
        return pool(rng, 200).joined(Pool.of_windows(NATURAL[window : window + 1], seen(more)))

    def parts_of(seed: int) -> np.ndarray:
        found = pool(np.random.default_rng(seed), 200)
        with np.errstate(divide="ignore"):
            estimate = solve(found, TORSION).estimate(np.log(found.in_states.astype(float)))
        return estimate.variance_by_ensemble(0, 1)

    parts = np.mean([parts_of(seed) for seed in range(50)], axis=0)
    window = int(parts[1:-1].argmax())
    before, after = (
        np.var([difference_of_states(solve(made, TORSION))[0] for made in pools])
        for pools in (
            (pool(np.random.default_rng(seed), 200) for seed in range(300)),
            (with_more(seed, window) for seed in range(300)),
        )
    )
    assert before == pytest.approx(parts.sum(), rel=0.25)
    assert 1 - after / before == pytest.approx(0.75 * parts[1 + window] / parts.sum(), abs=0.12)


def test_a_samplers_bias_is_found_from_its_weights_and_joins_the_windows() -> None:
    """Samples of a density of half the energy, weighted; with windows over a third of the circle."""
    rng = np.random.default_rng(5)
    theta = drawn(-0.5 * ENERGY, (4, 2000), rng).reshape(-1)
    features = TORSION.features_of_angles(theta[:, None])
    log_weights = -0.5 * np.interp(theta, THETA, ENERGY) + 3.0
    probes = np.array([-2.5, -1.0, 0.3, 1.8])
    bias = sampler_bias(features, log_weights, TORSION.features_of_angles(probes[:, None]))
    assert bias == pytest.approx(-0.5 * np.interp(probes, THETA, ENERGY) + 3.0, abs=0.15)
    everywhere = Pool.of_sampler(seen(theta), log_weights, np.repeat(np.arange(4), 2000), 2)
    both = everywhere.joined(pool(np.random.default_rng(6), 200))
    solution = solve(both, TORSION)
    delta_f, error = difference_of_states(solution)
    assert abs(delta_f - exact()) < 3 * error < 0.3
    alone, its_error = difference_of_states(solve(everywhere, TORSION))
    assert abs(alone - exact()) < 3 * its_error
    assert error < its_error


def test_a_window_whose_starts_do_not_meet_is_found_and_left_out() -> None:
    """A weak restraint between the wells, one run in each of them: together they would weigh both alike."""
    rng = np.random.default_rng(3)
    theta = np.stack([drawn(np.where(in_states(THETA)[:, k], -ENERGY, -99.0), (1, 3000), rng) for k in (0, 1)], axis=1)
    weak, both = np.array([[0.0, 1.0]]), seen(theta)
    assert disagreement(both.features)[0] > 5 * STUCK
    sound = pool(rng, 500)
    windows = drawn(TORSION.features_of_angles(THETA[:, None]) @ NATURAL[3] - ENERGY, (1, 2, 500), rng)
    assert disagreement(TORSION.features_of_angles(windows[..., None]))[0] < 0.3 * STUCK
    misled, _ = difference_of_states(solve(sound.joined(Pool.of_windows(weak, both)), TORSION))
    assert abs(misled - exact()) > 0.4
    without = sound.joined(Pool.of_windows(weak, both, kept=np.array([False])))
    assert len(without) == len(sound)
    solution = solve(without, TORSION)
    delta_f, error = difference_of_states(solution)
    assert abs(delta_f - exact()) < 3 * error < 0.4
    assert least_overlap(solution) == pytest.approx(least_overlap(solve(sound, TORSION)), rel=1e-6)
    features = np.stack([np.cos(THETA), np.sin(THETA)])
    partition = np.exp(weak @ features - ENERGY).sum(), (np.exp(-ENERGY) * in_states(THETA)[:, 0]).sum()
    assert solution.reweighted.free_energies[-1] == pytest.approx(-np.log(partition[0] / partition[1]), abs=0.15)


def test_far_from_a_samplers_samples_nothing_can_be_sampled() -> None:
    features = TORSION.features_of_angles(np.full((50, 1), 0.5))
    assert sampler_bias(features, np.zeros(50), TORSION.features_of_angles(np.array([[0.5], [2.0]]))).tolist() == [
        0,
        1e4,
    ]


def test_a_pool_is_read_back_as_it_was(tmp_path: Path) -> None:
    theta = np.linspace(-3, 3, 40)
    everywhere = Pool.of_sampler(seen(theta), np.zeros(40), np.zeros(40, dtype=int), 2)
    both = everywhere.joined(pool(np.random.default_rng(6), 20))
    both.save(tmp_path / "pool.npz")
    again = Pool.load(tmp_path / "pool.npz")
    for name in ("natural", "confined", "features", "in_states", "variables", "ensemble", "walker"):
        assert np.array_equal(getattr(again, name), getattr(both, name))
    assert again.sampler is not None
    assert np.array_equal(again.sampler[0], TORSION.features_of_angles(theta[:, None]))


def test_ensembles_that_share_nothing_leave_the_difference_unknown() -> None:
    """Confined to both states, without windows between them."""
    rng = np.random.default_rng(0)
    theta = np.stack([rng.uniform(-0.6, 0.6, (2, 50)), np.pi + rng.uniform(-0.4, 0.4, (2, 50))])
    parts = [Pool.of_state(state, seen(x), 2) for state, x in zip((WITHIN_A, WITHIN_B), theta, strict=True)]
    _, error = difference_of_states(solve(parts[0].joined(parts[1]), TORSION))
    assert error == np.inf


def test_simulations_and_ensembles_of_joined_pools_keep_apart() -> None:
    """Whose samples are whose: the errors come from how simulations scatter."""
    first, second = (pool(np.random.default_rng(seed), 20, walkers=3) for seed in (1, 2))
    both = first.joined(second)
    assert len(both) == len(first) + len(second)
    for name in ("walker", "ensemble"):
        before, after = getattr(both, name)[: len(first)], getattr(both, name)[len(first) :]
        assert np.array_equal(before, getattr(first, name))
        assert after.min() == before.max() + 1
        assert np.array_equal(after - after.min(), getattr(second, name) - getattr(second, name).min())
    assert np.array_equal(both.features[len(first) :], second.features)
    assert np.array_equal(both.natural[len(first.natural) :], second.natural)
