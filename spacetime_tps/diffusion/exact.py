"""Exact denoisers: weighted samples or grids by self-normalised sums, Gaussian mixtures in closed form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
import torch
from torch import Tensor

from spacetime_tps.diffusion.denoiser import Posterior
from spacetime_tps.diffusion.rigid import PlacedSampleDenoiser
from spacetime_tps.potentials import FreeEnergySurface
from spacetime_tps.representations import Cartesian, Identity, Representation, Torsions

_CHUNK_ELEMENTS = 2**20
"""Larger blocks of (query, sample) pairs fall out of the processor's cache and cost three times as much."""
_LEAST_SUM = 1e-200
"""Below it, weights of a grid that were lost to underflow could matter."""


class SampleDenoiser:
    """Posterior of the weighted point set {x_j, w_j}: mu = sum_j softmax_j(log w_j + eta . T(x_j)) T(x_j).

    For samples, the self-normalised importance estimate.
    """

    def __init__(self, representation: Representation, statistics: Tensor, log_weights: Tensor):
        """``statistics`` has shape (n, n_parameters), ``log_weights`` (n,); the weights need no normalisation."""
        self.representation = representation
        self.statistics = statistics
        self.log_weights = log_weights - torch.logsumexp(log_weights, 0)
        self._columns = len(statistics)

    def __call__(self, natural: Tensor) -> Posterior:
        """Posteriors at ``natural``, shape (..., n_parameters), evaluated in chunks."""
        flat = natural.reshape(-1, natural.shape[-1])
        rows = max(1, _CHUNK_ELEMENTS // self._columns)
        parts = [self._chunk(chunk) for chunk in flat.split(rows)]
        mean = torch.cat([mean for mean, _ in parts]).reshape(natural.shape)
        log_partition = torch.cat([psi for _, psi in parts]).reshape(natural.shape[:-1])
        return Posterior(mean, self.representation.block_variance(mean), log_partition)

    def _chunk(self, natural: Tensor) -> tuple[Tensor, Tensor]:
        logits = torch.addmm(self.log_weights, natural, self.statistics.T)
        top = logits.detach().amax(-1, keepdim=True)
        in_place = not logits.requires_grad
        weights = logits.sub_(top).exp_() if in_place else (logits - top).exp()
        total = weights.sum(-1, keepdim=True)
        return weights @ self.statistics / total, (total.log() + top).squeeze(-1)


class GridDenoiser(SampleDenoiser):
    """Posterior of a density tabulated on a grid of one or two variables: exact on its points.

    T(x) is a sum over the axes, so exp(eta . T) has a factor for each, and sums over the grid are products of matrices.
    """

    def __init__(self, representation: Torsions | Identity, axes: Sequence[np.ndarray], log_weights: Tensor):
        """``axes`` are the coordinates along each [rad for torsions], ``log_weights`` has one number a grid point."""
        points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes))
        features = representation.features_of_angles(points) if isinstance(representation, Torsions) else points
        super().__init__(representation, torch.from_numpy(representation.statistics(features)), log_weights.flatten())
        self.axes = list(axes)
        table = self.statistics.reshape(len(axes[0]), -1, self.statistics.shape[-1])
        self._parts = (table[:, 0], table[0] - table[0, 0])
        self._top = self.log_weights.max()
        self._weights = (self.log_weights - self._top).exp().reshape(table.shape[:2])
        self._columns = max(table.shape[:2])

    @classmethod
    def from_surface(cls, representation: Torsions | Identity, surface: FreeEnergySurface) -> Self:
        """The exact posterior of exp(-F/kT) on the surface's grid, normalised to densities of the variables."""
        axes = [surface.axis(k) for k in range(surface.free_energy.ndim)]
        return cls(representation, axes, torch.from_numpy(surface.log_density()))

    def _chunk(self, natural: Tensor) -> tuple[Tensor, Tensor]:
        logits = [natural @ part.T for part in self._parts]
        tops = [logit.detach().amax(-1, keepdim=True) for logit in logits]
        first, second = ((logit - top).exp() for logit, top in zip(logits, tops, strict=True))
        of_first, of_second = first * (second @ self._weights.T), second * (first @ self._weights)
        total = of_first.sum(-1, keepdim=True)
        low = total.detach().squeeze(-1) < _LEAST_SUM
        if low.any():
            return self._with_direct_sums(natural, low)
        mean = (of_first @ self._parts[0] + of_second @ self._parts[1]) / total
        return mean, (total.log() + tops[0] + tops[1] + self._top).squeeze(-1)

    def _with_direct_sums(self, natural: Tensor, low: Tensor) -> tuple[Tensor, Tensor]:
        """Queries far from all mass by sums over the points, the others by products."""
        mean, log_partition = torch.empty_like(natural), natural.new_empty(len(natural))
        mean[low], log_partition[low] = super()._chunk(natural[low])
        if not low.all():
            mean[~low], log_partition[~low] = self._chunk(natural[~low])
        return mean, log_partition


def sample_denoiser(
    representation: Representation, statistics: Tensor, log_weights: Tensor
) -> SampleDenoiser | PlacedSampleDenoiser:
    """The posterior of weighted samples in any representation; see ``SampleDenoiser``."""
    if isinstance(representation, Cartesian):
        return PlacedSampleDenoiser(representation, statistics, log_weights)
    return SampleDenoiser(representation, statistics, log_weights)


class GaussianMixtureDenoiser:
    """Closed-form posterior of a mixture of isotropic Gaussians, for the identity representation."""

    def __init__(self, means: np.ndarray, stds: np.ndarray, weights: np.ndarray):
        """``means`` has shape (n, d), ``stds`` and ``weights`` (n,)."""
        self.means = torch.as_tensor(means, dtype=torch.float64)
        self.precisions = torch.as_tensor(stds, dtype=torch.float64) ** -2
        self.log_weights = torch.as_tensor(weights, dtype=torch.float64).log()
        self.dimension = self.means.shape[1]

    def __call__(self, natural: Tensor) -> Posterior:
        """Posteriors at (SNR y, -SNR/2): every component stays Gaussian with precision 1/s^2 + SNR."""
        d = self.dimension
        field, snr = natural[..., None, :-1], -2.0 * natural[..., -1:]
        precision = self.precisions + snr
        centers = (field + self.precisions[:, None] * self.means) / precision[..., None]
        exponent = 0.5 * precision * centers.square().sum(-1) - 0.5 * self.precisions * self.means.square().sum(-1)
        logits = self.log_weights + 0.5 * d * (self.precisions.log() - precision.log()) + exponent
        log_partition = torch.logsumexp(logits, -1)
        share = torch.exp(logits - log_partition[..., None])
        mean = (share[..., None] * centers).sum(-2)
        second = (share * (centers.square().sum(-1) + d / precision)).sum(-1, keepdim=True)
        variance = second - mean.square().sum(-1, keepdim=True)
        return Posterior(torch.cat([mean, second], -1), variance, log_partition)
