"""Training a denoiser on posterior targets."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from spacetime_tps.boltzmann.samples import WeightedSamples
from spacetime_tps.config import DenoiserConfig
from spacetime_tps.diffusion.denoiser import Denoiser
from spacetime_tps.diffusion.networks import EuclideanNetwork, LearnedDenoiser, TorsionNetwork, build_network
from spacetime_tps.diffusion.targets import Targets, draw_queries, posterior_targets, reference_posterior
from spacetime_tps.progress import progress_bar
from spacetime_tps.representations import Identity, Representation, Torsions

VALIDATION_LOG_SNRS = (0.0, 1.0, 2.0, 3.0, 4.0, 5.0)
_LOSS_POINTS = 200


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


def relative_loss(network: nn.Module, batch: Targets) -> Tensor:
    """Squared errors in units of the spread that the noise level alone would leave, averaged over the batch.

    Without this scaling the low log-SNR levels, where errors are of order one, would drown the high ones, where the
    geodesic lives.
    """
    if isinstance(network, TorsionNetwork):
        error = (network(batch.natural) - batch.mean).unflatten(-1, (-1, 2)).square().sum(-1)
        field = batch.natural.unflatten(-1, (-1, 2)).norm(dim=-1)
        return (error * (1.0 + field)).mean()
    mean, variance = network(batch.natural)
    snr = -2.0 * batch.natural[..., -1:]
    precision = snr + 1.0
    location = precision * (mean - batch.mean[..., :-1]).square()
    spread = (precision * (variance - batch.block_variance)).square() / mean.shape[-1]
    return location.mean() + 0.25 * spread.mean()


def train_denoiser(
    representation: Torsions | Identity,
    samples: WeightedSamples,
    config: DenoiserConfig,
    seed: int,
    device: str = "cpu",
) -> TrainingResult:
    """Precompute posterior targets, then fit the network with Adam, a cosine schedule and averaged weights."""
    rng = torch.Generator().manual_seed(seed)
    posterior = reference_posterior(representation, samples, config.reference_samples, rng)
    features = samples.features

    def targets(count: int, what: str) -> Targets:
        queries = draw_queries(representation, features, count, config.log_snr_range, rng)
        return posterior_targets(posterior, queries, what)

    training = _to(targets(config.queries, "posterior targets"), device)
    held_out = _to(targets(config.validation_queries, "held-out targets"), device)
    network = _initialised(representation, samples, config, rng).to(device)
    averaged, loss = _fit(network, training, held_out, config, rng)
    denoiser = LearnedDenoiser(representation, averaged.cpu()).double()
    validation = rms_errors(denoiser, posterior, representation, features, rng)
    return TrainingResult(denoiser, loss, validation)


def _to(targets: Targets, device: str) -> Targets:
    return Targets(*(value.float().to(device) for value in vars(targets).values()))


def _initialised(
    representation: Torsions | Identity, samples: WeightedSamples, config: DenoiserConfig, rng: torch.Generator
) -> TorsionNetwork | EuclideanNetwork:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**31, (1,), generator=rng)))
        network = build_network(representation, config)
    if isinstance(network, EuclideanNetwork):
        network.shift.copy_(torch.from_numpy(samples.features.mean(0)))
        network.scale.copy_(torch.tensor(samples.features.std(0).max()))
    return network


def _fit(
    network: TorsionNetwork | EuclideanNetwork,
    training: Targets,
    held_out: Targets,
    config: DenoiserConfig,
    rng: torch.Generator,
) -> tuple[TorsionNetwork | EuclideanNetwork, np.ndarray]:
    averaged = copy.deepcopy(network)
    optimiser = torch.optim.Adam(network.parameters(), lr=config.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, config.steps)
    report_every = max(1, config.steps // _LOSS_POINTS)
    history, running = [], 0.0
    with progress_bar(config.steps, "training", "step") as bar:
        for step in range(config.steps):
            rows = torch.randint(len(training), (config.batch_size,), generator=rng).to(training.natural.device)
            loss = relative_loss(network, Targets(*(value[rows] for value in vars(training).values())))
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
            _average(averaged, network, min(config.ema_decay, (1 + step) / (10 + step)))
            running += loss.item() / report_every
            if (step + 1) % report_every == 0:
                with torch.no_grad():
                    history.append((step + 1, running, relative_loss(averaged, held_out).item()))
                running = 0.0
                bar.set_postfix(loss=f"{history[-1][1]:.3g}", refresh=False)
            bar.update()
    return averaged, np.array(history).reshape(-1, 3)


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
