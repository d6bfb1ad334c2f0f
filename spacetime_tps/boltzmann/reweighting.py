"""Samples of several ensembles as one weighted set (MBAR: Shirts and Chodera, J. Chem. Phys. 129, 124105 (2008))."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.optimize import minimize
from scipy.sparse.csgraph import connected_components
from scipy.special import logsumexp

from spacetime_tps.boltzmann.blocks import blocks_of_time

_BLOCKS = (4, 1)
"""Of every simulation, for errors."""
_TOLERANCE = 1e-9
"""Of the gradient, a difference of shares of all samples."""
_RIDGE = 1e-12
"""Added to second derivatives, which vanish between ensembles that share nothing."""
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

    @cached_property
    def groups(self) -> np.ndarray:
        """Number of the group of each ensemble, shape (n_ensembles,): between groups not one sample is shared."""
        shared = self.counts[:, None] * self.overlap >= 1.0
        return connected_components(shared, directed=False)[1]


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
        return (np.diag(own.sum(axis=0)) - own.T @ own)[1:, 1:] / total + _RIDGE * np.eye(len(f))

    options = {"gtol": _TOLERANCE, "maxiter": 1000, "initial_trust_radius": 10.0, "max_trust_radius": 1e4}
    relative = start[1:] - start[0]
    found = minimize(value, relative, method="trust-exact", jac=gradient, hess=hessian, options=options)
    return np.concatenate([[0.0], found.x])


@dataclass(frozen=True)
class Estimate:
    """Free energies of functions h(x) >= 0, -log <h>, of which only differences have a meaning.

    Attributes:
        values: shape (n_targets,) [kT].
        covariance: shape (n_targets, n_targets) [kT^2].
        group: of ensembles that share samples, to which each belongs, shape (n_targets,).
        weights: whose sums over all samples the solution sets, shape (n, n_sums).
        response: of the values to such sums, shape (n_targets, n_sums).
        ensemble: that each sample was drawn in, shape (n,).
        block: of time that each sample belongs to, shape (n,).
        ensembles: how many there are, those without samples among them.
    """

    values: np.ndarray
    covariance: np.ndarray
    group: np.ndarray
    weights: np.ndarray
    response: np.ndarray
    ensemble: np.ndarray
    block: np.ndarray
    ensembles: int

    def variance_by_ensemble(self, i: int, j: int) -> np.ndarray:
        """What the samples of each ensemble add to the variance of ``difference(i, j)`` [kT^2], shape (n_ensembles,).

        With n times as many samples of an ensemble its part is n times smaller. Ensembles that exchange configurations
        are correlated, which the parts leave out.
        """
        scores = self.weights @ (self.response[j] - self.response[i])
        parts = np.zeros(self.ensembles)
        for k in np.unique(self.ensemble):
            own = self.ensemble == k
            alone = np.zeros(int(own.sum()), dtype=int)
            parts[k] = _scatter(scores[own, None], alone, np.unique(self.block[own], return_inverse=True)[1])[0, 0]
        return parts

    def difference(self, i: int, j: int) -> tuple[float, float]:
        """Free energy of j minus that of i and its standard error [kT], infinite if no samples join them."""
        c = self.covariance
        error = np.sqrt(max(0.0, c[i, i] + c[j, j] - 2.0 * c[i, j])) if self.group[i] == self.group[j] else np.inf
        return float(self.values[j] - self.values[i]), float(error)


@dataclass(frozen=True)
class SampleSum:
    """A positive sum over samples that depends on the free energies, S = sum_n s_n(f), as one more estimate -log S.

    Attributes:
        terms: s_n / S, shape (n,).
        shares: -d log S / d f_k, shape (n_ensembles,).
        value: -log S.
    """

    terms: np.ndarray
    shares: np.ndarray
    value: float


def estimated(
    found: Reweighted,
    log_targets: np.ndarray,
    ensemble: np.ndarray,
    walker: np.ndarray,
    sums: Sequence[SampleSum] = (),
) -> Estimate:
    """Free energies of functions h, with errors by the spread of blocks of time.

    MBAR solves sum_n w_nk = 1, a sum over samples for each ensemble k; h is one ensemble more, of which there are no
    samples. How such sums scatter says how their solution does, to first order: the sandwich J^-1 S J^-T of Geyer,
    "Estimating normalizing constants and reweighting mixtures" (1994), section 4, with S from sums over blocks, which
    holds for correlated samples (Doss and Tan, J. R. Stat. Soc. B 76, 683 (2014)). Blocks are four of every simulation,
    or whole simulations, which shows what they have not forgotten; the larger covariance counts.

    Args:
        found: solution.
        log_targets: log h(x_n), shape (n, n_targets); -inf where h is zero.
        ensemble: that each sample was drawn in, shape (n,).
        walker: the simulation that each sample comes from, shape (n,), in the order of time within an ensemble.
        sums: estimates of other forms, which come behind these.
    """
    logits = log_targets - found.log_mixture[:, None]
    log_sums = logsumexp(logits, axis=0)
    targets = np.exp(logits - log_sums)
    shares = targets.T @ (found.weights * found.counts)
    if sums:
        targets = np.column_stack([targets, *(each.terms for each in sums)])
        shares = np.vstack([shares, *(each.shares for each in sums)])
    sampled, many = len(found.counts), targets.shape[1]
    jacobian = np.eye(sampled + many)
    jacobian[:sampled, :sampled] -= found.overlap
    jacobian[sampled:, :sampled] -= shares
    free = np.ones(sampled + many, dtype=bool)
    free[np.unique(found.groups, return_index=True)[1]] = False  # the zeros that all others of a group count from
    inverse = np.linalg.inv(jacobian[np.ix_(free, free)])[-many:]
    weights = np.concatenate([found.weights, targets], axis=1)[:, free]
    blocks = [blocks_of_time(walker, each, ensemble) for each in _BLOCKS]
    covariances = [inverse @ _scatter(weights, ensemble, block) @ inverse.T for block in blocks]
    covariance = max(covariances, key=lambda c: np.diagonal(c + c[0, 0] - c[0] - c[:, :1].T).sum())
    of_group = shares @ (found.groups[:, None] == np.arange(found.groups.max() + 1))
    values = np.append(-log_sums, [each.value for each in sums])
    return Estimate(values, covariance, of_group.argmax(axis=1), weights, inverse, ensemble, blocks[0], sampled)


def _scatter(weights: np.ndarray, ensemble: np.ndarray, block: np.ndarray) -> np.ndarray:
    """Covariance of the sums of columns over all samples, by the sums over blocks about the means of ensembles.

    A block that reaches over several ensembles, since configurations were exchanged, counts with its sum over them all.
    """
    sums = np.zeros((int(block.max(initial=0)) + 1, weights.shape[1]))
    for k in np.unique(ensemble):
        mine = weights[ensemble == k]
        names, inside = np.unique(block[ensemble == k], return_inverse=True)
        if len(names) < 2:
            continue
        own = np.zeros((len(names), weights.shape[1]))
        np.add.at(own, inside, mine - mine.mean(axis=0))
        sums[names] += np.sqrt(len(names) / (len(names) - 1)) * own
    return sums.T @ sums
