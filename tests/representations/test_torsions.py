from __future__ import annotations

import math

import numpy as np
import openmm
import pytest
import torch

from spacetime_tps.dynamics import RESTRAINT_GROUP, MolecularDynamics, restraint_energy_of
from spacetime_tps.representations import Torsions, wrap
from tests.oracles import circle, four_atoms, log_bessel_i0, von_mises_mean_length

KT = 2.4943
TWO = Torsions(["phi", "psi"], [(0, 1, 2, 3), (2, 4, 5, 1)])


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


# --- features and parameters --------------------------------------------------------------------------------------


def test_features_are_cosines_and_sines_of_the_torsions() -> None:
    torsions = Torsions(["a", "b"], [(0, 1, 2, 3), (4, 5, 6, 7)])
    frames = np.array([np.concatenate([four_atoms(s), four_atoms(t) + 1.0]) for s, t in ((0.3, -2.0), (1.5, 3.0))])
    expected = [[math.cos(0.3), math.sin(0.3), math.cos(-2.0), math.sin(-2.0)]]
    expected += [[math.cos(1.5), math.sin(1.5), math.cos(3.0), math.sin(3.0)]]
    assert torsions.features(frames) == pytest.approx(np.array(expected), abs=1e-12)
    assert (torsions.n_features, torsions.n_parameters, torsions.n_coordinates) == (4, 4, 4)
    assert torsions.log_snr_coordinates == [0, 2]


def test_natural_of_the_chart() -> None:
    eta = TWO.natural(torch.tensor([math.log(3.0), 0.5, math.log(0.2), -2.0], dtype=torch.float64))
    expected = [3 * math.cos(0.5), 3 * math.sin(0.5), 0.2 * math.cos(-2.0), 0.2 * math.sin(-2.0)]
    assert eta.tolist() == pytest.approx(expected)
    chart = random(6, 4)
    eta = TWO.natural(chart)
    assert torch.allclose(TWO.block_log_snr(eta), chart[:, 0::2])
    assert torch.allclose(TWO.center(eta), chart[:, 1::2])
    assert np.allclose(TWO.center(eta.numpy()), chart[:, 1::2].numpy())


def test_noised_is_snr_times_the_noisy_feature() -> None:
    x = torch.from_numpy(Torsions.features_of_angles(random(5, 2).numpy()))
    log_snr, noise = random(5, 2, seed=1), random(5, 4, seed=2)
    eta = TWO.noised(x, log_snr, noise)
    for k in range(2):
        snr = log_snr[:, k, None].exp()
        y = x[:, 2 * k : 2 * k + 2] + noise[:, 2 * k : 2 * k + 2] / snr.sqrt()
        assert torch.allclose(eta[:, 2 * k : 2 * k + 2], snr * y)


def test_block_variance_is_that_of_the_features() -> None:
    """1 - |mu|^2 is the trace of the covariance of (cos, sin), also for a skewed bimodal sample."""
    rng = np.random.default_rng(3)
    angles = np.stack([rng.normal(0.4, 0.3, 4000), np.where(rng.random(4000) < 0.3, 2.0, -2.5)], axis=-1)
    x = TWO.statistics(Torsions.features_of_angles(angles))
    traces = x.var(axis=0).reshape(2, 2).sum(axis=1)
    assert TWO.block_variance(torch.from_numpy(x.mean(axis=0))).tolist() == pytest.approx(traces.tolist(), abs=1e-12)


@pytest.mark.parametrize("concentration", [0.1, 2.0, 30.0])
def test_block_variance_of_von_mises(concentration: float) -> None:
    length = von_mises_mean_length(concentration)
    mean = torch.tensor([length * math.cos(1.0), length * math.sin(1.0), 0.0, 0.0], dtype=torch.float64)
    assert TWO.block_variance(mean).tolist() == pytest.approx([1 - length**2, 1.0])


def test_max_block_variance_of_a_wrapped_normal() -> None:
    assert math.degrees(0.3246) == pytest.approx(18.6, abs=0.01)
    assert TWO.max_block_variance(math.radians(18.6)) == pytest.approx(0.1, abs=5e-4)  # DESIGN, section 2
    x = np.linspace(-10, 10, 100_001)
    for sigma in (0.05, 0.5, 1.5):
        weights = np.exp(-0.5 * x**2)
        length = (weights * np.cos(sigma * x)).sum() / weights.sum()
        assert TWO.max_block_variance(sigma) == pytest.approx(1 - length**2, rel=1e-9)


# --- smoothed free energy -------------------------------------------------------------------------------------------


def test_profile_of_a_flat_density_is_the_constant_log_volume() -> None:
    radii = [(0.01, 0.3), (1.0, 7.0), (40.0, 2.0), (300.0, 55.0)]
    angles = np.random.default_rng(4).uniform(-np.pi, np.pi, (4, 2))
    chart = [[math.log(r), a, math.log(s), b] for (r, s), (a, b) in zip(radii, angles, strict=True)]
    eta = TWO.natural(torch.tensor(chart, dtype=torch.float64))
    psi = torch.tensor([log_bessel_i0(r) + log_bessel_i0(s) for r, s in radii], dtype=torch.float64)
    assert TWO.profile(eta, psi).tolist() == pytest.approx([2 * math.log(2 * math.pi)] * 4, abs=1e-8)


