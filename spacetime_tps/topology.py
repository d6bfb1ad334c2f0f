"""What a topology alone says of a molecule: its stereocentres, peptide bonds, planar centres, puckers and torsions.

Stereocentres are atoms with four neighbours that differ, peptide bonds are C-N bonds between
residues, planar centres are atoms with three neighbours in one plane.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from openmm import app, unit

from spacetime_tps.representations import dihedral_angles

WATERS = {"HOH", "WAT", "TIP", "TIP3", "TIP4", "H2O", "SOL"}
IONS = {"NA", "CL", "K", "LI", "MG", "CA", "ZN", "NA+", "CL-", "K+", "SOD", "CLA", "POT", "CAL", "BR", "CS", "RB", "F"}
TETRAHEDRAL = {"C", "N", "P", "S", "Si", "As", "Se", "Ge"}
"""Elements whose atoms keep their four neighbours as they are."""


@dataclass(frozen=True)
class NamedTorsions:
    """Torsions or impropers: a name and four atom indices each."""

    names: list[str]
    quadruples: np.ndarray

    def angles(self, frames: np.ndarray) -> np.ndarray:
        """Angles [rad], shape (..., n)."""
        return dihedral_angles(frames, self.quadruples)

    def only(self, chosen: np.ndarray) -> NamedTorsions:
        """Those that a mask, shape (n,), or an array of indices chooses."""
        return NamedTorsions([str(name) for name in np.array(self.names)[chosen]], self.quadruples[chosen])

    def about_other_bonds(self, quadruples: np.ndarray) -> NamedTorsions:
        """Those about bonds about which none of ``quadruples``, shape (m, 4), turns: these all turn together."""
        taken = {frozenset(bond) for bond in quadruples[:, 1:3].tolist()}
        return self.only(
            np.array([frozenset(bond) not in taken for bond in self.quadruples[:, 1:3].tolist()], dtype=bool)
        )


def is_solvent(residue: app.topology.Residue) -> bool:
    """Whether a residue is water or a single ion."""
    name = residue.name.upper()
    return name in WATERS or (name in IONS and len(list(residue.atoms())) == 1)


def chosen_atoms(topology: app.Topology, which: str) -> np.ndarray:
    """Indices of the solute's atoms that are ``heavy``, ``ca`` or ``all``, shape (n,)."""
    solute = solute_atoms(topology)
    if which == "ca":
        return np.array([a.index for a in topology.atoms() if a.name == "CA" and a.index in set(solute)], dtype=int)
    return solute if which == "all" else solute[heavy_atoms(topology)[solute]]


def solute_atoms(topology: app.Topology) -> np.ndarray:
    """Indices of the atoms that are neither water nor single ions, shape (n,)."""
    return np.array([a.index for r in topology.residues() if not is_solvent(r) for a in r.atoms()], dtype=int)


def without_solvent(topology: app.Topology, positions: np.ndarray) -> tuple[app.Topology, np.ndarray]:
    """Topology and positions [nm], shape (n, 3), of all but water and ions; the box goes with them."""
    solvent = [residue for residue in topology.residues() if is_solvent(residue)]
    if not solvent:
        return topology, positions
    modeller = app.Modeller(topology, positions * unit.nanometer)
    modeller.delete(solvent)
    modeller.topology.setPeriodicBoxVectors(None)
    return modeller.topology, positions[solute_atoms(topology)]


def atom_labels(topology: app.Topology) -> list[str]:
    """How a system file names each atom: ``RESIDUE:ATOM``.

    ``CHAIN/`` stands before it where there are several chains of other things than water and ions.
    """
    several = len({r.chain.index for r in topology.residues() if not is_solvent(r)}) > 1

    def residue_label(residue: app.topology.Residue) -> str:
        chain = f"{residue.chain.id}/" if several else ""
        return f"{chain}{residue.id}{residue.insertionCode.strip()}"

    return [f"{residue_label(atom.residue)}:{atom.name}" for atom in topology.atoms()]


