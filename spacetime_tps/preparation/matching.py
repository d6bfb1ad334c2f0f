"""Whether two structures are one molecule, atom by atom, and the same labels on atoms that nothing tells apart.

Two end states of one molecule may list its atoms in another order. Hydrogens of a methyl or methylene group, the sides
of a phenyl ring or the oxygens of a carboxylate are equivalent; labelled differently in both files they would have to
trade places along every path.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from itertools import permutations

import numpy as np
from openmm import app

from spacetime_tps.errors import UserError
from spacetime_tps.preparation.reading import Structure
from spacetime_tps.preparation.repair import shown
from spacetime_tps.representations import dihedral_angles, wrap
from spacetime_tps.topology import neighbours_of, omega_torsions

# Side chains whose atoms come in two equivalent sets: the torsion that tells which is which, and the pairs to exchange.
_Sides = tuple[tuple[str, ...], list[tuple[str, str]]]
_TWO_SIDED: dict[str, _Sides] = {
    "PHE": (("CA", "CB", "CG", "CD1"), [("CD1", "CD2"), ("CE1", "CE2"), ("HD1", "HD2"), ("HE1", "HE2")]),
    "TYR": (("CA", "CB", "CG", "CD1"), [("CD1", "CD2"), ("CE1", "CE2"), ("HD1", "HD2"), ("HE1", "HE2")]),
    "ASP": (("CA", "CB", "CG", "OD1"), [("OD1", "OD2")]),
    "GLU": (("CB", "CG", "CD", "OE1"), [("OE1", "OE2")]),
    "ARG": (
        ("CD", "NE", "CZ", "NH1"),
        [("NH1", "NH2"), ("HH11", "HH21"), ("HH12", "HH22")],
    ),
}

_PROTONS = {"ASP": {"HD1", "HD2"}, "GLU": {"HE1", "HE2"}}
"""On a carboxyl group they tell its oxygens apart."""
_TERMINUS: _Sides = (("N", "CA", "C", "O"), [("O", "OXT")])


def matched(first: Structure, second: Structure) -> Structure:
    """The second structure with its atoms in the order of the first and equivalent atoms labelled alike.

    Raises:
        UserError: they are different molecules, protonation states, disulfides or stereoisomers.
    """
    order = _order(first, second)
    _check_disulfides(first, second, order)
    notes = second.notes
    if (order != np.arange(len(order))).any():
        notes = (*notes, "its atoms are put in the order of the other file")
    positions = _labelled_alike(first, second.positions[order])
    second = Structure(second.source, first.topology, positions, notes)
    _check_isomers(first, second)
    return second


def _key_by_name(atom: app.topology.Atom) -> Hashable:
    residue = atom.residue
    return residue.chain.id, residue.id, residue.insertionCode, residue.name, atom.name


def _key_by_place(atom: app.topology.Atom) -> Hashable:
    return atom.residue.index, atom.residue.name, atom.name


def _order(first: Structure, second: Structure) -> np.ndarray:
    """Index in the second structure of every atom of the first, shape (n_atoms,)."""
    keys: list[Callable[[app.topology.Atom], Hashable]] = [_key_by_name, _key_by_place]
    for key in keys:
        wanted = [key(atom) for atom in first.topology.atoms()]
        index = {key(atom): atom.index for atom in second.topology.atoms()}
        if len(index) == second.topology.getNumAtoms() and set(wanted) == set(index):
            return np.array([index[k] for k in wanted])
    raise UserError(_difference(first, second))


def _difference(first: Structure, second: Structure) -> str:
    """Why two structures are not the same molecule."""
    files = f"{first.source} and {second.source}"
    a, b = (list(s.topology.residues()) for s in (first, second))
    if [r.name for r in a] != [r.name for r in b]:
        if Counter(r.name for r in a) == Counter(r.name for r in b):
            return f"{files} have the same residues in another order; give both with the same chains in the same order."
        k = next((k for k, (x, y) in enumerate(zip(a, b, strict=False)) if x.name != y.name), min(len(a), len(b)))
        here = [shown(r[k]) if k < len(r) else "no more residue" for r in (a, b)]
        return f"{files} are not the same molecule: residue {k + 1} is {here[0]} in one and {here[1]} in the other."
    for x, y in zip(a, b, strict=True):
        names = [{atom.name for atom in residue.atoms()} for residue in (x, y)]
        if names[0] != names[1]:
            only = [sorted(names[0] - names[1]), sorted(names[1] - names[0])]
            protons = all(name.lstrip("0123456789").startswith("H") for name in only[0] + only[1])
            what = "are protonated differently" if protons else "are not the same molecule"
            parts = [f"{', '.join(o)} only in {s.source}" for o, s in zip(only, (first, second), strict=True) if o]
            return f"{files} {what}: {shown(x)} has {' and '.join(parts)}; give both end states with the same atoms."
    return f"{files} name atoms twice within a residue; give every atom a name of its own."


def _check_disulfides(first: Structure, second: Structure, order: np.ndarray) -> None:
    atoms, place = list(first.topology.atoms()), np.argsort(order)

    def bridges(structure: Structure, where: np.ndarray) -> set[tuple[int, ...]]:
        pairs = [(a.index, b.index) for a, b in structure.topology.bonds() if a.name == b.name == "SG"]
        return {tuple(sorted(atoms[where[k]].residue.index for k in pair)) for pair in pairs}

    different = bridges(first, np.arange(len(order))) ^ bridges(second, place)
    if different:
        a, b = min(different)
        residues = list(first.topology.residues())
        raise UserError(
            f"{first.source} and {second.source} differ in the disulfide between {shown(residues[a])} and "
            f"{shown(residues[b])}; bonds do not form or break along a path, so give both with the same ones."
        )


# --- equivalent atoms ---------------------------------------------------------------------------


def _labelled_alike(first: Structure, positions: np.ndarray) -> np.ndarray:
    """Positions of the second structure with equivalent atoms exchanged where that brings it nearer to the first."""
    positions = positions.copy()
    for residue in first.topology.residues():
        _settle_sides(residue, _TWO_SIDED.get(residue.name), first.positions, positions)
        _settle_sides(residue, _TERMINUS, first.positions, positions)
    neighbours, atoms = neighbours_of(first.topology), list(first.topology.atoms())
    for center in range(len(atoms)):
        hydrogens = [n for n in neighbours[center] if atoms[n].element is not None and atoms[n].element.symbol == "H"]
        heavy = [n for n in neighbours[center] if n not in hydrogens]
        if len(hydrogens) == 2 and len(heavy) == 2:
            _settle_pair(center, heavy, hydrogens, first.positions, positions)
        elif len(hydrogens) == 1 and len(heavy) == 3:
            _settle_methyls(center, neighbours, atoms, first.positions, positions)
        elif len(hydrogens) >= 2 and len(heavy) == 1:
            further = [n for n in neighbours[heavy[0]] if n != center]
            if further:
                _settle_rotor((min(further), heavy[0], center), hydrogens, first.positions, positions)
    return positions


def _settle_sides(
    residue: app.topology.Residue, sides: _Sides | None, reference: np.ndarray, positions: np.ndarray
) -> None:
    """The two sides of a ring, a carboxylate or a guanidinium group, unless a proton tells them apart."""
    index = {atom.name: atom.index for atom in residue.atoms()}
    torsion, exchanges = sides or ((), [])
    names = {*torsion, *exchanges[0]} if exchanges else set()
    if not names or not names <= set(index) or _PROTONS.get(residue.name, set()) & set(index):
        return
    four = np.array([[index[name] for name in torsion]])
    apart = wrap(dihedral_angles(positions, four) - dihedral_angles(reference, four))
    if abs(float(apart[0])) > np.pi / 2:
        for a, b in exchanges:
            if a in index and b in index:
                positions[[index[a], index[b]]] = positions[[index[b], index[a]]]


def _settle_pair(
    center: int, heavy: list[int], hydrogens: list[int], reference: np.ndarray, positions: np.ndarray
) -> None:
    """The two hydrogens of a methylene group on the same side in both structures."""

    def hand(frame: np.ndarray) -> float:
        a, b, c = (frame[k] - frame[center] for k in (*heavy, hydrogens[0]))
        return float(np.sign(np.dot(np.cross(a, b), c)))

    if hand(reference) != hand(positions):
        positions[hydrogens] = positions[hydrogens[::-1]]


def _settle_methyls(
    center: int,
    neighbours: list[list[int]],
    atoms: list[app.topology.Atom],
    reference: np.ndarray,
    positions: np.ndarray,
) -> None:
    """Two methyl groups of one carbon, as in valine and leucine, on the same sides in both structures."""

    def group(carbon: int) -> list[int]:
        return [carbon, *(n for n in neighbours[carbon] if n != center)]

    methyls = [
        n
        for n in neighbours[center]
        if len(group(n)) == 4 and all(atoms[k].element is app.element.hydrogen for k in group(n)[1:])
    ]
    if len(methyls) == 2 and _hand(reference, center, neighbours) != _hand(positions, center, neighbours):
        a, b = group(methyls[0]), group(methyls[1])
        positions[a + b] = positions[b + a]


def _hand(frame: np.ndarray, center: int, neighbours: list[list[int]]) -> float:
    """Sign of the triple product of the first three bonds of an atom."""
    a, b, c = (frame[k] - frame[center] for k in neighbours[center][:3])
    return float(np.sign(np.dot(np.cross(a, b), c)))


def _settle_rotor(
    axis: tuple[int, int, int], hydrogens: list[int], reference: np.ndarray, positions: np.ndarray
) -> None:
    """The hydrogens of a methyl, ammonium or amino group where the other structure has them, without mirroring them."""
    fours = np.array([(*axis, h) for h in hydrogens])
    wanted, found = dihedral_angles(reference, fours), dihedral_angles(positions, fours)

    def hand(frame: np.ndarray, order: Sequence[int]) -> float:
        if len(order) < 3:
            return 0.0
        a, b, c = (frame[hydrogens[k]] - frame[axis[2]] for k in order[:3])
        return float(np.sign(np.dot(np.cross(a, b), c)))

    same = range(len(hydrogens))
    orders = [order for order in permutations(same) if hand(positions, order) == hand(reference, same)]
    orders = orders or list(permutations(same))  # hydrogens in one plane have no hand
    best = min(orders, key=lambda order: float(np.square(wrap(found[list(order)] - wanted)).sum()))
    positions[hydrogens] = positions[[hydrogens[k] for k in best]]


# --- isomers ------------------------------------------------------------------------------------


def _check_isomers(first: Structure, second: Structure) -> None:
    """With equivalent atoms labelled alike, no atom with four neighbours may be the mirror image of itself."""
    neighbours = neighbours_of(first.topology)
    for atom in first.topology.atoms():
        if len(neighbours[atom.index]) != 4:
            continue
        hands = [_hand(structure.positions, atom.index, neighbours) for structure in (first, second)]
        if hands[0] != hands[1]:
            raise UserError(
                f"{first.source} and {second.source} are mirror images at {atom.name} of {shown(atom.residue)}; "
                "no path inverts a stereocentre, so give both with the same chirality."
            )


def turned_peptide_bonds(first: Structure, second: Structure) -> list[tuple[str, np.ndarray, bool]]:
    """Peptide bonds that are cis in one structure and trans in the other.

    Returns:
        the residue after the bond as a person names it, the atoms of omega, and whether that residue is a proline.
    """
    omegas, atoms = omega_torsions(first.topology), list(first.topology.atoms())
    if not omegas.names:
        return []
    cis = [np.abs(omegas.angles(s.positions)) < np.pi / 2 for s in (first, second)]
    return [
        (shown(atoms[four[2]].residue), four, atoms[four[2]].residue.name == "PRO")
        for four, a, b in zip(omegas.quadruples, *cis, strict=True)
        if a != b
    ]
