"""The learned denoiser against the exact posterior it should learn."""

from __future__ import annotations

import numpy as np
import torch

from spacetime_tps.boltzmann.samples import WeightedSamples
from spacetime_tps.config import DenoiserConfig
from spacetime_tps.diffusion.exact import GaussianMixtureDenoiser, GridDenoiser
from spacetime_tps.diffusion.learned import LearnedDenoiser, build_network, state_to_save
from spacetime_tps.diffusion.targets import draw_queries, fisher_quantiles, reference_posterior
from spacetime_tps.diffusion.training import rms_errors, spells, train_denoiser
from spacetime_tps.potentials import FreeEnergySurface
from spacetime_tps.representations import Identity, Torsions

SMALL = DenoiserConfig(
    reference_samples=4000, queries=12_000, validation_queries=500, steps=400, factors=24, components=64
)
LEVELS = (0.0, 2.0, 4.0)


def two_state_surface() -> FreeEnergySurface:
    angle = 2 * np.pi * np.arange(60) / 60 - np.pi
    table = (
        4 * np.cos(2 * angle)[:, None] - np.cos(angle[None] - 1.0) + 1.5 * np.cos(angle)[:, None] * np.sin(angle)[None]
    )
    return FreeEnergySurface(
        names=("a", "b"), origin=np.full(2, -np.pi), spacing=np.full(2, 2 * np.pi / 60), periodic=np.ones(2, bool),
        free_energy=table - table.min(), error=np.zeros_like(table), source="test", kt=1.0,
    )  # fmt: skip


def flat_samples(surface: FreeEnergySurface, torsions: Torsions) -> WeightedSamples:
    """Uniform (perfectly biased) samples: the log-weight is -F/kT."""
    angles = np.random.default_rng(1).uniform(-np.pi, np.pi, (4000, 2))
    return WeightedSamples(torsions.features_of_angles(angles), -surface(angles), np.zeros((0, 1, 3)), 0)


def test_torsion_denoiser_learns_the_exact_posterior_through_the_barrier() -> None:
    torsions, surface = Torsions(["a", "b"], [(0, 1, 2, 3), (1, 2, 3, 4)]), two_state_surface()
    samples = flat_samples(surface, torsions)
    result = train_denoiser(torsions, samples, SMALL, seed=3)
    exact = GridDenoiser.from_surface(torsions, surface)
    rng = torch.Generator().manual_seed(4)
    table = rms_errors(result.denoiser, exact, torsions, samples.features, rng, LEVELS, count=400)
    for row in table.values():
        assert row["rms_error"] < 0.06
        assert row["rms_error"] < 0.2 * row["posterior_std"]
    untrained = LearnedDenoiser(torsions, build_network(torsions, SMALL)).double()
    before = rms_errors(untrained, exact, torsions, samples.features, rng, LEVELS, count=400)
    assert all(table[level]["rms_error"] < 0.3 * before[level]["rms_error"] for level in table)


def test_euclidean_denoiser_learns_mean_and_variance() -> None:
    mixture = GaussianMixtureDenoiser(np.array([[-1.0], [1.0]]), np.array([0.3, 0.3]), np.array([0.5, 0.5]))
    points = np.random.default_rng(2).uniform(-2.2, 2.2, (4000, 1))
    density = np.exp(-0.5 * ((points - 1) / 0.3) ** 2) + np.exp(-0.5 * ((points + 1) / 0.3) ** 2)
    samples = WeightedSamples(points, np.log(density[:, 0]), points, 0)
    result = train_denoiser(Identity(1), samples, SMALL, seed=3)
    rng = torch.Generator().manual_seed(5)
    queries = draw_queries(Identity(1), points, 500, (0.0, 4.0), rng)
    learned, exact = result.denoiser(queries), mixture(queries)
    assert (learned.mean - exact.mean)[:, 0].square().mean().sqrt() < 0.05
    assert (learned.block_variance - exact.block_variance).abs().mean() < 0.15 * exact.block_variance.mean()
    assert (learned.log_partition - exact.log_partition).std() < 0.1


