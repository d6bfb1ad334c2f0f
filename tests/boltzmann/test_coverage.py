"""What coverage says of samples whose coverage is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from spacetime_tps.boltzmann.coverage import connection_gap, coverage, difference_of_states

RNG = np.random.default_rng(0)


def ring(degrees: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two torsions, the second at rest; state A at 0, state B at 120 degrees."""
    angles = np.deg2rad(np.stack([(degrees + 180) % 360 - 180, np.full(len(degrees), 179.0)], axis=-1))
    return angles, np.abs(degrees) < 5, np.abs(degrees - 120) < 5


def test_the_gap_is_the_widest_hole_on_the_better_way() -> None:
    """Over the top of the circle there is a hole of 100 degrees, under it one of 30."""
    degrees = np.concatenate([np.arange(0, 11), np.arange(110, 201), np.arange(230, 360)]).astype(float)
    assert connection_gap(*ring(degrees), RNG) == pytest.approx(30)
    assert connection_gap(*ring(degrees[(degrees < 201)]), RNG) == pytest.approx(100)
    assert connection_gap(*ring(degrees[(degrees < 100)]), RNG) == math.inf


def test_many_samples_are_thinned_but_never_to_an_empty_state() -> None:
    degrees = np.append(np.full(50_000, 1.0), 120.0)
    assert connection_gap(*ring(degrees), RNG) == pytest.approx(119)


def test_weights_and_walkers_give_the_difference_of_the_states() -> None:
    """Walkers say 2 and 4 kT; together 100 of 1400 weights lie in B."""
    degrees = np.array([0.0, 120.0, 0.0, 120.0])
    angles, in_a, in_b = ring(degrees)
    log_weights, walker = np.array([2.0, 0.0, 4.0, 0.0]), np.array([0, 0, 1, 1])
    found = coverage(angles, log_weights, walker, in_a, in_b, 0, 2.5, RNG)
    assert found.delta_f == pytest.approx(2.5 * math.log((math.exp(2) + math.exp(4)) / 2))
    assert found.delta_f_error >= 2.5  # half of 4 - 2 kT, what either walker alone would say
    assert not found.connected
    assert coverage(angles, log_weights, walker, in_a, in_b, 1, 2.5, RNG).connected
    assert not coverage(angles, log_weights, walker, in_a, np.zeros(4, dtype=bool), 1, 2.5, RNG).connected


def chains(stay: np.ndarray, n_walkers: int, n: int, rng: np.random.Generator) -> np.ndarray:
    """State (0 or 1) of chains that stay in each with a given probability, shape (n_walkers * n,), from equilibrium."""
    now = rng.random(n_walkers) < (1 - stay[0]) / (2 - stay.sum())
    seen = []
    for _ in range(n):
        now = np.where(rng.random(n_walkers) < stay[now.astype(int)], now, ~now)
        seen.append(now)
    return np.array(seen).T.ravel().astype(int)


@pytest.mark.parametrize("n_walkers", [1, 4])
def test_the_error_of_the_difference_is_its_scatter(n_walkers: int) -> None:
    """Of 200 repetitions 60 to 85 % of the differences lie within their error, at least 90 % within twice of it."""
    rng, stay, n = np.random.default_rng(1), np.array([0.9, 0.8]), 4000 // n_walkers
    walker = np.repeat(np.arange(n_walkers), n)
    off = []
    for _ in range(200):
        state = chains(stay, n_walkers, n, rng)
        found, error = difference_of_states(np.zeros(len(state)), walker, state == 0, state == 1, 1.0)
        off.append((found - math.log(2)) / error)
    assert 0.6 < np.mean(np.abs(off) < 1) < 0.85
    assert np.mean(np.abs(off) < 2) > 0.9


def test_walkers_that_stay_where_they_are_count_as_one_sample_each() -> None:
    state = np.repeat([0, 0, 1, 1], 1000)
    walker = np.repeat(np.arange(4), 1000)
    _, error = difference_of_states(np.zeros(4000), walker, state == 0, state == 1, 1.0)
    # One walker fewer leaves 2 to 1 or 1 to 2.
    assert error == pytest.approx(math.sqrt(3) * math.log(2))
