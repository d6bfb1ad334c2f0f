"""Ridge windows: the force is minus kT times the log-weight, for several copies and in every direction."""

from __future__ import annotations

import numpy as np
import openmm
import pytest

from spacetime_tps.representations import Torsions
from spacetime_tps.representations.ridge import RidgeWindows, TorsionRidge

KT = 2.5
TORSIONS = Torsions(["a", "b"], [(0, 1, 2, 3), (2, 1, 0, 4)])
RNG = np.random.default_rng(3)
WINDOWS = RidgeWindows(
    direction=RNG.normal(size=(3, 4)),
    center=np.array([0.2, -0.1, 0.4]),
    stiffness=np.array([8.0, 3.0, 20.0]),
    tilt=RNG.normal(size=(3, 4)),
    curb=np.array([0.0, 7.0, 2.0]),
)
ATOMS = 5


@pytest.mark.parametrize("number", [0, 1, 2])
def test_the_force_is_that_of_the_log_weight(number: int) -> None:
    window = WINDOWS[number : number + 1]
    system = openmm.System()
    for _ in range(ATOMS):
        system.addParticle(12.0)
    system.addForce(TorsionRidge(TORSIONS.quadruples, window, KT).force)
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
    positions = np.random.default_rng(number).normal(0, 0.2, (ATOMS, 3))
    context.setPositions(positions)
    state = context.getState(energy=True, forces=True)

    def expected(at: np.ndarray) -> float:
        return float(-KT * window.log_weights(TORSIONS.features(at[None]))[0, 0])

    constant = KT * float(window.curb[0])  # |x|^2 is 2 for two torsions
    assert state.getPotentialEnergy()._value == pytest.approx(expected(positions) - constant, rel=1e-6)
    forces = state.getForces(asNumpy=True)._value
    for atom in range(ATOMS):
        for axis in range(3):
            step = np.zeros_like(positions)
            step[atom, axis] = 1e-6
            slope = (expected(positions + step) - expected(positions - step)) / 2e-6
            assert forces[atom, axis] == pytest.approx(-slope, rel=1e-4, abs=1e-4)


def test_windows_are_joined_and_picked() -> None:
    both = WINDOWS[:1].joined(WINDOWS[1:])
    features = RNG.normal(size=(7, 4))
    assert both.log_weights(features) == pytest.approx(WINDOWS.log_weights(features))
    away = features @ WINDOWS.direction[1] - WINDOWS.center[1]
    by_hand = features @ WINDOWS.tilt[1] - 0.5 * WINDOWS.stiffness[1] * away**2 - 3.5 * (features**2).sum(axis=1)
    assert WINDOWS.log_weights(features)[:, 1] == pytest.approx(by_hand)
    assert len(both) == 3
