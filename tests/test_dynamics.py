from __future__ import annotations

import numpy as np
import openmm
import pytest

from spacetime_tps import dynamics as module
from spacetime_tps.dynamics import (
    MolecularDynamics,
    available_platforms,
    choose_platform,
    energies_of,
    positions_of,
    restraint_energy_of,
    thermalise,
    time_platforms,
)
from spacetime_tps.errors import UserError
from spacetime_tps.systems import System, find_system_file, load_config, load_system
from spacetime_tps.units import GAS_CONSTANT
from tests.oracles import is_one_sentence


@pytest.fixture(scope="module")
def alanine() -> System:
    file = find_system_file("alanine_dipeptide")
    return load_system(load_config(file), file.parent)


@pytest.fixture(scope="module")
def molecule(alanine: System) -> MolecularDynamics:
    assert alanine.molecule is not None
    return alanine.molecule.dynamics


def test_degrees_of_freedom(molecule: MolecularDynamics) -> None:
    """22 atoms, 12 bonds to hydrogen constrained, centre of mass free to move."""
    system = openmm.XmlSerializer.deserialize(molecule.system_xml)
    assert (system.getNumParticles(), system.getNumConstraints()) == (22, 12)
    assert not any(isinstance(force, openmm.CMMotionRemover) for force in system.getForces())
    assert molecule.degrees_of_freedom() == 3 * 22 - 12 == 54


def test_massless_particles_do_not_count() -> None:
    system = openmm.System()
    for mass in (1.0, 0.0, 2.0):
        system.addParticle(mass)
    assert MolecularDynamics(openmm.XmlSerializer.serialize(system), 300.0, 0.001, 1.0).degrees_of_freedom() == 6


def test_steps_and_kt(molecule: MolecularDynamics) -> None:
    assert molecule.kt == pytest.approx(2.4943, abs=1e-4)
    assert [molecule.steps(t) for t in (1.0, 0.4, 0.0071, 1e-5, 0.0)] == [500, 200, 4, 1, 0]
    assert molecule.on("CPU").platform == "CPU"
    assert molecule.on("CPU").on(molecule.platform) == molecule


# --- contexts -----------------------------------------------------------------------------------------------------


def test_kinetic_temperature_of_many_draws(alanine: System, molecule: MolecularDynamics) -> None:
    """2K/(f R) has mean T and standard deviation T sqrt(2/f); without constraints obeyed it would be 22 % higher."""
    context = molecule.context(seed=1)
    context.setPositions(alanine.structures[0])
    draws, f = 300, 54
    temperatures = []
    for seed in range(1, draws + 1):
        thermalise(context, 300.0, seed)
        temperatures.append(2 * energies_of(context)[1] / (f * GAS_CONSTANT))
    scatter = 300.0 * np.sqrt(2 / f)
    assert abs(np.mean(temperatures) - 300.0) < 4 * scatter / np.sqrt(draws)
    assert abs(np.std(temperatures) - scatter) < 4 * scatter / np.sqrt(2 * draws)


def test_thermalise_obeys_constraints_and_the_seed(alanine: System, molecule: MolecularDynamics) -> None:
    context = molecule.context(seed=1)
    context.setPositions(alanine.structures[0] + np.random.default_rng(0).normal(0, 0.003, (22, 3)))

    def velocities(seed: int) -> np.ndarray:
        thermalise(context, 300.0, seed)
        return context.getState(velocities=True).getVelocities(asNumpy=True)._value

    v = velocities(5)
    x = positions_of(context)
    system = openmm.XmlSerializer.deserialize(molecule.system_xml)
    for k in range(system.getNumConstraints()):
        i, j, length = system.getConstraintParameters(k)
        assert np.linalg.norm(x[i] - x[j]) == pytest.approx(length._value, rel=1e-6)
        assert abs((v[i] - v[j]) @ (x[i] - x[j])) / length._value < 1e-3  # [nm/ps], of speeds near 1.5
    other = velocities(6)
    assert np.array_equal(velocities(5), v)
    assert not np.array_equal(other, v)


