"""A sample of the battery, and that the battery sees what it looks for."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

SCRIPTS = Path(__file__).parents[1] / "scripts"


@pytest.fixture
def harness(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(SCRIPTS / "battery"))
    import harness

    yield harness
    sys.modules.pop("harness")


def test_a_sample_of_the_battery_fails_nowhere(tmp_path: Path) -> None:
    families = ("keys", "inputs", "folders", "refusals")
    words = [sys.executable, SCRIPTS / "battery", "-o", tmp_path, "--family", *families]
    words += ["--quick", "--limit", "38", "--jobs", "2", "--list"]
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, timeout=600, check=False)
    result = json.loads((tmp_path / "results.json").read_text()) if (tmp_path / "results.json").is_file() else {}
    assert result, done.stderr
    assert len(result["rows"]) == 38 * len(families)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ("Error: The file a.pdb is empty; give another.\n", ""),
        ("WARNING: few samples\nError: The file a.pdb is empty.\n", ""),
        ("", "0 lines"),
        ("Error: one\nError: two\n", "2 lines"),
        ("Error: The value\nis wrong.\n", "2 lines"),
        ("Error: Input should be a valid dictionary or instance of PathsConfig.\n", "instance of"),
        ("Error: 'NoneType' is wrong.\n", "NoneType"),
        ("Error: 3.0 +- nan kT.\n", "nan"),
        ("Error: \x1b[31mred.\n", "control character"),
        (f"Error: {'x' * 5000}.\n", "characters"),
        ("Error: [Errno 28] No space left on device.\n", "Errno"),
    ],
)
def test_what_is_no_line_for_a_user_is_seen(harness: ModuleType, said: str, fault: str) -> None:
    outcome = harness.Outcome("keys", "a case", [], code=1, stderr=said)
    found = harness.fault_of_line(outcome, harness.Case("keys", "a case", ()))
    assert (fault in found) if fault else found == "", found


def test_lost_files_and_planted_code_are_seen(harness: ModuleType, tmp_path: Path) -> None:
    def act(box: Path, outcome: object) -> None:
        (box / "results/table.csv").unlink()
        (box / "notes.txt").write_text("changed")
        (box / "run/summary.json").write_text("new")
        (box / "sys/EXECUTED").touch()

    def prepare(box: Path) -> None:
        (box / "run").mkdir()
        (box / "sys").mkdir()
        (box / "run/summary.json").write_text("old")

    case = harness.Case("refusals", "x", (), prepare, "refuse", lambda name: name.startswith("run"), act=act)
    outcome = harness.run_case(case, tmp_path / "box")
    assert outcome.lost == ["notes.txt", "results/table.csv"]
    assert outcome.executed
    assert outcome.accepted
    assert not (tmp_path / "box").exists()


def test_a_refused_command_may_not_change_even_its_own_files(harness: ModuleType, tmp_path: Path) -> None:
    def act(box: Path, outcome: object) -> None:
        outcome.code, outcome.stderr = 1, "Error: No.\n"  # type: ignore[attr-defined]
        (box / "home/thesis.tex").rename(box / "home/moved.tex")

    case = harness.Case("refusals", "x", (), must="refuse", own=lambda name: True, act=act)
    outcome = harness.run_case(case, tmp_path / "box")
    assert outcome.lost == ["home/thesis.tex"]
    assert outcome.left == ["home/moved.tex"]
    assert outcome.failed


def test_the_slope_of_a_soak_has_an_honest_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """White noise: sigma / sqrt(sum of squares). Noise that remembers: the slope still lies within its error."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import soak

    rng = np.random.default_rng(0)
    hours = np.linspace(0, 2, 400)
    expected = 0.5 / np.sqrt(np.square(hours - hours.mean()).sum())
    slope = soak.slope_of(hours, 100 + 3 * hours + rng.normal(0, 0.5, 400), bound=20)
    assert slope.error == pytest.approx(expected, rel=0.3)
    assert abs(slope.per_hour - 3) < 4 * expected
    assert not slope.zero
    assert slope.small
    within = 0
    for seed in range(40):
        noise = np.random.default_rng(seed).normal(0, 0.5, 400)
        for k in range(1, 400):
            noise[k] += 0.8 * noise[k - 1]
        within += soak.slope_of(hours, noise, bound=20).zero
    assert within >= 28, within  # plain least squares: 20 of 40
    constant = soak.slope_of(hours, np.full(400, 7.0), bound=1)
    assert constant.zero
    assert constant.small
