"""What is read off chains of shooting moves."""

from __future__ import annotations

import numpy as np
import pytest

from spacetime_tps.analysis.shooting import Chains, gelman_rubin
from spacetime_tps.shooting.record import Steps


def chains_with(heights: np.ndarray) -> Chains:
    """Chains whose every step makes all frames of the path anew."""
    born = np.tile(np.arange(1, heights.shape[1] + 1), (len(heights), 1))
    nothing = np.zeros_like(born)
    steps = Steps(nothing, nothing, nothing, nothing, nothing, born, heights, np.zeros((*born.shape, 1)))
    return Chains(steps, [], [], 0, 0)


def test_chains_that_stay_apart_are_worth_few_independent_values() -> None:
    heights = np.random.default_rng(4).normal(size=(8, 1000))
    assert chains_with(heights).independent() > 4000
    apart = heights + np.repeat([0.0, 8.0], 4)[:, None]
    # a spread of 4 around the mean of eight chains, each at one of its two ends
    assert chains_with(apart).independent() == pytest.approx(7.5, abs=1.0)


def test_scale_reduction_is_one_for_mixed_chains_only() -> None:
    rng = np.random.default_rng(3)
    chains = rng.normal(size=(8, 4000))
    assert gelman_rubin(chains) == pytest.approx(1.0, abs=0.01)
    apart = chains + np.repeat([0.0, 2.0], 4)[:, None]
    # W = 1, and the variance of four means at 0 and four at 2 is 8/7
    assert gelman_rubin(apart) == pytest.approx(np.sqrt(1 + 8 / 7), rel=0.02)
    assert np.isnan(gelman_rubin(chains[:1]))
    assert np.isnan(gelman_rubin(np.ones((3, 10))))
