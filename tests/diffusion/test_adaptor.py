"""A network of one's own under the contract, against the closed form of Gaussian data."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from spacetime_tps.config import GeodesicConfig
from spacetime_tps.diffusion.adaptor import NetworkDenoiser, variance_preserving
from spacetime_tps.diffusion.exact import GaussianMixtureDenoiser
from spacetime_tps.geometry.geodesic import optimise_geodesics
from spacetime_tps.representations import Identity

SPACE = Identity(3)


def exact() -> GaussianMixtureDenoiser:
    return GaussianMixtureDenoiser(np.array([[-1.0, 0.2, 0.0], [0.7, 0.0, 0.4]]), np.array([0.5, 0.8]), np.ones(2) / 2)


def mean_network(noisy: Tensor, log_snr: Tensor) -> Tensor:
    """E[x | x_t] of the same mixture, as a user's network would give it."""
    chart = torch.cat([noisy / variance_preserving(log_snr), log_snr], dim=-1)
    return exact()(SPACE.natural(chart)).mean[..., :-1]


def test_moments_follow_from_the_mean_alone() -> None:
    rng = torch.Generator().manual_seed(0)
    chart = torch.cat([torch.randn(5, 7, 3, generator=rng), 4 * torch.rand(5, 7, 1, generator=rng)], -1).double()
    natural = SPACE.natural(chart)
    found, truth = NetworkDenoiser(mean_network, 3)(natural), exact()(natural)
    assert torch.allclose(found.mean, truth.mean, atol=1e-10)
    assert torch.allclose(found.block_variance, truth.block_variance, atol=1e-10)
    assert found.log_partition is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_its_geodesic_is_that_of_the_closed_form(dtype: torch.dtype) -> None:
    channel = SPACE.channels(np.array([-1.2, 0.0, 0.1]), np.array([1.0, 0.3, 0.2]), 3.0)
    config = GeodesicConfig(points=32, nodes=8, fine_factor=4, starts=1)
    own = NetworkDenoiser(mean_network, 3, dtype=dtype)
    lengths = [optimise_geodesics(denoiser, SPACE, channel, config)[0].curve.length for denoiser in (own, exact())]
    assert lengths[0] == pytest.approx(lengths[1], rel=1e-3)