def named(topology: app.Topology, quadruples: list[tuple[int, int, int, int]]) -> NamedTorsions:
    """Quadruples of atom indices with names such as ``1:C-2:N-2:CA-2:C``."""
    labels = atom_labels(topology)
    names = ["-".join(labels[i] for i in four) for four in quadruples]
    return NamedTorsions(names, np.array(quadruples, dtype=int).reshape(-1, 4))


def labels_in(name: str) -> list[str]:
    """The labels of atoms in a name that ``named`` gives, also where a residue's number is negative: ``-1:C-0:N``."""
    residue, *parts = name.split(":")
    labels = []
    for part in parts:
        atom, _, following = part.partition("-")
        labels.append(f"{residue}:{atom}")
        residue = following
    return labels


def neighbours_of(topology: app.Topology) -> list[list[int]]:
    """Indices of the atoms that each atom is bonded to."""
    found: list[list[int]] = [[] for _ in range(topology.getNumAtoms())]
    for first, second in topology.bonds():
        found[first.index].append(second.index)
        found[second.index].append(first.index)
    return found


def heavy_atoms(topology: app.Topology) -> np.ndarray:
    """Which atoms are no hydrogens, shape (n_atoms,)."""
    return np.array([atom.element is not None and atom.element.symbol != "H" for atom in topology.atoms()])


def chiral_centers(topology: app.Topology) -> NamedTorsions:
    """Stereocentres of the solute, as impropers of the centre and three of its neighbours, heavy ones first.

    They are found by the bonds alone: atoms with four neighbours no two of which are equivalent.
    """
    heavy, atoms, quadruples = heavy_atoms(topology), list(topology.atoms()), []
    solvent = {atom.index for residue in topology.residues() if is_solvent(residue) for atom in residue.atoms()}
    neighbours = [[] if k in solvent else around for k, around in enumerate(neighbours_of(topology))]
    classes = _equivalent(atoms, neighbours)
    for atom in atoms:
        around = sorted(neighbours[atom.index], key=lambda n: (not heavy[n], n))
        unlike = len({classes[n] for n in around}) == 4
        if len(around) == 4 and unlike and atom.element is not None and atom.element.symbol in TETRAHEDRAL:
            quadruples.append((atom.index, *around[:3]))
    return named(topology, quadruples)


def _equivalent(atoms: list[app.topology.Atom], neighbours: list[list[int]]) -> list[int]:
    """Numbers that are equal for atoms that no bond tells apart: refined by their neighbours' until nothing changes."""
    labels: list[Any] = [atom.element.symbol if atom.element is not None else "" for atom in atoms]
    count = 0
    while True:
        order = {label: k for k, label in enumerate(sorted(set(labels)))}
        found = [order[label] for label in labels]
        if len(order) == count:
            return found
        count = len(order)
        labels = [(found[k], *sorted(found[n] for n in around)) for k, around in enumerate(neighbours)]


def omega_torsions(topology: app.Topology) -> NamedTorsions:
    """CA-C-N-CA around every bond C-N between residues; caps lend their methyl carbon."""
    neighbours, atoms, quadruples = neighbours_of(topology), list(topology.atoms()), []
    for first, second in topology.bonds():
        c, n = (first, second) if first.name == "C" else (second, first)
        if c.name != "C" or n.name != "N" or c.residue is n.residue:
            continue
        before = [i for i in neighbours[c.index] if atoms[i].element.symbol == "C"]
        after = [i for i in neighbours[n.index] if atoms[i].element.symbol == "C" and i != c.index]
        after = [i for i in after if atoms[i].name != "CD"] or after
        if before and after:
            quadruples.append((before[0], c.index, n.index, after[0]))
    return named(topology, quadruples)


