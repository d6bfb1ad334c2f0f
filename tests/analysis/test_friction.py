"""Linear response against a harmonic system that is dragged, where everything is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import expm, solve_continuous_lyapunov

from spacetime_tps.analysis.friction import friction_of

DISTANCE, WINDOWS, STARTS, INTERVAL = 6.0, 5, 40, 0.05
SHARE = np.array([0.0, 0.1, 0.4, 0.8, 1.0])


def slope(friction: float) -> np.ndarray:
    """Drift matrix of (x, v) in U = x^2 / 2 at kT = 1 with unit mass: overdamped for friction above 2."""
    return np.array([[0.0, 1.0], [-1.0, -friction]])


def at_rest(friction: float, rng: np.random.Generator, count: int = 12_000) -> np.ndarray:
    """x in the order of time, shape (WINDOWS, STARTS, count, 1): exact discretisation of Langevin dynamics."""
    kept = expm(INTERVAL * slope(friction))
    assert solve_continuous_lyapunov(slope(friction), np.diag([0.0, -2 * friction])) == pytest.approx(np.eye(2))
    noise = np.linalg.cholesky(np.eye(2) - kept @ kept.T)
    state = rng.normal(size=(WINDOWS, STARTS, 2))
    seen = np.empty((WINDOWS, STARTS, count, 1))
    for n in range(count):
        state = state @ kept.T + rng.normal(size=state.shape) @ noise.T
        seen[:, :, n, 0] = state[..., 0]
    return seen


def dragged(friction: float, points: int, interval: float) -> float:
    """Exact mean dissipated work of eta in U - eta x moved from 0 to DISTANCE in equal steps."""
    kept, step = expm(interval * slope(friction)), DISTANCE / points
    mean, eta, work = np.zeros(2), 0.0, 0.0
    for _ in range(points):
        work -= step * mean[0]
        eta += step
        rest = np.array([eta, 0.0])
        mean = rest + kept @ (mean - rest)
    return work + 0.5 * DISTANCE**2


@pytest.mark.parametrize("friction", [0.3, 4.0])
@pytest.mark.parametrize("interval", [0.05, 0.5, 20.0])
def test_dissipation_is_that_of_a_harmonic_system(friction: float, interval: float) -> None:
    """Oscillating and overdamped; steps far shorter than the relaxation, about as long, and far longer."""
    found = friction_of(SHARE, np.full((WINDOWS, 1), DISTANCE), at_rest(friction, np.random.default_rng(2)), INTERVAL)
    assert found.length == pytest.approx(DISTANCE, rel=0.03)
    assert found.mean_relaxation == pytest.approx(friction, rel=0.12)
    if interval < 20.0:
        assert found.dissipation(2000, interval) == pytest.approx(dragged(friction, 2000, interval), rel=0.12)
    elif friction > 2.0:
        assert dragged(friction, 2000, interval) == pytest.approx(found.length**2 / 4000, rel=0.07)


def test_no_motion_dissipates_nothing() -> None:
    found = friction_of(SHARE, np.zeros((WINDOWS, 1)), at_rest(1.0, np.random.default_rng(2), 100), INTERVAL)
    assert found.dissipation(100, 1.0) == 0.0
