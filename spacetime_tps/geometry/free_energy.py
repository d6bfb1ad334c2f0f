"""Free energy of the posterior mean, differentiable: the term that keeps a geodesic low.

A Fisher-Rao geodesic follows the curvature of the density, not its height; on its own it may cross a ridge far above
the saddle. The soft maximum of F along the curve is added to the objective.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from spacetime_tps.diffusion.denoiser import Posterior
from spacetime_tps.diffusion.exact import SampleDenoiser
from spacetime_tps.geometry.curve import shares_of_length
from spacetime_tps.geometry.smoothed import SmoothedDensity
from spacetime_tps.potentials import FreeEnergySurface

MAX_GRID_DIMENSION = 2


def smoothed_surface(
    posterior: SampleDenoiser,
    names: list[str],
    box: list[tuple[float, float]] | None,
    kt: float,
    log_snr: float,
    points: int = 120,
) -> FreeEnergySurface:
    """The free energy of the run's own samples on a grid, smoothed by the restraint of strength ``log_snr``.

    Args:
        posterior: of the weighted samples.
        names: variables, one an axis (at most two).
        box: (low, high) of every axis; None for torsions, whose axes are whole circles.
        kt: thermal energy in the system's unit.
        log_snr: smoothing level; kernels have a standard deviation of exp(-log_snr / 2).
        points: grid points an axis.
    """
    d = len(names)
    low, high = (np.full(d, -np.pi), np.full(d, np.pi)) if box is None else np.array(box).T
    spacing = (high - low) / (points if box is None else points - 1)
    surface = FreeEnergySurface(
        names=tuple(names),
        origin=low,
        spacing=spacing,
        periodic=np.full(d, box is None),
        free_energy=np.zeros((points,) * d),
        error=np.full((points,) * d, np.nan),
        source=f"this run's samples, smoothed at log-SNR {log_snr:g}",
        kt=kt,
    )
    density = SmoothedDensity(posterior, posterior.representation)
    with torch.no_grad():
        height = kt * density.free_energy(torch.from_numpy(surface.points()), log_snr).numpy()
    table = height.reshape(surface.free_energy.shape)
    return FreeEnergySurface(**{**vars(surface), "free_energy": table - table.min()})


class FreeEnergy(Protocol):
    """A differentiable free energy of collective variables."""

    def displacement(self, start: Tensor, end: Tensor) -> Tensor:
        """The shortest way from ``start`` to ``end``, shape (..., n_cv)."""
        ...

    def __call__(self, points: Tensor) -> Tensor:
        """F, shape (...), at points, shape (..., n_cv)."""
        ...


@dataclass(frozen=True)
class ModelFreeEnergy:
    """kT times minus the denoiser's own log density, smoothed at ``log_snr``: for any number of variables."""

    density: SmoothedDensity
    kt: float
    log_snr: float

    def displacement(self, start: Tensor, end: Tensor) -> Tensor:
        """The shortest way from ``start`` to ``end``, shape (..., n_cv)."""
        direct, period = end - start, self.density.representation.period
        return direct if period is None else direct - period * torch.round(direct.detach() / period)

    def __call__(self, points: Tensor) -> Tensor:
        """F, shape (...), at points, shape (..., n_cv)."""
        return self.kt * self.density.free_energy(points, self.log_snr)


class SmoothSurface:
    """Cubic convolution (Keys 1981) of a tabulated surface in torch; differentiable, constant beyond open rims."""

    def __init__(self, surface: FreeEnergySurface):
        self._table = torch.tensor(surface.free_energy, dtype=torch.float64)
        self._origin = torch.tensor(surface.origin, dtype=torch.float64)
        self._spacing = torch.tensor(surface.spacing, dtype=torch.float64)
        self._periodic = [bool(p) for p in surface.periodic]
        sizes = torch.tensor(surface.free_energy.shape, dtype=torch.float64)
        self._period = torch.where(torch.tensor(self._periodic), sizes * self._spacing, torch.inf)

    def displacement(self, start: Tensor, end: Tensor) -> Tensor:
        """The shortest way from ``start`` to ``end``, shape (..., n_axes), around the circle where an axis is one."""
        direct = end - start
        turns = torch.where(self._period.isinf(), 0.0, torch.round(direct.detach() / self._period))
        return direct - torch.nan_to_num(turns * self._period, nan=0.0)

    def __call__(self, points: Tensor) -> Tensor:
        """F, shape (...), at points, shape (..., n_axes)."""
        t = (points - self._origin) / self._spacing
        indices, weights = [], []
        for axis, size in enumerate(self._table.shape):
            u = t[..., axis] if self._periodic[axis] else t[..., axis].clamp(0, size - 1)
            low = u.detach().floor()
            stencil = low.long()[..., None] + torch.arange(-1, 3)
            indices.append(stencil % size if self._periodic[axis] else stencil.clamp(0, size - 1))
            weights.append(_keys_weights(u - low))
        if len(indices) == 1:
            return (self._table[indices[0]] * weights[0]).sum(-1)
        values = self._table[indices[0][..., :, None], indices[1][..., None, :]]
        return torch.einsum("...ij,...i,...j->...", values, *weights)


def _keys_weights(f: Tensor) -> Tensor:
    """Weights, shape (..., 4), of the four neighbours of a point at fraction f of its cell."""
    f2, f3 = f * f, f * f * f
    return torch.stack(
        [-0.5 * f3 + f2 - 0.5 * f, 1.5 * f3 - 2.5 * f2 + 1, -1.5 * f3 + 2 * f2 + 0.5 * f, 0.5 * f3 - 0.5 * f2], dim=-1
    )


@dataclass(frozen=True)
class LowBarrier:
    """weight * softmax_s F(location(mu_s)) / kT, the soft maximum over the length s taken at ``softness`` kT.

    F is also read between neighbouring points of the curve, ``subdivisions`` times a chord: otherwise the optimiser
    learns to jump over the ridge between two of them.
    """

    surface: FreeEnergy
    location: Callable[[Tensor], Tensor]
    kt: float
    weight: float
    softness: float = 0.5
    subdivisions: int = 4

    def __call__(self, natural: Tensor, posterior: Posterior) -> Tensor:
        """The term of every curve, shape (n_curves,)."""
        center = self.location(posterior.mean)
        step = self.surface.displacement(center[:, :-1], center[:, 1:])
        fractions = torch.arange(self.subdivisions, dtype=center.dtype) / self.subdivisions
        between = center[:, :-1, None] + fractions[:, None] * step[:, :, None]
        height = self.surface(between.flatten(1, 2)) / self.kt
        share = shares_of_length(natural, posterior.mean).repeat_interleave(self.subdivisions, dim=-1)
        soft = self.softness * torch.logsumexp(height / self.softness + (share / self.subdivisions).log(), dim=-1)
        return self.weight * soft
