"""The chain from Python, as the documentation shows it, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import mdtraj
import numpy as np
import pytest

from spacetime_tps import Run
from spacetime_tps.errors import UserError
from tests.conftest import TINY_ALANINE, TINY_TOY
from tests.stages.test_run import comparable

SHOOTING = ("shooting.chains=2", "shooting.steps=20", "shooting.burn_in=4", "shooting.keep_every=4")


def test_the_chain_stage_by_stage_in_a_moved_folder(tiny_alanine_run: Path, tmp_path: Path) -> None:
    """With two workers the same numbers as the command line gives with one; then shooting and committors."""
    run = Run.new("alanine_dipeptide", tmp_path / "first", seed=5, changes=(*TINY_ALANINE, "hardware.workers=2"))
    assert "nothing" in repr(run)
    with pytest.raises(UserError, match=r"'sample' of .* is not finished"):
        run.train()
    run.sample()
    run.train()
    run.geodesic()
    (tmp_path / "first").rename(tmp_path / "run")
    run = Run(tmp_path / "run")
    run.paths()
    run.windows()
    run.transitions()
    with pytest.raises(UserError, match="no summary yet"):
        _ = run.summary
    run.export()
    assert comparable(run.folder.path) == comparable(tiny_alanine_run)
    assert (tmp_path / "run/report.html").is_file()
    assert len(run.transition_paths()) == 4
    run.shoot(changes=SHOOTING)
    path = run.transition_paths("sampled")[0]
    path.save(tmp_path / "path.xtc")
    read = mdtraj.load(str(tmp_path / "path.xtc"), top=str(tmp_path / "run/topology.pdb"))
    assert read.time == pytest.approx(path.times_ps, abs=1e-5)
    committor = run.committor(changes=("committor.frames=3", "committor.shots=4"), along=True)
    assert committor["count"] == 3
    assert "true ensemble (shooting)" in run.report().read_text()
    before = np.load(tmp_path / "run/paths.npz")["work_kt"]
    run.paths(changes=("paths.steps_per_point=6",))
    assert not np.array_equal(np.load(tmp_path / "run/paths.npz")["work_kt"], before)
    assert not (tmp_path / "run/summary.json").exists()


def test_changes_are_texts(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="changes should be texts"):
        Run.new("mueller_brown", tmp_path / "run", changes=[3])
    run = Run.new("mueller_brown", tmp_path / "run", changes="paths.count=8")
    assert run.folder.config().paths.count == 8


def test_a_run_goes_on_where_it_is(tmp_path: Path) -> None:
    out = tmp_path / "run"
    run = Run.new("mueller_brown", out, changes=TINY_TOY)
    run.sample()
    made = (out / "samples.npz").stat().st_mtime_ns
    again = Run.new("mueller_brown", out, changes=TINY_TOY)
    again.sample()
    assert (out / "samples.npz").stat().st_mtime_ns == made
    assert "sample" in repr(Run(out))
    assert again.system.potential is not None
    with pytest.raises(UserError, match="has seed 0, not 3"):
        Run.new("mueller_brown", out, seed=3, changes=TINY_TOY)
    with pytest.raises(UserError, match="analytic potential"):
        again.transition_paths()
    Run.new("mueller_brown", out, seed=3, changes=TINY_TOY, overwrite=True)
    assert not (out / "samples.npz").exists()


def test_wrong_input_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There is no system"):
        Run.new("no_such_system", tmp_path / "run")
    with pytest.raises(UserError, match=r"paths\.count"):
        Run.new("mueller_brown", tmp_path / "run", changes=["paths.count=1"])
    with pytest.raises(UserError, match="not a run folder"):
        Run(tmp_path / "run")
    assert not (tmp_path / "run").exists()
