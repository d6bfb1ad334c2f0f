"""Ways in which a file can be spoilt."""

from __future__ import annotations

import gzip
import io
import os
import random
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from harness import Must

Spoil = Callable[[Path], None]


def _content(change: Callable[[bytes], bytes]) -> Spoil:
    def spoil(path: Path) -> None:
        path.write_bytes(change(path.read_bytes()))

    return spoil


def _instead(make: Callable[[Path], None]) -> Spoil:
    def spoil(path: Path) -> None:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        make(path)

    return spoil


def flipped(place: float, bit: int) -> Spoil:
    """One bit at a share of the file."""

    def change(data: bytes) -> bytes:
        k = min(len(data) - 1, int(place * len(data)))
        return data[:k] + bytes([data[k] ^ (1 << bit)]) + data[k + 1 :] if data else data

    return _content(change)


REMOVED: Spoil = _instead(lambda path: None)


def replacements() -> Iterator[tuple[str, Spoil, Must, float]]:
    """(name, way, expectation, seconds) of what stands in a file's place and is not such a file."""
    yield "is missing", REMOVED, "refuse", 60
    yield "is a folder", _instead(lambda path: path.mkdir()), "refuse", 60
    yield "is a FIFO", _instead(lambda path: os.mkfifo(path)), "refuse", 15
    yield "links to itself", _instead(lambda path: path.symlink_to(path.name)), "refuse", 60
    yield "links to nothing", _instead(lambda path: path.symlink_to("nowhere")), "refuse", 60
    yield "links to /dev/zero", _instead(lambda path: path.symlink_to("/dev/zero")), "refuse", 30
    yield "links to /dev/null", _instead(lambda path: path.symlink_to("/dev/null")), "refuse", 60
    yield "links to a folder", _instead(lambda path: path.symlink_to("/proc")), "refuse", 60


def contents(chance: random.Random, flips: int) -> Iterator[tuple[str, Spoil, Must]]:
    """(name, way, expectation) of what a file may hold instead."""
    yield "is empty", _content(lambda data: b""), "refuse"
    for share in (0.01, 0.1, 0.25, 0.5, 0.75):
        yield f"is cut at {share:.0%}", _content(lambda data, share=share: data[: int(share * len(data))]), "refuse"
    for left in (200, 20, 1):
        yield f"lacks its last {left} bytes", _content(lambda data, left=left: data[:-left]), "either"
    yield "is NUL", _content(lambda data: bytes(len(data))), "refuse"
    yield "holds NUL in the middle", _content(_nul_inside), "either"
    yield "stands twice in itself", _content(lambda data: data + data), "either"
    noise = bytes(chance.randrange(256) for _ in range(3000))
    yield "is noise", _content(lambda data: noise), "refuse"
    yield "is a word", _content(lambda data: b"hello\n"), "refuse"
    yield "is one long line", _content(lambda data: b"x" * 2_000_000), "refuse"
    yield "is a page of the web", _content(lambda data: b"<!DOCTYPE html><html><body>404</body></html>\n"), "refuse"
    yield "is compressed", _content(gzip.compress), "refuse"
    yield "is UTF-16", _content(lambda data: data.decode("latin1").encode("utf-16")), "refuse"
    yield "has other line ends", _content(lambda data: data.replace(b"\n", b"\r\n")), "either"
    for _ in range(flips):
        place, bit = chance.random(), chance.randrange(8)
        yield f"has bit {bit} at {place:.5%} flipped", flipped(place, bit), "either"


def _nul_inside(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes(16) + data[middle + 16 :]


def npz_with_shape(shape: str, kind: str = "<f8", name: str = "free_energy") -> bytes:
    """An archive whose array claims a shape and holds eight numbers."""
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}"
    header += " " * (-(len(header) + 11) % 64) + "\n"
    array = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + bytes(64)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(f"{name}.npy", array)
    return out.getvalue()
