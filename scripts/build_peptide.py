"""Build a structure of a capped peptide from its sequence and backbone torsions.

Backbone atoms and CB are placed one after another from textbook bond lengths, angles and torsions; PDBFixer adds the
rest of the side chains, OpenMM the hydrogens. The energy is minimised (amber14 ff14SB, vacuum), first with the given
torsions held, then freely. The end states of the systems that come with the package were made by --all.

    python scripts/build_peptide.py ACE-ALA-NME --torsions=-152,160 -o c5.pdb
    python scripts/build_peptide.py ACE-ALA-ALA-NME --torsions=-75,54/-75,54 -o c7eq.pdb
    python scripts/build_peptide.py --all
"""

from __future__ import annotations

import argparse
import tempfile
from itertools import pairwise
from pathlib import Path

import mdtraj
import numpy as np
import openmm
from openmm import app, unit
from pdbfixer import PDBFixer

SYSTEMS = Path(__file__).resolve().parent.parent / "systems"
SHIPPED: dict[str, tuple[str, list[tuple[float, float]], list[float] | None]] = {
    "alanine_dipeptide/c5.pdb": ("ACE-ALA-NME", [(-152, 160)], None),
    "alanine_dipeptide/c7ax.pdb": ("ACE-ALA-NME", [(61, -41)], None),
    "alanine_tetrapeptide/c7ax.pdb": ("ACE-ALA-ALA-ALA-NME", [(-83, 70), (61, -41), (-83, 70)], None),
    "alanine_tetrapeptide/helix.pdb": ("ACE-ALA-ALA-ALA-NME", [(-63, -42)] * 3, None),
    "glycine_dipeptide/c7_left.pdb": ("ACE-GLY-NME", [(-83, 70)], None),
    "glycine_dipeptide/c7_right.pdb": ("ACE-GLY-NME", [(83, -70)], None),
    "proline_dipeptide/cis.pdb": ("ACE-PRO-NME", [(-75, -15)], [0, 180]),
    "proline_dipeptide/trans.pdb": ("ACE-PRO-NME", [(-75, 70)], None),
}
FORCEFIELD = "amber14/protein.ff14SB.xml"
HOLD_KJ_MOL = 2000.0


def place(bond_nm: float, angle_deg: float, torsion_deg: float, a: np.ndarray, b: np.ndarray, c: np.ndarray):
    """Position of d with |cd| = bond, angle(b, c, d) and torsion(a, b, c, d) (natural extension reference frame)."""
    angle, torsion = np.deg2rad(angle_deg), np.deg2rad(torsion_deg)
    bc = (c - b) / np.linalg.norm(c - b)
    normal = np.cross(b - a, bc)
    normal /= np.linalg.norm(normal)
    local = bond_nm * np.array([-np.cos(angle), np.sin(angle) * np.cos(torsion), np.sin(angle) * np.sin(torsion)])
    return c + local[0] * bc + local[1] * np.cross(normal, bc) + local[2] * normal


Atoms = list[tuple[int, str, np.ndarray]]
"""Residue number from 0, atom name, position [nm]."""


def backbone(residues: list[str], torsions: list[tuple[float, float]], omegas: list[float]) -> Atoms:
    """Backbone and CB of ACE, L-amino acids, NME.

    Args:
        residues: three-letter names, the caps among them.
        torsions: (phi, psi) of every residue between the caps [deg].
        omegas: of every peptide bond, one more than there are such residues [deg].
    """
    ch3 = np.zeros(3)
    c = np.array([0.1522, 0.0, 0.0])
    o = place(0.1229, 120.4, 180.0, np.array([0.0, 1.0, 0.0]), ch3, c)
    atoms: Atoms = [(0, "CH3", ch3), (0, "C", c), (0, "O", o)]
    n = place(0.1335, 116.6, 180.0, o, ch3, c)
    before, at = ch3, c
    for k, (name, (phi, psi)) in enumerate(zip(residues[1:-1], torsions, strict=True), 1):
        ca = place(0.1449, 121.9, omegas[k - 1], before, at, n)
        c = place(0.1522, 110.1, phi, at, n, ca)
        atoms += [(k, "N", n), (k, "CA", ca), (k, "C", c), (k, "O", place(0.1229, 120.4, psi + 180.0, n, ca, c))]
        if name != "GLY":
            atoms.append((k, "CB", place(0.1526, 109.7, -122.0, c, n, ca)))
        n, before, at = place(0.1335, 116.6, psi, n, ca, c), ca, c
    last = len(residues) - 1
    return [*atoms, (last, "N", n), (last, "C", place(0.1449, 121.9, omegas[-1], before, at, n))]


def uncapped(residues: list[str], torsions: list[tuple[float, float]]) -> Atoms:
    """Backbone and CB of L-amino acids without caps, all peptide bonds trans; phi of the first turns nothing."""
    capped = backbone(["ACE", *residues, "NME"], torsions, [180.0] * (len(residues) + 1))
    return [(k - 1, name, xyz) for k, name, xyz in capped if 0 < k <= len(residues)]


