from __future__ import annotations

import mdtraj
import numpy as np
import pytest

from spacetime_tps.representations import dihedral_angles, wrap
from spacetime_tps.systems import systems_folder
from tests.oracles import four_atoms


def all_torsions(topology: mdtraj.Topology) -> np.ndarray:
    neighbours: dict[int, list[int]] = {}
    for a, b in topology.bonds:
        neighbours.setdefault(a.index, []).append(b.index)
        neighbours.setdefault(b.index, []).append(a.index)
    return np.array(
        [
            (i, b.index, c.index, j)
            for b, c in topology.bonds
            for i in neighbours[b.index]
            for j in neighbours[c.index]
            if i != c.index and j != b.index
        ]
    )


def test_against_mdtraj() -> None:
    molecule = mdtraj.load(str(systems_folder() / "alanine_dipeptide" / "c5.pdb"))
    quadruples = all_torsions(molecule.topology)
    assert len(quadruples) == 41  # by hand: 6 + 4 + 6 + 6 + 9 + 4 + 6 around the seven central bonds
    noise = np.random.default_rng(0).normal(0, 0.03, (20, 22, 3))
    frames = mdtraj.Trajectory(molecule.xyz + noise, molecule.topology)
    expected = mdtraj.compute_dihedrals(frames, quadruples)  # single precision
    found = dihedral_angles(frames.xyz.astype(float), quadruples)
    assert found.shape == (20, 41)
    assert np.abs(wrap(found - expected)).max() < 2e-4


def test_phi_and_psi_of_the_shipped_structures() -> None:
    """C5 near (-152, 160) and C7ax near (61, -41) degrees; mdtraj finds phi and psi by itself."""
    for name, angles in (("c5", (-152, 160)), ("c7ax", (61, -41))):
        molecule = mdtraj.load(str(systems_folder() / "alanine_dipeptide" / f"{name}.pdb"))
        quadruples = np.concatenate([mdtraj.compute_phi(molecule)[0], mdtraj.compute_psi(molecule)[0]])
        expected = np.concatenate([mdtraj.compute_phi(molecule)[1], mdtraj.compute_psi(molecule)[1]], axis=1)[0]
        found = dihedral_angles(molecule.xyz[0].astype(float), quadruples)
        assert found == pytest.approx(expected, abs=1e-4)
        assert np.rad2deg(found) == pytest.approx(angles, abs=1.0)


def test_sign_range_and_batches() -> None:
    torsions = np.linspace(-np.pi, np.pi, 25)[1:]
    positions = np.array([four_atoms(t) for t in torsions])
    found = dihedral_angles(positions, np.array([[0, 1, 2, 3]]))
    assert found.shape == (24, 1)
    assert wrap(found[:, 0] - torsions) == pytest.approx(np.zeros(24), abs=1e-12)
    assert dihedral_angles(positions.reshape(4, 6, 4, 3), np.array([[0, 1, 2, 3], [3, 2, 1, 0]])).shape == (4, 6, 2)
    # Reading the chain backwards keeps the angle, a mirror turns its sign.
    assert dihedral_angles(positions[5], np.array([[3, 2, 1, 0]])) == pytest.approx(found[5])
    assert dihedral_angles(positions[5] * [1, 1, -1], np.array([[0, 1, 2, 3]])) == pytest.approx(-found[5])


def test_wrap() -> None:
    angles = np.array([0.0, 3.0, np.pi, -np.pi, 4.0, -4.0, 100.0])
    expected = [0.0, 3.0, -np.pi, -np.pi, 4.0 - 2 * np.pi, 2 * np.pi - 4.0, 100.0 - 32 * np.pi]
    assert wrap(angles) == pytest.approx(expected, abs=1e-12)
