"""Posterior targets: what a denoiser is trained on.

A weighted single-sample denoising loss never learns a barrier whose Boltzmann weight is 1e-7. Here every query point
gets the mean of its posterior over a large weighted reference batch (self-normalised importance sampling), and query
points are drawn from the *biased* samples plus noise, where barriers are as frequent as basins.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from spacetime_tps.boltzmann.samples import WeightedSamples
from spacetime_tps.diffusion.denoiser import Denoiser
from spacetime_tps.diffusion.exact import SampleDenoiser, sample_denoiser
from spacetime_tps.diffusion.rigid import PlacedSampleDenoiser, with_rigid_body
from spacetime_tps.progress import progress_bar
from spacetime_tps.representations import Representation

_CHUNK = 512
_SINGLE_LEVEL_SHARE = 0.5
_LEVEL_SPREAD = 1.0


@dataclass(frozen=True)
class Targets:
    """Query points and their posterior moments.

    Attributes:
        natural: natural parameters of the queries, shape (n, n_parameters).
        mean: posterior expectation parameters, shape (n, n_parameters).
        block_variance: posterior variance of each feature block, shape (n, n_blocks).
        log_partition: psi, shape (n,).
    """

    natural: Tensor
    mean: Tensor
    block_variance: Tensor
    log_partition: Tensor

    def __len__(self) -> int:
        return len(self.natural)


def draw_queries(
    representation: Representation,
    features: np.ndarray,
    count: int,
    log_snr_range: tuple[float, float],
    rng: torch.Generator,
    quantiles: Tensor | None = None,
) -> Tensor:
    """Natural parameters of ``count`` biased samples plus noise, shape (count, n_parameters), float64.

    The log-SNR is uniform in the range, or distributed by its ``quantiles`` at equal steps of probability. In half of
    the queries every feature block has a level of its own, spread by one unit around the common one, because the blocks
    of a curve need not share theirs.
    """
    chosen = torch.randint(len(features), (count,), generator=rng)
    x = torch.from_numpy(features)[chosen].double()
    low, high = log_snr_range
    level = low + (high - low) * torch.rand(count, 1, generator=rng, dtype=torch.float64)
    if quantiles is not None:
        share = (level.numpy() - low) / (high - low)
        level = torch.from_numpy(np.interp(share, np.linspace(0.0, 1.0, len(quantiles)), quantiles.numpy()))
    n_blocks = len(representation.block_names)
    own = _LEVEL_SPREAD * torch.randn(count, n_blocks, generator=rng, dtype=torch.float64)
    shared = torch.rand(count, 1, generator=rng, dtype=torch.float64) < _SINGLE_LEVEL_SHARE
    levels = torch.where(shared | torch.tensor(n_blocks == 1), level, level + own).clamp(low, high)
    noise = torch.randn(x.shape, generator=rng, dtype=torch.float64)
    return representation.noised(x, levels, noise)


def fisher_quantiles(
    posterior: SampleDenoiser | PlacedSampleDenoiser,
    features: np.ndarray,
    log_snr_range: tuple[float, float],
    rng: torch.Generator,
    count: int = 200,
    levels: int = 64,
) -> Tensor:
    """Log-SNRs at equal steps of the Fisher-Rao length of the corruption process, shape (levels + 1,).

    A sample and its noise are held fixed while the level falls; the mean Jeffreys divergence between the posteriors of
    neighbouring levels is the squared speed. Constant speed makes corruption a shortest path through its own steps.

    Args:
        posterior: exact, of the weighted samples.
        features: of biased samples, shape (n, n_features).
        log_snr_range: lowest and highest level.
        rng: draws samples and noise.
        count: samples averaged over.
        levels: steps.
    """
    representation = posterior.representation
    chosen = torch.randint(len(features), (count,), generator=rng)
    x = torch.from_numpy(features)[chosen].double()
    noise = torch.randn(x.shape, generator=rng, dtype=torch.float64)
    grid = torch.linspace(*log_snr_range, levels + 1, dtype=torch.float64)
    blocks = len(representation.block_names)
    natural = torch.stack([representation.noised(x, level.expand(count, blocks), noise) for level in grid])
    mean = posterior(natural).mean
    speed = (natural.diff(dim=0) * mean.diff(dim=0)).sum(-1).mean(1).clamp_min(0.0).sqrt()
    travelled = np.concatenate([[0.0], np.cumsum(speed.numpy())])
    return torch.from_numpy(np.interp(np.linspace(0.0, travelled[-1], levels + 1), travelled, grid.numpy()))


def reference_posterior(
    representation: Representation,
    samples: WeightedSamples,
    limit: int,
    rng: torch.Generator,
    highest_log_snr: float,
) -> SampleDenoiser | PlacedSampleDenoiser:
    """The posterior of (a random subset of) the weighted samples, to be asked up to a level."""
    count = len(samples.features)
    chosen = torch.randperm(count, generator=rng)[: min(limit, count)]
    statistics = torch.from_numpy(representation.statistics(samples.features))[chosen]
    log_weights = torch.from_numpy(samples.log_weights)[chosen]
    return sample_denoiser(representation, statistics, log_weights, highest_log_snr)


def posterior_targets(posterior: Denoiser, natural: Tensor, description: str, rigid_modes: int = 0) -> Targets:
    """Posterior moments at every query, without those of a rigid body, which need not be learned."""
    means: list[Tensor] = []
    variances: list[Tensor] = []
    partitions: list[Tensor] = []
    with progress_bar(len(natural), description, "query") as bar, torch.no_grad():
        for chunk in natural.split(_CHUNK):
            result = posterior(chunk)
            means.append(result.mean)
            variances.append(result.block_variance)
            assert result.log_partition is not None
            partitions.append(result.log_partition)
            bar.update(len(chunk))
    psi, mean = with_rigid_body(natural, torch.cat(partitions), torch.cat(means), -rigid_modes)
    return Targets(natural, mean, torch.cat(variances), psi)
