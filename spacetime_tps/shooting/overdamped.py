"""Overdamped Langevin dynamics on an analytic potential, batched over trajectories in torch."""

from __future__ import annotations

import numpy as np
import torch

from spacetime_tps.paths.overdamped import langevin_step
from spacetime_tps.potentials import Potential
from spacetime_tps.shooting.engine import NOWHERE, Phase, Segment, membership
from spacetime_tps.shooting.path import TransitionPath
from spacetime_tps.states import State

_CHUNK = 32
"""Frames between two looks at the states; what a trajectory runs on past the state it has reached is dropped."""


class OverdampedEngine:
    """Euler-Maruyama steps; all trajectories of a batch at once, those that have arrived left out.

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

    def starts(self, frames: list[TransitionPath], mixing: float, rng: np.random.Generator) -> tuple[Phase, Phase]:
        """There are no velocities: both directions of time start alike."""
        positions = np.concatenate([frame.positions for frame in frames])
        phase = Phase(positions, np.zeros((len(positions), 0)))
        return phase, phase

    def integrate(self, starts: Phase, limits: np.ndarray, stop: bool) -> list[Segment]:
        """See ``Engine.integrate``."""
        x, limits = torch.from_numpy(starts.positions), np.asarray(limits)
        chunks: list[list[np.ndarray]] = [[] for _ in limits]
        state, done = np.full(len(limits), NOWHERE), np.zeros(len(limits), dtype=int)
        active = np.flatnonzero(limits > 0)
        x = x[active]
        while len(active):
            size = int(min(_CHUNK, (limits - done)[active].max()))
            x, frames = self._frames(x, size)
            where = membership(*(s.contains(frames) for s in self._states))
            length, ended = _lengths(where, np.minimum(size, (limits - done)[active]), stop)
            for k, chain in enumerate(active):
                chunks[chain].append(frames[: length[k], k])
            state[active] = where[length - 1, np.arange(len(active))]
            done[active] += length
            going = ~ended & (done[active] < limits[active])
            active, x = active[going], x[torch.from_numpy(going)]
        empty = np.zeros((0, starts.positions.shape[1]))
        return [
            self._segment(np.concatenate([empty, *parts]), int(at)) for parts, at in zip(chunks, state, strict=True)
        ]

    def _segment(self, frames: np.ndarray, state: int) -> Segment:
        return Segment(frames, np.zeros((len(frames), 0)), frames, state)

    def _frames(self, x: torch.Tensor, size: int) -> tuple[torch.Tensor, np.ndarray]:
        """``size`` frames of every trajectory, shape (size, n, d)."""
        frames = torch.empty(size, *x.shape, dtype=x.dtype)
        for t in range(size):
            for _ in range(self._frame_every):
                x = langevin_step(x, -self._potential.gradient(x), self._kt, self._dt, self._rng)
            frames[t] = x
        self.force_evaluations += size * self._frame_every * len(x)
        return x, frames.numpy()


def _lengths(where: np.ndarray, limits: np.ndarray, stop: bool) -> tuple[np.ndarray, np.ndarray]:
    """Frames of a chunk that belong to each trajectory, and whether it has ended, from places of shape (size, n)."""
    if not stop:
        return limits, np.zeros(len(limits), dtype=bool)
    hit = where != NOWHERE
    first = np.where(hit.any(axis=0), hit.argmax(axis=0) + 1, len(where) + 1)
    return np.minimum(first, limits), first <= limits
