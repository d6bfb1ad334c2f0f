"""Training a denoiser on posterior targets."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from spacetime_tps.boltzmann.samples import WeightedSamples
from spacetime_tps.config import DenoiserConfig
from spacetime_tps.diffusion.denoiser import Denoiser
from spacetime_tps.diffusion.learned import LearnedDenoiser, build_network
from spacetime_tps.diffusion.potential import GaussianFactors, PotentialNetwork
from spacetime_tps.diffusion.targets import (
    Targets,
    draw_queries,
    fisher_quantiles,
    posterior_targets,
    reference_posterior,
)
from spacetime_tps.progress import progress_bar
from spacetime_tps.representations import Identity, Molecular, Representation

Network = TypeVar("Network", bound=nn.Module)
Report = Callable[[int, Mapping[str, float]], None]

VALIDATION_LOG_SNRS = (0.0, 1.0, 2.0, 3.0, 4.0, 5.0)
_LOSS_POINTS = 40
_FIRST_SPELL = 125
"""Steps."""
_VARIANCE_WEIGHT, _VALUE_WEIGHT = 0.25, 0.05


@dataclass(frozen=True)
class TrainingResult:
    """A trained denoiser and how the training went.

    Attributes:
        denoiser: with exponentially averaged weights.
        loss: (step, training loss, held-out loss), shape (n, 3).
        validation: per log-SNR, the error of E[x] against the posterior of the reference samples at fresh queries
            (see ``rms_errors``).
    """

    denoiser: LearnedDenoiser
    loss: np.ndarray
    validation: dict[str, dict[str, float]]


def relative_loss(network: PotentialNetwork, representation: Representation, batch: Targets) -> Tensor:
    """Squared errors of E[x], of the posterior variances and of psi, averaged over the batch.

    The first two count in units of the spread that the noise level alone would leave. Without this scaling the low
    log-SNR levels, where errors are of order one, would drown the high ones, where the geodesic lives.
    """
    psi, mean = network(batch.natural)
    n, n_blocks = representation.n_features, len(representation.block_names)
    precision = 1.0 + representation.block_log_snr(batch.natural).exp()
    error = (mean - batch.mean)[..., :n].unflatten(-1, (n_blocks, -1)).square().sum(-1)
    spread = representation.block_variance(mean) - batch.block_variance
    value = psi - batch.log_partition
    location, scale = (precision * error).mean(), (precision * spread).square().mean()
    return location + _VARIANCE_WEIGHT * scale + _VALUE_WEIGHT * value.square().mean()


def train_denoiser(
    representation: Molecular | Identity,
    samples: WeightedSamples,
    config: DenoiserConfig,
    seed: int,
    device: str = "cpu",
    start: PotentialNetwork | None = None,
    report: Report | None = None,
) -> TrainingResult:
    """Precompute posterior targets, then fit the network with Adam, a cosine schedule and averaged weights.

    Args:
        representation: of the samples.
        samples: weighted.
        config: of targets, network and steps.
        seed: of the torch generator.
        device: where the network is fitted.
        start: a network to go on from; without it a new one is made from the samples.
        report: is told both losses now and then, with the step.
    """
    rng = torch.Generator().manual_seed(seed)
    highest = config.log_snr_range[1]
    posterior = reference_posterior(representation, samples, config.reference_samples, rng, highest)
    features = samples.features

    fisher = config.schedule == "fisher"
    quantiles = fisher_quantiles(posterior, features, config.log_snr_range, rng) if fisher else None

    def targets(count: int, what: str) -> Targets:
        queries = draw_queries(representation, features, count, config.log_snr_range, rng, quantiles)
        return posterior_targets(posterior, queries, what, representation.rigid_modes)

    training = _to(targets(config.queries, "posterior targets"), device)
    held_out = _to(targets(config.validation_queries, "held-out targets"), device)
    network = (initialised(representation, samples, config, rng) if start is None else _copied(start)).to(device)

    def loss_of(network: PotentialNetwork, batch: Targets) -> Tensor:
        return relative_loss(network, representation, batch)

    averaged, loss = fit(network, loss_of, training, held_out, config, rng, report)
    denoiser = LearnedDenoiser(representation, averaged.cpu()).double()
    validation = rms_errors(denoiser, posterior, representation, features, rng)
    return TrainingResult(denoiser, loss, validation)


def _copied(network: PotentialNetwork) -> PotentialNetwork:
    return copy.deepcopy(network).float().train().requires_grad_(True)


def _to(targets: Targets, device: str) -> Targets:
    return Targets(*(value.float().to(device) for value in vars(targets).values()))


def initialised(
    representation: Molecular | Identity, samples: WeightedSamples, config: DenoiserConfig, rng: torch.Generator
) -> PotentialNetwork:
    """An untrained network whose components lie at biased samples, each with that sample's weight."""
    network = build_network(representation, config)
    features, log_weights = torch.from_numpy(samples.features), torch.from_numpy(samples.log_weights)
    if isinstance(network.factors, GaussianFactors):
        network.factors.spread_over(features.amin(0), features.amax(0))
    chosen = torch.randint(len(features), (network.groups * network.components,), generator=rng)
    network.start_from(features[chosen], log_weights[chosen], rng)
    return network


