"""Shooting moves: choose a frame, make new trajectories out of it, accept or keep the current path.

A trial is rejected as soon as its fate is known. With the uniform selector it is accepted if u < L_old / L_new, L being
the number of selectable frames, so u, drawn first, says how long the trial may become; nothing is integrated beyond.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from spacetime_tps.shooting.engine import IN_A, IN_B, NOWHERE, Engine, Phase, Segment
from spacetime_tps.shooting.path import ShotPath, joined

FORWARD, BACKWARD, TWO_WAY = "forward", "backward", "two_way"
ACCEPTED, WRONG_STATE, TOO_LONG, MAXIMUM_LENGTH, SELECTION = (
    "accepted",
    "wrong state",
    "too long for this trial",
    "maximum length",
    "selection",
)


class Selector(Protocol):
    """Which frame to shoot from: a weight W that depends on the configuration alone."""

    def weights(self, variables: np.ndarray) -> np.ndarray:
        """W, shape (L,), of selectable frames with the collective variables ``variables``, shape (L, n_cv)."""
        ...


@dataclass(frozen=True)
class UniformSelector:
    """Every frame alike."""

    def weights(self, variables: np.ndarray) -> np.ndarray:
        """Ones, shape (L,)."""
        return np.ones(len(variables))


@dataclass(frozen=True)
class GaussianSelector:
    """W = exp(-(s - center)^2 / (2 width^2)) of one collective variable, periodic where it is."""

    column: int
    center: float
    width: float
    period: float | None

    def weights(self, variables: np.ndarray) -> np.ndarray:
        """Shape (L,); never quite zero, so that every path can be left."""
        offset = variables[:, self.column] - self.center
        if self.period is not None:
            offset = (offset + self.period / 2) % self.period - self.period / 2
        return np.exp(-0.5 * np.square(offset / self.width)) + 1e-12


@dataclass(frozen=True)
class Move:
    """A shooting move.

    Attributes:
        two_way: make both parts of the path anew; otherwise one of them, chosen by a coin, with the velocities kept.
        selector: which frame to shoot from.
        mixing: c in v' = c v + sqrt(1 - c^2) xi, for two-way shooting of molecules.
        fixed_length: paths of all the same number of frames, with the first in A and the last in B; otherwise they
            end where they reach a state.
        max_frames: longest path of flexible length.
    """

    two_way: bool = False
    selector: Selector = field(default_factory=UniformSelector)
    mixing: float = 0.0
    fixed_length: bool = False
    max_frames: int = 20_000


@dataclass(frozen=True)
class ShootingState:
    """Where a chain is: its path and the number of steps behind it."""

    path: ShotPath
    steps: int = 0


@dataclass(frozen=True)
class Info:
    """What a step did.

    Attributes:
        accepted: whether the path changed.
        reason: ``ACCEPTED`` or why not.
        move: ``FORWARD``, ``BACKWARD`` or ``TWO_WAY``.
        new_frames: made by the trial.
    """

    accepted: bool
    reason: str
    move: str
    new_frames: int


def init(path: ShotPath) -> ShootingState:
    """A chain at its first path.

    Raises:
        ValueError: there is no frame between both ends.
    """
    if path.selectable < 1:
        raise ValueError("a path to shoot from needs a frame between its first in A and its last in B")
    return ShootingState(path)


@dataclass(frozen=True)
class _Wish:
    """What a trial waits for: a trajectory out of ``start``, one row, of ``limit`` frames at most."""

    start: Phase
    limit: int


def step(
    states: Sequence[ShootingState], engine: Engine, move: Move, rng: np.random.Generator
) -> tuple[list[ShootingState], list[Info]]:
    """One Monte Carlo step of a batch of independent chains; on rejection a chain counts its current path again."""
    done = {k: (state, info) for k, state, info in walk(states, engine, move, rng, 1)}
    new, infos = zip(*(done[k] for k in range(len(states))), strict=True)
    return list(new), list(infos)


def walk(
    states: Sequence[ShootingState], engine: Engine, move: Move, rng: np.random.Generator, size: int
) -> Iterator[tuple[int, ShootingState, Info]]:
    """``size`` Monte Carlo steps of each of a batch of independent chains.

    No chain waits for another: a step is yielded, with the chain's number, as soon as its trial has ended. As every
    chain makes the same number of steps, however long they take, none is favoured.
    """
    trajectories = engine.trajectories(stop=not move.fixed_length)
    trials = [_trial(state, engine, move, rng) for state in states]
    left = [size] * len(trials)
    for k, trial in enumerate(trials):
        wish = next(trial)
        trajectories.add(k, wish.start, wish.limit)
    while any(left):
        for k, segment in trajectories.advance():
            try:
                wish = trials[k].send(segment)
            except StopIteration as end:
                state, info = end.value
                yield k, state, info
                left[k] -= 1
                if not left[k]:
                    continue
                trials[k] = _trial(state, engine, move, rng)
                wish = next(trials[k])
            trajectories.add(k, wish.start, wish.limit)


def _trial(
    state: ShootingState, engine: Engine, move: Move, rng: np.random.Generator
) -> Generator[_Wish, Segment, tuple[ShootingState, Info]]:
    """One step of one chain: says which trajectories it needs, is sent them, and returns what comes of it."""
    path, made = state.path, state.steps + 1
    u = 1.0 - rng.random()
    weights = move.selector.weights(path.variables[1:-1])
    index = 1 + int(np.searchsorted(np.cumsum(weights), rng.random() * weights.sum(), side="right"))
    index = min(index, path.selectable)
    label = TWO_WAY if move.two_way else (FORWARD, BACKWARD)[rng.integers(2)]
    largest, bound = _longest(path, u, move)
    point, frames_before, frames_after = path.part(index, index + 1), index, len(path) - index - 1
    forward, backward = engine.starts([point], move.mixing if move.two_way else 1.0, rng)
    behind = ahead = None
    new_frames = 0

    def rejected(reason: str) -> tuple[ShootingState, Info]:
        return ShootingState(path, made), Info(False, reason, label, new_frames)

    if label != FORWARD:
        beyond = 1 if move.two_way else frames_after
        behind = yield _Wish(backward, frames_before if move.fixed_length else largest - beyond + 1)
        new_frames += len(behind)
        if behind.state != IN_A:
            return rejected(_failure(behind, bound, move))
        frames_before = len(behind)
    if label != BACKWARD:
        ahead = yield _Wish(forward, frames_after if move.fixed_length else largest - frames_before + 1)
        new_frames += len(ahead)
        if ahead.state != IN_B:
            return rejected(_failure(ahead, bound, move))
    if move.two_way:
        point = replace(point, velocities=forward.velocities, backward=np.zeros(1, dtype=bool), born=np.array([made]))
    before = path.part(0, index) if behind is None else behind.as_path(True, made)
    after = path.part(index + 1, len(path)) if ahead is None else ahead.as_path(False, made)
    new = joined([before, point, after])
    if weights.sum() < u * move.selector.weights(new.variables[1:-1]).sum():
        return rejected(SELECTION)
    return ShootingState(new, made), Info(True, ACCEPTED, label, new_frames)


def _longest(path: ShotPath, u: float, move: Move) -> tuple[int, str]:
    """Largest number of selectable frames with which a trial may still be accepted, and what bounds it."""
    if not move.fixed_length and isinstance(move.selector, UniformSelector):
        allowed = math.floor(path.selectable / u)
        if allowed < move.max_frames - 2:
            return allowed, TOO_LONG
    return move.max_frames - 2, MAXIMUM_LENGTH


def _failure(segment: Segment, bound: str, move: Move) -> str:
    return bound if segment.state == NOWHERE and not move.fixed_length else WRONG_STATE
