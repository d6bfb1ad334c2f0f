"""What bonds alone say: which atoms are stereocentres, and that names of atoms can be read again."""

from __future__ import annotations

import itertools

import numpy as np
import openmm
import pytest
from openmm import app, unit

from spacetime_tps.analysis.structure import integrity_problems
from spacetime_tps.structures import Anatomy
from spacetime_tps.systems import systems_folder
from spacetime_tps.topology import Isomers, atom_labels, chiral_centers, labels_in, named, neighbours_of

GLUCOSE = (
    "C1-C2 C2-C3 C3-C4 C4-C5 C5-O5 O5-C1 C5-C6 C6-O6 C1-O1 C2-O2 C3-O3 C4-O4 C1-H1 C2-H2 C3-H3 C4-H4 C5-H5 "
    "C6-H61 C6-H62 O1-HO1 O2-HO2 O3-HO3 O4-HO4 O6-HO6"
)
CITRATE = "C1-O1 C1-O2 C1-C2 C2-H1 C2-H2 C2-C3 C3-O3 O3-H3 C3-C6 C6-O6 C6-O7 C3-C4 C4-H4 C4-H5 C4-C5 C5-O4 C5-O5"
TARTRATE = "C1-O1 C1-O2 C1-C2 C2-H2 C2-O3 O3-H3 C2-C3 C3-H4 C3-O4 O4-H5 C3-C4 C4-O5 C4-O6"
BUTANOL = "C1-H1 C1-H2 C1-H3 C1-C2 C2-H4 C2-O1 O1-H5 C2-C3 C3-H6 C3-H7 C3-C4 C4-H8 C4-H9 C4-H10"
PHOSPHATE = "P1-O1 P1-O2 P1-O3 O3-C1 C1-H1 C1-H2 C1-H3 P1-N1 N1-H4 N1-H5"
THIOPHOSPHATE = "P1-S1 P1-O2 P1-O3 O3-C1 C1-H1 C1-H2 C1-H3 P1-N1 N1-H4 N1-H5"
NEOPENTANE = "C1-C2 C1-C3 C1-C4 C1-H1 " + " ".join(f"C{k}-H{k}{m}" for k in (2, 3, 4) for m in (1, 2, 3))


def molecule(bonds: str, residue: str = "LIG") -> app.Topology:
    topology = app.Topology()
    inside = topology.addResidue(residue, topology.addChain("A"))
    pairs = [bond.split("-") for bond in bonds.split()]
    atoms = {
        name: topology.addAtom(name, app.Element.getBySymbol(name[0]), inside)
        for name in dict.fromkeys(itertools.chain(*pairs))
    }
    for first, second in pairs:
        topology.addBond(atoms[first], atoms[second])
    return topology


def relaxed(topology: app.Topology, seed: int) -> np.ndarray:
    """Some conformer and stereoisomer [nm]: bonds of 0.15 nm and tetrahedral angles, from a random start."""
    system, bonds, angles = openmm.System(), openmm.HarmonicBondForce(), openmm.HarmonicAngleForce()
    for _ in topology.atoms():
        system.addParticle(12.0)
    for first, second in topology.bonds():
        bonds.addBond(first.index, second.index, 0.15, 1e5)
    for center, around in enumerate(neighbours_of(topology)):
        for a, b in itertools.combinations(around, 2):
            angles.addAngle(a, center, b, np.deg2rad(109.5), 500.0)
    for force in (bonds, angles):
        system.addForce(force)
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
    start = np.random.default_rng(seed).normal(0, 0.15, (topology.getNumAtoms(), 3))
    context.setPositions(start)
    openmm.LocalEnergyMinimizer.minimize(context, 1e-3)
    return np.array(context.getState(positions=True).getPositions(asNumpy=True).value_in_unit(unit.nanometer))


def centers_of(topology: app.Topology) -> set[str]:
    atoms = list(topology.atoms())
    return {atoms[four[0]].name for four in chiral_centers(topology).quadruples}


