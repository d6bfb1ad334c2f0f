"""Constraints against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from spacetime_tps.config import GeodesicConfig
from spacetime_tps.diffusion.denoiser import Posterior
from spacetime_tps.diffusion.exact import GaussianMixtureDenoiser, SampleDenoiser
from spacetime_tps.errors import UserError
from spacetime_tps.geometry.constraints import AvoidRegion, LowVariance, Pull, Strain, TrainedRange, Waypoint
from spacetime_tps.geometry.geodesic import optimise_geodesics
from spacetime_tps.representations import Cartesian, Identity, Torsions
from spacetime_tps.representations.fitting import fit_atoms
from spacetime_tps.states import Ball

PLANE = Identity(2)


def gaussian() -> GaussianMixtureDenoiser:
    return GaussianMixtureDenoiser(np.zeros((1, 2)), np.ones(1), np.ones(1))


def grid(step: float = 0.05, reach: float = 4.0) -> tuple[np.ndarray, np.ndarray]:
    axis = np.arange(-reach, reach + step / 2, step)
    points = np.stack([m.ravel() for m in np.meshgrid(axis, axis, indexing="ij")], axis=-1)
    log_weights = -0.5 * np.square(points).sum(-1)
    return points, log_weights - np.log(np.exp(log_weights).sum())


def half_plane_region(limit: float) -> AvoidRegion:
    """x > 0.525, between two columns of the grid."""
    points, log_weights = grid()
    inside = points[:, 0] > 0.51
    statistics = torch.from_numpy(PLANE.statistics(points[inside]))
    return AvoidRegion(statistics, torch.from_numpy(log_weights[inside]), limit)


def test_avoided_share_is_the_gaussian_tail() -> None:
    """The posterior at (y, SNR) is N(SNR y / (1 + SNR), 1 / (1 + SNR)); its mass beyond a line is an erfc."""
    chart = torch.tensor([[[0.4, 0.0, 1.0], [0.0, 0.3, 0.0], [-0.5, 0.1, 2.0]]], dtype=torch.float64)
    natural = PLANE.natural(chart)
    share = half_plane_region(0.1).share(natural, gaussian()(natural)).exp().item()
    eta, snr = natural[0].numpy(), np.exp(chart[0, :, 2].numpy())
    mean = eta[:, :2] / (1 + snr)[:, None]
    mu = np.concatenate([mean, (np.square(mean).sum(1) + 2 / (1 + snr))[:, None]], axis=1)
    first, second = np.sqrt(np.sum(np.diff(eta, axis=0) * np.diff(mu, axis=0), axis=1))
    weights = np.array([first, first + second, second]) / (2 * (first + second))
    tails = [0.5 * math.erfc((0.525 - m) * math.sqrt((1 + k) / 2)) for m, k in zip(mean[:, 0], snr, strict=True)]
    expected = float(weights @ tails)
    assert share == pytest.approx(expected, rel=2e-3)


def test_avoid_needs_a_log_partition() -> None:
    natural = PLANE.natural(torch.zeros(1, 3, 3, dtype=torch.float64))
    with pytest.raises(UserError, match="log-partition"):
        half_plane_region(0.1).violation(natural, Posterior(natural, natural[..., :1]))


def test_violation_is_zero_at_the_limit() -> None:
    natural = PLANE.natural(torch.tensor([[[0.4, 0.0, 1.0]]], dtype=torch.float64))
    share = half_plane_region(0.1).share(natural, gaussian()(natural)).exp().item()
    assert half_plane_region(share).violation(natural, gaussian()(natural)).item() == pytest.approx(0.0, abs=1e-9)


def test_a_geodesic_goes_around_what_it_shall_avoid() -> None:
    """A ball between the ends: the straight way runs through it, the constrained one keeps its share of steps."""
    points, log_weights = grid()
    inside = np.linalg.norm(points, axis=1) < 0.5
    region = AvoidRegion(
        torch.from_numpy(PLANE.statistics(points[inside])), torch.from_numpy(log_weights[inside]), limit=0.01
    )
    channel = PLANE.channels(np.array([-1.5, 0.1]), np.array([1.5, 0.1]), 4.0)[0]
    config = GeodesicConfig(points=64, nodes=12, fine_factor=4, starts=1)
    held = LowVariance(0.25**2)
    free, around = (
        optimise_geodesics(gaussian(), PLANE, [channel], config, terms)[0] for terms in ([held], [held, region])
    )
    exact = SampleDenoiser(PLANE, torch.from_numpy(PLANE.statistics(points)), torch.from_numpy(log_weights))
    shares = []
    for geodesic in (free, around):
        natural = torch.from_numpy(geodesic.curve.natural)[None]
        shares.append(region.share(natural, exact(natural)).exp().item())
    assert shares[0] > 0.1
    assert shares[1] < 0.01
    assert around.converged
    assert around.violations["low_variance"] <= 0.02


def test_waypoint_distance_is_periodic_and_met() -> None:
    torsions = Torsions(["a"], [(0, 1, 2, 3)])
    ball = Ball((0,), (math.pi - 0.1,), 0.3, 2 * math.pi)
    mean = torch.tensor([[[1.0, 0.0], [math.cos(-3.0), math.sin(-3.0)]]], dtype=torch.float64)
    g = Waypoint(ball, torsions).violation(mean, Posterior(mean, mean)).item()
    assert g == pytest.approx((2 * math.pi - 3.0 - (math.pi - 0.1)) / 0.3 - 1.0)
    away = Ball((0, 1), (0.0, 1.2), 0.2, None)
    channel = PLANE.channels(np.array([-1.0, 0.0]), np.array([1.0, 0.0]), 4.0)[0]
    config = GeodesicConfig(points=48, nodes=10, fine_factor=4, starts=1)
    found = optimise_geodesics(gaussian(), PLANE, [channel], config, [Waypoint(away, PLANE)])[0]
    assert np.linalg.norm(PLANE.center(found.curve.mean) - [0.0, 1.2], axis=1).min() <= 0.2
    assert found.converged


def test_trained_range_in_both_directions() -> None:
    levels = torch.tensor([[[0.0, 0.0, -0.5], [0.0, 0.0, 5.0]]], dtype=torch.float64)
    natural = PLANE.natural(levels)
    g = TrainedRange(PLANE, 0.0, 4.0).violation(natural, gaussian()(natural))
    assert g[0].numpy() == pytest.approx(np.array([[0.5, -4.5], [-5.0, 1.0]]))


def test_strain_is_of_distances_that_samples_keep() -> None:
    """Two rigid halves that turn about a bond: what lies across it differs between samples, the halves do not.

    The mean of two structures that are turned apart is flattened, and is found out.
    """
    rng = np.random.default_rng(3)
    halves = np.array([[-0.1, 0.1, 0.0], [0.0, 0.0, 0.0], [0.15, 0.0, 0.0], [0.25, 0.1, 0.0], [0.25, -0.1, 0.0]])
    turns = rng.uniform(-np.pi, np.pi, 500)
    structures = np.tile(halves, (500, 1, 1))
    structures[:, 3:, 1] = halves[3:, 1] * np.cos(turns)[:, None]
    structures[:, 3:, 2] = halves[3:, 1] * np.sin(turns)[:, None]
    structures += 0.003 * rng.normal(size=structures.shape)
    representation = Cartesian(Torsions(["turn"], np.array([[0, 1, 2, 3]])), np.arange(5), fit_atoms(structures))
    features = representation.features(structures)
    strain = Strain.of_samples(representation, features)
    assert strain is not None
    assert sorted(map(tuple, strain.pairs.tolist())) == [(0, 1), (0, 2), (1, 2), (1, 3), (1, 4), (2, 3), (2, 4), (3, 4)]

    def largest(x: np.ndarray) -> np.ndarray:
        mean = torch.from_numpy(representation.statistics(x))[None]
        posterior = Posterior(mean, torch.zeros(1, len(x), 1, dtype=torch.float64))
        return strain.violation(mean, posterior)[0].amax(-1).numpy()

    assert np.mean(largest(features) < 0) > 0.95
    apart = np.argsort(np.abs(turns))[[0, -1]]
    between = features[apart].mean(axis=0, keepdims=True)
    flattened = representation.structures(between)[0]
    off = np.array([np.linalg.norm(flattened[i] - flattened[j]) for i, j in strain.pairs]) - strain.mean.numpy()
    assert off.min() < -0.2  # [A]: too short,
    assert off.max() < 0.1  # not too long
    assert largest(between)[0] == pytest.approx(np.square(off / (3.0 * strain.deviation.numpy())).max() - 1.0)
    assert largest(between)[0] > 1.0


def test_nothing_is_strained_where_no_distance_is_stiff() -> None:
    structures = np.random.default_rng(3).normal(size=(300, 4, 3))
    representation = Cartesian(Torsions(["turn"], np.array([[0, 1, 2, 3]])), np.arange(4), fit_atoms(structures))
    assert Strain.of_samples(representation, representation.features(structures)) is None


def test_pull_is_the_offset_in_standard_deviations_of_the_noise() -> None:
    """A posterior whose mean lies at the origin: a centre two deviations away in one coordinate, three in another."""
    snr = 25.0
    y = torch.tensor([[[0.4, 0.0], [0.0, -0.6]]], dtype=torch.float64)
    natural = PLANE.natural(torch.cat([y, torch.full((1, 2, 1), np.log(snr), dtype=torch.float64)], dim=-1))
    posterior = Posterior(torch.zeros(1, 2, 3, dtype=torch.float64), torch.ones(1, 2, 1, dtype=torch.float64))
    pull = Pull(PLANE, most=2.5)
    expected = np.array([[[4 / 6.25 - 1, -1], [-1, 9 / 6.25 - 1]]])
    assert pull.violation(natural, posterior).numpy() == pytest.approx(expected)
    assert pull.tightened().violation(natural, posterior)[0, 0, 0] > pull.violation(natural, posterior)[0, 0, 0]
