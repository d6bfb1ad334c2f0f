"""The minimax bound against brute force and by hand."""

from __future__ import annotations

import numpy as np
import pytest

from spacetime_tps.analysis.minimax import closed_to, minimax_between, minimax_of_channel
from spacetime_tps.potentials import FreeEnergySurface
from spacetime_tps.states import Box


def surface(table: np.ndarray, periodic: bool) -> FreeEnergySurface:
    return FreeEnergySurface(
        names=("a", "b"), origin=np.zeros(2), spacing=np.ones(2), periodic=np.full(2, periodic), free_energy=table,
        error=0.1 * table, source="test", kt=1.0,
    )  # fmt: skip


def flood(table: np.ndarray, start: tuple[int, int], end: tuple[int, int], periodic: bool) -> float:
    """Raise the water level through all values until both points are connected."""
    for level in np.unique(table):
        if table[start] > level:
            continue
        wet, stack = {start}, [start]
        while stack:
            i, j = stack.pop()
            for a, b in ((i + 1, j), (i - 1, j), (i, j + 1), (i, j - 1)):
                if periodic:
                    a, b = a % table.shape[0], b % table.shape[1]
                inside = 0 <= a < table.shape[0] and 0 <= b < table.shape[1]
                if inside and (a, b) not in wet and table[a, b] <= level:
                    wet.add((a, b))
                    stack.append((a, b))
        if end in wet:
            return float(level)
    raise AssertionError


@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_bound_equals_flood_fill(periodic: bool, seed: int) -> None:
    table = np.random.default_rng(seed).uniform(0, 10, (9, 8))
    masks = [np.zeros(table.shape, bool), np.zeros(table.shape, bool)]
    masks[0][1, 1] = masks[1][7, 6] = True
    path = minimax_between(surface(table, periodic), *masks)
    assert path.barrier == flood(table, (1, 1), (7, 6), periodic)
    assert table[tuple(path.saddle.astype(int))] == path.barrier
    assert path.error == pytest.approx(0.1 * path.barrier)


def test_channels_of_a_ring_have_their_own_walls() -> None:
    """One wall of height 3 at a = 2 and one of height 7 at a = 7 between a = 0 and a = 5 on a circle of ten."""
    table = np.zeros((10, 6))
    table[2], table[7] = 3.0, 7.0
    ring = surface(table, True)
    start = np.array([0.0, 0.0])
    assert minimax_of_channel(ring, start, np.array([5.0, 0.0])).barrier == 3.0
    assert minimax_of_channel(ring, start, np.array([-5.0, 0.0])).barrier == 7.0
    assert minimax_of_channel(ring, start, np.array([15.0, 0.0])).barrier == 7.0


def test_what_is_closed_has_to_be_gone_around() -> None:
    """The wall of height 3 has a gap of height 1, which a box closes again."""
    table = np.zeros((10, 6))
    table[2], table[7], table[2, 4] = 3.0, 7.0, 1.0
    ring = surface(table, True)
    box = Box((0, 1), (1.5, 3.5), (1.0, 1.0), None)
    ends = np.array([0.0, 0.0]), np.array([5.0, 0.0])
    assert minimax_of_channel(ring, *ends).barrier == 1.0
    assert minimax_of_channel(closed_to(ring, box), *ends).barrier == 3.0


def test_empty_state_is_refused() -> None:
    table = np.zeros((4, 4))
    with pytest.raises(ValueError, match="no point"):
        minimax_between(surface(table, True), np.ones_like(table, bool), np.zeros_like(table, bool))
