"""A free-energy surface tabulated on a regular grid of one or two collective variables, periodic or not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spacetime_tps.errors import UserError
from spacetime_tps.files import read_arrays, write_arrays

_FIELDS = ("names", "origin", "spacing", "periodic", "free_energy", "error", "source", "kt", "force_evaluations")


@dataclass(frozen=True)
class FreeEnergySurface:
    """F(s) above its global minimum, in the energy unit of its system (kJ/mol, or kT for analytic potentials).

    Attributes:
        names: collective variables, one an axis.
        origin, spacing: coordinate of the first grid point and the step, shape (n_axes,) [rad for torsions].
        periodic: shape (n_axes,); a periodic axis spans exactly one period and does not repeat its first point.
        free_energy, error: values and their standard errors on the grid.
        source: how the table was made.
        kt: thermal energy in the same unit.
        force_evaluations: what making the table cost.
    """

    names: tuple[str, ...]
    origin: np.ndarray
    spacing: np.ndarray
    periodic: np.ndarray
    free_energy: np.ndarray
    error: np.ndarray
    source: str
    kt: float
    force_evaluations: int = 0

    def axis(self, k: int) -> np.ndarray:
        """Grid points of axis ``k``."""
        return self.origin[k] + self.spacing[k] * np.arange(self.free_energy.shape[k])

    def points(self) -> np.ndarray:
        """All grid points, shape (n_grid, n_axes), in the order of ``free_energy.ravel()``."""
        mesh = np.meshgrid(*[self.axis(k) for k in range(self.free_energy.ndim)], indexing="ij")
        return np.stack([m.ravel() for m in mesh], axis=-1)

    def log_density(self) -> np.ndarray:
        """-F/kT on ``points()``, shape (n_grid,)."""
        return -self.free_energy.ravel() / self.kt

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """F at ``points``, shape (..., n_axes); multilinear, and constant outward from the rim of open axes."""
        return self._interpolate(self.free_energy, points)

    def maximum_along(self, points: np.ndarray, subdivisions: int = 1) -> float:
        """Largest F on the straight lines through successive points, shape (T, n_axes).

        A path that is looked at every few steps may leap over a ridge; the lines between its looks do not.

        Args:
            points: less than half a period apart where an axis is periodic.
            subdivisions: of each line; 1 takes the points alone.
        """
        if subdivisions > 1 and len(points) > 1:
            step = np.diff(points, axis=0)
            period = self.spacing * np.array(self.free_energy.shape)
            step = np.where(self.periodic, (step + period / 2) % period - period / 2, step)
            shares = np.arange(subdivisions)[:, None, None] / subdivisions
            points = np.concatenate([(points[:-1] + shares * step).reshape(-1, points.shape[1]), points[-1:]])
        return float(self(points).max())

    def error_at(self, points: np.ndarray) -> np.ndarray:
        """Standard error of F at ``points``, shape (..., n_axes)."""
        return self._interpolate(self.error, points)

    def _interpolate(self, table: np.ndarray, points: np.ndarray) -> np.ndarray:
        shape = np.array(table.shape)
        t = (np.asarray(points, dtype=float) - self.origin) / self.spacing
        t = np.where(self.periodic, t % shape, np.clip(t, 0, shape - 1))
        low = np.where(self.periodic, np.floor(t), np.minimum(np.floor(t), shape - 2)).astype(int)
        fraction = t - low
        value = np.zeros(t.shape[:-1])
        for corner in np.ndindex(*(2,) * table.ndim):
            index = np.where(self.periodic, (low + corner) % shape, low + corner)
            weight = np.where(corner, fraction, 1.0 - fraction).prod(axis=-1)
            value += weight * table[tuple(np.moveaxis(index, -1, 0))]
        return value

    def save(self, path: Path) -> None:
        """Write the table to an ``.npz`` file."""
        write_arrays(path, **{name: np.asarray(getattr(self, name)) for name in _FIELDS})

    @classmethod
    def load(cls, path: Path) -> FreeEnergySurface:
        """Read a table written by ``save``.

        Raises:
            UserError: the file is missing or is no such table.
        """
        data = read_arrays(path)
        try:
            surface = cls(
                names=tuple(map(str, data["names"])),
                origin=data["origin"],
                spacing=data["spacing"],
                periodic=data["periodic"],
                free_energy=data["free_energy"].astype(float, casting="same_kind"),
                error=data["error"].astype(float, casting="same_kind"),
                source=str(data["source"]),
                kt=float(data["kt"]),
                force_evaluations=int(data["force_evaluations"]),
            )
            surface._check()
        except (KeyError, ValueError, TypeError) as problem:
            raise UserError(
                f"{path} holds no free-energy surface; make it with scripts/build_reference.py or remove the key "
                "'reference' from the system file."
            ) from problem
        return surface

    def _check(self) -> None:
        """Raise ValueError where the parts do not fit together."""
        d = len(self.names)
        shapes = (self.origin.shape, self.spacing.shape, self.periodic.shape)
        if self.free_energy.ndim != d or self.error.shape != self.free_energy.shape or set(shapes) != {(d,)}:
            raise ValueError("shapes do not fit")
        if not d or min(self.free_energy.shape) < 2:
            raise ValueError("an axis has a single point")
        numbers = (self.free_energy, self.origin, self.spacing, np.array(self.kt))
        if not all(part.dtype.kind in "fiu" and np.isfinite(part).all() for part in numbers) or not self.kt > 0:
            raise ValueError("values are not finite")
        if (self.error < 0).any() or np.isinf(self.error).any():  # without an estimate it is NaN
            raise ValueError("errors are negative or infinite")
        if not (self.spacing > 0).all() or self.periodic.dtype != bool:
            raise ValueError("the axes are none")
