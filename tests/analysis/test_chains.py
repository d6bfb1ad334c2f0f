"""What is read off chains of shooting moves."""

from __future__ import annotations

import numpy as np
import pytest

from spacetime_tps.analysis.shooting import gelman_rubin


def test_scale_reduction_is_one_for_mixed_chains_only() -> None:
    rng = np.random.default_rng(3)
    chains = rng.normal(size=(8, 4000))
    assert gelman_rubin(chains) == pytest.approx(1.0, abs=0.01)
    apart = chains + np.repeat([0.0, 2.0], 4)[:, None]
    # W = 1, and the variance of four means at 0 and four at 2 is 8/7
    assert gelman_rubin(apart) == pytest.approx(np.sqrt(1 + 8 / 7), rel=0.02)
    assert np.isnan(gelman_rubin(chains[:1]))
    assert np.isnan(gelman_rubin(np.ones((3, 10))))
