"""Shooting moves: choose a frame, make new trajectories out of it, accept or keep the current path.

A trial is rejected as soon as its fate is known. With the uniform selector it is accepted if u < L_old / L_new, L being
the number of selectable frames, so u, drawn first, says how long the trial may become; nothing is integrated beyond.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from spacetime_tps.shooting.engine import IN_A, IN_B, NOWHERE, Engine, Phase, Segment
from spacetime_tps.shooting.path import TransitionPath, joined

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

    path: TransitionPath
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


def init(path: TransitionPath) -> ShootingState:
    """A chain at its first path.

    Raises:
        ValueError: there is no frame between both ends.
    """
    if path.selectable < 1:
        raise ValueError("a path to shoot from needs a frame between its first in A and its last in B")
    return ShootingState(path)


@dataclass
class _Trial:
    """A trial on its way; ``largest`` is the largest number of selectable frames that may still be accepted."""

    state: ShootingState
    index: int
    weight: float
    u: float
    move: str
    largest: int
    bound: str
    point: TransitionPath
    reason: str = ACCEPTED
    new_frames: int = 0
    before: TransitionPath | None = None
    after: TransitionPath | None = None


def step(
    states: Sequence[ShootingState], engine: Engine, move: Move, rng: np.random.Generator
) -> tuple[list[ShootingState], list[Info]]:
    """One Monte Carlo step of a batch of independent chains; on rejection a chain counts its current path again."""
    trials = [_begin(state, move, rng) for state in states]
    forward, backward = engine.starts([t.point for t in trials], move.mixing if move.two_way else 1.0, rng)
    if move.two_way:
        for k, trial in enumerate(trials):
            velocities, born = forward.velocities[k : k + 1], np.array([trial.state.steps + 1])
            trial.point = replace(trial.point, velocities=velocities, backward=np.zeros(1, dtype=bool), born=born)
    _shoot(trials, backward, engine, move, BACKWARD)
    _shoot(trials, forward, engine, move, FORWARD)
    return tuple(map(list, zip(*(_end(trial, move) for trial in trials), strict=True)))  # type: ignore[return-value]


def _begin(state: ShootingState, move: Move, rng: np.random.Generator) -> _Trial:
    path, u = state.path, 1.0 - rng.random()
    weights = move.selector.weights(path.variables[1:-1])
    index = 1 + int(np.searchsorted(np.cumsum(weights), rng.random() * weights.sum(), side="right"))
    index = min(index, path.selectable)
    label = TWO_WAY if move.two_way else (FORWARD, BACKWARD)[rng.integers(2)]
    largest, bound = move.max_frames - 2, MAXIMUM_LENGTH
    if not move.fixed_length and isinstance(move.selector, UniformSelector):
        allowed = math.floor(path.selectable / u)
        if allowed < largest:
            largest, bound = allowed, TOO_LONG
    return _Trial(state, index, float(weights.sum()), u, label, largest, bound, path.part(index, index + 1))


def _shoot(trials: list[_Trial], starts: Phase, engine: Engine, move: Move, direction: str) -> None:
    """Make the part of the trials that lies before (``BACKWARD``) or behind (``FORWARD``) the shooting point."""
    chosen = [k for k, t in enumerate(trials) if t.reason == ACCEPTED and t.move in (direction, TWO_WAY)]
    limits = [_limit(trials[k], move, direction) for k in chosen]
    segments = engine.integrate(
        starts.only(np.array(chosen, dtype=int)), np.array(limits, dtype=int), not move.fixed_length
    )
    wanted = IN_A if direction == BACKWARD else IN_B
    for k, segment in zip(chosen, segments, strict=True):
        trial = trials[k]
        trial.new_frames += len(segment)
        if segment.state != wanted:
            trial.reason = _failure(segment, trial, move)
            continue
        part = segment.as_path(direction == BACKWARD, trial.state.steps + 1)
        if direction == BACKWARD:
            trial.before = part
        else:
            trial.after = part


def _failure(segment: Segment, trial: _Trial, move: Move) -> str:
    return trial.bound if segment.state == NOWHERE and not move.fixed_length else WRONG_STATE


def _limit(trial: _Trial, move: Move, direction: str) -> int:
    """Largest number of frames of a part; one of them lies in a state and is not selectable."""
    path = trial.state.path
    behind, ahead = trial.index, len(path) - 1 - trial.index
    if move.fixed_length:
        return behind if direction == BACKWARD else ahead
    if trial.move == TWO_WAY:
        return trial.largest if trial.before is None else trial.largest - len(trial.before) + 1
    kept = ahead if direction == BACKWARD else behind
    return trial.largest - kept + 1


def _end(trial: _Trial, move: Move) -> tuple[ShootingState, Info]:
    path, steps = trial.state.path, trial.state.steps + 1
    if trial.reason == ACCEPTED:
        path = _assembled(trial)
        if trial.weight < trial.u * move.selector.weights(path.variables[1:-1]).sum():
            path, trial.reason = trial.state.path, SELECTION
    accepted = trial.reason == ACCEPTED
    return ShootingState(path, steps), Info(accepted, trial.reason, trial.move, trial.new_frames)


def _assembled(trial: _Trial) -> TransitionPath:
    path, index = trial.state.path, trial.index
    before = path.part(0, index) if trial.before is None else trial.before
    after = path.part(index + 1, len(path)) if trial.after is None else trial.after
    return joined([before, trial.point, after])
