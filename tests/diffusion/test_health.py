"""The figures of health on denoisers whose faults are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from spacetime_tps.diffusion.denoiser import Posterior
from spacetime_tps.diffusion.exact import SampleDenoiser
from spacetime_tps.diffusion.health import health, jacobian_asymmetry
from spacetime_tps.representations import Identity

PLANE = Identity(2)
TURN = torch.tensor([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 0.0]], dtype=torch.float64)


def samples() -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.concatenate([rng.normal((-1, 0), 0.3, (300, 2)), rng.normal((1, 0), 0.3, (300, 2))])


def exact() -> SampleDenoiser:
    return SampleDenoiser(PLANE, torch.from_numpy(PLANE.statistics(samples())), torch.zeros(600, dtype=torch.float64))


def figures(denoiser: object) -> dict[str, float]:
    rng = torch.Generator().manual_seed(1)
    return health(denoiser, exact(), PLANE, samples(), 2.0, rng)  # type: ignore[arg-type]


def test_the_exact_posterior_is_healthy() -> None:
    found = figures(exact())
    assert found["ridge_variance_worst"] < 1e-12
    assert found["negative_chord_fraction"] == 0.0
    assert found["jacobian_asymmetry"] < 1e-12


def test_a_variance_that_is_off_by_a_factor_is_found() -> None:
    def double(natural: Tensor) -> Posterior:
        posterior = exact()(natural)
        return Posterior(posterior.mean, 2.0 * posterior.block_variance)

    found = figures(double)
    assert found["ridge_variance_error"] == pytest.approx(np.log(2.0))
    assert found["ridge_variance_worst"] == pytest.approx(np.log(2.0))


def test_a_mean_that_falls_has_negative_chords() -> None:
    def falling(natural: Tensor) -> Posterior:
        posterior = exact()(natural)
        return Posterior(-posterior.mean, posterior.block_variance)

    assert figures(falling)["negative_chord_fraction"] == 1.0


def test_asymmetry_of_a_rotation_added_to_a_gradient() -> None:
    """J = 1 + w R with R antisymmetric: |J - J^T| / |J + J^T| = w |R| / |1|."""

    def turning(natural: Tensor) -> Posterior:
        return Posterior(natural + 0.3 * natural @ TURN, natural[..., :1])

    natural = torch.randn(4, 3, dtype=torch.float64)
    assert jacobian_asymmetry(turning, natural) == pytest.approx(0.3 * np.sqrt(2.0 / 3.0))
