"""MBAR where the textbook case ends: ensembles that share nothing."""

from __future__ import annotations

import numpy as np
import pytest

from spacetime_tps.boltzmann.reweighting import solved


def springs(centers: list[float], stiffness: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Samples of harmonic wells in order, and their reduced potentials in all of them."""
    x = np.concatenate([rng.normal(center, stiffness**-0.5, 200) for center in centers])
    return 0.5 * stiffness * (x - np.array(centers)[:, None]) ** 2, np.full(len(centers), 200)


@pytest.mark.parametrize("distance", [3.0, 30.0, 3000.0])
def test_ensembles_that_share_nothing_are_told_apart(distance: float) -> None:
    """Two that overlap, and one farther and farther away: the pair is solved, the groups say what is unknown."""
    reduced, counts = springs([0.0, 1.0, 1.0 + distance], 1.0, np.random.default_rng(0))
    found = solved(reduced, counts)
    assert found.weights.sum(axis=0) == pytest.approx(1.0)
    assert found.free_energies[1] == pytest.approx(0.0, abs=0.25)
    if distance == 3.0:
        assert found.free_energies[2] == pytest.approx(0.0, abs=0.5)
    assert len(set(found.groups[:2])) == 1
    assert len(set(found.groups)) == (1 if distance == 3.0 else 2)


def test_nothing_is_shared_at_all() -> None:
    reduced, counts = springs([0.0, 5e3, 1e4, 2e4], 1.0, np.random.default_rng(1))
    found = solved(reduced, counts)
    assert found.weights.sum(axis=0) == pytest.approx(1.0)
    assert len(set(found.groups)) == 4


def test_windows_of_few_samples_between_two_states() -> None:
    """Curvature that vanishes in some directions: scipy's trust region then divides zero by zero."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        count = int(rng.integers(10, 60))
        centers, stiffness = np.linspace(0.0, 2.5, count), np.exp(rng.uniform(4.0, 7.0, count))
        ends = [rng.normal(center, 0.1, 150) for center in (0.0, 2.5)]
        windows = [rng.normal(a, s**-0.5, 20) for a, s in zip(centers, stiffness, strict=True)]
        seen = [ends[0], *windows, ends[1]]
        x = np.concatenate(seen)
        confined = [np.where(np.abs(x - center) < 0.4, 0.0, 1e4)[None] for center in (0.0, 2.5)]
        held = -stiffness[:, None] * np.cos(x - centers[:, None])
        found = solved(np.concatenate([confined[0], held, confined[1]]), np.array([len(part) for part in seen]))
        assert found.weights.sum(axis=0) == pytest.approx(1.0)
