"""Files that are there whole or not at all."""

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

TEMPORARY_PREFIX = ".partial-"
_DIGEST = "sha256"
_UNREADABLE = (
    *(OSError, EOFError, ValueError, TypeError, AttributeError, NotImplementedError),
    *(zipfile.BadZipFile, zlib.error),
)
"""What NumPy raises of archives that are none."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside ``path`` with its suffix; on success move it there, on failure remove it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=TEMPORARY_PREFIX, suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
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
    """Write JSON atomically, indented; numbers that are not finite become null."""
    write_text(path, json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        UserError: the file is missing or damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is missing or damaged and cannot be read as JSON.") from error


def write_arrays(path: Path, **arrays: Any) -> None:
    """Write a compressed ``.npz`` atomically, with the digest of what it holds."""
    held: dict[str, Any] = {name: np.asarray(value) for name, value in arrays.items()}
    held[_DIGEST] = np.array(_digest(held))
    with replacing(path) as temporary, temporary.open("wb") as handle:
        np.savez_compressed(handle, **held)


def read_arrays(path: Path, required: Iterable[str] = ()) -> dict[str, np.ndarray]:
    """Read a ``.npz`` without executing anything in it.

    Raises:
        DamagedFileError: the file is missing, damaged, no such archive, lacks one of the ``required`` arrays, or was
            written here and changed since.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            found = {name: archive[name] for name in archive.files}
    except _UNREADABLE as error:
        raise DamagedFileError(
            f"{path} cannot be read as an npz archive: it is missing or damaged; make it again with --overwrite."
        ) from error
    digest = found.pop(_DIGEST, None)
    if digest is not None and str(digest) != _digest(found):
        raise DamagedFileError(
            f"{path} is damaged: it was changed after it was written; make it again with --overwrite."
        )
    for name in required:
        if name not in found or (found[name].ndim and found[name].size == 0):
            raise DamagedFileError(
                f"{path} does not hold what it should: the array {name!r} is missing or empty; "
                "make it again with --overwrite."
            )
    return found


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
