"""The whole chain from the command line: files, reproducibility, interruption, refusals."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import MDAnalysis
import mdtraj
import numpy as np
import pytest

from spacetime_tps import files
from spacetime_tps.files import read_arrays
from spacetime_tps.potentials import FreeEnergySurface
from spacetime_tps.stages import STAGES, check_beforehand
from spacetime_tps.systems import find_system_file, load_config, load_system
from tests.conftest import (
    MADE_ONCE,
    TINY_ALANINE,
    TINY_TOY,
    command_line,
    exploding_training,
    refusal,
    run_cli,
    run_process,
    settings,
)

UNREFINED = [name for name in STAGES if name != "refine"]
MAY_DIFFER = {"wall_seconds", "versions", "platform", "created", "provenance"}
FIGURES = {
    "free_energy_surface.png", "energies.png", "spacetime.png", "work.png", "training_loss.png", "windows.png",
    "overlap.png", "profiles.png",
}  # fmt: skip


def comparable(folder: Path) -> dict[str, Any]:
    summary = json.loads((folder / "summary.json").read_text())
    return {key: value for key, value in summary.items() if key not in MAY_DIFFER}


def test_run_folder_holds_what_is_promised(tiny_alanine_run: Path) -> None:
    present = {p.name for p in tiny_alanine_run.iterdir()}
    assert {"config.yaml", "samples.npz", "denoiser.npz", "geodesic.npz", "topology.pdb", "paths.csv"} <= present
    assert {"colvar.csv", "profiles.csv", "plumed.dat", "report.html", "summary.json"} <= present
    assert {p.name for p in (tiny_alanine_run / "figures").iterdir()} == FIGURES
    assert not list(tiny_alanine_run.rglob(".partial-*"))


def test_plumed_gets_the_atoms_of_the_topology(tiny_alanine_run: Path) -> None:
    atoms = list(mdtraj.load(str(tiny_alanine_run / "topology.pdb")).topology.atoms)
    lines = (tiny_alanine_run / "plumed.dat").read_text().splitlines()
    fours = [line.split("ATOMS=")[1].split(",") for line in lines if "TORSION" in line]
    assert [[atoms[int(number) - 1].name for number in four] for four in fours] == [
        ["C", "N", "CA", "C"],
        ["N", "CA", "C", "N"],
    ]
    assert sum("STEP" in line for line in lines) == 200


def test_summary_follows_from_the_curves(tiny_alanine_run: Path) -> None:
    """Energy, length, spread and barrier of every channel, from the points of its curve and the reference surface."""
    summary = json.loads((tiny_alanine_run / "summary.json").read_text())
    curves = read_arrays(tiny_alanine_run / "geodesic.npz")
    surface = FreeEnergySurface.load(find_system_file("alanine_dipeptide").parent / "reference.npz")
    rows = summary["geodesic"]["channels"]
    assert [row["label"] for row in rows] == curves["labels"].tolist()
    assert summary["geodesic"]["chosen"] == rows[0]["label"]
    assert summary["reference"]["minimax_barrier_kj_mol"] == min(row["minimax_barrier_kj_mol"] for row in rows)
    for k, row in enumerate(rows):
        natural, mean, variance = (curves[name][k] for name in ("natural", "mean", "block_variance"))
        chords = (np.diff(natural, axis=0) * np.diff(mean, axis=0)).sum(axis=-1)
        assert row["energy"] == pytest.approx(0.5 * len(chords) * chords.sum())
        assert row["length"] == pytest.approx(np.sqrt(np.maximum(chords, 0.0)).sum())
        assert row["negative_chord_fraction"] == (chords < 0).mean()
        spread = np.rad2deg(np.sqrt(-np.log1p(-variance))).max(axis=0)
        assert row["max_posterior_std_deg"] == pytest.approx({"phi": spread[0], "psi": spread[1]})
        angles = np.arctan2(mean[:, 1::2], mean[:, 0::2])
        assert row["barrier_kj_mol"] == pytest.approx(surface(angles).max())
        assert row["barrier_kj_mol"] > row["minimax_barrier_kj_mol"] - 0.5  # of points of the grid, to a step of it


def test_summary_follows_from_the_tables(tiny_alanine_run: Path) -> None:
    summary = json.loads((tiny_alanine_run / "summary.json").read_text())
    assert summary["schema_version"] == 1
    assert (summary["system"], summary["seed"], summary["preset"]) == ("alanine_dipeptide", 5, "standard")
    assert set(summary["force_evaluations"]) == set(UNREFINED)
    assert set(UNREFINED) < set(summary["wall_seconds"])
    assert summary["refinement"] is None
    paths, table = summary["paths"], list(csv.DictReader((tiny_alanine_run / "paths.csv").open()))
    work = np.array([float(row["work_kt"]) for row in table])
    forward = np.array([row["direction"] == "A->B" for row in table])
    assert paths["count"] == len(table) == 4
    assert paths["arrived_fraction"] == np.mean([row["arrived"] == "1" for row in table])
    assert paths["started_fraction"] == np.mean([row["started"] == "1" for row in table])
    assert paths["integrity"]["broken"] == sum(row["integrity"] != "ok" for row in table)
    lost = paths["dissipated_work_kt"]  # what is stored on the way there is given back on the way back
    assert lost["forward"] + lost["backward"] == pytest.approx(work[forward].mean() + work[~forward].mean(), rel=1e-5)
    assert {row["name"] for row in paths["hysteresis_of_representation"]} == {"phi", "psi"}
    windows, held = summary["windows"], read_arrays(tiny_alanine_run / "windows.npz")
    assert windows["count"] == len(windows["points"]) == len(held["measured_variance"])
    ratios = held["measured_variance"] / held["predicted_variance"]
    assert [point["ratio"] for point in windows["points"]] == pytest.approx(ratios)
    assert windows["wrong"] == sum(point["flag"] == "wrong" for point in windows["points"])
    off = held["measured_profile"] - held["predicted_profile"]
    assert windows["profile_rms_difference_kj_mol"] == pytest.approx(off.std())
    height = held["smoothed_free_energy"]
    climb = height - np.minimum.accumulate(height)
    assert windows["barrier_kj_mol"]["value"] == pytest.approx(climb.max(), abs=0.01)


def test_force_evaluations_add_up(tiny_alanine_run: Path) -> None:
    summary = json.loads((tiny_alanine_run / "summary.json").read_text())
    steps_of_walker = (20 + 20) / 0.002
    assert summary["force_evaluations"]["sample"] == 4 * steps_of_walker
    with (tiny_alanine_run / "paths.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert summary["force_evaluations"]["paths"] == sum(int(row["force_evaluations"]) for row in rows)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_trajectories_agree_with_the_tables(tiny_alanine_run: Path) -> None:
    """Torsions by MDTraj from the DCD equal colvar.csv; MDAnalysis sees the same frames and the right interval."""
    summary = json.loads((tiny_alanine_run / "summary.json").read_text())
    top = str(tiny_alanine_run / "topology.pdb")
    with (tiny_alanine_run / "colvar.csv").open() as handle:
        table = list(csv.DictReader(handle))
    for k in range(4):
        file = str(tiny_alanine_run / f"paths/path_{k:04d}.dcd")
        trajectory = mdtraj.load(file, top=top)
        rows = [row for row in table if int(row["path"]) == k]
        for name, compute in (("phi_deg", mdtraj.compute_phi), ("psi_deg", mdtraj.compute_psi)):
            written = np.deg2rad([float(row[name]) for row in rows])
            difference = np.angle(np.exp(1j * (compute(trajectory)[1][:, 0] - written)))
            assert np.abs(difference).max() < 2e-3
        universe = MDAnalysis.Universe(top, file)
        assert universe.trajectory.dt == pytest.approx(summary["paths"]["frame_interval_ps"], rel=1e-5)
        xyz = np.array([step.positions.copy() for step in universe.trajectory]) / 10
        assert np.abs(xyz - trajectory.xyz).max() < 1e-3


def test_arrived_column_obeys_the_state_definitions(tiny_alanine_run: Path) -> None:
    file = find_system_file("alanine_dipeptide")
    system = load_system(load_config(file), file.parent)
    with (tiny_alanine_run / "paths.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    for k, row in enumerate(rows):
        frames = mdtraj.load(
            str(tiny_alanine_run / f"paths/path_{k:04d}.dcd"), top=str(tiny_alanine_run / "topology.pdb")
        ).xyz
        target = system.states[1 if row["direction"] == "A->B" else 0]
        if row["arrived"] == "1":
            assert target.contains(system.variables(frames[-1].astype(float)))
    assert {row["direction"] for row in rows} == {"A->B", "B->A"}


def alive(pids: list[int]) -> list[int]:
    found = []
    for pid in pids:
        stat = Path(f"/proc/{pid}/stat")
        try:
            if stat.read_text().rsplit(")", 1)[1].split()[0] != "Z":
                found.append(pid)
        except OSError:
            continue
    return found


def is_tracker(pid: int) -> bool:
    """Whether this is Python's resource tracker, which holds nothing and ends by itself when its pipe closes."""
    try:
        return "resource_tracker" in Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return False


