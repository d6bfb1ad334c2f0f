"""Samples of several ensembles as one weighted set (MBAR: Shirts and Chodera, J. Chem. Phys. 129, 124105 (2008))."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

logging.getLogger("pymbar").setLevel(logging.ERROR)  # its import greets the user with advice on JAX


@dataclass(frozen=True)
class Reweighted:
    """What MBAR says of several ensembles.

    Attributes:
        free_energies: f_k [kT], f_0 = 0, shape (n_ensembles,).
        log_mixture: log sum_k N_k exp(f_k - u_k(x_n)), shape (n,): the weight of a sample in an ensemble u is exp(-u)
            over it (equation 11).
        errors: standard errors of all differences f_j - f_i [kT], shape (n_ensembles, n_ensembles), and
        overlap: probability to find a sample of i in j (Klimovich, Shirts and Mobley, J. Comput.-Aided Mol. Des. 29,
            397 (2015)), the same shape; both None unless asked for.
    """

    free_energies: np.ndarray
    log_mixture: np.ndarray
    errors: np.ndarray | None = None
    overlap: np.ndarray | None = None


def solved(
    reduced: np.ndarray, counts: np.ndarray, first: np.ndarray | None = None, with_errors: bool = False
) -> Reweighted:
    """Solve the equations of MBAR.

    Args:
        reduced: potential u_k(x_n) [kT] of sample n in ensemble k, shape (n_ensembles, n), samples of ensemble 0 first,
            then those of ensemble 1, and so on.
        counts: samples of each ensemble, shape (n_ensembles,).
        first: a guess of the free energies, shape (n_ensembles,).
        with_errors: errors and overlap, too.
    """
    from pymbar import MBAR

    guess = {"initialize": "zeros"} if first is None else {"initial_f_k": first}
    solution = MBAR(reduced, counts, solver_protocol="robust", **guess)
    seen = counts > 0
    logits = np.log(counts[seen])[:, None] + solution.f_k[seen][:, None] - reduced[seen]
    log_mixture = logsumexp(logits, axis=0)
    if not with_errors:
        return Reweighted(solution.f_k, log_mixture)
    errors = solution.compute_free_energy_differences()["dDelta_f"]
    return Reweighted(solution.f_k, log_mixture, errors, solution.compute_overlap()["matrix"])


def mixture(reduced: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Free energies and log-mixture of ``solved``."""
    found = solved(reduced, counts)
    return found.free_energies, found.log_mixture


def statistical_inefficiency(values: np.ndarray) -> float:
    """How many correlated values count for one, at least 1 (Chodera et al., J. Chem. Theory Comput. 3, 26 (2007))."""
    from pymbar.timeseries import statistical_inefficiency as inefficiency
    from pymbar.utils import ParameterError

    try:
        return float(inefficiency(values))
    except ParameterError:  # all alike
        return 1.0
