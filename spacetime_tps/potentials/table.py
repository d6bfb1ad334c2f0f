"""A tabulated surface as a potential: the cubic B-spline through its grid points, twice continuously differentiable."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.ndimage import spline_filter1d
from torch import Tensor

from spacetime_tps.potentials.surface import FreeEnergySurface

_CELL = np.array([[1, 4, 1, 0], [-3, 0, 3, 0], [3, -6, 3, 0], [-1, 3, -3, 1]]) / 6.0
"""From the four spline coefficients around a cell to the polynomial in the fraction of it (lowest power first)."""


class TablePotential:
    """F of a surface between its grid points; beyond the rim of an open axis it is constant.

    Every cell holds its own polynomial, so that an evaluation reads one row of a table. On an open axis the spline's
    slope vanishes at the rim, and so does the gradient beyond.
    """

    def __init__(self, surface: FreeEnergySurface):
        table = surface.free_energy.astype(float)
        for axis, periodic in enumerate(surface.periodic):
            coefficients = spline_filter1d(table, 3, axis, mode="grid-wrap" if periodic else "mirror")
            ends = [(0, 0)] * table.ndim
            ends[axis] = (1, 2) if periodic else (1, 1)
            table = np.pad(coefficients, ends, mode="wrap" if periodic else "reflect")
        self.dimension = table.ndim
        self._shape = [n - 3 for n in table.shape]
        for axis in range(self.dimension):
            # Four neighbours along each axis, as one more axis at the end, turned into powers.
            table = np.lib.stride_tricks.sliding_window_view(table, 4, axis) @ _CELL.T
        self._cells = torch.from_numpy(table.reshape(math.prod(self._shape), 4**self.dimension))
        self._origin, self._spacing = (torch.tensor(v, dtype=torch.float64) for v in (surface.origin, surface.spacing))
        self._periodic = [bool(p) for p in surface.periodic]

    def energy(self, x: Tensor) -> Tensor:
        """Energies of points ``x``, shape (..., dimension); differentiable."""
        polynomials, fractions = self._locate(x)
        return (polynomials * _outer([_powers(f) for f in fractions])).sum(-1).to(x.dtype)

    def gradient(self, x: Tensor) -> Tensor:
        """Gradients at ``x``, shape (..., dimension)."""
        return self.energy_and_gradient(x)[1]

    def energy_and_gradient(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Both, for little more than one of them."""
        polynomials, fractions = self._locate(x)
        powers = [_powers(f) for f in fractions]
        value = (polynomials * _outer(powers)).sum(-1)
        slopes = []
        for axis, fraction in enumerate(fractions):
            along = _outer([_slopes(fraction) if k == axis else p for k, p in enumerate(powers)])
            slopes.append((polynomials * along).sum(-1) / self._spacing[axis])
        return value.to(x.dtype), torch.stack(slopes, dim=-1).to(x.dtype)

    def _locate(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The polynomials of the cells that hold ``x``, and the fractions of these along each axis."""
        t = (x.double() - self._origin) / self._spacing
        cell, fractions = 0, []
        for axis, size in enumerate(self._shape):
            along = t[..., axis] if self._periodic[axis] else t[..., axis].clamp(0, size)
            low = along.detach().floor()
            if not self._periodic[axis]:
                low = low.clamp_max(size - 1)
            cell = cell * size + low.long() % size
            fractions.append(along - low)
        return self._cells[cell], fractions


def _powers(f: Tensor) -> Tensor:
    return torch.stack([torch.ones_like(f), f, f * f, f * f * f], dim=-1)


def _slopes(f: Tensor) -> Tensor:
    return torch.stack([torch.zeros_like(f), torch.ones_like(f), 2 * f, 3 * f * f], dim=-1)


def _outer(vectors: list[Tensor]) -> Tensor:
    """Products of one element of each vector, shape (..., 4^n); the last vector runs fastest."""
    product = vectors[0]
    for vector in vectors[1:]:
        product = (product[..., :, None] * vector[..., None, :]).flatten(-2)
    return product
