"""Paths that a bias has guided from one state to the other in physical time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spacetime_tps.states import State


@dataclass(frozen=True)
class GuidedPaths:
    """n paths, every one in its own direction of time.

    A path runs from the last look in the state it starts in to the first in its target; where it does not arrive, to
    the end of the simulation. Guided paths carry no rates, and their frames are no Boltzmann samples.

    Attributes:
        forward: whether a path runs from A to B, shape (n,).
        frames: positions [nm], shapes (T_k, n_atoms, 3), or points, shapes (T_k, d); float32.
        variables: collective variables of the frames, shapes (T_k, n_cv).
        arrived: whether the last frame lies in the target, shape (n,).
        force_evaluations: of each path, equilibration included, shape (n,).
        interval: time between frames [ps, or reduced].
    """

    forward: np.ndarray
    frames: list[np.ndarray]
    variables: list[np.ndarray]
    arrived: np.ndarray
    force_evaluations: np.ndarray
    interval: float

    def __len__(self) -> int:
        return len(self.forward)


class Passage:
    """Watches one simulation, chunk by chunk, and keeps what lies behind its last look in the start state.

    Attributes:
        arrived: whether it has come to the target; looks behind that are dropped.
    """

    def __init__(self, states: tuple[State, State], frame: np.ndarray, variables: np.ndarray):
        """Begin with a frame in the start state.

        Args:
            states: start and target.
            frame: shape (n_atoms, 3) [nm] or (d,).
            variables: shape (n_cv,).
        """
        self.arrived = False
        self._states = states
        self._frames, self._variables = [frame[None].astype(np.float32)], [variables[None]]

    def look(self, frames: np.ndarray, variables: np.ndarray) -> None:
        """Take in the next looks.

        Args:
            frames: shape (T, n_atoms, 3) [nm] or (T, d).
            variables: shape (T, n_cv).
        """
        hits = np.flatnonzero(self._states[1].contains(variables))
        self.arrived = len(hits) > 0
        end = int(hits[0]) + 1 if self.arrived else len(variables)
        inside = np.flatnonzero(self._states[0].contains(variables[:end]))
        begin = 0
        if len(inside):
            begin, self._frames, self._variables = int(inside[-1]), [], []
        self._frames.append(frames[begin:end].astype(np.float32))
        self._variables.append(np.array(variables[begin:end], dtype=float))

    def path(self) -> tuple[np.ndarray, np.ndarray]:
        """Frames, float32, and their collective variables."""
        return np.concatenate(self._frames), np.concatenate(self._variables)
