"""The plain between two states that nobody has seen."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from spacetime_tps.boltzmann.basins import with_background
from spacetime_tps.boltzmann.samples import WeightedSamples
from spacetime_tps.config import BasinsConfig
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
    config = BasinsConfig(kind="basins", time="1 ps", background_kt=9.0, background_points=200_000)
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
    config = BasinsConfig(kind="basins", time="1 ps", background_points=20_000)
    samples = two_basins(np.random.default_rng(0))
    found = with_background(samples, TORSIONS, ENDS, LEVEL, config, np.random.default_rng(1))
    added = found.features[len(samples.features) :]
    assert 15_000 < len(added) < 20_000
    nearest = [np.linalg.norm(samples.features - x, axis=1).min() for x in added[:200]]
    assert min(nearest) > 2 * np.sin(np.deg2rad(15.0))
    assert np.exp(found.log_weights[: len(samples.features)]).sum() == pytest.approx(1.0)
