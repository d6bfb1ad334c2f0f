"""Exact denoisers: weighted samples or grids by self-normalised sums, Gaussian mixtures in closed form."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
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
_SPACING, _MOST_CELLS = 0.5, 1024
"""Of a grid of samples, in standard deviations of the narrowest restraint; cells of an axis."""
_MANY = 2000
"""Samples from which on products over a grid cost less than sums over them."""
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
        mean, log_partition, low = self.products(natural)
        return self._with_direct_sums(natural, low) if low.any() else (mean, log_partition)

    def products(self, natural: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Means, log-partitions, and which queries, shape (n,), lie so far from all mass that these are not sound."""
        logits = [natural @ part.T for part in self._parts]
        tops = [logit.detach().amax(-1, keepdim=True) for logit in logits]
        first, second = ((logit - top).exp() for logit, top in zip(logits, tops, strict=True))
        of_first, of_second = first * (second @ self._weights.T), second * (first @ self._weights)
        total = of_first.sum(-1, keepdim=True)
        low = total.detach().squeeze(-1) < _LEAST_SUM
        mean = (of_first @ self._parts[0] + of_second @ self._parts[1]) / total
        return mean, (total.log() + tops[0] + tops[1] + self._top).squeeze(-1), low

    def _with_direct_sums(self, natural: Tensor, low: Tensor) -> tuple[Tensor, Tensor]:
        """Queries far from all mass by sums over the points, the others by products."""
        mean, log_partition = torch.empty_like(natural), natural.new_empty(len(natural))
        mean[low], log_partition[low] = super()._chunk(natural[low])
        if not low.all():
            mean[~low], log_partition[~low] = self._chunk(natural[~low])
        return mean, log_partition


class BinnedDenoiser(SampleDenoiser):
    """Posterior of weighted samples of two variables, laid on a grid: the cost does not grow with their number.

    Every sample is shared by the four grid points around it, so that its mean stays where it is; its variance grows by
    a sixth of the squared spacing in each variable, on average. With a spacing of half a standard deviation of the
    narrowest restraint that is at most 4 % of the variance of this, and falls with the SNR.

    """

    def __init__(
        self, representation: Torsions | Identity, statistics: Tensor, log_weights: Tensor, highest_log_snr: float
    ):
        """The spacing follows from ``highest_log_snr``; the rest as for ``SampleDenoiser``.

        Raises:
            ValueError: there are not two variables, or they span too many steps of that spacing.
        """
        super().__init__(representation, statistics, log_weights)
        points, period = representation.center(statistics.numpy()), representation.period
        if points.shape[-1] != 2:
            raise ValueError(f"a grid needs two variables, not {points.shape[-1]}")
        wanted = _SPACING * float(np.exp(-0.5 * highest_log_snr))
        low = np.full(2, -np.pi) if period is not None else points.min(axis=0)
        span = np.full(2, period) if period is not None else np.maximum(np.ptp(points, axis=0), wanted)
        cells = np.maximum(np.ceil(span / wanted), 2)
        if (cells > _MOST_CELLS).any():
            raise ValueError(f"a grid of {cells.max():.3g} cells an axis costs more than sums")
        count = cells.astype(int) + (period is None)
        table = _deposited(points, self.log_weights.exp().numpy(), low, span / cells, count)
        axes = [low[k] + span[k] / cells[k] * np.arange(count[k]) for k in range(2)]
        with np.errstate(divide="ignore"):
            self.grid = GridDenoiser(representation, axes, torch.from_numpy(np.log(table)))
        self._columns = int(count.max())

    def _chunk(self, natural: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_partition, low = self.grid.products(natural)
        if not low.any():
            return mean, log_partition
        rows = torch.split(natural[low], max(1, _CHUNK_ELEMENTS // len(self.statistics)))
        sums = [super(BinnedDenoiser, self)._chunk(each) for each in rows]
        found = [torch.cat([each[k] for each in sums]) for k in range(2)]
        mean, log_partition = mean.clone(), log_partition.clone()
        mean[low], log_partition[low] = found
        return mean, log_partition


def _deposited(
    points: np.ndarray, weights: np.ndarray, low: np.ndarray, spacing: np.ndarray, count: np.ndarray
) -> np.ndarray:
    """Weights on a grid, shape ``count``, shared by the neighbours of each point in proportion to its nearness."""
    place = (points - low) / spacing
    cell = np.floor(place).astype(int)
    part, table = place - cell, np.zeros(tuple(count))
    for first in (0, 1):
        for second in (0, 1):
            share = np.abs(1 - first - part[:, 0]) * np.abs(1 - second - part[:, 1])
            np.add.at(table, ((cell[:, 0] + first) % count[0], (cell[:, 1] + second) % count[1]), weights * share)
    return table


def sample_denoiser(
    representation: Representation, statistics: Tensor, log_weights: Tensor, highest_log_snr: float | None = None
) -> SampleDenoiser | PlacedSampleDenoiser:
    """The posterior of weighted samples in any representation.

    Args:
        representation: of the samples.
        statistics: shape (n, n_parameters).
        log_weights: shape (n,).
        highest_log_snr: up to which it will be asked; if given, many samples of two variables are laid on a grid.
    """
    if isinstance(representation, Cartesian):
        return PlacedSampleDenoiser(representation, statistics, log_weights)
    if highest_log_snr is not None and isinstance(representation, Torsions | Identity) and len(statistics) > _MANY:
        with suppress(ValueError):
            return BinnedDenoiser(representation, statistics, log_weights, highest_log_snr)
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