def descendants(pid: int) -> list[int]:
    """Processes below ``pid``: the workers."""
    children = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children += [int(child) for child in task.read_text().split()]
        except OSError:
            continue
    children += [grandchild for child in children for grandchild in descendants(child)]
    return [child for child in children if not is_tracker(child)]


def wait_for(condition: Callable[[], bool], seconds: float = 120.0) -> bool:
    """Whether something becomes true in time."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


def all_end(pids: list[int]) -> bool:
    """Whether processes whose parent has ended are gone soon after it."""
    return wait_for(lambda: not alive(pids), 10.0)


KILLED = {
    "alanine_dipeptide": (
        "samples.npz", "train.json", "geodesic.npz", "paths.json", "windows.npz", "transitions.json", "paths.csv",
    ),
    "mueller_brown": (
        "sample.json", "denoiser.npz", "geodesic.json", "paths.npz", "windows.json", "shots.npz", "export.json",
    ),
}  # fmt: skip
"""One file of every stage."""


def killed_before(file: str, words: Sequence[str | Path]) -> int:
    """Run a command in a copy of this process until it would give a file its name, and kill it there."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    move = files._move

    def fatal(temporary: Path, path: Path) -> None:
        if path.name == file:
            os.kill(os.getpid(), signal.SIGKILL)
        move(temporary, path)

    try:
        files._move = fatal
        run_cli(*words)
    finally:
        os._exit(1)


