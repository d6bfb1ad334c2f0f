"""Structure files as users have them: models, alternate locations, waters, boxes, and what cannot be used."""

from __future__ import annotations

import codecs
import io
import math
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from openmm import app, unit

from spacetime_tps.errors import UserError, explained
from spacetime_tps.topology import IONS, WATERS, is_solvent, without_solvent

_GZIP = b"\x1f\x8b"
_VARIANTS = {
    **{name: name for name in ("ASH", "GLH", "HID", "HIE", "HIP", "LYN")},
    "HSD": "HID",
    "HSE": "HIE",
    "HSP": "HIP",
}
"""Names of Amber and CHARMM that say how many protons a residue has and where."""
_STANDARD_NAMES = {"HSE": "HIS", "HSP": "HIS", "LYN": "LYS"}
"""Of those that OpenMM does not know in a PDB file."""
_FARTHEST_NM = 900.0
_LONGEST_BOND_ANGSTROM = 2.5


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


def counted(number: int, one: str, many: str = "") -> str:
    """A number with its noun, such as ``1 atom`` and ``2 atoms``."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def read_structure_file(file: Path, keep_solvent: bool = False) -> Structure:
    """Read a PDB or mmCIF file: its first model, the likeliest alternate locations, without water and ions.

    Args:
        file: to read.
        keep_solvent: keep water and ions.

    Raises:
        UserError: there is nothing in it that can be used.
    """
    if not file.is_file():
        raise UserError(f"{file} is {'no file' if file.exists() else 'not there'}.")
    content = file.read_bytes()
    if not content.strip():
        raise UserError(f"{file} is empty; give a PDB or mmCIF file.")
    notes: list[str] = []
    variants: dict[tuple[str, str, str], str] = {}
    content = content.removeprefix(codecs.BOM_UTF8)
    if content.startswith(_GZIP):
        raise UserError(f"{file} is compressed; unpack it first.")
    if content.lstrip().startswith(b"data_"):
        text = _decoded(file, content, "utf-8")
        parse = app.PDBxFile
    else:
        text = _cleaned(file, _decoded(file, content, "ascii"), notes, variants)
        parse = app.PDBFile
    with explained(f"{file} cannot be read as a structure"):
        parsed = parse(io.StringIO(text))
        positions = np.array(parsed.getPositions(asNumpy=True).value_in_unit(unit.nanometer), dtype=float)
    if not len(positions):
        raise UserError(f"{file} holds no atoms.")
    if not np.isfinite(positions).all() or np.abs(positions).max() > _FARTHEST_NM:
        raise UserError(f"{file} holds coordinates that are no positions of atoms; check them.")
    structure = Structure(str(file), parsed.topology, positions, tuple(notes), variants)
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
    if not file.is_file():
        raise UserError(f"{file} is {'no file' if file.exists() else 'not there'}.")
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


def _cleaned(file: Path, text: str, notes: list[str], variants: dict[tuple[str, str, str], str]) -> str:
    """The lines of the first model, one location for each atom; what there is to tell of them is added."""
    lines = text.splitlines()
    models = [k for k, line in enumerate(lines) if line.startswith("MODEL ")]
    if len(models) > 1:
        lines = lines[: models[1]]
        notes.append(f"of its {len(models)} models the first is taken")
    atoms = [k for k, line in enumerate(lines) if line.startswith(("ATOM", "HETATM"))]
    if not atoms:
        raise UserError(f"{file} holds no atoms; give a PDB or mmCIF file.")
    for k in atoms:
        _check_coordinates(file, k + 1, lines[k])
    for k, line in enumerate(lines):
        if line.startswith("CRYST1") and not _is_box(line):
            raise UserError(f"{file}: line {k + 1}, CRYST1, is no periodic box; mend it or remove it.")
    dropped = _unlikely_locations([(k, lines[k]) for k in atoms])
    _check_residues_together(file, [(k + 1, line) for k, line in enumerate(lines) if k not in dropped])
    if dropped:
        notes.append(f"{counted(len(dropped), 'atom')} at alternate locations of lower occupancy left out")
    empty = sum(_occupancy(lines[k]) == 0.0 for k in atoms if k not in dropped)
    if empty:
        notes.append(f"{counted(empty, 'atom')} of occupancy 0, which nobody saw there: check")
    for k in atoms:
        if (name := lines[k][17:20]) in _VARIANTS:
            variants[(lines[k][21].strip(), lines[k][22:26].strip(), lines[k][26:27].strip())] = _VARIANTS[name]
    kept = [_plain(line) for k, line in enumerate(lines) if k not in dropped]
    if _bonds_contradict(lines):
        kept = [line for line in kept if not line.startswith("CONECT")]
        notes.append("its CONECT records bond atoms that are not there or lie apart, and are left out")
    return "\n".join(kept) + "\n"


def _check_coordinates(file: Path, number: int, line: str) -> None:
    fields = [line[30:38], line[38:46], line[46:54]]
    try:
        values = [float(field) for field in fields]
    except ValueError as error:
        raise UserError(
            f"{file}: line {number} should hold three coordinates in columns 31 to 54, not {line[30:54]!r}."
        ) from error
    if not all(map(math.isfinite, values)):
        raise UserError(f"{file}: line {number} holds coordinates that are not finite.")


def _is_box(line: str) -> bool:
    """Whether a CRYST1 record holds three lengths and three angles."""
    columns = [line[6:15], line[15:24], line[24:33], line[33:40], line[40:47], line[47:54]]
    try:
        values = [float(column) for column in columns]
    except ValueError:
        return False
    return all(math.isfinite(value) and value > 0 for value in values) and all(angle < 180 for angle in values[3:])


def _check_residues_together(file: Path, lines: list[tuple[int, str]]) -> None:
    """The atoms of a residue follow each other; numbers begin anew behind TER, and those of water may come again."""
    done: set[str] = set()
    names: set[str] = set()
    current = ""
    for number, line in lines:
        if line.startswith(("TER", "END")):
            done, current = set(), ""
        if not line.startswith(("ATOM", "HETATM")):
            continue
        if (residue := line[17:27]) == current:
            if line[12:16] in names:
                name = f"{line[12:16].strip()} of {residue[:3].strip()} {residue[5:].strip()}"
                raise UserError(f"{file}: the atom {name} stands twice, again in line {number}; remove one of both.")
            names.add(line[12:16])
            continue
        if residue in done and residue[:3].strip() not in WATERS | IONS:
            name = f"{residue[:3].strip()} {residue[5:].strip()}"
            raise UserError(
                f"{file}: atoms of {name} stand in two places, again from line {number} on; sort atoms by residue."
            )
        done.add(current)
        current, names = residue, {line[12:16]}


def _bonds_contradict(lines: list[str]) -> bool:
    """Whether CONECT records name atoms that are not there or too far apart, as after atoms were taken out."""
    place = {
        line[6:11].strip(): np.array([float(line[30 + 8 * k : 38 + 8 * k]) for k in range(3)])
        for line in lines
        if line.startswith(("ATOM", "HETATM"))
    }
    for line in lines:
        if line.startswith("CONECT"):
            first, *others = [line[k : k + 5].strip() for k in range(6, min(len(line.rstrip()), 31), 5)] or [""]
            for other in others:
                if first not in place or other not in place:
                    return True
                if np.linalg.norm(place[first] - place[other]) > _LONGEST_BOND_ANGSTROM:
                    return True
    return False


def _occupancy(line: str) -> float:
    try:
        value = float(line[54:60])
    except ValueError:
        return 1.0
    return value if math.isfinite(value) else 1.0


def _unlikely_locations(atoms: list[tuple[int, str]]) -> set[int]:
    """Numbers of the lines whose alternate location is not the likeliest of their residue."""
    occupancy: dict[str, Counter[str]] = defaultdict(Counter)
    for _, line in atoms:
        if line[16:17].strip():
            occupancy[line[21:27]][line[16]] += round(1000 * _occupancy(line))
    best = {residue: min(c, key=lambda label: (-c[label], label)) for residue, c in occupancy.items()}
    likely = {(line[21:27], line[12:16]) for _, line in atoms if line[16:17].strip() in ("", best.get(line[21:27]))}
    return {
        k
        for k, line in atoms
        if line[16:17].strip() and line[16] != best[line[21:27]] and (line[21:27], line[12:16]) in likely
    }


def _plain(line: str) -> str:
    if not line.startswith(("ATOM", "HETATM")):
        return line
    return line[:16] + " " + _STANDARD_NAMES.get(line[17:20], line[17:20]) + line[20:]


def _dry(structure: Structure) -> Structure:
    """Without water and ions."""
    removed = sum(map(is_solvent, structure.topology.residues()))
    if not removed:
        return structure
    topology, positions = without_solvent(structure.topology, structure.positions)
    if not len(positions):
        raise UserError(f"{structure.source} holds nothing but water and ions.")
    return structure.changed(topology, positions, f"{counted(removed, 'water or ion', 'waters and ions')} left out")
