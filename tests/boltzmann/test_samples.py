from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spacetime_tps.boltzmann.samples import WeightedSamples


def weighted(log_weights: list[float] | np.ndarray) -> WeightedSamples:
    n = len(log_weights)
    rng = np.random.default_rng(0)
    return WeightedSamples(rng.standard_normal((n, 4)), np.array(log_weights), rng.standard_normal((2, 22, 3)), 123)


@pytest.mark.parametrize(
    ("weights", "expected"),
    [([1, 1, 1, 1, 1], 5.0), ([1, 2, 3], 36 / 14), ([1, 1e-300, 1e-300], 1.0), ([3, 3, 1e-200], 2.0)],
)
def test_effective_size(weights: list[float], expected: float) -> None:
    for offset in (0.0, 5000.0, -5000.0):  # weights are known up to a constant, however large
        assert weighted(np.log(weights) + offset).effective_size() == pytest.approx(expected, rel=1e-9)


def test_effective_size_of_normal_log_weights() -> None:
    """exp(-sigma^2) of the samples remain for log-weights of variance sigma^2."""
    log_weights = np.random.default_rng(1).normal(0, 0.7, 200_000)
    assert weighted(log_weights).effective_size() / 200_000 == pytest.approx(np.exp(-0.49), rel=0.02)


def test_save_and_load(tmp_path: Path) -> None:
    samples = weighted([0.1, -3.0, 12.3456789012345])
    samples.save(tmp_path / "samples.npz")
    loaded = WeightedSamples.load(tmp_path / "samples.npz")
    assert loaded.features.dtype == np.float64
    assert loaded.features == pytest.approx(samples.features, rel=1e-7)
    assert np.array_equal(loaded.log_weights, samples.log_weights)
    assert loaded.frames == pytest.approx(samples.frames, rel=1e-7)
    assert loaded.frames.shape == (2, 22, 3)
    assert loaded.force_evaluations == 123
    assert type(loaded.force_evaluations) is int
