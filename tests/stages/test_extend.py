"""Torsions that a finished run takes in."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spacetime_tps.config import RunConfig, dump
from spacetime_tps.stages.extend import with_torsions
from spacetime_tps.stages.folder import RunFolder
from spacetime_tps.systems import find_system_file, load_config
from tests.conftest import refusal, run_cli

PHI_PSI = ("phi", "psi")
THETA = "1:O-1:C-2:N-2:CA"


@pytest.fixture
def run(tiny_alanine_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_alanine_run, tmp_path / "run"))


def finish_again(run: Path, records: dict[str, dict[str, Any]]) -> None:
    """Records as if their stages had found something else."""
    folder = RunFolder(run)
    later = {name: folder.record(name) for name in ("windows", "transitions", "export")} | records
    with folder.locked(existing=True):
        for name in ("windows", "transitions", "export"):
            folder.finish(name, later[name])


def test_residues_may_have_negative_numbers(tmp_path: Path) -> None:
    """``-5:C--4:N``: the first of the two signs joins, the second belongs to the number."""
    config = load_config(find_system_file("alanine_dipeptide"))
    renumbered = {
        name: [f"{int(a.split(':')[0]) - 6}:{a.split(':')[1]}" for a in config.torsions[name]] for name in PHI_PSI
    }
    config = config.model_copy(update={"collective_variables": renumbered})
    (tmp_path / "config.yaml").write_text(dump(config))

    class Folder(RunFolder):
        def config(self) -> RunConfig:
            return config

        def check(self, *_: str) -> None:
            pass

        def finished(self, stage: str) -> bool:
            return True

    found, added = with_torsions(Folder(tmp_path), ("-5:O--5:C--4:N--4:CA", "-5:C--4:N--4:CA--4:C"))
    assert added == ["t_-5O_-5C_-4N_-4CA"]  # the second is phi
    assert found.torsions[added[0]] == ["-5:O", "-5:C", "-4:N", "-4:CA"]


def test_a_named_torsion_enters_and_nothing_is_sampled_anew(run: Path) -> None:
    samples = (run / "samples.npz").read_bytes()
    done = run_cli("run", "alanine_dipeptide", "-o", run, "--resume", "--add-torsion", THETA)
    assert done.returncode == 0, done.stderr
    assert "added t_1O_1C_2N_2CA" in done.stderr
    assert (run / "samples.npz").read_bytes() == samples
    summary = json.loads((run / "summary.json").read_text())
    assert set(summary["geodesic"]["channels"][0]["max_posterior_std_deg"]) == {"phi", "psi", "t_1O_1C_2N_2CA"}
    assert summary["reference"]["source"] is None
    assert summary["geodesic"]["channels_possible"] == 8
    recorded = np.load(run / "torsions.npz")
    shown = np.load(run / "paths.npz")["variables"]
    assert shown.shape[-1] == 3
    assert len(recorded["angles"]) == len(np.load(run / "samples.npz")["log_weights"])
    again = run_cli("run", "alanine_dipeptide", "-o", run, "--resume", "--add-torsion", THETA)
    assert again.returncode == 0
    assert "stays as it is" in again.stderr


def test_auto_takes_those_that_lag(run: Path) -> None:
    """A record in which one torsion lags by 80 +- 5 degrees, one by 20 +- 1, and one by 90 +- 60."""
    record = RunFolder(run).record("export")
    rows = record["summary"]["paths"]["hysteresis"]
    sizes = ((80.0, 5.0), (20.0, 1.0), (90.0, 60.0))
    for row, name, (size, error) in zip(rows, (THETA, "2:CA-2:C-3:N-3:C", "1:CH3-1:C-2:N-2:CA"), sizes, strict=True):
        row |= {"name": name, "difference_deg": size, "error_deg": error}
    finish_again(run, {"export": record})
    done = run_cli("run", "alanine_dipeptide", "-o", run, "--resume", "--add-torsion", "auto", "--stop-after", "train")
    assert done.returncode == 0, done.stderr
    assert "added t_1O_1C_2N_2CA\n" in done.stderr
    assert not (run / "summary.json").exists()
    for row in rows:
        row["difference_deg"] = 5.0


def test_auto_takes_what_windows_do_not_forget_one_about_each_bond(run: Path) -> None:
    """And none about the bond of one that lags or of phi, and none that is slow in too few windows."""
    export, windows = (RunFolder(run).record(stage) for stage in ("export", "windows"))
    for row in export["summary"]["paths"]["hysteresis"]:
        row |= {"name": THETA, "difference_deg": 80.0, "error_deg": 5.0}
    count = windows["summary"]["count"]
    windows["summary"]["slow_torsions"] = [
        {"name": "1:C-2:N-2:CA-2:CB", "windows": count},
        {"name": "1:CH3-1:C-2:N-2:CA", "windows": count},
        {"name": "2:CA-2:C-3:N-3:C", "windows": 1 + count // 10},
        {"name": "2:CB-2:CA-2:C-2:O", "windows": count // 10},
    ]
    finish_again(run, {"export": export, "windows": windows})
    _, added = with_torsions(RunFolder(run), ("auto",))
    assert added == ["t_1O_1C_2N_2CA", "t_2CA_2C_3N_3C"]
    del windows["summary"]["slow_torsions"]
    finish_again(run, {"windows": windows})
    assert with_torsions(RunFolder(run), ("auto",))[1] == ["t_1O_1C_2N_2CA"]


def test_what_cannot_be_added_is_told(run: Path) -> None:
    before = (run / "summary.json").read_bytes()
    command = ("run", "alanine_dipeptide", "-o", run)
    assert "--resume" in refusal(*command, "--add-torsion", THETA)
    for given in ("omega", "", " ", "auto ", "1:O-1:C-2:N", "1:O-1:C-2:N-1:O", "1:O-1:C-2:N-:CA", "1:O 1:C 2:N 2:CA"):
        told = refusal(*command, "--resume", "--add-torsion", given)
        assert repr(given) in told, told
        assert "auto, a collective variable of the run (phi, psi)" in told
        assert "four different atoms as in 1:O-1:C-2:N-2:CA" in told
    assert "'9:X'" in refusal(*command, "--resume", "--add-torsion", "1:C-2:N-2:CA-9:X")
    assert "give one of them" in refusal(*command, "--resume", "--add-torsion", THETA, "--set", "paths.count=4")
    hydrogen = "1:H1-1:CH3-1:C-2:N"
    assert "do not hold the torsion" in refusal(*command, "--resume", "--add-torsion", hydrogen)
    assert (run / "summary.json").read_bytes() == before
    assert "H1" not in (run / "config.yaml").read_text()
