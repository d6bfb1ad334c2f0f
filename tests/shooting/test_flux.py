"""Shots of a molecule tell the flux of unbiased dynamics, by exact free energies of their windows."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import logsumexp

from spacetime_tps.baselines.unbiased import unbiased_transitions
from spacetime_tps.collective_variables import CollectiveVariables
from spacetime_tps.dynamics import MolecularDynamics
from spacetime_tps.parallel import WorkerPool
from spacetime_tps.representations import Torsions
from spacetime_tps.representations.ridge import RidgeWindows
from spacetime_tps.shooting.chains import EngineRecipe
from spacetime_tps.shooting.shots import RidgeSpace, ShotPlan, shots_from
from spacetime_tps.states import Box
from spacetime_tps.units import GAS_CONSTANT
from tests.boltzmann.dihedral import STRUCTURES, dihedral
from tests.oracles import four_atoms

BARRIER_KT, DT, EVERY, WIDTH = 3.0, 0.004, 5, math.radians(40.0)


def energy_kt(theta: np.ndarray) -> np.ndarray:
    return 0.5 * BARRIER_KT * (1.0 + np.cos(2.0 * theta)) + 0.35 * np.sin(theta)


def around(middle: float) -> Box:
    return Box((0,), (middle - WIDTH,), (2.0 * WIDTH,), 2.0 * math.pi)


@pytest.mark.parametrize("friction", [1.0, 10.0])
def test_flux_by_shots_is_that_of_unbiased_dynamics(friction: float) -> None:
    """Over both barriers of a dihedral of known distribution, by Langevin dynamics of weak and of strong friction."""
    energy = f"{GAS_CONSTANT * 300.0}*({0.5 * BARRIER_KT}*(1+cos(2*theta))+0.35*sin(theta))"
    dynamics = MolecularDynamics(dihedral(energy).system_xml, 300.0, DT, friction).on("Reference")
    torsions = Torsions(["theta"], [(0, 1, 2, 3)])
    variables = CollectiveVariables(["theta"], np.array([[0, 1, 2, 3]]))
    states = (around(0.5 * math.pi), around(-0.5 * math.pi))
    recipe, pool = EngineRecipe(variables, states, EVERY, dynamics=dynamics), WorkerPool(1)
    found, spent, _ = unbiased_transitions(recipe, STRUCTURES, 4, 60_000, 3, pool)
    expected = 0.5 * len(found.forward) / (spent.sum() * EVERY * DT)

    space = RidgeSpace((0,), torsions)
    windows = RidgeWindows(
        np.tile([0.0, 1.0], (3, 1)), np.array([-0.25, 0.0, 0.25]), np.full(3, 20.0), np.zeros((3, 2)), np.zeros(3)
    )
    grid = np.linspace(-math.pi, math.pi, 20_000, endpoint=False)
    density = np.exp(-energy_kt(grid))
    free = -np.log(np.exp(windows.log_weights(space.features(grid[:, None]))).T @ (density / density.sum()))
    starts = np.tile([four_atoms(0.0), four_atoms(math.pi)], (3, 2, 1, 1))  # walkers stay on their side of the circle
    plan = ShotPlan(equilibration_frames=200, spacing_frames=30, shots=120, max_frames=20_000)
    estimates = []
    for seed in range(4):
        shots = shots_from(recipe, space, windows, starts, plan, seed, "flux", pool)
        offset = free + np.log(np.bincount(shots.window) / len(shots))
        frames = [offset + windows.log_weights(space.features(path.variables[1:-1])) for path in shots.paths]
        log_sum = logsumexp([-logsumexp(each) for each in frames])
        estimates.append(math.exp(log_sum) / (2.0 * EVERY * DT * len(shots)))
    error = math.hypot(np.std(estimates, ddof=1) / 2.0, expected / math.sqrt(len(found.forward)))
    assert error < 0.06 * expected
    assert abs(np.mean(estimates) - expected) < 3.0 * error
