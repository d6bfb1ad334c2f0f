"""Straight lines, schedules and steered restraints as curves of posteriors; brute force against a known rate."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from spacetime_tps.baselines.lines import line_curves, steered_schedule, straightened, string_curves
from spacetime_tps.baselines.unbiased import unbiased_transitions
from spacetime_tps.collective_variables import CollectiveVariables
from spacetime_tps.diffusion.exact import GridDenoiser, SampleDenoiser
from spacetime_tps.geometry.constraints import LowVariance
from spacetime_tps.parallel import WorkerPool
from spacetime_tps.potentials import DoubleWell
from spacetime_tps.shooting.chains import EngineRecipe
from spacetime_tps.states import Box, State
from spacetime_tps.systems import System, find_system_file, load_config, load_system

RANGE = (-1.0, 7.0)


@pytest.fixture(scope="module")
def system() -> System:
    file = find_system_file("alanine_dipeptide")
    return load_system(load_config(file), file.parent)


@pytest.fixture(scope="module")
def denoiser(system: System) -> SampleDenoiser:
    assert system.reference is not None
    return GridDenoiser.from_surface(system.representation, system.reference)


def channels_of(system: System) -> list:
    features = system.representation.features(system.structures)
    return system.representation.channels(features[0], features[1], 4.0)


@pytest.mark.parametrize("tent", [False, True])
def test_lines_are_straight_in_every_channel(system: System, denoiser: SampleDenoiser, tent: bool) -> None:
    channels, config = channels_of(system), system.config.geodesic.model_copy(update={"points": 16})
    constraints = [LowVariance(system.representation.max_block_variance(np.deg2rad(12.0)))]
    found = line_curves(denoiser, system.representation, channels, config, constraints, RANGE, tent)
    levels = system.representation.log_snr_coordinates
    for geodesic, channel in zip(found, channels, strict=True):
        z = geodesic.curve.coordinates
        angles = np.delete(z, levels, axis=1)
        ends = (np.delete(side, levels) for side in (channel.start, channel.end))
        share = np.linspace(0, 1, len(z))[:, None]
        start, end = ends
        assert angles == pytest.approx((1 - share) * start + share * end, abs=1e-9)
        log_snr = z[:, levels]
        assert log_snr[[0, -1]] == pytest.approx(4.0)
        if not tent:
            assert log_snr == pytest.approx(4.0)
        else:
            middle = log_snr[len(z) // 2, 0]
            arm = 1 - np.abs(2 * share - 1)
            assert log_snr == pytest.approx(4.0 + np.tile((middle - 4.0) * arm, 2))
            assert geodesic.violations["low_variance"] <= 0


def test_a_straightened_geodesic_keeps_its_schedule(system: System, denoiser: SampleDenoiser) -> None:
    channels, config = channels_of(system), system.config.geodesic.model_copy(update={"points": 16})
    curve = line_curves(denoiser, system.representation, channels, config, [], RANGE, True)[0].curve
    bent = curve.coordinates.copy()
    levels = system.representation.log_snr_coordinates
    places = [k for k in range(bent.shape[1]) if k not in levels]
    bent[:, places] += 0.4 * np.sin(np.linspace(0, np.pi, len(bent)))[:, None]
    natural = system.representation.natural(torch.from_numpy(bent))
    posterior = denoiser(natural)
    crooked = type(curve)(bent, natural.numpy(), posterior.mean.numpy(), posterior.block_variance.numpy())
    straight = straightened(crooked, denoiser, system.representation)
    assert straight.coordinates[:, levels] == pytest.approx(bent[:, levels])
    ends = bent[[0, -1]][:, places]
    share = np.concatenate([[0.0], np.cumsum(np.sqrt(np.maximum(crooked.chords, 0)))]) / crooked.length
    expected = (1 - share[:, None]) * ends[0] + share[:, None] * ends[1]
    assert straight.coordinates[:, places] == pytest.approx(expected)


def test_a_steered_restraint_moves_at_constant_speed_with_constant_strength(
    system: System, denoiser: SampleDenoiser
) -> None:
    channel = channels_of(system)[0]
    schedule = steered_schedule(system.representation, denoiser, channel, 6.0, 101)
    eta = schedule.natural.reshape(101, 2, 2)
    assert np.linalg.norm(eta, axis=-1) == pytest.approx(np.exp(6.0))
    angles = np.unwrap(np.arctan2(eta[..., 1], eta[..., 0]), axis=0)
    steps = np.diff(angles, axis=0)
    assert steps == pytest.approx(np.broadcast_to(steps[0], steps.shape), abs=1e-9)


def test_the_string_passes_the_saddle(system: System, denoiser: SampleDenoiser) -> None:
    assert system.reference is not None
    channels, config = channels_of(system), system.config.geodesic.model_copy(update={"points": 16})
    found = string_curves(system.reference, denoiser, system.representation, channels, config, [], RANGE)
    heights = {}
    for geodesic in found:
        z = np.delete(geodesic.curve.coordinates, system.representation.log_snr_coordinates, axis=1)
        heights[geodesic.channel.label] = float(system.reference(z).max())
    assert heights["phi+ psi-"] == pytest.approx(39.29, abs=0.1)
    assert heights["phi- psi+"] > 60


def test_brute_force_crosses_as_often_both_ways_and_at_the_rate_of_kramers() -> None:
    """In equilibrium; the rate of an overdamped double well from its mean first-passage time, an exact integral."""
    barrier, dt, frames, walkers = 3.0, 1e-3, 20_000, 256
    well = DoubleWell(barrier=barrier, stiffness=10.0)
    states = tuple(State(n, (Box((0,), low, (9.0,), None),)) for n, low in (("a", (-10.0,)), ("b", (1.0,))))
    recipe = EngineRecipe(CollectiveVariables(["x", "y"], None), states, 1, None, well, 1.0, dt)  # type: ignore[arg-type]
    starts = np.array([[-1.0, 0.0], [1.0, 0.0]])
    found, spent, cost = unbiased_transitions(recipe, starts, walkers, frames, 4, WorkerPool(1))
    assert cost == walkers * frames
    x = np.linspace(-3, 3, 6001)
    weight = np.exp(-barrier * (x**2 - 1) ** 2)
    below = np.cumsum(weight) * (x[1] - x[0])
    between = (x >= -1) & (x <= 1)
    passage = np.sum(below[between] / weight[between]) * (x[1] - x[0])  # from -1 to 1, diffusion constant 1
    expected = walkers * frames * dt / (2 * passage)  # of each kind: there and back takes twice that
    assert spent.shape == (walkers, 2)
    assert 0.99 * walkers * frames < spent.sum() <= walkers * frames  # all start at the edge of a state
    for count, time in zip((found.forward.sum(), (~found.forward).sum()), dt * spent.sum(axis=0), strict=True):
        assert abs(count - expected) < 4 * np.sqrt(expected)
        assert abs(count - time / passage) < 4 * np.sqrt(expected)
    for forward, v in zip(found.forward, found.variables, strict=True):
        side = np.sign(v[0, 0])
        assert side == (-1 if forward else 1)
        assert np.abs(v[[0, -1], 0]).min() >= 1.0
        assert np.abs(v[1:-1, 0]).max(initial=0.0) < 1.0
