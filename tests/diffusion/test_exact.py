"""Exact denoisers against quadrature."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from spacetime_tps.diffusion.exact import (
    BinnedDenoiser,
    GaussianMixtureDenoiser,
    GridDenoiser,
    SampleDenoiser,
    sample_denoiser,
)
from spacetime_tps.potentials import FreeEnergySurface
from spacetime_tps.representations import Identity, Torsions
from spacetime_tps.systems import systems_folder

GRID = np.linspace(-9, 9, 400)


def mixture() -> GaussianMixtureDenoiser:
    return GaussianMixtureDenoiser(np.array([[-1.0, 0.3], [1.2, -0.5]]), np.array([0.4, 0.7]), np.array([0.7, 0.3]))


def mixture_on_grid() -> tuple[np.ndarray, np.ndarray]:
    points = np.stack([m.ravel() for m in np.meshgrid(GRID, GRID, indexing="ij")], axis=-1)
    density = sum(
        w * np.exp(-0.5 * np.square(points - m).sum(-1) / s**2) / (2 * np.pi * s**2)
        for m, s, w in (((-1.0, 0.3), 0.4, 0.7), ((1.2, -0.5), 0.7, 0.3))
    )
    return points, np.log(density)


def queries() -> torch.Tensor:
    rng = torch.Generator().manual_seed(0)
    chart = torch.cat([2 * torch.randn(30, 2, generator=rng), 4 * torch.rand(30, 1, generator=rng) - 1], -1)
    return Identity(2).natural(chart.double())


def test_mixture_moments_match_quadrature() -> None:
    points, log_density = mixture_on_grid()
    grid = SampleDenoiser(Identity(2), torch.from_numpy(Identity(2).statistics(points)), torch.from_numpy(log_density))
    exact, summed = mixture()(queries()), grid(queries())
    assert torch.allclose(exact.mean, summed.mean, atol=1e-6)
    assert torch.allclose(exact.block_variance, summed.block_variance, atol=1e-6)


def test_mixture_log_partition_is_normalised_and_its_gradient_is_the_mean() -> None:
    points, log_density = mixture_on_grid()
    natural = queries().requires_grad_(True)
    posterior = mixture()(natural)
    statistics = Identity(2).statistics(points)
    by_sum = np.log(np.exp(log_density + natural.detach().numpy() @ statistics.T).sum(-1) * (GRID[1] - GRID[0]) ** 2)
    assert posterior.log_partition.detach().numpy() == pytest.approx(by_sum, abs=1e-6)
    (gradient,) = torch.autograd.grad(posterior.log_partition.sum(), natural)
    assert torch.allclose(gradient, posterior.mean, atol=1e-9)


def test_metric_is_symmetric() -> None:
    natural = queries()[:5]
    for row in natural:
        jacobian = torch.autograd.functional.jacobian(lambda eta: mixture()(eta).mean, row)
        assert torch.allclose(jacobian, jacobian.T, atol=1e-9)


def test_uniform_torsion_gives_the_von_mises_posterior() -> None:
    from tests.oracles import von_mises_mean_length

    torsions = Torsions(["phi"], [(0, 1, 2, 3)])
    flat = FreeEnergySurface(
        names=("phi",), origin=np.array([-np.pi]), spacing=np.array([2 * np.pi / 720]), periodic=np.array([True]),
        free_energy=np.zeros(720), error=np.zeros(720), source="test", kt=1.0,
    )  # fmt: skip
    denoiser = GridDenoiser.from_surface(torsions, flat)
    for kappa in (0.1, 1.0, 10.0, 100.0):
        posterior = denoiser(torch.tensor([[kappa * np.cos(0.7), kappa * np.sin(0.7)]]))
        assert posterior.mean.norm().item() == pytest.approx(von_mises_mean_length(kappa), abs=1e-9)
        assert torsions.center(posterior.mean).item() == pytest.approx(0.7)


def test_chunks_do_not_change_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    points, log_density = mixture_on_grid()
    chosen = slice(None, None, 37)
    statistics = torch.from_numpy(Identity(2).statistics(points[chosen]))
    denoiser = SampleDenoiser(Identity(2), statistics, torch.from_numpy(log_density[chosen]))
    whole = denoiser(queries()).mean
    monkeypatch.setattr("spacetime_tps.diffusion.exact._CHUNK_ELEMENTS", 3 * len(statistics))
    assert torch.allclose(denoiser(queries()).mean, whole, atol=1e-12)


def surface_of(system: str) -> tuple[Torsions | Identity, FreeEnergySurface]:
    surface = FreeEnergySurface.load(systems_folder() / system / "reference.npz")
    torsions = Torsions(list(surface.names), [(0, 1, 2, 3), (1, 2, 3, 4)])
    return torsions if system == "alanine_dipeptide" else Identity(2), surface


@pytest.mark.parametrize("system", ["alanine_dipeptide", "mueller_brown"])
def test_products_over_a_grid_are_the_sums_over_its_points(system: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Queries everywhere, some where all products underflow: at the corners of Müller-Brown F is 1200 kT."""
    representation, surface = surface_of(system)
    features = np.concatenate([surface.points()[::2385], surface.points()[[surface.free_energy.argmax()]]])
    levels = torch.linspace(-2.0, 12.0, len(features), dtype=torch.float64)[:, None]
    if isinstance(representation, Torsions):
        features = representation.features_of_angles(features)
        levels = levels.expand(-1, 2)
    noise = torch.randn(features.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    asked = representation.noised(torch.from_numpy(features), levels, noise).requires_grad_(True)
    grid = GridDenoiser.from_surface(representation, surface)
    by_sums, direct = grid._with_direct_sums, []

    def noticed(at: torch.Tensor, low: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        direct.append(low)
        return by_sums(at, low)

    monkeypatch.setattr(grid, "_with_direct_sums", noticed)
    found, expected = grid(asked), SampleDenoiser(representation, grid.statistics, grid.log_weights)(asked)
    assert found.log_partition is not None
    assert expected.log_partition is not None
    assert [low.any() and not low.all() for low in direct] == [True] * (system == "mueller_brown")
    assert torch.allclose(found.mean, expected.mean, rtol=1e-9, atol=1e-9)
    assert torch.allclose(found.log_partition, expected.log_partition, rtol=1e-12, atol=1e-9)
    slopes = [torch.autograd.grad(each.mean.square().sum(), asked, retain_graph=True)[0] for each in (found, expected)]
    assert torch.allclose(*slopes, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("system", ["alanine_dipeptide", "mueller_brown"])
def test_samples_on_a_grid_have_the_posterior_of_their_sums(system: str) -> None:
    """Weights over 20 kT, queries up to the highest level that the grid is made for, some far from all samples."""
    representation, surface = surface_of(system)
    rng, noise_rng = np.random.default_rng(0), torch.Generator().manual_seed(1)
    chosen = rng.choice(np.flatnonzero(surface.free_energy.ravel() < 20 * surface.kt), 3000)
    points = surface.points()[chosen] + rng.uniform(-0.5, 0.5, (3000, 2)) * surface.spacing
    features = representation.features_of_angles(points) if isinstance(representation, Torsions) else points
    statistics = torch.from_numpy(representation.statistics(features))
    log_weights = torch.from_numpy(-surface.free_energy.ravel()[chosen] / surface.kt)
    laid = sample_denoiser(representation, statistics, log_weights, highest_log_snr=7.0)
    assert isinstance(laid, BinnedDenoiser)
    sums = SampleDenoiser(representation, statistics, log_weights)
    assert torch.equal(laid.statistics, sums.statistics)
    assert torch.equal(laid.log_weights, sums.log_weights)
    noise = torch.randn(features[:200].shape, generator=noise_rng, dtype=torch.float64)
    count = len(representation.log_snr_coordinates)
    for level, off in ((-1.0, 1e-3), (3.0, 2e-3), (5.0, 1e-2), (7.0, 5e-2)):
        levels = torch.full((200, count), level, dtype=torch.float64)
        asked = representation.noised(torch.from_numpy(features[:200]), levels, noise)
        found, expected = laid(asked), sums(asked)
        assert found.log_partition is not None
        assert expected.log_partition is not None
        spread = expected.block_variance.sum(-1).mean().sqrt()
        apart = (found.mean - expected.mean)[:, : representation.n_features].square().sum(-1).mean().sqrt()
        assert apart < off * spread
        assert (found.block_variance.mean() / expected.block_variance.mean()).item() == pytest.approx(1.0, abs=off)
        assert (found.log_partition - expected.log_partition).abs().mean() < off
    far = torch.from_numpy(representation.statistics(features[:3])) * 0.0 - 4000.0
    found, expected = laid(far), sums(far)
    assert torch.isfinite(found.mean).all()
    assert torch.allclose(found.mean, expected.mean, atol=2e-2)


def test_few_samples_or_other_than_two_variables_are_summed() -> None:
    points, _ = mixture_on_grid()
    for dimension, count in ((2, 500), (1, 5000), (3, 5000)):
        space, some = Identity(dimension), np.resize(points, (count, dimension))
        statistics = torch.from_numpy(space.statistics(some))
        found = sample_denoiser(space, statistics, torch.zeros(count, dtype=torch.float64), highest_log_snr=5.0)
        assert type(found) is SampleDenoiser
    wide = torch.from_numpy(Identity(2).statistics(1e3 * np.resize(points, (5000, 2))))
    flat = torch.zeros(5000, dtype=torch.float64)
    assert type(sample_denoiser(Identity(2), wide, flat, highest_log_snr=5.0)) is SampleDenoiser  # too many cells
    assert isinstance(sample_denoiser(Identity(2), wide / 1e3, flat, highest_log_snr=5.0), BinnedDenoiser)
    with pytest.raises(ValueError, match="two variables, not 3"):
        BinnedDenoiser(Identity(3), statistics, torch.zeros(5000, dtype=torch.float64), 5.0)
