"""Copies in one Context along a whole run, devices of several workers, and what ``doctor`` says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from spacetime_tps import dynamics
from spacetime_tps.parallel import WorkerPool, worker_number
from spacetime_tps.stages.context import copies_on
from spacetime_tps.stages.hardware import survey_hardware
from spacetime_tps.systems import System, find_system_file, load_config, load_system
from tests.conftest import TINY_ALANINE, refusal, run_cli, settings


def system_of(name: str, *overrides: str) -> System:
    file = find_system_file(name)
    return load_system(load_config(file, overrides=overrides), file.parent)


def test_copies_run_the_whole_chain(tmp_path: Path) -> None:
    out = tmp_path / "run"
    changes = (*TINY_ALANINE, "hardware.copies=3")
    done = run_cli("run", "alanine_dipeptide", "-o", out, "--seed", "3", *settings(changes))
    assert done.returncode == 0, done.stderr
    summary = json.loads((out / "summary.json").read_text())
    assert summary["windows"]["count"] > 3
    assert summary["paths"]["count"] == 4
    paths = np.load(out / "paths.npz")
    assert paths["frames"].shape[:1] == (4,)
    assert len(set(paths["work_kt"].tolist())) == 4


def test_copies_are_refused_where_molecules_would_see_each_other(tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert "CustomGBForce" in refusal("run", "chignolin", "-o", out, "--set", "hardware.copies=8")
    changes = settings(("representation.kind=pca", "geodesic.low_variance=0.2", "hardware.copies=8"))
    assert "hardware.copies" in refusal("run", "alanine_dipeptide", "-o", out, *changes)
    assert not out.exists()


def test_a_gpu_is_filled_and_a_processor_is_not() -> None:
    alanine, chignolin = system_of("alanine_dipeptide"), system_of("chignolin")
    assert alanine.molecule is not None
    assert chignolin.molecule is not None
    assert copies_on(alanine.molecule.dynamics.on("CUDA"), alanine, "auto") == 512
    assert copies_on(alanine.molecule.dynamics.on("CPU"), alanine, "auto") == 1
    assert copies_on(alanine.molecule.dynamics.on("CPU"), alanine, 7) == 7
    assert copies_on(chignolin.molecule.dynamics.on("CUDA"), chignolin, "auto") == 1


def test_workers_share_several_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [{"DeviceIndex": str(k), "DeviceName": "card"} for k in range(3)]
    monkeypatch.setattr(dynamics, "devices_of", lambda platform: found)
    chosen = [dynamics.device_of("CUDA", worker) for worker in range(5)]
    assert chosen == [{"DeviceIndex": k} for k in "01201"]
    monkeypatch.setattr(dynamics, "devices_of", lambda platform: found[:1])
    assert dynamics.device_of("CUDA", 4) == {}
    monkeypatch.undo()
    assert dynamics.devices_of("Reference") == []
    with WorkerPool(2) as pool:
        numbers = pool.map(_numbered, [(k,) for k in range(8)])
    assert set(numbers) <= {0, 1}
    assert worker_number() == 0


def _numbered(_: int) -> int:
    return worker_number()


def test_doctor_measures_the_system_that_is_asked_for() -> None:
    ratios = []
    for _ in range(3):  # another test on the same cores can upset a measurement
        found = survey_hardware(system_of("alanine_dipeptide"))
        by_name = {platform.name: platform for platform in found.platforms}
        reference, cpu = by_name["Reference"], by_name["CPU"]
        assert reference.alone is not None
        assert cpu.alone is not None
        assert cpu.together is not None
        ratios.append(cpu.together / cpu.alone)
        if ratios[-1] > 3 and found.platform == "Reference":
            break
    assert max(ratios) > 3  # threads and lists of pairs are paid once for all copies
    assert (found.platform, found.copies) == ("Reference", 1)
    shown = run_cli("doctor", "chignolin")
    assert shown.returncode == 0
    assert "138 atoms" in shown.stdout
    assert "a run uses" in shown.stdout
    assert "analytic potential" in refusal("doctor", "mueller_brown")
    assert "no system 'nowhere'" in refusal("doctor", "nowhere")