def test_energies_leave_the_restraint_out(alanine: System, molecule: MolecularDynamics) -> None:
    bare = molecule.context(seed=1)
    bare.setPositions(alanine.structures[0])
    spring = openmm.CustomExternalForce("7*x^2")
    spring.addParticle(3, [])
    held = molecule.context(seed=1, forces=[spring])
    held.setPositions(alanine.structures[0])
    assert energies_of(held)[0] == pytest.approx(energies_of(bare)[0], abs=1e-9)
    assert restraint_energy_of(held) == pytest.approx(7 * alanine.structures[0, 3, 0] ** 2, abs=1e-9)
    assert restraint_energy_of(held) > 1e-3
    total = held.getState(energy=True).getPotentialEnergy()._value
    assert total == pytest.approx(energies_of(held)[0] + restraint_energy_of(held), abs=1e-9)


def test_shipped_structures_are_minima_with_the_known_energies(alanine: System, molecule: MolecularDynamics) -> None:
    """C5 -87.0 and C7ax -85.0 kJ/mol with ff14SB in vacuum (DESIGN, section 3); PDB coordinates are rounded."""
    context = molecule.context(seed=1)
    for positions, known in zip(alanine.structures, (-87.0, -85.0), strict=True):
        context.setPositions(positions)
        openmm.LocalEnergyMinimizer.minimize(context, 0.1)
        assert energies_of(context)[0] == pytest.approx(known, abs=0.1)


def test_same_seed_same_trajectory(alanine: System, molecule: MolecularDynamics) -> None:
    def walk(seed: int) -> np.ndarray:
        context = molecule.context(seed)
        context.setPositions(alanine.structures[0])
        thermalise(context, 300.0, seed)
        context.getIntegrator().step(200)
        return positions_of(context)

    assert np.array_equal(walk(3), walk(3))
    assert not np.allclose(walk(3), walk(4), atol=1e-3)


# --- platforms -------------------------------------------------------------------------------------------------------


def test_unknown_platform_is_refused_with_those_present(alanine: System, molecule: MolecularDynamics) -> None:
    with pytest.raises(UserError) as caught:
        choose_platform("Abacus", molecule, alanine.structures[0])
    message = str(caught.value)
    assert is_one_sentence(message)
    assert "'Abacus'" in message
    assert "Reference" in message
    assert all(name in message for name in available_platforms())


def test_named_platform_in_any_case(alanine: System, molecule: MolecularDynamics) -> None:
    assert choose_platform("reference", molecule, alanine.structures[0]) == ("Reference", {})


def test_auto_takes_the_fastest(alanine: System, molecule: MolecularDynamics, monkeypatch: pytest.MonkeyPatch) -> None:
    for speeds in ({"Reference": 9e4, "CPU": 3e3}, {"Reference": 300.0, "CPU": 4000.0, "CUDA": 3999.0}):
        monkeypatch.setattr(module, "time_platforms", lambda *_, s=speeds: s)
        fastest = max(speeds.values())
        name, measured = choose_platform("auto", molecule, alanine.structures[0])
        assert measured == speeds
        assert measured[name] == fastest
    monkeypatch.setattr(module, "time_platforms", lambda *_: {})
    with pytest.raises(UserError, match="No OpenMM platform runs this system"):
        choose_platform("auto", molecule, alanine.structures[0])


def test_platforms_are_really_timed(
    alanine: System, molecule: MolecularDynamics, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps per second as counted by a clock of our own: one tick a reading, 50 steps between two readings."""
    ticks = iter(range(1000))
    monkeypatch.setattr(module, "available_platforms", lambda: ["Reference", "No such platform"])
    monkeypatch.setattr(module.time, "perf_counter", lambda: float(next(ticks)))
    speeds = time_platforms(molecule, alanine.structures[0], seconds=3.5)
    # Started at 0; readings 1, 2, 3 go on, reading 4 stops: 3 x 50 steps in 4 s.
    assert speeds == {"Reference": 37.5}


def test_every_measured_platform_is_there(alanine: System, molecule: MolecularDynamics) -> None:
    speeds = time_platforms(molecule, alanine.structures[0], seconds=0.02)
    assert "Reference" in speeds
    assert set(speeds) <= set(available_platforms())
    assert all(speed > 0 for speed in speeds.values())
