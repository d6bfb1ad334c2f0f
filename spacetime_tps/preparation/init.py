"""From two structure files to a folder that ``run`` takes, and an account of what was decided."""

from __future__ import annotations

import io
import os
import warnings
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import openmm
from openmm import app

from spacetime_tps.config import MolecularDynamicsConfig, MoleculeConfig
from spacetime_tps.dynamics import MolecularDynamics, choose_platform
from spacetime_tps.errors import UserError
from spacetime_tps.molecules import (
    box_of,
    load_forcefield,
    openmm_system,
    pdb_text,
    read_amber_topology,
    read_openmm_system,
)
from spacetime_tps.parallel import WorkerPool
from spacetime_tps.preparation.decisions import Decision, decide
from spacetime_tps.preparation.matching import matched, turned_peptide_bonds
from spacetime_tps.preparation.plan import plan_sampling
from spacetime_tps.preparation.reading import Structure, only_chains, read_amber_coordinates, read_structure_file
from spacetime_tps.preparation.repair import check_clashes, repaired
from spacetime_tps.preparation.solvation import PRESSURE_BAR, WaterBox, at_pressure, in_box, scaled, solvated
from spacetime_tps.preparation.survey import relaxed, survey
from spacetime_tps.preparation.system_file import system_yaml
from spacetime_tps.preparation.system_folder import check_folder, write_folder
from spacetime_tps.preparation.torsions import candidates, quadruples_of
from spacetime_tps.structures import check_structure
from spacetime_tps.topology import Isomers, atom_labels, is_solvent, solute_atoms
from spacetime_tps.untrusted.forcefield import files_beside

PROTEIN, NUCLEIC = "amber14/protein.ff14SB.xml", "amber14-all.xml"
SOLVENTS = {
    "vacuum": [],
    "gbn2": ["implicit/gbn2.xml"],
    "obc2": ["implicit/obc2.xml"],
    "water": ["amber14/tip3p.xml"],
    "kept": ["amber14/tip3p.xml"],
}
"""Force field files of each; ``kept`` is the water that the files hold, in their box."""
_PERIODIC = {"water", "kept"}
_BOXES_DIFFER, _SAME_BOX_NM = 0.05, 1e-3
_NUCLEOTIDES = {"A", "C", "G", "U", "I", "DA", "DC", "DG", "DT", "DI"}
_CHARGED = 0.5
_PRMTOP, _SYSTEM = "molecule.prmtop", "molecule.xml"
_OWN_FORCEFIELDS = [f"forcefield_{k}.xml" for k in range(1, 10)]
_AMBER_COORDINATES = {".inpcrd", ".rst7", ".crd", ".ncrst"}


@dataclass(frozen=True)
class Wishes:
    """What the user asked for; everything else is decided.

    Attributes:
        forcefield: OpenMM force field files; None: amber14 for what the molecule is.
        prmtop: an Amber topology instead.
        openmm_system: a serialised OpenMM System instead.
        chains: of the files that are taken; none: all.
        solvent: of SOLVENTS; None: vacuum for a molecule without charged groups, else gbn2.
        padding: of a box of water: least distance of a structure from its image [nm].
        ionic_strength: of its salt [mol/l].
        cutoff: of PME [nm].
        temperature_k: of the system.
        ph: by which missing hydrogens are added.
        torsions: names of torsions to take in any case.
        with_chi: side chains count like the backbone.
        minutes: that sampling may take on this machine.
        seed: of the short runs.
    """

    forcefield: tuple[str, ...] | None = None
    prmtop: Path | None = None
    openmm_system: Path | None = None
    chains: tuple[str, ...] = ()
    solvent: str | None = None
    padding: float = 1.0
    ionic_strength: float = 0.0
    cutoff: float = 0.9
    temperature_k: float = 300.0
    ph: float = 7.0
    torsions: tuple[str, ...] = ()
    with_chi: bool = False
    minutes: float = 8.0
    seed: int = 0


