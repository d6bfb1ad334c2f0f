from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from spacetime_tps.representations import Identity
from tests.oracles import gaussian_log_partition, gaussian_posterior

PLANE = Identity(2)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


def test_features_and_statistics() -> None:
    points = np.array([[3.0, -4.0], [0.0, 0.5]])
    assert PLANE.features(points).tolist() == points.tolist()
    assert PLANE.statistics(points).tolist() == [[3.0, -4.0, 25.0], [0.0, 0.5, 0.25]]
    assert (PLANE.n_features, PLANE.n_parameters, PLANE.n_coordinates, PLANE.log_snr_coordinates) == (2, 3, 3, [2])


def test_natural_by_hand_and_chart_as_its_inverse() -> None:
    chart = torch.tensor([0.5, -2.0, math.log(8.0)], dtype=torch.float64)
    assert PLANE.natural(chart).tolist() == pytest.approx([4.0, -16.0, -4.0])
    charts = 2.0 * random(20, 3)
    assert torch.allclose(PLANE.chart(PLANE.natural(charts)), charts, atol=1e-12)
    eta = PLANE.natural(charts)
    assert torch.allclose(PLANE.natural(PLANE.chart(eta)), eta, rtol=1e-12)
    assert torch.allclose(PLANE.block_log_snr(eta), charts[:, 2:], atol=1e-12)


def test_noised() -> None:
    x, log_snr, noise = random(7, 2), random(7, 1, seed=1), random(7, 2, seed=2)
    eta = PLANE.noised(x, log_snr, noise)
    snr = log_snr.exp()
    assert torch.allclose(eta[:, :2], snr * (x + noise / snr.sqrt()))
    assert torch.allclose(eta[:, 2:], -snr / 2)


def test_block_variance_is_the_trace_of_the_covariance() -> None:
    points = np.random.default_rng(3).gamma(2.0, [1.0, 0.3], (500, 2))
    mean = torch.from_numpy(PLANE.statistics(points).mean(axis=0))
    assert PLANE.block_variance(mean).tolist() == pytest.approx([points.var(axis=0).sum()])
    assert PLANE.center(mean).tolist() == pytest.approx(points.mean(axis=0).tolist())
    m, s = gaussian_posterior(0.3, 0.8, -1.0, 1.5)
    line = torch.tensor([m, m**2 + s**2], dtype=torch.float64)
    assert Identity(1).block_variance(line).item() == pytest.approx(s**2)
    assert PLANE.max_block_variance(0.12) == pytest.approx(0.0144)


@pytest.mark.parametrize("dimension", [1, 2, 3])
@pytest.mark.parametrize("log_snr", [-3.0, 0.0, 2.0, 6.0])
def test_profile_of_gaussian_data(log_snr: float, dimension: int) -> None:
    """A = -log N(y; m, (s^2 + 1/SNR) I): the data density smoothed by the noise."""
    data_mean, data_std, y = np.array([0.4, -1.1, 0.3])[:dimension], 0.7, np.array([0.9, 0.2, -0.1])[:dimension]
    space = Identity(dimension)
    eta = space.natural(torch.tensor([*y, log_snr], dtype=torch.float64))
    psi = gaussian_log_partition(data_mean, data_std, eta.numpy())
    variance = data_std**2 + math.exp(-log_snr)
    expected = ((y - data_mean) ** 2).sum() / (2 * variance) + dimension / 2 * math.log(2 * math.pi * variance)
    assert space.profile(eta, torch.tensor(psi, dtype=torch.float64)).item() == pytest.approx(expected, abs=1e-8)


def test_only_channel() -> None:
    (channel,) = PLANE.channels(np.array([-1.0, 0.0]), np.array([1.0, 0.5]), 5.0)
    assert channel.start.tolist() == [-1.0, 0.0, 5.0]
    assert channel.end.tolist() == [1.0, 0.5, 5.0]


def test_restraint_gradient_against_autograd() -> None:
    x, eta = random(30, 2).requires_grad_(), PLANE.natural(random(30, 3, seed=4))
    statistic = torch.cat([x, x.square().sum(-1, keepdim=True)], dim=-1)
    assert np.allclose(statistic.detach().numpy(), PLANE.statistics(x.detach().numpy()))
    (expected,) = torch.autograd.grad(-(eta * statistic).sum(), x)
    assert torch.allclose(PLANE.restraint_gradient(x, eta), expected, atol=1e-12)
    # It pulls towards y with strength SNR.
    chart = PLANE.chart(eta)
    assert torch.allclose(expected, chart[:, 2:].exp() * (x - chart[:, :2]), atol=1e-10)


def test_spread_undoes_max_block_variance() -> None:
    assert PLANE.spread(np.array([PLANE.max_block_variance(0.12)])) == pytest.approx(np.array([0.12]))
