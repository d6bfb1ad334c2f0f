"""shoot and committor from the command line: files, resuming, refusals."""

from __future__ import annotations

import csv
import json
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import MDAnalysis
import mdtraj
import numpy as np
import pytest

from spacetime_tps import Run, load_paths
from spacetime_tps.errors import UserError
from spacetime_tps.files import read_arrays, write_arrays
from spacetime_tps.shooting.path import pack, unpack
from spacetime_tps.stages import RunFolder
from spacetime_tps.systems import find_system_file, load_config, load_system
from tests.conftest import TINY_ALANINE, TINY_TOY, command_line, refusal, run_cli, settings

TINY = (
    "shooting.chains=2", "shooting.steps=60", "shooting.burn_in=10", "shooting.keep_every=5", "shooting.block_steps=20",
    "shooting.trajectories=2",
)  # fmt: skip
TINY_TOY_SHOOTING = (
    "shooting.chains=6", "shooting.steps=4", "shooting.burn_in=1", "shooting.keep_every=1", "shooting.block_steps=2",
    "shooting.temperature_factor=2.5",
)  # fmt: skip


MAY_DIFFER = {"wall_seconds", "versions", "provenance", "files"}


def summary_of(folder: Path) -> dict[str, Any]:
    summary = json.loads((folder / "shooting/summary.json").read_text())
    return {
        key: value for key, value in summary.items() if key not in ("wall_seconds", "versions", "provenance", "files")
    }


