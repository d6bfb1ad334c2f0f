"""The denoiser contract around a network of one's own that predicts E[x] from (x_t, log-SNR)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from spacetime_tps.diffusion.denoiser import Posterior

_ROWS_AT_ONCE = 2**16

MeanNetwork = Callable[[Tensor, Tensor], Tensor]
"""E[x | x_t], shape (..., d), from x_t, shape (..., d), and log-SNR, shape (..., 1)."""


def variance_preserving(log_snr: Tensor) -> Tensor:
    """alpha_t of x_t = alpha_t x + sigma_t noise with alpha^2 + sigma^2 = 1."""
    return torch.sigmoid(log_snr).sqrt()


class NetworkDenoiser:
    """Posteriors of the identity representation from a mean network.

    The posterior variance is what the mean implies, tr Cov(x) = div_y E[x] / SNR (second-order Tweedie); the divergence
    costs d copies of the points and a backward pass. Networks that learn their variance are cheaper.
    """

    def __init__(
        self,
        network: MeanNetwork,
        dimension: int,
        alpha: Callable[[Tensor], Tensor] = variance_preserving,
        dtype: torch.dtype = torch.float64,
    ):
        """``alpha`` gives alpha_t of log-SNR, shape (..., 1); the network is asked in ``dtype``."""
        self.network, self.dimension, self.alpha, self.dtype = network, dimension, alpha, dtype

    def __call__(self, natural: Tensor) -> Posterior:
        """Posteriors at (SNR y, -SNR/2), shape (..., d + 1)."""
        snr = -2.0 * natural[..., -1:]
        log_snr = snr.log()
        alpha = self.alpha(log_snr)
        noisy, level = (alpha * natural[..., :-1] / snr).to(self.dtype), log_snr.to(self.dtype)
        mean, divergence = self._differentiated(noisy, level, natural.requires_grad and torch.is_grad_enabled())
        mean, divergence = mean.to(natural.dtype), divergence.to(natural.dtype)
        variance = alpha / snr * divergence
        second = mean.square().sum(-1, keepdim=True) + variance
        return Posterior(torch.cat([mean, second], dim=-1), variance)

    def _differentiated(self, noisy: Tensor, level: Tensor, graph: bool) -> tuple[Tensor, Tensor]:
        """The network's mean, shape (..., d), and its divergence, shape (..., 1).

        One copy of the points a direction and one backward pass for all of them: on a CPU half the price of forward
        mode. Directions are taken in turns where there are many points.
        """
        d = self.dimension
        directions = torch.eye(d, dtype=noisy.dtype, device=noisy.device).view(d, *[1] * (noisy.dim() - 1), d)
        mean, divergence = noisy, torch.zeros_like(noisy[..., :1])
        for some in directions.split(max(1, _ROWS_AT_ONCE // max(1, noisy[..., 0].numel()))):
            copies = (len(some), *noisy.shape[:-1])
            with torch.enable_grad():
                points = noisy.expand(*copies, d).clone()
                points = points if graph else points.requires_grad_(True)
                means = self.network(points, level.expand(*copies, 1))
                (slopes,) = torch.autograd.grad(means, points, some.expand_as(means), create_graph=graph)
            mean = means[0]
            divergence = divergence + (slopes * some).sum((0, -1)).unsqueeze(-1)
        return (mean, divergence) if graph else (mean.detach(), divergence)