def test_training_is_reproducible_and_saved_weights_are_plain_tensors() -> None:
    torsions, surface = Torsions(["a", "b"], [(0, 1, 2, 3), (1, 2, 3, 4)]), two_state_surface()
    samples = flat_samples(surface, torsions)
    config = SMALL.model_copy(update={"steps": 20, "queries": 1000})
    first, second = (
        state_to_save(train_denoiser(torsions, samples, config, seed=9).denoiser.network) for _ in range(2)
    )
    assert all(torch.equal(first[name], second[name]) for name in first)
    other = state_to_save(train_denoiser(torsions, samples, config, seed=10).denoiser.network)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_fisher_schedule_of_gaussian_data() -> None:
    """Posteriors N(m, v) of N(0, 1) data: squared speed (v'/v)^2 / 2 + E[m'^2] / v, in closed form on a fine grid."""
    x = np.random.default_rng(0).standard_normal((4000, 1))
    samples = WeightedSamples(x, np.zeros(len(x)), x, 0)
    rng = torch.Generator().manual_seed(1)
    posterior = reference_posterior(Identity(1), samples, 4000, rng, 7.0)
    found = fisher_quantiles(posterior, x, (-1.0, 3.0), rng, count=1000).numpy()
    level = np.linspace(-1.0, 3.0, 4001)
    snr = np.exp(level)
    v = 1.0 / (1.0 + snr)
    signal, noise = (np.gradient(v * g, level) for g in (snr, np.sqrt(snr)))  # m = v (SNR x + sqrt(SNR) n)
    speed = np.sqrt(0.5 * np.gradient(np.log(v), level) ** 2 + (signal**2 + noise**2) / v)
    travelled = np.concatenate([[0.0], np.cumsum(0.5 * (speed[1:] + speed[:-1]) * (level[1] - level[0]))])
    expected = np.interp(np.linspace(0, travelled[-1], len(found)), travelled, level)
    assert found[[0, -1]].tolist() == [-1.0, 3.0]
    assert np.abs(found - expected).max() < 0.08


def test_fisher_schedule_trains() -> None:
    torsions, surface = Torsions(["a", "b"], [(0, 1, 2, 3), (1, 2, 3, 4)]), two_state_surface()
    config = SMALL.model_copy(update={"steps": 20, "queries": 1000})
    samples = flat_samples(surface, torsions)
    uniform, fisher = (
        train_denoiser(torsions, samples, config.model_copy(update={"schedule": kind}), seed=9).denoiser.network
        for kind in ("log_snr", "fisher")
    )
    assert not torch.equal(uniform.offset, fisher.offset)


def test_spells_double_and_add_up() -> None:
    assert spells(2000) == [125, 250, 500, 1125]
    assert spells(150) == [150]
    assert spells(375) == [125, 250]
    assert all(sum(spells(steps)) == steps for steps in range(1, 1000, 7))


def test_training_stops_when_a_spell_gains_little() -> None:
    torsions, surface = Torsions(["a", "b"], [(0, 1, 2, 3), (1, 2, 3, 4)]), two_state_surface()
    samples = flat_samples(surface, torsions)
    base = SMALL.model_copy(update={"steps": 900, "queries": 1000, "validation_queries": 200})
    ends, losses = [], []
    for improvement in (0.0, 0.2, 0.99):
        loss = train_denoiser(torsions, samples, base.model_copy(update={"improvement": improvement}), seed=9).loss
        ends.append(loss[-1, 0])
        losses.append(loss[-1, 2])
    assert ends[2] <= 375 < ends[0]  # the second spell cannot gain 99 %
    assert ends[2] <= ends[1] <= ends[0]
    assert losses[0] < losses[2]
