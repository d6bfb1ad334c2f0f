"""The density smoothed by the restraint, as a function of the position alone: its score, and its probability flow.

A chart holds positions p (angles, or y) and log-SNRs. At a fixed level, log q(p) = psi(eta) - log Z_0(eta), where Z_0
is the partition function of the restraint on a flat density; the score is its gradient in p.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from spacetime_tps.diffusion.denoiser import Denoiser
from spacetime_tps.errors import UserError
from spacetime_tps.representations import Representation


@dataclass(frozen=True)
class SmoothedDensity:
    """Score and probability flow of a denoiser."""

    denoiser: Denoiser
    representation: Representation

    @property
    def columns(self) -> list[int]:
        """The chart coordinates that are positions."""
        levels = set(self.representation.log_snr_coordinates)
        return [k for k in range(self.representation.n_coordinates) if k not in levels]

    def chart(self, positions: Tensor, log_snr: float | Tensor) -> Tensor:
        """Chart coordinates, shape (..., n_coordinates), of positions at a level (a number, or shape (...))."""
        level = torch.as_tensor(log_snr, dtype=positions.dtype).expand(positions.shape[:-1])
        parts: list[Tensor] = [level] * self.representation.n_coordinates
        for k, column in enumerate(self.columns):
            parts[column] = positions[..., k]
        return torch.stack(parts, dim=-1)

    def natural(self, positions: Tensor, log_snr: float | Tensor) -> Tensor:
        """Natural parameters, shape (..., n_parameters), of positions at a level."""
        return self.representation.natural(self.chart(positions, log_snr))

    def free_energy(self, positions: Tensor, log_snr: float) -> Tensor:
        """-log q at a level [kT], shape (...), up to a constant; differentiable once.

        The gradient of psi is the mean that the denoiser gives anyway, so nothing is differentiated to get it.

        Raises:
            UserError: the denoiser has no log-partition.
        """
        natural = self.natural(positions, log_snr)
        with torch.no_grad():
            posterior = self.denoiser(natural)
        if posterior.log_partition is None:
            raise UserError("A free energy needs a denoiser that gives its log-partition; this one does not.")
        slope = (posterior.mean * (natural - natural.detach())).sum(-1)
        return self.representation.profile(natural, posterior.log_partition + slope)

    def score(self, positions: Tensor, log_snr: float) -> Tensor:
        """Gradient of log q at a level, shape (..., n_positions); differentiable once more."""
        wanted = positions.requires_grad
        with torch.enable_grad():
            point = positions if wanted else positions.detach().requires_grad_(True)
            natural = self.natural(point, log_snr)
            with torch.set_grad_enabled(wanted):
                mean = self.denoiser(natural).mean
            flat = self.representation.profile(natural, torch.zeros_like(natural[..., 0]))
            outputs, weights = [natural, flat], [mean, -torch.ones_like(flat)]
            score: Tensor = torch.autograd.grad(outputs, point, weights, create_graph=wanted)[0]
        return score

    def flow(self, positions: Tensor, log_snr_from: float, log_snr_to: float, steps: int) -> Tensor:
        """Probability-flow ODE dp/dlambda = score / (2 SNR), fourth order: downwards encodes, upwards decodes."""
        step = (log_snr_to - log_snr_from) / steps

        def slope(p: Tensor, level: float) -> Tensor:
            return 0.5 * torch.exp(torch.tensor(-level, dtype=p.dtype)) * self.score(p, level)

        for n in range(steps):
            level = log_snr_from + n * step
            k1 = slope(positions, level)
            k2 = slope(positions + 0.5 * step * k1, level + 0.5 * step)
            k3 = slope(positions + 0.5 * step * k2, level + 0.5 * step)
            k4 = slope(positions + step * k3, level + step)
            positions = positions + step / 6.0 * (k1 + 2 * k2 + 2 * k3 + k4)
        return positions
