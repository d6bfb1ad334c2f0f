"""Metropolis-adjusted Langevin samples of the double well against one-dimensional quadrature.

Walkers are independent, so standard errors come from the scatter between them; four of them is the tolerance.
The time step is coarse on purpose: without the Metropolis test <y^2> would be 11 % too large, more than 10 errors.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from spacetime_tps.boltzmann.langevin import mala_step, sample_langevin
from spacetime_tps.boltzmann.samples import WeightedSamples
from spacetime_tps.config import LangevinConfig
from spacetime_tps.potentials import DoubleWell
from spacetime_tps.states import Ball, State
from tests.oracles import boltzmann_average, ratio_with_error

WALKERS = 500
STARTS = np.array([[-1.0, 0.0], [1.0, 0.0]])
WELL = DoubleWell(barrier=5.0, stiffness=10.0)
STATES = tuple(State(n, (Ball((0, 1), (x, 0.0), 0.3, None),)) for n, x in (("a", -1.0), ("b", 1.0)))


def config(factor: float = 1.0) -> LangevinConfig:
    return LangevinConfig(
        kind="langevin", walkers=WALKERS, temperature_factor=factor, time_step=0.02,
        burn_in_steps=200, steps=600, sample_every=10,
    )  # fmt: skip


def sampled(factor: float, seed: int = 3) -> tuple[WeightedSamples, dict[str, float]]:
    samples, _, summary = sample_langevin(WELL, 1.0, STARTS, STATES, config(factor), seed)
    return samples, summary


def quadrature(column: int, kt: float) -> float:
    if column == 1:
        return kt / WELL.stiffness
    return boltzmann_average(np.square, lambda x: WELL.barrier * (x**2 - 1) ** 2, kt, 4.0)


def deviation(samples: WeightedSamples, column: int, expected: float, weighted: bool = True) -> tuple[float, float]:
    """Estimate of <x^2> or <y^2> minus the expected one in standard errors, and the relative standard error."""
    weights = np.exp(samples.log_weights - samples.log_weights.max()) if weighted else np.ones(len(samples.features))
    terms = (weights * samples.features[:, column] ** 2).reshape(-1, WALKERS).sum(axis=0)
    mean, error = ratio_with_error(terms, weights.reshape(-1, WALKERS).sum(axis=0))
    return (mean - expected) / error, error / expected


@pytest.fixture(scope="module")
def plain() -> tuple[WeightedSamples, dict[str, float]]:
    return sampled(1.0)


@pytest.fixture(scope="module")
def hot() -> tuple[WeightedSamples, dict[str, float]]:
    return sampled(2.0)


@pytest.mark.parametrize("column", [0, 1])
def test_second_moments(plain: tuple[WeightedSamples, dict], column: int) -> None:
    sigmas, relative_error = deviation(plain[0], column, quadrature(column, 1.0))
    assert abs(sigmas) < 4
    assert relative_error < 0.012


@pytest.mark.parametrize("column", [0, 1])
def test_reweighting_from_twice_the_temperature(hot: tuple[WeightedSamples, dict], column: int) -> None:
    sigmas, relative_error = deviation(hot[0], column, quadrature(column, 1.0))
    assert abs(sigmas) < 4
    assert relative_error < 0.02
    # What was simulated is the hot ensemble, clearly another one.
    assert abs(deviation(hot[0], column, quadrature(column, 2.0), weighted=False)[0]) < 4
    assert abs(deviation(hot[0], column, quadrature(column, 1.0), weighted=False)[0]) > 8


def test_weights_counts_and_shapes(plain: tuple[WeightedSamples, dict], hot: tuple[WeightedSamples, dict]) -> None:
    assert plain[0].log_weights == pytest.approx(np.zeros(60 * WALKERS))
    assert plain[1]["effective_samples"] == pytest.approx(60 * WALKERS)
    energy = WELL.energy(torch.from_numpy(hot[0].features)).numpy()
    assert hot[0].log_weights == pytest.approx(-energy / 2.0)  # 1/2kT - 1/kT
    assert hot[1]["effective_samples"] == pytest.approx(hot[0].effective_size())
    for samples, summary in (plain, hot):
        assert samples.features.shape == samples.frames.shape == (60 * WALKERS, 2)
        assert samples.force_evaluations == 801 * WALKERS
        assert 0.5 < summary["acceptance"] < 0.99
        both_wells = (samples.features[:WALKERS, 0] < 0).mean()
        assert 0.4 < both_wells < 0.6  # the starts are dealt out in turn


def test_the_seed_alone_decides(plain: tuple[WeightedSamples, dict]) -> None:
    assert np.array_equal(sampled(1.0)[0].features, plain[0].features)
    assert not np.array_equal(sampled(1.0, seed=4)[0].features, plain[0].features)


def test_rejected_walkers_stay_and_accepted_ones_carry_their_energy() -> None:
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(400, 2, generator=rng, dtype=torch.float64)
    energy, gradient = WELL.energy(x), WELL.gradient(x)
    new_x, new_energy, new_gradient, moved = mala_step(x, energy, gradient, WELL, 1.0, 0.03, rng)
    assert 20 < moved.sum() < 380
    assert torch.equal(new_x[~moved], x[~moved])
    assert (new_x[moved] != x[moved]).all()
    assert torch.allclose(new_energy, WELL.energy(new_x))
    assert torch.allclose(new_gradient, WELL.gradient(new_x))
