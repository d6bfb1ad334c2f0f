"""Kullback-Leibler divergences between members of the exponential family of denoising posteriors."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from spacetime_tps.diffusion.denoiser import Denoiser

_NODES = 32


def kullback_leibler(denoiser: Denoiser, first: Tensor, second: Tensor) -> Tensor:
    """KL(p_1 || p_2) = psi(eta_2) - psi(eta_1) - mu_1 . (eta_2 - eta_1), a Bregman divergence of psi.

    Where the denoiser does not know psi, its difference is the integral of mu . d eta along the straight line between
    the two, by Gauss-Legendre quadrature; for an inconsistent model that depends on the line.

    Args:
        denoiser: gives mu and, where it can, psi.
        first, second: natural parameters, shape (..., n_parameters).

    Returns:
        shape (...).
    """
    step = second - first
    start = denoiser(first)
    end = denoiser(second) if start.log_partition is not None else None
    if end is not None and start.log_partition is not None and end.log_partition is not None:
        rise = end.log_partition - start.log_partition
    else:
        nodes, weights = np.polynomial.legendre.leggauss(_NODES)
        rise = torch.zeros_like(step[..., 0])
        for node, weight in zip(0.5 * (nodes + 1.0), 0.5 * weights, strict=True):
            rise = rise + float(weight) * (denoiser(first + float(node) * step).mean * step).sum(-1)
    return rise - (start.mean * step).sum(-1)
