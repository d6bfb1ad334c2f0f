"""Collective variables, in which states are defined: torsions, RMSD, native contacts, or the coordinates of a point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar, Protocol

import numpy as np

from spacetime_tps.representations import centered, dihedral_angles, superposed
from spacetime_tps.states import Axes

_SHOWN = {"angle": ("_deg", 180 / np.pi, "deg"), "length": ("_nm", 1.0, "nm"), None: ("", 1.0, "")}
"""Of a dimension: the ending of its columns' names, its unit there in internal ones, and that unit."""


class Measure(Protocol):
    """A variable of a frame that is no torsion."""

    @property
    def dimension(self) -> str | None:
        """``length``, or None for a plain number."""
        ...

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """Values, shape (...), of positions [nm], shape (..., n_atoms, 3)."""
        ...


@dataclass(frozen=True)
class RMSD:
    """Root-mean-square distance [nm] of some atoms from a structure, superposed by these.

    Attributes:
        atoms: their indices, shape (n,).
        reference: their positions there [nm], shape (n, 3).
    """

    dimension: ClassVar[str | None] = "length"
    atoms: np.ndarray
    reference: np.ndarray

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """Values [nm], shape (...), of positions [nm], shape (..., n_atoms, 3)."""
        reference = centered(self.reference)
        away = superposed(frames[..., self.atoms, :], reference) - reference
        return np.sqrt(np.square(away).sum(axis=-1).mean(axis=-1))


@dataclass(frozen=True)
class NativeContacts:
    """Fraction Q of native contacts: the mean of 1 / (1 + exp(beta (r - lambda r0))) over pairs of atoms.

    Best, Hummer and Eaton, PNAS 110, 17874 (2013), eq. 1, with their beta = 50 /nm and lambda = 1.8.

    Attributes:
        pairs: of atoms in contact in the native structure, shape (n, 2).
        lengths: r0 of each there [nm], shape (n,).
    """

    dimension: ClassVar[str | None] = None
    softness_per_nm: ClassVar[float] = 50.0
    tolerance: ClassVar[float] = 1.8
    pairs: np.ndarray
    lengths: np.ndarray

    @classmethod
    def of(
        cls, native: np.ndarray, heavy: np.ndarray, residues: np.ndarray, cutoff: float, apart: int
    ) -> NativeContacts:
        """Those of a structure.

        Args:
            native: positions [nm], shape (n_atoms, 3).
            heavy: atoms that count, shape (n,).
            residues: number of each atom's residue along its chain, shape (n_atoms,).
            cutoff: distance below which two atoms touch [nm].
            apart: residues at least from one to the other.
        """
        first, second = np.triu_indices(len(heavy), k=1)
        pairs = np.stack([heavy[first], heavy[second]], axis=-1)
        pairs = pairs[np.abs(np.diff(residues[pairs], axis=-1)[:, 0]) >= apart]
        lengths = np.linalg.norm(np.diff(native[pairs], axis=1)[:, 0], axis=-1)
        return cls(pairs[lengths < cutoff], lengths[lengths < cutoff])

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """Q, shape (...), of positions [nm], shape (..., n_atoms, 3)."""
        r = np.linalg.norm(frames[..., self.pairs[:, 1], :] - frames[..., self.pairs[:, 0], :], axis=-1)
        exponent = np.minimum(self.softness_per_nm * (r - self.tolerance * self.lengths), 700.0)
        return (1.0 / (1.0 + np.exp(exponent))).mean(axis=-1)


@dataclass(frozen=True)
class CollectiveVariables:
    """Named functions of a frame: torsions [rad] of a molecule and, after them, others; or the coordinates of a point.

    Attributes:
        names: of all, torsions first.
        quadruples: atoms of the torsions, shape (n_torsions, 4); None for a point.
        measures: the others.
    """

    names: list[str]
    quadruples: np.ndarray | None
    measures: Sequence[Measure] = field(default=())

    @cached_property
    def axes(self) -> Axes:
        """What they are."""
        if self.quadruples is None:
            return Axes.alike(self.names, None)
        others = tuple(measure.dimension for measure in self.measures)
        return Axes(tuple(self.names), ("angle",) * len(self.quadruples) + others)

    @property
    def n_angles(self) -> int:
        """The first of the variables, so many of them, are angles."""
        return 0 if self.quadruples is None else len(self.quadruples)

    @property
    def columns(self) -> list[str]:
        """Names with the unit in which they are shown."""
        return [name + _SHOWN[kind][0] for name, kind in zip(self.names, self.axes.dimensions, strict=True)]

    @property
    def units(self) -> list[str]:
        """In which they are shown; empty for plain numbers."""
        return [_SHOWN[kind][2] for kind in self.axes.dimensions]

    def shown(self, values: np.ndarray) -> np.ndarray:
        """Values, shape (..., n_cv), in these units."""
        return values * np.array([_SHOWN[kind][1] for kind in self.axes.dimensions])

    def told(self, values: np.ndarray) -> str:
        """Values, shape (n_cv,), in words."""
        rows = zip(self.names, self.shown(values), self.units, strict=True)
        return ", ".join(
            f"{name} {value:.1f} deg" if unit == "deg" else f"{name} {value:.4g} {unit}".rstrip()
            for name, value, unit in rows
        )

    def unwrapped(self, values: np.ndarray) -> np.ndarray:
        """A path's variables, shape (T, n_cv), its angles followed along it."""
        angles = np.unwrap(values[:, : self.n_angles], axis=0)
        return np.concatenate([angles, values[:, self.n_angles :]], axis=-1)

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """Values, shape (..., n_cv), of frames: positions (..., n_atoms, 3), or points (..., d)."""
        if self.quadruples is None:
            return frames
        angles = dihedral_angles(frames, self.quadruples)
        if not self.measures:
            return angles
        return np.concatenate([angles, measured(frames, self.measures)], axis=-1)


def measured(frames: np.ndarray, measures: Sequence[Measure]) -> np.ndarray:
    """Values, shape (..., n_measures), of positions [nm], shape (..., n_atoms, 3)."""
    values = [measure(frames) for measure in measures]
    return np.stack(values, axis=-1) if values else np.zeros((*frames.shape[:-2], 0))
