"""Curves with fixed ends as natural cubic splines, evaluated by one precomputed matrix."""

from __future__ import annotations

import numpy as np
import torch
from scipy.interpolate import CubicSpline
from threadpoolctl import threadpool_limits
from torch import Tensor


class SplineBasis:
    """Displacements that vanish at both ends: z(s) - line(s) = sum_j B_j(s) c_j, natural cubic in s.

    The basis is whitened: coefficients w with c = L^-T w, where L L^T is the Gram matrix of the derivatives B_j'.
    Then |w|^2 = int |z'|^2 ds, so that all directions of the coefficients weigh alike in a path energy and gradient
    methods converge at a rate that does not depend on the number of nodes.
    """

    def __init__(self, nodes: int, dtype: torch.dtype = torch.float64, device: str = "cpu"):
        """``nodes`` counts the interior nodes."""
        knots = np.linspace(0.0, 1.0, nodes + 2)
        plain = CubicSpline(knots, np.eye(nodes + 2)[:, 1:-1], bc_type="natural")
        grid = np.linspace(0.0, 1.0, 64 * (nodes + 1) + 1)
        slopes = plain(grid, 1)
        products = slopes[:, :, None] * slopes[:, None, :]
        gram = 0.5 * np.einsum("i,ijk->jk", np.diff(grid), products[1:] + products[:-1])
        # Whitened once and for all, on one thread: products of matrices round differently with every number of them.
        with threadpool_limits(1, "blas"):
            whiten = np.linalg.inv(np.linalg.cholesky(gram)).T
            self._spline = CubicSpline(knots, np.eye(nodes + 2)[:, 1:-1] @ whiten, bc_type="natural")
        self._dtype, self._device = dtype, device

    def matrix(self, parameters: np.ndarray) -> Tensor:
        """The whitened basis at curve parameters s in [0, 1], shape (...), as a matrix of shape (..., nodes)."""
        return torch.tensor(self._spline(parameters), dtype=self._dtype, device=self._device)
