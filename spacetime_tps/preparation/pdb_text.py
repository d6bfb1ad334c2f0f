"""The text of PDB files as users have them, before any library reads it: what to take, what to tell, what to refuse."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spacetime_tps.errors import UserError
from spacetime_tps.topology import IONS, WATERS

_ATOM = ("ATOM", "HETATM")
_VARIANTS = {
    **{name: name for name in ("ASH", "GLH", "HID", "HIE", "HIP", "LYN")},
    "HSD": "HID",
    "HSE": "HIE",
    "HSP": "HIP",
}
"""Names of Amber and CHARMM that say how many protons a residue has and where."""
_STANDARD_NAMES = {"HSE": "HIS", "HSP": "HIS", "LYN": "LYS"}
"""Of those that OpenMM does not know in a PDB file."""
_LONGEST_BOND_ANGSTROM = 2.5
_LAST_COLUMN = 54
"""Of the coordinates; a line that ends before it is cut."""


@dataclass(frozen=True)
class PdbText:
    """Lines that a library can read.

    Attributes:
        text: of one model with one location for each atom.
        notes: what was decided on the way, in plain words.
        variants: names such as ASH and HID, which say where protons are, by chain, number and insertion code.
    """

    text: str
    notes: tuple[str, ...]
    variants: Mapping[tuple[str, str, str], str]


def counted(number: int, one: str, many: str = "") -> str:
    """A number with its noun, such as ``1 atom`` and ``2 atoms``."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def cleaned(file: Path, text: str) -> PdbText:
    """The lines of the first model, one location for each atom.

    Raises:
        UserError: there are no atoms, or lines that cannot be.
    """
    notes = []
    lines = text.splitlines()
    models = [k for k, line in enumerate(lines) if line.startswith("MODEL ")]
    if len(models) > 1:
        lines = lines[: models[1]]
        notes.append(f"of its {len(models)} models the first is taken")
    atoms = [k for k, line in enumerate(lines) if line.startswith(_ATOM)]
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
    if empty := sum(_occupancy(lines[k]) == 0.0 for k in atoms if k not in dropped):
        notes.append(f"{counted(empty, 'atom')} of occupancy 0, which nobody saw there: check")
    kept = [_plain(line) for k, line in enumerate(lines) if k not in dropped]
    if _bonds_contradict(lines):
        kept = [line for line in kept if not line.startswith("CONECT")]
        notes.append("its CONECT records bond atoms that are not there or lie apart, and are left out")
    variants = {
        (lines[k][21].strip(), lines[k][22:26].strip(), lines[k][26:27].strip()): _VARIANTS[lines[k][17:20]]
        for k in atoms
        if lines[k][17:20] in _VARIANTS
    }
    return PdbText("\n".join(kept) + "\n", tuple(notes), variants)


def _check_coordinates(file: Path, number: int, line: str) -> None:
    fields = [line[30:38], line[38:46], line[46:54] if len(line.rstrip()) >= _LAST_COLUMN else ""]
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
        if not line.startswith(_ATOM):
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
        if line.startswith(_ATOM)
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
    if not line.startswith(_ATOM):
        return line
    return line[:16] + " " + _STANDARD_NAMES.get(line[17:20], line[17:20]) + line[20:]
