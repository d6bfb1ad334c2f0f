"""Which channels are tried, and in which order; drafts that are polished."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from spacetime_tps.boltzmann.samples import WeightedSamples
from spacetime_tps.config import GeodesicConfig
from spacetime_tps.diffusion.exact import GaussianMixtureDenoiser, SampleDenoiser
from spacetime_tps.errors import UserError
from spacetime_tps.geometry.channels import lifted_channels, off_samples, order_by_promise, rank_channels, relabelled
from spacetime_tps.geometry.constraints import LowVariance
from spacetime_tps.geometry.geodesic import optimise_geodesics, polish_geodesics
from spacetime_tps.geometry.smoothed import SmoothedDensity
from spacetime_tps.representations import Identity, Torsions
from tests.oracles import circle


def torsions(n: int) -> Torsions:
    return Torsions([f"t{k}" for k in range(n)], [(0, 1, 2, 3)] * n)


def ends(first: list[float], last: list[float]) -> tuple[np.ndarray, np.ndarray]:
    return Torsions.features_of_angles(np.deg2rad(first)), Torsions.features_of_angles(np.deg2rad(last))


# --- which --------------------------------------------------------------------------------------------------


def test_of_many_torsions_only_those_that_turn_go_both_ways() -> None:
    """Five torsions; the second and the fifth differ by at least 60 degrees."""
    start, end = ends([0, 0, 10, 170, -100], [30, 61, -40, -170, 100])
    found = torsions(5).channels(start, end, 4.0)
    turns = np.rad2deg([(channel.end - channel.start)[1::2] for channel in found])
    assert len(found) == 4
    assert turns[0] == pytest.approx([30, 61, -50, 20, -160])  # the shortest way comes first
    assert np.ptp(turns, axis=0) == pytest.approx([0, 360, 0, 0, 360])


def test_of_very_many_the_eight_nearest_to_half_a_turn_do() -> None:
    angles = [70.0, *[100.0 + k for k in range(8)]]
    found = torsions(9).channels(*ends([0.0] * 9, angles), 4.0)
    turns = np.rad2deg([(channel.end - channel.start)[1::2] for channel in found])
    assert len(found) == 256
    assert np.ptp(turns, axis=0) == pytest.approx([0] + [360] * 8)


def test_a_channel_can_be_named() -> None:
    space, (start, end) = torsions(2), ends([0, 0], [30, -100])
    for label in ("t0+ t1-", "t0- t1-", "t1+ t0+"):
        found = space.named_channel(label, start, end, 4.0)
        assert set(found.label.split()) == set(label.split())
        turn = (found.end - found.start)[1::2]
        assert ["+" if t > 0 else "-" for t in turn] == [word[-1] for word in found.label.split()]
        same = next(channel for channel in space.channels(start, end, 4.0) if channel.label == found.label)
        assert found.end == pytest.approx(same.end)
    for wrong in ("t0+", "t0+ t2-", "t0 t1", ""):
        with pytest.raises(UserError, match=r"such as 't0\+ t1\+'"):
            space.named_channel(wrong, start, end, 4.0)
    assert Identity(2).named_channel("direct", np.zeros(2), np.ones(2), 4.0).label == "direct"
    with pytest.raises(UserError, match="'direct' is the only one"):
        Identity(2).named_channel("t0+", np.zeros(2), np.ones(2), 4.0)


def test_names_with_blanks_and_signs_name_channels() -> None:
    """A name may hold blanks, and even a part that looks like another torsion with its direction."""
    start, end = ends([0, 0, 0], [30, -100, 20])
    space = Torsions(["side chain", "chain", "a- chain"], np.arange(12).reshape(3, 4))
    for label in ("side chain+ chain- a- chain+", "chain- a- chain- side chain-"):
        found = space.named_channel(label, start, end, 4.0)
        signs = {name: re.search(rf"(^| ){name}([+-])( |$)", label).group(2) for name in ("side chain", "a- chain")}
        turn = (found.end - found.start)[1::2]
        assert {"side chain": "+" if turn[0] > 0 else "-", "a- chain": "+" if turn[2] > 0 else "-"} == signs
        assert turn[1] == pytest.approx(np.deg2rad(-100))
        assert space.named_channel(found.label, start, end, 4.0).end == pytest.approx(found.end)
    for wrong in ("side chain+ chain-", "side chain+ chain- a- chain+ chain-", "side chain+ chain- a- chain+ b+"):
        with pytest.raises(UserError, match="should name every torsion once"):
            space.named_channel(wrong, start, end, 4.0)


def test_a_channel_of_a_torsion_is_lifted_to_points_of_the_circle() -> None:
    """Two ways from -90 to 90 degrees: over 0 and over 180; the mean around a point lies inside the circle."""
    space, angles, level = torsions(1), circle(720)[:, None], 6.0
    features = Torsions.features_of_angles(angles)
    samples = WeightedSamples(features, np.zeros(720), np.zeros((0, 2)), 0)
    start, end = ends([-90], [90])
    found = lifted_channels(space.channels(start, end, 4.0), space, angles, samples, np.stack([start, end]), 3.0, level)
    assert {channel.label for channel in found} == {"t0+", "t0-"}
    kappa = torch.tensor(np.exp(level), dtype=torch.float64)
    inside = float(torch.special.i1e(kappa) / torch.special.i0e(kappa))
    for channel in found:
        assert channel.detour is not None
        assert channel.start == pytest.approx([0.0, -1.0, 3.0], abs=1e-9)
        assert channel.detour[[0, -1]] == pytest.approx(np.zeros((2, 3)), abs=1e-9)
        middle = 0.5 * (channel.start + channel.end) + channel.detour[len(channel.detour) // 2]
        assert middle == pytest.approx([inside if channel.label == "t0+" else -inside, 0.0, 3.0], abs=1e-3)


class OnACircle(Identity):
    """Points of the plane, read as an angle."""

    def center(self, mean):
        return np.arctan2(mean[..., 1:2], mean[..., 0:1])


def test_a_curve_is_called_by_the_way_that_it_takes() -> None:
    """Two starts under other names that optimise to one curve: one of them stays, under the name of its way."""
    plane, density = OnACircle(2), GaussianMixtureDenoiser(np.zeros((1, 2)), np.ones(1), np.ones(1))
    channels = [
        replace(plane.channels(np.array([0.5, -1.0]), np.array([0.5, 1.0]), 3.0)[0], label=name)
        for name in ("t0-", "t0+")
    ]
    config = GeodesicConfig(points=24, nodes=6, starts=1, steps=20, polish_rounds=2)
    found = relabelled(optimise_geodesics(density, plane, channels, config), plane, ["t0"])
    assert [geodesic.channel.label for geodesic in found] == ["t0+"]


def test_a_curve_that_leaves_the_samples_comes_last() -> None:
    """A model of a wide density and samples of a narrow one: it believes in what lies where they are not."""
    plane, model = Identity(2), GaussianMixtureDenoiser(np.zeros((1, 2)), np.full(1, 5.0), np.ones(1))
    points = np.random.default_rng(0).normal(0.0, 1.0, (20_000, 2))
    statistics = torch.from_numpy(plane.statistics(points))
    samples = SampleDenoiser(plane, statistics, torch.zeros(len(points), dtype=torch.float64))
    ends = {"among": np.array([1.0, 0.0]), "beyond": np.array([6.0, 0.0])}
    channels = [replace(plane.channels(-ends["among"], end, 3.0)[0], label=name) for name, end in ends.items()]
    config = GeodesicConfig(points=24, nodes=6, starts=1, steps=20, polish_rounds=1)
    found = optimise_geodesics(model, plane, channels, config)
    off = {geodesic.channel.label: off_samples(geodesic, plane, samples) for geodesic in found}
    assert off["among"] < 1.0
    assert off["beyond"] > 5.0
    barriers = {"among": 9.0, "beyond": 1.0}
    assert [g.channel.label for g in rank_channels(found, barriers, 0.5)] == ["beyond", "among"]
    assert [g.channel.label for g in rank_channels(found, barriers, 0.5, ["beyond"])] == ["among", "beyond"]


def test_channels_are_ordered_by_what_they_have_to_climb() -> None:
    """Independent torsions on a grid; smoothed at log-SNR 6, each ridge loses little of its height."""
    theta = circle(180)
    upward, downward = np.exp(-((theta - 1.5) ** 2) / 0.3), np.exp(-((theta + 1.6) ** 2) / 0.3)
    heights = [(4.0, 2.0), (1.0, 6.0)]  # of both ways from 0 to 180 degrees, first torsion and second
    energies = [up * upward + down * downward for up, down in heights]
    grid = np.stack(np.meshgrid(theta, theta, indexing="ij"), axis=-1).reshape(-1, 2)
    log_weights = -(energies[0][:, None] + energies[1][None]).ravel()
    space = torsions(2)
    posterior = SampleDenoiser(
        space, torch.from_numpy(Torsions.features_of_angles(grid)), torch.from_numpy(log_weights)
    )
    channels = space.channels(*ends([0, 0], [179.999, 179.999]), 4.0)
    found = order_by_promise(channels, space, posterior, 6.0)
    assert [channel.label for channel, _ in found] == ["t0- t1+", "t0+ t1+", "t0+ t1-", "t0- t1-"]
    assert [height for _, height in found] == pytest.approx([2.0, 4.0, 6.0, 6.0], abs=0.15)


# --- drafts -------------------------------------------------------------------------------------------------


def test_a_polished_draft_ends_where_the_whole_optimisation_ends() -> None:
    """Two wells, the variance held: one geodesic, whether its rounds of L-BFGS follow at once or later."""
    denoiser = GaussianMixtureDenoiser(np.array([[-1.0, 0.0], [1.0, 0.0], [0.0, 0.6]]), np.full(3, 0.3), np.ones(3) / 3)
    channel = Identity(2).channels(np.array([-1.0, 0.0]), np.array([1.0, 0.0]), 4.0)[0]
    config = GeodesicConfig(points=48, nodes=12, starts=1, steps=12, polish_rounds=24, polish_steps=20)
    held = [LowVariance(0.12)]
    whole = optimise_geodesics(denoiser, Identity(2), [channel], config, held)[0]
    draft = optimise_geodesics(denoiser, Identity(2), [channel], config.model_copy(update={"polish_rounds": 0}), held)
    polished = polish_geodesics(denoiser, Identity(2), draft, config, held)[0]
    assert polished.curve.energy == pytest.approx(whole.curve.energy, rel=0.01)
    assert polished.converged
    assert abs(draft[0].curve.energy / whole.curve.energy - 1) > 0.02 or draft[0].max_violation > 0.02


# --- the model's free energy ----------------------------------------------------------------------------------


def test_the_free_energy_of_a_model_has_the_gradient_of_its_log_density() -> None:
    """Against central differences, for points of the plane and for torsions."""
    rng = np.random.default_rng(2)
    plane = GaussianMixtureDenoiser(np.array([[-1.0, 0.0], [1.0, 0.5]]), np.array([0.3, 0.5]), np.ones(2) / 2)
    space = torsions(2)
    features = torch.from_numpy(Torsions.features_of_angles(rng.uniform(-3, 3, (40, 2))))
    circles = SampleDenoiser(space, features, torch.zeros(40, dtype=torch.float64))
    for density in (SmoothedDensity(plane, Identity(2)), SmoothedDensity(circles, space)):
        points = torch.from_numpy(rng.uniform(-1, 1, (5, 2))).requires_grad_(True)
        (gradient,) = torch.autograd.grad(density.free_energy(points, 2.0).sum(), points)
        for k in range(2):
            step = torch.zeros(2, dtype=torch.float64)
            step[k] = 1e-5
            with torch.no_grad():
                rise = density.free_energy(points + step, 2.0) - density.free_energy(points - step, 2.0)
            assert gradient[:, k].numpy() == pytest.approx(rise.numpy() / 2e-5, abs=1e-6)
