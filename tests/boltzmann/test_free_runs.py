"""The plain between two states that nobody has seen."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import logsumexp

from spacetime_tps.boltzmann.free_runs import with_background
from spacetime_tps.boltzmann.samples import WeightedSamples
from spacetime_tps.config import AdaptiveConfig
from spacetime_tps.diffusion.exact import SampleDenoiser
from spacetime_tps.geometry.smoothed import SmoothedDensity
from spacetime_tps.representations import Torsions

TORSIONS = Torsions(["phi", "psi"], [(0, 1, 2, 3), (1, 2, 3, 4)])
LEVEL = 5.0
ENDS = TORSIONS.features_of_angles(np.array([[-1.5, 1.0], [1.0, -1.0]]))


def two_basins(rng: np.random.Generator) -> WeightedSamples:
    """Gaussians of 12 degrees at (-1.5, 1) and (1, -1), the second of half the weight."""
    points = np.concatenate([rng.normal(0, 0.2, (3000, 2)) + [-1.5, 1.0], rng.normal(0, 0.2, (1000, 2)) + [1.0, -1.0]])
    log_weights = np.log(np.repeat([2 / 3 / 3000, 1 / 3 / 1000], [3000, 1000]))
    return WeightedSamples(TORSIONS.features_of_angles(points), log_weights, np.zeros((1, 6, 3)), 0)


def test_unknown_land_is_a_plain_at_the_height_that_was_asked_for() -> None:
    config = AdaptiveConfig(kind="adaptive", time="1 ps", background_kt=9.0, background_points=200_000)
    samples = two_basins(np.random.default_rng(0))
    found = with_background(samples, TORSIONS, ENDS, LEVEL, config, np.random.default_rng(1))
    statistics = torch.from_numpy(TORSIONS.statistics(found.features))
    density = SmoothedDensity(SampleDenoiser(TORSIONS, statistics, torch.from_numpy(found.log_weights)), TORSIONS)

    def height(points: list[list[float]]) -> np.ndarray:
        return density.free_energy(torch.tensor(points, dtype=torch.float64), LEVEL).numpy()

    bottom = height([[-1.5, 1.0]])
    plain = height([[2.5, 2.5], [-2.5, -2.5], [0.0, -2.5], [2.5, 0.5], [-0.2, 0.1]])
    assert plain - bottom == pytest.approx(9.0, abs=0.35)  # points scatter by a tenth, the bottom of 3000 samples, too
    known = height([[1.0, -1.0]]) - bottom
    assert known == pytest.approx(np.log(2.0), abs=0.15)


def test_no_plain_where_samples_are() -> None:
    config = AdaptiveConfig(kind="adaptive", time="1 ps", background_points=20_000)
    samples = two_basins(np.random.default_rng(0))
    found = with_background(samples, TORSIONS, ENDS, LEVEL, config, np.random.default_rng(1))
    added = found.features[len(samples.features) :]
    assert 15_000 < len(added) < 20_000
    nearest = [np.linalg.norm(samples.features - x, axis=1).min() for x in added[:200]]
    assert min(nearest) > 2 * np.sin(np.deg2rad(15.0))
    assert np.exp(found.log_weights[: len(samples.features)]).sum() == pytest.approx(1.0)


def test_many_torsions_have_a_plain_about_the_straight_ways_only() -> None:
    """Five torsions, of which two turn: points about the four ways, as many about each, at the height asked for."""
    torsions = Torsions(["a", "b", "c", "d", "e"], [(k, k + 1, k + 2, k + 3) for k in range(5)])
    ends = np.deg2rad([[-140.0, 140.0, 60.0, -60.0, 170.0], [-60.0, -40.0, 80.0, -50.0, -170.0]])
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.normal(end, 0.15, (500, 5)) for end in ends])
    features = torsions.features_of_angles(points)
    samples = WeightedSamples(features, np.full(1000, -np.log(1000)), np.zeros((1, 8, 3)), 0)
    config = AdaptiveConfig(kind="adaptive", time="1 ps", background_kt=7.0, background_points=8000)
    found = with_background(
        samples, torsions, torsions.features_of_angles(ends), LEVEL, config, np.random.default_rng(1)
    )
    added = found.features[1000:]
    assert 3500 < len(added) < 5500  # what lies about the ends has been seen
    channels = torsions.channels(*torsions.features_of_angles(ends), LEVEL)
    assert len(channels) == 4
    s = np.linspace(0, 1, 200)[:, None]
    nearest = []
    for channel in channels:
        way = torsions.features_of_angles((1 - s) * channel.start[1::2] + s * channel.end[1::2])
        nearest.append(np.linalg.norm(added[:, None] - way, axis=-1).min(axis=1))
    width = np.exp(-0.5 * LEVEL)
    assert np.square(np.min(nearest, axis=0)).mean() == pytest.approx(4 * width**2, rel=0.1)  # across a line: 4 of 5
    counts = np.bincount(np.argmin(nearest, axis=0), minlength=4)
    assert counts.min() > 0.7 * counts.mean()

    def height(at: np.ndarray) -> np.ndarray:
        kernels = np.exp(LEVEL) * (at @ found.features.T - 5) + found.log_weights
        return -np.asarray(logsumexp(kernels, axis=1))

    assert np.median(height(added[:300])) - height(features).min() == pytest.approx(7.0, abs=0.3)
