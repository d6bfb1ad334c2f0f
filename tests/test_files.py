from __future__ import annotations

import json
import os
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from spacetime_tps.errors import DamagedFileError, UserError
from spacetime_tps.files import (
    TEMPORARY_PREFIX,
    plain,
    read_arrays,
    read_json,
    replacing,
    write_arrays,
    write_csv,
    write_json,
    write_text,
)


class Broken(Exception):
    pass


@pytest.mark.parametrize("error", [Broken, KeyboardInterrupt])
def test_failure_leaves_the_old_file_and_no_temporary(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "summary.json"
    path.write_text("old")

    def fail() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half of the n")
            assert path.read_text() == "old"
            raise error

    with pytest.raises(error):
        fail()
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["summary.json"]


def test_failure_of_a_first_write_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"x": object()})
    with pytest.raises(Broken):
        write_csv(tmp_path / "a.csv", ["x"], _rows_that_break())
    assert list(tmp_path.iterdir()) == []


def _rows_that_break():
    yield [1.0]
    raise Broken


def test_replacing_is_a_rename_beside_the_target(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "trajectory.dcd"
    with replacing(path) as temporary:
        assert temporary.parent == path.parent  # the same file system, or the rename would be a copy
        assert temporary.suffix == ".dcd"  # writers choose the format by the suffix
        assert temporary.name.startswith(TEMPORARY_PREFIX)
        temporary.write_bytes(b"frames")
        inode = temporary.stat().st_ino
        assert not path.exists()
    assert path.read_bytes() == b"frames"
    assert path.stat().st_ino == inode
    assert list(path.parent.iterdir()) == [path]


def test_files_have_the_permissions_of_ordinary_ones(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "a.txt", "x")
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o640


def test_text_is_utf8(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "Müller-Brown, 1 Å")
    assert (tmp_path / "a.txt").read_bytes() == "Müller-Brown, 1 Å".encode()


def test_json_without_nan(tmp_path: Path) -> None:
    value = {
        "nan": float("nan"),
        "array": np.array([[1.5, np.inf], [-np.inf, 2.0]]),
        "float32": np.float32(0.5),
        "integer": np.int64(7),
        "flag": np.True_,
        "tuple": (1, None, "é"),
        3: "key",
    }
    write_json(tmp_path / "a.json", value)

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    read = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"), parse_constant=refuse)
    assert read == {
        "nan": None,
        "array": [[1.5, None], [None, 2.0]],
        "float32": 0.5,
        "integer": 7,
        "flag": True,
        "tuple": [1, None, "é"],
        "3": "key",
    }
    assert read["flag"] is True
    assert read_json(tmp_path / "a.json") == read


def test_plain_leaves_ordinary_values_alone() -> None:
    assert plain({"a": [1, 2.5, "x", None, False]}) == {"a": [1, 2.5, "x", None, False]}


def test_arrays_round_trip_and_never_unpickle(tmp_path: Path) -> None:
    table = np.arange(6.0).reshape(2, 3)
    write_arrays(tmp_path / "a.npz", table=table, names=np.array(["phi", "psi"]), number=3)
    read = read_arrays(tmp_path / "a.npz")
    assert set(read) == {"table", "names", "number"}
    assert np.array_equal(read["table"], table)
    assert read["names"].tolist() == ["phi", "psi"]
    assert int(read["number"]) == 3
    np.savez(tmp_path / "pickled.npz", bad=np.array([{"a": 1}], dtype=object))
    with pytest.raises(UserError, match="damaged"):
        read_arrays(tmp_path / "pickled.npz")


def test_arrays_that_were_changed_are_told(tmp_path: Path) -> None:
    write_arrays(tmp_path / "a.npz", table=np.arange(6.0), names=np.array(["phi"]))
    with np.load(tmp_path / "a.npz") as archive:
        held = dict(archive)
    changes = ({"table": held["table"] + 1e-12}, {"table": held["table"].astype(str)}, {"more": np.zeros(1)})
    for change in changes:
        np.savez(tmp_path / "changed.npz", **{**held, **change})
        with pytest.raises(UserError, match=r"changed\.npz was changed after it was written"):
            read_arrays(tmp_path / "changed.npz")
    np.savez(tmp_path / "own.npz", table=np.zeros(1))
    assert set(read_arrays(tmp_path / "own.npz")) == {"table"}


def test_csv(tmp_path: Path) -> None:
    rows = [[1, np.pi, np.float32(0.1), "a, b"], [2, 1e-12, np.float64(2.0), None]]
    write_csv(tmp_path / "a.csv", ["path", "x", "y", "why"], rows, note="energies in kJ/mol")
    assert (tmp_path / "a.csv").read_bytes().decode() == (
        '# energies in kJ/mol\npath,x,y,why\n1,3.14159265,0.100000001,"a, b"\n2,1e-12,2,\n'
    )
    write_csv(tmp_path / "b.csv", ["x"], [[0.25]])
    assert (tmp_path / "b.csv").read_text() == "x\n0.25\n"


@pytest.mark.parametrize("read", [read_json, read_arrays])
def test_a_named_pipe_is_not_waited_for(read: Callable[[Path], object], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.npz")
    with pytest.raises(DamagedFileError, match="missing or damaged"):
        read(tmp_path / "a.npz")


def test_declared_shapes_have_to_be_there(tmp_path: Path) -> None:
    """A header of 10^20 numbers before none; NumPy would try to find memory for them."""
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        head = str({"descr": "<f8", "fortran_order": False, "shape": (10**20,)}).encode()
        head += b" " * (63 - (10 + len(head)) % 64) + b"\n"
        archive.writestr("x.npy", b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head)
    with pytest.raises(DamagedFileError, match="missing or damaged"):
        read_arrays(tmp_path / "a.npz")
