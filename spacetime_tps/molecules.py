"""A molecule as files have it: its structures, and the OpenMM System that describes it."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import openmm
from openmm import app, unit

from spacetime_tps.bonded import check_bonded
from spacetime_tps.config import MoleculeConfig
from spacetime_tps.errors import UserError, explained
from spacetime_tps.inputs import regular_file
from spacetime_tps.topology import is_solvent
from spacetime_tps.untrusted.forcefield import read_forcefield
from spacetime_tps.untrusted.system_xml import read_system_xml

_LIGHT_U = 5.5
"""Heavier is no hydrogen, however masses are repartitioned."""
_LEAST_U = 1.0
_FARTHEST_NM = 900.0
"""A PDB file has no room for more."""
_CONSTRAINTS = {"none": None, "hbonds": app.HBonds}
_NONBONDED = {"no_cutoff": app.NoCutoff, "pme": app.PME}
_IMPLICIT = {"hct": app.HCT, "obc1": app.OBC1, "obc2": app.OBC2, "gbn": app.GBn, "gbn2": app.GBn2}
_SECTIONS = {
    **dict.fromkeys(("ATOM_NAME", "CHARGE", "MASS", "NUMBER_EXCLUDED_ATOMS", "ATOM_TYPE_INDEX"), (1, 0)),
    **dict.fromkeys(("RESIDUE_LABEL", "RESIDUE_POINTER"), (1, 11)),
    **dict.fromkeys(("BOND_FORCE_CONSTANT", "BOND_EQUIL_VALUE"), (1, 15)),
    **dict.fromkeys(("ANGLE_FORCE_CONSTANT", "ANGLE_EQUIL_VALUE"), (1, 16)),
    **dict.fromkeys(("DIHEDRAL_FORCE_CONSTANT", "DIHEDRAL_PERIODICITY", "DIHEDRAL_PHASE"), (1, 17)),
    "BONDS_INC_HYDROGEN": (3, 2),
    "BONDS_WITHOUT_HYDROGEN": (3, 12),
    "ANGLES_INC_HYDROGEN": (4, 4),
    "ANGLES_WITHOUT_HYDROGEN": (4, 13),
    "DIHEDRALS_INC_HYDROGEN": (5, 6),
    "DIHEDRALS_WITHOUT_HYDROGEN": (5, 14),
    "EXCLUDED_ATOMS_LIST": (1, 10),
}
"""Values in each section of an Amber topology: so many for each of what POINTERS count in that place."""
_FOREIGN = ("Barostat", "Thermostat")


def read_pdb_file(path: Path, shown: str) -> tuple[app.Topology, np.ndarray]:
    """Topology and positions [nm], shape (n_atoms, 3), of a PDB file that is called ``shown`` in messages.

    Raises:
        UserError: the file is missing, damaged or no structure.
    """
    text = regular_file(path, named=f"The PDB file {shown}").read_bytes().decode("utf-8-sig", errors="replace")
    with explained(f"{path} is not a complete PDB file"):
        pdb = app.PDBFile(io.StringIO(text))
        positions = np.array(pdb.getPositions(asNumpy=True)._value, dtype=float)
    if len(positions) == 0:
        raise UserError(f"{path} holds no atoms.")
    if not np.isfinite(positions).all():
        raise UserError(f"{path} holds coordinates that are not finite.")
    if cut := _cut_lines(text):
        raise UserError(f"{path}: line {cut[0]} ends before its coordinates do; give a complete PDB file.")
    if np.abs(positions).max() > _FARTHEST_NM:
        raise UserError(f"{path} holds coordinates beyond {_FARTHEST_NM:.0f} nm; check its columns.")
    return pdb.topology, positions


def pdb_text(topology: app.Topology, positions: np.ndarray) -> str:
    """A structure [nm], shape (n_atoms, 3), as the text of a PDB file that keeps residue numbers and chains."""
    text = io.StringIO()
    app.PDBFile.writeFile(topology, positions * unit.nanometer, text, keepIds=True)
    return text.getvalue()


def _cut_lines(text: str) -> list[int]:
    """Numbers of atom lines that end within the coordinates (columns 31 to 54)."""
    lines = text.splitlines()
    return [k for k, line in enumerate(lines, 1) if line.startswith(("ATOM", "HETATM")) and len(line.rstrip()) < 54]


def check_same_molecule(files: str, first: app.Topology, second: app.Topology) -> None:
    """Two topologies have to hold the same atoms in the same order; ``files`` says whose they are.

    Raises:
        UserError: they do not.
    """
    a, b = ([(x.residue.id, x.residue.name, x.name) for x in topology.atoms()] for topology in (first, second))
    if a == b:
        return
    if len(a) != len(b):
        raise UserError(f"{files} are not the same molecule: they have {len(a)} and {len(b)} atoms.")
    k = next(k for k in range(len(a)) if a[k] != b[k])
    raise UserError(
        f"{files} are not the same molecule, atom by atom in the same order: atom {k + 1} is "
        f"{a[k][1]}{a[k][0]}:{a[k][2]} in one and {b[k][1]}{b[k][0]}:{b[k][2]} in the other."
    )


def openmm_system(molecule: MoleculeConfig, topology: app.Topology, folder: Path, source: str) -> openmm.System:
    """The System of a molecule, from force field files, an Amber topology or a serialised System.

    Args:
        molecule: where it comes from; its files are relative to ``folder``.
        topology: of the structures.
        folder: of the system file.
        source: file of the first structure, for messages.

    Raises:
        UserError: a file is missing or damaged, or does not fit the structures.
    """
    if molecule.nonbonded == "pme":
        _check_box(topology, molecule.cutoff, source)
    if molecule.prmtop is not None:
        system = _from_amber(molecule, topology, folder / molecule.prmtop, source)
    elif molecule.openmm_system is not None:
        system = _from_xml(folder / molecule.openmm_system, topology, source)
    else:
        system = _from_forcefield(molecule, topology, folder, source)
    frozen = [k for k in range(system.getNumParticles()) if system.getParticleMass(k)._value == 0]
    if any(not system.isVirtualSite(k) for k in frozen):
        raise UserError(f"{source}: {len(frozen)} of its atoms have no mass and would never move; give them masses.")
    if molecule.hydrogen_mass is not None:
        _check_masses(system, molecule.hydrogen_mass, source)
    return system


def _check_masses(system: openmm.System, hydrogen: float, source: str) -> None:
    """What hydrogens took from their neighbours has to leave these a mass."""
    masses = [system.getParticleMass(k)._value for k in range(system.getNumParticles()) if not system.isVirtualSite(k)]
    if (lightest := min(masses)) < min(_LEAST_U, hydrogen):
        raise UserError(
            f"system.hydrogen_mass is {hydrogen:g} Da, which leaves an atom of {source} with {lightest:.3g} Da; "
            "take 4 Da or less."
        )


def box_of(topology: app.Topology) -> np.ndarray | None:
    """Periodic box vectors [nm], shape (3, 3); None without a box."""
    vectors = topology.getPeriodicBoxVectors()
    return None if vectors is None else np.array(vectors.value_in_unit(unit.nanometer))


def _check_box(topology: app.Topology, cutoff: float, source: str) -> None:
    box = box_of(topology)
    if box is None:
        raise UserError(f"{source} has no periodic box (CRYST1 record), which system.nonbonded pme asks for; give one.")
    if (least := float(np.diag(box).min())) <= 2 * cutoff:
        raise UserError(
            f"The periodic box of {source} is {least:.2f} nm wide, which has to be more than twice system.cutoff, "
            f"{cutoff:g} nm; give a larger box or a shorter cutoff."
        )


def check_whole(topology: app.Topology, positions: np.ndarray, source: str) -> None:
    """Refuse molecules that a box has cut: torsions are those of atoms as they stand in the file.

    Args:
        topology: with its box.
        positions: shape (n_atoms, 3) [nm].
        source: file, for messages.

    Raises:
        UserError: two bonded atoms lie at opposite sides of the box.
    """
    box = box_of(topology)
    bonds = [(a, b) for a, b in topology.bonds() if not is_solvent(a.residue)]
    if box is None or not bonds:
        return
    first, second = (np.array([atoms[k].index for atoms in bonds]) for k in (0, 1))
    length = np.linalg.norm(positions[first] - positions[second], axis=1)
    if length.max() > np.diag(box).min() / 2:
        a, b = bonds[int(length.argmax())]
        raise UserError(
            f"{source}: {a.name} and {b.name} of {a.residue.name} {a.residue.id} are bonded and lie {length.max():.1f} "
            "nm apart, at two sides of the periodic box; write the molecule whole."
        )


def load_forcefield(files: Sequence[Path | str]) -> app.ForceField:
    """An OpenMM force field of own files (paths) and installed ones (names).

    Raises:
        UserError: a file is missing or malformed, or holds what is not data.
    """
    with explained(f"The force field {', '.join(map(str, files))} cannot be loaded"):
        return read_forcefield(files)


def _from_forcefield(molecule: MoleculeConfig, topology: app.Topology, folder: Path, source: str) -> openmm.System:
    assert molecule.forcefield is not None
    own = [folder / name for name in molecule.forcefield]
    for file in own:
        if file.exists():
            regular_file(file, "The force field")
    names = zip(own, molecule.forcefield, strict=True)
    forcefield = load_forcefield([file if file.is_file() else name for file, name in names])
    with explained(f"The force field has no parameters for {source}", "check for missing or misnamed atoms"):
        return forcefield.createSystem(
            topology,
            nonbondedMethod=_NONBONDED[molecule.nonbonded],
            nonbondedCutoff=molecule.cutoff,
            constraints=_CONSTRAINTS[molecule.constraints],
            hydrogenMass=molecule.hydrogen_mass,
            removeCMMotion=False,
        )


def read_amber_topology(file: Path) -> app.AmberPrmtopFile:
    """An Amber parameter-topology file.

    Raises:
        UserError: the file is missing or damaged.
    """
    regular_file(file, "The Amber topology")
    with explained(f"{file} cannot be read as an Amber topology"):
        amber = app.AmberPrmtopFile(str(file))
        _check_sections(file, amber._prmtop._raw_data)
        return amber


def _check_sections(file: Path, sections: Mapping[str, Sequence[str]]) -> None:
    """Every section of an Amber topology has to hold what its POINTERS promise: a file that was cut does not."""
    counts = [int(word) for word in sections["POINTERS"]]
    optional = {name: (1, 0) for name in ("RADII", "SCREEN", "JOIN_ARRAY", "IROTAT") if name in sections}
    for name, (each, pointer) in {**_SECTIONS, **optional}.items():
        found, promised = len(sections.get(name, ())), each * counts[pointer]
        if found != promised:
            raise UserError(
                f"{file} is not a complete Amber topology: its section {name} holds {found} values and should hold "
                f"{promised}; write it anew."
            )


def _from_amber(molecule: MoleculeConfig, topology: app.Topology, file: Path, source: str) -> openmm.System:
    amber = read_amber_topology(file)
    names = [[atom.name for atom in each.atoms()] for each in (topology, amber.topology)]
    if names[0] != names[1]:
        raise UserError(f"{source} and {file} do not hold the same atoms in the same order; make one from the other.")
    with explained(f"No OpenMM System can be made of {file}", "gbn and gbn2 take radii mbondi2 or mbondi3"):
        system = amber.createSystem(
            nonbondedMethod=_NONBONDED[molecule.nonbonded],
            nonbondedCutoff=molecule.cutoff,
            constraints=_CONSTRAINTS[molecule.constraints],
            implicitSolvent=None if molecule.implicit_solvent is None else _IMPLICIT[molecule.implicit_solvent],
            hydrogenMass=molecule.hydrogen_mass,
            removeCMMotion=False,
        )
    return _in_box_of(system, topology)


def read_openmm_system(file: Path) -> openmm.System:
    """A serialised OpenMM System; what holds its temperature, pressure or centre of mass is not for us.

    Raises:
        UserError: the file is missing, damaged or no System, or holds a barostat, a thermostat or what is not data.
    """
    regular_file(file, "The OpenMM System")
    with explained(f"{file} cannot be read as an OpenMM System"):
        system = read_system_xml(file)
    if not isinstance(system, openmm.System):
        raise UserError(f"{file} holds an OpenMM {type(system).__name__}, not a System.")
    for k in reversed(range(system.getNumForces())):
        kind = type(system.getForce(k)).__name__
        if kind.endswith(_FOREIGN):
            raise UserError(f"{file} holds a {kind}; temperature and volume are ours to hold: write it without.")
        if kind == "CMMotionRemover":
            system.removeForce(k)
    return system


def _from_xml(file: Path, topology: app.Topology, source: str) -> openmm.System:
    system = read_openmm_system(file)
    if system.getNumParticles() != topology.getNumAtoms():
        counts = f"{system.getNumParticles()} particles and {topology.getNumAtoms()} atoms"
        raise UserError(f"{file} and {source} do not fit: they have {counts}.")
    for k, atom in enumerate(topology.atoms()):
        mass = system.getParticleMass(k)._value
        if mass > 0 and atom.element is not None and (mass < _LIGHT_U) != (atom.element is app.element.hydrogen):
            raise UserError(
                f"{file} and {source} do not hold the same atoms in the same order: number {k + 1} is {atom.name} of "
                f"{atom.residue.name} {atom.residue.id} in one and has a mass of {mass:.3g} u in the other."
            )
    check_bonded(system, topology, str(file), source)
    return _in_box_of(system, topology)


def _in_box_of(system: openmm.System, topology: app.Topology) -> openmm.System:
    """A periodic System takes the box of the structures; one that is not periodic has none."""
    box = box_of(topology)
    if box is not None and system.usesPeriodicBoundaryConditions():
        system.setDefaultPeriodicBoxVectors(*box)
    return system


def torsion_atoms(topology: app.Topology, name: str, atoms: list[str]) -> list[int]:
    """Indices of the four atoms of a torsion, written as in a system file.

    Raises:
        UserError: they are not four different atoms of the molecule.
    """
    index: dict[str, int] = {}
    doubled = set()
    for atom in (atom for residue in topology.residues() if not is_solvent(residue) for atom in residue.atoms()):
        label = f"{atom.residue.id}{atom.residue.insertionCode.strip()}:{atom.name}"
        doubled |= {label} & set(index)
        index[label] = index[f"{atom.residue.chain.id}/{label}"] = atom.index
    if len(atoms) != 4 or len(set(atoms)) != 4:
        raise UserError(f"The torsion {name!r} should name four different atoms, not {atoms}.")
    if twice := [atom for atom in atoms if atom in doubled]:
        raise UserError(
            f"The torsion {name!r} names the atom {twice[0]!r}, which several chains have; write it with its chain, "
            f"such as A/{twice[0]}."
        )
    missing = [atom for atom in atoms if atom not in index]
    if missing:
        raise UserError(
            f"The torsion {name!r} names the atom {missing[0]!r}, which is not in the PDB file; "
            "atoms are written RESIDUE_NUMBER:ATOM, such as 2:CA."
        )
    return [index[atom] for atom in atoms]


def heaviest_hydrogen(topology: app.Topology, system: openmm.System) -> float:
    """Largest mass [u] of a hydrogen; beyond 1.1 masses are repartitioned. 0 without any."""
    hydrogens = [atom.index for atom in topology.atoms() if atom.element is app.element.hydrogen]
    return max((system.getParticleMass(k)._value for k in hydrogens), default=0.0)
