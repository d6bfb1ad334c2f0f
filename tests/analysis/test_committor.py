"""Committors and their spread, from fates drawn with known probabilities."""

from __future__ import annotations

import numpy as np
import pytest

from spacetime_tps.analysis.committor import (
    REACHED_A,
    REACHED_B,
    UNDECIDED,
    committor,
    committor_spread,
    explained_share,
    half_at,
)
from spacetime_tps.analysis.path_metrics import binomial_error


def fates(p_b: np.ndarray, shots: int, rng: np.random.Generator, undecided: float = 0.0) -> np.ndarray:
    reached = np.where(rng.random((len(p_b), shots)) < p_b[:, None], REACHED_B, REACHED_A)
    return np.where(rng.random(reached.shape) < undecided, UNDECIDED, reached)


def test_undecided_shots_are_counted_apart() -> None:
    a, b, u = REACHED_A, REACHED_B, UNDECIDED
    found = committor(np.array([[a, b, b, u], [a, a, a, a], [u, u, u, u], [b, u, u, u]]))
    assert found.decided.tolist() == [3, 4, 0, 1]
    assert found.undecided.tolist() == [1, 0, 4, 3]
    assert found.p_b == pytest.approx([2 / 3, 0.0, np.nan, 1.0], nan_ok=True)
    assert found.error == pytest.approx(binomial_error([2, 0, 0, 1], [3, 4, 0, 1]), nan_ok=True)
    assert found.error[1] > 0.1


def test_unknown_code_is_refused() -> None:
    with pytest.raises(ValueError, match="outcomes should be"):
        committor(np.array([[REACHED_A, 7]]))


def test_estimates_scatter_as_their_errors_say() -> None:
    truth = np.random.default_rng(0).uniform(0.1, 0.9, 3000)
    found = committor(fates(truth, 200, np.random.default_rng(1), undecided=0.2))
    deviation = found.p_b - truth
    assert np.sqrt(np.mean(deviation**2) / np.mean(found.error**2)) == pytest.approx(1.0, abs=0.05)
    assert abs(np.mean(deviation)) < 4 * np.std(deviation) / np.sqrt(3000)
    assert found.undecided.mean() == pytest.approx(40.0, abs=0.5)


def test_binomial_noise_alone_is_no_spread() -> None:
    """Without the correction 20 shots would look like a spread of 0.11."""
    rng = np.random.default_rng(2)
    found = committor(fates(np.full(800, 0.5), 20, rng, undecided=0.3))
    spread = committor_spread(found.p_b, found.decided, rng)
    assert found.p_b.std() > 0.1
    assert abs(spread["mean"] - 0.5) < 4 * spread["mean_error"]
    assert spread["mean_error"] == pytest.approx(found.p_b.std() / np.sqrt(800), rel=0.15)
    assert abs(spread["variance"]) < 4 * spread["variance_error"]
    assert spread["variance_error"] < 0.002
    assert spread["spread"] < 0.06


def test_variance_is_unbiased_over_many_repetitions() -> None:
    rng = np.random.default_rng(3)
    found = [committor(fates(np.full(30, 0.3), 6, rng)) for _ in range(400)]
    values = np.array([committor_spread(f.p_b, f.decided, rng, 2)["variance"] for f in found])
    assert abs(values.mean()) < 4 * values.std() / np.sqrt(400)
    assert values.mean() < 0.2 * 0.3 * 0.7 / 6


@pytest.mark.parametrize("undecided", [0.0, 0.4])
def test_spread_of_a_mixture_of_two(undecided: float) -> None:
    """Half of the frames at 0.2 and half at 0.8: mean 0.5, spread 0.3."""
    rng = np.random.default_rng(4)
    truth = np.where(np.arange(600) % 2, 0.2, 0.8)
    found = committor(fates(truth, 15, rng, undecided))
    spread = committor_spread(found.p_b, found.decided, rng)
    assert spread["frames"] == (found.decided >= 2).sum()
    assert spread["spread"] == pytest.approx(0.3, abs=4 * spread["spread_error"])
    assert spread["spread_error"] < 0.01
    assert spread["variance"] == pytest.approx(spread["spread"] ** 2)
    assert spread["mean"] == pytest.approx(0.5, abs=4 * spread["mean_error"])


def test_what_explains_a_committor_and_what_adds_to_it() -> None:
    rng = np.random.default_rng(6)
    known, missing, idle = rng.normal(size=(3, 400))
    truth = 1 / (1 + np.exp(-(known + 2 * missing)))
    found = committor(fates(truth, 1000, rng))
    share = [
        explained_share(found.p_b, found.decided, np.column_stack(columns))
        for columns in ([known], [known, idle], [known, missing])
    ]
    assert share[0] == pytest.approx(0.2, abs=0.06)  # 1 of 1 + 4
    assert share[1] == pytest.approx(share[0], abs=0.01)
    assert share[2] > 0.97
    assert np.isnan(explained_share(np.full(9, 0.5), np.full(9, 4), known[:9, None]))
    assert np.isnan(explained_share(found.p_b[:2], found.decided[:2], known[:2, None]))


def test_frames_with_too_few_shots_are_left_out() -> None:
    p_b, shots = np.array([0.25, 0.75, np.nan, 1.0]), np.array([4, 4, 0, 1])
    spread = committor_spread(p_b, shots, np.random.default_rng(5))
    assert (spread["frames"], spread["mean"]) == (2, 0.5)
    assert spread["variance"] == pytest.approx(0.125 - 0.1875 / 3)
    alone = committor_spread(p_b[:1], 4, np.random.default_rng(5))
    assert alone["mean"] == 0.25
    assert np.isnan(alone["spread"])


def test_half_of_a_logistic_committor_is_found_where_it_is() -> None:
    rng = np.random.default_rng(4)
    s = np.linspace(0.2, 0.8, 32)
    truth = 1 / (1 + np.exp(-(s - 0.53) / 0.03))
    found = [half_at(s, committor(f).p_b, np.full(32, 50)) for f in (fates(truth, 50, rng) for _ in range(20))]
    assert np.mean(found) == pytest.approx(0.53, abs=0.003)
    assert np.std(found) < 0.01


def test_half_is_nowhere_if_all_frames_lie_on_one_side() -> None:
    s, shots = np.linspace(0.2, 0.8, 8), np.full(8, 50)
    assert np.isnan(half_at(s, np.full(8, 0.02), shots))
    assert np.isnan(half_at(s, np.full(8, np.nan), np.zeros(8, dtype=int)))
