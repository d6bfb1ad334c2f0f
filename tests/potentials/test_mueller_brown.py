from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.optimize import root

from spacetime_tps.potentials import MuellerBrown

# Published stationary points and energies (Müller and Brown 1979, and many papers since), to the digits given there.
MINIMA = [((-0.558, 1.442), -146.70), ((0.623, 0.028), -108.17), ((-0.050, 0.467), -80.77)]
SADDLES = [((-0.822, 0.624), -40.66), ((0.212, 0.293), -72.25)]


def gradient(point: np.ndarray) -> np.ndarray:
    return MuellerBrown().gradient(torch.from_numpy(np.asarray(point, dtype=float))).numpy()


def hessian(point: np.ndarray, h: float = 1e-5) -> np.ndarray:
    return np.array([(gradient(point + h * e) - gradient(point - h * e)) / (2 * h) for e in np.eye(2)])


@pytest.mark.parametrize(
    ("published", "energy", "negative_directions"),
    [(point, energy, 0) for point, energy in MINIMA] + [(point, energy, 1) for point, energy in SADDLES],
)
def test_published_stationary_points(published: tuple[float, float], energy: float, negative_directions: int) -> None:
    found = root(gradient, published, tol=1e-12)
    assert found.success
    assert np.abs(gradient(found.x)).max() < 1e-8
    assert found.x == pytest.approx(published, abs=6e-4)  # published to three digits
    assert MuellerBrown().energy(torch.from_numpy(found.x)).item() == pytest.approx(energy, abs=6e-3)
    assert (np.linalg.eigvalsh(hessian(found.x)) < 0).sum() == negative_directions


def test_energy_by_hand_at_the_origin_and_at_a_centre() -> None:
    """The four terms written out, with the parameters of the paper."""

    def energy(x: float, y: float) -> float:
        return (
            -200 * math.exp(-((x - 1) ** 2) - 10 * y**2)
            - 100 * math.exp(-(x**2) - 10 * (y - 0.5) ** 2)
            - 170 * math.exp(-6.5 * (x + 0.5) ** 2 + 11 * (x + 0.5) * (y - 1.5) - 6.5 * (y - 1.5) ** 2)
            + 15 * math.exp(0.7 * (x + 1) ** 2 + 0.6 * (x + 1) * (y - 1) + 0.7 * (y - 1) ** 2)
        )

    points = [(0.0, 0.0), (-0.5, 1.5), (1.1, -0.4), (-1.3, 0.9)]
    found = MuellerBrown().energy(torch.tensor(points, dtype=torch.float64))
    assert found.tolist() == pytest.approx([energy(*point) for point in points], rel=1e-13)
