"""Geodesics against the half-plane, and the constraint that keeps them from tunnelling."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from spacetime_tps.config import GeodesicConfig
from spacetime_tps.diffusion.denoiser import Posterior
from spacetime_tps.diffusion.exact import GaussianMixtureDenoiser
from spacetime_tps.errors import UserError
from spacetime_tps.geometry.channels import lifted_ends, merge_channels, rank_channels
from spacetime_tps.geometry.constraints import LowVariance
from spacetime_tps.geometry.curve import chords, curve_energy
from spacetime_tps.geometry.free_energy import LowBarrier, ModelFreeEnergy, SmoothSurface, smoothed_surface
from spacetime_tps.geometry.geodesic import Geodesic, optimise_geodesics
from spacetime_tps.geometry.smoothed import SmoothedDensity
from spacetime_tps.geometry.spline import SplineBasis
from spacetime_tps.potentials import FreeEnergySurface
from spacetime_tps.representations import Channel, Identity, Torsions
from tests.oracles import half_plane_distance

DATA_STD = 2.0
BEGIN, END = (-0.8, 0.3), (0.8, 0.5)


def chart_of_posterior(mean: float, std: float) -> np.ndarray:
    """(y, log-SNR) whose posterior under N(0, DATA_STD^2) has the given moments."""
    snr = std**-2 - DATA_STD**-2
    return np.array([mean * std**-2 / snr, np.log(snr)])


def half_plane_geodesic(points: int, begin: tuple[float, float], end: tuple[float, float]) -> Geodesic:
    denoiser = GaussianMixtureDenoiser(np.zeros((1, 1)), np.array([DATA_STD]), np.ones(1))
    channel = Channel("direct", chart_of_posterior(*begin), chart_of_posterior(*end))
    config = GeodesicConfig(points=points, nodes=min(points - 2, 24), fine_factor=1, steps=100, starts=1)
    return optimise_geodesics(denoiser, Identity(1), [channel], config, [])[0]


def test_length_converges_to_the_half_plane_distance_with_second_order() -> None:
    exact = half_plane_distance(*BEGIN, *END)
    steps = np.array([8, 16, 32, 64])
    lengths = [np.sqrt(2 * half_plane_geodesic(n, BEGIN, END).curve.energy) for n in steps]
    errors = np.array(lengths) / exact - 1
    assert 0 < errors[-1] < 2e-4
    order = -np.polyfit(np.log(steps - 1), np.log(errors), 1)[0]
    assert order == pytest.approx(2.0, abs=0.2)


def test_distance_is_symmetric_and_vanishes_only_at_coincidence() -> None:
    there, back = (half_plane_geodesic(32, *ends).curve.length for ends in ((BEGIN, END), (END, BEGIN)))
    assert there == pytest.approx(back, rel=1e-5)
    assert half_plane_geodesic(8, BEGIN, BEGIN).curve.length < 1e-6


def test_length_never_exceeds_what_the_energy_allows() -> None:
    curve = half_plane_geodesic(32, BEGIN, END).curve
    assert curve.length <= np.sqrt(2 * curve.energy) * (1 + 1e-12)
    assert curve.length == pytest.approx(np.sqrt(2 * curve.energy), rel=1e-4)  # constant speed at the optimum


def test_chord_is_the_sum_of_both_divergences() -> None:
    """Against the closed form for Gaussians N(m, s^2), both directions summed."""
    rng = np.random.default_rng(5)
    denoiser = GaussianMixtureDenoiser(np.zeros((1, 1)), np.array([DATA_STD]), np.ones(1))
    for _ in range(20):
        (m1, s1), (m2, s2) = ((rng.normal(), rng.uniform(0.1, 1.5)) for _ in range(2))
        natural = Identity(1).natural(torch.tensor(np.stack([chart_of_posterior(m1, s1), chart_of_posterior(m2, s2)])))
        both = sum(
            np.log(b[1] / a[1]) + (a[1] ** 2 + (a[0] - b[0]) ** 2) / (2 * b[1] ** 2) - 0.5
            for a, b in (((m1, s1), (m2, s2)), ((m2, s2), (m1, s1)))
        )
        assert chords(natural, denoiser(natural).mean).item() == pytest.approx(both, rel=1e-9)


def test_energy_is_half_the_squared_length_of_equal_chords() -> None:
    assert curve_energy(torch.full((7,), 0.25)).item() == pytest.approx(0.5 * (7 * 0.5) ** 2)


def test_spline_basis_is_natural_and_white() -> None:
    basis = SplineBasis(6).matrix(np.linspace(0, 1, 4001)).numpy()
    assert np.abs(basis[[0, -1]]).max() < 1e-12
    second = np.diff(basis, 2, axis=0) * 4000**2
    assert np.abs(second[[0, -1]]).max() < 0.02 * np.abs(second).max()
    slopes = np.diff(basis, axis=0) * 4000
    assert np.allclose(slopes.T @ slopes / 4000, np.eye(6), atol=1e-4)


@pytest.mark.parametrize("starts", [1, 4])
def test_a_search_goes_on_from_a_known_curve(starts: int) -> None:
    """A step that changes nothing: the energy is that of the curve which is handed over, or of the arch."""
    denoiser = GaussianMixtureDenoiser(np.zeros((1, 1)), np.array([DATA_STD]), np.ones(1))
    start, end = (chart_of_posterior(*end) for end in (BEGIN, END))
    channels = [Channel("there", start, end), Channel("back", end, start)]
    done = optimise_geodesics(denoiser, Identity(1), channels, GeodesicConfig(points=64, nodes=12, starts=1))
    still = GeodesicConfig(
        points=64, nodes=12, starts=starts, steps=1, scout_steps=1, learning_rate=1e-8, polish_rounds=0, bend=1e-6
    )
    known = [each.curve.at_constant_speed(257) for each in done]
    for earlier, shares in (([None, None], [False, False]), ([None, known[1]], [False, True]), (known, [True, True])):
        found = optimise_geodesics(denoiser, Identity(1), channels, still, earlier=earlier)
        ratios = [each.curve.energy / best.curve.energy for each, best in zip(found, done, strict=True)]
        assert [ratio < 1.002 for ratio in ratios] == shares
        assert min(ratios) > 0.999


def two_wells() -> GaussianMixtureDenoiser:
    return GaussianMixtureDenoiser(
        np.array([[-1.0, 0.0], [1.0, 0.0], [0.0, 0.0]]), np.full(3, 0.25), np.array([1, 1, 1e-3])
    )


def two_well_geodesic(spread: float | None) -> Geodesic:
    channel = Identity(2).channels(np.array([-1.0, 0.0]), np.array([1.0, 0.0]), 4.0)[0]
    config = GeodesicConfig(points=64, nodes=12, fine_factor=8, starts=1)
    constraints = [] if spread is None else [LowVariance(spread**2)]
    return optimise_geodesics(two_wells(), Identity(2), [channel], config, constraints)[0]


def test_low_variance_forbids_tunnelling() -> None:
    """Free, the posterior between two wells turns bimodal; constrained, its spread obeys the bound everywhere."""
    free, held = two_well_geodesic(None), two_well_geodesic(0.35)
    assert free.curve.block_variance.max() > 0.5
    assert held.converged
    assert held.curve.block_variance.max() <= 1.05 * 0.35**2
    assert held.curve.length > free.curve.length
    assert held.curve.negative_chord_fraction == 0.0


def tilted_surface() -> FreeEnergySurface:
    """A wall at x = 0 that is low only near y = 0.8."""
    x, y = np.linspace(-1.5, 1.5, 61), np.linspace(-1.5, 1.5, 61)
    height = 8 * np.exp(-((x[:, None] / 0.2) ** 2)) * (1 - 0.8 * np.exp(-(((y[None] - 0.8) / 0.4) ** 2)))
    return FreeEnergySurface(
        names=("x", "y"), origin=np.full(2, -1.5), spacing=np.full(2, 0.05), periodic=np.zeros(2, bool),
        free_energy=height, error=np.zeros_like(height), source="test", kt=1.0,
    )  # fmt: skip


def test_low_barrier_bends_the_curve_to_the_gap() -> None:
    denoiser = GaussianMixtureDenoiser(np.zeros((1, 2)), np.array([1.0]), np.ones(1))
    surface = tilted_surface()
    channel = Identity(2).channels(np.array([-1.0, 0.0]), np.array([1.0, 0.0]), 4.0)[0]
    config = GeodesicConfig(points=48, nodes=10, fine_factor=4, starts=1)
    low = LowBarrier(SmoothSurface(surface), Identity(2).center, kt=1.0, weight=2.0)
    straight, bent = (
        optimise_geodesics(denoiser, Identity(2), [channel], config, [], terms)[0] for terms in ([], [low])
    )
    height = [surface(Identity(2).center(g.curve.mean)).max() for g in (straight, bent)]
    assert height[0] > 7.0
    assert height[1] < 3.0


def test_model_free_energy_of_a_gaussian() -> None:
    """Smoothed at SNR, N(m, s^2) has variance s^2 + 1/SNR."""
    gaussian = GaussianMixtureDenoiser(np.array([[0.2, -0.1, 0.0]]), np.array([0.7]), np.ones(1))
    model = ModelFreeEnergy(SmoothedDensity(gaussian, Identity(3)), kt=2.5, log_snr=3.0)
    points = torch.tensor([[0.5, 0.3, -0.2], [0.2, -0.1, 0.0]], dtype=torch.float64, requires_grad=True)
    height = model(points)
    variance = 0.7**2 + np.exp(-3.0)
    offset = np.array([0.3, 0.4, -0.2])
    assert (height[0] - height[1]).item() == pytest.approx(2.5 * 0.5 * offset @ offset / variance)
    (slope,) = torch.autograd.grad(height[0], points)
    assert slope[0].numpy() == pytest.approx(2.5 * offset / variance)


def test_model_free_energy_needs_a_log_partition() -> None:
    def blind(natural: torch.Tensor) -> Posterior:
        return Posterior(natural, natural[..., :1])

    with pytest.raises(UserError, match="log-partition"):
        ModelFreeEnergy(SmoothedDensity(blind, Identity(1)), 1.0, 3.0)(torch.zeros(1, 1, dtype=torch.float64))


def test_model_free_energy_goes_the_short_way_round() -> None:
    model = ModelFreeEnergy(SmoothedDensity(arc(), Torsions(["a"], [(0, 1, 2, 3)])), 1.0, 3.0)
    start, end = torch.tensor([[3.0]], dtype=torch.float64), torch.tensor([[-3.0]], dtype=torch.float64)
    assert model.displacement(start, end).item() == pytest.approx(2 * np.pi - 6.0)


def arc() -> GaussianMixtureDenoiser:
    """Half a ring of wells in three dimensions; the straight way between its ends is empty."""
    angle = np.linspace(0.0, np.pi, 16)
    centers = np.stack([np.cos(angle), np.sin(angle), np.zeros(16)], axis=-1)
    return GaussianMixtureDenoiser(centers, np.full(16, 0.2), np.ones(16))


def test_low_barrier_by_the_models_own_density_in_three_dimensions() -> None:
    space = Identity(3)
    model = ModelFreeEnergy(SmoothedDensity(arc(), space), kt=1.0, log_snr=6.0)
    channel = space.channels(np.array([1.0, 0.0, 0.0]), np.array([-1.0, 0.0, 0.0]), 4.0)[0]
    config = GeodesicConfig(points=48, nodes=12, fine_factor=4, starts=4)
    held, low = [LowVariance(3 * 0.15**2)], LowBarrier(model, space.center, kt=1.0, weight=1.0, subdivisions=2)
    found = [optimise_geodesics(arc(), space, [channel], config, held, terms)[0] for terms in ([], [low])]
    plain, bent = (model(torch.from_numpy(space.center(g.curve.mean))).max().item() for g in found)
    ends = model(torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64)).item()
    assert bent < plain
    assert bent - ends < 1.0


def test_smooth_surface_interpolates_and_differentiates() -> None:
    angle = 2 * np.pi * np.arange(90) / 90 - np.pi
    table = np.sin(angle)[:, None] + 0.5 * np.cos(2 * angle)[None]
    surface = FreeEnergySurface(
        names=("a", "b"), origin=np.full(2, -np.pi), spacing=np.full(2, 2 * np.pi / 90), periodic=np.ones(2, bool),
        free_energy=table, error=np.zeros_like(table), source="test", kt=1.0,
    )  # fmt: skip
    points = torch.from_numpy(np.random.default_rng(0).uniform(-7, 7, (200, 2))).requires_grad_(True)
    value = SmoothSurface(surface)(points)
    (slope,) = torch.autograd.grad(value.sum(), points)
    a, b = points.detach().unbind(-1)
    assert torch.allclose(value.detach(), a.sin() + 0.5 * (2 * b).cos(), atol=2e-4)
    assert torch.allclose(slope, torch.stack([a.cos(), -(2 * b).sin()], -1), atol=5e-3)


def test_displacement_takes_the_short_way_round() -> None:
    surface = tilted_surface()
    circle = FreeEnergySurface(**{**vars(surface), "periodic": np.array([True, False])})
    period = 61 * 0.05
    start, end = torch.tensor([[1.4, 0.0]], dtype=torch.float64), torch.tensor([[-1.4, 1.0]], dtype=torch.float64)
    assert SmoothSurface(circle).displacement(start, end).numpy() == pytest.approx(np.array([[period - 2.8, 1.0]]))


def test_smoothed_surface_of_gaussian_samples() -> None:
    """Samples of N(0, 1) smoothed at SNR: variance 1 + 1/SNR, in closed form."""
    from spacetime_tps.diffusion.exact import SampleDenoiser

    grid = np.linspace(-6, 6, 2001)[:, None]
    weights = torch.from_numpy(-0.5 * grid[:, 0] ** 2)
    posterior = SampleDenoiser(Identity(1), torch.from_numpy(Identity(1).statistics(grid)), weights)
    surface = smoothed_surface(posterior, ["x"], [(-2.0, 2.0)], kt=2.0, log_snr=1.0, points=41)
    x = surface.axis(0)
    assert x == pytest.approx(np.linspace(-2.0, 2.0, 41))
    assert surface.free_energy == pytest.approx(2.0 * 0.5 * x**2 / (1 + np.exp(-1.0)), abs=1e-6)


def test_equal_curves_are_merged_and_different_ones_are_not() -> None:
    low, high = (half_plane_geodesic(16, *ends) for ends in ((BEGIN, END), (BEGIN, (0.8, 0.3))))
    named = [replace(g, channel=replace(g.channel, label=label)) for g, label in ((low, "a"), (low, "b"), (high, "c"))]
    kept, merged = merge_channels(named, 0.02)
    assert {g.channel.label for g in kept} == {"a", "c"}
    assert merged == {"a": ["b"], "c": []}


def test_ranking_prefers_converged_then_low_then_short() -> None:
    long, short = half_plane_geodesic(16, BEGIN, END), half_plane_geodesic(16, BEGIN, (0.2, 0.4))
    made = {
        "tunnels": (short, 2.0, True, 1.0),
        "lowest but long": (long, 0.0, True, 10.0),
        "tied and short": (short, 0.0, True, 10.3),
        "tied, unconverged": (short, 0.1, False, 10.1),
        "high": (short, 0.0, True, 12.0),
        "highest, unconverged": (short, 0.1, False, 13.0),
    }
    named = [
        replace(g, channel=replace(g.channel, label=label), converged=converged, max_violation=violation)
        for label, (g, violation, converged, _) in made.items()
    ]
    ranked = rank_channels(named, {label: row[3] for label, row in made.items()}, tie=0.5)
    order = ["tied and short", "lowest but long", "tied, unconverged", "high", "highest, unconverged", "tunnels"]
    assert [g.channel.label for g in ranked] == order


def test_lifted_ends_of_the_identity_are_the_means() -> None:
    geodesic = half_plane_geodesic(16, BEGIN, END)
    start, end = lifted_ends(geodesic, Identity(1), False)
    assert (start[0], end[0]) == pytest.approx((BEGIN[0], END[0]))


def test_the_spline_basis_does_not_depend_on_the_number_of_blas_threads() -> None:
    parameters = np.sort(np.random.default_rng(0).random((4, 2033)), axis=1)
    found = []
    for threads in (1, 2, 5):
        with threadpool_limits(threads, "blas"):
            assert threads in {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}
            found.append(SplineBasis(24).matrix(parameters).numpy().tobytes())
    assert found[0] == found[1] == found[2]
