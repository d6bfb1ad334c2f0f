"""The stage that shoots across the ridge: its paths, their weights, its files, and when there are no rates."""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import MDAnalysis
import mdtraj
import numpy as np
import pytest
import torch

from spacetime_tps import Run, load_paths
from spacetime_tps.analysis.rates import Rates, ShotEnsemble, Stay, resampled
from spacetime_tps.boltzmann.pool import solve
from spacetime_tps.errors import UserError
from spacetime_tps.files import read_arrays
from spacetime_tps.geometry.curve import read_curves
from spacetime_tps.parallel import WorkerPool
from spacetime_tps.potentials import MuellerBrown
from spacetime_tps.shooting import chains
from spacetime_tps.shooting.chains import EngineRecipe
from spacetime_tps.shooting.ridges import Ridge
from spacetime_tps.shooting.shots import ShotPlan, shots_from
from spacetime_tps.stages import RunFolder, ridge_rounds
from spacetime_tps.stages.context import opened
from spacetime_tps.stages.measure import measured
from spacetime_tps.stages.methods import transitions_of_run
from spacetime_tps.stages.no_rates import gathering, lost_shots, why_not
from spacetime_tps.stages.ridge_rounds import Tube, covered, ridge_by_probes, ridge_by_samples, ridge_space
from spacetime_tps.stages.ties import free_walkers, windows_of_potential
from spacetime_tps.stages.train import load_denoiser
from spacetime_tps.systems import System, find_system_file, load_config, load_system
from tests.conftest import TINY_SHOTS, TINY_TOY, run_cli, settings


@pytest.fixture(scope="module")
def shot(copy_of_run: Callable[[str], Path]) -> Path:
    """A tiny run of alanine dipeptide with shots; its windows are too short for rates."""
    out = copy_of_run("alanine")
    Run(out).transitions(TINY_SHOTS)
    Run(out).export()
    return out


