"""Samples of several ensembles as one weighted set (MBAR: Shirts and Chodera, J. Chem. Phys. 129, 124105 (2008))."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from spacetime_tps.boltzmann.blocks import blocks_of_time

logging.getLogger("pymbar").setLevel(logging.ERROR)  # its import greets the user with advice on JAX


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

    def weights(self) -> np.ndarray:
        """exp(f_k - u_k(x_n) - log_mixture_n), shape (n, n_ensembles); every column sums to one."""
        return np.exp((self.free_energies[:, None] - self.reduced - self.log_mixture).T)

    def overlap(self) -> np.ndarray:
        """Probability that a sample of ensemble i could as well be one of j, shape (n_ensembles, n_ensembles).

        Klimovich, Shirts and Mobley, J. Comput.-Aided Mol. Des. 29, 397 (2015).
        """
        weights = self.weights()
        return weights.T @ (weights * self.counts)


def solved(reduced: np.ndarray, counts: np.ndarray, first: np.ndarray | None = None) -> Reweighted:
    """Solve the equations of MBAR.

    Args:
        reduced: see ``Reweighted``; samples of ensemble 0 first, then those of ensemble 1, and so on.
        counts: samples of each ensemble, shape (n_ensembles,).
        first: a guess of the free energies, shape (n_ensembles,).
    """
    from pymbar import MBAR

    guess = {"initialize": "zeros"} if first is None else {"initial_f_k": first}
    free_energies = MBAR(reduced, counts, solver_protocol="robust", **guess).f_k
    seen = counts > 0
    logits = np.log(counts[seen])[:, None] + free_energies[seen][:, None] - reduced[seen]
    return Reweighted(reduced, counts, free_energies, logsumexp(logits, axis=0))


def covariance_of_targets(
    found: Reweighted, targets: np.ndarray, ensemble: np.ndarray, walker: np.ndarray, blocks: int
) -> np.ndarray:
    """Covariance of free energies -log sum_n h(x_n) / mixture_n of functions h, by the spread of blocks of time.

    MBAR solves sum_n w_nk = 1, a sum over samples for each ensemble k; h is one ensemble more, of which there are no
    samples. How such sums scatter says how their solution does, to first order: the sandwich J^-1 S J^-T of Geyer,
    "Estimating normalizing constants and reweighting mixtures" (1994), section 4, with S from sums over blocks, which
    holds for correlated samples (Doss and Tan, J. R. Stat. Soc. B 76, 683 (2014)).

    Args:
        found: solution.
        targets: h(x_n) / mixture_n, each column divided by its sum, shape (n, n_targets).
        ensemble: that each sample was drawn in, shape (n,).
        walker: the simulation that each sample comes from, in the order of time, shape (n,).
        blocks: of every simulation.

    Returns:
        shape (n_targets, n_targets) [kT^2]; only differences of free energies have a meaning.
    """
    weights = np.concatenate([found.weights(), targets], axis=1)
    sampled = len(found.counts)
    jacobian = np.eye(weights.shape[1])
    jacobian[:, :sampled] -= weights.T @ (weights[:, :sampled] * found.counts)
    block = blocks_of_time(walker, blocks)
    scatter = np.zeros_like(jacobian)
    for k in np.unique(ensemble):
        rows = np.flatnonzero(ensemble == k)
        _, inside = np.unique(block[rows], return_inverse=True)
        count = inside.max() + 1
        if count < 2:
            continue
        sums = np.zeros((count, weights.shape[1]))
        np.add.at(sums, inside, weights[rows] - weights[rows].mean(axis=0))
        scatter += count / (count - 1) * sums.T @ sums
    fixed = int(np.flatnonzero(found.counts)[0])  # whose free energy is the zero of all others
    free = np.array([k for k in range(len(jacobian)) if k != fixed and (k >= sampled or found.counts[k])])
    inverse = np.linalg.inv(jacobian[np.ix_(free, free)])
    covariance = inverse @ scatter[np.ix_(free, free)] @ inverse.T
    return covariance[-targets.shape[1] :, -targets.shape[1] :]
