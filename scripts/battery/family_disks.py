"""Full disks and read-only folders: what was there is there still, and then the same command works. Needs root."""

from __future__ import annotations

import ctypes
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness import Case, Outcome, digests, execute
from masters import compare_words, fill, run_words, verbs_of

ROOMS = (0, 1_000, 5_000, 20_000, 80_000, 200_000, 400_000, 700_000, 1_200_000)
"""Bytes that a disk has left."""
_DISK = 24 * 2**20
_MS_RDONLY, _MS_REMOUNT, _MS_BIND = 1, 32, 4096
_LIBC = ctypes.CDLL(None, use_errno=True)


def _mount(source: str, target: Path, kind: str, flags: int, data: str = "") -> None:
    if _LIBC.mount(source.encode(), str(target).encode(), kind.encode(), flags, data.encode()):
        error = ctypes.get_errno()
        raise OSError(error, f"mount: {os.strerror(error)}")


def _unmount(target: Path) -> None:
    _LIBC.umount2(str(target).encode(), 2)


@contextmanager
def small_disk(target: Path) -> Iterator[None]:
    """A file system in memory."""
    target.mkdir(exist_ok=True)
    _mount("tmpfs", target, "tmpfs", 0, f"size={_DISK}")
    try:
        yield
    finally:
        _unmount(target)


@contextmanager
def read_only(target: Path) -> Iterator[None]:
    """A folder that even root cannot write in."""
    _mount(str(target), target, "", _MS_BIND)
    try:
        _mount(str(target), target, "", _MS_REMOUNT | _MS_BIND | _MS_RDONLY)
        yield
    finally:
        _unmount(target)


def _ballast(disk: Path, room: int) -> Path:
    """A file that leaves ``room`` bytes, in whole pages."""
    file = disk / "ballast"
    with file.open("wb", buffering=0) as handle:
        block = bytes(2**16)
        try:
            while True:
                handle.write(block)
        except OSError:
            pass
        os.ftruncate(handle.fileno(), max(0, handle.tell() - room))
    return file


def _commands() -> Iterator[tuple[str, str, tuple[str, ...], tuple[str, ...]]]:
    """(kind of run, name, the command, the command when there is room)."""
    for kind in ("toy", "alanine"):
        yield kind, "run", run_words(kind), (*run_words(kind), "--resume")
        yield kind, "run --overwrite", (*run_words(kind), "--overwrite"), (*run_words(kind), "--overwrite")
        for verb, words in verbs_of(kind).items():
            yield kind, verb, words, words
    words = (*verbs_of("alanine")["distance"], "--json", "distances.json")
    yield "alanine", "distance --json", words, words
    init = ("init", "c5.pdb", "c7ax.pdb", "-o", "new", "--workers", "1")
    yield "alanine", "init", init, init
    compare = compare_words("-o", "compared")
    yield "toy", "compare", compare, (*compare, "--resume")


def _worked(box: Path, before: dict[str, str], words: tuple[str, ...], outcome: Outcome) -> None:
    """Note what a refused command has lost, then that it works once there is room."""
    first = Outcome(outcome.family, outcome.name, [])
    if outcome.code:
        after = digests(box)
        outcome.lost = [name for name, was in before.items() if after.get(name) != was and Path(name).name not in _ANY][
            :20
        ]
        execute(words, box, first, 400)
        if first.code:
            outcome.accepted = f"afterwards it does not work: {first.stderr.strip().splitlines()[-1][:200]}"


_ANY = {".lock", "run.log", "files.txt", "run", "figures", "stages", "inputs", "paths", "ballast", "tmp"}


def _full(masters: Path, kind: str, name: str, words: tuple[str, ...], again: tuple[str, ...], room: int) -> Case:
    def act(box: Path, outcome: Outcome) -> None:
        disk = box / "disk"
        with small_disk(disk):
            (disk / "tmp").mkdir()
            fill(masters, kind, disk, finished=name not in ("run", "init", "compare"))
            (disk / "precious.txt").write_text("a file of the user\n")
            ballast = _ballast(disk, room)
            before = digests(disk)
            before.pop("ballast")
            _execute_on(disk, box, words, outcome)
            ballast.unlink()
            _worked(disk, before, again, outcome)

    return Case("disks", f"{kind}: {name} with {room} bytes left", words, act=act, seconds=400)


def _execute_on(disk: Path, box: Path, words: tuple[str, ...], outcome: Outcome) -> None:
    """Run a command on a full disk; what it says and its temporary files go elsewhere."""
    (disk / "tmp").rmdir()
    (disk / "tmp").symlink_to(box / "tmp")
    execute(words, disk, outcome, 200)


def _protected(masters: Path, kind: str, name: str, words: tuple[str, ...], again: tuple[str, ...], part: str) -> Case:
    def act(box: Path, outcome: Outcome) -> None:
        fill(masters, kind, box)
        before = digests(box)
        with read_only(box / "run" / part):
            execute(words, box, outcome, 200)
        before = {key: was for key, was in before.items() if not key.startswith("tmp")}
        _worked(box, before, again, outcome)

    return Case("disks", f"{kind}: {name} with {part or 'the run folder'} read-only", words, act=act, seconds=400)


def cases(masters: Path, chance: random.Random) -> list[Case]:
    """All of the family."""
    del chance
    found = []
    for kind, name, words, again in _commands():
        for room in ROOMS:
            found.append(_full(masters, kind, name, words, again, room))
        if name in ("init", "compare", "run"):
            continue
        for part in ("", "figures", "stages", *(["inputs", "paths"] if kind == "alanine" else []), "committor"):
            found.append(_protected(masters, kind, name, words, again, part))
    return found