def test_exported_paths_run_from_state_to_state_in_physical_time(shot: Path) -> None:
    system = load_system(Run(shot).folder.config(), shot)
    with (shot / "ensemble/weights.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) > 20
    assert sum(float(row["weight"]) for row in rows) == pytest.approx(1.0)
    assert [int(row["path"]) for row in rows] == list(range(len(rows)))
    assert sum(int(row["drawn"]) for row in rows) == 6
    exported = [row for row in rows if row["file"]]
    assert [row["file"] for row in exported] == [f"path_{int(row['path']):04d}.dcd" for row in exported]
    assert all((int(row["drawn"]) > 0) == bool(row["file"]) for row in rows)
    weights = np.array([float(row["weight"]) for row in rows])
    expected = 6 * weights
    assert (np.abs([int(row["drawn"]) for row in rows] - expected) < 1.0).all()  # systematic resampling
    top = str(shot / "topology.pdb")
    for row in exported:
        file = str(shot / "ensemble" / row["file"])
        trajectory = mdtraj.load(file, top=top)
        angles = np.stack([mdtraj.compute_phi(trajectory)[1][:, 0], mdtraj.compute_psi(trajectory)[1][:, 0]], axis=-1)
        inside = system.in_states(angles)
        assert inside[0].tolist() == [True, False]
        assert inside[-1].tolist() == [False, True]
        assert not inside[1:-1].any()
        universe = MDAnalysis.Universe(top, file)
        assert universe.trajectory.dt == pytest.approx(0.01, rel=1e-5)  # five steps of 2 fs
        assert float(row["duration_ps"]) == pytest.approx(0.01 * (len(trajectory) - 1))
        assert row["channel"] == ("phi+ psi-" if np.unwrap(angles[:, 0])[-1] > angles[0, 0] else row["channel"])


def test_unguided_paths_are_loaded_as_their_trajectories_have_them(shot: Path) -> None:
    paths = load_paths(shot, "ensemble")
    assert len(paths) == len(list((shot / "ensemble").glob("path_*.dcd"))) > 2
    for k, path in enumerate(paths):
        file = mdtraj.load(str(shot / f"ensemble/path_{k:04d}.dcd"), top=str(shot / "topology.pdb"))
        assert path.interval_ps == pytest.approx(0.01)
        assert mdtraj.compute_phi(path.to_mdtraj())[1] == pytest.approx(mdtraj.compute_phi(file)[1], abs=1e-4)
        assert path.in_states[0].tolist() == [True, False]
        assert path.in_states[-1].tolist() == [False, True]
        assert len(path.trimmed()) == len(path)
        assert "Unguided" in path.nature


def test_weights_are_those_of_the_windows(shot: Path) -> None:
    """1 over the sum of w over interior frames, by hand from what is stored."""
    data = read_arrays(shot / "shots.npz")
    starts = np.concatenate([[0], np.cumsum(data["lengths"])])
    sums = []
    for first, last in itertools.pairwise(starts):
        angles = data["path_variables"][first + 1 : last - 1]
        x = np.stack([np.cos(angles), np.sin(angles)], axis=-1).reshape(len(angles), -1)
        away = x @ data["direction"].T - data["center"]
        curbed = 0.5 * data["curb"] * np.square(x).sum(axis=1)[:, None]
        each = x @ data["tilt"].T - curbed - 0.5 * data["stiffness"] * away**2 + data["log_factors"]
        sums.append(np.exp(each).sum())
    assert np.exp(data["log_sums"]) == pytest.approx(np.array(sums), rel=1e-6)
    assert data["weights"] == pytest.approx((1 / np.array(sums)) / (1 / np.array(sums)).sum())
    drawn = np.bincount(data["window"])
    same = [data[name] == data[name][0] for name in ("stiffness", "center", "curb")]
    alike = np.flatnonzero(np.all(same, axis=0))
    free = data["log_factors"] - np.log(drawn / drawn.sum())
    assert free[alike] == pytest.approx(np.full(len(alike), free[0]))


def test_shots_are_counted_and_rounds_connect_the_states(shot: Path) -> None:
    summary = json.loads((shot / "summary.json").read_text())
    found = summary["transitions"]
    rounds = next(iter(found["connected_share_by_round"].values()))
    assert min(rounds[1:]) > 0.05
    assert max(rounds) > 0.2
    assert found["shots"] == len(read_arrays(shot / "shots.npz")["window"])
    assert found["paths"] == len(read_arrays(shot / "shots.npz")["weights"])
    assert sum(each["share"] for each in found["channels"].values()) == pytest.approx(1.0)
    assert sum(each["share"] for each in found["tubes"]) == pytest.approx(1.0)
    for each in [*found["channels"].values(), *found["tubes"]]:
        assert each["share"] < 1.0 or each["error"] is None  # that no other path was found is no error of zero
    assert summary["force_evaluations"]["transitions"] > 50 * found["shots"]
    assert 1.0 < found["effective_paths"] <= found["paths"]


def test_fitted_ridges_have_no_slope_along_the_cosine_of_an_angle(shot: Path) -> None:
    """Windows that are held near the curve tell the point that the fit counts angles from."""
    data = read_arrays(shot / "shots.npz")
    held = data["curb"] > 0
    anchor = np.diff(data["tilt"][held][:2], axis=0)[0] / np.diff(data["curb"][held][:2])[0]
    pairs = anchor.reshape(-1, 2)
    assert np.linalg.norm(pairs, axis=1) == pytest.approx(1.0)
    along = (data["direction"].reshape(-1, *pairs.shape) * pairs).sum(axis=-1)
    assert np.abs(along).max() < 1e-9
    assert len(np.unique(data["direction"].round(6), axis=0)) > 1


def test_transition_states_are_frames_between_the_states(shot: Path) -> None:
    found = mdtraj.load(str(shot / "ensemble/transition_states.pdb"))
    summary = json.loads((shot / "summary.json").read_text())["transitions"]["committor_at_top"]
    assert len(found) == min(100, summary["frames"])
    system = load_system(Run(shot).folder.config(), shot)
    angles = np.stack([mdtraj.compute_phi(found)[1][:, 0], mdtraj.compute_psi(found)[1][:, 0]], axis=-1)
    assert not system.in_states(angles).any()
    assert abs(summary["mean"] - 0.5) < 4 * summary["mean_error"]


def test_short_windows_give_paths_and_no_rates(shot: Path) -> None:
    summary = json.loads((shot / "summary.json").read_text())
    assert "share no samples" in summary["transitions"]["no_rates_because"]
    assert summary["answer"]["rate_a_to_b"] is None
    page = (shot / "report.html").read_text(encoding="utf-8")
    assert "unknown: ridge windows share no samples with the states" in page
    assert f"{summary['transitions']['paths']} unguided paths" in page
    files = len(list((shot / "ensemble").glob("path_*.dcd")))
    assert f"path_{files - 1:04d} of the ensemble" in page
    assert f"path_{files:04d} of the ensemble" not in page


def test_the_paths_of_a_run_as_a_method_of_a_comparison(shot: Path) -> None:
    """At the cost of all of the run, as often as the weights say, with the frames that were exported."""
    with opened(RunFolder(shot), Run(shot).folder.config()) as context:
        raw = transitions_of_run(context)
        paths = measured("transitions", context, lambda: raw)
    summary = json.loads((shot / "summary.json").read_text())
    assert paths.scalars["force_evaluations"] == sum(summary["force_evaluations"].values())
    assert paths.scalars["own_force_evaluations"] == 0
    assert paths.scalars["acceptance"] == pytest.approx(summary["transitions"]["connected_share"])
    assert paths.scalars["effective_paths"] == pytest.approx(summary["transitions"]["effective_paths"])
    assert len(paths.arrived) == int(summary["transitions"]["effective_paths"])
    assert len(raw.frames) > 2
    system = context.system
    for frames, variables in zip(raw.frames, raw.variables, strict=False):
        assert system.variables(frames.astype(float)) == pytest.approx(variables, abs=1e-4)
    rows = list(csv.DictReader((shot / "ensemble/weights.csv").open()))
    durations = {float(row["duration_ps"]) for row in rows}
    assert {round(float(each), 6) for each in paths.length} <= {round(each, 6) for each in durations}


def test_paths_without_weight_are_not_compared(copy_of_run: Callable[[str], Path]) -> None:
    out = copy_of_run("alanine")
    with (
        opened(RunFolder(out), Run(out).folder.config()) as context,
        pytest.raises(UserError, match=r"has shot no paths \(transitions.shots\)"),
    ):
        transitions_of_run(context)


def test_resampling_keeps_the_weights() -> None:
    picked = resampled(np.array([1.0, 3.0, 0.0, 4.0]), 800, np.random.default_rng(1))
    assert np.bincount(picked, minlength=4).tolist() == [100, 300, 0, 400]


def test_interrupted_after_a_round_it_goes_on_and_makes_a_damaged_one_again(
    copy_of_run: Callable[[str], Path], shot: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    out = copy_of_run("alanine")
    made, begun = ridge_rounds.shots_from, list[str]()

    def interrupted(*given: Any) -> Any:
        if len(begun) == 2:
            raise KeyboardInterrupt
        begun.append(given[-2])
        return made(*given)

    with monkeypatch.context() as patch:
        patch.setattr(ridge_rounds, "shots_from", interrupted)
        with pytest.raises(KeyboardInterrupt):
            Run(out).transitions(TINY_SHOTS)
    kept = sorted((out / "shooting_ridges").glob("round_*.npz"))
    assert [file.name for file in kept] == ["round_0.npz", "round_1.npz"]
    kept[1].write_bytes(kept[1].read_bytes()[:-300])
    begun.clear()

    def counted(*given: Any) -> Any:
        begun.append(given[-2])
        return made(*given)

    monkeypatch.setattr(ridge_rounds, "shots_from", counted)
    Run(out).transitions(TINY_SHOTS)
    assert begun[:2] == ["transitions 1", "transitions 2"]
    assert "round_1.npz is not as it was left, and is made again" in caplog.text
    assert not (out / "shooting_ridges").exists()
    again, once = (read_arrays(folder / "shots.npz") for folder in (out, shot))
    for name, values in once.items():
        assert (again[name] == values).all(), name


def test_without_shots_nothing_is_left_of_an_interrupted_attempt(
    copy_of_run: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = copy_of_run("alanine")

    def interrupted(*given: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ridge_rounds, "shots_from", interrupted)
        with pytest.raises(KeyboardInterrupt):
            Run(out).transitions(TINY_SHOTS)
    assert (out / "shooting_ridges").exists()
    Run(out).transitions(["transitions.shots=0"])
    assert not (out / "shooting_ridges").exists()


def test_repartitioned_masses_give_no_rates(
    copy_of_run: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = copy_of_run("alanine")
    monkeypatch.setattr(chains, "_HYDROGEN", 0.5)  # u: those of the run are too heavy now
    Run(out).transitions(TINY_SHOTS)
    Run(out).export()
    summary = json.loads((out / "summary.json").read_text())
    assert "repartitioned masses" in summary["transitions"]["no_rates_because"]
    assert summary["answer"]["rate_b_to_a"] is None
    assert not (out / "ensemble").exists()


def test_a_potential_has_rates(tmp_path: Path) -> None:
    """Müller-Brown with larger steps: both rates, and populations that add up to one."""
    changes = (
        *(word for word in TINY_TOY if not word.startswith(("windows", "transitions"))),
        "system.dynamics.time_step=4.0e-5", "windows.steps=3000", "windows.equilibration_steps=200",
        "windows.sample_every=20", "windows.free_walkers=8", "windows.free_steps=20000", "transitions.shots=320",
        "transitions.walkers=16", "transitions.equilibration_steps=200", "transitions.spacing_steps=100",
        "transitions.max_steps=20000", "transitions.frame_every=1",
    )  # fmt: skip
    done = run_cli("run", "mueller_brown", "-o", tmp_path / "run", "--seed", "1", *settings(changes))
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    found, answer = summary["transitions"], summary["answer"]
    assert found["no_rates_because"] is None, found
    ratio = answer["rate_a_to_b"]["value"] / answer["rate_b_to_a"]["value"]
    assert ratio == pytest.approx(found["population_b"] / found["population_a"], rel=1e-6)
    assert found["population_a"] + found["population_b"] == pytest.approx(1.0)
    assert abs(np.log(ratio) - np.log(_populations_by_quadrature())) < 1.0
    assert answer["rate_a_to_b"]["error"] < 0.6 * answer["rate_a_to_b"]["value"]
    assert done.stdout.startswith("barrier")
    assert "rate A to B" in done.stdout


def test_an_intermediate_that_holds_shots_is_named() -> None:
    """Müller-Brown has a third well on its way, at (-0.050, 0.467), which takes thousands of steps to leave."""
    file = find_system_file("mueller_brown")
    system = load_system(load_config(file), file.parent)
    saddle = np.array([-0.822, 0.624])
    ridge = Ridge(np.array([0.7, -0.7]) / 0.98**0.5, float(saddle @ [0.707, -0.707]), 0.2, np.zeros(2), saddle, 100.0)
    windows = ridge.windows()
    starts = np.tile(saddle, (len(windows), 4, 1))
    plan = ShotPlan(equilibration_frames=50, spacing_frames=50, shots=2, max_frames=400)
    recipe = replace(EngineRecipe.of(system, None, 1), time_step=4e-5)
    shots = shots_from(recipe, ridge_space(system), windows, starts, plan, 0, "lost", WorkerPool(1))
    assert shots.unfinished.mean() > 0.1
    found = gathering(system, shots)
    assert found is not None
    assert found.share > 0.4
    assert list(found.at) == ["x", "y"]
    assert list(found.at.values()) == pytest.approx([-0.05, 0.467], abs=0.2)
    assert np.linalg.norm(found.frame - list(found.at.values())) < 0.1
    assert shots.lost == pytest.approx(shots.stops[tuple(shots.losses.T)], abs=1e-6)
    some = shots.of_windows(np.array([1, 4]))
    assert some.lost == pytest.approx(some.stops[tuple(some.losses.T)], abs=1e-6)
    told = lost_shots(system, shots)
    assert "of these ends lie together near x " in told
    assert told.endswith("or name that place as a state, and take each step by itself")
    brief = replace(plan, max_frames=1)
    begun = shots_from(recipe, ridge_space(system), windows, starts, brief, 0, "lost", WorkerPool(1))
    assert gathering(system, begun) is None
    assert lost_shots(system, begun).endswith("connect the states: raise transitions.max_steps")
    side = np.where(np.arange(len(begun)) % 2, 1.0, -1.0)[:, None]
    wells = replace(
        begun,
        variables=saddle + 0.1 * side,
        stops=np.repeat(saddle + 0.9 * side, 2, axis=0).reshape(-1, 2, 2),
        ends=np.zeros_like(begun.ends),
        inside=np.zeros_like(begun.inside),
        lost=np.zeros((2 * len(begun), 2)),
    )
    two = gathering(system, wells)  # where a trajectory stopped depends on where it began, and is far from there
    assert two is not None
    assert two.share == pytest.approx(0.5, abs=0.05)
    longer = replace(plan, shots=1, max_frames=50_000)
    arrived = shots_from(recipe, ridge_space(system), windows, starts, longer, 0, "lost", WorkerPool(1))
    assert not arrived.unfinished.any()
    assert lost_shots(system, arrived) == ""


@pytest.mark.parametrize(
    ("life", "error", "inside", "expected"),
    [
        (1000.0, 0.2, 0.9, ""),
        (53.0, 0.2, 0.9, ""),
        (20.0, 0.2, 0.9, "a state is left after 20.00 ps and a transition takes 6.70: it is not metastable"),
        (1000.0, np.inf, 0.9, "ridge windows share no samples with the states"),
        (1000.0, 0.2, 0.0, "no free simulations stay in the states"),
    ],
)
def test_why_there_are_no_rates(life: float, error: float, inside: float, expected: str) -> None:
    weights = np.random.default_rng(0).uniform(0.5, 1.5, 300)
    ensemble = cast(ShotEnsemble, SimpleNamespace(weights=weights / weights.sum()))
    logs = np.log([1 / life, 1 / 2000.0])
    rates = Rates(logs, np.array([error, 0.1]), -9.0, np.array([0.5, 0.5]), 1.0, 0.0, 6.7, 0.1)
    told = why_not(ensemble, rates, (Stay(inside, 0.1), Stay(0.8, 0.1)), "ps")
    assert told.startswith(expected)
    assert bool(told) == bool(expected)


def test_a_channel_whose_top_was_sampled_needs_no_windows_of_its_own(copy_of_run: Callable[[str], Path]) -> None:
    out = copy_of_run("toy")
    with opened(RunFolder(out), Run(out).folder.config()) as context:
        system, model = context.system, load_denoiser(context)
        curve = next(iter(read_curves(out / "geodesic.npz", system.representation).values()))
        free, _, _ = free_walkers(system, 0)
        along, _ = windows_of_potential(system, curve, 0, 0)
    for pool, sampled in ((free, False), (free.joined(along), True)):
        assert covered(curve, model, solve(pool, system.representation), system) == sampled


@dataclass(frozen=True)
class _Probed:
    """Trajectories from points along x reach B as often as x lies near it."""

    system: System

    def probe(self, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
        return np.round(4 * np.clip(frames[:, 0], 0, 1)).astype(int), np.full(len(frames), 4), 160


@pytest.mark.parametrize(("in_the_middle", "there"), [(6.0, True), (5.0, True), (2.0, False)])
def test_no_ridge_stands_in_a_well_between_two_barriers(in_the_middle: float, there: bool) -> None:
    file = find_system_file("mueller_brown")
    x = np.linspace(0, 1, 41)
    points = np.stack([x, np.zeros(41)], axis=-1)
    height = np.interp(x, [0, 0.25, 0.5, 0.75, 1], [0.0, 6.0, in_the_middle, 5.5, 0.0])
    tube = Tube(points, points, np.full(41, 30.0), height)
    ridge, cost = ridge_by_probes(_Probed(load_system(load_config(file), file.parent)), points, x, points, tube)
    assert cost == 160
    assert (ridge is not None) == there
    if ridge is not None:
        assert ridge.direction == pytest.approx([1.0, 0.0])
        assert ridge.center == pytest.approx(0.5, abs=0.03)
        assert ridge.hold == 30.0
    assert ridge_by_samples(tube, load_system(load_config(file), file.parent)).center == pytest.approx(
        x[height.argmax()]
    )


def _populations_by_quadrature() -> float:
    """Of B over that of A, each with what lies nearer to it than to the other minimum along x - y."""
    x, y = np.meshgrid(np.linspace(-1.6, 1.3, 600), np.linspace(-0.5, 2.2, 600), indexing="ij")
    points = torch.from_numpy(np.stack([x, y], axis=-1).reshape(-1, 2))
    boltzmann = np.exp(-MuellerBrown().energy(points).numpy() / 15.0)
    in_b = (points[:, 0] - points[:, 1] > -0.5).numpy()
    return float(boltzmann[in_b].sum() / boltzmann[~in_b].sum())


def test_a_run_without_shots_says_so(copy_of_run: Callable[[str], Path]) -> None:
    summary = json.loads((copy_of_run("alanine") / "summary.json").read_text())
    assert summary["transitions"] == {}
    assert summary["answer"]["rate_a_to_b"] is None
