"""The protocol of an annealed path: natural parameters at equal steps along the curve."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from spacetime_tps.diffusion.denoiser import Denoiser
from spacetime_tps.geometry.curve import FineCurve
from spacetime_tps.representations import Representation


@dataclass(frozen=True)
class Schedule:
    """Restraint parameters along a curve from A to B.

    Attributes:
        natural: eta at every curve point, shape (n_points, n_parameters).
        chord_sum: sum of the Jeffreys divergences between neighbours; half of it is the work that even a system
            fully relaxed at every point dissipates, in kT.
    """

    natural: np.ndarray
    chord_sum: float

    def reversed(self) -> Schedule:
        """The same protocol from B to A."""
        return Schedule(self.natural[::-1].copy(), self.chord_sum)


def schedule_along(
    curve: FineCurve, representation: Representation, denoiser: Denoiser, points: int, kind: str = "fisher"
) -> Schedule:
    """``points`` curve points at equal steps of Fisher-Rao length, or of the chart (``kind`` log_snr)."""
    spaced = curve.at_constant_speed(points) if kind == "fisher" else curve.at_equal_chart_steps(points)
    natural = representation.natural(torch.from_numpy(spaced))
    with torch.no_grad():
        mean = denoiser(natural).mean
    return Schedule(natural.numpy(), float((natural.diff(dim=0) * mean.diff(dim=0)).sum()))


def restraint_work(step_natural: np.ndarray, statistics: np.ndarray) -> np.ndarray:
    """Work [kT] of moving the restraint by ``step_natural`` at fixed x: -(eta' - eta) . T(x), over the last axis."""
    return -np.sum(step_natural * statistics, axis=-1)
