"""What a structure lacks before it can be simulated: heavy atoms, hydrogens, residues, parameters."""

from __future__ import annotations

import io
import warnings
from collections import Counter
from itertools import pairwise

import numpy as np
import openmm
from openmm import app, unit
from pdbfixer import PDBFixer
from pdbfixer.pdbfixer import dnaResidues, proteinResidues, rnaResidues
from scipy.spatial import cKDTree

from spacetime_tps.errors import UserError, explained
from spacetime_tps.molecules import pdb_text
from spacetime_tps.preparation.pdb_text import counted
from spacetime_tps.preparation.reading import Structure
from spacetime_tps.seeds import openmm_seed

_CAPS = {"ACE", "NME", "NH2"}
_CLASH_NM = 0.07
"""Atoms nearer than any bond is long."""
_PEPTIDE_BOND_NM = 0.2
_STANDARD = {*proteinResidues, *dnaResidues, *rnaResidues, "ACE", "NME", "NH2"}
_HISTIDINES = {(True, False): "HID", (False, True): "HIE", (True, True): "HIP"}
_PROTONS: dict[str, tuple[tuple[tuple[str, ...], ...], ...]] = {
    "ASH": ((("HD1", "HD2"),), ()),
    "GLH": ((("HE1", "HE2"),), ()),
    "HID": ((("HD1",),), (("HE2",),)),
    "HIE": ((("HE2",),), (("HD1",),)),
    "HIP": ((("HD1",), ("HE2",)), ()),
    "LYN": ((), (("HZ1", "HZ2", "HZ3"),)),
}
"""Of each variant, protons of which it has one of each group, and groups of which it has not all."""
_STANDARD_FORMS = {"MSE": "MET", "HYP": "PRO", "SEP": "SER", "TPO": "THR", "PTR": "TYR", "CSO": "CYS", "KCX": "LYS"}


class _OfflineFixer(PDBFixer):
    """PDBFixer without its downloads from the Chemical Component Dictionary."""

    def _downloadCCDDefinition(self, residueName: str) -> None:
        """Nothing is known of a residue that has no template here."""


def repaired(structure: Structure, forcefield: app.ForceField, ph: float) -> Structure:
    """Add missing heavy atoms and hydrogens, so that the force field has parameters for every residue.

    Args:
        structure: as read.
        forcefield: that is to describe it.
        ph: by which missing hydrogens are chosen; those that are there stay.

    Raises:
        UserError: residues are missing, atoms lie upon each other, or the force field does not know a residue.
    """
    _check_chains(structure)
    structure = _with_heavy_atoms(structure)
    check_clashes(structure)
    if forcefield.getUnmatchedResidues(structure.topology) or _lacking_a_proton(structure):
        structure = _with_hydrogens(structure, forcefield, ph)
    unmatched = forcefield.getUnmatchedResidues(structure.topology)
    if unmatched:
        raise UserError(_unknown(structure, unmatched))
    return structure


def shown(residue: app.topology.Residue) -> str:
    """A residue as a person names it, such as ``ALA 2``, with its chain where there are several."""
    chains = len(list(residue.chain.topology.chains()))
    return f"{residue.name} {residue.id}" + (f" of chain {residue.chain.id}" if chains > 1 else "")


def _check_chains(structure: Structure) -> None:
    """Neighbours along a chain have to be bonded, caps belong to one, and heavy hydrogen has no parameters."""
    for atom in structure.topology.atoms():
        if atom.element is app.element.deuterium:
            raise UserError(
                f"{structure.source}: {atom.name} of {shown(atom.residue)} is deuterium, which force fields do not "
                "know; make it hydrogen, or leave out all of them."
            )
    for chain in structure.topology.chains():
        residues = list(chain.residues())
        if len(residues) == 1 and residues[0].name in _CAPS:
            raise UserError(
                f"{structure.source}: the cap {shown(residues[0])} is a chain of its own, bonded to "
                "nothing; remove the TER line before it and give it the chain of its neighbour."
            )
        for first, second in pairwise(chain.residues()):
            ends = [{atom.name: atom.index for atom in residue.atoms()} for residue in (first, second)]
            if "C" not in ends[0] or "N" not in ends[1]:
                continue
            apart = np.linalg.norm(structure.positions[ends[0]["C"]] - structure.positions[ends[1]["N"]])
            if apart > _PEPTIDE_BOND_NM:
                raise UserError(
                    f"{structure.source}: {shown(first)} and {shown(second)} follow each other but lie "
                    f"{apart:.2f} nm apart (C to N), so residues between them are missing; model them first."
                )


def check_clashes(structure: Structure) -> None:
    """Refuse atoms that lie upon each other; those without an element are no atoms but sites of a water model.

    Raises:
        UserError: two do.
    """
    atoms = [atom for atom in structure.topology.atoms() if atom.element is not None]
    pairs = cKDTree(structure.positions[[atom.index for atom in atoms]]).query_pairs(_CLASH_NM)
    if not pairs:
        return
    first, second = (atoms[k] for k in sorted(min(pairs)))
    apart = np.linalg.norm(structure.positions[first.index] - structure.positions[second.index])
    raise UserError(
        f"{structure.source}: atoms {first.name} of {shown(first.residue)} and {second.name} of "
        f"{shown(second.residue)} clash ({apart:.3f} nm apart); give a structure without clashes."
    )