def prepare(a: Path, b: Path, output: Path, wishes: Wishes, overwrite: bool, pool: WorkerPool) -> list[str]:
    """Make ``output`` a system folder; returns what was decided, one sentence each.

    Raises:
        UserError: the files are no two states of one molecule that can be simulated, or the folder is in use.
    """
    described = tuple(file for file in (wishes.prmtop, wishes.openmm_system) if file is not None)
    check_folder(output, (a, b, *described), overwrite)
    source = _source(a, b, wishes)
    first, second, molecule = source.first, source.second, source.molecule
    _check_labels(first)
    for structure in (first, second):
        check_structure(structure.topology, structure.positions, structure.source)
    words = [*source.words, *_turned(first, second, wishes)]
    dynamics = MolecularDynamics(
        system_xml=openmm.XmlSerializer.serialize(source.system()),
        temperature_k=wishes.temperature_k,
        time_step_ps=molecule.dynamics.time_step,
        friction_per_ps=molecule.dynamics.friction,
    )
    platform, speeds = choose_platform("auto", dynamics, first.positions)
    dynamics = dynamics.on(platform)
    structures = np.stack([relaxed(dynamics, s.positions, s.source) for s in (first, second)])
    _check_still_itself(first, second, structures)
    if wishes.solvent == "water":
        structures, box = at_pressure(dynamics, structures, first.topology, wishes.seed)
        dynamics = dynamics.in_box(box)
        in_box(first.topology, box)
        words.append(_on_water(first.topology, box))
    torsions = candidates(first.topology)
    angles = survey(dynamics, structures, quadruples_of(torsions), wishes.seed, pool)
    decision = decide(torsions, angles, wishes.with_chi, wishes.torsions)
    plan = plan_sampling(dynamics, structures[0], decision, wishes.minutes, pool)
    name = output.resolve().name
    text = system_yaml(
        name, first.topology, decision, plan, molecule, ("a.pdb", "b.pdb"), ("a.pdb", "b.pdb", *source.files)
    )
    write_folder(output, first.topology, structures, text, source.files)
    words += [f"{s.source}: {note}." for s in (first, second) for note in s.notes]
    what = ", ".join(molecule.forcefield or []) or str(*described)
    speed = f"{speeds[platform]:,.0f} steps/s on {platform}"
    words.append(f"{what}: {first.topology.getNumAtoms()} atoms, {speed}.")
    words += _on_states(decision)
    return [*words, plan.why]


@dataclass(frozen=True)
class _Source:
    """Both structures, what describes the molecule, and what was decided.

    Attributes:
        first, second: in the same order of atoms.
        molecule: its description; files by their names in the system folder.
        words: decisions.
        files: that description, by these names.
    """

    first: Structure
    second: Structure
    molecule: MoleculeConfig
    words: list[str]
    files: dict[str, Path]

    def system(self) -> openmm.System:
        """The System before the folder is there."""
        return _system(self.molecule, self.first, self.files)


