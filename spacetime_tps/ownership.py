"""Which run a file belongs to: the folders that this process has open, and what each of them has written, name by name.

A folder of ours holds ``run.json``, its identity, and ``files.txt``, the names of all files that it wrote, each noted
before the file is there. What stands in neither is somebody else's: it is never overwritten and never deleted.

The folders that are open are kept in one place for the whole process, since writers know the file that they write and
nothing of the folder that it lies in.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from spacetime_tps.errors import DamagedFileError, UserError

FORMAT = 2
"""Version of what a run folder holds; the package 0.1 wrote folders without one."""
IDENTITY = "run.json"
LEDGER = "files.txt"
LOCK = ".lock"
LOG = "run.log"
PREVIOUS = ".previous"
"""Where results wait that are being replaced."""
TEMPORARY_PREFIX = ".partial-"
_ALWAYS = frozenset({IDENTITY, LEDGER, LOCK, LOG, "config.yaml"})
PROMOTED = {"refining": "refined", "shooting.new": "shooting"}
"""Folders of work in progress, by what they are called once it is finished."""
_ONLY_OURS = {"stages", "compare", "shooting_ridges", *PROMOTED, *PROMOTED.values()}
"""Folders in which no file is read that does not say that this run wrote it."""
_CUT = "/.."
"""Ends a line of the ledger that a full disk or a kill cut off, and makes it the name of nothing."""


@dataclass(frozen=True)
class Home:
    """A folder of ours that this process has open.

    Attributes:
        path: absolute.
        run: identity of the run.
        writing: whether what is written below it now belongs to it.
    """

    path: Path
    run: str
    writing: bool = False

    def temporary_prefix(self) -> str:
        """How the names of its unfinished files begin."""
        return f"{TEMPORARY_PREFIX}{self.run[:12]}-"


_homes: dict[Path, Home] = {}


def open_home(path: Path, run: str, writing: bool) -> Home:
    """Remember a folder; what it held under another identity is forgotten."""
    path = Path(os.path.abspath(path))
    known = _homes.get(path)
    still = known is not None and known.run == run and known.writing
    _homes[path] = Home(path, run, writing or still)
    return _homes[path]


def close_home(path: Path) -> None:
    """What is written in a folder from now on does not belong to it."""
    path = Path(os.path.abspath(path))
    if path in _homes:
        _homes[path] = replace(_homes[path], writing=False)


def home_of(file: Path) -> tuple[Home, str] | None:
    """The innermost open folder that a file lies in, and its name there; None if it lies in none."""
    file = Path(os.path.abspath(file))
    for parent in file.parents:
        if parent in _homes:
            return _homes[parent], file.relative_to(parent).as_posix()
    return None


def finished_name(name: str) -> str:
    """What a file is called once the work that it is part of is finished."""
    first, *rest = name.split("/")
    return "/".join([PROMOTED.get(first, first), *rest])


# --- what a folder has written --------------------------------------------------------------------


def noted(path: Path) -> list[str]:
    """The names in a folder's ledger, in the order in which they were noted; a line that is cut off is none."""
    try:
        text = (path / LEDGER).read_bytes().decode("utf-8", errors="replace")
    except FileNotFoundError:
        return []
    return [line for line in text.split("\n")[:-1] if is_below(line)]


def owned(path: Path) -> set[str]:
    """Names that belong to a folder, whether or not the files are there."""
    return {*_ALWAYS, *noted(path)}


def is_below(name: object) -> bool:
    """Whether something is the name of a file that lies below the folder that it is relative to."""
    if not isinstance(name, str) or "\0" in name:
        return False
    parts = PurePosixPath(name).parts
    return bool(parts) and not PurePosixPath(name).is_absolute() and ".." not in parts


def note(path: Path, names: set[str]) -> None:
    """Add names to a folder's ledger, before the files are there."""
    if missing := sorted(names - owned(path)):
        before = (path / LEDGER).read_bytes() if (path / LEDGER).is_file() else b""
        with (path / LEDGER).open("a", encoding="utf-8") as handle:
            handle.write(f"{_CUT}\n" if before and not before.endswith(b"\n") else "")
            handle.write("".join(f"{name}\n" for name in missing))
            handle.flush()
            os.fsync(handle.fileno())


def lies_within(path: Path, name: str) -> bool:
    """Whether no link on the way leads a name out of its folder."""
    parent = os.path.realpath((path / name).parent)
    root = os.path.realpath(path)
    return parent == os.path.normpath(os.path.join(root, os.path.dirname(name)))


def files_of(path: Path, within: str = "") -> Iterator[str]:
    """The files that belong to a folder and are there, below ``within``."""
    for name in sorted(owned(path)):
        inside = not within or name == within or name.startswith(f"{within}/")
        if inside and lies_within(path, name) and (path / name).is_file() and not (path / name).is_symlink():
            yield name


def claim(file: Path) -> Home | None:
    """Note that a file is about to be written; returns the folder that it will belong to.

    Raises:
        UserError: it would replace a file that its folder did not write, or lie outside of it.
    """
    found = home_of(file)
    if found is None or not found[0].writing:
        return None
    home, name = found
    if not lies_within(home.path, name):
        raise UserError(f"{file.parent} is a link that leads out of the run folder {home.path}; make it a folder.")
    if name not in owned(home.path):
        if os.path.lexists(file):
            raise UserError(f"{file} was not written by this run, which would now replace it; move it elsewhere.")
        note(home.path, {name})
    return home


def note_new(file: Path) -> None:
    """Note a file that a library has made just now, in the folder that is open for writing."""
    found = home_of(file)
    if found is not None and found[0].writing:
        note(found[0].path, {found[1]})


# --- what a file says of where it comes from ------------------------------------------------------


def stamp(file: Path) -> dict[str, Any] | None:
    """What is written into a file of an open folder: its run, its name there, and the version of the format."""
    found = home_of(file)
    if found is None or not found[0].writing:
        return None
    return {"run": found[0].run, "file": finished_name(found[1]), "format": FORMAT}


def check_stamp(file: Path, stamped: Any) -> None:
    """Compare what a file says with where it lies; files of others in an open folder, and beside it, say nothing.

    Raises:
        DamagedFileError: it belongs to another run or is another file of it.
    """
    found = home_of(file)
    if found is None or found[1].startswith("inputs/"):
        return
    home, name = found
    if stamped is None and name not in owned(home.path) and name.split("/")[0] not in _ONLY_OURS:
        return
    if not isinstance(stamped, dict):
        raise DamagedFileError(f"{file} was not written by the run it lies in; run its stage again with --overwrite.")
    if stamped.get("format") != FORMAT:
        raise DamagedFileError(
            f"{file} has format {stamped.get('format')}, and this version of spacetime_tps reads format {FORMAT}; "
            "run its stage again with --overwrite."
        )
    if stamped.get("run") != home.run:
        raise DamagedFileError(f"{file} belongs to another run; run its stage again with --overwrite.")
    if stamped.get("file") != finished_name(name):
        raise DamagedFileError(
            f"{file} was written as {stamped.get('file')} of this run; run its stage again with --overwrite."
        )
