"""Divergences and distances against closed forms, quadrature and the axioms of a metric."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from spacetime_tps.config import GeodesicConfig
from spacetime_tps.diffusion.denoiser import Posterior
from spacetime_tps.diffusion.exact import GaussianMixtureDenoiser
from spacetime_tps.geometry.curve import chords
from spacetime_tps.geometry.distance import edit_distances
from spacetime_tps.geometry.divergences import kullback_leibler
from spacetime_tps.representations import Identity
from tests.oracles import gaussian_posterior, half_plane_distance

LINE = Identity(1)
CENTERS, STDS, WEIGHTS = np.array([[-1.0], [0.8]]), np.array([0.4, 0.6]), np.array([0.6, 0.4])
CONFIG = GeodesicConfig(points=48, nodes=14, fine_factor=8, starts=3, scout_steps=60, steps=60, tolerance=1e-4)


def mixture() -> GaussianMixtureDenoiser:
    return GaussianMixtureDenoiser(CENTERS, STDS, WEIGHTS)


def random_pairs() -> torch.Tensor:
    rng = torch.Generator().manual_seed(3)
    chart = torch.stack([torch.randn(12, 2, generator=rng), 3 * torch.rand(12, 2, generator=rng)], dim=-1)
    return LINE.natural(chart.double())


def posterior_density(natural: np.ndarray, x: np.ndarray) -> np.ndarray:
    prior = sum(w * np.exp(-0.5 * ((x - m) / s) ** 2) / s for m, s, w in zip(CENTERS[:, 0], STDS, WEIGHTS, strict=True))
    density = prior * np.exp(natural[0] * x + natural[1] * x**2)
    return density / (density.sum() * (x[1] - x[0]))


def test_bregman_divergence_is_the_integral_of_the_log_ratio() -> None:
    x = np.linspace(-8, 8, 40_001)
    pairs = random_pairs()
    found = kullback_leibler(mixture(), pairs[:, 0], pairs[:, 1]).numpy()
    for (first, second), value in zip(pairs.numpy(), found, strict=True):
        p, q = posterior_density(first, x), posterior_density(second, x)
        integrand = np.where(p > 0, p * np.log(np.maximum(p, 1e-300) / np.maximum(q, 1e-300)), 0.0)
        assert value == pytest.approx(integrand.sum() * (x[1] - x[0]), abs=1e-4)


def test_a_denoiser_without_a_log_partition_is_integrated() -> None:
    def blind(natural: torch.Tensor) -> Posterior:
        posterior = mixture()(natural)
        return Posterior(posterior.mean, posterior.block_variance)

    first, second = random_pairs().unbind(1)
    assert torch.allclose(kullback_leibler(blind, first, second), kullback_leibler(mixture(), first, second), atol=1e-8)


def test_both_divergences_make_the_chord() -> None:
    pairs = random_pairs()
    both = kullback_leibler(mixture(), pairs[:, 0], pairs[:, 1]) + kullback_leibler(mixture(), pairs[:, 1], pairs[:, 0])
    chord = chords(pairs, mixture()(pairs).mean)[:, 0]
    assert torch.allclose(both, chord, rtol=1e-8, atol=1e-8)
    assert chord.min() > 0


def distances(points: np.ndarray, denoiser: GaussianMixtureDenoiser) -> np.ndarray:
    return edit_distances(denoiser, LINE, points, 3.0, (-6.0, 8.0), CONFIG)


def test_distance_of_gaussian_data_is_hyperbolic() -> None:
    points = np.array([[-0.2], [0.3]])
    found = distances(points, GaussianMixtureDenoiser(np.zeros((1, 1)), np.ones(1), np.ones(1)))[0, 1]
    ends = [gaussian_posterior(0.0, 1.0, x, 3.0) for x in points[:, 0]]
    assert found == pytest.approx(half_plane_distance(*ends[0], *ends[1]), rel=1e-3)


def test_distances_obey_the_axioms() -> None:
    points = np.random.default_rng(5).uniform(-1.8, 1.8, (5, 1))
    points = np.concatenate([points, points[:1]])  # the last coincides with the first
    matrix, swapped = distances(points, mixture()), distances(points[::-1], mixture())[::-1, ::-1]
    assert np.array_equal(matrix, matrix.T)
    assert matrix == pytest.approx(swapped, rel=2e-3)
    assert matrix[0, 5] == 0.0
    off = ~np.eye(6, dtype=bool)
    off[0, 5] = off[5, 0] = False
    assert matrix[off].min() > 0.01
    for i, j, k in itertools.permutations(range(6), 3):
        assert matrix[i, k] <= (matrix[i, j] + matrix[j, k]) * (1 + 2e-3)
