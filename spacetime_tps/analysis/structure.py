"""Structural integrity of paths, and the torsions that a restraint drags behind."""

from __future__ import annotations

import numpy as np
from openmm import app

from spacetime_tps.representations import wrap
from spacetime_tps.topology import (
    NamedTorsions,
    chiral_centers,
    omega_torsions,
    planar_impropers,
    pucker_torsions,
)

OMEGA_TOLERANCE = np.deg2rad(30.0)
TURNED = np.deg2rad(90.0)
"""A peptide bond beyond is on its other side; short unguided paths twist it by more than 30 degrees for a while."""
IMPROPER_TOLERANCE = np.deg2rad(60.0)
PUCKER_TOLERANCE = np.deg2rad(60.0)


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
    omegas = omega_torsions(topology)
    turning = _turning(omegas, structures)
    nitrogens = set(omegas.quadruples[turning, 2].tolist())
    planar = planar_impropers(topology, structures[0])
    flat = np.array([four[2] not in nitrogens for four in planar.quadruples.tolist()], dtype=bool)
    checks = [
        (omegas.only(~turning), omega_tolerance, "peptide bond {} turned"),
        (planar.only(flat), IMPROPER_TOLERANCE, "planar centre {} flipped"),
        (pucker_torsions(topology), PUCKER_TOLERANCE, "pucker {} changed"),
    ]
    for torsions, tolerance, message in checks:
        if torsions.names:
            problems += _departures(torsions, structures, frames, tolerance, message)
    return problems


def _turning(omegas: NamedTorsions, structures: np.ndarray) -> np.ndarray:
    """Which peptide bonds are cis in one end structure and trans in the other; on the way nothing holds them flat."""
    if not omegas.names:
        return np.zeros(0, dtype=bool)
    cis = np.abs(omegas.angles(structures)) < np.pi / 2
    return cis[0] != cis[1]


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
