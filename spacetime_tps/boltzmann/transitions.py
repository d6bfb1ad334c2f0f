"""Transitions that a simulation makes by itself: from the last look in one state to the first in the other.

A sampling run crosses between the states too, under its bias or at its raised temperature. These segments cost nothing
further; they are the baseline that any other way of making paths has to beat.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spacetime_tps.collective_variables import CollectiveVariables
from spacetime_tps.errors import DamagedFileError
from spacetime_tps.files import read_arrays, write_arrays
from spacetime_tps.shapes import check_finite, check_shapes
from spacetime_tps.states import State

NOT_YET, FROM_A, FROM_B = 0, 1, 2


@dataclass(frozen=True)
class Transitions:
    """Segments in their own direction of time, only the first look in one state and only the last in the other.

    Attributes:
        forward: whether a segment runs from A to B, shape (n,).
        variables: collective variables of each, shapes (T_k, n_cv).
        frames: positions [nm], shapes (T_k, n_atoms, 3), or points, shapes (T_k, d), of the first few.
    """

    forward: np.ndarray
    variables: list[np.ndarray]
    frames: list[np.ndarray]

    def __len__(self) -> int:
        return len(self.forward)

    @classmethod
    def none(cls) -> Transitions:
        """None at all."""
        return cls(np.zeros(0, dtype=bool), [], [])

    @classmethod
    def joined(cls, parts: Sequence[Transitions]) -> Transitions:
        """Those of several simulations; frames stay with the segments at the front of the list."""
        order = [(p, k) for p in parts for k in range(len(p.frames))]
        frames = [p.frames[k] for p, k in order]
        order += [(p, k) for p in parts for k in range(len(p.frames), len(p))]
        forward = np.array([p.forward[k] for p, k in order], dtype=bool)
        return cls(forward, [p.variables[k] for p, k in order], frames)

    def save(self, file: Path) -> None:
        """Write to an ``.npz`` file."""
        flat = {"forward": self.forward, "lengths": np.array([len(v) for v in self.variables], dtype=int)}
        flat["with_frames"] = np.array(len(self.frames))
        if len(self):
            flat["variables"] = np.concatenate(self.variables)
        if self.frames:
            flat["frames"] = np.concatenate(self.frames)
        write_arrays(file, **flat)

    @classmethod
    def load(cls, file: Path) -> Transitions:
        """Read a file written by ``save``.

        Raises:
            DamagedFileError: it is missing, or its arrays are not those of transitions.
        """
        data, again = read_arrays(file), "draw the samples again with 'sample'"
        check_shapes(file, data, again, forward=("n",), lengths=("n",), with_frames=())
        if not len(data["forward"]):
            return cls(data["forward"], [], [])
        count, lengths = int(data["with_frames"]), data["lengths"]
        check_shapes(file, data, again, variables=(int(lengths.sum()), "variables"))
        check_finite(file, data, again, "variables")
        if count:
            check_shapes(file, data, again, frames=(int(lengths[:count].sum()), "..."))
            check_finite(file, data, again, "frames")
        if lengths.dtype.kind != "i" or lengths.min() < 1 or not 0 <= count <= len(lengths):
            raise DamagedFileError(
                f"{file} is damaged: the lengths of its segments are not whole numbers of frames; {again}."
            )
        variables = np.split(data["variables"], np.cumsum(lengths)[:-1])
        ends = np.cumsum(lengths[:count])
        return cls(data["forward"], variables, np.split(data["frames"], ends[:-1]) if count else [])


@dataclass(frozen=True)
class Watched:
    """Where the states are, and how many integration steps lie between two looks at them."""

    states: tuple[State, State]
    variables: CollectiveVariables
    every: int


class TransitionRecorder:
    """Watches one simulation, chunk by chunk, and keeps what lies between the states."""

    def __init__(self, states: tuple[State, State], with_frames: int = 2):
        """``with_frames`` segments keep their frames."""
        self._states, self._with_frames = states, with_frames
        self._from = NOT_YET
        self._spent = np.zeros(3, dtype=int)
        self._variables: list[np.ndarray] = []
        self._frames: list[np.ndarray] = []
        self._found: list[tuple[bool, np.ndarray, np.ndarray | None]] = []

    def look(self, variables: np.ndarray, frames: np.ndarray) -> None:
        """Take in the next looks.

        Args:
            variables: shape (T, n_cv).
            frames: shape (T, n_atoms, 3) [nm] or (T, d).
        """
        in_a, in_b = (state.contains(variables) for state in self._states)
        side = np.where(in_a, FROM_A, np.where(in_b, FROM_B, NOT_YET))
        inside = np.flatnonzero(side)
        latest = np.concatenate([[self._from], side[inside]])
        spent = np.diff(np.concatenate([[0], inside, [len(side)]]))
        self._spent += np.bincount(latest, spent, minlength=3).astype(int)
        begin = 0
        if len(inside):
            before = np.concatenate([[self._from], side[inside[:-1]]])
            for k in np.flatnonzero((before != side[inside]) & (before != NOT_YET)):
                if k:
                    begin = self._leave(int(before[k]), int(inside[k - 1]))
                end = int(inside[k]) + 1
                self._keep(variables[begin:end], frames[begin:end])
                self._finish()
            begin = self._leave(int(side[inside[-1]]), int(inside[-1]))
        if self._from != NOT_YET:
            self._keep(variables[begin:], frames[begin:])

    def _leave(self, state: int, last: int) -> int:
        """Begin anew at the last look in a state."""
        self._variables, self._frames, self._from = [], [], state
        return last

    def _keep(self, variables: np.ndarray, frames: np.ndarray) -> None:
        self._variables.append(variables)
        if len(self._found) < self._with_frames:
            self._frames.append(frames.astype(np.float32))

    def _finish(self) -> None:
        frames = np.concatenate(self._frames) if len(self._found) < self._with_frames else None
        self._found.append((self._from == FROM_A, np.concatenate(self._variables), frames))

    @property
    def spent(self) -> np.ndarray:
        """Looks at which the state visited last was A, and B, shape (2,)."""
        return self._spent[[FROM_A, FROM_B]]

    def transitions(self) -> Transitions:
        """What was found so far."""
        forward = np.array([found[0] for found in self._found], dtype=bool)
        frames = [found[2] for found in self._found if found[2] is not None]
        return Transitions(forward, [found[1] for found in self._found], frames)