def fit(
    network: Network,
    loss_of: Callable[[Network, Targets], Tensor],
    training: Targets,
    held_out: Targets,
    config: DenoiserConfig,
    rng: torch.Generator,
    report: Report | None = None,
) -> tuple[Network, np.ndarray]:
    """Adam in spells, each under a cosine schedule, with exponentially averaged weights, until nothing is gained.

    A spell is twice as long as the one before. The last is that which has lowered the held-out loss of the averaged
    weights by less than ``config.improvement`` of it, or which ends ``config.steps``.

    Args:
        network: changed in place.
        loss_of: loss of a network on a batch.
        training, held_out: targets on the network's device.
        config: steps, batch size, learning rate, decay of the average, least improvement of a spell.
        rng: draws the batches.
        report: is told both losses now and then, with the step.

    Returns:
        the averaged network and (step, training loss, held-out loss), shape (n, 3).
    """
    averaged = copy.deepcopy(network)
    optimiser = torch.optim.Adam(network.parameters(), lr=config.learning_rate)
    report_every = max(1, config.steps // _LOSS_POINTS)
    batch_size = min(config.batch_size, len(training))
    history, running, step, best = [], 0.0, 0, math.inf
    with progress_bar(config.steps, "training", "step") as bar:
        for spell in spells(config.steps):
            for rate in _cosine(config.learning_rate, spell):
                for group in optimiser.param_groups:
                    group["lr"] = rate
                rows = torch.randint(len(training), (batch_size,), generator=rng).to(training.natural.device)
                batch = Targets(*(value[rows] for value in vars(training).values()))
                loss = loss_of(network, batch)
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                optimiser.step()
                _average(averaged, network, min(config.ema_decay, (1 + step) / (10 + step)))
                running += loss.item() / report_every
                step += 1
                if step % report_every == 0:
                    history.append((step, running, _held_out(averaged, loss_of, held_out)))
                    if report is not None:
                        report(step, {"train/loss": running, "train/held_out_loss": history[-1][2]})
                    running = 0.0
                    bar.set_postfix(loss=f"{history[-1][1]:.3g}", refresh=False)
                bar.update()
            reached = _held_out(averaged, loss_of, held_out)
            if reached > (1.0 - config.improvement) * best:
                break
            best = reached
    return averaged, np.array(history).reshape(-1, 3)


def spells(steps: int) -> list[int]:
    """Lengths of the spells of at most so many steps: each twice as long as the one before, the last takes the rest."""
    found, left, length = [], steps, _FIRST_SPELL
    while left:
        found.append(length if left - length >= length else left)
        left, length = left - found[-1], 2 * length
    return found


def _cosine(rate: float, steps: int) -> list[float]:
    """Learning rates that fall from ``rate`` to nearly zero, shape (steps,)."""
    return (0.5 * rate * (1.0 + np.cos(np.pi * np.arange(steps) / steps))).tolist()


@torch.no_grad()
def _held_out(network: Network, loss_of: Callable[[Network, Targets], Tensor], held_out: Targets) -> float:
    return loss_of(network, held_out).item()


@torch.no_grad()
def _average(averaged: nn.Module, network: nn.Module, decay: float) -> None:
    for slow, fast in zip(averaged.parameters(), network.parameters(), strict=True):
        slow.lerp_(fast, 1.0 - decay)


@torch.no_grad()
def rms_errors(
    denoiser: Denoiser,
    exact: Denoiser,
    representation: Representation,
    features: np.ndarray,
    rng: torch.Generator,
    log_snrs: tuple[float, ...] = VALIDATION_LOG_SNRS,
    count: int = 2000,
) -> dict[str, dict[str, float]]:
    """Error of E[x] against another denoiser at biased samples plus noise, level by level.

    Returns:
        for every log-SNR, ``rms_error``: root of the mean squared distance over all features, and
        ``posterior_std``: root of the mean trace of the posterior covariance.
    """
    n = representation.n_features
    table = {}
    for log_snr in log_snrs:
        queries = draw_queries(representation, features, count, (log_snr, log_snr), rng)
        model, truth = denoiser(queries), exact(queries)
        error = (model.mean[..., :n] - truth.mean[..., :n]).square().sum(-1).mean().item()
        trace = truth.block_variance.sum(-1).mean().item()
        table[f"{log_snr:g}"] = {"rms_error": math.sqrt(error), "posterior_std": math.sqrt(max(trace, 0.0))}
    return table
