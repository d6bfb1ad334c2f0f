from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spacetime_tps.boltzmann.transitions import TransitionRecorder, Transitions
from spacetime_tps.states import Box, State

STATES = (State("a", (Box((0,), (-9.0,), (8.0,), None),)), State("b", (Box((0,), (1.0,), (8.0,), None),)))
WALK = np.array([0.0, -1.5, -2.0, -0.5, 0.5, -1.2, -0.1, 0.9, 1.1, 3.0, 0.2, -0.3, -1.1, -4.0, 1.5, 0.0])[:, None]
"""From A to B over looks 5 to 8, back over 9 to 12, and at one stroke from A to B over 13 and 14."""


def recorded(chunks: list[int], with_frames: int = 2) -> TransitionRecorder:
    recorder = TransitionRecorder(STATES, with_frames)
    for part in np.split(WALK, chunks):
        recorder.look(part, part * 10)
    return recorder


def found(chunks: list[int], with_frames: int = 2) -> Transitions:
    return recorded(chunks, with_frames).transitions()


@pytest.mark.parametrize("chunks", [[], [1], [6], [7, 8], list(range(1, 16))])
def test_time_belongs_to_the_state_visited_last(chunks: list[int]) -> None:
    """A from look 1 to 7 and in 12 and 13, B from 8 to 11 and in the last two, neither in the first."""
    assert recorded(chunks).spent.tolist() == [9, 6]


@pytest.mark.parametrize("chunks", [[], [1], [6], [7, 8], [9], list(range(1, 16))])
def test_segments_run_from_the_last_look_in_one_state_to_the_first_in_the_other(chunks: list[int]) -> None:
    transitions = found(chunks)
    assert transitions.forward.tolist() == [True, False, True]
    assert [v.ravel().tolist() for v in transitions.variables] == [
        [-1.2, -0.1, 0.9, 1.1],
        [3.0, 0.2, -0.3, -1.1],
        [-4.0, 1.5],
    ]
    assert len(transitions.frames) == 2
    assert transitions.frames[1] == pytest.approx(transitions.variables[1] * 10)


def test_joined_and_saved(tmp_path: Path) -> None:
    many = Transitions.joined([found([]), Transitions.none(), found([], with_frames=1)])
    assert many.forward.tolist() == [True, False, True, True, False, True]
    assert len(many.frames) == 3
    many.save(tmp_path / "t.npz")
    again = Transitions.load(tmp_path / "t.npz")
    assert again.forward.tolist() == many.forward.tolist()
    for name in ("variables", "frames"):
        ours, theirs = getattr(many, name), getattr(again, name)
        assert len(ours) == len(theirs)
        assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))
    for frames, variables in zip(many.frames, many.variables, strict=False):
        assert frames == pytest.approx(variables * 10)


def test_none_is_saved_too(tmp_path: Path) -> None:
    Transitions.none().save(tmp_path / "t.npz")
    assert len(Transitions.load(tmp_path / "t.npz")) == 0
