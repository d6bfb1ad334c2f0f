"""Potential networks: the log-partition psi as one convex scalar, the denoiser as its gradient.

psi(eta) = sum_g log sum_c exp(b_gc + sum_k G_gk sum_j W_gckj u_kj(eta)), where every factor u_kj is the log-partition
of a simple density of one coordinate or torsion (Gaussian, von Mises), tilted by eta. The weights W of a component sum
to one over the factors j of a coordinate, the gates G over the groups g. Log-partitions are convex, and sums with
positive weights and log-sum-exp keep that. Hence by construction, whatever the weights are, mu = grad psi has a
symmetric positive Jacobian (no chord of a curve is ever negative), posterior variances are positive, |mu_k| < 1 for a
torsion, and Kullback-Leibler divergences and free energies come in closed form.

With one group and one-hot weights, psi is exactly the log-partition of a mixture of products; soft weights interpolate
between factors. Several groups are a product of mixtures, which many nearly independent coordinates ask for.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import torch
from torch import Tensor, nn

_GATE_SPREAD = 3.0
"""Wide enough that each group begins with coordinates of its own."""


class Factors(Protocol):
    """A dictionary of one-dimensional log-partitions: ``size`` of them for each of ``count`` coordinates."""

    count: int
    size: int

    def __call__(self, natural: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Values u, shape (..., count, size), their slopes, (..., count, size, 2), and a common term, (...)."""
        ...

    def assemble(self, slopes: Tensor) -> Tensor:
        """mu, shape (..., n_parameters), from the slopes averaged over the dictionary, shape (..., count, 2)."""
        ...

    def nearness(self, features: Tensor) -> Tensor:
        """Logits, shape (n, count, size), that favour the factors around given features, shape (n, n_features)."""
        ...


class _LogBessel(torch.autograd.Function):
    """log I0(r) and its derivative A(r) = I1(r) / I0(r), differentiated without further Bessel functions."""

    @staticmethod
    def forward(ctx: Any, r: Tensor) -> tuple[Tensor, Tensor]:
        i0 = torch.special.i0e(r)
        ratio = torch.special.i1e(r) / i0
        ctx.save_for_backward(r, ratio)
        return i0.log() + r, ratio

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> Tensor:
        r, ratio = ctx.saved_tensors
        return slopes[0] * ratio + slopes[1] * (1.0 - ratio / r - ratio.square())


def log_bessel(r: Tensor) -> tuple[Tensor, Tensor]:
    """log I0(r) and A(r) = I1(r) / I0(r) of r > 0."""
    return _LogBessel.apply(r)


