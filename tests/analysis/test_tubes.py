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
