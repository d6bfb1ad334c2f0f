"""Structure files as users have them: models, alternate locations, waters, boxes, and what cannot be used."""

from __future__ import annotations

import codecs
import io
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from openmm import app, unit

from spacetime_tps.errors import UserError, explained
from spacetime_tps.inputs import regular_file
from spacetime_tps.preparation.pdb_text import PdbText, cleaned, counted
from spacetime_tps.structures import check_unit
from spacetime_tps.topology import is_solvent, without_solvent

_GZIP = b"\x1f\x8b"
_FARTHEST_NM = 900.0


@dataclass(frozen=True)
class Structure:
    """Atoms and where they are.

    Attributes:
        source: file, for messages.
        topology: of the atoms.
        positions: shape (n_atoms, 3) [nm].
        notes: what was decided on the way, in plain words.
        variants: names such as ASH and HID, which say where protons are, by chain, number and insertion code.
    """

    source: str
    topology: app.Topology
    positions: np.ndarray
    notes: tuple[str, ...] = ()
    variants: Mapping[tuple[str, str, str], str] = field(default_factory=dict)

    def with_notes(self, *notes: str) -> Structure:
        """The same with more to say."""
        return replace(self, notes=(*self.notes, *notes))

    def changed(self, topology: app.Topology, positions: np.ndarray, *notes: str) -> Structure:
        """The same file with other atoms, and why."""
        return replace(self, topology=topology, positions=positions, notes=(*self.notes, *notes))

    def variant(self, residue: app.topology.Residue) -> str | None:
        """The name that the file gives to a residue, where it says where protons are."""
        return self.variants.get((residue.chain.id, residue.id.strip(), residue.insertionCode.strip()))


def read_structure_file(file: Path, keep_solvent: bool = False) -> Structure:
    """Read a PDB or mmCIF file: its first model, the likeliest alternate locations, without water and ions.

    Args:
        file: to read.
        keep_solvent: keep water and ions.

    Raises:
        UserError: there is nothing in it that can be used.
    """
    content = regular_file(file).read_bytes()
    if not content.strip():
        raise UserError(f"{file} is empty; give a PDB or mmCIF file.")
    content = content.removeprefix(codecs.BOM_UTF8)
    if content.startswith(_GZIP):
        raise UserError(f"{file} is compressed; unpack it first.")
    if content.lstrip().startswith(b"data_"):
        plain, parse = PdbText(_decoded(file, content, "utf-8"), (), {}), app.PDBxFile
    else:
        plain, parse = cleaned(file, _decoded(file, content, "ascii")), app.PDBFile
    with explained(f"{file} cannot be read as a structure"):
        parsed = parse(io.StringIO(plain.text))
        positions = np.array(parsed.getPositions(asNumpy=True).value_in_unit(unit.nanometer), dtype=float)
    if not len(positions):
        raise UserError(f"{file} holds no atoms.")
    if not np.isfinite(positions).all() or np.abs(positions).max() > _FARTHEST_NM:
        raise UserError(f"{file} holds coordinates that are no positions of atoms; check them.")
    check_unit(parsed.topology, positions, str(file))
    structure = Structure(str(file), parsed.topology, positions, plain.notes, plain.variants)
    if parsed.topology.getPeriodicBoxVectors() is not None and not keep_solvent:
        parsed.topology.setPeriodicBoxVectors(None)
        structure = structure.with_notes("its box is left out: nothing is periodic without a solvent")
    return structure if keep_solvent else _dry(structure)


def only_chains(structure: Structure, wanted: tuple[str, ...]) -> Structure:
    """The named chains of a structure; water and ions stay, whatever their chain.

    Raises:
        UserError: it has no such chain.
    """
    present = list(dict.fromkeys(r.chain.id for r in structure.topology.residues() if not is_solvent(r)))
    if missing := [name for name in wanted if name not in present]:
        raise UserError(f"{structure.source} has no chain {missing[0]!r}; it has {', '.join(map(repr, present))}.")
    left_out = [name for name in present if name not in wanted]
    if not wanted or not left_out:
        return structure
    gone = [r for r in structure.topology.residues() if r.chain.id in left_out and not is_solvent(r)]
    modeller = app.Modeller(structure.topology, structure.positions * unit.nanometer)
    modeller.delete(gone)
    positions = np.array(modeller.positions.value_in_unit(unit.nanometer), dtype=float).reshape(-1, 3)
    note = f"{'chains' if len(left_out) > 1 else 'chain'} {', '.join(left_out)} left out"
    return structure.changed(modeller.topology, positions, note)


def read_amber_coordinates(file: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """Positions [nm], shape (n_atoms, 3), of an Amber coordinate file, and its box [nm], shape (3, 3), if any.

    Raises:
        UserError: the file is missing or damaged.
    """
    regular_file(file)
    with explained(f"{file} cannot be read as Amber coordinates"):
        read = app.AmberInpcrdFile(str(file))
        positions = np.array(read.getPositions(asNumpy=True).value_in_unit(unit.nanometer), dtype=float)
        vectors = read.boxVectors
        box = None if vectors is None else np.array(vectors.value_in_unit(unit.nanometer), dtype=float)
    if not np.isfinite(positions).all() or np.abs(positions).max(initial=0.0) > _FARTHEST_NM:
        raise UserError(f"{file} holds coordinates that are no positions of atoms; check them.")
    return positions, box


def _decoded(file: Path, content: bytes, encoding: str) -> str:
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UserError(f"{file}: line {line} holds a character that is no {encoding.upper()}; remove it.") from error


def _dry(structure: Structure) -> Structure:
    """Without water and ions."""
    removed = sum(map(is_solvent, structure.topology.residues()))
    if not removed:
        return structure
    topology, positions = without_solvent(structure.topology, structure.positions)
    if not len(positions):
        raise UserError(f"{structure.source} holds nothing but water and ions.")
    return structure.changed(topology, positions, f"{counted(removed, 'water or ion', 'waters and ions')} left out")
