"""Work statistics against Gaussian work that obeys Crooks' theorem."""

from __future__ import annotations

import numpy as np
import pytest

from spacetime_tps.analysis.work import summarise_work


def test_gaussian_work() -> None:
    """Forward N(dF + w, 2 w), backward N(-dF + w, 2 w)."""
    rng, delta_f, dissipated = np.random.default_rng(0), 3.7, 1.3
    forward = rng.normal(delta_f + dissipated, np.sqrt(2 * dissipated), 4000)
    backward = rng.normal(-delta_f + dissipated, np.sqrt(2 * dissipated), 4000)
    summary = summarise_work(forward, backward, chord_sum=1.0)
    assert abs(summary.delta_f - delta_f) < 4 * summary.error
    assert summary.error < 0.05
    assert summary.dissipated_forward == pytest.approx(dissipated, abs=0.1)
    assert summary.dissipated_backward == pytest.approx(dissipated, abs=0.1)
    assert summary.gaussian_forward == pytest.approx(1.0, abs=0.1)
    assert summary.lag == pytest.approx(dissipated / 0.5, rel=0.1)


def test_both_directions_are_needed() -> None:
    with pytest.raises(ValueError, match="both directions"):
        summarise_work(np.ones(3), np.ones(0), 1.0)


def test_work_without_overlap_gives_the_middle_and_an_error_that_says_so() -> None:
    summary = summarise_work(np.array([50.0, 50.5]), np.array([30.0, 30.5]), 1.0)
    assert summary.delta_f == pytest.approx(10.0, abs=0.3)
    assert summary.error == pytest.approx(40.25, rel=0.05)
    assert summary.dissipated_forward == pytest.approx(40.25, rel=0.05)