class VonMisesFactors(nn.Module):
    """u_kj = log I0(|eta_k + zeta_kj|) - log I0(|zeta_kj|): von Mises densities of field zeta, tilted by eta_k."""

    concentrations = (6.0, 40.0)

    def __init__(self, n_torsions: int, size: int):
        super().__init__()
        self.count, self.size = n_torsions, size
        n_angles = math.ceil(size / len(self.concentrations))
        angle = 2 * math.pi * torch.arange(n_angles) / n_angles
        kappa = torch.tensor(self.concentrations).repeat_interleave(n_angles)[:size]
        self.angle = nn.Parameter(angle.repeat(len(self.concentrations))[:size].repeat(n_torsions, 1))
        self.log_kappa = nn.Parameter(kappa.log().repeat(n_torsions, 1))

    def forward(self, natural: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See ``Factors``."""
        kappa = self.log_kappa.exp()
        zeta = kappa[..., None] * torch.stack([self.angle.cos(), self.angle.sin()], dim=-1)
        field = natural.unflatten(-1, (self.count, 2)).unsqueeze(-2) + zeta
        strength = (field.square().sum(-1) + 1e-9).sqrt()
        value, ratio = log_bessel(strength)
        slope = (ratio / strength).unsqueeze(-1) * field
        return value - log_bessel(kappa)[0], slope, natural.new_zeros(natural.shape[:-1])

    def assemble(self, slopes: Tensor) -> Tensor:
        """mu: the mean (cos, sin) of every torsion."""
        return slopes.flatten(-2)

    def nearness(self, features: Tensor) -> Tensor:
        """Falls off with the distance on the circle."""
        pairs = features.unflatten(-1, (self.count, 2)).unsqueeze(-2)
        directions = torch.stack([self.angle.cos(), self.angle.sin()], dim=-1).detach()
        return 20.0 * ((pairs * directions).sum(-1) - 1.0)


class GaussianFactors(nn.Module):
    """u_kj: Gaussian densities of coordinate k with mean m_kj and variance s_kj^2, tilted by (SNR y_k, -SNR/2).

    log E[exp(SNR (y x - x^2 / 2))] = SNR y^2 / 2 - (y - m)^2 / (2 (s^2 + 1/SNR)) - log(1 + SNR s^2) / 2. The first term
    is common to all factors and kept apart: at high SNR the rest would drown in it.
    """

    widths = (0.7, 2.0)

    def __init__(self, dimension: int, size: int):
        super().__init__()
        self.count, self.size = dimension, size
        self.center = nn.Parameter(torch.zeros(dimension, size))
        self.log_width = nn.Parameter(torch.zeros(dimension, size))

    @torch.no_grad()
    def spread_over(self, low: Tensor, high: Tensor) -> None:
        """Lay the factors out evenly between ``low`` and ``high``, shapes (dimension,), in the widths of the class."""
        n_centers = math.ceil(self.size / len(self.widths))
        share = torch.linspace(0.0, 1.0, n_centers).repeat(len(self.widths))[: self.size]
        width = torch.tensor(self.widths).repeat_interleave(n_centers)[: self.size]
        extent = (high - low).unsqueeze(-1)
        self.center.copy_(low.unsqueeze(-1) + share * extent)
        self.log_width.copy_((width * extent / max(1, n_centers - 1)).log())

    def forward(self, natural: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See ``Factors``."""
        snr = (-2.0 * natural[..., -1:]).unsqueeze(-1)
        y = natural[..., :-1].unsqueeze(-1) / snr
        variance = (2.0 * self.log_width).exp()
        blurred = 1.0 + snr * variance
        offset = y - self.center
        value = -0.5 * (snr / blurred) * offset.square() - 0.5 * blurred.log()
        mean = y - offset / blurred
        slope = torch.stack([mean, variance / blurred + mean.square()], dim=-1)
        return value, slope, 0.5 * (snr * y.square()).sum((-2, -1))

    def assemble(self, slopes: Tensor) -> Tensor:
        """mu: E[x] and E|x|^2."""
        return torch.cat([slopes[..., 0], slopes[..., 1].sum(-1, keepdim=True)], dim=-1)

    def nearness(self, features: Tensor) -> Tensor:
        """Falls off with the distance in units of the factor's width."""
        offset = (features.unsqueeze(-1) - self.center.detach()) / self.log_width.detach().exp()
        return -0.5 * offset.square()


class PotentialNetwork(nn.Module):
    """A learned log-partition psi(eta) and its gradient mu, both in one forward pass."""

    def __init__(self, factors: VonMisesFactors | GaussianFactors, components: int, groups: int = 1):
        """``components`` counts the mixture components of each of the ``groups``."""
        super().__init__()
        self.factors, self.components, self.groups = factors, components, groups
        self.offset = nn.Parameter(torch.full((groups, components), -math.log(components)))
        self.gate = nn.Parameter(torch.zeros(groups, factors.count))
        self.affinity = nn.Parameter(torch.zeros(groups, components, factors.count, factors.size))

    @torch.no_grad()
    def start_from(self, features: Tensor, log_weights: Tensor, rng: torch.Generator) -> None:
        """Place every component at a weighted sample, a crude density estimate, and open the gates at random.

        Args:
            features: shape (groups * components, n_features).
            log_weights: shape (groups * components,).
            rng: for the gates.
        """
        self.gate.copy_(_GATE_SPREAD * torch.randn(self.gate.shape, generator=rng))
        self.affinity.copy_(self.factors.nearness(features.to(self.affinity)).view_as(self.affinity))
        self.offset.copy_(torch.log_softmax(log_weights.view_as(self.offset), dim=1))

    def weights(self) -> Tensor:
        """Weight of every factor in every component, gates included, shape (groups * components, count * size)."""
        gates = torch.softmax(self.gate, dim=0)[:, None, :, None]
        return (gates * torch.softmax(self.affinity, dim=-1)).flatten(2).flatten(0, 1)

    def forward(self, natural: Tensor, weights: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """psi, shape (...), and mu, shape (..., n_parameters), of eta, shape (..., n_parameters).

        A network that no longer changes may be given its ``weights``, which then are not computed again.
        """
        value, slope, common = self.factors(natural)
        weights = self.weights() if weights is None else weights
        logits = (value.flatten(-2) @ weights.T).unflatten(-1, (self.groups, self.components)) + self.offset
        psi = torch.logsumexp(logits, dim=-1)
        share = (logits - psi.unsqueeze(-1)).exp().flatten(-2) @ weights
        averaged = (share.unflatten(-1, (self.factors.count, self.factors.size)).unsqueeze(-1) * slope).sum(-2)
        return psi.sum(-1) + common, self.factors.assemble(averaged)
