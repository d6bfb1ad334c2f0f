"""Free-energy difference and dissipation from forward and backward work (Crooks 1999, Bennett 1976)."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np

logging.getLogger("pymbar").setLevel(logging.ERROR)  # its import greets the user with advice on JAX


@dataclass(frozen=True)
class WorkSummary:
    """What the work of the restraint tells, everything in kT.

    Attributes:
        delta_f, error: Bennett acceptance ratio estimate of the free-energy difference between the restrained ends,
            B minus A, and its standard error; where both distributions are too far apart for it, the middle between
            their means and half their distance.
        dissipated_forward, dissipated_backward: mean work minus what a reversible change would cost, with the
            standard errors of the means in ``*_error``.
        gaussian_forward, gaussian_backward: var(W) / (2 W_diss), 1 for Gaussian work; NaN where W_diss is not
            positive.
        lag: mean dissipated work over half the sum of chords; 1 if the system is relaxed at every curve point.
    """

    delta_f: float
    error: float
    dissipated_forward: float
    dissipated_backward: float
    dissipated_forward_error: float
    dissipated_backward_error: float
    gaussian_forward: float
    gaussian_backward: float
    lag: float

    @property
    def worst_dissipation(self) -> float:
        """The larger of both directions."""
        return max(self.dissipated_forward, self.dissipated_backward)


def summarise_work(forward: np.ndarray, backward: np.ndarray, chord_sum: float) -> WorkSummary:
    """Combine the work of paths from A to B and from B to A [kT], shapes (n,) and (m,).

    Raises:
        ValueError: a direction has no path.
    """
    from pymbar.other_estimators import bar
    from pymbar.utils import BoundsError, ConvergenceError, ParameterError

    if len(forward) == 0 or len(backward) == 0:
        raise ValueError("work in both directions is needed")
    try:
        result = bar(forward, backward, method="bisection")
        delta_f, error = float(result["Delta_f"]), float(result["dDelta_f"])
    except (BoundsError, ConvergenceError, ParameterError):
        delta_f = 0.5 * float(forward.mean() - backward.mean())
        error = 0.5 * float(abs(forward.mean() + backward.mean()))
    w_forward, w_backward = float(forward.mean() - delta_f), float(backward.mean() + delta_f)
    return WorkSummary(
        delta_f=delta_f,
        error=error,
        dissipated_forward=w_forward,
        dissipated_backward=w_backward,
        dissipated_forward_error=_standard_error(forward),
        dissipated_backward_error=_standard_error(backward),
        gaussian_forward=_gaussian_ratio(forward, w_forward),
        gaussian_backward=_gaussian_ratio(backward, w_backward),
        lag=0.5 * (w_forward + w_backward) / (0.5 * chord_sum),
    )


def _standard_error(work: np.ndarray) -> float:
    return float(np.std(work, ddof=1) / np.sqrt(len(work))) if len(work) > 1 else float("nan")


def _gaussian_ratio(work: np.ndarray, dissipated: float) -> float:
    if len(work) < 2 or dissipated <= 0:
        return float("nan")
    return float(np.var(work, ddof=1) / (2 * dissipated))
