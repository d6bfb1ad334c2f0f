"""Overdamped Langevin dynamics on an analytic potential, batched over trajectories in torch."""

from __future__ import annotations

import math

import numpy as np
import torch

from spacetime_tps.potentials import Potential
from spacetime_tps.shooting.engine import NOWHERE, Phase, Segment, membership
from spacetime_tps.shooting.path import ShotPath
from spacetime_tps.states import State

_CHUNK = 32
"""Frames between two looks at the states; what a trajectory runs on past the state it has reached is dropped."""


class OverdampedEngine:
    """Euler-Maruyama steps; the trajectories of a batch side by side, each leaving it when it has arrived.

    Attributes:
        force_evaluations: of all trajectories so far.
    """

    def __init__(
        self, potential: Potential, kt: float, dt: float, states: tuple[State, State], frame_every: int, seed: int
    ):
        """``frame_every`` integration steps are one frame; ``seed`` is that of the noise."""
        self.force_evaluations = 0
        self._potential, self._kt, self._dt = potential, kt, dt
        self._states, self._frame_every = states, frame_every
        self._rng = torch.Generator().manual_seed(seed)

    def starts(self, frames: list[ShotPath], mixing: float, rng: np.random.Generator) -> tuple[Phase, Phase]:
        """There are no velocities: both directions of time start alike."""
        positions = np.concatenate([frame.positions for frame in frames])
        phase = Phase(positions, np.zeros((len(positions), 0)))
        return phase, phase

    def integrate(self, starts: Phase, limits: np.ndarray, stop: bool) -> list[Segment]:
        """See ``Engine.integrate``."""
        batch, found = self.trajectories(stop), dict[int, Segment]()
        for k, limit in enumerate(limits):
            batch.add(k, starts.only(np.array([k])), int(limit))
        while len(found) < len(limits):
            found.update(batch.advance())
        return [found[k] for k in range(len(limits))]

    def trajectories(self, stop: bool) -> Together:
        """See ``Engine.trajectories``."""
        return Together(self, stop)

    def frames(self, x: torch.Tensor, size: int) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
        """Integrate a batch of points, shape (n, d).

        Returns:
            the last points, ``size`` frames of every trajectory, shape (size, n, d), and where those lie, shape
            (size, n).
        """
        frames = torch.empty(size, *x.shape, dtype=x.dtype)
        shape = (size, self._frame_every, *x.shape)
        noise = math.sqrt(2 * self._kt * self._dt) * torch.randn(shape, generator=self._rng, dtype=x.dtype)
        for t in range(size):
            for kick in noise[t]:
                x = torch.sub(x + kick, self._potential.gradient(x), alpha=self._dt)
            frames[t] = x
        self.force_evaluations += size * self._frame_every * len(x)
        visited = frames.numpy()
        return x, visited, membership(*(s.contains(visited) for s in self._states))


class Together:
    """Trajectories of one batch; see ``Trajectories``."""

    def __init__(self, engine: OverdampedEngine, stop: bool):
        self._engine, self._stop = engine, stop
        self._waiting: list[tuple[int, np.ndarray, int]] = []
        self._parts: dict[int, list[np.ndarray]] = {}
        self._keys, self._left = np.zeros(0, dtype=int), np.zeros(0, dtype=int)
        self._x: torch.Tensor | None = None

    def add(self, key: int, start: Phase, limit: int) -> None:
        """See ``Trajectories.add``."""
        self._waiting.append((key, start.positions, limit))

    def advance(self) -> list[tuple[int, Segment]]:
        """See ``Trajectories.advance``."""
        ended = [(key, _segment([x[:0]], NOWHERE)) for key, x, limit in self._waiting if limit <= 0]
        self._set_off()
        if self._x is None or not len(self._keys):
            return ended
        size = int(min(_CHUNK, self._left.max()))
        self._x, frames, where = self._engine.frames(self._x, size)
        length, over = _lengths(where, np.minimum(size, self._left), self._stop)
        self._left = self._left - length
        going = ~over & (self._left > 0)
        for k, key in enumerate(self._keys):
            self._parts[key].append(frames[: length[k], k])
            if not going[k]:
                ended.append((int(key), _segment(self._parts.pop(key), int(where[length[k] - 1, k]))))
        self._keys, self._left, self._x = self._keys[going], self._left[going], self._x[torch.from_numpy(going)]
        return ended

    def _set_off(self) -> None:
        """Take those that wait into the batch."""
        new = [(key, x, limit) for key, x, limit in self._waiting if limit > 0]
        self._waiting.clear()
        if not new:
            return
        keys, starts, limits = zip(*new, strict=True)
        self._parts.update((key, []) for key in keys)
        self._keys = np.concatenate([self._keys, keys])
        self._left = np.concatenate([self._left, limits])
        points = torch.from_numpy(np.concatenate(starts))
        self._x = points if self._x is None else torch.cat([self._x, points])


def _segment(parts: list[np.ndarray], state: int) -> Segment:
    frames = np.concatenate(parts)
    return Segment(frames, np.zeros((len(frames), 0)), frames, state)


def _lengths(where: np.ndarray, limits: np.ndarray, stop: bool) -> tuple[np.ndarray, np.ndarray]:
    """Frames of a chunk that belong to each trajectory, and whether it has ended, from places of shape (size, n)."""
    if not stop:
        return limits, np.zeros(len(limits), dtype=bool)
    hit = where != NOWHERE
    first = np.where(hit.any(axis=0), hit.argmax(axis=0) + 1, len(where) + 1)
    return np.minimum(first, limits), first <= limits
