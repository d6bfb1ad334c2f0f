"""Networks that learn the denoising posterior. Both correct a closed form that is exact for unstructured data.

``TorsionNetwork``: the posterior mean of a torsion is written as that of a von Mises distribution in an effective
field, mu_k = A(|zeta_k|) zeta_k / |zeta_k| with zeta = eta + g(eta) and A = I1/I0. As the restraint stiffens, g tends
to the score of the data density (Tweedie), which is bounded, so the error of mu vanishes like 1/SNR; and |mu_k| < 1
always. ``EuclideanNetwork``: the same idea with Gaussians, and a second head for the posterior variance.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from spacetime_tps.config import DenoiserConfig
from spacetime_tps.diffusion.denoiser import Posterior
from spacetime_tps.representations import Identity, Torsions


class ResidualMLP(nn.Module):
    """SiLU layers with skip connections; the last one starts at zero, so that training starts from the closed form."""

    def __init__(self, inputs: int, outputs: int, width: int, depth: int):
        super().__init__()
        self.first = nn.Linear(inputs, width)
        self.hidden = nn.ModuleList(nn.Linear(width, width) for _ in range(depth - 1))
        self.last = nn.Linear(width, outputs)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Shape (..., inputs) to (..., outputs)."""
        x = nn.functional.silu(self.first(x))
        for layer in self.hidden:
            x = x + nn.functional.silu(layer(x))
        return self.last(x)


def bessel_ratio(kappa: Tensor) -> Tensor:
    """A(kappa) = I1(kappa) / I0(kappa), the mean resultant length of a von Mises distribution."""
    return torch.special.i1e(kappa) / torch.special.i0e(kappa)


class TorsionNetwork(nn.Module):
    """Denoiser of the torsion representation; it takes eta alone."""

    orders: Tensor

    def __init__(self, n_torsions: int, config: DenoiserConfig):
        super().__init__()
        self.n_torsions = n_torsions
        self.max_log_field = config.log_snr_range[1]
        self.register_buffer("orders", torch.arange(1, config.harmonics + 1).float(), persistent=False)
        self.body = ResidualMLP(n_torsions * (2 * config.harmonics + 3), 2 * n_torsions, config.width, config.depth)

    def forward(self, natural: Tensor) -> Tensor:
        """mu, shape (..., 2 n_torsions), of eta."""
        pairs = natural.unflatten(-1, (self.n_torsions, 2))
        radius = (pairs.square().sum(-1) + 1e-6).sqrt()
        ratio = bessel_ratio(radius)
        angle = torch.atan2(pairs[..., 1], pairs[..., 0] + 1e-12)
        phases = self.orders * angle[..., None]
        # A von Mises density blurs its j-th harmonic by about A^(j^2): features fade where eta holds no information.
        fade = ratio[..., None] ** self.orders.square()
        level = (radius.log() / self.max_log_field).unsqueeze(-1)
        features = [fade * phases.cos(), fade * phases.sin(), level, level.square(), ratio[..., None]]
        field = pairs + self._correction(torch.cat(features, dim=-1).flatten(-2))
        strength = (field.square().sum(-1, keepdim=True) + 1e-6).sqrt()
        return (bessel_ratio(strength) * field / strength).flatten(-2)

    def _correction(self, features: Tensor) -> Tensor:
        """g(eta), in a scale of tens of kT per radian."""
        return 10.0 * self.body(features).unflatten(-1, (self.n_torsions, 2))


class EuclideanNetwork(nn.Module):
    """Denoiser of features without a fixed norm: E[x] and the posterior variance tr Cov(x) from (y, log-SNR)."""

    orders: Tensor
    shift: Tensor
    scale: Tensor

    def __init__(self, dimension: int, config: DenoiserConfig):
        super().__init__()
        self.dimension = dimension
        self.register_buffer("shift", torch.zeros(dimension))
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("orders", 2.0 ** torch.arange(config.harmonics).float(), persistent=False)
        self.max_log_snr = config.log_snr_range[1]
        inputs = dimension * (1 + 2 * config.harmonics) + 2
        self.body = ResidualMLP(inputs, dimension + 1, config.width, config.depth)

    def forward(self, natural: Tensor) -> tuple[Tensor, Tensor]:
        """E[x], shape (..., d), and tr Cov(x), shape (..., 1)."""
        snr = -2.0 * natural[..., -1:]
        y = natural[..., :-1] / snr
        prior = 1.0 / (snr + self.scale**-2)
        center = (snr * y + self.shift / self.scale**2) * prior
        z = (center - self.shift) / self.scale
        waves = (0.5 * math.pi * self.orders * z[..., None]).flatten(-2)
        blur = torch.exp(-0.5 * (0.5 * math.pi * self.orders / self.scale) ** 2 * prior[..., None])
        fade = blur.expand(*z.shape, len(self.orders)).flatten(-2)
        level = snr.log() / self.max_log_snr
        out = self.body(torch.cat([z, fade * waves.sin(), fade * waves.cos(), level, level.square()], dim=-1))
        mean = center + prior.sqrt() * out[..., :-1]
        variance = self.dimension * prior * nn.functional.softplus(out[..., -1:] + math.log(math.e - 1))
        return mean, variance


class LearnedDenoiser:
    """The denoiser contract around a network, in the network's precision, answering in that of the question."""

    def __init__(self, representation: Torsions | Identity, network: TorsionNetwork | EuclideanNetwork):
        self.representation = representation
        self.network = network.eval().requires_grad_(False)

    def double(self) -> LearnedDenoiser:
        """The same model in float64."""
        self.network.double()
        return self

    def __call__(self, natural: Tensor) -> Posterior:
        """Posteriors at natural parameters, shape (..., n_parameters)."""
        inside = natural.to(next(self.network.parameters()).dtype)
        if isinstance(self.network, TorsionNetwork):
            mean = self.network(inside).to(natural.dtype)
            return Posterior(mean, self.representation.block_variance(mean))
        mean, variance = (value.to(natural.dtype) for value in self.network(inside))
        second = variance + mean.square().sum(-1, keepdim=True)
        return Posterior(torch.cat([mean, second], dim=-1), variance)


def build_network(representation: Torsions | Identity, config: DenoiserConfig) -> TorsionNetwork | EuclideanNetwork:
    """The network that fits a representation."""
    if isinstance(representation, Torsions):
        return TorsionNetwork(representation.n_torsions, config)
    return EuclideanNetwork(representation.n_features, config)


def state_to_save(network: nn.Module) -> dict[str, Any]:
    """State dict on the CPU, readable with ``torch.load(weights_only=True)``."""
    return {name: value.detach().cpu() for name, value in network.state_dict().items()}
