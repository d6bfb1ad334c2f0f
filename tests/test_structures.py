"""What no frame of a molecule can be, at the bounds and far beyond, and what every real one is."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from openmm import app

from spacetime_tps.errors import UserError
from spacetime_tps.molecules import pdb_text, read_pdb_file
from spacetime_tps.structures import Anatomy, check_frames, check_same_hands, check_structure
from spacetime_tps.systems import System, find_system_file, load_config, load_system, read_structure, systems_folder
from tests.oracles import is_one_sentence

Change = Callable[[np.ndarray], np.ndarray]
ENDS = [systems_folder() / "alanine_dipeptide" / name for name in ("c5.pdb", "c7ax.pdb")]
TOPOLOGY, C5 = read_pdb_file(ENDS[0], "c5.pdb")
C7AX = read_pdb_file(ENDS[1], "c7ax.pdb")[1]
MIRROR = np.array([1.0, 1.0, -1.0])


def moved(atom: int, to: int, apart: float) -> Change:
    """An atom put beside another one."""

    def change(frame: np.ndarray) -> np.ndarray:
        frame = frame.copy()
        frame[atom] = frame[to] + [apart, 0.0, 0.0]
        return frame

    return change


def swapped(frame: np.ndarray) -> np.ndarray:
    frame = frame.copy()
    frame[[4, 12]] = frame[[12, 4]]
    return frame


IMPOSSIBLE: dict[str, tuple[Change, str]] = {
    "ten times too large": (lambda x: 10 * x, "its bonds are 1.1 nm long (median), where 0.13 nm are expected"),
    "a tenth": (lambda x: x / 10, "coordinates are in another unit"),
    "in bohr": (lambda x: 1.8897 * x, "are bonded and lie"),
    "in a plane": (lambda x: x * [1, 1, 0], "are bonded and lie"),
    "on a line": (lambda x: x * [1, 0, 0], "another unit"),
    "at one place": (lambda x: 0 * x, "all its atoms lie at one place"),
    "not a number": (lambda x: x * np.nan, "not finite"),
    "far away": (lambda x: x + 1e5, "beyond 10 micrometres"),
    "an atom torn off": (moved(12, 10, 0.9), "lie 0.924 nm apart, expected 0.06 to 0.2 nm"),
    "atoms exchanged": (swapped, "are bonded and lie"),
    "two atoms overlap": (lambda x: moved(21, 1, 0.001)(moved(19, 18, 0.1)(x)), "are bonded and lie"),
}


@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_impossible_structures(case: str) -> None:
    change, words = IMPOSSIBLE[case]
    with pytest.raises(UserError, match=r"mine\.pdb is not a possible structure") as error:
        check_structure(TOPOLOGY, change(C5), "mine.pdb")
    assert words in str(error.value)
    assert is_one_sentence(str(error.value)), str(error.value)


def test_overlaps_of_atoms_that_are_not_bonded() -> None:
    free = app.Topology()
    residue = free.addResidue("LIG", free.addChain())
    for name in "abc":
        free.addAtom(name, app.element.carbon, residue)
    check_structure(free, np.array([[0, 0, 0], [0.2, 0, 0], [0.25, 0, 0]]), "mine.pdb")
    with pytest.raises(UserError, match=r"b of LIG 1 and c of LIG 1 overlap, 0\.030 nm apart"):
        check_structure(free, np.array([[0, 0, 0], [0.2, 0, 0], [0.23, 0, 0]]), "mine.pdb")


def test_a_flat_carbon_is_no_tetrahedron() -> None:
    """Methane whose hydrogens lie in one plane at the right distance."""
    methane = app.Topology()
    residue = methane.addResidue("CH4", methane.addChain())
    carbon = methane.addAtom("C", app.element.carbon, residue)
    for k in range(4):
        methane.addBond(carbon, methane.addAtom(f"H{k}", app.element.hydrogen, residue))
    corners = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / np.sqrt(3)
    assert Anatomy.of(methane).flatness(np.concatenate([np.zeros((1, 3)), 0.109 * corners])) == pytest.approx(
        np.sqrt(4 / 3)
    )
    square = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [-1, 0, 0], [0, -1, 0]]) * 0.109
    with pytest.raises(UserError, match="the bonds of C of CH4 1 lie in a plane"):
        check_structure(methane, square, "mine.pdb")


@pytest.mark.parametrize(
    "file", sorted(systems_folder().glob("*/*.pdb")), ids=lambda file: f"{file.parent.name}-{file.stem}"
)
def test_structures_that_are_shipped_are_possible(file: Path) -> None:
    topology, positions = read_pdb_file(file, file.name)
    check_structure(topology, positions, file.name)
    assert Anatomy.of(topology).flatness(positions).min() > 1.0


def test_stereocentres_are_atoms_with_four_different_neighbours() -> None:
    """Against the amino acids of chignolin, GYDPETGTWG: CA of all but glycine, and CB of threonine."""
    topology, _ = read_pdb_file(systems_folder() / "chignolin/folded.pdb", "folded.pdb")
    anatomy = Anatomy.of(topology)
    centers = {anatomy.names[k] for k in anatomy.centers[:, 0]}
    alphas = {
        f"CA of {name} {k}"
        for k, name in enumerate(["GLY", "TYR", "ASP", "PRO", "GLU", "THR", "GLY", "THR", "TRP", "GLY"], 1)
    }
    assert centers == {name for name in alphas if "GLY" not in name} | {"CB of THR 6", "CB of THR 8"}


def test_mirror_images_at_one_end() -> None:
    check_same_hands(TOPOLOGY, (C5, C7AX), ("a.pdb", "b.pdb"))
    check_same_hands(TOPOLOGY, (C5 * MIRROR, C7AX * MIRROR), ("a.pdb", "b.pdb"))  # D alanine at both ends
    with pytest.raises(UserError, match=r"a\.pdb and b\.pdb are mirror images at CA of ALA 2"):
        check_same_hands(TOPOLOGY, (C5, C7AX * MIRROR), ("a.pdb", "b.pdb"))


def test_the_first_bad_frame_of_many_is_named() -> None:
    frames = np.tile(C5, (1200, 1, 1)) + np.random.default_rng(0).normal(0, 0.003, (1200, 22, 3))
    check_frames(TOPOLOGY, frames, "run.dcd", C5)
    for number, change in ((1100, 0.0), (7, 5.0)):
        frames[number] *= change
        with pytest.raises(UserError, match=rf"run\.dcd: frame {number} \(of 1200, counted from 0\) cannot be"):
            check_frames(TOPOLOGY, frames, "run.dcd", C5)


# --- when a system is loaded ------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for file in ENDS:
        shutil.copy(file, tmp_path)
    text = (ENDS[0].parent / "system.yaml").read_text(encoding="utf-8")
    (tmp_path / "system.yaml").write_text(text.replace("reference: reference.npz", "reference: null"), encoding="utf-8")
    return tmp_path


def load(folder: Path) -> System:
    return load_system(load_config(find_system_file(str(folder))), folder)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x: 10 * x, "in another unit"),
        (lambda x: x * [1, 1, 0], "lie in a plane"),
        (lambda x: 0 * x, "all its atoms lie at one place"),
        (lambda x: x * MIRROR, "mirror images at CA of ALA 2"),
    ],
    ids=["scaled", "flat", "heap", "mirrored"],
)
def test_a_system_with_an_impossible_end_is_refused(change: Change, words: str, folder: Path) -> None:
    """Each lies in its state, so that nothing else would refuse it before the sampling."""
    changed = change(C7AX)
    (folder / "c7ax.pdb").write_text(pdb_text(TOPOLOGY, changed))
    text = (folder / "system.yaml").read_text()
    text = text.replace("{ball: {phi: 61 deg, psi: -41 deg}, radius: 25 deg}", "{phi: [-30 deg, 150 deg]}")
    (folder / "system.yaml").write_text(text)
    with pytest.raises(UserError) as error:
        load(folder)
    assert words in str(error.value)
    assert "c7ax.pdb" in str(error.value)
    assert is_one_sentence(str(error.value)), str(error.value)


def test_a_structure_for_a_distance_is_possible_too(folder: Path, tmp_path: Path) -> None:
    system = load(folder)
    for change, words in ((10.0, "another unit"), (MIRROR, "mirror images")):
        (tmp_path / "other.pdb").write_text(pdb_text(TOPOLOGY, C5 * change))
        with pytest.raises(UserError, match=words):
            read_structure(tmp_path / "other.pdb", system)
