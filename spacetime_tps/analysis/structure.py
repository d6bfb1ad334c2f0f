"""Structural integrity of paths, and the torsions that a restraint drags behind.

Geometry is read from the topology alone: stereocentres are heavy atoms with four different neighbours that start
chiral, peptide bonds are C-N bonds between residues, planar centres are atoms with three neighbours in one plane.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from openmm import app

from spacetime_tps.representations import dihedral_angles, wrap

OMEGA_TOLERANCE = np.deg2rad(30.0)
TURNED = np.deg2rad(90.0)
"""A peptide bond beyond is on its other side; short unguided paths twist it by more than 30 degrees for a while."""
IMPROPER_TOLERANCE = np.deg2rad(60.0)
PUCKER_TOLERANCE = np.deg2rad(60.0)
_CHIRAL_CENTERS = {"CA": None, "CB": {"THR", "ILE"}}


@dataclass(frozen=True)
class NamedTorsions:
    """Torsions or impropers: a name and four atom indices each."""

    names: list[str]
    quadruples: np.ndarray

    def angles(self, frames: np.ndarray) -> np.ndarray:
        """Angles [rad], shape (..., n)."""
        return dihedral_angles(frames, self.quadruples)


def _named(topology: app.Topology, quadruples: list[tuple[int, int, int, int]]) -> NamedTorsions:
    atoms = list(topology.atoms())
    names = ["-".join(f"{atoms[i].residue.id}:{atoms[i].name}" for i in four) for four in quadruples]
    return NamedTorsions(names, np.array(quadruples, dtype=int).reshape(-1, 4))


def _neighbours(topology: app.Topology) -> list[list[int]]:
    found: list[list[int]] = [[] for _ in range(topology.getNumAtoms())]
    for first, second in topology.bonds():
        found[first.index].append(second.index)
        found[second.index].append(first.index)
    return found


def _heavy(topology: app.Topology) -> np.ndarray:
    return np.array([atom.element is not None and atom.element.symbol != "H" for atom in topology.atoms()])


def chiral_centers(topology: app.Topology) -> NamedTorsions:
    """CA of every residue but glycine, CB of Thr and Ile, as impropers over three heavy neighbours and the centre."""
    neighbours, heavy, quadruples = _neighbours(topology), _heavy(topology), []
    for atom in topology.atoms():
        residues = _CHIRAL_CENTERS.get(atom.name, set())
        around = [n for n in sorted(neighbours[atom.index]) if heavy[n]]
        if (residues is None or atom.residue.name in residues) and len(around) == 3:
            quadruples.append((atom.index, *around))
    return _named(topology, quadruples)


def omega_torsions(topology: app.Topology) -> NamedTorsions:
    """CA-C-N-CA around every bond C-N between residues; caps lend their methyl carbon."""
    neighbours, atoms, quadruples = _neighbours(topology), list(topology.atoms()), []
    for first, second in topology.bonds():
        c, n = (first, second) if first.name == "C" else (second, first)
        if c.name != "C" or n.name != "N" or c.residue is n.residue:
            continue
        before = [i for i in neighbours[c.index] if atoms[i].element.symbol == "C"]
        after = [i for i in neighbours[n.index] if atoms[i].element.symbol == "C" and i != c.index]
        after = [i for i in after if atoms[i].name != "CD"] or after
        if before and after:
            quadruples.append((before[0], c.index, n.index, after[0]))
    return _named(topology, quadruples)


def planar_impropers(topology: app.Topology, structure: np.ndarray) -> NamedTorsions:
    """Centres with three neighbours that lie in a plane in ``structure``: peptide C and N, aromatic carbons.

    The improper i-j-k-l has the centre third, so that 0 or 180 degrees is planar.
    """
    neighbours, heavy, quadruples = _neighbours(topology), _heavy(topology), []
    for center in range(len(neighbours)):
        if heavy[center] and len(neighbours[center]) == 3:
            a, b, c = sorted(neighbours[center])
            quadruples.append((a, b, center, c))
    found = _named(topology, quadruples)
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
    return _named(topology, quadruples)


def free_torsions(topology: app.Topology, restrained: np.ndarray) -> NamedTorsions:
    """Heavy-atom proper torsions that are not restrained: what a representation may have left out."""
    neighbours, heavy, quadruples = _neighbours(topology), _heavy(topology), []
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
    return _named(topology, quadruples)


def integrity_problems(
    topology: app.Topology, structures: np.ndarray, frames: np.ndarray, omega_tolerance: float = OMEGA_TOLERANCE
) -> list[str]:
    """What broke along one path, empty if nothing did.

    Args:
        topology: of the molecule.
        structures: the two end structures [nm], shape (2, n_atoms, 3); what differs between them may change.
        frames: shape (T, n_atoms, 3) [nm].
        omega_tolerance: how far a peptide bond may be turned [rad]; heat alone turns it by 30 degrees.
    """
    problems = []
    chiral = chiral_centers(topology)
    if chiral.names:
        first = np.sign(chiral.angles(structures[0]))
        flipped = np.any(np.sign(chiral.angles(frames)) != first, axis=0)
        problems += [f"chirality of {n} flipped" for n, bad in zip(chiral.names, flipped, strict=True) if bad]
    checks = [
        (omega_torsions(topology), omega_tolerance, "peptide bond {} turned"),
        (planar_impropers(topology, structures[0]), IMPROPER_TOLERANCE, "planar centre {} flipped"),
        (pucker_torsions(topology), PUCKER_TOLERANCE, "pucker {} changed"),
    ]
    for torsions, tolerance, message in checks:
        if torsions.names:
            problems += _departures(torsions, structures, frames, tolerance, message)
    return problems


def _departures(
    torsions: NamedTorsions, structures: np.ndarray, frames: np.ndarray, tolerance: float, message: str
) -> list[str]:
    """Torsions that leave ``tolerance`` around their value for good.

    Planarity is broken for an instant by vibration (the amide's out-of-plane mode reaches 40 degrees at 300 K), so a
    torsion counts as turned if the median over a tenth of the path, or over the last tenth, lies outside.
    """
    ends = torsions.angles(structures)
    offset = np.abs(wrap(torsions.angles(frames)[:, None] - ends[None])).min(axis=1)
    blocks = np.array_split(offset, min(10, len(offset)))
    worst = np.max([np.median(block, axis=0) for block in blocks], axis=0)
    return [message.format(n) for n, far in zip(torsions.names, worst, strict=True) if far > tolerance]


def hysteresis(
    torsions: NamedTorsions, frames: np.ndarray, curve_parameter: np.ndarray, forward: np.ndarray, bins: int = 20
) -> list[dict[str, float | str]]:
    """Difference of forward and backward distributions of every torsion at equal curve points, worst first.

    For each of ``bins`` intervals of the curve parameter the circular means over all forward and all backward frames
    are compared; a torsion's hysteresis is the largest difference [deg], with its standard error by paths.

    Args:
        torsions: what to look at.
        frames: shape (n, T, n_atoms, 3).
        curve_parameter: shape (n, T).
        forward: shape (n,).
    """
    if not torsions.names or forward.all() or not forward.any():
        return []
    vectors = np.exp(1j * torsions.angles(frames.astype(float)))
    which = np.minimum((curve_parameter * bins).astype(int), bins - 1)
    per_path = np.full((len(frames), bins, len(torsions.names)), np.nan, dtype=complex)
    for path in range(len(frames)):
        for b in range(bins):
            chosen = which[path] == b
            if chosen.any():
                per_path[path, b] = vectors[path, chosen].mean(0)
    seen = [~np.isnan(per_path[side]).all(axis=(0, 2)) for side in (forward, ~forward)]
    filled = np.flatnonzero(seen[0] & seen[1])
    if not len(filled):
        return []
    per_path = per_path[:, filled]
    mean = [np.nanmean(per_path[side], axis=0) for side in (forward, ~forward)]
    difference = np.abs(np.angle(mean[0] / mean[1]))
    scatter = [
        np.nanvar(wrap(np.angle(per_path[side]) - np.angle(m)), axis=0) / max(1, side.sum() - 1)
        for side, m in zip((forward, ~forward), mean, strict=True)
    ]
    error = np.sqrt(scatter[0] + scatter[1])
    worst = np.nanargmax(difference, axis=0)
    rows: list[dict[str, float | str]] = [
        {
            "name": name,
            "difference_deg": float(np.rad2deg(difference[worst[k], k])),
            "error_deg": float(np.rad2deg(error[worst[k], k])),
            "curve_parameter": float((filled[worst[k]] + 0.5) / bins),
        }
        for k, name in enumerate(torsions.names)
    ]
    return sorted(rows, key=lambda row: -float(row["difference_deg"]))
