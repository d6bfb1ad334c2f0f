"""Paths handed to MDTraj and MDAnalysis and back: coordinates, times, velocities, boxes; and what is cut off."""

from __future__ import annotations

from pathlib import Path

import MDAnalysis
import mdtraj
import numpy as np
import pytest
from openmm import app

from spacetime_tps.dynamics import MolecularDynamics
from spacetime_tps.errors import UserError
from spacetime_tps.export.transition_path import TransitionPath
from spacetime_tps.systems import find_system_file, load_config, load_system

FRAMES, ATOMS, INTERVAL = 7, 22, 0.25
BOX = np.array([[3.0, 0.0, 0.0], [0.5, 3.5, 0.0], [-0.4, 0.3, 4.0]])


@pytest.fixture(scope="module")
def topology() -> app.Topology:
    file = find_system_file("alanine_dipeptide")
    system = load_system(load_config(file), file.parent)
    assert system.molecule is not None
    return system.molecule.topology


def path(topology: app.Topology, box: np.ndarray | None = None, velocities: bool = True) -> TransitionPath:
    rng = np.random.default_rng(0)
    in_states = np.zeros((FRAMES, 2), dtype=bool)
    in_states[[0, 1], 0] = in_states[[5, 6], 1] = True
    shape = (FRAMES, ATOMS, 3)
    positions, moving = rng.normal(0, 0.4, shape), rng.normal(size=shape) if velocities else None
    return TransitionPath(topology, positions, INTERVAL, in_states, "made up", moving, box)


def test_mdtraj_and_mdanalysis_get_the_same_frames_and_times(topology: app.Topology) -> None:
    given = path(topology, BOX)
    one, other = given.to_mdtraj(), given.to_universe()
    assert one.xyz == pytest.approx(given.positions_nm, abs=1e-6)
    assert one.time.tolist() == (INTERVAL * np.arange(FRAMES)).tolist()
    assert one.unitcell_vectors[3] == pytest.approx(BOX, abs=1e-6)
    assert [atom.name for atom in one.topology.atoms] == other.atoms.names.tolist()
    bonds = {frozenset((a.index, b.index)) for a, b in one.topology.bonds}
    assert bonds == {frozenset(pair) for pair in other.bonds.indices.tolist()}
    assert other.atoms.resnames[0] == "ACE"
    assert other.atoms.masses.sum() == pytest.approx(sum(atom.element.mass for atom in one.topology.atoms), abs=1e-2)
    for k, step in enumerate(other.trajectory):
        assert step.positions == pytest.approx(10 * given.positions_nm[k], abs=1e-5)
        assert step.velocities == pytest.approx(10 * given.velocities_nm_ps[k], abs=1e-5)
        assert step.time == pytest.approx(INTERVAL * k)
        assert step.triclinic_dimensions == pytest.approx(10 * BOX, abs=1e-4)


@pytest.mark.parametrize("ending", ["dcd", "xtc", "trr", "h5"])
@pytest.mark.parametrize("box", [None, BOX], ids=["vacuum", "box"])
def test_files_hold_the_frames_and_the_times(
    topology: app.Topology, ending: str, box: np.ndarray | None, tmp_path: Path
) -> None:
    given, file, structure = path(topology, box), tmp_path / f"path.{ending}", tmp_path / "topology.pdb"
    given.save(file)
    given.to_mdtraj()[0].save_pdb(str(structure))
    precision = 6e-4 if ending == "xtc" else 1e-6  # XTC keeps hundredths of an Angstrom
    read = mdtraj.load(str(file), top=str(structure)) if ending != "h5" else mdtraj.load(str(file))
    assert read.xyz == pytest.approx(given.positions_nm, abs=precision)
    if ending != "dcd":  # MDTraj numbers the frames of a DCD
        assert read.time == pytest.approx(given.times_ps)
    if box is not None:
        assert read.unitcell_vectors[0] == pytest.approx(box, abs=1e-4)
    if ending == "h5":
        return
    universe = MDAnalysis.Universe(str(structure), str(file))
    assert universe.trajectory.dt == pytest.approx(INTERVAL, rel=1e-5)
    for k, step in enumerate(universe.trajectory):
        assert step.positions == pytest.approx(10 * given.positions_nm[k], abs=10 * precision)
        if ending == "trr":
            assert step.velocities == pytest.approx(10 * given.velocities_nm_ps[k], abs=1e-4)


def test_velocities_reach_hdf5(topology: app.Topology, tmp_path: Path) -> None:
    from mdtraj.formats import HDF5TrajectoryFile

    given = path(topology)
    given.save(tmp_path / "path.h5")
    with HDF5TrajectoryFile(str(tmp_path / "path.h5")) as handle:
        assert handle.read().velocities == pytest.approx(given.velocities_nm_ps, abs=1e-6)


def test_nothing_but_the_ends_lies_in_a_state_after_trimming(topology: app.Topology) -> None:
    given = path(topology)
    cut = given.trimmed()
    assert len(cut) == 5
    assert cut.in_states.any(axis=1).tolist() == [True, False, False, False, True]
    assert np.array_equal(cut.positions_nm, given.positions_nm[1:6])
    assert np.array_equal(cut.velocities_nm_ps, given.velocities_nm_ps[1:6])
    back = TransitionPath(topology, given.positions_nm, INTERVAL, given.in_states[:, ::-1], "made up")
    assert len(back.trimmed()) == 5
    nowhere = TransitionPath(topology, given.positions_nm, INTERVAL, np.zeros((FRAMES, 2), dtype=bool), "made up")
    with pytest.raises(UserError, match="does not lead from one state"):
        nowhere.trimmed()


def test_thermal_velocities_have_the_temperature_and_obey_constraints() -> None:
    file = find_system_file("alanine_dipeptide")
    system = load_system(load_config(file), file.parent)
    assert system.molecule is not None
    dynamics: MolecularDynamics = system.molecule.dynamics
    frames = np.repeat(system.structures[:1], 400, axis=0)
    in_states = np.zeros((400, 2), dtype=bool)
    given = TransitionPath(system.molecule.topology, frames, INTERVAL, in_states, "still").thermalised(dynamics, 3)
    assert given.velocities_nm_ps is not None
    other = TransitionPath(system.molecule.topology, frames[:9], INTERVAL, in_states[:9], "still").thermalised(
        dynamics, 4
    )
    assert other.velocities_nm_ps is not None
    assert not np.isclose(
        other.velocities_nm_ps[:-1, 0], given.velocities_nm_ps[1:9, 0]
    ).any()  # seeds 3 and 4 share nothing
    masses = np.array([atom.element.mass._value for atom in system.molecule.topology.atoms()])
    kinetic = 0.5 * np.einsum("i,tid->t", masses, given.velocities_nm_ps**2)
    expected = 0.5 * dynamics.degrees_of_freedom() * dynamics.kt
    assert kinetic.mean() == pytest.approx(expected, abs=4 * kinetic.std() / np.sqrt(400))
    hydrogens = [
        (a.index, b.index) for a, b in system.molecule.topology.bonds() if "H" in (a.element.symbol, b.element.symbol)
    ]
    for i, j in hydrogens:
        along = frames[0, i] - frames[0, j]
        assert np.abs((given.velocities_nm_ps[:, i] - given.velocities_nm_ps[:, j]) @ along).max() < 1e-3


def test_what_cannot_be_done_is_said(topology: app.Topology, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="should end in one of"):
        path(topology).save(tmp_path / "path.gro")
    assert not list(tmp_path.iterdir())
    with pytest.raises(UserError, match="OpenPathSampling is not installed"):
        path(topology).to_openpathsampling()
