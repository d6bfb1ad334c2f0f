"""The geometries for comparison, on densities whose scores and flows are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from spacetime_tps.config import GeodesicConfig
from spacetime_tps.diffusion.exact import GaussianMixtureDenoiser, SampleDenoiser
from spacetime_tps.geometry.constraints import LowVariance
from spacetime_tps.geometry.lbfgs import minimise
from spacetime_tps.geometry.other_metrics import (
    PositionCurves,
    pullback_geodesics,
    score_metric_extrapolation,
    score_metric_geodesics,
    straight_lines,
    with_tent,
)
from spacetime_tps.geometry.smoothed import SmoothedDensity
from spacetime_tps.representations import Identity, Torsions

PLANE = Identity(2)
STD = 0.8


def density() -> SmoothedDensity:
    return SmoothedDensity(GaussianMixtureDenoiser(np.zeros((1, 2)), np.array([STD]), np.ones(1)), PLANE)


def two_wells() -> SmoothedDensity:
    centers = np.array([[-1.0, 0.0], [1.0, 0.0]])
    return SmoothedDensity(GaussianMixtureDenoiser(centers, np.full(2, 0.4), np.ones(2)), PLANE)


def test_score_of_a_gaussian() -> None:
    """Smoothed at SNR, N(0, s^2) has the score -y / (s^2 + 1 / SNR)."""
    y = torch.tensor([[0.3, -0.2], [1.0, 2.0]], dtype=torch.float64)
    assert torch.allclose(density().score(y, 1.5), -y / (STD**2 + np.exp(-1.5)))


def test_score_of_a_torsion_against_finite_differences() -> None:
    torsions = Torsions(["a"], [(0, 1, 2, 3)])
    angle = np.linspace(-np.pi, np.pi, 400, endpoint=False)
    denoiser = SampleDenoiser(
        torsions,
        torch.from_numpy(torsions.features_of_angles(angle[:, None])),
        torch.from_numpy(2 * np.cos(angle) + np.sin(2 * angle)),
    )
    smoothed = SmoothedDensity(denoiser, torsions)

    def log_density(position: float) -> float:
        natural = torsions.natural(smoothed.chart(torch.tensor([[position]], dtype=torch.float64), 2.0))
        return -torsions.profile(natural, denoiser(natural).log_partition).item()

    expected = (log_density(0.7 + 1e-5) - log_density(0.7 - 1e-5)) / 2e-5
    found = smoothed.score(torch.tensor([[0.7]], dtype=torch.float64), 2.0).item()
    assert found == pytest.approx(expected, rel=1e-6)


def test_flow_of_a_gaussian_rescales_it() -> None:
    """The probability flow keeps y / sqrt(s^2 + 1 / SNR) fixed, and decoding undoes encoding."""
    y = torch.tensor([[0.3, -0.2], [1.0, 2.0]], dtype=torch.float64)
    latent = density().flow(y, 4.0, -1.0, 48)
    widths = [np.sqrt(STD**2 + np.exp(-level)) for level in (4.0, -1.0)]
    assert torch.allclose(latent, y * widths[1] / widths[0], atol=1e-6)
    assert torch.allclose(density().flow(latent, -1.0, 4.0, 48), y, atol=1e-6)


def test_pullback_geodesics_decode_to_straight_lines() -> None:
    start, end = (torch.tensor([x], dtype=torch.float64) for x in ([-1.0, -0.3], [1.0, 0.4]))
    found = pullback_geodesics(two_wells(), start, end, -1.0, GeodesicConfig(log_snr_end=4.0))
    assert found.deviation is not None
    assert found.deviation.max() < 1e-4
    straight = straight_lines(start, end, found.positions.shape[1])
    assert torch.allclose(found.positions, straight, atol=1e-3)


def test_so_do_the_ones_that_a_minimiser_finds_which_knows_nothing_of_the_decoder() -> None:
    """Quasi-Newton on the latent points alone ends where ``pullback_geodesics`` does."""
    start, end = (torch.tensor([x], dtype=torch.float64) for x in ([-0.8, -0.3], [0.9, 0.4]))
    smoothed = two_wells()

    def decoded(inner: torch.Tensor) -> torch.Tensor:
        return smoothed.flow(torch.cat([latent[:, :1], inner, latent[:, -1:]], 1), -1.0, 3.0, 12)

    def stretch(inner: torch.Tensor) -> torch.Tensor:
        return decoded(inner).diff(dim=1).square().sum((1, 2))

    latent = straight_lines(*(smoothed.flow(x, 3.0, -1.0, 12) for x in (start, end)), 8)
    target = straight_lines(start, end, 8)
    assert (decoded(latent[:, 1:-1]) - target).abs().max() > 0.1  # latent straight lines do not decode to straight ones
    found = minimise(stretch, latent[:, 1:-1].clone(), 200, 1e-14, 1.0)
    assert torch.allclose(decoded(found.variables).detach(), target, atol=2e-3)


def test_score_geodesic_keeps_to_a_ring() -> None:
    """Around a ring of Gaussians the straight way leaves the data; the score metric goes along the ring."""
    angles = 2 * np.pi * np.arange(24) / 24
    ring = GaussianMixtureDenoiser(np.stack([np.cos(angles), np.sin(angles)], -1), np.full(24, 0.15), np.ones(24))
    start, end = (torch.tensor([x], dtype=torch.float64) for x in ([1.0, 0.05], [-0.95, 0.3]))
    config = GeodesicConfig(points=64, nodes=12, log_snr_end=4.0, polish_rounds=10)
    found = score_metric_geodesics(SmoothedDensity(ring, PLANE), start, end, config)
    radius = found.positions.norm(dim=-1)
    assert straight_lines(start, end, 64).norm(dim=-1).min() < 0.3
    assert radius.min() > 0.8


def test_extrapolation_is_straight_where_the_score_vanishes() -> None:
    flat = SmoothedDensity(GaussianMixtureDenoiser(np.zeros((1, 2)), np.array([1e4]), np.ones(1)), PLANE)
    start, direction = (torch.tensor([x], dtype=torch.float64) for x in ([0.2, 0.1], [3.0, 4.0]))
    ahead = score_metric_extrapolation(flat, start, direction, 4.0, weight=1.0, length=2.0)
    assert ahead[0, -1].numpy() == pytest.approx([0.2 + 1.2, 0.1 + 1.6], abs=1e-6)


def test_interpolation_to_where_extrapolation_ended_is_as_long() -> None:
    """Initial-value and boundary-value problem agree: a geodesic is the shortest way to its own end."""
    first, direction = (torch.tensor([x], dtype=torch.float64) for x in ([-1.0, -0.3], [1.0, 0.6]))
    followed = score_metric_extrapolation(two_wells(), first, direction, 2.0, weight=1.0, length=1.0)
    config = GeodesicConfig(points=256, nodes=24, log_snr_end=2.0, polish_rounds=20)
    between = score_metric_geodesics(two_wells(), first, followed[:, -1], config).positions
    lengths = []
    for curve in (followed, between):
        score, step = two_wells().score(curve, 2.0), curve.diff(dim=1)
        middle = 0.5 * (score[:, 1:] + score[:, :-1])
        lengths.append((step.square().sum(-1) + (middle * step).sum(-1).square()).sqrt().sum().item())
    assert lengths[0] == pytest.approx(1.0, rel=1e-3)
    assert lengths[1] == pytest.approx(lengths[0], rel=2e-3)


def test_the_tent_goes_as_low_as_the_constraint_lets_it() -> None:
    smoothed = two_wells()
    channels = PLANE.channels(np.array([-1.0, 0.0]), np.array([1.0, 0.0]), 4.0)
    start, end = (torch.from_numpy(getattr(channels[0], side)[None, :2]) for side in ("start", "end"))
    config = GeodesicConfig(points=32, fine_factor=4, log_snr_end=4.0)
    curves = PositionCurves(straight_lines(start, end, 32))
    bound = LowVariance(0.3**2)
    held = with_tent(curves, smoothed.denoiser, PLANE, channels, config, [bound], (-1.0, 8.0))[0]
    assert held.violations["low_variance"] <= 0
    assert held.curve.block_variance.max() > 0.7 * 0.3**2
    fixed = config.model_copy(update={"tent_log_snr": 1.0})
    tent = with_tent(curves, smoothed.denoiser, PLANE, channels, fixed, [], (-1.0, 8.0))[0].curve.coordinates
    assert tent[len(tent) // 2, 2] == pytest.approx(1.0)
    assert tent[0, 2] == tent[-1, 2] == 4.0