def _source(a: Path, b: Path, wishes: Wishes) -> _Source:
    if wishes.prmtop is not None and wishes.openmm_system is not None:
        raise UserError("--prmtop and --system both describe the molecule; give one of them.")
    if wishes.chains and (wishes.prmtop is not None or wishes.openmm_system is not None):
        raise UserError("--prmtop and --system describe the molecule whole; leave out --chain.")
    if wishes.prmtop is not None:
        return _amber_source(a, b, wishes.prmtop, wishes)
    if wishes.openmm_system is not None:
        return _xml_source(a, b, wishes.openmm_system, wishes)
    kept = wishes.solvent == "kept"
    raw = [only_chains(read_structure_file(file, keep_solvent=kept), wishes.chains) for file in (a, b)]
    for structure in raw:
        _check_for_twins(structure)
    nucleic = any(residue.name in _NUCLEOTIDES for structure in raw for residue in structure.topology.residues())
    own = [Path(name) for name in wishes.forcefield or () if Path(name).is_file()]
    if len(own) > len(_OWN_FORCEFIELDS):
        raise UserError(f"--forcefield names {len(own)} files; put them into {len(_OWN_FORCEFIELDS)} at most.")
    copies = dict(zip(_OWN_FORCEFIELDS, own, strict=False))
    copied = {str(file): name for name, file in copies.items()}
    copies |= _included(own)
    files = list(wishes.forcefield or (NUCLEIC if nucleic else PROTEIN,))
    if wishes.solvent in _PERIODIC:
        files += SOLVENTS[wishes.solvent]
    forcefield = load_forcefield([Path(name) if Path(name) in own else name for name in files])
    files = [copied.get(str(Path(name)), name) for name in files]
    if wishes.solvent in _PERIODIC:
        first, second, words = _periodic(raw, forcefield, wishes)
        return _Source(first, second, _molecule(wishes, forcefield=files), words, copies)
    first, second = (repaired(structure, forcefield, wishes.ph) for structure in raw)
    second = matched(first, second)
    solvent, words = _solvent(first, _molecule(wishes, forcefield=files), copies, wishes)
    files += SOLVENTS[solvent]
    return _Source(first, second, _molecule(wishes, forcefield=files), words, copies)


def _included(own: list[Path]) -> dict[str, Path]:
    """Files that the user's force fields include, by the names that they keep in the system's folder."""
    found: dict[str, Path] = {}
    for file in own:
        for included in files_beside(file):
            if included.parent != file.parent.resolve():
                raise UserError(f"{file} includes {included}; put that file beside it.")
            if found.setdefault(included.name, included) != included:
                raise UserError(f"Two files that force fields include are called {included.name}; rename one of them.")
    return found


def _periodic(
    raw: list[Structure], forcefield: app.ForceField, wishes: Wishes
) -> tuple[Structure, Structure, list[str]]:
    """Both structures in one box, with the water that they have or that they get."""
    first, second = (repaired(structure, forcefield, wishes.ph) for structure in raw)
    second = matched(first, second)
    if wishes.solvent == "water":
        box = WaterBox(wishes.padding, wishes.ionic_strength, wishes.cutoff)
        return *solvated(first, second, forcefield, box, wishes.seed), []
    return first, *_in_one_box(first, second, box_of(raw[1].topology))


def _in_one_box(first: Structure, second: Structure, own: np.ndarray | None) -> tuple[Structure, list[str]]:
    """The second structure in the box of the first; ``own`` is the box that its file has [nm].

    Raises:
        UserError: a file has no box, or they differ too much.
    """
    box = box_of(first.topology)
    for file, vectors in ((first.source, box), (second.source, own)):
        if vectors is None:
            raise UserError(f"{file} has no periodic box (CRYST1 record), so its water cannot be kept; give one.")
    assert box is not None
    assert own is not None
    if (off := float(np.abs(own - box).max() / np.diag(box).min())) > _BOXES_DIFFER:
        raise UserError(
            f"The periodic boxes of {first.source} and {second.source} differ by {off:.0%}; volume is constant, so "
            "bring both to one box."
        )
    if np.abs(own - box).max() <= _SAME_BOX_NM:
        return second, []
    words = [f"{second.source} is scaled into the box of {first.source}."]
    return replace(second, positions=scaled(second.positions, own, box, second.topology)), words


def _system(molecule: MoleculeConfig, structure: Structure, files: dict[str, Path]) -> openmm.System:
    """The System of a description whose files are not in one folder yet."""
    there = {name: str(file.resolve()) for name, file in files.items()}
    described: dict[str, Any] = {
        key: there[name] for key in ("prmtop", "openmm_system") if (name := getattr(molecule, key)) is not None
    }
    if molecule.forcefield is not None:
        described["forcefield"] = [there.get(name, name) for name in molecule.forcefield]
    nowhere = Path(os.sep)  # the own files have their whole names, and nothing beside the command counts as one
    return openmm_system(molecule.model_copy(update=described), structure.topology, nowhere, structure.source)


