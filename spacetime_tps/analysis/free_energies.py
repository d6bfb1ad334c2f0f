"""Free energies that a pool of samples gives: of the two states, and along a curve."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import logsumexp

from spacetime_tps.boltzmann.pool import Solution
from spacetime_tps.representations import Identity, Molecular, Torsions


@dataclass(frozen=True)
class Profile:
    """Free energy along a curve, of the unbiased density smoothed at one level.

    Attributes:
        free_energy: above its lowest point [kT], shape (n,).
        barrier: its largest climb, from any point to a later one [kT].
        error: standard error of ``barrier`` [kT].
        variance_by_ensemble: what the samples of each ensemble add to its square, shape (n_ensembles,).
        above_a: free energy of its top above that of state A, and its standard error [kT]; NaN without a sample in A.
    """

    free_energy: np.ndarray
    barrier: float
    error: float
    variance_by_ensemble: np.ndarray
    above_a: tuple[float, float]


def difference_of_states(solution: Solution) -> tuple[float, float]:
    """Free energy of state B minus that of state A, and its standard error [kT], infinite if nothing joins them."""
    with np.errstate(divide="ignore"):
        return solution.estimate(np.log(solution.pool.in_states.astype(float))).difference(0, 1)


def profile_along(
    solution: Solution, torsions: Torsions, columns: list[int], centers: np.ndarray, log_snr: float
) -> Profile:
    """Read the free energy along a curve, whatever its representation, in torsions.

    Args:
        solution: of samples around the curve.
        torsions: in which its centres are given.
        columns: of the pool's collective variables that are these torsions.
        centers: of the curve [rad], shape (n, n_torsions).
        log_snr: level of the smoothing.
    """
    natural = np.exp(log_snr) * torsions.features_of_angles(centers)
    seen = torsions.features_of_angles(solution.pool.variables[:, columns])
    targets, in_a = seen @ natural.T, solution.pool.in_states[:, 0]
    if in_a.any():
        with np.errstate(divide="ignore"):
            targets = np.column_stack([targets, np.log(in_a.astype(float))])
    found = solution.estimate(targets)
    height = found.values[: len(centers)]
    top = int(np.argmax(height - np.minimum.accumulate(height)))
    bottom = int(np.argmin(height[: top + 1]))
    return Profile(
        height - height.min(),
        *found.difference(bottom, top),
        found.variance_by_ensemble(bottom, top),
        found.difference(len(centers), top) if in_a.any() else (np.nan, np.nan),
    )


def along_by_samples(
    solution: Solution, representation: Molecular | Identity, natural: np.ndarray, features: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """What samples say of a curve: where its posteriors lie, and their free energy A/kT.

    Args:
        solution: of samples around the curve.
        representation: of the curve.
        natural: eta along it, shape (n, n_parameters).
        features: of the solution's samples, in whatever is to be averaged, shape (n_samples, n_features).

    Returns:
        means of the features, shape (n, n_features), and free energies up to a constant [kT], shape (n,).
    """
    logs = solution.log_weights - representation.reduced(natural, solution.pool.features)
    log_partition = logsumexp(logs, axis=1)
    means = np.exp(logs - log_partition[:, None]) @ features
    profile = representation.profile(torch.from_numpy(natural), torch.from_numpy(log_partition)).numpy()
    return means, profile - profile.min()


@dataclass(frozen=True)
class VariableProfile:
    """Free energy along one collective variable, whatever the others do where the pool has samples.

    Attributes:
        edges: of the bins that hold samples, lower and upper, shape (n, 2).
        free_energy: of each above the lowest [kT], shape (n,).
        error: standard error of it [kT], shape (n,); infinite where no sample joins a bin to the lowest.
    """

    edges: np.ndarray
    free_energy: np.ndarray
    error: np.ndarray


def profile_of(solution: Solution, variable: int, edges: np.ndarray) -> VariableProfile:
    """Free energy -log of the unbiased probability of bins of a collective variable.

    Windows along a curve see a tube around it: where another tube is as likely at the same value, this is too high.

    Args:
        solution: of a pool.
        variable: column of the pool's collective variables.
        edges: of equal bins, ascending, shape (n_bins + 1,).
    """
    values = solution.pool.variables[:, variable]
    inside = (values[:, None] >= edges[:-1]) & (values[:, None] < edges[1:])
    filled = inside.any(axis=0)
    with np.errstate(divide="ignore"):
        found = solution.estimate(np.log(inside[:, filled].astype(float)))
    lowest = int(found.values.argmin())
    differences = np.array([found.difference(lowest, k) for k in range(len(found.values))])
    return VariableProfile(np.stack([edges[:-1], edges[1:]], axis=-1)[filled], *differences.T)


def least_overlap(solution: Solution) -> float:
    """Between neighbouring ensembles that have samples.

    Below 0.03 nothing is certain (Klimovich, Shirts and Mobley 2015).
    """
    sampled = solution.pool.counts > 0
    return float(np.diagonal(solution.reweighted.overlap[np.ix_(sampled, sampled)], offset=1).min())
