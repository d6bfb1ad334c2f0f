"""Changes to the text of PDB files."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from spacetime_tps.systems import systems_folder

ALANINE = systems_folder() / "alanine_dipeptide"
ENDS = ALANINE / "c5.pdb", ALANINE / "c7ax.pdb"
C5, C7AX = (file.read_text() for file in ENDS)
PROLINE = (systems_folder() / "proline_dipeptide/trans.pdb").read_text()
TETRA = (systems_folder() / "alanine_tetrapeptide/c7ax.pdb").read_text()
ATOM = ("ATOM", "HETATM")


def each_atom(text: str, change: Callable[[int, str], str | None]) -> str:
    """``change`` gets the number of an atom from 0 and its line; None leaves it out."""
    lines, k = [], 0
    for line in text.splitlines():
        if not line.startswith(ATOM):
            lines.append(line)
            continue
        changed = change(k, line)
        k += 1
        if changed is not None:
            lines.append(changed)
    return "\n".join(lines) + "\n"


def without_hydrogens(text: str) -> str:
    return each_atom(text, lambda _, line: None if line[76:78].strip() == "H" else line)


def at(line: str, x: float, y: float, z: float) -> str:
    return f"{line[:30]}{x:8.3f}{y:8.3f}{z:8.3f}{line[54:]}"


def place_of(line: str) -> tuple[float, float, float]:
    return float(line[30:38]), float(line[38:46]), float(line[46:54])


def mirrored(text: str) -> str:
    return each_atom(text, lambda _, line: at(line, *(place_of(line) * np.array([1, 1, -1]))))


def renamed(text: str, residue: str, new: str) -> str:
    return each_atom(text, lambda _, line: line.replace(f" {residue} ", f" {new} ") if line[17:20] == residue else line)


def moved(text: str, residue: str, by: float) -> str:
    def change(_: int, line: str) -> str:
        x, y, z = place_of(line)
        return at(line, x + by, y, z) if line[22:26].strip() == residue else line

    return each_atom(text, change)


def two_chains(first: str, second: str) -> str:
    """Both molecules, 30 angstroms apart, as chains A and B; no CONECT records."""
    a = each_atom(first, lambda _, line: line[:21] + "A" + line[22:])
    b = each_atom(second, lambda _, line: at(line[:21] + "B" + line[22:], *(np.array(place_of(line)) + [30, 0, 0])))
    parts = [[line for line in text.splitlines() if line.startswith(ATOM)] for text in (a, b)]
    return "\n".join([*parts[0], "TER", *parts[1], "TER", "END"]) + "\n"


def exchanged(text: str, residue: str, first: str, second: str) -> str:
    """The names of two atoms of a residue exchanged."""
    names = {
        first: f" {second:<3s}" if len(second) < 4 else second,
        second: f" {first:<3s}" if len(first) < 4 else first,
    }

    def change(_: int, line: str) -> str:
        name = line[12:16].strip()
        return line[:12] + names[name] + line[16:] if line[22:26].strip() == residue and name in names else line

    return each_atom(text, change)