@pytest.mark.parametrize(
    ("bonds", "expected"),
    [
        (GLUCOSE, {"C1", "C2", "C3", "C4", "C5"}),
        (CITRATE, set()),
        (TARTRATE, {"C2", "C3"}),
        (BUTANOL, {"C2"}),
        (PHOSPHATE, set()),
        (THIOPHOSPHATE, {"P1"}),
        (NEOPENTANE, set()),
    ],
)
def test_stereocentres_have_four_neighbours_that_differ(bonds: str, expected: set[str]) -> None:
    assert centers_of(molecule(bonds)) == expected
    assert centers_of(molecule(bonds, "HOH")) == set()  # of solvent nothing is watched


@pytest.mark.parametrize(
    ("system", "expected"),
    [("alanine_dipeptide", ["CA"]), ("alanine_tetrapeptide", ["CA"] * 3), ("proline_dipeptide", ["CA"])],
)
def test_of_a_peptide_they_are_the_alpha_carbons_by_their_heavy_neighbours(system: str, expected: list[str]) -> None:
    file = next(iter(sorted((systems_folder() / system).glob("*.pdb"))))
    topology = app.PDBFile(str(file)).topology
    atoms, found = list(topology.atoms()), chiral_centers(topology)
    assert [atoms[four[0]].name for four in found.quadruples] == expected
    for four in found.quadruples:
        assert {atoms[i].name for i in four[1:]} == {"N", "C", "CB"}


@pytest.mark.parametrize("center", ["C1", "C2", "C3", "C4", "C5"])
def test_an_inverted_centre_of_a_sugar_is_found(center: str) -> None:
    topology = molecule(GLUCOSE)
    names = [atom.name for atom in topology.atoms()]
    start = relaxed(topology, seed=3)
    frames = np.repeat(start[None], 20, axis=0)
    assert integrity_problems(topology, frames[:2], frames) == []
    isomers = Isomers.of(topology, frames[:2], np.zeros((0, 4), dtype=int))
    assert not isomers.broken(frames).any()
    moved = [names.index("C6" if center == "C5" else f"O{center[1]}"), names.index(f"H{center[1]}")]
    middle = names.index(center)
    a, b = (n for n in neighbours_of(topology)[middle] if n not in moved)
    normal = np.cross(start[a] - start[middle], start[b] - start[middle])
    normal /= np.linalg.norm(normal)
    frames[10:, moved] -= (
        2 * ((start[moved] - start[middle]) @ normal)[:, None] * normal
    )  # to the other side of the ring
    broken = isomers.broken(frames)
    assert not broken[:10].any()
    assert [isomers.names[k] for k in np.flatnonzero(broken[10])] == [f"chirality of {name_of(topology, center)}"]
    assert integrity_problems(topology, np.stack([start, start]), frames) == [
        f"chirality of {name_of(topology, center)} flipped"
    ]
    anatomy = Anatomy.of(topology)
    assert (anatomy.hands(frames[10:]) != anatomy.hands(start)).sum(axis=1).tolist() == [1] * 10


def name_of(topology: app.Topology, center: str) -> str:
    names = [atom.name for atom in topology.atoms()]
    found = chiral_centers(topology)
    return next(n for n, four in zip(found.names, found.quadruples, strict=True) if names[four[0]] == center)


@pytest.mark.parametrize("first", [-7, 0, 998])
@pytest.mark.parametrize("chains", ["A", "AB"])
def test_names_of_torsions_can_be_read_again(first: int, chains: str) -> None:
    topology = app.Topology()
    for chain_id in chains:
        chain = topology.addChain(chain_id)
        for k in range(2):
            residue = topology.addResidue("ALA", chain, str(first + k), "B" if k else "")
            for name in ("N", "H5'", "C2*"):
                topology.addAtom(name, app.Element.getBySymbol(name[0]), residue)
    labels = atom_labels(topology)
    quadruples = [(0, 1, 3, 5), (5, 3, 2, 0), (len(labels) - 1, 4, 0, 1)]
    for name, four in zip(named(topology, quadruples).names, quadruples, strict=True):
        assert labels_in(name) == [labels[i] for i in four]
