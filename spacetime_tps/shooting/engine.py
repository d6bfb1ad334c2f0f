"""What shooting needs of the dynamics: points to start from, and trajectories out of them until a state is reached."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from spacetime_tps.shooting.path import ShotPath

NOWHERE, IN_A, IN_B = 0, 1, 2


@dataclass(frozen=True)
class Phase:
    """Points of phase space to integrate from; arrays as in ``ShotPath``, one row a trajectory."""

    positions: np.ndarray
    velocities: np.ndarray

    def only(self, which: np.ndarray) -> Phase:
        """A selection of the rows."""
        return Phase(self.positions[which], self.velocities[which])


@dataclass(frozen=True)
class Segment:
    """Frames behind a starting point, which is not among them.

    Attributes:
        positions, velocities, variables: as in ``ShotPath``, in the direction of integration.
        state: where the last frame lies: ``IN_A``, ``IN_B`` or ``NOWHERE``.
    """

    positions: np.ndarray
    velocities: np.ndarray
    variables: np.ndarray
    state: int

    def __len__(self) -> int:
        return len(self.positions)

    def as_path(self, backward: bool, born: int) -> ShotPath:
        """The frames in the forward direction of time."""
        size = len(self)
        parts = (self.positions, self.velocities, np.full(size, backward), self.variables, np.full(size, born))
        return ShotPath(*(part[::-1] for part in parts)) if backward else ShotPath(*parts)


class Trajectories(Protocol):
    """Trajectories on their way, each known by a number; any may be added while others run."""

    def add(self, key: int, start: Phase, limit: int) -> None:
        """Set off from ``start``, one row, for ``limit`` frames at most."""
        ...

    def advance(self) -> list[tuple[int, Segment]]:
        """Integrate for a while; returns what has come to its end, and none twice."""
        ...


class Engine(Protocol):
    """Unguided dynamics of a system; implementations count what they cost."""

    force_evaluations: int

    def starts(self, frames: list[ShotPath], mixing: float, rng: np.random.Generator) -> tuple[Phase, Phase]:
        """Points to integrate from, forward and backward in time.

        Args:
            frames: one frame each, of shape (1, ...).
            mixing: c in v' = c v + sqrt(1 - c^2) xi with xi from the Maxwell-Boltzmann distribution, constraints
                obeyed: 1 keeps the velocities, 0 draws new ones.
            rng: of the new velocities.
        """
        ...

    def integrate(self, starts: Phase, limits: np.ndarray, stop: bool) -> list[Segment]:
        """Trajectories out of ``starts``.

        Args:
            starts: from ``starts``.
            limits: largest number of frames of each, shape (n,).
            stop: end at the first frame that lies in a state.
        """
        ...

    def trajectories(self, stop: bool) -> Trajectories:
        """The same for trajectories that do not all set off at once."""
        ...


class OneByOne:
    """Trajectories of an engine that integrates one at a time, in the order in which they are added."""

    def __init__(self, engine: Engine, stop: bool):
        self._engine, self._stop = engine, stop
        self._waiting: deque[tuple[int, Phase, int]] = deque()

    def add(self, key: int, start: Phase, limit: int) -> None:
        """See ``Trajectories.add``."""
        self._waiting.append((key, start, limit))

    def advance(self) -> list[tuple[int, Segment]]:
        """See ``Trajectories.advance``."""
        key, start, limit = self._waiting.popleft()
        return [(key, self._engine.integrate(start, np.array([limit]), self._stop)[0])]


def membership(in_a: np.ndarray, in_b: np.ndarray) -> np.ndarray:
    """``IN_A``, ``IN_B`` or ``NOWHERE`` from two masks."""
    return np.where(in_a, IN_A, np.where(in_b, IN_B, NOWHERE))