@pytest.mark.parametrize("concentration", [0.5, 10.0, 100.0])
def test_profile_is_the_convolution_with_von_mises(concentration: float) -> None:
    """-log of the density of ``angle + von Mises noise``, summed on a grid, for a two-peaked density."""
    one = Torsions(["phi"], [(0, 1, 2, 3)])
    t = circle()
    dt = t[1] - t[0]
    density = np.exp(3.0 * np.cos(t - 1.0)) + 0.2 * np.exp(8.0 * np.cos(t + 2.0))
    density /= density.sum() * dt
    for center in (-2.9, 0.0, 1.3):
        kernel = np.exp(concentration * (np.cos(t - center) - 1))
        smoothed = (density * kernel).sum() / kernel.sum()
        psi = math.log((density * kernel).sum() * dt) + concentration
        eta = one.natural(torch.tensor([math.log(concentration), center], dtype=torch.float64))
        profile = one.profile(eta, torch.tensor(psi, dtype=torch.float64)).item()
        assert profile == pytest.approx(-math.log(smoothed), abs=1e-8)


# --- channels ---------------------------------------------------------------------------------------------------------


def test_two_torsions_have_four_channels() -> None:
    first, last = np.deg2rad([170.0, -60.0]), np.deg2rad([-150.0, 30.0])  # +40 over the seam, +90
    start, end = (Torsions.features_of_angles(angles) for angles in (first, last))
    channels = TWO.channels(start, end, 4.0)
    turns = {c.label: np.rad2deg((c.end - c.start)[1::2]).round(6).tolist() for c in channels}
    assert turns == {
        "phi+ psi+": [40.0, 90.0],
        "phi+ psi-": [40.0, -270.0],
        "phi- psi+": [-320.0, 90.0],
        "phi- psi-": [-320.0, -270.0],
    }
    for channel in channels:
        assert channel.start[0::2].tolist() == channel.end[0::2].tolist() == [4.0, 4.0]
        assert channel.start[1::2] == pytest.approx(first)
        for chart, features in ((channel.start, start), (channel.end, end)):
            eta = TWO.natural(torch.from_numpy(chart))
            assert eta.numpy() == pytest.approx(math.exp(4.0) * features)


def test_windings_differ_by_whole_turns() -> None:
    rng = np.random.default_rng(5)
    for _ in range(20):
        first, last = rng.uniform(-np.pi, np.pi, (2, 2))
        channels = TWO.channels(*(Torsions.features_of_angles(angles) for angles in (first, last)), 3.0)
        turns = np.array([(c.end - c.start)[1::2] for c in channels])
        assert len({c.label for c in channels}) == 4
        assert (np.abs(turns) <= 2 * np.pi).all()
        assert turns[0] == pytest.approx(wrap(last - first))  # the shortest way comes first
        for k in range(2):
            values = np.unique(turns[:, k].round(9))
            assert values[1] - values[0] == pytest.approx(2 * np.pi)
            assert values[0] < 0 < values[1]
        for channel, turn in zip(channels, turns, strict=True):
            signs = ["+" if t > 0 else "-" for t in turn]
            assert channel.label == f"phi{signs[0]} psi{signs[1]}"


def test_one_and_three_torsions() -> None:
    for n in (1, 3):
        torsions = Torsions(list("abc")[:n], [(0, 1, 2, 3)] * n)
        channels = torsions.channels(np.tile([1.0, 0.0], n), np.tile([0.0, 1.0], n), 2.0)
        assert len(channels) == len({c.label for c in channels}) == 2**n


# --- the restraint in OpenMM ------------------------------------------------------------------------------------------


def particles(n: int) -> MolecularDynamics:
    system = openmm.System()
    for _ in range(n):
        system.addParticle(12.0)
    return MolecularDynamics(openmm.XmlSerializer.serialize(system), 300.0, 0.001, 1.0)


def test_restraint_energy_and_force() -> None:
    rng = np.random.default_rng(6)
    restraint = TWO.restraint(KT)
    context = particles(6).context(1, [restraint.force])
    for eta in rng.normal(0, 5, (3, 4)):  # moved twice: the parameters must follow
        positions = rng.uniform(-0.3, 0.3, (6, 3))

        def energy(x: np.ndarray, eta: np.ndarray = eta) -> float:
            return -KT * float(TWO.statistics(TWO.features(x)) @ eta)

        context.setPositions(positions)
        restraint.move_to(eta, context)
        assert restraint_energy_of(context) == pytest.approx(energy(positions), abs=1e-9)
        force = context.getState(forces=True, groups={RESTRAINT_GROUP}).getForces(asNumpy=True)._value
        h, expected = 1e-6, np.zeros((6, 3))
        for index in np.ndindex(6, 3):
            step = np.zeros((6, 3))
            step[index] = h
            expected[index] = -(energy(positions + step) - energy(positions - step)) / (2 * h)
        assert np.abs(expected).max() > 10
        assert force == pytest.approx(expected, rel=1e-5, abs=1e-4)


def test_restraint_is_off_until_it_is_moved() -> None:
    restraint = TWO.restraint(KT)
    context = particles(6).context(1, [restraint.force])
    context.setPositions(np.random.default_rng(7).uniform(-0.3, 0.3, (6, 3)))
    assert restraint_energy_of(context) == 0.0
    restraint.move_to(np.array([1.0, 2.0, 3.0, 4.0]), context)
    assert restraint_energy_of(context) != 0.0


def test_spread_undoes_max_block_variance() -> None:
    for degrees in (1.0, 10.0, 60.0):
        variance = TWO.max_block_variance(math.radians(degrees))
        assert TWO.spread(np.array([variance, 0.0])) == pytest.approx(np.array([degrees, 0.0]))
