"""What users hand to ``init`` by mistake: each gets one clear sentence and leaves nothing behind."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from spacetime_tps.errors import UserError
from spacetime_tps.parallel import WorkerPool
from spacetime_tps.preparation.init import Wishes, prepare
from tests.conftest import refusal
from tests.oracles import is_one_sentence
from tests.preparation.files import (
    C5,
    C7AX,
    ENDS,
    PROLINE,
    TETRA,
    at,
    each_atom,
    mirrored,
    moved,
    place_of,
    renamed,
    two_chains,
)

NAN = each_atom(C5, lambda k, line: line[:30] + "     nan" + line[38:] if k == 3 else line)
STARS = each_atom(C5, lambda k, line: line[:30] + "********" + line[38:] if k == 3 else line)
CUT = each_atom(C5, lambda k, line: line[:45] if k == 5 else line)
CLASH = each_atom(C5, lambda k, line: at(line, *place_of(C5.splitlines()[1])) if k == 7 else line)
LARGE = each_atom(C5, lambda _, line: at(line, *(10 * x for x in place_of(line))))
SMALL = each_atom(C5, lambda _, line: at(line, *(x / 10 for x in place_of(line))))
FLAT = each_atom(C7AX, lambda _, line: at(line, *place_of(line)[:2], 0.0))
SHORT = each_atom(C5, lambda k, line: line[:52] if k == 21 else line)
PILED = each_atom(C5, lambda _, line: at(line, 0.0, 0.0, 0.0))
NEUTRAL_C = "ATOM     23  P    DA A   4       0.000   5.000   5.000  1.00  0.00           P  \n"
LIGAND = "HETATM   23  C1  LIG A   9      20.000  20.000  20.000  1.00  0.00           C  \n"
GAP = each_atom(TETRA, lambda _, line: None if line[22:26].strip() == "3" else line)
NOWHERE = each_atom(C5, lambda _, line: line[:16] + "A" + line[17:54] + "   inf" + line[60:])
TWICE = two_chains(C5, PROLINE).replace(" B ", " A ")
DEUTERATED = each_atom(C5, lambda k, line: line[:76] + " D" + line[78:] if k == 0 else line)
SCATTERED = "\n".join(sorted(C7AX.splitlines()[1:23], key=lambda line: line[12:16])) + "\n"
TWO_LINES = C7AX.splitlines()[1] + "\nHETATM    2"
CASES: dict[str, tuple[str | bytes, str | bytes, str]] = {
    "an empty file": ("", C7AX, "is empty"),
    "no atoms": ("REMARK nothing\nEND\n", C7AX, "holds no atoms"),
    "not ASCII": (C5.replace("REMARK   1", "REMARK   \N{GREEK SMALL LETTER ALPHA}", 1).encode(), C7AX, "no ASCII"),
    "binary": (bytes(range(256)), C7AX, "no ASCII"),
    "NaN": (NAN, C7AX, "not finite"),
    "stars for coordinates": (STARS, C7AX, "three coordinates"),
    "a line cut short": (CUT, C7AX, "three coordinates"),
    "a clash": (CLASH, C7AX, "clash"),
    "all atoms in one place": (PILED, C7AX, "clash"),
    "ten times too large": (LARGE, C7AX, "in another unit"),
    "ten times too small": (SMALL, C7AX, "in another unit"),
    "in a plane": (C5, FLAT, "clash"),
    "a line cut in its last coordinate": (SHORT, C7AX, "three coordinates"),
    "the same file twice": (C5, C5, "in one state"),
    "another molecule": (C5, PROLINE, "not the same molecule"),
    "another length": (C5, TETRA, "not the same molecule"),
    "a mirrored residue": (C5, mirrored(C7AX), "mirror images"),
    "an atom twice": (C5 + C5.splitlines()[3] + "\n", C7AX, "atoms are called A/1:"),
    "atoms of a residue scattered": (C5, SCATTERED, "stand in two places"),
    "an atom twice in its residue": (C5, C7AX.replace("HETATM    2", TWO_LINES, 1), "stands twice"),
    "a box of words": ("CRYST1 a box\n" + C5, C7AX, "is no periodic box"),
    "a ligand": (C5.replace("END\n", LIGAND), C7AX, "LIG 9"),
    "a phosphorus alone": (C5.replace("END\n", NEUTRAL_C), C7AX, "DA 4"),
    "an unknown residue": (renamed(C5, "ALA", "XYZ"), C7AX, "XYZ 2"),
    "a residue torn off": (moved(TETRA, "4", 9.0), TETRA, "residues between them are missing"),
    "a missing residue": (GAP, TETRA, "residues between them are missing"),
    "water alone": (renamed(renamed(renamed(C5, "ALA", "HOH"), "ACE", "HOH"), "NME", "HOH"), C7AX, "nothing but water"),
    "a misnamed hydrogen": (C5, C7AX.replace(" HA  ALA", " HX  ALA"), "misnamed or too many"),
    "a PDB that is JSON": ('{"a": 1}', C7AX, "holds no atoms"),
    "compressed": (gzip.compress(C5.encode()), C7AX, "compressed"),
    "an occupancy that is none": (NOWHERE, C5, "in one state"),
    "two chains of one name": (TWICE, TWICE, "atoms are called A/1:CH3"),
    "deuterium": (DEUTERATED, C7AX, "is deuterium"),
    "a cap in a chain of its own": (C5.replace("HETATM   17", "TER\nHETATM   17", 1), C7AX, "a chain of its own"),
    "a CIF that ends early": ("data_x\nloop_\n_atom_site.id\n_atom_site.Cartn_x\n1", C7AX, "incomplete or malformed"),
    "swapped residues": (C5, renamed(renamed(renamed(C7AX, "ACE", "TMP"), "NME", "ACE"), "TMP", "NME"), ""),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_one_clear_sentence(case: str, tmp_path: Path) -> None:
    files = []
    for name, content in zip(("first.pdb", "second.pdb"), CASES[case][:2], strict=True):
        file = tmp_path / name
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        files.append(file)
    with pytest.raises(UserError) as error:
        prepare(*files, tmp_path / "out", Wishes(), overwrite=False, pool=WorkerPool(1))
    message = str(error.value)
    assert is_one_sentence(message), message
    assert CASES[case][2] in message
    assert "first.pdb" in message or "second.pdb" in message or "Both files" in message
    assert not (tmp_path / "out").exists()


WISHES: dict[str, tuple[Wishes, str]] = {
    "a chain that is none": (Wishes(chains=("A", "Q")), "has no chain 'Q'; it has 'A'"),
    "a torsion that is none": (Wishes(torsions=("phi_99",)), "no torsion 'phi_99'; it has "),
    "a force field that is none": (Wishes(forcefield=("nothing.xml",)), "nothing.xml cannot be loaded"),
    "a water model for a protein": (Wishes(forcefield=("amber14/tip3p.xml",)), "no parameters for"),
}


@pytest.mark.parametrize("case", WISHES)
def test_wishes_that_cannot_be_granted(case: str, tmp_path: Path) -> None:
    wishes, words = WISHES[case]
    with pytest.raises(UserError) as error:
        prepare(*ENDS, tmp_path / "out", wishes, False, WorkerPool(1))
    assert is_one_sentence(str(error.value))
    assert words in str(error.value)


@pytest.mark.parametrize("content", [b"", b"\xff\x00", b"<ForceField>", b"a word", b"<ForceField>\0</ForceField>"])
def test_a_force_field_that_cannot_be_read(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "mine.xml"
    file.write_bytes(content)
    with pytest.raises(UserError) as error:
        prepare(*ENDS, tmp_path / "out", Wishes(forcefield=(str(file),)), False, WorkerPool(1))
    assert is_one_sentence(str(error.value))
    assert ".xml cannot be read as a force field" in str(error.value)


def test_states_that_do_not_last_are_refused(tmp_path: Path) -> None:
    """At 1500 K alanine dipeptide leaves C7ax in a few picoseconds."""
    with pytest.raises(UserError, match=r"does not last|in one state") as error:
        prepare(*ENDS, tmp_path / "out", Wishes(temperature_k=1500.0), False, WorkerPool(1))
    assert is_one_sentence(str(error.value))


def test_from_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("mine")
    first, second = ENDS
    assert "note.txt" in refusal("init", first, second, "-o", tmp_path)
    assert (tmp_path / "note.txt").read_text() == "mine"
    assert "is not there" in refusal("init", tmp_path / "none.pdb", second, "-o", tmp_path / "new")
    assert "--temperature" in refusal("init", first, second, "-o", tmp_path / "new", "--temperature", "300")
    assert "--minutes" in refusal("init", first, second, "-o", tmp_path / "new", "--minutes", "inf")
    assert "--ph" in refusal("init", first, second, "-o", tmp_path / "new", "--ph", "nan")
    assert "in one line" in refusal("init", first, second, "-o", tmp_path / "ne\nw")
    assert "is a file" in refusal("init", first, second, "-o", tmp_path / "note.txt")
    assert "cannot be made in" in refusal("init", first, second, "-o", tmp_path / "note.txt/new")
    assert not (tmp_path / "new").exists()
