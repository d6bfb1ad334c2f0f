"""Samples from the user's own files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import mdtraj
import numpy as np
import pytest

from spacetime_tps.boltzmann.recording import Recorder
from spacetime_tps.boltzmann.trajectory_files import TrajectorySamples, read_trajectories
from spacetime_tps.boltzmann.transitions import Watched
from spacetime_tps.config import TrajectoriesConfig
from spacetime_tps.errors import UserError
from spacetime_tps.systems import System, find_system_file, load_config, load_system
from tests.oracles import is_one_sentence

FILE = find_system_file("alanine_dipeptide")
SYSTEM: System = load_system(load_config(FILE), FILE.parent)


@pytest.fixture
def frames(tmp_path: Path) -> np.ndarray:
    """Two trajectories of 30 frames, one near either end, and a COLVAR file for each; the bias is 0.5 per frame."""
    rng = np.random.default_rng(1)
    all_frames = SYSTEM.structures[:, None] + rng.normal(0, 0.003, (2, 30, 22, 3))
    assert SYSTEM.molecule is not None
    topology = mdtraj.Topology.from_openmm(SYSTEM.molecule.topology)
    for k, (name, part) in enumerate(zip(("run_0.dcd", "run_1.xtc"), all_frames, strict=True)):
        mdtraj.Trajectory(part.astype(np.float32), topology).save(str(tmp_path / name))
        rows = "\n".join(f"{t * 1.0} {0.1 * t} {0.5 * t + k}" for t in range(30))
        (tmp_path / f"colvar_{k}").write_text(f"#! FIELDS time phi metad.bias\n#! SET x 1\n{rows}\n")
    return all_frames


def read(folder: Path, **changes: Any) -> TrajectorySamples:
    given: dict[str, Any] = {"files": ["run_*"], "weights": ["colvar_*"], "column": "metad.bias"}
    config = TrajectoriesConfig(kind="trajectories", **(given | changes))
    assert SYSTEM.molecule is not None
    watched = Watched(SYSTEM.states, SYSTEM.variables, 5)
    return read_trajectories(
        config,
        folder,
        SYSTEM.molecule.topology,
        SYSTEM.structures[0],
        watched,
        Recorder(SYSTEM.variables.quadruples),
        SYSTEM.kt,
    )


def test_angles_and_weights_are_those_of_the_frames(frames: np.ndarray, tmp_path: Path) -> None:
    found = read(tmp_path)
    assert found.seen[:30] == pytest.approx(SYSTEM.variables(frames[0]), abs=1e-5)
    assert found.seen[30:] == pytest.approx(SYSTEM.variables(frames[1]), abs=0.02)  # XTC keeps 0.001 nm
    bias = np.concatenate([0.5 * np.arange(30), 0.5 * np.arange(30) + 1])
    assert found.log_weights == pytest.approx(bias / SYSTEM.kt)
    assert np.bincount(found.walker).tolist() == [30, 30]
    thinned = read(tmp_path, skip=10, every=4)
    assert thinned.seen == pytest.approx(np.concatenate([found.seen[10:30:4], found.seen[40::4]]))
    assert thinned.log_weights == pytest.approx(np.concatenate([found.log_weights[10:30:4], found.log_weights[40::4]]))


def test_units_and_kinds_of_weights(frames: np.ndarray, tmp_path: Path) -> None:
    plain = read(tmp_path).log_weights
    assert read(tmp_path, bias_unit="kcal/mol").log_weights == pytest.approx(4.184 * plain)
    assert read(tmp_path, bias_unit="kT").log_weights == pytest.approx(SYSTEM.kt * plain)
    assert read(tmp_path, column=3).log_weights == pytest.approx(plain)
    assert read(tmp_path, weights_are="log_weight").log_weights == pytest.approx(SYSTEM.kt * plain)
    (tmp_path / "w_0").write_text("\n".join(str(np.exp(0.1 * t)) for t in range(30)))
    (tmp_path / "w_1").write_text("\n".join(["0"] * 15 + ["1"] * 15))
    logs = read(tmp_path, weights=["w_0", "w_1"], column=None, weights_are="weight").log_weights
    assert np.diff(logs[:30]) == pytest.approx(0.1)
    assert (logs[30:45] < -600).all()
    assert logs[45:] == pytest.approx(0)
    assert read(tmp_path, weights=[]).log_weights == pytest.approx(0)


def change(folder: Path, name: str, old: str, new: str) -> None:
    file = folder / name
    file.write_text(file.read_text().replace(old, new, 1))


def crash(folder: Path) -> None:
    """Let the first frame's compressed coordinates need tables that MDTraj's reader has not."""
    data = bytearray((folder / "run_1.xtc").read_bytes())
    data[84:88] = (2**30).to_bytes(4, "big")
    (folder / "run_1.xtc").write_bytes(data)


def rewritten(k: int, change: Any) -> Any:
    """Frames of a trajectory after a change."""

    def spoil(folder: Path) -> None:
        assert SYSTEM.molecule is not None
        topology = mdtraj.Topology.from_openmm(SYSTEM.molecule.topology)
        name = f"run_{k}.{'dcd' if k == 0 else 'xtc'}"
        mdtraj.Trajectory(change(mdtraj.load(str(folder / name), top=topology).xyz.copy()), topology).save(
            str(folder / name)
        )

    return spoil


def frame(number: int, change: Any) -> Any:
    def apply(frames: np.ndarray) -> np.ndarray:
        frames[number] = change(frames[number])
        return frames

    return apply


def twice(folder: Path) -> None:
    (folder / "run_1.xtc").unlink()
    (folder / "run_1.dcd").write_bytes((folder / "run_0.dcd").read_bytes())


def linked(folder: Path) -> None:
    (folder / "run_1.xtc").unlink()
    (folder / "run_1.dcd").symlink_to(folder / "run_0.dcd")


def piped(folder: Path) -> None:
    os.mkfifo(folder / "run_2.dcd")


def restarted(folder: Path) -> None:
    change(folder, "colvar_0", LAST_OF_0, LAST_OF_0 + "#! FIELDS time metad.bias\n")


LAST_OF_0 = "29.0 2.9000000000000004 14.5\n"
LAST = "29.0 2.9000000000000004 15.5\n"
BAD: dict[str, tuple[Any, dict[str, Any], str]] = {
    "no such file": (None, {"files": ["none_*.dcd"]}, "does not exist"),
    "fewer weights than files": (None, {"weights": ["colvar_0"]}, "1 files for 2 trajectories"),
    "no column named": (None, {"column": None}, "time, phi, metad.bias"),
    "a bias beyond any": (lambda f: change(f, "colvar_1", LAST, "29.0 2.9 -1e300\n"), {}, "holds -1e+300 kJ/mol"),
    "an unknown column": (None, {"column": "rbias"}, "no column 'rbias'"),
    "a column too far": (None, {"column": 7}, "3 columns"),
    "fewer numbers than frames": (lambda f: change(f, "colvar_1", LAST, ""), {}, "29 numbers for 30"),
    "a word for a number": (lambda f: change(f, "colvar_0", " 0.5\n", " ???\n"), {}, "line 4 should hold a number"),
    "a number that is none": (lambda f: change(f, "colvar_0", " 0.5\n", " nan\n"), {}, "not finite"),
    "no numbers": (lambda f: (f / "colvar_0").write_text("# nothing\n"), {}, "holds no numbers"),
    "no trajectory": (lambda f: (f / "run_0.dcd").write_text("hello"), {}, "cannot be read as a trajectory"),
    "cut short": (lambda f: (f / "run_0.dcd").write_bytes((f / "run_0.dcd").read_bytes()[:4000]), {}, "cannot be read"),
    "its reader crashes": (crash, {}, "its reader crashed"),
    "an unknown format": (lambda f: (f / "x.abc").write_text("x"), {"files": ["x.abc"], "weights": []}, "cannot"),
    "an exploded frame": (rewritten(0, frame(11, lambda x: 1000 * x)), {}, "run_0.dcd: frame 11 (of 30"),
    "a frame of zeros": (rewritten(1, frame(29, lambda x: 0 * x)), {}, "cannot be: all its atoms lie at one place"),
    "a scaled frame": (rewritten(0, frame(3, lambda x: 10 * x)), {}, "in another unit"),
    "a frame with a NaN": (rewritten(0, frame(5, lambda x: x * np.nan)), {}, "frame 5 (of 30"),
    "a frame in another order": (rewritten(0, frame(17, lambda x: x[::-1])), {}, "frame 17 (of 30"),
    "a mirrored frame": (rewritten(0, frame(9, lambda x: x * [1, 1, -1])), {}, "cannot be: it is the mirror image"),
    "a mirrored molecule": (rewritten(1, lambda x: x * [1, 1, -1]), {}, "run_1.xtc: frame 0 (of 30"),
    "the same file twice": (twice, {"weights": []}, "hold the same frames, which would count twice"),
    "the same file by a link": (linked, {"weights": []}, "hold the same frames"),
    "the same file named twice": (None, {"files": ["run_0.dcd", "run_0.dcd"]}, "hold the same frames"),
    "a named pipe": (piped, {}, "run_2.dcd is a named pipe, not a file"),
    "a pipe for weights": (lambda f: ((f / "colvar_1").unlink(), os.mkfifo(f / "colvar_1")), {}, "is a named pipe"),
    "a folder": (lambda f: (f / "run_2.dcd").mkdir(), {}, "is a folder, not a file"),
    "a row that is cut": (lambda f: change(f, "colvar_1", LAST, "29.0 2.9\n"), {}, "2 columns, and those before 3"),
    "other columns by number": (restarted, {"column": 3}, "names other columns than before"),
    "nothing left": (None, {"skip": 30}, "skip leaves no frame"),
    "negative weights": (lambda f: change(f, "colvar_0", " 0.5\n", " -0.5\n"), {"weights_are": "weight"}, "below zero"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_refused_in_one_sentence(case: str, frames: np.ndarray, tmp_path: Path) -> None:
    spoil, changes, words = BAD[case]
    if spoil is not None:
        spoil(tmp_path)
    with pytest.raises(UserError) as error:
        read(tmp_path, **changes)
    assert words in str(error.value)
    assert is_one_sentence(str(error.value)), str(error.value)


def test_columns_are_found_anew_after_a_restart(frames: np.ndarray, tmp_path: Path) -> None:
    before = read(tmp_path).log_weights
    lines = (tmp_path / "colvar_0").read_text().splitlines()
    first, second = lines[:12], [" ".join(np.array(line.split())[[2, 0, 1]]) for line in lines[12:]]
    text = "\n".join([*first, "#! FIELDS metad.bias time phi", *second])
    (tmp_path / "colvar_0").write_text("\ufeff" + text.replace("\n", "\r\n"))
    assert read(tmp_path).log_weights == pytest.approx(before)


def test_another_molecule_is_refused(tmp_path: Path) -> None:
    other = mdtraj.load(str(FILE.parent.parent / "glycine_dipeptide/c7_left.pdb"))
    other.save(str(tmp_path / "run_0.dcd"))
    with pytest.raises(UserError, match="22 atoms"):
        read(tmp_path, weights=[])