def _molecule(wishes: Wishes, **description: Any) -> MoleculeConfig:
    dynamics = MolecularDynamicsConfig.model_validate({"time_step": "2 fs", "friction": "1 /ps"})
    temperature = f"{wishes.temperature_k:.12g} K"
    given = {"kind": "molecule", "temperature": temperature, "dynamics": dynamics, **description}
    if wishes.solvent in _PERIODIC:
        given |= {"nonbonded": "pme", "cutoff": f"{wishes.cutoff:.12g} nm"}
    return MoleculeConfig.model_validate(given)


def _solvent(
    first: Structure, molecule: MoleculeConfig, files: dict[str, Path], wishes: Wishes
) -> tuple[str, list[str]]:
    """The solvent that was asked for; else that of the force field, vacuum without charged residues, or GBn2."""
    system = _system(molecule, first, files)
    if any(isinstance(force, openmm.CustomGBForce | openmm.GBSAOBCForce) for force in system.getForces()):
        if wishes.solvent is not None:
            raise UserError("The force field brings an implicit solvent of its own; leave out --solvent.")
        return "vacuum", ["The force field brings its own implicit solvent."]
    if wishes.solvent is not None:
        return wishes.solvent, []
    if not any(isinstance(force, openmm.NonbondedForce) for force in system.getForces()):
        return "vacuum", ["The force field has no plain charges, and no solvent is added."]
    if _charged(first, system):
        return "gbn2", ["The molecule has charged groups: implicit water, GBn2."]
    return "vacuum", ["The molecule has no charged group: vacuum."]


def _amber_source(a: Path, b: Path, prmtop: Path, wishes: Wishes) -> _Source:
    if wishes.forcefield:
        raise UserError("--forcefield and --prmtop both describe the molecule; give one of them.")
    if wishes.solvent == "water":
        raise UserError("The Amber topology holds its water or none; leave out --solvent, or use --solvent kept.")
    topology = read_amber_topology(prmtop).topology
    topology.setPeriodicBoxVectors(None)
    (first, box), (second, own) = (_with_topology(file, topology) for file in (a, b))
    second, files = matched(first, second), {_PRMTOP: prmtop}
    if wishes.solvent == "kept":
        if box is not None:
            in_box(first.topology, box)
        second, words = _in_one_box(first, second, own)
        return _Source(first, second, _molecule(wishes, prmtop=_PRMTOP), words, files)
    solvent, words = _solvent(first, _molecule(wishes, prmtop=_PRMTOP), files, wishes)
    implicit = None if solvent == "vacuum" else solvent
    return _Source(first, second, _molecule(wishes, prmtop=_PRMTOP, implicit_solvent=implicit), words, files)


def _with_topology(file: Path, topology: app.Topology) -> tuple[Structure, np.ndarray | None]:
    """Coordinates and box of an Amber file, or of a structure file with the same atoms, in an Amber topology."""
    if file.suffix.lower() in _AMBER_COORDINATES:
        positions, box = read_amber_coordinates(file)
        if len(positions) != topology.getNumAtoms():
            raise UserError(f"{file} holds {len(positions)} atoms, the Amber topology {topology.getNumAtoms()}.")
        structure = Structure(str(file), topology, positions)
    else:
        read = read_structure_file(file, keep_solvent=True)
        if [x.name for x in read.topology.atoms()] != [x.name for x in topology.atoms()]:
            raise UserError(f"{file} does not hold the atoms of the Amber topology in their order; make it from that.")
        structure, box = Structure(read.source, topology, read.positions, read.notes), box_of(read.topology)
    check_clashes(structure)
    return structure, box


