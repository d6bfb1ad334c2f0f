"""What a slow protocol dissipates, by linear response: the thermodynamic metric and how fast ensembles relax.

For a restraint that moves along a curve, the excess power is the squared speed in the friction metric, which is the
Fisher-Rao metric times the relaxation time of the conjugate force (Sivak and Crooks, Phys. Rev. Lett. 108, 190602
(2012), equations 8 to 11). Both are measured in restrained windows at rest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.integrate import trapezoid

_BLOCKS = 10
"""Of each simulation: their means scatter by the integral of the correlations, oscillations and all."""


@dataclass(frozen=True)
class Friction:
    """Along a curve whose parameter s runs from 0 to 1.

    Attributes:
        share: s at the windows, shape (n_windows,).
        force: conjugate force dη/ds . T(x) about its mean, shape (n_windows, n_starts, n).
        interval: time between looks at it.
    """

    share: np.ndarray
    force: np.ndarray
    interval: float

    @property
    def metric(self) -> np.ndarray:
        """(dL/ds)^2, variance of the conjugate force, shape (n_windows,)."""
        return self.force.var(axis=(1, 2))

    @property
    def relaxation(self) -> np.ndarray:
        """Integral of the force's autocorrelation function [time], shape (n_windows,)."""
        return self.interval * _half_sum(self.force)

    @property
    def length(self) -> float:
        """Fisher-Rao length by the windows, which is thermodynamic length (Crooks 2007)."""
        return self._integral(np.sqrt(self.metric))

    @property
    def mean_relaxation(self) -> float:
        """Relaxation time, averaged with the metric."""
        return self._integral(self.metric * self.relaxation) / max(self._integral(self.metric), 1e-300)

    def dissipation(self, points: int, interval: float) -> float:
        """Dissipated work [kT] of a protocol of equal steps in s, one every ``interval`` (in the time's unit).

        A step dissipates half of its square in the metric and, as far as the system has not relaxed since, its share
        of those before: 1/2 + sum_k rho(k interval) in all. L^2 / 2N remains if it always has; less than that if
        the force oscillates and the protocol goes with it.

        Args:
            points: N, steps of the protocol.
            interval: time between them.
        """
        stride = max(1, round(interval / self.interval))
        lasting = _half_sum(self.force[..., ::stride]) * stride * self.interval / interval
        return self._integral(self.metric * lasting) / points

    def _integral(self, values: np.ndarray) -> float:
        """Over s."""
        return float(trapezoid(values, self.share))


def friction_of(share: np.ndarray, velocity: np.ndarray, statistics: np.ndarray, interval: float) -> Friction:
    """Measure both in restrained simulations.

    Args:
        share: s at the windows, ascending from 0 to 1, shape (n_windows,).
        velocity: dη/ds at the windows, shape (n_windows, n_parameters).
        statistics: T(x) in the order of time, shape (n_windows, n_starts, n, n_parameters).
        interval: time between samples.
    """
    force = np.einsum("wknp,wp->wkn", statistics, velocity)
    return Friction(share, force - force.mean(axis=2, keepdims=True), interval)


def _half_sum(force: np.ndarray) -> np.ndarray:
    """1/2 + sum of the autocorrelations at all lags, by the variance of means of blocks, shape (n_windows,)."""
    blocks = min(_BLOCKS, force.shape[-1])
    each = force.shape[-1] // blocks
    means = force[..., : blocks * each].reshape(*force.shape[:-1], blocks, each).mean(axis=-1)
    scatter, variance = means.var(axis=-1, ddof=1).mean(axis=-1), force.var(axis=(1, 2))
    return 0.5 * each * scatter / np.maximum(variance, 1e-300)
