"""Minimax paths on a tabulated surface: the least possible maximum of F between two sets of grid points."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import breadth_first_order, minimum_spanning_tree

from spacetime_tps.potentials import FreeEnergySurface
from spacetime_tps.states import Region

_WALL = 1e6


@dataclass(frozen=True)
class MinimaxPath:
    """A path of least maximum.

    Attributes:
        barrier: the maximum of F along it (F is counted from the global minimum).
        saddle: where that maximum lies, shape (n_axes,).
        error: standard error of F there.
    """

    barrier: float
    saddle: np.ndarray
    error: float


def closed_to(surface: FreeEnergySurface, region: Region) -> FreeEnergySurface:
    """The surface with a region walled off, to find what is least possible outside of it."""
    inside = region.contains(surface.points()).reshape(surface.free_energy.shape)
    return replace(surface, free_energy=np.where(inside, _WALL, surface.free_energy))


def minimax_between(surface: FreeEnergySurface, in_a: np.ndarray, in_b: np.ndarray) -> MinimaxPath:
    """Bound between two regions, given as boolean masks in the shape of the table; periodic where the axes are.

    The minimax path between two nodes of a graph is the path between them in its minimum spanning tree, with
    max(F_i, F_j) as the weight of an edge.

    Raises:
        ValueError: a region holds no grid point.
    """
    return _bottleneck(surface, surface.free_energy, surface.points(), surface.periodic, in_a.ravel(), in_b.ravel())


def minimax_of_channel(surface: FreeEnergySurface, start: np.ndarray, end: np.ndarray) -> MinimaxPath:
    """Bound of one channel: between two lifted points in the covering plane, periodic axes unrolled.

    Args:
        surface: the table.
        start, end: lifted coordinates of the ends, shape (n_axes,); they may lie more than a period apart.
    """
    spacing, shape = surface.spacing, np.array(surface.free_energy.shape)
    period = spacing * shape
    low, high = np.minimum(start, end) - period / 2, np.maximum(start, end) + period / 2
    first = np.where(surface.periodic, np.floor((low - surface.origin) / spacing), 0).astype(int)
    last = np.where(surface.periodic, np.ceil((high - surface.origin) / spacing), shape - 1).astype(int)
    ranges = [np.arange(a, b + 1) for a, b in zip(first, last, strict=True)]
    table = surface.free_energy[np.ix_(*[r % n for r, n in zip(ranges, shape, strict=True)])]
    mesh = np.meshgrid(*[o + h * r for o, h, r in zip(surface.origin, spacing, ranges, strict=True)], indexing="ij")
    points = np.stack([m.ravel() for m in mesh], axis=-1)
    masks = []
    for target in (start, end):
        mask = np.zeros(len(points), dtype=bool)
        mask[np.argmin(np.abs((points - target) / spacing).max(axis=1))] = True
        masks.append(mask)
    return _bottleneck(surface, table, points, np.zeros(len(shape), dtype=bool), *masks)


def _bottleneck(
    surface: FreeEnergySurface,
    table: np.ndarray,
    points: np.ndarray,
    periodic: np.ndarray,
    in_a: np.ndarray,
    in_b: np.ndarray,
) -> MinimaxPath:
    if not in_a.any() or not in_b.any():
        raise ValueError("a state holds no point of the reference grid")
    value = np.nan_to_num(table.ravel().astype(float), nan=_WALL, posinf=_WALL)
    index = np.arange(value.size).reshape(table.shape)
    pairs = []
    for axis in range(table.ndim):
        ahead = np.roll(index, -1, axis=axis)
        keep = slice(None) if periodic[axis] else slice(0, -1)
        inner = (slice(None),) * axis + (keep,)
        pairs.append((index[inner].ravel(), ahead[inner].ravel()))
    rows, columns = (np.concatenate(side) for side in zip(*pairs, strict=True))
    height = np.maximum(value[rows], value[columns])
    # Two further nodes stand for the states; all weights are shifted to stay positive, as sparse graphs need.
    node_a, node_b = value.size, value.size + 1
    members_a, members_b = np.flatnonzero(in_a), np.flatnonzero(in_b)
    rows = np.concatenate([rows, np.full(members_a.size, node_a), np.full(members_b.size, node_b)])
    columns = np.concatenate([columns, members_a, members_b])
    height = np.concatenate([height, value[members_a], value[members_b]]) - value.min() + 1.0
    pairs_of = (rows.astype(np.int32), columns.astype(np.int32))  # SciPy before 1.13 takes no other
    tree = minimum_spanning_tree(coo_array((height, pairs_of), shape=(value.size + 2,) * 2).tocsr())
    _, parent = breadth_first_order(tree, node_a, directed=False)
    path, node = [], parent[node_b]
    while node != node_a:
        path.append(node)
        node = parent[node]
    top = max(path, key=lambda k: value[k])
    return MinimaxPath(float(value[top]), points[top], float(surface.error_at(points[top])))
