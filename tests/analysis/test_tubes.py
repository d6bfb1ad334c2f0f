"""Tubes of paths over a ridge: heaps of known sizes are found, and none where there is one."""

from __future__ import annotations

import numpy as np
import pytest

from spacetime_tps.analysis.tubes import tubes


def heaps(degrees: tuple[float, ...], counts: tuple[int, ...], seed: int) -> np.ndarray:
    """(cos, sin) of an angle around so many means, scattered by 20 degrees, and of one that hardly moves."""
    rng = np.random.default_rng(seed)
    angle = np.deg2rad(np.concatenate([rng.normal(d, 20.0, n) for d, n in zip(degrees, counts, strict=True)]))
    still = rng.normal(0.3, 0.05, len(angle))
    return np.stack([np.cos(still), np.sin(still), np.cos(angle), np.sin(angle)], axis=-1)


def test_heaps_are_told_apart_the_heaviest_first() -> None:
    points = heaps((60.0, -40.0, 180.0), (100, 300, 50), 0)
    found = tubes(points, np.ones(450))
    assert np.bincount(found).tolist() == pytest.approx([300, 100, 50], abs=10)
    assert found[:100].mean() == pytest.approx(1.0, abs=0.05)
    assert (found[400:] == 2).mean() > 0.8


def test_weights_say_which_is_heaviest_and_whether_there_are_two() -> None:
    points = heaps((60.0, -40.0), (100, 300), 1)
    weights = np.repeat([9.0, 1.0], [100, 300])
    found = tubes(points, weights)
    assert weights[found == 0].sum() == pytest.approx(900.0, abs=15.0)
    light = np.repeat([1.0, 1e-6], [100, 300])
    assert not tubes(points, light).any()


@pytest.mark.parametrize("scatter", [0.0, 0.8, 1.2])
def test_one_heap_is_one_tube(scatter: float) -> None:
    """However unlike the weights; of 60 heaps at most one is split."""
    rng = np.random.default_rng(2)
    split = [
        tubes(rng.normal(size=(200, 4)), np.exp(scatter * rng.normal(size=200))).any() for _ in range(60)
    ]  # fmt: skip
    assert sum(split) <= 1


def test_few_paths_are_one_tube() -> None:
    assert not tubes(heaps((60.0, -40.0), (9, 9), 3), np.ones(18)).any()
    assert tubes(np.zeros((0, 4)), np.zeros(0)).shape == (0,)
    assert not tubes(np.ones((40, 4)), np.ones(40)).any()


@pytest.mark.parametrize("far", [2.0, -2.0, 30.0, 1e6])
@pytest.mark.parametrize("count", [1, 5])
def test_strays_hide_no_tubes(far: float, count: int) -> None:
    rng = np.random.default_rng(4)
    points = np.concatenate([rng.normal(m, 0.1, (300, 1)) for m in (-0.5, 0.5)] + [rng.normal(far, 0.01, (count, 1))])
    points = np.concatenate([points, rng.normal(size=(len(points), 1)) * 0.05], axis=1)
    found = tubes(points, np.ones(len(points)))
    assert np.bincount(found).tolist() == sorted([300 + count, 300], reverse=True)
    assert (found[:300] == found[0]).all()
    assert (found[300:] == found[300]).all() == (far > 0.0)


def test_a_far_path_of_no_weight_changes_nothing() -> None:
    points = heaps((60.0, -40.0), (100, 300), 5)
    alone = tubes(points, np.ones(400))
    for far in (5.0, 1e8):
        found = tubes(np.concatenate([points, np.full((1, 4), far)]), np.append(np.ones(400), 0.0))
        assert (found[:400] == alone).all()


@pytest.mark.parametrize("scale", [1e-200, 1e200, 1e-320])
def test_the_scale_of_weights_does_not_matter(scale: float) -> None:
    points = heaps((60.0, -40.0), (100, 300), 6)
    assert (tubes(points, np.full(400, scale)) == tubes(points, np.ones(400))).all()


def test_what_is_not_finite_is_refused() -> None:
    points, weights = heaps((60.0,), (40,), 7), np.ones(40)
    broken = points.copy()
    broken[3, 1] = np.nan
    for given in ((broken, weights), (points, np.where(weights > 0, np.inf, 1.0)), (points, -weights)):
        with pytest.raises(ValueError, match="finite"):
            tubes(*given)


@pytest.mark.parametrize(("count", "gap", "each"), [(3, 20.0, 30), (4, 20.0, 100), (5, 20.0, 100), (3, 6.0, 100)])
def test_heaps_in_a_row_are_all_told_apart(count: int, gap: float, each: int) -> None:
    """Their scatter makes kernels of Silverman's width too wide for them."""
    for seed in range(5):
        rng = np.random.default_rng(seed)
        points = np.concatenate([rng.normal([k * gap, 0.0], [1.0, 0.3], (each, 2)) for k in range(count)])
        assert np.bincount(tubes(points, np.ones(len(points)))).tolist() == pytest.approx([each] * count, abs=2)
