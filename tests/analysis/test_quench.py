"""Quenched energies of alanine dipeptide against unrestrained minimisation, and against a harder restraint."""

from __future__ import annotations

import numpy as np
import openmm
import pytest

from spacetime_tps.analysis.quench import Quench, quench, quenched_barrier, quenched_energies
from spacetime_tps.dynamics import MolecularDynamics, advance, energies_of, positions_of, thermalise
from spacetime_tps.representations import dihedral_angles, wrap
from spacetime_tps.systems import System, find_system_file, load_config, load_system
from spacetime_tps.units import GAS_CONSTANT


@pytest.fixture(scope="module")
def alanine() -> System:
    file = find_system_file("alanine_dipeptide")
    return load_system(load_config(file), file.parent)


@pytest.fixture(scope="module")
def dynamics(alanine: System) -> MolecularDynamics:
    assert alanine.molecule is not None
    return alanine.molecule.dynamics


@pytest.fixture(scope="module")
def quadruples(alanine: System) -> np.ndarray:
    assert alanine.variables.quadruples is not None
    return alanine.variables.quadruples


@pytest.fixture(scope="module")
def hot_frames(alanine: System, dynamics: MolecularDynamics) -> np.ndarray:
    """Configurations at 700 K, in float32 as they are stored."""
    hot = MolecularDynamics(dynamics.system_xml, 700.0, 0.001, 5.0)
    context, frames = hot.context(seed=3), []
    context.setPositions(alanine.structures[0])
    thermalise(context, 700.0, 3)
    for _ in range(30):
        advance(context, 200)
        frames.append(positions_of(context).astype(np.float32))
    return np.array(frames)


@pytest.fixture(scope="module")
def quenched(dynamics: MolecularDynamics, quadruples: np.ndarray, hot_frames: np.ndarray) -> Quench:
    return quench(dynamics, quadruples, hot_frames)


def potential(dynamics: MolecularDynamics, frame: np.ndarray) -> float:
    context = dynamics.context(seed=1)
    context.setPositions(frame)
    return energies_of(context)[0]


def test_minima_agree_with_free_minimisation(
    alanine: System, dynamics: MolecularDynamics, quadruples: np.ndarray
) -> None:
    """C5 -87.0 and C7ax -85.0 kJ/mol (ff14SB in vacuum); the structures lie within 0.3 degrees of their minima."""
    free = []
    for structure in alanine.structures:
        context = dynamics.context(seed=1)
        context.setPositions(structure)
        openmm.LocalEnergyMinimizer.minimize(context, 0.1)
        free.append(energies_of(context)[0])
    found = quenched_energies(dynamics, quadruples, alanine.structures)
    assert free == pytest.approx([-87.0, -85.0], abs=0.1)
    assert found == pytest.approx(free, abs=0.02)


def test_a_shaken_minimum_is_found_again(alanine: System, dynamics: MolecularDynamics, quadruples: np.ndarray) -> None:
    """Hydrogens off by 0.02 nm cost some 100 kJ/mol; the torsions, all of heavy atoms, are as they were."""
    assert alanine.molecule is not None
    light = [a.index for a in alanine.molecule.topology.atoms() if a.element.symbol == "H"]
    shaken = np.repeat(alanine.structures[1][None], 3, axis=0)
    shaken[:, light] += np.random.default_rng(0).normal(0, 0.02, (3, len(light), 3))
    assert min(potential(dynamics, frame) for frame in shaken) > -30
    assert quenched_energies(dynamics, quadruples, shaken) == pytest.approx(-84.94, abs=0.02)


def test_torsions_stay_and_vibrations_go(
    dynamics: MolecularDynamics, quadruples: np.ndarray, hot_frames: np.ndarray, quenched: Quench
) -> None:
    moved = wrap(dihedral_angles(quenched.frames, quadruples) - dihedral_angles(hot_frames.astype(float), quadruples))
    assert np.abs(np.rad2deg(moved)).max() < 0.5
    before = np.array([potential(dynamics, frame) for frame in hot_frames])
    after = np.array([potential(dynamics, frame) for frame in quenched.frames])
    assert quenched.energies == pytest.approx(after)
    vibrations = dynamics.degrees_of_freedom() - 6 - len(quadruples)  # kT/2 each, were they harmonic
    assert np.mean(before - after) == pytest.approx(0.5 * vibrations * GAS_CONSTANT * 700, rel=0.2)
    assert quenched.energies.min() > -91.4  # C7eq, the global minimum


def test_the_restraint_is_stiff_enough_and_the_minimisation_converged(
    dynamics: MolecularDynamics, quadruples: np.ndarray, hot_frames: np.ndarray, quenched: Quench
) -> None:
    """Thirty times the stiffness and a tenth of the tolerance change little (in the same basin)."""
    better = quench(dynamics, quadruples, hot_frames[:10], stiffness=1e6, tolerance=0.1, max_iterations=0)
    assert np.median(np.abs(better.energies - quenched.energies[:10])) < 0.03
    assert np.all(better.iterations > quenched.iterations[:10])


def test_iterations_are_counted_and_limited(
    dynamics: MolecularDynamics, quadruples: np.ndarray, hot_frames: np.ndarray, quenched: Quench
) -> None:
    assert np.all((quenched.iterations > 50) & (quenched.iterations < 5000))
    short = quench(dynamics, quadruples, hot_frames[:5], max_iterations=10)
    assert np.all((short.iterations >= 10) & (short.iterations < quenched.iterations[:5]))
    assert np.all(short.energies > quenched.energies[:5])
    assert len(quenched_energies(dynamics, quadruples, hot_frames[:0])) == 0


def test_barrier_above_both_ends() -> None:
    assert quenched_barrier(np.array([-87.0, -60.0, -47.5, -85.0])) == {"from_a": 39.5, "from_b": 37.5}
    assert quenched_barrier(np.array([-80.0, -85.0])) == {"from_a": 0.0, "from_b": 5.0}
