"""What windows say of the torsions that no restraint holds."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from spacetime_tps.analysis.windows import remembered, slow_torsions
from spacetime_tps.topology import NamedTorsions

TORSIONS = NamedTorsions(
    ["omega", "chi", "the other chi", "ring"],
    np.array([[0, 1, 2, 3], [3, 4, 5, 6], [7, 5, 4, 3], [6, 7, 8, 9]]),
)
SHARE = np.array([0.0, 0.5, 1.0])
windows_stage = importlib.import_module("spacetime_tps.stages.windows")  # the package has a function of that name


def test_slow_torsions_come_by_the_windows_that_remember_them_one_about_each_bond() -> None:
    apart = np.array([[0.1, 0.2, 1.3, 7.0], [0.9, 4.0, 5.0, 0.1], [0.2, 2.0, 3.0, 0.1]])
    found = slow_torsions(TORSIONS, apart, SHARE)
    assert found == [
        {"name": "the other chi", "windows": 3, "curve_parameter": 0.5, "disagreement": 5.0},
        {"name": "ring", "windows": 1, "curve_parameter": 0.0, "disagreement": 7.0},
    ]


def test_nothing_is_slow_where_runs_meet_or_nothing_is_watched() -> None:
    assert slow_torsions(TORSIONS, np.full((3, 4), 0.9), SHARE) == []
    assert slow_torsions(NamedTorsions([], np.zeros((0, 4), dtype=int)), np.zeros((3, 0)), SHARE) == []


def test_remembered_are_torsions_slow_in_more_than_a_tenth_of_the_windows() -> None:
    slow = [{"name": "chi", "windows": 3}, {"name": "ring", "windows": 2}]
    assert remembered({"count": 19, "slow_torsions": slow}) == ["chi", "ring"]
    assert remembered({"count": 20, "slow_torsions": slow}) == ["chi"]
    assert remembered({"count": 30, "slow_torsions": slow}) == []
    assert remembered({"count": 20}) == remembered({}) == []


def test_the_summary_of_a_run_says_what_is_slow(tiny_alanine_run: Path) -> None:
    windows = json.loads((tiny_alanine_run / "summary.json").read_text())["windows"]
    assert all(1 <= row["windows"] <= windows["count"] for row in windows["slow_torsions"])
    assert len(windows["slow_torsions"]) <= 3


NO, ONE, TWO = np.zeros(3, dtype=bool), np.array([False, True, False]), np.array([True, True, False])


@pytest.mark.parametrize(
    ("stuck", "wrong", "overlap", "windows_of_chi", "extensible", "said"),
    [
        (NO, NO, 0.5, 0, True, []),
        (ONE, NO, 0.5, 0, True, ["in 1 of 3 windows (curve parameter 0.50), which are left out of free energies"]),
        (TWO, NO, 0.5, 0, True, ["in 2 of 3 windows (curve parameter 0.00, 0.50), which are too many to be left"]),
        (NO, NO, 0.01, 0, True, ["share 0.01 of their samples"]),
        (NO, NO, 0.5, 2, True, ["chi in 2 of 3 windows, which are too short for it: take it into the representation"]),
        (NO, NO, 0.5, 2, False, ["chi in 2 of 3 windows, which are too short for it: raise windows.steps"]),
        (NO, TWO, 0.5, 0, True, ["wrong at 2 of 3 windows (curve parameter 0.00, 0.50)"]),
        (ONE, ONE, 0.01, 1, True, ["do not meet", "share 0.01", "chi in 1 of 3", "wrong at 1 of 3"]),
    ],
)  # fmt: skip
def test_what_is_wrong_with_windows_is_warned_of(
    stuck: np.ndarray,
    wrong: np.ndarray,
    overlap: float,
    windows_of_chi: int,
    extensible: bool,
    said: list[str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(windows_stage, "least_overlap", lambda _: overlap)
    slow = [{"name": "chi", "windows": windows_of_chi}] if windows_of_chi else []
    found = SimpleNamespace(
        compared=SimpleNamespace(wrong=wrong), placed=SimpleNamespace(share=SHARE), alone=None, slow=slow
    )
    windows_stage._warn(cast(Any, found), stuck, extensible)
    assert len(caplog.messages) == len(said)
    for message, words in zip(caplog.messages, said, strict=True):
        assert words in message
