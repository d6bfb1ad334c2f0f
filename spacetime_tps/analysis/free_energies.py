"""Free energies that a pool of samples gives: of the two states, and along a curve."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spacetime_tps.boltzmann.pool import Solution
from spacetime_tps.representations import Torsions


@dataclass(frozen=True)
class Profile:
    """Free energy along a curve, of the unbiased density smoothed at one level.

    Attributes:
        free_energy: above its lowest point [kT], shape (n,).
        barrier: its largest climb, from any point to a later one [kT].
        error: standard error of ``barrier`` [kT].
    """

    free_energy: np.ndarray
    barrier: float
    error: float


def difference_of_states(solution: Solution) -> tuple[float, float]:
    """Free energy of state B minus that of state A, and its standard error [kT], infinite if nothing joins them."""
    with np.errstate(divide="ignore"):
        return solution.estimate(np.log(solution.pool.in_states.astype(float))).difference(0, 1)


def profile_along(solution: Solution, torsions: Torsions, centers: np.ndarray, log_snr: float) -> Profile:
    """Read the free energy along a curve.

    Args:
        solution: of samples around the curve.
        torsions: of the representation.
        centers: of the curve [rad], shape (n, n_torsions).
        log_snr: level of the smoothing.
    """
    natural = np.exp(log_snr) * torsions.features_of_angles(centers)
    found = solution.estimate(torsions.statistics(solution.pool.features) @ natural.T)
    height = found.values
    top = int(np.argmax(height - np.minimum.accumulate(height)))
    bottom = int(np.argmin(height[: top + 1]))
    return Profile(height - height.min(), *found.difference(bottom, top))


def least_overlap(solution: Solution) -> float:
    """Between neighbouring ensembles: below 0.03 nothing is certain (Klimovich, Shirts and Mobley 2015)."""
    return float(np.diagonal(solution.reweighted.overlap, offset=1).min())
