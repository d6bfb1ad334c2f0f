"""A load folder for infRETIS: one folder a path, with a TRR file and tables of its frames and their order parameter."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from spacetime_tps.errors import UserError
from spacetime_tps.export.transition_path import TransitionPath
from spacetime_tps.files import TEMPORARY_PREFIX, write_text

_FILE = "path.trr"


def write_load_folder(folder: Path, paths: Sequence[TransitionPath], orders: Sequence[np.ndarray]) -> None:
    """Write paths in the order of their ensembles: that of [0-] first, then of [0+], [1+], ...

    Args:
        folder: ``load`` of an infRETIS simulation; it must not be there yet.
        paths: with velocities.
        orders: order parameter of the frames of each, shape (T,).

    Raises:
        UserError: the folder is there or cannot be made, or a path has no velocities.
    """
    if folder.exists():
        raise UserError(f"{folder} is there already; choose another folder.")
    if any(path.velocities_nm_ps is None for path in paths):
        raise UserError("infRETIS needs velocities; path.thermalised(dynamics, seed) draws them.")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder} cannot be made: {error.strerror}.") from error
    with tempfile.TemporaryDirectory(prefix=TEMPORARY_PREFIX, dir=folder.parent) as scratch:
        whole = Path(scratch) / folder.name
        for number, (path, order) in enumerate(zip(paths, orders, strict=True)):
            _write_path(whole / str(number), path, order)
        whole.rename(folder)


def _write_path(target: Path, path: TransitionPath, order: np.ndarray) -> None:
    (target / "accepted").mkdir(parents=True)
    path.save(target / "accepted" / _FILE)
    head = "# Cycle: 0, status: ACC\n"
    rows = [f"{t:10d} {_FILE:>20s} {t:10d} {1:5d}" for t in range(len(path))]
    title = f"#{'Step':>9s} {'Filename':>20s} {'index':>10s} {'vel':>5s}\n"
    write_text(target / "traj.txt", head + title + "\n".join(rows) + "\n")
    rows = [f"{t:10d} {value:15.6f}" for t, value in enumerate(order)]
    write_text(target / "order.txt", f"{head}#{'Time':>9s} {'Orderp':>15s}\n" + "\n".join(rows) + "\n")


def between_interfaces(order: np.ndarray, first: float, last: float) -> slice:
    """The part of a path from the last frame not above ``first`` to the next one not below ``last``.

    Args:
        order: of the frames [deg], shape (T,), on a circle cut open: a step of more than 180 leads over the cut.

    Raises:
        ValueError: there is none, or it leads over the cut.
    """
    beyond = np.flatnonzero(order >= last)
    beyond = beyond[beyond > int(np.argmax(order <= first))] if (order <= first).any() else beyond[:0]
    if not len(beyond):
        raise ValueError("the path does not lead from the first interface to the last")
    end = int(beyond[0])
    start = int(np.flatnonzero(order[:end] <= first)[-1])
    if over_the_cut(order[start : end + 1]):
        raise ValueError("the path leads round the other side of the circle")
    return slice(start, end + 1)


def over_the_cut(order: np.ndarray) -> bool:
    """Whether two neighbours among ``order`` [deg], shape (T,), lie at either side of where the circle is cut open."""
    return bool((np.abs(np.diff(order)) > 180.0).any())
