"""From two structure files to a folder that ``run`` takes, and an account of what was decided."""

from __future__ import annotations

import io
import logging
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openmm
from openmm import app, unit

from spacetime_tps.dynamics import MolecularDynamics, choose_platform
from spacetime_tps.errors import UserError, reason_of
from spacetime_tps.files import write_text
from spacetime_tps.parallel import WorkerPool
from spacetime_tps.preparation.decisions import Decision, decide
from spacetime_tps.preparation.matching import matched, turned_peptide_bonds
from spacetime_tps.preparation.plan import plan_sampling
from spacetime_tps.preparation.reading import Structure, read_structure_file
from spacetime_tps.preparation.repair import repaired
from spacetime_tps.preparation.survey import relaxed, survey
from spacetime_tps.preparation.system_file import system_yaml
from spacetime_tps.preparation.torsions import candidates, quadruples_of
from spacetime_tps.systems import find_system_file, load_config, load_system
from spacetime_tps.topology import Isomers

logger = logging.getLogger(__name__)

PROTEIN, NUCLEIC = "amber14/protein.ff14SB.xml", "amber14-all.xml"
SOLVENTS = {"vacuum": [], "gbn2": ["implicit/gbn2.xml"], "obc2": ["implicit/obc2.xml"]}
_NUCLEOTIDES = {"A", "C", "G", "U", "I", "DA", "DC", "DG", "DT", "DI"}
_CHARGED = 0.5
_WRITTEN = {"system.yaml", "a.pdb", "b.pdb"}


@dataclass(frozen=True)
class Wishes:
    """What the user asked for; everything else is decided.

    Attributes:
        forcefield: OpenMM force field files; None: amber14 for what the molecule is.
        solvent: ``vacuum``, ``gbn2``, ``obc2``; None: vacuum for a molecule without charged groups, else gbn2.
        temperature_k: of the system.
        ph: by which missing hydrogens are added.
        torsions: names of torsions to take in any case.
        with_chi: side chains count like the backbone.
        minutes: that sampling may take on this machine.
        seed: of the short runs.
    """

    forcefield: tuple[str, ...] | None = None
    solvent: str | None = None
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
    _check_folder(output, overwrite)
    raw = [read_structure_file(file) for file in (a, b)]
    files, words = _forcefield(raw, wishes)
    forcefield = load_forcefield(files)
    first, second = (repaired(structure, forcefield, wishes.ph) for structure in raw)
    second = matched(first, second)
    words += _turned(first, second, wishes)
    solvent = wishes.solvent or ("gbn2" if _charged(first, forcefield) else "vacuum")
    files += SOLVENTS[solvent]
    if wishes.solvent is None:
        medium = "has charged groups: implicit water, GBn2" if solvent == "gbn2" else "has no charged group: vacuum"
        words.append(f"The molecule {medium}.")
    dynamics = _dynamics(first, load_forcefield(files), wishes)
    platform, speeds = choose_platform("auto", dynamics, first.positions)
    dynamics = dynamics.on(platform)
    structures = np.stack([relaxed(dynamics, s.positions, s.source) for s in (first, second)])
    _check_still_itself(first, second, structures)
    torsions = candidates(first.topology)
    angles = survey(dynamics, structures, quadruples_of(torsions), wishes.seed, pool)
    decision = decide(torsions, angles, wishes.with_chi, wishes.torsions)
    plan = plan_sampling(
        dynamics, structures[0], len(decision.torsions), speeds[platform], wishes.minutes, pool.workers, pool
    )
    name = output.resolve().name
    text = system_yaml(name, first.topology, decision, plan, files, wishes.temperature_k, ("a.pdb", "b.pdb"))
    _write(output, first.topology, structures, text)
    words += [f"{s.source}: {note}." for s in (first, second) for note in s.notes]
    speed = f"{speeds[platform]:,.0f} steps/s on {platform}"
    words.append(f"Force field {', '.join(files)}, {first.topology.getNumAtoms()} atoms, {speed}.")
    words += _on_states(decision)
    return [*words, plan.why]


def _check_folder(output: Path, overwrite: bool) -> None:
    if not output.exists():
        return
    if not output.is_dir():
        raise UserError(f"{output} is a file; name a folder with -o.")
    present = {entry.name for entry in output.iterdir()}
    if foreign := sorted(present - _WRITTEN):
        raise UserError(f"{output} holds files that init did not write ({foreign[0]}); name another folder.")
    if present and not overwrite:
        raise UserError(f"{output} is not empty; use --overwrite to prepare it anew, or name another folder.")


def _forcefield(raw: list[Structure], wishes: Wishes) -> tuple[list[str], list[str]]:
    if wishes.forcefield:
        return list(wishes.forcefield), []
    nucleic = any(residue.name in _NUCLEOTIDES for structure in raw for residue in structure.topology.residues())
    return [NUCLEIC if nucleic else PROTEIN], []


def load_forcefield(files: list[str]) -> app.ForceField:
    """An OpenMM force field.

    Raises:
        UserError: a file is missing or malformed.
    """
    try:
        return app.ForceField(*files)
    except Exception as error:  # a missing file and malformed XML raise different things
        raise UserError(f"The force field {', '.join(files)} cannot be loaded ({reason_of(error)}).") from error


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


def _charged(structure: Structure, forcefield: app.ForceField) -> bool:
    """Whether a residue carries a net charge."""
    system = _openmm_system(structure, forcefield)
    force = next((f for f in system.getForces() if isinstance(f, openmm.NonbondedForce)), None)
    if force is None:
        return False
    return any(
        abs(sum(force.getParticleParameters(atom.index)[0]._value for atom in residue.atoms())) > _CHARGED
        for residue in structure.topology.residues()
    )


def _openmm_system(structure: Structure, forcefield: app.ForceField) -> openmm.System:
    try:
        return forcefield.createSystem(
            structure.topology, nonbondedMethod=app.NoCutoff, constraints=app.HBonds, removeCMMotion=False
        )
    except Exception as error:  # template mismatches are plain ValueErrors, other failures are not
        raise UserError(f"{structure.source}: the force field cannot describe it ({reason_of(error)}).") from error


def _dynamics(structure: Structure, forcefield: app.ForceField, wishes: Wishes) -> MolecularDynamics:
    return MolecularDynamics(
        system_xml=openmm.XmlSerializer.serialize(_openmm_system(structure, forcefield)),
        temperature_k=wishes.temperature_k,
        time_step_ps=0.002,
        friction_per_ps=1.0,
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
    return [*words, f"Free runs of 20 ps stayed in state A and in state B {shares} of the time."]


def _write(output: Path, topology: app.Topology, structures: np.ndarray, text: str) -> None:
    """Write the folder, and read it back as ``run`` will; what does not pass is taken away again."""
    existed = output.exists()
    output.mkdir(parents=True, exist_ok=True)
    try:
        for name, positions in zip(("a.pdb", "b.pdb"), structures, strict=True):
            pdb = io.StringIO()
            app.PDBFile.writeFile(topology, positions * unit.nanometer, pdb, keepIds=True)
            write_text(output / name, pdb.getvalue())
        write_text(output / "system.yaml", text)
        file = find_system_file(str(output))
        load_system(load_config(file), file.parent)
    except UserError:
        if not existed:
            shutil.rmtree(output)
        raise
