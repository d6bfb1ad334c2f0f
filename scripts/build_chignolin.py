"""Build the end structures of systems/chignolin, GYDPETGTWG with free termini, from the sequence and published numbers.

The folded end starts from the torsions of model 1 of PDB entry 1UAO (NMR; Honda, Yamasaki, Sawada, Morii, Structure 12,
1507, 2004), measured in that entry and rounded to degrees, and is held by them and by the hydrogen bonds of the hairpin
while side chains find their place; then all restraints are released. The other end is an extended chain. Both are
minimised in the system's own force field (ff14SB, GBn2). ``--check`` simulates the folded end without any restraint.

    python scripts/build_chignolin.py systems/chignolin
    python scripts/build_chignolin.py systems/chignolin --check 1000      # ps
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import mdtraj
import numpy as np
import openmm
from build_peptide import uncapped, whole
from openmm import app, unit

from spacetime_tps.errors import UserError, plain_errors
from spacetime_tps.files import replacing

RESIDUES = ["GLY", "TYR", "ASP", "PRO", "GLU", "THR", "GLY", "THR", "TRP", "GLY"]
PHI_PSI = [(0, -177), (-85, 98), (-72, 115), (-76, -13), (-60, -39), (-107, -22), (91, 34), (-161, 165), (-69, 107)]
"""Of residues 1 to 9 of 1UAO, model 1 [deg]; phi of residue 10 is -49."""
LAST_PHI = -49
CHI = {2: (-180, 87), 3: (-175, 57), 5: (-156, -107), 6: (75,), 8: (16,), 9: (-36, 95)}
"""chi1 and chi2 of the same [deg]; the ring of Pro4 is left alone."""
HYDROGEN_BONDS = {(3, "N", 8, "O"): 0.313, (7, "N", 3, "O"): 0.304, (8, "N", 3, "O"): 0.320}
"""Donor and acceptor, and their distance in the same model [nm]."""
EXTENDED, EXTENDED_PRO = (-140.0, 140.0), (-70.0, 140.0)
FORCEFIELD = ("amber14/protein.ff14SB.xml", "implicit/gbn2.xml")
TEMPERATURE, FRICTION, STEP, HYDROGEN_MASS = 300.0, 1.0, 0.004, 3.0
HOLD_TORSIONS, HOLD_BONDS = 300.0, 20_000.0
"""[kJ/mol] and [kJ/mol/nm^2]."""
HELD_PS = 40.0
CHI_ATOMS = {
    "TYR": ("CG", "CD1"), "ASP": ("CG", "OD1"), "GLU": ("CG", "CD"), "THR": ("OG1",), "TRP": ("CG", "CD1"),
}  # fmt: skip


Torsion = tuple[list[int], float]
"""Four atoms and a value [deg]."""
Chi = dict[int, tuple[float, ...]]
Bonds = dict[tuple[int, str, int, str], float]


class Chain:
    """The peptide in its force field, with restraints that can be let go."""

    def __init__(self, phi_psi: list[tuple[float, float]]):
        self.phi_psi = phi_psi
        self.topology, self.positions = whole(RESIDUES, uncapped(RESIDUES, phi_psi))
        self.index = {(atom.residue.index + 1, atom.name): atom.index for atom in self.topology.atoms()}

    def context(self, chi: Chi | None = None, bonds: Bonds | None = None) -> openmm.Context:
        """With the backbone, some side chains and distances held while the parameter ``held`` is 1."""
        system = app.ForceField(*FORCEFIELD).createSystem(
            self.topology, nonbondedMethod=app.NoCutoff, constraints=app.HBonds, hydrogenMass=HYDROGEN_MASS
        )
        turn = openmm.CustomTorsionForce(f"-held*{HOLD_TORSIONS}*cos(theta-theta0)")
        bond = openmm.CustomBondForce(f"0.5*held*{HOLD_BONDS}*(r-r0)^2")
        for force in (turn, bond):
            force.addGlobalParameter("held", 1.0)
            system.addForce(force)
        turn.addPerTorsionParameter("theta0")
        bond.addPerBondParameter("r0")
        for atoms, degrees in self.backbone() + self.omegas() + self.side_chains(chi or {}):
            turn.addTorsion(*atoms, [np.deg2rad(degrees)])
        for (donor, n, acceptor, o), length in (bonds or {}).items():
            bond.addBond(self.index[donor, n], self.index[acceptor, o], [length])
        integrator = openmm.LangevinMiddleIntegrator(TEMPERATURE, FRICTION, STEP)
        integrator.setRandomNumberSeed(1)
        platform = openmm.Platform.getPlatformByName("CPU")
        context = openmm.Context(system, integrator, platform, {"Threads": "1", "DeterministicForces": "true"})
        context.setPositions(self.positions)
        return context

    def backbone(self) -> list[Torsion]:
        """Every phi and psi with the value that the chain was built with [deg]."""
        phis = [([(k - 1, "C"), (k, "N"), (k, "CA"), (k, "C")], self.phi_psi[k - 1][0]) for k in range(2, 11)]
        psis = [([(k, "N"), (k, "CA"), (k, "C"), (k + 1, "N")], self.phi_psi[k - 1][1]) for k in range(1, 10)]
        return [self._torsion(*each) for each in phis + psis]

    def omegas(self) -> list[Torsion]:
        """Every peptide bond is trans."""
        return [self._torsion([(k, "CA"), (k, "C"), (k + 1, "N"), (k + 1, "CA")], 180.0) for k in range(1, 10)]

    def side_chains(self, chi: Chi) -> list[Torsion]:
        """chi1 and chi2 of some residues."""
        found = []
        for k, values in chi.items():
            chain = [(k, name) for name in ("N", "CA", "CB", *CHI_ATOMS[RESIDUES[k - 1]])]
            found += [self._torsion(chain[n : n + 4], value) for n, value in enumerate(values)]
        return found

    def _torsion(self, atoms: list[tuple[int, str]], degrees: float) -> Torsion:
        return [self.index[atom] for atom in atoms], float(degrees)

    def is_made_of_l_amino_acids(self, frame: np.ndarray) -> bool:
        """Whether N, C, CB, CA of every residue but glycine turn as they should."""
        fours = [
            [self.index[k, name] for name in ("N", "C", "CB", "CA")]
            for k, residue in enumerate(RESIDUES, 1)
            if residue != "GLY"
        ]
        return bool((mdtraj.compute_dihedrals(self.trajectory(frame[None]), fours) < 0).all())

    def trajectory(self, frames: np.ndarray) -> mdtraj.Trajectory:
        """Frames [nm], shape (n, n_atoms, 3)."""
        return mdtraj.Trajectory(np.asarray(frames, dtype=np.float32), mdtraj.Topology.from_openmm(self.topology))

    def write(self, context: openmm.Context, file: Path) -> float:
        """The positions as PDB; the energy of the molecule alone [kJ/mol]."""
        state = context.getState(positions=True, energy=True)
        assert self.is_made_of_l_amino_acids(frame_of(context))
        with replacing(file) as temporary, temporary.open("w") as handle:
            app.PDBFile.writeFile(self.topology, state.getPositions(), handle)
        return state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)


def frame_of(context: openmm.Context) -> np.ndarray:
    return context.getState(positions=True).getPositions(asNumpy=True).value_in_unit(unit.nanometer)


def fold(file: Path) -> None:
    """From the sequence to the folded end."""
    chain = Chain([*PHI_PSI, (LAST_PHI, 120)])
    context = chain.context(CHI, HYDROGEN_BONDS)
    openmm.LocalEnergyMinimizer.minimize(context)
    context.setVelocitiesToTemperature(TEMPERATURE, 1)
    for held in np.linspace(1.0, 0.0, 5):
        context.setParameter("held", held)
        context.getIntegrator().step(round(HELD_PS / 5 / STEP))
    openmm.LocalEnergyMinimizer.minimize(context, tolerance=1.0)
    energy = chain.write(context, file)
    frame = chain.trajectory(frame_of(context)[None])
    atoms, wanted = zip(*chain.backbone(), strict=True)
    off = (np.rad2deg(mdtraj.compute_dihedrals(frame, list(atoms))[0]) - wanted + 180) % 360 - 180
    bonds = ", ".join(f"{name} {value:.2f}" for name, value in bonds_of(chain, frame)[0].items())
    print(f"{file}: {energy:.1f} kJ/mol, backbone torsions {np.abs(off).mean():.0f} deg from 1UAO on average, "
          f"{np.abs(off).max():.0f} at most; hydrogen bonds [nm] {bonds}")  # fmt: skip


def extend(file: Path) -> None:
    chain = Chain([EXTENDED_PRO if name == "PRO" else EXTENDED for name in RESIDUES])
    context = chain.context()
    for held in (1.0, 0.0):
        context.setParameter("held", held)
        openmm.LocalEnergyMinimizer.minimize(context, tolerance=1.0)
    energy = chain.write(context, file)
    ends = chain.index[1, "CA"], chain.index[10, "CA"]
    length = mdtraj.compute_distances(chain.trajectory(frame_of(context)[None]), [ends])[0, 0]
    print(f"{file}: {energy:.1f} kJ/mol, {length:.2f} nm from end to end")


def bonds_of(chain: Chain, frames: mdtraj.Trajectory) -> list[dict[str, float]]:
    """Distances of the hydrogen bonds [nm], frame by frame."""
    pairs = [(chain.index[d, n], chain.index[a, o]) for d, n, a, o in HYDROGEN_BONDS]
    names = [f"{RESIDUES[d - 1]}{d}:{n}-{RESIDUES[a - 1]}{a}:{o}" for d, n, a, o in HYDROGEN_BONDS]
    return [dict(zip(names, row.tolist(), strict=True)) for row in mdtraj.compute_distances(frames, pairs)]


def check(folder: Path, picoseconds: int) -> None:
    """Free dynamics from the folded end: how far it goes from where it started."""
    chain = Chain([*PHI_PSI, (LAST_PHI, 120)])
    start = mdtraj.load(folder / "folded.pdb")
    if start.topology != mdtraj.Topology.from_openmm(chain.topology):
        raise UserError(f"{folder / 'folded.pdb'} does not hold the atoms of {' '.join(RESIDUES)}; make it anew.")
    chain.positions = start.xyz[0]
    context = chain.context()
    context.setParameter("held", 0.0)
    context.setVelocitiesToTemperature(TEMPERATURE, 1)
    frames, started = [], time.perf_counter()
    for _ in range(picoseconds):
        context.getIntegrator().step(round(1.0 / STEP))
        frames.append(frame_of(context))
    passed = time.perf_counter() - started
    seen = chain.trajectory(frames)
    seen.save(folder / "check.dcd")
    alphas = seen.topology.select("name CA")
    rmsd = mdtraj.rmsd(seen, start, atom_indices=alphas)
    bonds = np.array([list(row.values()) for row in bonds_of(chain, seen)])
    print(f"{picoseconds} ps, {picoseconds / STEP / passed:.0f} steps/s; C-alpha RMSD [nm] by tenths: "
          + " ".join(f"{part.mean():.3f}" for part in np.array_split(rmsd, 10))
          + f", largest {rmsd.max():.3f}; hydrogen bonds within 0.35 nm "
          + " ".join(f"{share:.0%}" for share in (bonds < 0.35).mean(axis=0)))  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--check", type=int, metavar="PS", help="only simulate the folded end for so long")
    given = parser.parse_args()
    if given.check is not None and given.check < 1:
        parser.error("--check should be one picosecond or more")
    if given.check is not None:
        check(given.folder, given.check)
        return
    fold(given.folder / "folded.pdb")
    extend(given.folder / "extended.pdb")


if __name__ == "__main__":
    with plain_errors():
        main()
