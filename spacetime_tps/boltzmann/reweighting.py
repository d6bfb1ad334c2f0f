"""Samples of several ensembles as one weighted set (MBAR: Shirts and Chodera, J. Chem. Phys. 129, 124105 (2008))."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.optimize import minimize
from scipy.special import logsumexp

from spacetime_tps.boltzmann.blocks import blocks_of_time

_TOLERANCE = 1e-9
"""Of the gradient, a difference of shares of all samples."""
_MANY, _STRIDE = 5000, 16
"""With more samples, one of so many brings the solution near."""


@dataclass(frozen=True)
class Reweighted:
    """What MBAR says of several ensembles.

    Attributes:
        reduced: potential u_k(x_n) [kT] of sample n in ensemble k, shape (n_ensembles, n).
        counts: samples of each ensemble, shape (n_ensembles,).
        free_energies: f_k [kT], f_0 = 0, shape (n_ensembles,).
        log_mixture: log sum_k N_k exp(f_k - u_k(x_n)), shape (n,): the weight of a sample in an ensemble u is exp(-u)
            over it (equation 11).
    """

    reduced: np.ndarray
    counts: np.ndarray
    free_energies: np.ndarray
    log_mixture: np.ndarray

    @cached_property
    def weights(self) -> np.ndarray:
        """exp(f_k - u_k(x_n) - log_mixture_n), shape (n, n_ensembles); every column sums to one."""
        return np.exp((self.free_energies[:, None] - self.reduced - self.log_mixture).T)

    @cached_property
    def overlap(self) -> np.ndarray:
        """Probability that a sample of ensemble i could as well be one of j, shape (n_ensembles, n_ensembles).

        Klimovich, Shirts and Mobley, J. Comput.-Aided Mol. Des. 29, 397 (2015).
        """
        return self.weights.T @ (self.weights * self.counts)


def solved(reduced: np.ndarray, counts: np.ndarray) -> Reweighted:
    """Solve the equations of MBAR: the minimum of a convex function, by a trust-region Newton method.

    Far from a solution pymbar's solvers take minutes for some hundred ensembles that hardly overlap. The function is
    convex, so second derivatives and a trust region find its minimum in some dozen steps, most of them with a share of
    the samples (``scripts/bench_mbar.py``).

    Args:
        reduced: see ``Reweighted``; samples of ensemble 0 first, then those of ensemble 1, and so on.
        counts: samples of each ensemble, shape (n_ensembles,).
    """
    seen = np.flatnonzero(counts)
    potential, drawn = reduced[seen].T, counts[seen]
    start = np.zeros(len(seen))
    if len(potential) > _MANY:
        ensemble = np.repeat(np.arange(len(seen)), drawn)
        few = np.flatnonzero(np.concatenate([np.arange(n) % _STRIDE for n in drawn]) == 0)
        start = _minimum(potential[few], np.bincount(ensemble[few], minlength=len(seen)), start)
    found = _minimum(potential, drawn, start)
    logits = found + np.log(drawn) - potential
    log_mixture = logsumexp(logits, axis=1)
    free_energies = -logsumexp(-reduced - log_mixture, axis=1)
    return Reweighted(reduced, counts, free_energies - free_energies[0], log_mixture - free_energies[0])


def _minimum(potential: np.ndarray, counts: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Free energies, shape (n_ensembles,), the first zero, of potentials of shape (n, n_ensembles)."""
    if len(counts) == 1:
        return np.zeros(1)
    log_counts, total = np.log(counts), counts.sum()
    latest: dict[str, np.ndarray] = {}

    def shares(f: np.ndarray) -> np.ndarray:
        """Probabilities that samples belong to the ensembles, shape (n, n_ensembles)."""
        if "f" not in latest or not np.array_equal(latest["f"], f):
            weights = np.concatenate([[0.0], f]) + log_counts - potential
            top = weights.max(axis=1, keepdims=True)
            weights -= top
            np.exp(weights, out=weights)
            sums = weights.sum(axis=1, keepdims=True)
            weights /= sums
            latest.update(f=f.copy(), shares=weights, log_mixture=np.log(sums) + top)
        return latest["shares"]

    def value(f: np.ndarray) -> float:
        shares(f)
        return float((latest["log_mixture"].sum() - counts[1:] @ f) / total)

    def gradient(f: np.ndarray) -> np.ndarray:
        return (shares(f).sum(axis=0) - counts)[1:] / total

    def hessian(f: np.ndarray) -> np.ndarray:
        own = shares(f)
        return (np.diag(own.sum(axis=0)) - own.T @ own)[1:, 1:] / total

    options = {"gtol": _TOLERANCE, "maxiter": 1000, "initial_trust_radius": 10.0, "max_trust_radius": 1e4}
    relative = start[1:] - start[0]
    found = minimize(value, relative, method="trust-exact", jac=gradient, hess=hessian, options=options)
    return np.concatenate([[0.0], found.x])


def covariances_of_targets(
    found: Reweighted, targets: np.ndarray, ensemble: np.ndarray, walker: np.ndarray, blocks: Sequence[int]
) -> list[np.ndarray]:
    """Covariances of free energies -log sum_n h(x_n) / mixture_n of functions h, by the spread of blocks of time.

    MBAR solves sum_n w_nk = 1, a sum over samples for each ensemble k; h is one ensemble more, of which there are no
    samples. How such sums scatter says how their solution does, to first order: the sandwich J^-1 S J^-T of Geyer,
    "Estimating normalizing constants and reweighting mixtures" (1994), section 4, with S from sums over blocks, which
    holds for correlated samples (Doss and Tan, J. R. Stat. Soc. B 76, 683 (2014)).

    Args:
        found: solution.
        targets: h(x_n) / mixture_n, each column divided by its sum, shape (n, n_targets).
        ensemble: that each sample was drawn in, shape (n,).
        walker: the simulation that each sample comes from, in the order of time, shape (n,).
        blocks: numbers of blocks of every simulation; for each a covariance is returned.

    Returns:
        shapes (n_targets, n_targets) [kT^2]; only differences of free energies have a meaning.
    """
    sampled, many = len(found.counts), targets.shape[1]
    jacobian = np.eye(sampled + many)
    jacobian[:sampled, :sampled] -= found.overlap
    jacobian[sampled:, :sampled] -= targets.T @ (found.weights * found.counts)
    fixed = np.flatnonzero(found.counts)[0]  # whose free energy is the zero of all others
    free = np.concatenate([found.counts > 0, np.ones(many, dtype=bool)])
    free[fixed] = False
    inverse = np.linalg.inv(jacobian[np.ix_(free, free)])[-many:]
    weights = np.concatenate([found.weights, targets], axis=1)[:, free]
    return [inverse @ _scatter(weights, ensemble, blocks_of_time(walker, each)) @ inverse.T for each in blocks]


def _scatter(weights: np.ndarray, ensemble: np.ndarray, block: np.ndarray) -> np.ndarray:
    """Covariance of the sums of columns over all samples, by the sums over the blocks of each ensemble."""
    scatter = np.zeros((weights.shape[1], weights.shape[1]))
    for k in np.unique(ensemble):
        mine = weights[ensemble == k]
        names, inside = np.unique(block[ensemble == k], return_inverse=True)
        if len(names) < 2:
            continue
        sums = np.zeros((len(names), weights.shape[1]))
        np.add.at(sums, inside, mine - mine.mean(axis=0))
        scatter += len(names) / (len(names) - 1) * sums.T @ sums
    return scatter
