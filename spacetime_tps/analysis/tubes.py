"""Tubes: heaps of transition paths that cross a ridge beside one another."""

from __future__ import annotations

import numpy as np

_GRID = 200
_DIP = 0.7
"""Of a density, over the lower of the peaks beside it: where it is deeper, two tubes are apart."""
_FEWEST = 10.0
"""Effective paths of a tube."""
_LEAST_VARIANCE = 0.05
"""Of a principal component along which tubes may be apart, as a share of all."""


def tubes(points: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Number of the tube of each path, shape (n,), the one that carries most first.

    Points are split where their density along one of their principal components, by Gaussian kernels of Silverman's
    width, falls below 0.7 of the lower of the peaks beside it; so are both parts, until none splits any more. Heaps
    that are less apart than that, or that hold fewer than ten effective paths, are one tube.

    Args:
        points: where the paths cross the ridge, shape (n, d).
        weights: of the paths, shape (n,).
    """
    whole, parted = [], [np.arange(len(points))]
    while parted:
        rows = parted.pop()
        beyond = _beyond_a_dip(points[rows], weights[rows])
        if beyond is None:
            whole.append(rows)
        else:
            parted += [rows[beyond], rows[~beyond]]
    labels = np.zeros(len(points), dtype=int)
    for number, rows in enumerate(sorted(whole, key=lambda rows: -float(weights[rows].sum()))):
        labels[rows] = number
    return labels


def _beyond_a_dip(points: np.ndarray, weights: np.ndarray) -> np.ndarray | None:
    """Which points lie beyond the deepest dip of their density, shape (n,); None if there is none."""
    if _effective(weights) < 2.0 * _FEWEST:
        return None
    share = weights / weights.sum()
    away = points - share @ points
    variances, axes = np.linalg.eigh((share * away.T) @ away)
    for variance, axis in zip(variances[::-1], axes.T[::-1], strict=True):
        if variance <= _LEAST_VARIANCE * variances.sum():
            break
        along = away @ axis
        if (dip := _dip(along, share, float(np.sqrt(variance)))) is None:
            continue
        beyond = along > dip
        if min(_effective(weights[beyond]), _effective(weights[~beyond])) >= _FEWEST:
            return beyond
    return None


def _dip(along: np.ndarray, share: np.ndarray, scatter: float) -> float | None:
    """Where the density of numbers is lowest beside the peaks around it; None where it is nowhere that low."""
    width = 1.06 * scatter * _effective(share) ** -0.2
    grid = np.linspace(along.min(), along.max(), _GRID)
    density = np.exp(-0.5 * np.square((grid[:, None] - along) / width)) @ share
    before, behind = np.maximum.accumulate(density), np.maximum.accumulate(density[::-1])[::-1]
    depth = density / np.minimum(before, behind)
    lowest = int(depth.argmin())
    return float(grid[lowest]) if depth[lowest] < _DIP else None


def _effective(weights: np.ndarray) -> float:
    """Kish's number."""
    return float(weights.sum() ** 2 / np.square(weights).sum()) if weights.any() else 0.0
