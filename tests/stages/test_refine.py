"""Refinement from free simulations in both states alone: rounds, what follows them, resuming, and bad input."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import mdtraj
import numpy as np
import pytest

from spacetime_tps.analysis.windows import remembered
from spacetime_tps.boltzmann.pool import Pool
from spacetime_tps.stages import RunFolder
from spacetime_tps.stages.budget import evaluations_after_rounds
from spacetime_tps.stages.context import opened, run_stages
from spacetime_tps.stages.next_round import curves_of
from spacetime_tps.stages.outlook import Forecast, forecast, nearest_places, relevant
from spacetime_tps.stages.sample import sample
from spacetime_tps.stages.train import load_denoiser
from spacetime_tps.systems import load_system
from tests.conftest import TINY_ALANINE, refusal, run_cli, settings

ADAPTIVE = "sampling={kind: adaptive, walkers: 2, time: 20 ps, discard_time: 1 ps, sample_interval: 0.1 ps}"
TINY = (
    *(each for each in TINY_ALANINE if not each.startswith("sampling.")), ADAPTIVE, "reference=null",
    "refine.rounds=2", "refine.channels=1", "refine.curve_points=60", "refine.steps_per_point=5",
    "refine.training_steps=40", "windows.free_walkers=2",
    "windows.spacing=1.5",
)  # fmt: skip

ANEW = settings(("refine.training_steps=41",))
"""Rounds with other settings are run anew; with the same ones those that are there are kept."""


@pytest.fixture(scope="module")
def refined(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("refined") / "run"
    done = run_cli("run", "alanine_dipeptide", "-o", folder, *settings(TINY))
    assert done.returncode == 0, done.stderr
    assert "within the states, nothing between them" in done.stderr
    assert "refine: " in done.stderr
    assert "accuracy          1 kJ/mol wanted, " in done.stdout
    return folder


def summary_of(folder: Path) -> dict:
    return json.loads((folder / "summary.json").read_text())


def test_two_files_without_a_sampler_that_crosses_give_paths(refined: Path) -> None:
    summary = summary_of(refined)
    rows = summary["refinement"]["rounds"]
    assert len(rows) == 2
    assert summary["refinement"]["stopped_because"] in ("refine.rounds", "accuracy")
    for row in rows:
        assert row["barrier_kj_mol"] == row["barriers_kj_mol"][row["chosen"]]
        assert row["windows"] >= len(row["ratios"]) == len(row["ratio_errors"]) > 0
        assert row["variance_ratio_max"] == pytest.approx(np.exp(np.abs(np.log(row["ratios"])).max()))
        assert row["force_evaluations"] > 2 * row["windows"] * (100 + 160)  # of the windows, beside paths
    assert rows[-1]["barrier_kj_mol"]["value"] > 5 * rows[-1]["barrier_kj_mol"]["error"] > 0
    assert summary["force_evaluations"]["refine"] == sum(row["force_evaluations"] for row in rows)
    assert "delta_f_states_kj_mol" not in summary["sampling"]
    path = mdtraj.load(str(refined / "paths/path_0000.dcd"), top=str(refined / "topology.pdb"))
    assert path.n_frames == 20
    assert (refined / "figures/refinement.png").is_file()


def test_later_stages_follow_the_last_round(refined: Path) -> None:
    last = json.loads((refined / "refined/round_2/stages/geodesic.json").read_text())["summary"]
    assert summary_of(refined)["geodesic"]["channels"] == last["channels"]
    natural = np.load(refined / "refined/round_2/geodesic.npz")["natural"][0]
    ends = json.loads((refined / "stages/paths.json").read_text())["summary"]["eta_ends"]
    assert np.array(ends) == pytest.approx(natural[[0, -1]], rel=1e-4)
    first = np.load(refined / "geodesic.npz")["natural"][0]
    assert not np.array_equal(first, natural)


def test_every_rounds_samples_stay_in_the_pool_and_the_last_windows_join_them(refined: Path) -> None:
    first, second, last = (
        np.load(refined / name)
        for name in ("refined/round_1/pool.npz", "refined/round_2/pool.npz", "window_samples.npz")
    )
    drawn = np.load(refined / "samples.npz")["features"]
    row = summary_of(refined)["refinement"]["rounds"][0]
    assert len(first["features"]) == len(drawn) + (row["windows"] - row["stuck"]) * 2 * 160 // 20
    assert np.allclose(first["features"][: len(drawn)], drawn, atol=1e-6)
    assert np.array_equal(second["features"][: len(first["features"])], first["features"])
    assert len(second["natural"]) > len(first["natural"])
    assert len(last["natural"]) > summary_of(refined)["windows"]["count"] + 4


def test_the_summary_says_how_accurate_the_answer_is(refined: Path) -> None:
    summary = summary_of(refined)
    answer, accuracy = summary["answer"], summary["accuracy"]
    assert accuracy["wanted"] == 1.0
    errors = [answer["barrier"]["error"], answer["delta_f_states"]["error"]]
    known = None not in errors and not remembered(summary["windows"])
    assert accuracy["reached"] == (max(errors) if known else None)
    assert accuracy["stopped_because"] == summary["refinement"]["stopped_because"]


def test_paths_begin_at_the_bottom_of_their_state(refined: Path) -> None:
    """And not on the flank of it where the given structure lies: c5.pdb lies above C7eq."""
    config, folder = RunFolder(refined).config(), refined
    ends, given = load_system(config, folder).structures, np.load(folder / "ends.npz")["structures"]
    assert np.array_equal(ends, given)
    torsions = load_system(config, folder).torsions
    seen, at = np.load(folder / "samples.npz")["features"], torsions.features(ends)
    in_a = np.load(folder / "torsions.npz")["walker"] < 2
    density = np.exp(np.exp(5.0) * (at @ seen[in_a].T - 2)).sum(axis=1)[0]
    likely = np.exp(np.exp(5.0) * (seen[in_a] @ seen[in_a].T - 2)).sum(axis=1)
    assert density > np.quantile(likely, 0.8)


def test_an_interrupted_refinement_goes_on_with_its_next_round_and_makes_a_damaged_one_again(
    refined: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    shutil.copytree(refined, out)
    (out / "stages/refine.json").unlink()
    (out / "refined").rename(out / "refining")
    (out / "refining/round_2/denoiser.npz").write_bytes(b"no weights")
    before = (out / "refining/round_1/denoiser.npz").stat().st_mtime_ns
    done = run_cli("refine", out, "--resume")
    assert done.returncode == 0, done.stderr
    assert "round_2 is not as it was left, and is made again" in done.stderr
    assert (out / "refined/round_1/denoiser.npz").stat().st_mtime_ns == before
    again, first = (json.loads((folder / "stages/refine.json").read_text()) for folder in (out, refined))
    assert again["summary"] == first["summary"]


def test_samples_drawn_again_begin_at_the_given_structures_again(refined: Path, tmp_path: Path) -> None:
    """And not at the bottoms that the first ones found."""
    out = tmp_path / "run"
    shutil.copytree(refined, out)
    folder = RunFolder(out)
    with folder.locked(existing=True):
        run_stages(folder, folder.config(), {"sample": sample}, again=True)
    for name, array in (("samples.npz", "features"), ("ends.npz", "structures")):
        assert np.array_equal(np.load(out / name)[array], np.load(refined / name)[array])


def test_a_new_geodesic_drops_the_refinement(refined: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(refined, out)
    quick = settings(("geodesic.channel=phi- psi-", "geodesic.steps=5", "geodesic.polish_steps=2"))
    done = run_cli("geodesic", out, "--overwrite", *quick)
    assert done.returncode == 0, done.stderr
    assert not (out / "refined").exists()
    assert not (out / "refinement.npz").exists()
    assert "'refine'" in refusal("paths", out)


@pytest.mark.parametrize(("budget", "because"), [("max_evaluations", "max_evaluations"), ("max_time", "max_time")])
def test_a_spent_budget_ends_the_rounds_and_is_told(refined: Path, tmp_path: Path, budget: str, because: str) -> None:
    out = tmp_path / "run"
    shutil.copytree(refined, out)
    run, rows = RunFolder(out), summary_of(refined)["refinement"]["rounds"]
    others = run.record("sample")["force_evaluations"] + evaluations_after_rounds(run.config())
    enough = {"max_evaluations": others + rows[0]["force_evaluations"] + 10_000, "max_time": "1 s"}[budget]
    done = run_cli("refine", out, "--overwrite", "--set", f"{budget}={enough}", *ANEW)
    assert done.returncode == 0, done.stderr
    told = {"max_evaluations": "would need about", "max_time": "max_time ended the rounds"}[budget]
    assert told in done.stderr
    found = run.record("refine")["summary"]
    assert found["stopped_because"] == because
    assert not found["converged"]
    assert len(found["rounds"]) == 1


def test_a_run_that_its_budget_ended_goes_on_to_what_one_go_gives(refined: Path, tmp_path: Path) -> None:
    out, rows = tmp_path / "run", summary_of(refined)["refinement"]["rounds"]
    run = RunFolder(refined)
    others = run.record("sample")["force_evaluations"] + evaluations_after_rounds(run.config())
    enough = str(others + rows[0]["force_evaluations"] + 10_000)
    command = ("run", "alanine_dipeptide", "-o", out, *settings(TINY))
    done = run_cli(*command, "--max-evaluations", enough)
    assert done.returncode == 0, done.stderr
    first = summary_of(out)
    assert first["refinement"]["rounds"] == rows[:1]
    assert first["accuracy"]["stopped_because"] == "max_evaluations"
    assert "reached; max_evaluations ended the rounds" in done.stdout
    before = (out / "refined/round_1/denoiser.npz").read_bytes()
    assert "not empty" in refusal(*command)
    done = run_cli(*command, "--resume")
    assert done.returncode == 0, done.stderr
    assert (out / "refined/round_1/denoiser.npz").read_bytes() == before
    whole, expected = summary_of(out), summary_of(refined)
    for part in ("refinement", "accuracy", "answer", "paths", "windows", "force_evaluations"):
        assert whole[part] == expected[part], part
    assert not (out / "refining").exists()
    assert "another configuration (windows.steps" in refusal(*command, "--resume", "--set", "windows.steps=400")


def test_a_budget_too_small_for_one_round_is_refused_and_nothing_is_lost(refined: Path) -> None:
    told = refusal("refine", refined, "--overwrite", "--set", "max_evaluations=20000", *ANEW)
    assert "too small for one round of windows" in told
    least = int(told.split("about ")[1].rstrip(".").replace(",", ""))
    spent = summary_of(refined)
    assert least > spent["force_evaluations"]["sample"] + spent["refinement"]["rounds"][0]["force_evaluations"]
    assert (refined / "refined/round_1/pool.npz").is_file()


def test_more_windows_stand_where_they_lower_the_errors_most(refined: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spacetime_tps.stages.outlook._SAMPLED", 1.0)  # of runs as small as this none is sampled
    with opened(RunFolder(refined), RunFolder(refined).config()) as context:
        here = replace(context, folder=RunFolder(refined / "refined/round_1"))
        pool, denoiser = Pool.load(refined / "refined/round_2/pool.npz"), load_denoiser(here)

        def at(accuracy: float) -> Forecast:
            config = context.config.model_copy(update={"accuracy": accuracy})
            return forecast(curves_of(here), denoiser, pool, replace(context.system, config=config))

        strict, loose = at(0.01), at(100.0)
        labels = {each.label for each in loose.found} | set(loose.left_out)
        assert labels | set(loose.dropped) == {label for label, *_ in curves_of(here)}
    assert not len(loose.more)
    assert not loose.needed
    assert [len(missing) > 0 for missing in loose.missing] == [not each.sampled for each in loose.found]
    assert [each.label for each in loose.found] == [label for label, *_ in curves_of(here) if label in labels][:1]
    assert strict.needed > 100 * len(strict.more)
    assert not strict.accurate
    assert len(strict.more)
    variance = strict.chosen.profile.variance_by_ensemble
    solution_pool, _ = relevant(curves_of(here), denoiser, pool, context.system)
    curve, share = nearest_places(strict.found, solution_pool, context.system)
    own = curve == 0
    sigma = np.sqrt(np.histogram(share[own], np.linspace(0, 1, 17), weights=(variance * solution_pool.counts)[own])[0])
    placed = np.histogram(strict.more, np.linspace(0, 1, 17))[0]
    assert placed[sigma > 0.5 * sigma.max()].sum() >= 0.5 * placed.sum()
    assert placed.sum() <= solution_pool.counts[own].sum() / (2 * 200 // 20) + 16


def test_bad_input_is_one_sentence(tiny_alanine_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert "nothing is refined" in refusal("refine", tiny_alanine_run, "--overwrite")
    assert (tiny_alanine_run / "summary.json").is_file()
    for changes, told in (
        (["accuracy=0 kJ/mol"], "expected 0.001 kJ/mol to 1000 kJ/mol"),
        (["accuracy=1"], "kJ/mol, kcal/mol"),
        (["accuracy=1 kJ/mol"], "refine.rounds of one or more"),
        (["max_evaluations=1000"], "that accuracy asks for"),
        (["accuracy=1 kJ/mol", "refine.rounds=1", "max_evaluations=0"], "a whole number from 1 to"),
        (["accuracy=1 kJ/mol", "refine.rounds=1", "max_time=5 ps"], "one of the units s, min, h"),
    ):
        assert told in refusal("run", "alanine_dipeptide", "-o", out, *settings(changes))
    assert "'accuracy': " in refusal("run", "alanine_dipeptide", "-o", out, "--accuracy", "-1 kJ/mol")
    assert "analytic potential" in refusal("run", "mueller_brown", "-o", out, "--set", "refine.rounds=2")
    assert "sampling.kind must be" in refusal("run", "mueller_brown", "-o", out, "--set", ADAPTIVE)
    assert "sample_interval" in refusal(
        "run", "alanine_dipeptide", "-o", out, "--set", "sampling={kind: adaptive, time: 1 ps, sample_interval: 2 ps}"
    )


def test_a_finished_run_is_refined_with_the_samples_of_its_sampler(tiny_alanine_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(tiny_alanine_run, out)
    tiny = [each for each in TINY if each.startswith("refine.") and "rounds" not in each]
    changes = settings(("refine.rounds=1", *tiny))
    assert "drops what came after" in refusal("refine", out, *changes)
    done = run_cli("refine", out, "--overwrite", *changes)
    assert done.returncode == 0, done.stderr
    assert not (out / "paths.npz").exists()
    pool = np.load(out / "refined/round_1/pool.npz")
    assert pool["confined"][0] == -2  # the sampler's own ensemble, before the windows
    assert (pool["confined"][1:] == -1).all()
    assert np.array_equal(pool["sampler_features"], pool["features"][: len(pool["sampler_features"])])
    row = json.loads((out / "stages/refine.json").read_text())["summary"]["rounds"][0]
    last = json.loads((out / "refined/round_1/stages/geodesic.json").read_text())["summary"]
    assert row["chosen"] in [channel["label"] for channel in last["channels"]]
    assert abs(row["delta_f_states_kj_mol"]["value"] - 9.1) < 6 * row["delta_f_states_kj_mol"]["error"]  # the reference
    for stage in ("paths", "windows", "transitions", "export"):
        done = run_cli(stage, out)
        assert done.returncode == 0, done.stderr
