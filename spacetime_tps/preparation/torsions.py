"""The torsions of a molecule that may matter, each with the name that a person would give it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from openmm import app

from spacetime_tps.topology import heavy_atoms, neighbours_of

_CHI: dict[str, list[tuple[str, ...]]] = {
    "chi1": [("N", "CA", "CB", g) for g in ("CG", "CG1", "OG", "OG1", "SG")],
    "chi2": [("CA", "CB", g, d) for g in ("CG", "CG1") for d in ("CD", "CD1", "OD1", "ND1", "SD")],
    "chi3": [("CB", "CG", d, e) for d in ("CD", "SD") for e in ("CE", "NE", "OE1")],
    "chi4": [("CG", "CD", "CE", "NZ"), ("CG", "CD", "NE", "CZ")],
}
_CAPS = {"ACE", "NME", "NH2"}


@dataclass(frozen=True)
class Candidate:
    """A torsion that may enter the representation.

    Attributes:
        name: such as ``phi_2``: kind and residue number, with the chain where there are several.
        kind: ``phi``, ``psi``, ``omega``, ``chi1`` ... or ``bond`` for any other rotatable bond.
        atoms: four indices.
        residue: that it belongs to.
    """

    name: str
    kind: str
    atoms: tuple[int, int, int, int]
    residue: app.topology.Residue


def candidates(topology: app.Topology) -> list[Candidate]:
    """All torsions of a molecule that a residue's atom names or its rotatable bonds tell of, in order of residues."""
    several = len(list(topology.chains())) > 1

    def place_of(residue: app.topology.Residue) -> str:
        return f"{residue.chain.id}{residue.id}" if several else str(residue.id)

    found: list[Candidate] = []
    for kind, residue, atoms in sorted(_named(topology), key=lambda each: (each[1].index, each[0])):
        found.append(Candidate(f"{kind}_{place_of(residue)}", kind, atoms, residue))
    central = {frozenset(candidate.atoms[1:3]) for candidate in found}
    proteins = {candidate.residue.index for candidate in found}
    for residue, atoms in _rotatable(topology):
        known = residue.index in proteins or residue.name in _CAPS or frozenset(atoms[1:3]) in central
        if not known:
            names = {atom.index: atom.name for atom in residue.atoms()}
            label = "_".join(names.get(k, "x") for k in atoms[1:3])
            found.append(Candidate(f"bond_{place_of(residue)}_{label}", "bond", atoms, residue))
    return found


def _named(topology: app.Topology) -> Iterator[tuple[str, app.topology.Residue, tuple[int, int, int, int]]]:
    """Backbone and side-chain torsions of amino acids and caps, by bonds between residues."""
    at = [{atom.name: atom.index for atom in residue.atoms()} for residue in topology.residues()]
    before: dict[int, int] = {}
    for first, second in topology.bonds():
        c, n = (first, second) if first.name == "C" else (second, first)
        if c.name == "C" and n.name == "N" and c.residue is not n.residue:
            before[n.residue.index] = c.residue.index
    after = {first: second for second, first in before.items()}
    for residue in topology.residues():
        own = at[residue.index]
        if residue.index in before:
            previous = at[before[residue.index]]
            alpha, alpha_before = own.get("CA", own.get("C")), previous.get("CA", previous.get("CH3"))
            if alpha is not None and alpha_before is not None:
                yield "omega", residue, (alpha_before, previous["C"], own["N"], alpha)
            if {"CA", "C"} <= set(own):
                yield "phi", residue, (previous["C"], own["N"], own["CA"], own["C"])
        if residue.index in after and {"N", "CA", "C"} <= set(own):
            yield "psi", residue, (own["N"], own["CA"], own["C"], at[after[residue.index]]["N"])
        for kind, choices in _CHI.items():
            for names in choices:
                if set(names) <= set(own) and residue.name != "PRO":
                    yield kind, residue, tuple(own[name] for name in names)
                    break


def _rotatable(topology: app.Topology) -> Iterator[tuple[app.topology.Residue, tuple[int, int, int, int]]]:
    """Bonds between heavy atoms that both go on and that no ring holds."""
    neighbours, heavy, atoms = neighbours_of(topology), heavy_atoms(topology), list(topology.atoms())
    for first, second in topology.bonds():
        b, c = first.index, second.index
        before = [n for n in sorted(neighbours[b]) if n != c and heavy[n]]
        behind = [n for n in sorted(neighbours[c]) if n != b and heavy[n]]
        if heavy[b] and heavy[c] and before and behind and not _joined_otherwise(b, c, neighbours):
            yield atoms[b].residue, (before[0], b, c, behind[0])


def _joined_otherwise(b: int, c: int, neighbours: list[list[int]]) -> bool:
    """Whether c is reached from b without the bond between them."""
    reached, frontier = {b}, [n for n in neighbours[b] if n != c]
    while frontier:
        here = frontier.pop()
        if here == c:
            return True
        if here not in reached:
            reached.add(here)
            frontier += neighbours[here]
    return False


def quadruples_of(torsions: list[Candidate]) -> np.ndarray:
    """Atom indices, shape (n, 4)."""
    return np.array([candidate.atoms for candidate in torsions], dtype=int).reshape(-1, 4)
