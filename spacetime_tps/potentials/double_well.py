"""A two-dimensional double well, separable, so that every average is a one-dimensional integral."""

from __future__ import annotations

import torch
from torch import Tensor


class DoubleWell:
    """U(x, y) = barrier (x^2 - 1)^2 + stiffness y^2 / 2, with minima at (-1, 0) and (1, 0)."""

    dimension = 2

    def __init__(self, barrier: float = 5.0, stiffness: float = 10.0):
        self.barrier = barrier
        self.stiffness = stiffness

    def energy(self, x: Tensor) -> Tensor:
        """Energies of points ``x``, shape (..., 2)."""
        return self.barrier * (x[..., 0] ** 2 - 1) ** 2 + 0.5 * self.stiffness * x[..., 1] ** 2

    def gradient(self, x: Tensor) -> Tensor:
        """Gradients at ``x``, shape (..., 2)."""
        along_x = 4 * self.barrier * x[..., 0] * (x[..., 0] ** 2 - 1)
        return torch.stack([along_x, self.stiffness * x[..., 1]], dim=-1)
