"""Energy surfaces of two torsions from text files with the columns phi, psi, energy."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from spacetime_tps.errors import UserError
from spacetime_tps.inputs import read_text_file
from spacetime_tps.potentials.surface import FreeEnergySurface

_SAME = 1e-4
"""Angles [rad] that differ by less are one."""
_UNEVEN = 0.02
"""Largest deviation of a step from its mean, as a share of it: files are rounded."""
_FEWEST = 8


def read_text_table(path: Path, kt: float) -> FreeEnergySurface:
    """A periodic surface from lines ``phi psi energy`` [rad], separated by blanks or commas, in any order.

    The first line may be a header, and lines that start with # are comments. A file may repeat the first angle of an
    axis one turn later. Energies stay as they are: the zero is the file's.

    Args:
        path: of the file.
        kt: thermal energy in the unit of the file's energies.

    Raises:
        UserError: the file cannot be read or is no complete regular grid of both circles.
    """
    rows = _numbers(path)
    axes = [_axis(rows[:, k], name, path) for k, name in enumerate(("phi", "psi"))]
    shape = tuple(len(axis) for axis in axes)
    table = np.full(shape, np.nan)
    places = tuple(
        np.rint((rows[:, k] - axis[0]) / (axis[1] - axis[0])).astype(int) % len(axis) for k, axis in enumerate(axes)
    )
    for i, j, energy in zip(*places, rows[:, 2], strict=True):
        if not np.isnan(table[i, j]) and not np.isclose(table[i, j], energy, rtol=1e-6, atol=1e-6):
            where = f"phi {axes[0][i]:.4g}, psi {axes[1][j]:.4g}"
            raise UserError(f"{path} gives two energies, {table[i, j]:g} and {energy:g}, for {where}; give one.")
        table[i, j] = energy
    if np.isnan(table).any():
        i, j = np.argwhere(np.isnan(table))[0]
        raise UserError(
            f"{path} is no complete grid: {np.isnan(table).sum()} of {table.size} points are missing, for example "
            f"phi {axes[0][i]:.4g}, psi {axes[1][j]:.4g}."
        )
    return FreeEnergySurface(
        names=("phi", "psi"),
        origin=np.array([axis[0] for axis in axes]),
        spacing=np.array([2 * np.pi / n for n in shape]),
        periodic=np.ones(2, dtype=bool),
        free_energy=table,
        error=np.zeros(shape),
        source=str(path),
        kt=kt,
    )


def _numbers(path: Path) -> np.ndarray:
    lines = read_text_file(path, "The table").splitlines()
    rows: list[list[float]] = []
    first = True
    for number, line in enumerate(lines, 1):
        words = line.split("#")[0].replace(",", " ").split()
        if not words:
            continue
        try:
            row = [float(word) for word in words]
        except ValueError:
            row = []
        header, first = first and not row, False
        if header:
            continue
        if len(row) != 3 or not np.isfinite(row).all():
            raise UserError(f"{path}, line {number}: expected three finite numbers, phi psi energy, not {line[:60]!r}.")
        rows.append(row)
    if not rows:
        raise UserError(f"{path} holds no numbers; expected lines with phi psi energy.")
    return np.array(rows)


def _axis(angles: np.ndarray, name: str, path: Path) -> np.ndarray:
    """The grid points of a circle, without a repeated end."""
    if np.abs(angles).max() > 2 * np.pi + _SAME:
        raise UserError(f"{path}: {name} reaches {angles[np.abs(angles).argmax()]:g}; expected radians.")
    sorted_ = np.sort(angles)
    points = np.array([group.mean() for group in np.split(sorted_, np.flatnonzero(np.diff(sorted_) > _SAME) + 1)])
    if len(points) < _FEWEST:
        raise UserError(f"{path} has {len(points)} different values of {name}; expected a grid of at least {_FEWEST}.")
    steps = np.diff(points)
    uneven = np.abs(steps - steps.mean()).max() > max(_UNEVEN * steps.mean(), 2 * _SAME)
    turns = (points[-1] - points[0]) / (2 * np.pi)
    if abs(turns - 1) < _UNEVEN / len(points):
        points = points[:-1]
    elif abs(turns * len(points) / (len(points) - 1) - 1) > _UNEVEN / len(points):
        uneven = True
    if uneven:
        raise UserError(
            f"{path}: the {len(points)} values of {name}, {points[0]:.4g} to {points[-1]:.4g}, do not divide a whole "
            "circle into equal steps."
        )
    return points