def _with_heavy_atoms(structure: Structure) -> Structure:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fixer = _OfflineFixer(
            pdbfile=io.StringIO(pdb_text(structure.topology, structure.positions)), platform=_platform()
        )
    fixer.missingResidues = {}
    fixer.findNonstandardResidues()
    notes = [
        f"{shown(residue)} is no standard residue (its standard form would be {standard})"
        for residue, standard in fixer.nonstandardResidues
    ]
    fixer.findMissingAtoms()
    missing = [(residue, [atom.name for atom in atoms]) for residue, atoms in fixer.missingAtoms.items()]
    ends = [(residue, list(names)) for residue, names in fixer.missingTerminals.items()]
    if not missing and not ends:
        return structure.with_notes(*notes)
    notes += [f"{', '.join(names)} of {shown(residue)} were missing and are added" for residue, names in missing + ends]
    with explained(f"{structure.source}: missing atoms cannot be added", "repair it with another tool"):
        fixer.addMissingAtoms(seed=openmm_seed(0, "repair"))
    positions = np.array(fixer.positions.value_in_unit(unit.nanometer), dtype=float)
    return structure.changed(fixer.topology, positions, *notes)


def _lacking_a_proton(structure: Structure) -> list[app.topology.Residue]:
    """Residues that a force field would take for another protonation state than their name says.

    Raises:
        UserError: one has a proton that its name denies.
    """
    topology = structure.topology
    bridged = {atom.residue.index for bond in topology.bonds() if bond[0].name == bond[1].name == "SG" for atom in bond}
    found = []
    for residue in topology.residues():
        names = {atom.name for atom in residue.atoms()}
        variant = structure.variant(residue)
        asked, denied = _PROTONS.get(variant or "", ((), ()))
        if wrong := [alike for alike in denied if names >= {*alike}]:
            raise UserError(
                f"{structure.source}: {shown(residue)} is called {variant} but has the proton {wrong[0][-1]}; "
                "change its name or remove the proton."
            )
        open_thiol = residue.name == "CYS" and "SG" in names and "HG" not in names and residue.index not in bridged
        open_amine = variant != "LYN" and residue.name == "LYS" and "NZ" in names and not {"HZ1", "HZ2", "HZ3"} <= names
        if open_thiol or open_amine or any(not names & {*alike} for alike in asked):
            found.append(residue)
    return found


def _variants(structure: Structure) -> list[str | None]:
    """What the file's names and the protons that are there say; of all other residues, what the pH says."""
    found: list[str | None] = []
    for residue in structure.topology.residues():
        names = {atom.name for atom in residue.atoms()}
        present = _HISTIDINES.get(("HD1" in names, "HE2" in names)) if residue.name == "HIS" else None
        found.append(structure.variant(residue) or present)
    return found


def _with_hydrogens(structure: Structure, forcefield: app.ForceField, ph: float) -> Structure:
    modeller = app.Modeller(structure.topology, structure.positions * unit.nanometer)
    before = Counter(atom.element.symbol for atom in structure.topology.atoms() if atom.element is not None)["H"]
    unmatched = forcefield.getUnmatchedResidues(structure.topology)
    foreign = [residue for residue in unmatched if residue.name not in _STANDARD]
    try:
        modeller.addHydrogens(forcefield, pH=ph, variants=_variants(structure), platform=_platform())
    except Exception as error:  # its reason names the first residue that it met, which need not be the odd one
        raise UserError(_unknown(structure, [*foreign, *unmatched])) from error
    added = modeller.topology.getNumAtoms() - structure.topology.getNumAtoms()
    positions = np.array(modeller.positions.value_in_unit(unit.nanometer), dtype=float)
    had = f" (it had {before})" if before else ""
    notes = [f"{counted(added, 'hydrogen')} added, as at pH {ph:g}{had}"] if added else []
    return structure.changed(modeller.topology, positions, *notes)


def _unknown(structure: Structure, residues: list[app.topology.Residue]) -> str:
    """What to say of residues that the force field does not match, the first of them named."""
    if not residues:
        return f"{structure.source}: hydrogens cannot be added."
    residue = residues[0]
    if residue.name in _STANDARD:
        advice = "some of its atoms are missing, misnamed or too many"
    elif residue.name in _STANDARD_FORMS:
        advice = f"replace it by {_STANDARD_FORMS[residue.name]}"
    else:
        advice = "remove it, or name a --forcefield that knows it"
    return f"{structure.source}: the force field has no parameters for {shown(residue)}; {advice}."


def _platform() -> openmm.Platform:
    return openmm.Platform.getPlatformByName("Reference")
