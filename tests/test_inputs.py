"""Files of a user that are none, or without end: none of them may block or fill the memory."""

from __future__ import annotations

import os
import shutil
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from spacetime_tps.errors import UserError, printable, shortened
from spacetime_tps.inputs import read_text_file, regular_file
from spacetime_tps.settings import read_yaml
from spacetime_tps.systems import find_system_file, load_config, load_system, systems_folder
from tests.conftest import refusal
from tests.oracles import is_one_sentence


def pipe(path: Path) -> None:
    os.mkfifo(path)


def folder(path: Path) -> None:
    path.mkdir()


def zeros(path: Path) -> None:
    path.symlink_to("/dev/zero")


def server(path: Path) -> None:
    socket.socket(socket.AF_UNIX).bind(str(path))


def large(path: Path) -> None:
    with path.open("wb") as handle:
        handle.truncate(5 * 10**9)  # sparse


KINDS: dict[Callable[[Path], None], str] = {
    pipe: "is a named pipe, not a file",
    folder: "is a folder, not a file",
    zeros: "is a device, not a file",
    server: "is a socket, not a file",
    large: "holds 5,000 MB; expected up to 4,000 MB",
}


@pytest.mark.parametrize("make", KINDS, ids=lambda make: make.__name__)
def test_what_is_no_regular_file(make: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # names of sockets are short
    make(Path("it"))
    with pytest.raises(UserError) as error:
        regular_file(Path("it"), "The PDB file")
    assert str(error.value) == f"The PDB file it {KINDS[make]}."


@pytest.mark.parametrize("name", ["nowhere", "a\0b", "nowhere/x", 300 * "x"])
def test_what_is_not_there(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is not there|cannot be opened") as error:
        regular_file(tmp_path / name)
    assert is_one_sentence(str(error.value))


@contextmanager
def within_seconds(seconds: int = 20) -> Iterator[None]:
    """A read that blocks fails the test rather than stopping all of them."""

    def stop(*_: object) -> None:
        raise TimeoutError("it blocks")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


_DYNAMICS = "dynamics: {time_step: 2 fs, friction: 1 /ps}"
PLACES = {
    "states.a.pdb": "states.a.pdb=it",
    "reference": "reference=it",
    "system.prmtop": f"system={{kind: molecule, temperature: 300 K, prmtop: it, {_DYNAMICS}}}",
    "system.openmm_system": f"system={{kind: molecule, temperature: 300 K, openmm_system: it, {_DYNAMICS}}}",
    "system.forcefield": "system.forcefield=[it]",
    "collective_variables": "collective_variables.rmsd={kind: rmsd, pdb: it}",
}


@pytest.mark.parametrize("place", PLACES)
def test_a_pipe_in_a_system_file(place: str, tmp_path: Path) -> None:
    shutil.copytree(systems_folder() / "alanine_dipeptide", tmp_path / "mine")
    os.mkfifo(tmp_path / "mine/it")
    config = load_config(find_system_file(str(tmp_path / "mine")), overrides=(PLACES[place],))
    with within_seconds(), pytest.raises(UserError, match=r"it,? is a named pipe, not a file"):
        load_system(config, tmp_path / "mine")


def test_a_pipe_on_the_command_line(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "it.pdb")
    c5 = systems_folder() / "alanine_dipeptide/c5.pdb"
    with within_seconds():
        assert "is a named pipe" in refusal("init", tmp_path / "it.pdb", c5, "-o", tmp_path / "new")
        assert "it.pdb" in refusal("run", tmp_path / "it.pdb", "-o", tmp_path / "new")


def test_texts_as_editors_write_them(tmp_path: Path) -> None:
    file = tmp_path / "it.yaml"
    file.write_bytes(b"\xef\xbb\xbfa: 1\r\nb: x\r\n")
    assert read_yaml(file) == {"a": 1, "b": "x"}
    assert read_text_file(file).startswith("a: 1")
    file.write_bytes("a: ä".encode("latin-1"))
    with pytest.raises(UserError, match="cannot be read as UTF-8 text: see line 1"):
        read_yaml(file)
    file.write_bytes(b"a: 1\n" + b"#" * 10**7)
    with pytest.raises(UserError, match="expected up to 10 MB"):
        read_yaml(file)


def test_messages_stay_in_one_line() -> None:
    assert str(UserError("The file a\nb\x1b[31m is not there.")) == r"The file a\nb\x1b[31m is not there."
    assert printable("äß é\t") == r"äß é\t"
    assert len(shortened(1000 * "x\n", 90)) < 200
