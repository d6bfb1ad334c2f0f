"""The denoiser contract around a network of one's own that predicts E[x] from (x_t, log-SNR)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from spacetime_tps.diffusion.denoiser import Posterior

MeanNetwork = Callable[[Tensor, Tensor], Tensor]
"""E[x | x_t], shape (..., d), from x_t, shape (..., d), and log-SNR, shape (..., 1)."""


def variance_preserving(log_snr: Tensor) -> Tensor:
    """alpha_t of x_t = alpha_t x + sigma_t noise with alpha^2 + sigma^2 = 1."""
    return torch.sigmoid(log_snr).sqrt()


class NetworkDenoiser:
    """Posteriors of the identity representation from a mean network.

    The posterior variance is what the mean implies, tr Cov(x) = div_y E[x] / SNR (second-order Tweedie), the divergence
    taken in forward mode: d extra passes in one batch, no second graph. Networks that learn their variance are cheaper.
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
        directions = torch.eye(self.dimension, dtype=self.dtype, device=natural.device)

        def along(direction: Tensor) -> tuple[Tensor, Tensor]:
            tangent = direction.expand_as(noisy).contiguous()
            mean, slope = torch.func.jvp(lambda x: self.network(x, level), (noisy,), (tangent,))[:2]
            return mean, (slope * direction).sum(-1)

        means, slopes = torch.func.vmap(along)(directions)
        mean = means[0].to(natural.dtype)
        variance = alpha / snr * slopes.sum(0).unsqueeze(-1)
        second = mean.square().sum(-1, keepdim=True) + variance
        return Posterior(torch.cat([mean, second], dim=-1), variance)