def whole(residues: list[str], atoms: Atoms) -> tuple[app.Topology, unit.Quantity]:
    """Side chains and hydrogens added."""
    topology = app.Topology()
    chain = topology.addChain("A")
    made = [topology.addResidue(name, chain) for name in residues]
    for k, name, _ in atoms:
        topology.addAtom(name, app.Element.getBySymbol(name[0]), made[k])
    positions = [openmm.Vec3(*xyz) for _, _, xyz in atoms] * unit.nanometer
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "backbone.pdb"
        with file.open("w") as handle:
            app.PDBFile.writeFile(topology, positions, handle)
        fixer = PDBFixer(filename=str(file), platform=openmm.Platform.getPlatformByName("Reference"))
    fixer.missingResidues = {}
    fixer.findMissingAtoms()
    fixer.addMissingAtoms(seed=1)
    modeller = app.Modeller(fixer.topology, fixer.positions)
    modeller.addHydrogens(app.ForceField(FORCEFIELD), platform=openmm.Platform.getPlatformByName("Reference"))
    return modeller.topology, modeller.positions


def held_torsions(topology: app.Topology) -> list[tuple[tuple[int, ...], str]]:
    """Atoms of phi, psi and omega, residue after residue."""
    residues = [{atom.name: atom.index for atom in residue.atoms()} for residue in topology.residues()]
    found = []
    for before, here in pairwise(residues):
        carbon, after = before.get("CA", before.get("CH3")), here.get("CA", here.get("C"))
        found.append(((carbon, before["C"], here["N"], after), "omega"))
        if "CA" in here:
            found.append(((before["C"], here["N"], here["CA"], here["C"]), "phi"))
        if "CA" in before:
            found.append(((before["N"], before["CA"], before["C"], here["N"]), "psi"))
    return found


def relaxed(topology: app.Topology, positions: unit.Quantity) -> tuple[unit.Quantity, float]:
    """Minimise with the torsions held where they are, then without; return positions and energy [kJ/mol]."""
    system = app.ForceField(FORCEFIELD).createSystem(topology, nonbondedMethod=app.NoCutoff, constraints=None)
    hold = openmm.CustomTorsionForce("-k*cos(theta-theta0)")
    hold.addGlobalParameter("k", HOLD_KJ_MOL)
    hold.addPerTorsionParameter("theta0")
    frame = np.array(positions.value_in_unit(unit.nanometer))
    for atoms, _ in held_torsions(topology):
        hold.addTorsion(*atoms, [torsion(frame, atoms)])
    system.addForce(hold)
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(positions)
    for k in (HOLD_KJ_MOL, 0.0):
        context.setParameter("k", k)
        openmm.LocalEnergyMinimizer.minimize(context, tolerance=0.01)
    state = context.getState(positions=True, energy=True)
    return state.getPositions(), state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)


def torsion(frame: np.ndarray, atoms: tuple[int, ...]) -> float:
    trajectory = mdtraj.Trajectory(frame[None].astype(np.float32), None)
    return float(mdtraj.compute_dihedrals(trajectory, [atoms])[0, 0])


def build(sequence: str, torsions: list[tuple[float, float]], omegas: list[float] | None, file: Path) -> None:
    residues = sequence.upper().split("-")
    topology, positions = whole(residues, backbone(residues, torsions, omegas or [180.0] * (len(torsions) + 1)))
    positions, energy = relaxed(topology, positions)
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as handle:
        app.PDBFile.writeFile(topology, positions, handle)
    frame = np.array(positions.value_in_unit(unit.nanometer))
    shown = ", ".join(f"{name} {np.rad2deg(torsion(frame, atoms)):.0f}" for atoms, name in held_torsions(topology))
    print(f"{file}: {shown} deg, energy {energy:.2f} kJ/mol")


def numbers(text: str) -> list[float]:
    return [float(part) for part in text.split(",")]


def pairs(text: str) -> list[tuple[float, float]]:
    return [(phi, psi) for phi, psi in map(numbers, text.split("/"))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sequence", nargs="?", help="such as ACE-ALA-GLY-NME; the caps are needed")
    parser.add_argument("--torsions", type=pairs, metavar="PHI,PSI/...", help="of each residue between the caps [deg]")
    parser.add_argument("--omega", type=numbers, help="of each peptide bond [deg]; default: all 180")
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--all", action="store_true", help="the end states in systems/")
    arguments = parser.parse_args()
    if arguments.all:
        for name, (sequence, torsions, omegas) in SHIPPED.items():
            build(sequence, torsions, omegas, SYSTEMS / name)
        return
    if not arguments.sequence or not arguments.torsions or not arguments.output:
        parser.error("give a sequence, --torsions and -o, or --all")
    build(arguments.sequence, arguments.torsions, arguments.omega, arguments.output)


if __name__ == "__main__":
    main()
