"""Errors of correlated samples by leaving out one block of them at a time."""

from __future__ import annotations

import numpy as np


def jackknife_error(left: np.ndarray, axis: int = 0) -> np.ndarray:
    """Standard error of an estimate from its values with one of n blocks left out at a time, along ``axis``."""
    n = left.shape[axis]
    return np.sqrt((n - 1) / n * np.square(left - left.mean(axis=axis, keepdims=True)).sum(axis=axis))


def blocks_of_time(walker: np.ndarray, each: int, ensemble: np.ndarray | None = None) -> np.ndarray:
    """Number of the block of each sample, shape (n,): ``each`` blocks of consecutive samples of every walker.

    Args:
        walker: number of the simulation that each sample comes from, shape (n,), in the order of time for each.
        each: blocks of a walker.
        ensemble: in which a walker was at each sample, shape (n,), if it was in several by turns: time then goes on
            within each, and a block is what the walker did at one time in all of them.
    """
    numbers = np.unique(walker, return_inverse=True)[1]
    parts = numbers if ensemble is None else numbers + ensemble * (numbers.max(initial=0) + 1)
    block = np.empty(len(walker), dtype=int)
    for part in np.unique(parts):
        mine = np.flatnonzero(parts == part)
        block[mine] = numbers[mine] * each + np.arange(len(mine)) * each // len(mine)
    return block
