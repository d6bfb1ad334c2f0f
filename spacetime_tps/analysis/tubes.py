"""Tubes: heaps of transition paths that cross a ridge beside one another."""

from __future__ import annotations

import numpy as np

_GRID, _MOST_GRID = 200, 2000
_NARROWER, _SIGMAS = (1.0, 2.0, 4.0, 8.0), (0.0, 4.0, 4.5, 5.0)
"""Times that kernels are narrower than Silverman's, and standard errors by which a dip has to show then."""
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
    that are less apart than that, or that hold fewer than ten effective paths, are no tubes of their own: their points
    count to the tube that they lie nearest to along these components.

    Args:
        points: where the paths cross the ridge, shape (n, d).
        weights: of the paths, shape (n,), zero or above; their scale does not matter.

    Raises:
        ValueError: a point or weight is not finite, or a weight is negative.
    """
    if not (np.isfinite(points).all() and np.isfinite(weights).all() and (weights >= 0.0).all()):
        raise ValueError("tubes need finite points, and finite weights of zero or above")
    weights = weights / weights.max() if weights.any() else weights
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
    """Which points lie beyond the deepest dip of their density between two tubes, shape (n,); None if there is none."""
    heap = weights > 0.0
    while _effective(weights[heap]) >= 2.0 * _FEWEST:
        share = weights[heap] / weights[heap].sum()
        mean = share @ points[heap]
        away = points[heap] - mean
        variances, axes = np.linalg.eigh((share * away.T) @ away)
        strays = np.zeros(len(share), dtype=bool)
        for variance, axis in zip(variances[::-1], axes.T[::-1], strict=True):
            if variance <= _LEAST_VARIANCE * variances.sum():
                break
            along = away @ axis
            for dip in _dips(along, share, float(np.sqrt(variance))):
                beyond = along > dip
                sides = [_effective(share[side]) for side in (beyond, ~beyond)]
                if min(sides) >= _FEWEST:
                    return (points - mean) @ axis > dip
                strays |= beyond if sides[0] < sides[1] else ~beyond
        if not strays.any():
            return None
        heap[heap] = ~strays
    return None


def _dips(along: np.ndarray, share: np.ndarray, scatter: float) -> list[float]:
    """Where the density of numbers is lowest between two of its peaks, and low beside them, the deepest dip first.

    Silverman's width is that of one heap. Several make it too wide: where it shows no dip narrower kernels may, if the
    points under them are so many that chance makes no such dip.
    """
    silverman = 1.06 * scatter * _effective(share) ** -0.2
    for narrower, sigmas in zip(_NARROWER, _SIGMAS, strict=True):
        if found := _dips_of_width(along, share, silverman / narrower, sigmas):
            return found
    return []


def _dips_of_width(along: np.ndarray, share: np.ndarray, width: float, sigmas: float) -> list[float]:
    """The same for kernels of one width, dips that are so many standard errors below the peaks beside them."""
    grid = np.linspace(along.min(), along.max(), max(_GRID, min(_MOST_GRID, int(3 * np.ptp(along) / width))))
    density = np.exp(-0.5 * np.square((grid[:, None] - along) / width)) @ share
    before, behind = np.maximum.accumulate(density), np.maximum.accumulate(density[::-1])[::-1]
    peaks = np.minimum(before, behind)
    depth = np.divide(density, peaks, out=np.zeros_like(density), where=peaks > 0.0)
    low = np.concatenate([[False], (density[1:-1] <= density[:-2]) & (density[1:-1] <= density[2:]), [False]])
    many = np.sqrt(_effective(share))  # points under a kernel: density times their number
    apart = many * (peaks - density) > sigmas * np.sqrt(peaks + density)
    found = np.flatnonzero(low & apart & (depth < _DIP))
    return grid[found[np.argsort(depth[found], kind="stable")]].tolist()


def _effective(weights: np.ndarray) -> float:
    """Kish's number."""
    return float(weights.sum() ** 2 / np.square(weights).sum()) if weights.any() else 0.0