@pytest.mark.parametrize("name", ["alanine", "toy"])
def test_killed_in_every_stage_and_resumed(name: str, copy_of_run: Callable[[str], Path], tmp_path: Path) -> None:
    """SIGKILL while a file of each stage is written, half of them results and half records: nothing changes."""
    undisturbed, out = copy_of_run(name), tmp_path / "killed"
    words = (*MADE_ONCE[name], "-o", out, "--resume")
    for number, file in enumerate(KILLED[words[1]]):
        assert killed_before(file, words) == -signal.SIGKILL
        assert [(out / f"stages/{stage}.json").exists() for stage in UNREFINED] == [k < number for k in range(7)]
        assert len(list(out.rglob(".partial-*"))) == 1
        assert not (out / "summary.json").exists()
    done = run_cli(*words)
    assert done.returncode == 0, done.stderr
    assert comparable(out) == comparable(undisturbed)
    for stage in ("samples", "geodesic", "paths"):
        ours, theirs = (read_arrays(folder / f"{stage}.npz") for folder in (out, undisturbed))
        assert all(np.array_equal(ours[key], theirs[key], equal_nan=ours[key].dtype.kind == "f") for key in theirs)
    assert not list(out.rglob(".partial-*"))


@pytest.mark.parametrize("name", ["alanine", "toy"])
def test_no_process_outlives_a_killed_run(name: str, tmp_path: Path) -> None:
    """SIGKILL from outside, with two workers."""
    out = tmp_path / "run"
    words = (*MADE_ONCE[name], "-o", out, "--set", "hardware.workers=2")
    process = subprocess.Popen(command_line(*words), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    wanted = 3 if name == "alanine" else 0  # the workers and the server that they are forked from
    assert wait_for(lambda: len(descendants(process.pid)) >= wanted and (out / "config.yaml").exists())
    family = descendants(process.pid)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (out / "stages/sample.json").exists()
    assert all_end(family)


def heed_interrupts() -> None:
    """A shell's background jobs, and so all that they start, are born with SIGINT ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_interrupt_says_how_to_go_on_and_leaves_nothing_behind(tmp_path: Path) -> None:
    out = tmp_path / "run"
    endless = settings((*TINY_ALANINE, "sampling.build_time=50 ns", "hardware.workers=2"))
    process = subprocess.Popen(
        command_line("run", "alanine_dipeptide", "-o", out, *endless),
        stderr=subprocess.PIPE, text=True, preexec_fn=heed_interrupts,
    )  # fmt: skip
    assert wait_for(lambda: len(descendants(process.pid)) >= 3)
    family = descendants(process.pid)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "--resume" in errors
    assert "Traceback" not in errors
    assert len(errors.splitlines()) == 1, errors
    assert all_end(family)


def test_a_finished_folder_is_kept(tiny_alanine_run: Path) -> None:
    before = (tiny_alanine_run / "summary.json").read_bytes()
    assert "not empty" in refusal("run", "alanine_dipeptide", "-o", tiny_alanine_run)
    same = ["-o", tiny_alanine_run, *settings(TINY_ALANINE), "--resume"]
    assert "has seed 5, not 6" in refusal("run", "alanine_dipeptide", *same, "--seed", "6")
    other = refusal("run", "alanine_dipeptide", *same, "--seed", "5", "--set", "paths.count=6")
    assert "paths.count is 4 there and 6 here" in other
    assert "is finished" in refusal("train", tiny_alanine_run)
    assert (tiny_alanine_run / "summary.json").read_bytes() == before


def test_bad_input_is_one_sentence(tmp_path: Path) -> None:
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.tex").write_text("precious")
    out = tmp_path / "out"
    assert "no system 'nonsense'" in refusal("run", "nonsense", "-o", out)
    assert "did you mean 'count'" in refusal("run", "alanine_dipeptide", "-o", out, "--set", "paths.cuont=3")
    assert "3 is no time" in refusal("run", "alanine_dipeptide", "-o", out, "--set", "sampling.build_time=3")
    assert "'Quantum'" in refusal("run", "alanine_dipeptide", "-o", out, "--platform", "Quantum")
    assert "'cuda:77'" in refusal("run", "mueller_brown", "-o", out / "b", "--device", "cuda:77")
    for flag in ("--resume", "--overwrite"):
        assert "thesis.tex" in refusal("run", "mueller_brown", "-o", foreign, flag)
    assert "contradict" in refusal("run", "mueller_brown", "-o", out, "--resume", "--overwrite")
    assert "not a run folder" in refusal("train", tmp_path / "nothing")
    assert (foreign / "thesis.tex").read_text() == "precious"
    assert [entry.name for entry in foreign.iterdir()] == ["thesis.tex"]


def test_overwrite_spares_what_no_run_wrote_and_what_it_cannot_replace(tiny_alanine_run: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    (mine / "figures").mkdir(parents=True)
    (mine / "figures/thesis.png").write_text("precious")
    assert "holds files that no run wrote (figures)" in refusal("run", "mueller_brown", "-o", mine, "--overwrite")
    assert (mine / "figures/thesis.png").read_text() == "precious"
    (mine / "config.yaml").write_text("my: hydra\n")
    assert "holds files that no run wrote (config.yaml)" in refusal("run", "mueller_brown", "-o", mine, "--overwrite")
    assert (mine / "figures/thesis.png").read_text() == "precious"
    before = (tiny_alanine_run / "summary.json").read_bytes()
    refusal("run", "alanine_dipeptide", "-o", tiny_alanine_run, "--overwrite", "--platform", "Nope")
    refusal("run", "alanine_dipeptide", "-o", tiny_alanine_run, "--overwrite", "--set", "states.a.pdb=missing.pdb")
    assert (tiny_alanine_run / "summary.json").read_bytes() == before
    new = tmp_path / "new"
    refusal("run", "alanine_dipeptide", "-o", new, "--platform", "Nope")
    assert not new.exists()


def test_what_would_fail_in_the_end_is_told_before(tmp_path: Path) -> None:
    cases = {
        "tps=2": "repartitioned masses",
        "shooting.selector={variable: zz, center: 1 deg, width: 1 deg}": "'zz' is no collective variable",
        "geodesic.channel=phi+": "psi has none",
        "geodesic.channel=phi+ phi- psi+": "something twice",
        "hardware.copies=2": "hardware.copies should be 1",
        "system=5": "kind should be",
    }
    for change, words in cases.items():
        gb = ("system.forcefield=[amber14/protein.ff14SB.xml, implicit/gbn2.xml]", "system.hydrogen_mass=3 Da")
        told = refusal("run", "alanine_dipeptide", "-o", tmp_path / "run", *settings((*gb, change)))
        assert words in told, told
    assert not (tmp_path / "run").exists()


def test_numbers_that_explode_are_told_at_once(tmp_path: Path) -> None:
    with exploding_training():
        assert "not finite" in refusal("run", "mueller_brown", "-o", tmp_path / "run", *settings(TINY_TOY))
    assert not (tmp_path / "run/denoiser.npz").exists()


def test_stages_must_come_in_order(tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert run_cli("sample", "mueller_brown", "-o", out, *settings(TINY_TOY)).returncode == 0
    assert "'train'" in refusal("geodesic", out)


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    import fcntl

    out = tmp_path / "run"
    out.mkdir()
    with (out / ".lock").open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        assert "in use" in refusal("run", "mueller_brown", "-o", out)


def test_full_disk_is_told_and_leaves_no_torn_file(tmp_path: Path) -> None:
    """A limit on the size of files stands in for a full disk: the write of the samples fails half-way."""
    out = tmp_path / "run"
    arguments = command_line("run", "mueller_brown", "-o", out, *settings(TINY_TOY), "--set", "sampling.walkers=2048")
    quoted = " ".join(f"'{a}'" if "'" not in a else '"' + a + '"' for a in arguments)
    done = subprocess.run(
        ["bash", "-c", f"trap '' XFSZ; ulimit -f 100; exec {quoted}"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "Error: " in done.stderr
    assert not (out / "samples.npz").exists()
    assert not list(out.rglob(".partial-*"))


def test_quick_preset_says_that_it_is_not_for_science(tmp_path: Path) -> None:
    out = tmp_path / "run"
    done = run_cli("run", "mueller_brown", "--preset", "quick", "-o", out, *settings(TINY_TOY))
    assert done.returncode == 0, done.stderr
    assert "NOT FOR SCIENCE" in done.stdout
    assert (out / "paths.csv").read_text().startswith("# preset quick: not for science")
    assert json.loads((out / "summary.json").read_text())["for_science"] is False
    assert "Traceback" not in done.stderr
    assert "\r" not in done.stderr


def test_config_and_doctor_and_version() -> None:
    shown = run_cli("config", "alanine_dipeptide", "--set", "paths.count=6")
    assert shown.returncode == 0
    assert "temperature: 300 K" in shown.stdout
    assert "count: 6" in shown.stdout
    doctor = run_cli("doctor")
    assert "Reference" in doctor.stdout
    assert "steps/s" in doctor.stdout
    assert run_process("--version").stdout.startswith("spacetime-tps, version ")


def test_a_state_between_the_points_of_the_reference_grid_is_refused_beforehand(tmp_path: Path) -> None:
    """No barrier can be read off the surface then, which ``export`` would find out at the end of the run."""
    out, file = tmp_path / "run", find_system_file("alanine_dipeptide")
    system = load_system(load_config(file), file.parent)
    phi, psi = np.rad2deg(system.variables(system.structures)[1])
    tiny = f"states.b.any_of=[{{ball: {{phi: {phi:.3f} deg, psi: {psi:.3f} deg}}, radius: 0.1 deg}}]"
    told = refusal("run", "alanine_dipeptide", "-o", out, "--set", tiny)
    assert "State B holds no point of the grid of the reference surface" in told
    assert "--set reference=null" in told
    assert not out.exists()
    config = load_config(file, overrides=(tiny, "reference=null"))
    check_beforehand(config, load_system(config, file.parent))
