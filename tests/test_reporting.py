"""Numbers on their way to TensorBoard."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from spacetime_tps import Run
from spacetime_tps.errors import UserError
from spacetime_tps.reporting import NullReporter, TensorBoardReporter, reporter_of
from tests.conftest import TINY_TOY


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """(step, value) pairs by name, of all event files in a folder."""
    found: dict[str, list[tuple[int, float]]] = {}
    for file in sorted(folder.glob("events*")):
        events = EventAccumulator(str(file)).Reload()
        for name in events.Tags()["scalars"]:
            found.setdefault(name, []).extend((event.step, event.value) for event in events.Scalars(name))
    return found


def test_a_run_tells_losses_energies_and_work(tmp_path: Path) -> None:
    out = tmp_path / "run"
    run = Run.new("mueller_brown", out, changes=(*TINY_TOY, "reporter=tensorboard"))
    run.sample()
    assert not (out / "tensorboard").exists()
    run.train()
    run.geodesic()
    run.paths()
    found = scalars(out / "tensorboard")
    steps, losses = zip(*found["train/loss"], strict=True)
    assert steps[-1] == 150
    assert losses[-1] < losses[0]
    assert [step for step, _ in found["train/held_out_loss"]] == list(steps)
    work = [value for _, value in found["paths/work_kt"]]
    assert work == pytest.approx(np.load(out / "paths.npz")["work_kt"], rel=1e-5)
    history = np.load(out / "geodesic.npz")["history"][0]
    energies = [value for _, value in found["geodesic/energy"]]
    assert energies == pytest.approx(history[np.isfinite(history)], rel=1e-5)


def test_nothing_is_written_unless_asked_for(tmp_path: Path) -> None:
    assert isinstance(reporter_of("none", tmp_path / "events"), NullReporter)
    reporter = TensorBoardReporter(tmp_path / "events")
    reporter.close()
    assert not (tmp_path / "events").exists()


def test_without_tensorboard_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(UserError, match=r"spacetime-tps\[tensorboard\]"):
        reporter_of("tensorboard", tmp_path)
