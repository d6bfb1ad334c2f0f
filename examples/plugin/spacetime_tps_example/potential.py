"""Two deep wells and a shallow one above them, joined by two ways (Metzner, Schütte and Vanden-Eijnden 2006)."""

from __future__ import annotations

import torch
from torch import Tensor

AMPLITUDES = torch.tensor([3.0, -3.0, -5.0, -5.0], dtype=torch.float64)
CENTERS = torch.tensor([[0.0, 1 / 3], [0.0, 5 / 3], [1.0, 0.0], [-1.0, 0.0]], dtype=torch.float64)


class ThreeWells:
    """V = sum_k a_k exp(-|x - c_k|^2) + 0.2 x^4 + 0.2 (y - 1/3)^4, in reduced units."""

    dimension = 2

    def energy(self, x: Tensor) -> Tensor:
        """Energies of points, shape (..., 2), as shape (...)."""
        bumps = AMPLITUDES.to(x) * torch.exp(-(x[..., None, :] - CENTERS.to(x)).square().sum(-1))
        return bumps.sum(-1) + 0.2 * x[..., 0] ** 4 + 0.2 * (x[..., 1] - 1 / 3) ** 4

    def gradient(self, x: Tensor) -> Tensor:
        """Gradients at points, shape (..., 2)."""
        away = x[..., None, :] - CENTERS.to(x)
        bumps = AMPLITUDES.to(x) * torch.exp(-away.square().sum(-1))
        walls = torch.stack([0.8 * x[..., 0] ** 3, 0.8 * (x[..., 1] - 1 / 3) ** 3], dim=-1)
        return (-2 * bumps[..., None] * away).sum(-2) + walls
