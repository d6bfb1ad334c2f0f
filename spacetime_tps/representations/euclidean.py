"""The exponential family of coordinates whose norm varies: T(x) = (x, |x|^2), eta = (SNR y, -SNR/2).

The chart is (y, log-SNR). All coordinates form one feature block, and the time component of eta is among the
parameters: E|x|^2 is learned as the derivative of the log-partition by it.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from spacetime_tps.errors import UserError
from spacetime_tps.representations.base import Array, Channel


class Euclidean:
    """What representations by plain coordinates share; ``dimension`` of them are tilted by eta."""

    period: float | None = None
    rigid_modes = 0
    """Modes that a restraint holds and no feature describes."""

    def __init__(self, dimension: int):
        self.block_names = ["x"]
        self.n_features = dimension
        self.n_parameters = self.n_coordinates = dimension + 1
        self.log_snr_coordinates = [dimension]

    def statistics(self, features: np.ndarray) -> np.ndarray:
        """(x, |x|^2), shape (..., d + 1)."""
        return np.concatenate([features, np.square(features).sum(-1, keepdims=True)], axis=-1)

    def natural(self, coordinates: Tensor) -> Tensor:
        """eta of (y, log-SNR)."""
        snr = coordinates[..., -1:].exp()
        return torch.cat([snr * coordinates[..., :-1], -0.5 * snr], dim=-1)

    def chart(self, natural: Tensor) -> Tensor:
        """(y, log-SNR) of eta; the inverse of ``natural``."""
        snr = -2.0 * natural[..., -1:]
        return torch.cat([natural[..., :-1] / snr, snr.log()], dim=-1)

    def noised(self, features: Tensor, log_snr: Tensor, noise: Tensor) -> Tensor:
        """eta of y = x + noise / sqrt(SNR)."""
        return self.natural(torch.cat([features + noise * (-0.5 * log_snr).exp(), log_snr], dim=-1))

    def block_log_snr(self, natural: Tensor) -> Tensor:
        """The log-SNR itself, shape (..., 1)."""
        return (-2.0 * natural[..., -1:]).log()

    def block_variance(self, mean: Tensor) -> Tensor:
        """tr Cov(x) = E|x|^2 - |E x|^2, shape (..., 1)."""
        return mean[..., -1:] - mean[..., :-1].square().sum(-1, keepdim=True)

    def max_block_variance(self, spread: float) -> float:
        """The square of the standard deviation ``spread`` of the whole block."""
        return spread**2

    def spread(self, block_variance: np.ndarray) -> np.ndarray:
        """The standard deviation of the whole block."""
        return np.sqrt(np.maximum(block_variance, 0.0))

    def location(self, mean: Array) -> Array:
        """E[x], shape (..., d)."""
        return mean[..., :-1]

    def profile(self, natural: Tensor, log_partition: Tensor) -> Tensor:
        """-[psi - SNR/2 |y|^2 + d/2 log(SNR / 2 pi)]: free energy of the density smoothed by the Gaussian restraint."""
        chart = self.chart(natural)
        y, log_snr = chart[..., :-1], chart[..., -1]
        restraint = 0.5 * log_snr.exp() * y.square().sum(-1)
        held = self.n_features + self.rigid_modes
        return restraint - 0.5 * held * (log_snr - math.log(2 * math.pi)) - log_partition

    def channels(self, start: np.ndarray, end: np.ndarray, log_snr_end: float) -> list[Channel]:
        """One channel: space is simply connected."""
        ends = [np.append(x, log_snr_end) for x in (start, end)]
        return [Channel("direct", *ends)]

    def named_channel(self, label: str, start: np.ndarray, end: np.ndarray, log_snr_end: float) -> Channel:
        """The one channel.

        Raises:
            UserError: it is not called so.
        """
        (channel,) = self.channels(start, end, log_snr_end)
        if label != channel.label:
            raise UserError(f"There is no channel {label!r}: here the channel 'direct' is the only one.")
        return channel
