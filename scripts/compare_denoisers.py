"""The potential network against a plain denoiser, on exact posteriors: why the package ships only the former.

Both learn from the same posterior targets of a run's own samples and are judged against the posterior of the reference
grid. The plain denoiser predicts E[x] (and, for points, the variance) as the correction of a closed form that is exact
for unstructured data; nothing makes it the gradient of one scalar.

    python scripts/compare_denoisers.py runs/alanine_dipeptide runs/mueller_brown      # three minutes each
"""

from __future__ import annotations

import argparse
import copy
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from spacetime_tps.boltzmann.samples import WeightedSamples
from spacetime_tps.config import validate
from spacetime_tps.diffusion.denoiser import Denoiser, Posterior
from spacetime_tps.diffusion.exact import GridDenoiser
from spacetime_tps.diffusion.health import health, seconds_per_step
from spacetime_tps.diffusion.learned import LearnedDenoiser
from spacetime_tps.diffusion.potential import PotentialNetwork
from spacetime_tps.diffusion.targets import (
    Targets,
    draw_queries,
    fisher_quantiles,
    posterior_targets,
    reference_posterior,
)
from spacetime_tps.diffusion.training import fit, initialised, relative_loss, rms_errors
from spacetime_tps.geometry.constraints import LowVariance, TrainedRange
from spacetime_tps.geometry.geodesic import optimise_geodesics
from spacetime_tps.representations import Identity, Torsions
from spacetime_tps.settings import read_yaml
from spacetime_tps.systems import System, load_system

STEPS, LEARNING_RATE, WIDTH, DEPTH, HARMONICS = 5000, 2e-3, 128, 4, 6
"""Of the plain network, tuned for it."""
COLUMNS = ("network", "training [s]", "rms error of E[x] at log-SNR 0", "2", "4", "ridge: rms log variance ratio",
           "worst", "negative random chords", "Jacobian asymmetry", "ms a step of 512", "geodesics: negative chords",
           "worst variance / bound by the model", "exactly")  # fmt: skip


class ResidualNetwork(nn.Module):
    """SiLU layers with skip connections; the last one starts at zero, so that training starts from the closed form."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.first = nn.Linear(inputs, WIDTH)
        self.hidden = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(DEPTH - 1))
        self.last = nn.Linear(WIDTH, outputs)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Shape (..., inputs) to (..., outputs)."""
        x = nn.functional.silu(self.first(x))
        for layer in self.hidden:
            x = x + nn.functional.silu(layer(x))
        return self.last(x)


def bessel_ratio(kappa: Tensor) -> Tensor:
    """I1 / I0: mean resultant length of a von Mises density."""
    return torch.special.i1e(kappa) / torch.special.i0e(kappa)


class PlainTorsions(nn.Module):
    """mu_k as that of a von Mises density in an effective field eta + g(eta)."""

    def __init__(self, n_torsions: int, log_snr_range: tuple[float, float]):
        super().__init__()
        self.n_torsions, self.top = n_torsions, log_snr_range[1]
        self.register_buffer("orders", torch.arange(1, HARMONICS + 1).float())
        self.body = ResidualNetwork(n_torsions * (2 * HARMONICS + 3), 2 * n_torsions)

    def forward(self, natural: Tensor) -> tuple[Tensor, Tensor]:
        """mu, shape (..., 2 n_torsions), and the variance of each torsion."""
        pairs = natural.unflatten(-1, (self.n_torsions, 2))
        radius = (pairs.square().sum(-1) + 1e-6).sqrt()
        angle = torch.atan2(pairs[..., 1], pairs[..., 0] + 1e-12)
        # A von Mises density blurs its j-th harmonic by about A^(j^2): features fade where eta holds no information.
        fade = bessel_ratio(radius)[..., None] ** self.orders.square()
        level = (radius.log() / self.top).unsqueeze(-1)
        phases = self.orders * angle[..., None]
        features = [fade * phases.cos(), fade * phases.sin(), level, level.square(), bessel_ratio(radius)[..., None]]
        correction = 10.0 * self.body(torch.cat(features, dim=-1).flatten(-2)).unflatten(-1, (self.n_torsions, 2))
        field = pairs + correction
        strength = (field.square().sum(-1, keepdim=True) + 1e-6).sqrt()
        mean = bessel_ratio(strength) * field / strength
        return mean.flatten(-2), 1.0 - mean.square().sum(-1)


