"""Where more samples go: closed forms and the conditions of an optimum."""

from __future__ import annotations

import numpy as np
import pytest

from spacetime_tps.boltzmann.allocation import samples_wanted, shares_along


def test_without_earlier_samples_it_is_neymans_rule() -> None:
    """n_b = sigma_b sum(sigma) / limit."""
    sigma = np.array([1.0, 4.0, 0.5, 2.0])
    have = np.full(4, 1e-3)
    found = samples_wanted(sigma**2 / have, have, 0.1)
    assert found == pytest.approx(sigma * sigma.sum() / 0.1)
    assert (sigma**2 / found).sum() == pytest.approx(0.1)


@pytest.mark.parametrize("seed", range(5))
def test_with_earlier_samples_no_other_split_is_cheaper(seed: int) -> None:
    """The conditions of Karush, Kuhn and Tucker: one sample more lowers the sum alike wherever some are added."""
    rng = np.random.default_rng(seed)
    variance, have = rng.exponential(size=6), rng.uniform(20, 400, 6)
    limit = variance.sum() / rng.uniform(1.5, 6.0)
    found = samples_wanted(variance, have, limit)
    assert (variance * have / found).sum() == pytest.approx(limit)
    gain, added = variance * have / found**2, found > have * (1 + 1e-9)
    assert added.any()
    assert gain[added] == pytest.approx(gain.max())
    assert (found[~added] == have[~added]).all()


def test_nothing_is_added_where_it_is_good_enough() -> None:
    have = np.array([10.0, 20.0])
    assert samples_wanted(np.array([0.1, 0.2]), have, 0.4).tolist() == [10.0, 20.0]


def test_a_stratum_that_adds_nothing_gets_nothing() -> None:
    found = samples_wanted(np.array([0.0, 1.0]), np.array([7.0, 10.0]), 0.25)
    assert found == pytest.approx([7.0, 40.0])


def test_windows_of_a_stratum_are_spread_over_it() -> None:
    assert shares_along(np.array([1, 0, 3, 0])) == pytest.approx([0.125, 13 / 24, 15 / 24, 17 / 24])
    assert len(shares_along(np.zeros(4, dtype=int))) == 0
