"""What coverage says of samples whose coverage is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from spacetime_tps.boltzmann.coverage import connection_gap, coverage

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
    assert found.delta_f_error == pytest.approx(2.5 * math.sqrt(2) / math.sqrt(2))
    assert not found.connected
    assert coverage(angles, log_weights, walker, in_a, in_b, 1, 2.5, RNG).connected
    assert not coverage(angles, log_weights, walker, in_a, np.zeros(4, dtype=bool), 1, 2.5, RNG).connected
