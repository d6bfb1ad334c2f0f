"""Files that are there whole or not at all, and that say which run wrote them."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import os
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from spacetime_tps.errors import DamagedFileError, UserError
from spacetime_tps.interruption import held_back, raise_if_interrupted
from spacetime_tps.ownership import TEMPORARY_PREFIX, check_stamp, claim, home_of, stamp

_DIGEST, _STAMP, _PROVENANCE = "sha256", "written_as", "provenance"
_MOST_BYTES = 16 * 2**30
"""Of all arrays in an archive together; what declares more is not read."""
_UNREADABLE = (
    *(OSError, EOFError, ValueError, TypeError, AttributeError, KeyError, NotImplementedError, RuntimeError),
    *(OverflowError, RecursionError, zipfile.BadZipFile, zlib.error),
)
"""What NumPy raises on archives that are damaged."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside ``path`` with its suffix; on success move it there, on failure remove it.

    Raises:
        UserError: ``path`` lies in a run folder that did not write it.
        OSError: it cannot be written; the error names ``path``.
    """
    raise_if_interrupted()
    with _naming(path):
        home = claim(path)
        prefix = TEMPORARY_PREFIX if home is None else home.temporary_prefix()
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=prefix, suffix=path.suffix, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            with held_back():
                yield temporary
            _move(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Errors of the operating system name the file that was to be written, not its temporary."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from error


def _move(temporary: Path, path: Path) -> None:
    with temporary.open("rb") as written:
        os.fsync(written.fileno())
    os.chmod(temporary, 0o666 & ~_umask())
    os.replace(temporary, path)


def write_bookkeeping(path: Path, text: str) -> None:
    """Write one of the files by which a folder knows what is its own; its temporary name is always the same."""
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{path.name}")
    with _naming(path):
        try:
            temporary.unlink(missing_ok=True)
            with temporary.open("x", encoding="utf-8") as handle:  # never through a link
                handle.write(text)
            _move(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def plain(value: Any) -> Any:
    """``value`` with NumPy scalars and arrays as Python ones, and non-finite numbers as None, ready for JSON."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically, indented; numbers that are not finite become null.

    A mapping in a run folder gets the key ``provenance``: the run, the name of the file, the version of the format and
    the digest of everything else.
    """
    value, stamped = plain(value), stamp(path)
    if stamped is not None and isinstance(value, dict):
        value = {**value, _PROVENANCE: {**stamped, _DIGEST: digest_of(value)}}
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file; a mapping comes without its provenance.

    Raises:
        DamagedFileError: the file is missing or damaged, was changed since it was written, or belongs to another run.
    """
    try:
        _check_regular(path)
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DamagedFileError(f"{path} is missing or damaged and cannot be read as JSON{_advice(path)}.") from error
    stamped = value.pop(_PROVENANCE, None) if isinstance(value, dict) else None
    if stamped is not None and not (isinstance(stamped, dict) and stamped.pop(_DIGEST, None) == digest_of(value)):
        raise DamagedFileError(f"{path} was changed after it was written{_advice(path)}.")
    check_stamp(path, stamped)
    return value


def digest_of(content: Any) -> str:
    """SHA-256 of what can be written as JSON."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def digest_of_file(path: Path) -> str:
    """SHA-256 of what a file holds."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, _DIGEST).hexdigest()


def write_arrays(path: Path, **arrays: Any) -> None:
    """Write a compressed ``.npz`` atomically, with the digest of what it holds and, in a run folder, its provenance."""
    held: dict[str, Any] = {name: np.asarray(value) for name, value in arrays.items()}
    if (stamped := stamp(path)) is not None:
        held[_STAMP] = np.array(json.dumps(stamped))
    held[_DIGEST] = np.array(_digest(held))
    with replacing(path) as temporary, temporary.open("wb") as handle:
        np.savez_compressed(handle, **held)


def read_arrays(path: Path, required: Iterable[str] = ()) -> dict[str, np.ndarray]:
    """Read a ``.npz`` without executing anything in it.

    Raises:
        DamagedFileError: the file is missing, damaged, no such archive, lacks one of the ``required`` arrays, was
            changed since it was written, or belongs to another run.
    """
    try:
        _check_regular(path)
        _check_sizes(path)
        with np.load(path, allow_pickle=False) as archive:
            found = {name: archive[name] for name in archive.files}
    except _UNREADABLE as error:
        raise DamagedFileError(
            f"{path} cannot be read as an npz archive: it is missing or damaged{_advice(path)}."
        ) from error
    digest = found.pop(_DIGEST, None)
    if digest is not None and str(digest) != _digest(found):
        raise DamagedFileError(f"{path} was changed after it was written{_advice(path)}.")
    stamped = found.pop(_STAMP, None)
    check_stamp(path, None if stamped is None or digest is None else _parsed(str(stamped)))
    for name in required:
        if name not in found or (found[name].ndim and found[name].size == 0):
            raise DamagedFileError(f"{path} lacks the array {name!r}, or it is empty{_advice(path)}.")
    return found


def _parsed(text: str) -> Any:
    """What JSON says; what is none says nothing right."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _check_regular(path: Path) -> None:
    """A named pipe would wait for ever.

    Raises:
        ValueError: the path is not that of a regular file.
    """
    if not path.is_file():
        raise ValueError("not a file")


def _check_sizes(path: Path) -> None:
    """Arrays have to be as large in the archive as their headers say.

    Raises:
        ValueError: they are not, or are too large to be read.
    """
    with zipfile.ZipFile(path) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > _MOST_BYTES:
            raise ValueError("the arrays are too large")
        for entry in archive.infolist():
            with archive.open(entry) as handle:
                version = np.lib.format.read_magic(handle)
                read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                shape, _, dtype = read(handle)
                if handle.tell() + math.prod(shape) * dtype.itemsize != entry.file_size:
                    raise ValueError("the declared shape does not fit")


def _advice(path: Path) -> str:
    """What to do about a damaged file, to end a sentence."""
    found = home_of(path)
    if found is None or found[1].startswith("inputs/"):
        return "; give a complete file"
    return "; run its stage again with --overwrite"


def _digest(arrays: dict[str, np.ndarray]) -> str:
    """SHA-256 of names, kinds, shapes and values."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].dtype.str} {arrays[name].shape}".encode())
        digest.update(np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()


def require_finite(what: str, advice: str, *arrays: Any) -> None:
    """Stop where numbers turn into NaN or infinity, not three stages later.

    Raises:
        UserError: one of the arrays holds a number that is not finite.
    """
    numbers = all(np.issubdtype(np.asarray(array).dtype, np.number) for array in arrays)
    if not numbers or not all(np.isfinite(array).all() for array in arrays):
        raise UserError(f"{what} not finite; {advice}.")


def write_csv(path: Path, header: list[str], rows: Iterable[Iterable[Any]], note: str | None = None) -> None:
    """Write a CSV file atomically; floats keep nine significant digits; ``note`` becomes a first line after '#'."""
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as handle:
        if note:
            handle.write(f"# {note}\n")
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(header)
        for row in rows:
            writer.writerow([f"{x:.9g}" if isinstance(x, (float, np.floating)) else x for x in row])
