"""Files of the user: regular ones of a size that can be meant, before anything opens them.

A named pipe without a writer blocks whoever opens it, and /dev/zero never ends.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from spacetime_tps.errors import UserError, shortened

TEXT_BYTES = 4 * 10**9
"""Structures, topologies, tables."""
YAML_BYTES = 10**7
ANY_BYTES = 10**13
_LONGEST_SHOWN = 300
_KINDS = [
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
]


def regular_file(path: Path, what: str = "", largest: int = TEXT_BYTES, named: str = "") -> Path:
    """``path`` itself, if it is a regular file that is not too large.

    Args:
        path: of a file that the user named; links are followed.
        what: its role, such as "The PDB file", for messages.
        largest: bytes that it may have.
        named: role and name together, where the name does not stand last.

    Raises:
        UserError: it is not there, cannot be looked at, is something else than a file, or too large.
    """
    shown = shortened(named or f"{what} {path}".strip(), _LONGEST_SHOWN)
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        raise UserError(f"{shown} is not there.") from error
    except OSError as error:
        raise UserError(f"{shown} cannot be opened ({error.strerror}).") from error
    if not stat.S_ISREG(found.st_mode):
        kind = next((words for is_one, words in _KINDS if is_one(found.st_mode)), "something else")
        raise UserError(f"{shown} is {kind}, not a file.")
    if found.st_size > largest:
        raise UserError(f"{shown} holds {found.st_size / 1e6:,.0f} MB; expected up to {largest / 1e6:,.0f} MB.")
    return path


def read_text_file(path: Path, what: str = "", largest: int = TEXT_BYTES) -> str:
    """The UTF-8 text of a file of the user, without a byte-order mark.

    Raises:
        UserError: as of ``regular_file``, or it is not UTF-8.
    """
    content = regular_file(path, what, largest).read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UserError(f"{path} cannot be read as UTF-8 text: see line {line}.") from error
