"""Build the two end states of alanine dipeptide from its sequence, ACE-ALA-NME.

Heavy atoms are placed one after another from textbook bond lengths, angles and torsions; OpenMM adds the hydrogens
and minimises the energy (amber14 ff14SB, vacuum), first with phi and psi held in the basin, then freely.
Writes ``systems/alanine_dipeptide/c5.pdb`` and ``c7ax.pdb`` and prints where each minimum lies.

    python scripts/build_alanine_dipeptide.py
"""

from __future__ import annotations

from pathlib import Path

import mdtraj
import numpy as np
import openmm
from openmm import app, unit

SYSTEM_FOLDER = Path(__file__).resolve().parent.parent / "systems" / "alanine_dipeptide"
BASINS_DEG = {"c5": (-152.0, 160.0), "c7ax": (61.0, -41.0)}

# Rows of a Z-matrix: residue, atom, element, then (reference atom, value) for bond [nm], angle and torsion [deg].
# Names in the torsion column stand for the two free torsions.
Z_MATRIX = [
    ("ACE", "CH3", "C", None, None, None),
    ("ACE", "C", "C", ("CH3", 0.1522), None, None),
    ("ACE", "O", "O", ("C", 0.1229), ("CH3", 120.4), None),
    ("ALA", "N", "N", ("ACE:C", 0.1335), ("ACE:CH3", 116.6), ("ACE:O", 180.0)),
    ("ALA", "CA", "C", ("N", 0.1449), ("ACE:C", 121.9), ("ACE:CH3", 180.0)),
    ("ALA", "C", "C", ("CA", 0.1522), ("N", 110.1), ("ACE:C", "phi")),
    ("ALA", "CB", "C", ("CA", 0.1526), ("N", 109.7), ("C", -122.0)),
    ("ALA", "O", "O", ("C", 0.1229), ("CA", 120.4), ("N", "psi+180")),
    ("NME", "N", "N", ("ALA:C", 0.1335), ("ALA:CA", 116.6), ("ALA:N", "psi")),
    ("NME", "C", "C", ("N", 0.1449), ("ALA:C", 121.9), ("ALA:CA", 180.0)),
]
BONDS = [
    ("ACE:CH3", "ACE:C"), ("ACE:C", "ACE:O"), ("ACE:C", "ALA:N"), ("ALA:N", "ALA:CA"), ("ALA:CA", "ALA:C"),
    ("ALA:CA", "ALA:CB"), ("ALA:C", "ALA:O"), ("ALA:C", "NME:N"), ("NME:N", "NME:C"),
]  # fmt: skip


def place(bond_nm: float, angle_deg: float, torsion_deg: float, a: np.ndarray, b: np.ndarray, c: np.ndarray):
    """Position of d with |cd| = bond, angle(b, c, d) and torsion(a, b, c, d) (natural extension reference frame)."""
    angle, torsion = np.deg2rad(angle_deg), np.deg2rad(torsion_deg)
    bc = (c - b) / np.linalg.norm(c - b)
    normal = np.cross(b - a, bc)
    normal /= np.linalg.norm(normal)
    local = bond_nm * np.array([-np.cos(angle), np.sin(angle) * np.cos(torsion), np.sin(angle) * np.sin(torsion)])
    return c + local[0] * bc + local[1] * np.cross(normal, bc) + local[2] * normal


def heavy_atom_positions(phi_deg: float, psi_deg: float) -> dict[str, np.ndarray]:
    """Heavy-atom positions [nm] of the L enantiomer, keyed by ``RESIDUE:ATOM``."""
    torsions = {"phi": phi_deg, "psi": psi_deg, "psi+180": psi_deg + 180.0}
    at: dict[str, np.ndarray] = {}
    for residue, atom, _, bond, angle, torsion in Z_MATRIX:
        full = [r[0] if r is None or ":" in r[0] else f"{residue}:{r[0]}" for r in (bond, angle, torsion) if r]
        if bond is None:
            position = np.zeros(3)
        elif angle is None:
            position = np.array([bond[1], 0.0, 0.0])
        else:
            third = at[full[2]] if torsion else np.array([0.0, 1.0, 0.0])
            value = (torsions.get(torsion[1], torsion[1])) if torsion else 180.0
            position = place(bond[1], angle[1], value, third, at[full[1]], at[full[0]])
        at[f"{residue}:{atom}"] = position
    return at


def build_topology() -> app.Topology:
    topology = app.Topology()
    chain = topology.addChain("A")
    residues: dict[str, app.topology.Residue] = {}
    atoms = {}
    for residue, name, element, *_ in Z_MATRIX:
        if residue not in residues:
            residues[residue] = topology.addResidue(residue, chain)
        atoms[f"{residue}:{name}"] = topology.addAtom(name, app.Element.getBySymbol(element), residues[residue])
    for first, second in BONDS:
        topology.addBond(atoms[first], atoms[second])
    return topology


def minimise(topology: app.Topology, positions, forcefield: app.ForceField, target_deg: tuple[float, float]):
    """Relax with phi and psi held at ``target_deg``, then without; return positions and energy [kJ/mol]."""
    names = {(atom.residue.name, atom.name): atom.index for atom in topology.atoms()}
    ala = {name: names["ALA", name] for name in ("N", "CA", "C")}
    torsions = [
        (names["ACE", "C"], ala["N"], ala["CA"], ala["C"]),
        (ala["N"], ala["CA"], ala["C"], names["NME", "N"]),
    ]
    system = forcefield.createSystem(topology, nonbondedMethod=app.NoCutoff, constraints=None)
    hold = openmm.CustomTorsionForce("-k*cos(theta-theta0)")
    hold.addGlobalParameter("k", 2000.0)
    hold.addPerTorsionParameter("theta0")
    for atoms, degrees in zip(torsions, target_deg, strict=True):
        hold.addTorsion(*atoms, [np.deg2rad(degrees)])
    system.addForce(hold)
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(positions)
    for k in (2000.0, 0.0):
        context.setParameter("k", k)
        openmm.LocalEnergyMinimizer.minimize(context, tolerance=0.01)
    state = context.getState(positions=True, energy=True)
    return state.getPositions(), state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)


def main() -> None:
    forcefield = app.ForceField("amber14/protein.ff14SB.xml")
    for name, (phi_deg, psi_deg) in BASINS_DEG.items():
        heavy = list(heavy_atom_positions(phi_deg, psi_deg).values())
        modeller = app.Modeller(build_topology(), [openmm.Vec3(*xyz) for xyz in heavy] * unit.nanometer)
        modeller.addHydrogens(forcefield, platform=openmm.Platform.getPlatformByName("Reference"))
        positions, energy = minimise(modeller.topology, modeller.positions, forcefield, (phi_deg, psi_deg))
        path = SYSTEM_FOLDER / f"{name}.pdb"
        with path.open("w") as handle:
            app.PDBFile.writeFile(modeller.topology, positions, handle)
        trajectory = mdtraj.load(str(path))
        phi, psi = (np.rad2deg(compute(trajectory)[1][0, 0]) for compute in (mdtraj.compute_phi, mdtraj.compute_psi))
        print(f"{path.name}: phi {phi:.1f} deg, psi {psi:.1f} deg, energy {energy:.2f} kJ/mol")


if __name__ == "__main__":
    main()
