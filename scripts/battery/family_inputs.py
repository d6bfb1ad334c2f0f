"""Files that are given to a command, spoilt in every way, and structures that are none."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import damage
import numpy as np
from builders import HERE, INIT, SAMPLE, Edit, amber, base, own_forcefield, referenced, run_of, serialised, trajectories
from harness import Case, Must, Outcome
from openmm import app


def _spoilt(masters: Path, chance: random.Random) -> Iterator[Case]:
    """Every kind of file by every way, under every verb that reads it."""
    within = ("run",)
    kinds: list[tuple[str, str, Edit, tuple[tuple[str, ...], ...]]] = [
        (
            "structure",
            "sys/c5.pdb",
            base,
            (("config", "sys"), INIT, ("distance", "sys/c5.pdb", "sys/c7ax.pdb", "--run", "run")),
        ),
        ("second structure", "sys/c7ax.pdb", base, (SAMPLE, INIT)),
        ("mmCIF", "sys/c5.cif", _with_cif, (("init", "sys/c5.cif", *INIT[2:]),)),
        ("Amber topology", "sys/m.prmtop", amber, (("config", "sys"), (*INIT, "--prmtop", "sys/m.prmtop"))),
        ("System", "sys/m.xml", serialised, (("config", "sys"), (*INIT, "--system", "sys/m.xml"))),
        ("force field", "sys/m.xml", own_forcefield, (("config", "sys"), (*INIT, "--forcefield", "sys/m.xml"))),
        ("reference", "sys/reference.npz", referenced, (("config", "sys"), SAMPLE)),
        ("DCD", "sys/t0.dcd", trajectories, (SAMPLE,)),
        ("XTC", "sys/t0.xtc", lambda box: trajectories(box, "xtc"), (SAMPLE,)),
        ("weights", "sys/w0.dat", trajectories, (SAMPLE,)),
        ("system file", "sys/system.yaml", base, (("config", "sys"), SAMPLE, ("doctor", "sys"))),
        ("frames", "frames.dcd", base, (("committor", *within, "--frames", "frames.dcd", "--overwrite"),)),
        ("first path", "path.dcd", base, (("shoot", *within, "--from", "path.dcd", "--overwrite"),)),
    ]
    for kind, file, fill, verbs in kinds:
        for words in verbs:
            early = words is SAMPLE and kind not in ("DCD", "XTC", "weights")
            ways: list[tuple[str, damage.Spoil, Must, float]] = [("is as it was", _as_it_was, "accept", 120.0)]
            ways += [*damage.replacements(), *((*way, 60.0) for way in damage.contents(chance, 6))]
            for name, spoil, must, seconds in ways:
                if kind in ("XTC", "weights", "first path", "frames") and name.startswith(("is cut", "is UTF")):
                    must = "either"  # what is left may be a shorter file of its own right
                if words[0] == "init":
                    seconds = max(seconds, 20)
                yield Case(
                    "inputs",
                    f"{words[0]}: the {kind} {name}",
                    words,
                    _prepared(masters, fill, file, spoil, words),
                    must,
                    of_out,
                    begun_before_refusing if early else None,
                    seconds + 60 * (seconds > 30),
                )


def _as_it_was(path: Path) -> None:
    """The control: what is spoilt otherwise has to be taken as it is."""


def begun_before_refusing(outcome: Outcome, box: Path) -> str:
    """What describes a system is refused before a run begins, not after its sampling."""
    begun = outcome.code != 0 and (box / "out/config.yaml").exists()
    return "it refuses only after the run has begun" if begun else ""


def of_out(name: str) -> bool:
    return name.split("/")[0] in ("out", "new", "run")


def _prepared(masters: Path, fill: Edit, file: str, spoil: Edit, words: tuple[str, ...]) -> Edit:
    def prepare(box: Path) -> None:
        if "run" in words:
            run_of(masters, box)
        else:
            fill(box)
        spoil(box / file)

    return prepare


def _with_cif(box: Path) -> None:
    base(box)
    pdb = app.PDBFile(str(HERE / "c5.pdb"))
    with (box / "sys/c5.cif").open("w") as handle:
        app.PDBxFile.writeFile(pdb.topology, pdb.positions, handle, keepIds=True)


# --- structures ---------------------------------------------------------------------------------


def _coordinates(change: Callable[[np.ndarray], np.ndarray]) -> Edit:
    def edit(file: Path) -> None:
        lines = file.read_text().splitlines()
        rows = [k for k, line in enumerate(lines) if line.startswith(("ATOM", "HETATM"))]
        places = np.array([[float(lines[k][a : a + 8]) for a in (30, 38, 46)] for k in rows])
        for k, place in zip(rows, change(places), strict=True):
            lines[k] = lines[k][:30] + "".join(f"{x:8.3f}"[:8] for x in place) + lines[k][54:]
        file.write_text("\n".join(lines) + "\n")

    return edit


def _lines(change: Callable[[list[str]], list[str]]) -> Edit:
    def edit(file: Path) -> None:
        lines = file.read_text().splitlines()
        atoms = [line for line in lines if line.startswith(("ATOM", "HETATM"))]
        others = [line for line in lines if line.startswith("CONECT")]
        file.write_text("\n".join([*change(atoms), *others, "END"]) + "\n")

    return edit


def _at(rows: slice | int, value: Any) -> Callable[[np.ndarray], np.ndarray]:
    def change(places: np.ndarray) -> np.ndarray:
        changed = places.copy()
        changed[rows] = value
        return changed

    return change


STRUCTURES: dict[str, tuple[Edit, Must]] = {
    "scaled by ten": (_coordinates(lambda x: 10 * x), "refuse"),
    "scaled by a tenth": (_coordinates(lambda x: x / 10), "refuse"),
    "scaled by two": (_coordinates(lambda x: 2 * x), "refuse"),
    "flattened": (_coordinates(lambda x: x * [1, 1, 0]), "refuse"),
    "on a line": (_coordinates(lambda x: x * [1, 0, 0]), "refuse"),
    "all in one place": (_coordinates(lambda x: 0 * x), "refuse"),
    "with two atoms in one place": (_coordinates(lambda x: _at(7, x[4])(x)), "refuse"),
    "with two atoms that nearly overlap": (_coordinates(lambda x: _at(7, x[4] + 0.02)(x)), "refuse"),
    "with one atom far away": (_coordinates(_at(7, [90.0, 90.0, 90.0])), "refuse"),
    "with NaN": (_coordinates(_at(3, np.nan)), "refuse"),
    "with infinity": (_coordinates(_at(3, np.inf)), "refuse"),
    "with huge numbers": (_coordinates(_at(3, 9_999_999.0)), "refuse"),
    "of noise": (_coordinates(lambda x: np.random.default_rng(0).normal(0, 3, x.shape)), "refuse"),
    "mirrored": (_coordinates(lambda x: x * [1, 1, -1]), "refuse"),
    "moved": (_coordinates(lambda x: x + 50), "either"),
    "in reverse order": (_lines(lambda atoms: atoms[::-1]), "refuse"),
    "without an atom": (_lines(lambda atoms: atoms[:5] + atoms[6:]), "refuse"),
    "with an atom twice": (_lines(lambda atoms: [*atoms, atoms[5]]), "refuse"),
    "with one atom": (_lines(lambda atoms: atoms[:1]), "refuse"),
    "without atoms": (_lines(lambda atoms: []), "refuse"),
    "with two models": (
        lambda f: f.write_text(f"MODEL 1\n{f.read_text()}ENDMDL\nMODEL 2\n{f.read_text()}ENDMDL\n"),
        "either",
    ),
    "with an unknown element": (_lines(lambda atoms: [a[:76] + "Xx" + a[78:] for a in atoms]), "either"),
    "with an unknown residue": (_lines(lambda atoms: [a.replace("ALA", "QQQ") for a in atoms]), "refuse"),
    "with names of thousands": (_lines(lambda atoms: [a.replace(" CH3", "CCCC") for a in atoms]), "refuse"),
    "with an alternative": (_lines(lambda atoms: [a[:16] + "B" + a[17:] for a in atoms]), "either"),
    "in a tiny box": (
        lambda f: f.write_text("CRYST1    1.000    1.000    1.000  90.00  90.00  90.00 P 1\n" + f.read_text()),
        "either",
    ),
    "in a box of zero": (
        lambda f: f.write_text("CRYST1    0.000    0.000    0.000   0.00   0.00   0.00 P 1\n" + f.read_text()),
        "either",
    ),
}


def _structures() -> Iterator[Case]:
    for name, (edit, must) in STRUCTURES.items():
        for words in (SAMPLE, INIT):
            for which in ("c5", "c7ax", "both"):
                expected: Must = "either" if which == "both" and must == "refuse" and name in _SAME_TWICE else must
                if (words is INIT and name in ("mirrored", "in reverse order")) or (name in _MENDED and words is INIT):
                    expected = "either"

                def prepare(box: Path, which: str = which, edit: Edit = edit) -> None:
                    base(box)
                    for end in ("c5", "c7ax") if which == "both" else (which,):
                        edit(box / f"sys/{end}.pdb")

                late = begun_before_refusing if words is SAMPLE else None
                yield Case(
                    "inputs", f"{words[0]}: structure {name}, {which}", words, prepare, expected, of_out, late, 120
                )


_SAME_TWICE = {"mirrored", "in reverse order", "with names of thousands"}
_MENDED = {"without an atom", "with two atoms that nearly overlap"}


def cases(masters: Path, chance: random.Random) -> list[Case]:
    """All of the family."""
    return [*_spoilt(masters, chance), *_structures()]