@pytest.fixture(scope="module")
def shot(tiny_alanine_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny run with chains that start from its annealed paths."""
    out = tmp_path_factory.mktemp("shoot") / "run"
    shutil.copytree(tiny_alanine_run, out)
    done = run_cli("shoot", out, *settings(TINY))
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"Everything: {out / 'shooting/summary.json'}\n"
    return out


def test_run_can_end_with_the_true_ensemble(tmp_path: Path) -> None:
    out = tmp_path / "run"
    wanted = settings((*TINY_TOY, *TINY_TOY_SHOOTING, "tps=2"))
    done = run_cli("run", "mueller_brown", "-o", out, *wanted)
    assert done.returncode == 0, done.stderr
    assert "\nshoot: " in done.stderr
    assert "true ensemble     " in done.stdout
    assert summary_of(out)["first_path"]["from"] == "annealed paths of the run"
    assert summary_of(out)["settings"]["trajectories"] == 2
    again = run_cli("run", "mueller_brown", "-o", out, "--resume", *wanted)
    assert again.returncode == 0, again.stderr
    assert "shoot:" not in again.stderr


def test_what_shoot_writes(shot: Path) -> None:
    folder = shot / "shooting"
    assert {"summary.json", "trials.csv", "paths.npz", "first.npz", "settings.json", "topology.pdb", "chains.png"} <= {
        p.name for p in folder.iterdir()
    }
    summary = summary_of(shot)
    assert summary["first_path"]["from"] == "annealed paths of the run"
    assert summary["time"] == "physical time [ps]"
    assert summary["chains"] == 2
    rows = list(csv.DictReader((folder / "trials.csv").open()))
    assert len(rows) == 2 * 60
    used = [row for row in rows if int(row["step"]) > 10]
    accepted = sum(int(row["accepted"]) for row in used)
    assert summary["acceptance"]["all"] == {
        "trials": 100, "accepted": accepted, "share": accepted / 100, "error": pytest.approx(0.05, abs=0.03),
    }  # fmt: skip
    assert summary["rejections"] == {
        reason: sum(row["reason"] == reason for row in used)
        for reason in {row["reason"] for row in used} - {"accepted"}
    }
    mean = np.mean([float(row["max_free_energy_kj_mol"]) for row in used])
    assert summary["max_free_energy_kj_mol"]["mean"] == pytest.approx(mean, rel=1e-6)


def test_sampled_trajectories_have_physical_time(shot: Path) -> None:
    file = next((shot / "shooting").glob("path_*.dcd"))
    top = shot / "shooting/topology.pdb"
    universe = MDAnalysis.Universe(str(top), str(file))
    assert universe.trajectory.dt == pytest.approx(0.01, rel=1e-5)
    trajectory = mdtraj.load(str(file), top=str(top))
    source = find_system_file("alanine_dipeptide")
    system = load_system(load_config(source), source.parent)
    variables = system.variables(trajectory.xyz.astype(float))
    a, b = system.states
    assert a.contains(variables).tolist() == [True] + [False] * (len(variables) - 1)
    assert b.contains(variables).tolist() == [False] * (len(variables) - 1) + [True]


def test_shoot_is_refused_twice_and_resumes_the_same(shot: Path, tmp_path: Path) -> None:
    assert "--resume" in refusal("shoot", shot, *settings(TINY))
    assert "steps is 60 there and 65 here" in refusal(
        "shoot", shot, "--resume", *settings((*TINY, "shooting.steps=65"))
    )
    copy = tmp_path / "copy"
    shutil.copytree(shot, copy)
    (copy / "shooting/summary.json").unlink()
    (copy / "shooting/blocks/block_0002.npz").unlink()
    done = run_cli("shoot", copy, "--resume")
    assert done.returncode == 0, done.stderr
    assert summary_of(copy) == summary_of(shot)
    assert (copy / "shooting/trials.csv").read_bytes() == (shot / "shooting/trials.csv").read_bytes()


def test_blocks_need_not_keep_a_path(shot: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(shot, copy)
    done = run_cli("shoot", copy, "--overwrite", *settings((*TINY, "shooting.block_steps=3")))
    assert done.returncode == 0, done.stderr
    assert len(list((copy / "shooting/blocks").iterdir())) == 20
    assert len(list((copy / "shooting").glob("path_*.dcd"))) >= 1


def without(name: str, folder: Path) -> None:
    (folder / name).unlink()


def lacking(array: str, folder: Path) -> None:
    data = dict(np.load(folder / "first.npz"))
    del data[array]
    data.pop("sha256", None)
    np.savez(folder / "first.npz", **data)


def fewer_frames(folder: Path) -> None:
    data = dict(np.load(folder / "blocks/block_0001.npz"))
    data["state.positions"] = data.pop("state.positions")[:3]
    data.pop("sha256", None)
    np.savez(folder / "blocks/block_0001.npz", **data)


def another_block(folder: Path) -> None:
    shutil.copy(folder / "blocks/block_0000.npz", folder / "blocks/block_0001.npz")


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda folder: without("settings.json", folder), "no settings.json"),
        (lambda folder: without("first.npz", folder), "no first.npz"),
        (lambda folder: (folder / "settings.json").write_text("{}"), "settings.json was not written"),
        (lambda folder: lacking("positions", folder), "first.npz was not written by the run"),
        (lambda folder: (folder / "blocks/block_0001.npz").write_bytes(b"PK"), "block_0001.npz cannot be read"),
        (fewer_frames, "block_0001.npz was not written by the run"),
        (another_block, "block_0001.npz was written as shooting/blocks/block_0000.npz"),
    ],
)
def test_damage_is_told_and_nothing_goes_on_with_it(
    damage: Callable[[Path], None], expected: str, shot: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(shot, copy)
    damage(copy / "shooting")
    before = summary_of(copy)
    said = refusal("shoot", copy, "--resume", *settings(TINY))
    assert expected in said
    assert "--overwrite" in said
    assert summary_of(copy) == before


def test_a_whole_run_is_not_dropped_for_bad_input(tiny_alanine_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(tiny_alanine_run, out)
    new = ("shoot", "alanine_dipeptide", *settings(TINY_ALANINE), "-o")
    assert "missing.dcd is not there" in refusal(*new, out, "--overwrite", "--from", tmp_path / "missing.dcd")
    assert "--from high-temperature" in refusal(*new, out, "--overwrite")
    assert (out / "paths.npz").is_file()
    assert "--from high-temperature" in refusal(*new, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_points_that_no_potential_could_hold(tmp_path: Path) -> None:
    line = np.linspace([-0.56, 1.44], [0.62, 0.03], 40)
    np.save(tmp_path / "far.npy", np.insert(line, 20, [50.0, 50.0], axis=0))
    np.save(tmp_path / "whole.npy", np.ones((40, 2), dtype=int))
    np.savez(tmp_path / "archive.npy", line)
    (tmp_path / "archive.npy.npz").rename(tmp_path / "archive.npy")
    np.save(tmp_path / "objects.npy", np.array([[None, 1.0]]), allow_pickle=True)
    np.save(tmp_path / "long.npy", line)
    new = ("shoot", "mueller_brown", "-o", tmp_path / "run", *settings(TINY_TOY))
    for name, expected in {
        "far": "Frame 20 of", "whole": "floating-point numbers of shape (T, 2)", "archive": "no .npy file",
        "objects": "Python objects",
    }.items():  # fmt: skip
        assert expected in refusal(*new, "--from", tmp_path / f"{name}.npy")
        assert not (tmp_path / "run").exists()
    short = settings(["shooting.max_frames=10"])
    assert "shooting.max_frames is 10" in refusal(*new, *short, "--from", tmp_path / "long.npy")


def test_killed_in_the_middle_it_goes_on(shot: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(shot, copy)
    shutil.rmtree(copy / "shooting")
    process = subprocess.Popen(command_line("shoot", copy, *settings(TINY)), stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (copy / "shooting/blocks/block_0000.npz").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = run_cli("shoot", copy, "--resume", *settings(TINY))
    assert done.returncode == 0, done.stderr
    assert summary_of(copy) == summary_of(shot)


def test_a_new_folder_and_a_given_trajectory(shot: Path, tmp_path: Path) -> None:
    """A sampled path, read back from its DCD, starts a chain of its own."""
    trajectory = tmp_path / "path.dcd"
    shutil.copy(next((shot / "shooting").glob("path_*.dcd")), trajectory)
    options = ("--from", trajectory, *settings((*TINY, *TINY_ALANINE)))
    done = run_cli("shoot", "alanine_dipeptide", "-o", tmp_path / "new", *options)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"Everything: {tmp_path / 'new/shooting/summary.json'}\n"
    assert summary_of(tmp_path / "new")["first_path"]["from"] == "path.dcd"
    frames = mdtraj.load(str(trajectory), top=str(shot / "shooting/topology.pdb"))
    assert summary_of(tmp_path / "new")["first_path"]["frames"] == [len(frames)] * 2
    cut = tmp_path / "cut.dcd"
    frames[:-1].save_dcd(str(cut))
    assert "holds no path from A to B" in refusal("shoot", shot, "--overwrite", "--from", cut)
    frames.xyz[3, 0] = frames.xyz[3, 10] + 0.01
    frames.save_dcd(str(cut))
    assert f"cut.dcd: frame 3 (of {len(frames)}, counted from 0) cannot" in refusal(
        "shoot", shot, "--overwrite", "--from", cut
    )
    assert (shot / "shooting/summary.json").is_file()
    cut.write_bytes(cut.read_bytes()[:-1000])
    assert "cut short" in refusal("shoot", shot, "--overwrite", "--from", cut)


def test_toys_shoot_from_heat_with_two_way_moves(tmp_path: Path) -> None:
    options = settings((*TINY_TOY, *TINY_TOY_SHOOTING, "shooting.move=two_way"))
    done = run_cli("shoot", "mueller_brown", "-o", tmp_path / "run", "--from", "high-temperature", *options)
    assert done.returncode == 0, done.stderr
    summary = summary_of(tmp_path / "run")
    assert set(summary["acceptance"]) == {"all", "two_way"}
    assert summary["max_energy"]["kt"] == 15.0
    assert summary["max_free_energy_kt"]["fraction_below_bound"] == 0.0
    done = run_cli("shoot", "mueller_brown", "-o", tmp_path / "again", "--from", "high-temperature", *options)
    assert summary_of(tmp_path / "again") == summary


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("shoot", "OUT", "--from", "nowhere.dcd"), "nowhere.dcd is not there"),
        (
            ("shoot", "OUT", "--from", "ensembl"),
            "'ensembl' is neither paths, ensemble, high-temperature nor a trajectory",
        ),
        (("shoot", "OUT", "--seed", "3"), "--seed belongs to a new run"),
        (("shoot", "OUT", "--set", "shooting.move=sideways"), "shooting.move"),
        (("shoot", "OUT", "--set", "shooting.velocity_mixing=0.5"), "two_way"),
        (("shoot", "OUT", "--set", "shooting.burn_in=9999"), "burn_in"),
        (("shoot", "OUT", "--set", "sampling.walkers=9"), "'sampling' were used by the stage 'sample'"),
        (("shoot", "OUT", "--set", "shooting.fixed_frames=5"), "fixed_frames"),
        (("shoot", "OUT", "--resume", "--overwrite"), "contradict"),
        (("shoot", "no_such_run"), "not a run folder"),
        (("committor", "no_such_run"), "not a run folder"),
        (("committor", "OUT", "--frames", "nothing.dcd"), "nothing.dcd is not there"),
        (("committor", "OUT", "--set", "committor.shots=1"), "committor.shots"),
    ],
)
def test_refusals(arguments: tuple[str, ...], expected: str, tiny_alanine_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(tiny_alanine_run, out)
    words = [str(out) if word == "OUT" else word for word in arguments]
    if words[1] == "no_such_run":
        words[1] = str(tmp_path / "no_such_run")
    assert expected in refusal(*words)
    assert (out / "summary.json").is_file()


def test_sampled_and_annealed_paths_are_loaded_as_they_are(shot: Path) -> None:
    sampled, stored = load_paths(shot, "sampled"), np.load(shot / "shooting/paths.npz")
    assert [len(path) for path in sampled] == stored["lengths"].tolist()
    assert np.array_equal(np.concatenate([path.positions_nm for path in sampled]), stored["positions"])
    parts = np.split(stored["born"], np.cumsum(stored["lengths"])[:-1])
    along, squares = 0.0, 0.0
    for path, born in zip(sampled, parts, strict=True):
        assert len(path.trimmed()) == len(path)
        assert path.interval_ps == pytest.approx(0.01)
        assert path.in_states[0].tolist() == [True, False]
        assert path.in_states[-1].tolist() == [False, True]
        assert path.velocities_nm_ps is not None
        made = (born[1:] > 0) & (born[:-1] > 0)  # frames of the first path got random velocities
        moved = (np.diff(path.positions_nm, axis=0) / path.interval_ps)[made]
        between = 0.5 * (path.velocities_nm_ps[1:] + path.velocities_nm_ps[:-1])[made]
        along, squares = along + (moved * between).sum(), squares + np.square(moved).sum()
    assert 0.5 < along / squares < 1.0  # five steps lie between frames; with a sign lost it is about zero
    annealed = load_paths(shot)
    assert len(annealed) == 4
    assert annealed[1].in_states.shape == (20, 2)
    assert annealed[1].velocities_nm_ps is None
    assert "guided" in annealed[0].nature


def test_infretis_gets_a_path_for_every_ensemble(shot: Path, tmp_path: Path) -> None:
    """Each starts and ends at the right side of the first interface, and reaches its own; frames as in the tables."""
    topology = str(shot / "topology.pdb")
    frames = mdtraj.Trajectory(load_paths(shot, "sampled")[0].positions_nm, mdtraj.load_topology(topology))
    turned = np.diff(np.unwrap(mdtraj.compute_phi(frames)[1][:, 0])[[0, -1]])[0]
    walls = [-40.0, -20.0, 0.0, 36.0] if turned > 0 else [175.0, 150.0, 120.0, 90.0]  # from C5 to C7ax
    sign = 1.0 if turned > 0 else -1.0
    end, folder = sign * walls[0], tmp_path / "load"
    Run(shot).to_infretis(folder, "phi", walls)
    assert sorted(each.name for each in folder.iterdir()) == ["0", "1", "2", "3"]
    for number in range(4):
        frames = mdtraj.load(str(folder / f"{number}/accepted/path.trr"), top=topology)
        order = np.loadtxt(folder / f"{number}/order.txt")[:, 1]
        table = [line.split() for line in (folder / f"{number}/traj.txt").read_text().splitlines()[2:]]
        assert table == [[str(t), "path.trr", str(t), "1"] for t in range(frames.n_frames)]
        phi = sign * np.rad2deg(mdtraj.compute_phi(frames)[1][:, 0])
        assert (order - phi + 180) % 360 == pytest.approx(180, abs=0.01)
        assert (order[1:-1] <= end).all() if number == 0 else (order[1:-1] > end).all()
        assert (order[[0, -1]] > end).tolist() == ([True, True] if number == 0 else [False, True])
        assert number == 0 or order.max() > sign * walls[number - 1]
        assert np.abs(np.diff(order)).max() < 90, "nothing leads over the cut"
    with pytest.raises(UserError, match="is there already"):
        Run(shot).to_infretis(folder, "phi", walls)
    with pytest.raises(UserError, match="no collective variable"):
        Run(shot).to_infretis(tmp_path / "other", "omega", walls)
    with pytest.raises(UserError, match="ascending or descending"):
        Run(shot).to_infretis(tmp_path / "other", "phi", [0.0, 1.0, 0.5])
    with pytest.raises(UserError, match="crosses all interfaces"):
        Run(shot).to_infretis(tmp_path / "other", "phi", [100.0, 170.0])
    assert not (tmp_path / "other").exists()


def test_paths_that_are_not_there_are_told(tiny_alanine_run: Path) -> None:
    with pytest.raises(UserError, match="no sampled paths yet"):
        load_paths(tiny_alanine_run, "sampled")
    with pytest.raises(UserError, match=r"has no unguided paths: transitions\.shots is 0"):
        load_paths(tiny_alanine_run, "ensemble")
    with pytest.raises(UserError, match="'annealed', 'ensemble' or 'sampled'"):
        load_paths(tiny_alanine_run, "all")
    with pytest.raises(UserError, match="not a run folder"):
        load_paths(tiny_alanine_run / "nowhere")


def test_committors_of_the_annealed_paths_and_of_given_frames(shot: Path, tmp_path: Path) -> None:
    done = run_cli("committor", shot, "--shots", "10")
    assert done.returncode == 0, done.stderr
    summary = json.loads((shot / "committor/committor.json").read_text())
    assert summary["count"] == 4
    assert sum(summary["histogram"]["counts"]) == 4
    rows = list(csv.DictReader((shot / "committor/committor.csv").open()))
    p_b = np.array([float(row["p_b"]) for row in rows])
    assert [int(row["decided"]) + int(row["undecided"]) for row in rows] == [10] * 4
    assert summary["spread_beyond_binomial"]["mean"] == pytest.approx(p_b.mean())
    assert summary["explained"]["by"]["torsions"] == ["phi", "psi"]
    assert len(summary["explained"]["with"]) == 3
    assert "holds earlier committors" in refusal("committor", shot)
    ends = mdtraj.load(str(next((shot / "shooting").glob("path_*.dcd"))), top=str(shot / "shooting/topology.pdb"))[
        [0, -1]
    ]
    ends.save_dcd(str(tmp_path / "ends.dcd"))
    done = run_cli("committor", shot, "--overwrite", "--frames", tmp_path / "ends.dcd", "--shots", "4")
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader((shot / "committor/committor.csv").open()))
    assert [float(row["p_b"]) for row in rows] == [0.0, 1.0]  # frames in the states
    path = mdtraj.load(str(next((shot / "shooting").glob("path_*.dcd"))), top=str(shot / "shooting/topology.pdb"))
    top = int(np.abs(mdtraj.compute_phi(path)[1]).argmin())  # phi is zero on the ridge
    path[[top] * 6].save_dcd(str(tmp_path / "six_times.dcd"))
    done = run_cli("committor", shot, "--overwrite", "--frames", tmp_path / "six_times.dcd", "--shots", "20")
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader((shot / "committor/committor.csv").open()))
    assert len({row["p_b"] for row in rows}) > 2  # the same frame, other velocities and noise each time
    ends.xyz *= 10
    ends.save_dcd(str(tmp_path / "angstrom.dcd"))
    assert "angstrom.dcd: frame 0 (of 2, counted from 0) cannot" in refusal(
        "committor", shot, "--overwrite", "--frames", tmp_path / "angstrom.dcd"
    )
    assert (shot / "committor/committor.json").is_file()
    done = run_cli("committor", shot, "--overwrite", "--along", "--set", "committor.frames=6", "--shots", "4")
    assert done.returncode == 0, done.stderr
    assert "curve parameter" in done.stderr
    rows = list(csv.DictReader((shot / "committor/committor.csv").open()))
    along = [float(row["curve_parameter"]) for row in rows]
    assert len(along) == 6
    assert along == sorted(along)
    assert 0 < along[0] < along[-1] < 1
    found = json.loads((shot / "committor/committor.json").read_text())["along"]
    assert 0 < found["highest_at"] < 1
    assert found["half_at"] is None or along[0] <= found["half_at"] <= along[-1]
    assert (shot / "committor/committor.png").is_file()
    assert "give either" in refusal("committor", shot, "--along", "--frames", tmp_path / "ends.dcd")
    done = run_cli("committor", shot, "--overwrite", "--set", "committor.max_steps=1", "--shots", "2")
    assert "too few trajectories reached a state" in done.stderr


def test_chains_say_which_annealed_paths_they_began_from(shot: Path) -> None:
    """By the digest that the report compares with that of the paths as they are."""
    assert summary_of(shot)["paths"] == RunFolder(shot).paths_digest()
    assert summary_of(shot)["paths"]


def test_unguided_paths_of_the_run_are_first_paths(shot: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(shot, copy)
    again = ("shoot", copy, "--overwrite", "--from", "ensemble", *settings(TINY))
    assert "has no unguided paths to start from (transitions.shots)" in refusal(*again)
    exported = unpack(read_arrays(shot / "shooting/paths.npz"))[:3]
    (copy / "ensemble").mkdir(exist_ok=True)
    write_arrays(copy / "ensemble/paths.npz", **pack(exported))
    done = run_cli(*again)
    assert done.returncode == 0, done.stderr
    first = summary_of(copy)["first_path"]
    assert first["from"] == "unguided paths of the run"
    assert set(first["frames"]) <= {len(path) for path in exported}
    dry = [replace(path, positions=path.positions[:, :5], velocities=path.velocities[:, :5]) for path in exported]
    write_arrays(copy / "ensemble/paths.npz", **pack(dry))
    assert "were kept without their water" in refusal(*again)
    assert summary_of(copy)["first_path"] == first
