"""The Müller-Brown surface (Müller and Brown, Theor. Chim. Acta 53, 75, 1979), in its customary reduced units.

Minima at (-0.558, 1.442), (0.623, 0.028), (-0.050, 0.467) with energies -146.70, -108.17, -80.77;
saddles at (-0.822, 0.624) with -40.66 and (0.212, 0.293) with -72.25.
"""

from __future__ import annotations

import torch
from torch import Tensor

_AMPLITUDE = (-200.0, -100.0, -170.0, 15.0)
_A = (-1.0, -1.0, -6.5, 0.7)
_B = (0.0, 0.0, 11.0, 0.6)
_C = (-10.0, -10.0, -6.5, 0.7)
_X0 = (1.0, 0.0, -0.5, -1.0)
_Y0 = (0.0, 0.5, 1.5, 1.0)


class MuellerBrown:
    """Sum of four anisotropic Gaussians."""

    dimension = 2

    def __init__(self) -> None:
        self._constants: dict[tuple[torch.dtype, torch.device], tuple[Tensor, ...]] = {}

    def _terms(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, tuple[Tensor, Tensor, Tensor]]:
        place = (x.dtype, x.device)
        if place not in self._constants:
            values = (_AMPLITUDE, _A, _B, _C, _X0, _Y0)
            self._constants[place] = tuple(torch.tensor(v, dtype=x.dtype, device=x.device) for v in values)
        amplitude, a, b, c, x0, y0 = self._constants[place]
        dx, dy = x[..., 0, None] - x0, x[..., 1, None] - y0
        return amplitude * torch.exp(a * dx**2 + b * dx * dy + c * dy**2), dx, dy, (a, b, c)

    def energy(self, x: Tensor) -> Tensor:
        """Energies of points ``x``, shape (..., 2)."""
        return self._terms(x)[0].sum(-1)

    def gradient(self, x: Tensor) -> Tensor:
        """Gradients at ``x``, shape (..., 2)."""
        terms, dx, dy, (a, b, c) = self._terms(x)
        along_x = (terms * (2 * a * dx + b * dy)).sum(-1)
        along_y = (terms * (b * dx + 2 * c * dy)).sum(-1)
        return torch.stack([along_x, along_y], dim=-1)
