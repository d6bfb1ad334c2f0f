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

    def _terms(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The four terms, shape (..., 4), and the gradients of their exponents, shape (..., 2, 4).

        With d the distance from the centre of a term, the exponent is d . s / 2 and s = (2 a d_x + b d_y, b d_x +
        2 c d_y) its gradient; d and s are both linear in x, so that one product of matrices gives all of them.
        """
        place = (x.dtype, x.device)
        if place not in self._constants:
            self._constants[place] = tuple(v.to(x) for v in _linear_forms())
        amplitude, slope, intercept = self._constants[place]
        forms = (x @ slope + intercept).unflatten(-1, (2, 2, 4))
        distance, gradient = forms.unbind(-3)
        return amplitude * torch.exp(0.5 * (distance * gradient).sum(-2)), gradient

    def energy(self, x: Tensor) -> Tensor:
        """Energies of points ``x``, shape (..., 2)."""
        return self._terms(x)[0].sum(-1)

    def gradient(self, x: Tensor) -> Tensor:
        """Gradients at ``x``, shape (..., 2)."""
        terms, gradient = self._terms(x)
        return (gradient * terms[..., None, :]).sum(-1)


def _linear_forms() -> tuple[Tensor, Tensor, Tensor]:
    """Amplitudes, and the matrix and the constant of the linear forms d_x, d_y, s_x, s_y of each term."""
    amplitude, a, b, c, x0, y0 = (torch.tensor(v, dtype=torch.float64) for v in (_AMPLITUDE, _A, _B, _C, _X0, _Y0))
    one, zero = torch.ones_like(a), torch.zeros_like(a)
    slope = torch.stack([torch.cat([one, zero, 2 * a, b]), torch.cat([zero, one, b, 2 * c])])
    intercept = -torch.cat([x0, y0, 2 * a * x0 + b * y0, b * x0 + 2 * c * y0])
    return amplitude, slope, intercept