class PlainPoints(nn.Module):
    """E[x] and tr Cov(x) as corrections of those of a Gaussian density."""

    def __init__(self, features: Tensor, log_snr_range: tuple[float, float]):
        super().__init__()
        self.dimension, self.top = features.shape[1], log_snr_range[1]
        self.register_buffer("shift", features.mean(0).float())
        self.register_buffer("scale", features.std(0).max().float())
        self.register_buffer("orders", 2.0 ** torch.arange(HARMONICS).float())
        self.body = ResidualNetwork(self.dimension * (1 + 2 * HARMONICS) + 2, self.dimension + 1)

    def forward(self, natural: Tensor) -> tuple[Tensor, Tensor]:
        """mu, shape (..., d + 1), and the variance, shape (..., 1)."""
        snr = -2.0 * natural[..., -1:]
        prior = 1.0 / (snr + self.scale**-2)
        center = (natural[..., :-1] + self.shift / self.scale**2) * prior
        z = (center - self.shift) / self.scale
        waves = (0.5 * math.pi * self.orders * z[..., None]).flatten(-2)
        blur = torch.exp(-0.5 * (0.5 * math.pi * self.orders / self.scale) ** 2 * prior[..., None])
        fade = blur.expand(*z.shape, len(self.orders)).flatten(-2)
        level = snr.log() / self.top
        out = self.body(torch.cat([z, fade * waves.sin(), fade * waves.cos(), level, level.square()], dim=-1))
        mean = center + prior.sqrt() * out[..., :-1]
        variance = self.dimension * prior * nn.functional.softplus(out[..., -1:] + math.log(math.e - 1))
        return torch.cat([mean, variance + mean.square().sum(-1, keepdim=True)], dim=-1), variance


class PlainDenoiser:
    """The contract around a plain network."""

    def __init__(self, network: nn.Module):
        self.network = copy.deepcopy(network).double().requires_grad_(False)

    def __call__(self, natural: Tensor) -> Posterior:
        """No log-partition: there is none."""
        return Posterior(*self.network(natural))


def plain_loss(system: System) -> Callable[[nn.Module, Targets], Tensor]:
    """Squared errors of E[x] and of the variance in units of what the noise level alone would leave."""
    n, blocks = system.representation.n_features, len(system.representation.block_names)

    def loss(network: nn.Module, batch: Targets) -> Tensor:
        mean, variance = network(batch.natural)
        precision = 1.0 + system.representation.block_log_snr(batch.natural).exp()
        error = (mean - batch.mean)[..., :n].unflatten(-1, (blocks, -1)).square().sum(-1)
        return (precision * error).mean() + 0.25 * (precision * (variance - batch.block_variance)).square().mean()

    return loss


