"""Copies of a molecule in one System: each as if it were alone."""

from __future__ import annotations

import numpy as np
import openmm
import pytest
from openmm import unit

from spacetime_tps.copies import can_be_replicated, replicated
from spacetime_tps.errors import UserError
from spacetime_tps.systems import find_system_file, load_config, load_system

COPIES = 64


def system_of(name: str) -> tuple[openmm.System, np.ndarray]:
    file = find_system_file(name)
    loaded = load_system(load_config(file), file.parent)
    assert loaded.molecule is not None
    return openmm.XmlSerializer.deserialize(loaded.molecule.dynamics.system_xml), loaded.structures


def evaluated(system: openmm.System, positions: np.ndarray) -> tuple[float, np.ndarray]:
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
    context.setPositions(positions)
    state = context.getState(energy=True, forces=True)
    forces = state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.nanometer)
    return state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole), forces


@pytest.mark.parametrize("name", ["alanine_dipeptide", "alanine_tetrapeptide", "proline_dipeptide"])
def test_copies_are_as_if_alone(name: str) -> None:
    """64 copies against 64 single evaluations: energies to 1e-9 and forces to 1e-6, relative; 1e-4 is asked for."""
    single, structures = system_of(name)
    rng = np.random.default_rng(1)
    frames = structures[rng.integers(2, size=COPIES)] + 0.005 * rng.normal(size=(COPIES, *structures.shape[1:]))
    each = [evaluated(single, frame) for frame in frames]
    energy, forces = evaluated(replicated(single, COPIES), frames.reshape(-1, 3))
    assert energy == pytest.approx(sum(e for e, _ in each), rel=1e-9)
    expected = np.concatenate([f for _, f in each])
    assert np.abs(forces - expected).max() < 1e-6 * np.abs(expected).max()


def test_copies_move_as_if_alone() -> None:
    """Without noise: the same trajectory as one molecule's, constraints and all."""
    single, structures = system_of("alanine_dipeptide")

    def moved(system: openmm.System, positions: np.ndarray) -> np.ndarray:
        integrator = openmm.VerletIntegrator(0.001)
        context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName("Reference"))
        context.setPositions(positions)
        context.applyConstraints(1e-8)
        integrator.step(50)
        return context.getState(positions=True).getPositions(asNumpy=True).value_in_unit(unit.nanometer)

    together = moved(replicated(single, 2), structures.reshape(-1, 3)).reshape(structures.shape)
    alone = np.array([moved(single, structure) for structure in structures])
    assert together == pytest.approx(alone, abs=1e-6)


def test_what_copies_would_share_is_refused() -> None:
    single, _ = system_of("alanine_dipeptide")
    assert can_be_replicated(single)
    nonbonded = next(force for force in single.getForces() if isinstance(force, openmm.NonbondedForce))
    nonbonded.setNonbondedMethod(openmm.NonbondedForce.CutoffNonPeriodic)
    with pytest.raises(UserError, match="with a cutoff"):
        replicated(single, 2)
    nonbonded.setNonbondedMethod(openmm.NonbondedForce.NoCutoff)
    solvent = openmm.GBSAOBCForce()
    for _ in range(single.getNumParticles()):
        solvent.addParticle(0.0, 0.15, 0.8)
    single.addForce(solvent)
    with pytest.raises(UserError, match="see each other"):
        replicated(single, 2)
    assert not can_be_replicated(single)