def _xml_source(a: Path, b: Path, file: Path, wishes: Wishes) -> _Source:
    if wishes.forcefield or wishes.solvent:
        raise UserError("--system describes the molecule whole; leave out --forcefield and --solvent.")
    periodic = read_openmm_system(file).usesPeriodicBoundaryConditions()
    first, other = (read_structure_file(each, keep_solvent=periodic) for each in (a, b))
    for structure in (first, other):
        check_clashes(structure)
    second = matched(first, other)
    words: list[str] = []
    if periodic:
        second, words = _in_one_box(first, second, box_of(other.topology))
    return _Source(first, second, _molecule(wishes, openmm_system=_SYSTEM), words, {_SYSTEM: file})


def _turned(first: Structure, second: Structure, wishes: Wishes) -> list[str]:
    words = []
    for residue, _, proline in turned_peptide_bonds(first, second):
        if not proline and not any(name.startswith("omega") for name in wishes.torsions):
            raise UserError(
                f"{first.source} and {second.source} differ in the peptide bond before {residue} (cis and trans), "
                "which hardly ever turns; mend the wrong file, or name its omega with --torsion if it is meant."
            )
        words.append(f"The peptide bond before {residue} is cis in one state and trans in the other: omega turns.")
    return words


def _charged(structure: Structure, system: openmm.System) -> bool:
    """Whether a residue carries a net charge."""
    force = next((f for f in system.getForces() if isinstance(f, openmm.NonbondedForce)), None)
    if force is None:
        return False
    return any(
        abs(sum(force.getParticleParameters(atom.index)[0]._value for atom in residue.atoms())) > _CHARGED
        for residue in structure.topology.residues()
    )


def _check_still_itself(first: Structure, second: Structure, structures: np.ndarray) -> None:
    """Relaxation must not turn what no path turns."""
    none = np.zeros((0, 4), dtype=int)
    for given, relaxed_positions in zip((first, second), structures, strict=True):
        isomers = Isomers.of(first.topology, np.stack([given.positions] * 2), none)
        broken = isomers.broken(relaxed_positions[None])[0]
        if broken.any():
            raise UserError(
                f"{given.source}: relaxing it changes the {isomers.names[int(broken.argmax())]}, so the structure is "
                "strained; give a better one."
            )


def _on_states(decision: Decision) -> list[str]:
    words = [f"Torsion {note}." for note in decision.notes]
    shares = " and ".join(f"{share:.0%}" for share in decision.inside)
    runs = "These angles are means over eight free runs of 20 ps from either structure"
    return [*words, f"{runs}, which lay within the boxes of states A and B {shares} of the time."]


def _on_water(topology: app.Topology, box: np.ndarray) -> str:
    counts = Counter(residue.name for residue in topology.residues() if is_solvent(residue))
    what = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
    return (
        f"Periodic box of {np.linalg.det(box):.1f} nm^3 with {what}, at the mean volume that both structures take at "
        f"{PRESSURE_BAR:g} bar; everything after is at constant volume."
    )


def _check_for_twins(structure: Structure) -> None:
    """Atoms of the solute must have names of their own."""
    counts = Counter(_solute_labels(structure.topology))
    doubled = [label for label, count in counts.items() if count > 1]
    if doubled:
        raise UserError(
            f"{structure.source}: {counts[doubled[0]]} atoms are called {doubled[0]}; keep one of them, or give every "
            "chain a letter and every residue of a chain a number of its own."
        )


def _check_labels(structure: Structure) -> None:
    """Names of the solute's atoms must be their own, and such as a PDB file keeps."""
    _check_for_twins(structure)
    labels = _solute_labels(structure.topology)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        written = app.PDBFile(io.StringIO(pdb_text(structure.topology, structure.positions))).topology
    if _solute_labels(written) != labels:
        raise UserError(
            f"{structure.source}: its residue numbers or chains do not fit a PDB file; number residues from 1 to 9999 "
            "and name chains by single letters."
        )


def _solute_labels(topology: app.Topology) -> list[str]:
    labels = atom_labels(topology)
    return [labels[k] for k in solute_atoms(topology)]