def train_all(system: System, samples: WeightedSamples) -> dict[str, tuple[Denoiser, float]]:
    """Denoisers and seconds of training."""
    representation, config = system.representation, system.config.denoiser
    assert isinstance(representation, Torsions | Identity)
    rng = torch.Generator().manual_seed(0)
    posterior = reference_posterior(representation, samples, config.reference_samples, rng, config.log_snr_range[1])

    def targets(count: int, quantiles: Tensor | None = None) -> Targets:
        queries = draw_queries(representation, samples.features, count, config.log_snr_range, rng, quantiles)
        found = posterior_targets(posterior, queries, "posterior targets")
        return Targets(*(value.float() for value in vars(found).values()))

    training, held_out = targets(config.queries), targets(config.validation_queries)
    torch.manual_seed(0)
    plain: nn.Module = (
        PlainTorsions(representation.n_torsions, config.log_snr_range)
        if isinstance(representation, Torsions)
        else PlainPoints(torch.from_numpy(samples.features), config.log_snr_range)
    )

    def potential_loss(network: PotentialNetwork, batch: Targets) -> Tensor:
        return relative_loss(network, representation, batch)

    own = config.model_copy(update={"steps": STEPS, "learning_rate": LEARNING_RATE})
    found: dict[str, tuple[Denoiser, float]] = {}
    quantiles = fisher_quantiles(posterior, samples.features, config.log_snr_range, rng)
    for name, batch in (("potential", training), ("potential, schedule fisher", targets(config.queries, quantiles))):
        potential = initialised(representation, samples, config, rng)
        started = time.perf_counter()
        averaged, _ = fit(potential, potential_loss, batch, held_out, config, rng)
        found[name] = LearnedDenoiser(representation, averaged).double(), time.perf_counter() - started
    started = time.perf_counter()
    network, _ = fit(plain, plain_loss(system), training, held_out, own, rng)
    found["plain"] = PlainDenoiser(network), time.perf_counter() - started
    return found


def row(name: str, denoiser: Denoiser, seconds: float, system: System, samples: WeightedSamples) -> list[Any]:
    """One line of the table."""
    representation, config, surface = system.representation, system.config, system.reference
    assert surface is not None
    assert config.low_variance is not None
    exact = GridDenoiser.from_surface(representation, surface)
    features = samples.features
    if not surface.periodic.all():
        last = surface.origin + surface.spacing * (np.array(surface.free_energy.shape) - 1)
        features = features[((features > surface.origin) & (features < last)).all(axis=1)]
    rng = torch.Generator().manual_seed(1)
    errors = rms_errors(denoiser, exact, representation, features, rng, (0.0, 2.0, 4.0), 1000)
    level = config.geodesic.log_snr_end
    checked = health(denoiser, exact, representation, features, level, rng)
    queries = draw_queries(representation, features, 512, (level, level), rng)
    ends = representation.features(system.structures)
    channels = representation.channels(ends[0], ends[1], level)
    bound = representation.max_block_variance(config.low_variance)
    held = [TrainedRange(representation, *config.denoiser.log_snr_range), LowVariance(bound)]
    geodesics = optimise_geodesics(denoiser, representation, channels, config.geodesic, held)
    curves = [torch.from_numpy(g.curve.natural) for g in geodesics]
    with torch.no_grad():
        truth = max(float(exact(curve).block_variance.max()) for curve in curves)
    return [
        name,
        f"{seconds:.0f}",
        *(f"{errors[level]['rms_error']:.4f}" for level in ("0", "2", "4")),
        f"{checked['ridge_variance_error']:.3f}",
        f"{checked['ridge_variance_worst']:.3f}",
        f"{checked['negative_chord_fraction']:.4f}",
        f"{checked['jacobian_asymmetry']:.1e}",
        f"{1e3 * seconds_per_step(denoiser, queries, 20):.1f}",
        f"{np.mean([g.curve.negative_chord_fraction for g in geodesics]):.4f}",
        f"{max(g.curve.block_variance.max() for g in geodesics) / bound:.2f}",
        f"{truth / bound:.2f}",
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="run folders with samples")
    torch.set_num_threads(1)
    for folder in parser.parse_args().runs:
        system = load_system(validate(read_yaml(folder / "config.yaml"), str(folder)), folder)
        samples = WeightedSamples.load(folder / "samples.npz")
        print(f"\n{system.config.name}\n| " + " | ".join(COLUMNS) + " |\n|" + "---|" * len(COLUMNS))
        for name, (denoiser, seconds) in train_all(system, samples).items():
            print("| " + " | ".join(row(name, denoiser, seconds, system, samples)) + " |", flush=True)
