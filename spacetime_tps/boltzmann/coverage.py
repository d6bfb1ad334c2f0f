"""What samples cover: both states, the way between them, and how much each state weighs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.cluster.hierarchy import single
from scipy.spatial.distance import pdist
from scipy.special import logsumexp

from spacetime_tps.boltzmann.blocks import blocks_of_time, jackknife_error

CONNECTED_DEG = 45.0
"""Samples farther apart than that in some torsion have a gap between them."""
_EXAMINED = 3000
_BLOCKS = 8


@dataclass(frozen=True)
class Coverage:
    """How well samples of torsions join state A to state B.

    Attributes:
        gap_deg: see ``connection_gap``.
        crossings: transitions between the states that a sampling trajectory made by itself, in either direction.
        delta_f: -kT log of the states' weights, B minus A [energy unit of kt]; infinite where one was not visited.
        delta_f_error: standard error, the larger of two: of leaving out one block of time at a time, eight of each
            walker, and of leaving out one walker of several; NaN where a state is then seen in none.
    """

    gap_deg: float
    crossings: int
    delta_f: float
    delta_f_error: float

    @property
    def connected(self) -> bool:
        """Whether the weights of the states have anything to do with each other."""
        return np.isfinite(self.delta_f) and (self.crossings > 0 or self.gap_deg <= CONNECTED_DEG)


def coverage(
    angles: np.ndarray,
    log_weights: np.ndarray,
    walker: np.ndarray,
    in_a: np.ndarray,
    in_b: np.ndarray,
    crossings: int,
    kt: float,
    rng: np.random.Generator,
) -> Coverage:
    """Measure it.

    Args:
        angles: of biased samples [rad], shape (n, n_torsions).
        log_weights: shape (n,).
        walker: number of the independent simulation that each comes from, shape (n,).
        in_a, in_b: which samples lie in the states, shape (n,).
        crossings: transitions that were seen.
        kt: thermal energy.
        rng: chooses the samples between which the gap is measured.
    """

    delta_f, error = difference_of_states(log_weights, walker, in_a, in_b, kt)
    return Coverage(connection_gap(angles, in_a, in_b, rng), crossings, delta_f, error)


def difference_of_states(
    log_weights: np.ndarray, walker: np.ndarray, in_a: np.ndarray, in_b: np.ndarray, kt: float
) -> tuple[float, float]:
    """-kT log of the weight of B over that of A, and its standard error, as ``Coverage`` describes them.

    Args:
        log_weights: shape (n,).
        walker: number of the independent simulation that each sample comes from, shape (n,), in the order of time.
        in_a, in_b: which samples lie in the states, shape (n,).
        kt: thermal energy.
    """

    def delta_f(among: np.ndarray) -> float:
        if not (among & in_a).any() or not (among & in_b).any():
            return float("inf")
        return kt * float(logsumexp(log_weights[among & in_a]) - logsumexp(log_weights[among & in_b]))

    def error_by(block: np.ndarray) -> float:
        left = np.array([delta_f(block != b) for b in np.unique(block)])
        return float(jackknife_error(left)) if len(left) > 1 and np.isfinite(left).all() else float("nan")

    whole = delta_f(np.ones(len(walker), dtype=bool))
    return whole, float(np.fmax(error_by(blocks_of_time(walker, _BLOCKS)), error_by(walker)))


def connection_gap(angles: np.ndarray, in_a: np.ndarray, in_b: np.ndarray, rng: np.random.Generator) -> float:
    """Largest step [deg] of the best way from state A to state B that goes from sample to sample.

    A step is as large as its largest change of a torsion. Of all samples at most 3000 are looked at.

    Args:
        angles: of biased samples [rad], shape (n, n_torsions).
        in_a, in_b: which of them lie in the states, shape (n,).
        rng: chooses among them.

    Returns:
        infinity where no sample lies in one of the states.
    """
    if not in_a.any() or not in_b.any():
        return float("inf")
    chosen = rng.permutation(len(angles))[:_EXAMINED]
    chosen = np.union1d(chosen, [np.argmax(in_a), np.argmax(in_b)])
    distances = np.zeros(len(chosen) * (len(chosen) - 1) // 2)
    for column in angles[chosen].T:
        turned = pdist(column[:, None], "cityblock") % (2 * np.pi)
        np.maximum(distances, np.minimum(turned, 2 * np.pi - turned), out=distances)
    holds_a, holds_b = in_a[chosen].tolist(), in_b[chosen].tolist()
    for left, right, height, _ in single(distances):
        holds_a.append(holds_a[int(left)] or holds_a[int(right)])
        holds_b.append(holds_b[int(left)] or holds_b[int(right)])
        if holds_a[-1] and holds_b[-1]:
            return float(np.rad2deg(height))
    raise AssertionError("single linkage ends in one cluster")
