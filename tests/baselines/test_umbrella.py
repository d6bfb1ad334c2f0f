"""Shots from a window on the barrier against brute force and against chains of shooting moves."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp

from spacetime_tps.baselines.umbrella import Window, WindowPaths, restrained, window_paths
from spacetime_tps.baselines.unbiased import unbiased_transitions
from spacetime_tps.collective_variables import CollectiveVariables
from spacetime_tps.parallel import WorkerPool
from spacetime_tps.potentials import DoubleWell
from spacetime_tps.shooting import GaussianSelector
from spacetime_tps.shooting.chains import EngineRecipe
from spacetime_tps.states import Box, State
from spacetime_tps.systems import find_system_file, load_config, load_system

EDGE, DT = 0.7, 2.5e-3
A = State("a", (Box((0,), (-9.0,), (9.0 - EDGE,), None),))
B = State("b", (Box((0,), (EDGE,), (9.0 - EDGE,), None),))
WELL = EngineRecipe(
    CollectiveVariables(["x", "y"], None), (A, B), 1, potential=DoubleWell(barrier=3.0, stiffness=10.0), time_step=DT
)


def window(center: float, width: float) -> Window:
    return Window(GaussianSelector(0, center, width, None), 400, 40, 60, 5000)


def shot(center: float, width: float, walkers: int = 100) -> WindowPaths:
    starts = np.tile([center, 0.0], (walkers, 1))
    return window_paths(WELL, window(center, width), starts, 20261125, "umbrella", WorkerPool(1))


@pytest.fixture(scope="module")
def brute_force() -> np.ndarray:
    """Lengths of transitions of unbiased walkers."""
    found, _ = unbiased_transitions(WELL, np.array([[-1.0, 0.0], [1.0, 0.0]]), 2000, 8000, 7, WorkerPool(1))
    return np.array([len(v) for v in found.variables])


@pytest.mark.parametrize(("center", "width"), [(0.0, 0.15), (0.25, 0.3)])
def test_weighted_paths_agree_with_brute_force(center: float, width: float, brute_force: np.ndarray) -> None:
    found = shot(center, width)
    lengths = np.array([len(path) for path in found.paths])
    assert found.effective > 500
    assert len(brute_force) > 2000
    chosen = lengths[found.resampled(int(found.effective), np.random.default_rng(0))]
    assert ks_2samp(chosen, brute_force).pvalue > 0.01
    mean = np.average(lengths, weights=found.weights)
    error = np.hypot(lengths.std() / np.sqrt(found.effective), brute_force.std() / np.sqrt(len(brute_force)))
    assert abs(mean - brute_force.mean()) < 3 * error
    for path in found.paths[:200]:
        assert A.contains(path.variables).tolist() == [True] + [False] * (len(path) - 1)
        assert B.contains(path.variables).tolist() == [False] * (len(path) - 1) + [True]


@pytest.mark.parametrize(("center", "width"), [(0.0, 0.15), (0.25, 0.3)])
def test_flux_is_that_of_brute_force(center: float, width: float, brute_force: np.ndarray) -> None:
    flux, its_error = shot(center, width).flux_over_window(DT)
    x, y = np.meshgrid(np.linspace(-3, 3, 601), np.linspace(-2, 2, 401), indexing="ij")
    points = np.stack([x, y], axis=-1).reshape(-1, 2)
    assert WELL.potential is not None
    boltzmann = np.exp(-WELL.potential.energy(torch.from_numpy(points)).numpy() / WELL.kt)
    weight = (boltzmann * window(center, width).selector.weights(points)).sum() / boltzmann.sum()
    count, time = len(brute_force), 2000 * 8000 * DT
    expected, error = count / (2 * time), np.sqrt(count) / (2 * time)
    assert weight * its_error < 0.08 * expected
    assert abs(weight * flux - expected) < 3 * np.hypot(weight * its_error, error) + 0.03 * expected  # Euler-Maruyama


def test_without_the_weights_long_paths_are_found_too_often(brute_force: np.ndarray) -> None:
    lengths = np.array([len(path) for path in shot(0.0, 0.15).paths])
    assert ks_2samp(lengths, brute_force).pvalue < 0.01
    assert lengths.mean() > brute_force.mean()


def test_resampling_keeps_the_weights() -> None:
    weights = np.array([1.0, 3.0, 0.0, 4.0])
    found = WindowPaths([], weights, np.zeros(4, dtype=int), 10, 10, 0)
    counts = np.bincount(found.resampled(800, np.random.default_rng(1)), minlength=4)
    assert counts.tolist() == [100, 300, 0, 400]
    assert found.effective == pytest.approx(64 / 26)


def test_the_restraint_is_minus_kt_log_w() -> None:
    selector = GaussianSelector(1, 0.4, 0.2, None)
    recipe = restrained(WELL, selector)
    assert recipe.potential is not None
    assert WELL.potential is not None
    x = torch.tensor([[0.1, 0.3], [-0.5, 0.9]], dtype=torch.float64, requires_grad=True)
    extra = recipe.potential.energy(x) - WELL.potential.energy(x)
    assert extra.detach().numpy() == pytest.approx(-np.log(selector.weights(x.detach().numpy())), abs=1e-6)
    (slope,) = torch.autograd.grad(recipe.potential.energy(x).sum(), x)
    assert recipe.potential.gradient(x).detach().numpy() == pytest.approx(slope.numpy())


@pytest.mark.parametrize("center", [-150.0, 0.0, 500.0])
def test_the_restraint_of_a_molecule_is_minus_kt_log_w(center: float) -> None:
    file = find_system_file("alanine_dipeptide")
    system = load_system(load_config(file), file.parent)
    assert system.molecule is not None
    plain = EngineRecipe.of(system, system.molecule.dynamics, 5)
    selector = GaussianSelector(0, np.deg2rad(center), np.deg2rad(40.0), 2 * np.pi)
    for structure in system.structures:
        energies = []
        for recipe in (plain, restrained(plain, selector)):
            assert recipe.dynamics is not None
            context = recipe.dynamics.context(1)
            context.setPositions(structure)
            energies.append(context.getState(energy=True).getPotentialEnergy()._value)
        weight = selector.weights(system.variables(structure[None]))[0]
        expected = -system.molecule.dynamics.kt * np.log(weight - 1e-12)
        assert energies[1] - energies[0] == pytest.approx(expected, abs=1e-3)