def planar_impropers(topology: app.Topology, structure: np.ndarray) -> NamedTorsions:
    """Centres with three neighbours that lie in a plane in ``structure``: peptide C and N, aromatic carbons.

    The improper i-j-k-l has the centre third, so that 0 or 180 degrees is planar.
    """
    neighbours, heavy, quadruples = neighbours_of(topology), heavy_atoms(topology), []
    for center in range(len(neighbours)):
        if heavy[center] and len(neighbours[center]) == 3:
            a, b, c = sorted(neighbours[center])
            quadruples.append((a, b, center, c))
    found = named(topology, quadruples)
    angles = found.angles(structure) if quadruples else np.zeros(0)
    flat = np.minimum(np.abs(angles), np.pi - np.abs(angles)) < np.deg2rad(25.0)
    return NamedTorsions([n for n, keep in zip(found.names, flat, strict=True) if keep], found.quadruples[flat])


def pucker_torsions(topology: app.Topology) -> NamedTorsions:
    """chi1 (N-CA-CB-CG) of prolines, whose sign is the ring pucker."""
    quadruples = []
    for residue in topology.residues():
        index = {atom.name: atom.index for atom in residue.atoms()}
        if residue.name == "PRO" and {"N", "CA", "CB", "CG"} <= set(index):
            quadruples.append((index["N"], index["CA"], index["CB"], index["CG"]))
    return named(topology, quadruples)


def free_torsions(topology: app.Topology, restrained: np.ndarray) -> NamedTorsions:
    """Heavy-atom proper torsions that are not restrained: what a representation may have left out."""
    neighbours, heavy, quadruples = neighbours_of(topology), heavy_atoms(topology), []
    taken = {tuple(row) for row in restrained.tolist()} | {tuple(row[::-1]) for row in restrained.tolist()}
    for first, second in topology.bonds():
        b, c = sorted((first.index, second.index))
        if not (heavy[b] and heavy[c]):
            continue
        for a in sorted(neighbours[b]):
            for d in sorted(neighbours[c]):
                four = (a, b, c, d)
                if len(set(four)) == 4 and heavy[a] and heavy[d] and four not in taken:
                    quadruples.append(four)
    return named(topology, quadruples)


@dataclass(frozen=True)
class Isomers:
    """Which stereoisomers and peptide-bond isomers a frame may be: those of the two end structures.

    High temperature flips what stays as it is for years at room temperature; such frames are no samples of the
    ensemble between the end structures.

    Attributes:
        centers: stereocentres, as impropers.
        bonds: peptide bonds that nobody means to turn.
        handed: signs of the stereocentres in either end structure, shape (2, n_centers).
        cis: whether these bonds are cis in either, shape (2, n_bonds).
    """

    centers: NamedTorsions
    bonds: NamedTorsions
    handed: np.ndarray
    cis: np.ndarray

    @classmethod
    def of(cls, topology: app.Topology, structures: np.ndarray, turned: np.ndarray) -> Isomers:
        """Those of the end structures [nm], shape (2, n_atoms, 3).

        Args:
            topology: of the molecule.
            structures: of both ends.
            turned: torsions that are meant to turn, shape (n, 4); peptide bonds in their middle are left out.
        """
        centers, omegas = chiral_centers(topology), omega_torsions(topology)
        meant = {frozenset(four[1:3]) for four in turned.tolist()}
        bonds = omegas.only(np.array([frozenset(b[1:3]) not in meant for b in omegas.quadruples.tolist()], dtype=bool))
        return cls(centers, bonds, np.sign(centers.angles(structures)), _is_cis(bonds.angles(structures)))

    def broken(self, frames: np.ndarray) -> np.ndarray:
        """Whether each stereocentre and each bond is unlike both ends, shape (n, n_centers + n_bonds)."""
        handed, cis = np.sign(self.centers.angles(frames)), _is_cis(self.bonds.angles(frames))
        flipped = (handed[:, None] != self.handed).all(axis=1)
        return np.concatenate([flipped, (cis[:, None] != self.cis).all(axis=1)], axis=1)

    @property
    def names(self) -> list[str]:
        """Of the columns of ``broken``."""
        return [f"chirality of {name}" for name in self.centers.names] + [f"peptide bond {n}" for n in self.bonds.names]


def _is_cis(omega: np.ndarray) -> np.ndarray:
    return np.abs(omega) < np.pi / 2
