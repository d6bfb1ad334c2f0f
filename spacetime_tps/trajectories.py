"""Reading trajectories: through MDTraj, but quietly, and not half of one."""

from __future__ import annotations

import ctypes
import importlib
import multiprocessing
import os
import struct
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path

import mdtraj
import numpy as np

from spacetime_tps.parallel import importing_nothing_from_here
from spacetime_tps.untrusted.guard import refuse_code
from spacetime_tps.untrusted.trust import trusted

_HDF5 = {".h5", ".hdf5", ".lh5"}
_PLAIN = {
    *(".dcd", ".nc", ".netcdf", ".ncdf", ".ncrst", ".rst7", ".restrt", ".inpcrd", ".mdcrd", ".crd", ".binpos", ".tng"),
    *(".xyz", ".gro", ".pdb", ".cif", ".mmcif", ".pdbx", ".lammpstrj", ".arc", ".xml"),
}
"""Formats whose reader takes numbers and names only, and survives damaged files, unlike those of XTC and TRR."""


def read_frames(file: Path, topology: mdtraj.Topology) -> np.ndarray:
    """Positions [nm], shape (T, n_atoms, 3), of any trajectory that MDTraj reads.

    What is not known to be plain is read in a process of its own that runs no code from the file: PyTables, for one,
    unpickles attributes of HDF5 files.

    Raises:
        ValueError: a DCD file holds fewer frames than its header says, or the reader crashed.
        Exception: whatever the reader of MDTraj raises.
    """
    frames = _load(file, topology) if file.suffix.lower() in _PLAIN else _apart(file, topology)
    promised = _promised(file)
    if len(frames) < promised:
        raise ValueError(f"it is cut short: {len(frames)} of the {promised} frames that its header promises are there")
    return frames


def _load(file: Path, topology: mdtraj.Topology) -> np.ndarray:
    with _silence():
        return np.asarray(mdtraj.load(str(file.absolute()), top=topology).xyz)


def _load_guarded(file: Path, topology: mdtraj.Topology) -> np.ndarray:
    """Read a file that could hold code, in a process that is there for it alone."""
    if file.suffix.lower() in _HDF5:
        importlib.import_module("tables")
    with _silence():
        refuse_code()
        return np.asarray(mdtraj.load(str(file.absolute()), top=topology).xyz)


def _apart(file: Path, topology: mdtraj.Topology) -> np.ndarray:
    """Read in a process of its own, which may crash."""
    with (
        importing_nothing_from_here(),
        ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as executor,
    ):
        try:
            return executor.submit(_load if trusted() else _load_guarded, file, topology).result()
        except BrokenProcessPool as error:
            raise ValueError("its reader crashed, so it is damaged") from error


def _promised(file: Path) -> int:
    """Frames that the header of a DCD file counts; 0 of any other file."""
    with file.open("rb") as handle:
        head = handle.read(12)
    if len(head) < 12 or head[4:8] != b"CORD":
        return 0
    order = "<" if struct.unpack("<i", head[:4])[0] == 84 else ">"
    return int(struct.unpack(f"{order}i", head[8:12])[0])


@contextmanager
def _silence() -> Iterator[None]:
    """Keep what C code prints off standard output and standard error; its errors are raised, too."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = {stream: os.dup(stream) for stream in (1, 2)}
    with open(os.devnull, "wb") as nowhere:
        for stream in kept:
            os.dup2(nowhere.fileno(), stream)
    try:
        yield
    finally:
        ctypes.CDLL(None).fflush(None)
        for stream, copy in kept.items():
            os.dup2(copy, stream)
            os.close(copy)
