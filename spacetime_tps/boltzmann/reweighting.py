"""Samples of several ensembles as one weighted set (MBAR: Shirts and Chodera, J. Chem. Phys. 129, 124105 (2008))."""

from __future__ import annotations

import logging

import numpy as np
from scipy.special import logsumexp

logging.getLogger("pymbar").setLevel(logging.ERROR)  # its import greets the user with advice on JAX


def mixture(reduced: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Solve for the free energies of the ensembles and weigh each sample by the mixture of all of them.

    Args:
        reduced: potential u_k(x_n) [kT] of sample n in ensemble k, shape (n_ensembles, n), samples of ensemble 0 first,
            then those of ensemble 1, and so on.
        counts: samples of each ensemble, shape (n_ensembles,).

    Returns:
        free energies f_k [kT], shape (n_ensembles,), f_0 = 0, and log sum_k N_k exp(f_k - u_k(x_n)), shape (n,): the
        weight of a sample in an ensemble u is exp(-u) over the latter (equation 11).
    """
    from pymbar import MBAR

    solution = MBAR(reduced, counts, solver_protocol="robust", initialize="zeros")
    seen = counts > 0
    logits = np.log(counts[seen])[:, None] + solution.f_k[seen][:, None] - reduced[seen]
    return solution.f_k, logsumexp(logits, axis=0)
