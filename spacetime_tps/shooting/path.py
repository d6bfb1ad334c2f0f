"""An unguided trajectory from state A to state B, frame by frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np


@dataclass(frozen=True)
class ShotPath:
    """T frames at equal steps of physical time, the first in A and the last in B.

    Attributes:
        positions: [nm], shape (T, n_atoms, 3), or points, shape (T, d).
        velocities: as the integrator left them, in the direction of time in which the frame was made [nm/ps], shape
            (T, n_atoms, 3); shape (T, 0) for overdamped dynamics.
        backward: whether the frame was made backward in time, shape (T,).
        variables: collective variables, shape (T, n_cv).
        born: Monte Carlo step that made the frame, shape (T,).
    """

    positions: np.ndarray
    velocities: np.ndarray
    backward: np.ndarray
    variables: np.ndarray
    born: np.ndarray

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def selectable(self) -> int:
        """Frames that may be shot from: all but both ends."""
        return len(self) - 2

    def part(self, first: int, last: int) -> ShotPath:
        """Frames ``first`` to ``last``, the last not included."""
        frames = slice(first, last)
        return ShotPath(
            self.positions[frames],
            self.velocities[frames],
            self.backward[frames],
            self.variables[frames],
            self.born[frames],
        )

    def reversed(self) -> ShotPath:
        """The same frames in the opposite direction of time."""
        turned = {f.name: getattr(self, f.name)[::-1] for f in fields(self)}
        return ShotPath(**{**turned, "backward": ~turned["backward"]})


def joined(parts: Sequence[ShotPath]) -> ShotPath:
    """Parts of a trajectory, one after the other."""
    return ShotPath(**{f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(parts[0])})


def pack(paths: Sequence[ShotPath]) -> dict[str, np.ndarray]:
    """Many paths as arrays to be saved: all frames in a row, and the length of each path."""
    lengths = {"lengths": np.array([len(path) for path in paths], dtype=int)}
    if not paths:
        return lengths
    return lengths | {f.name: np.concatenate([getattr(path, f.name) for path in paths]) for f in fields(ShotPath)}


def unpack(arrays: dict[str, np.ndarray]) -> list[ShotPath]:
    """The inverse of ``pack``.

    Raises:
        KeyError, ValueError: the arrays are not those of ``pack``.
    """
    if not len(arrays["lengths"]):
        return []
    if arrays["lengths"].ndim != 1 or arrays["lengths"].dtype.kind != "i" or arrays["lengths"].min() < 1:
        raise ValueError("lengths of paths are whole numbers above zero")
    ends = np.cumsum(arrays["lengths"])[:-1]
    for f in fields(ShotPath):
        if len(arrays[f.name]) != arrays["lengths"].sum():
            raise ValueError(f"{f.name} has {len(arrays[f.name])} frames, not {arrays['lengths'].sum()}")
        if arrays[f.name].dtype.kind not in "biuf" or not np.isfinite(arrays[f.name]).all():
            raise ValueError(f"{f.name} holds numbers that are not finite")
    columns = {f.name: np.split(arrays[f.name], ends) for f in fields(ShotPath)}
    return [ShotPath(*parts) for parts in zip(*columns.values(), strict=True)]
