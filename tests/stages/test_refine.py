"""Refinement from free simulations in both states alone: rounds, what follows them, resuming, and bad input."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import mdtraj
import numpy as np
import pytest

from tests.conftest import TINY_ALANINE, refusal, run_cli, settings

BASINS = "sampling={kind: basins, walkers: 2, time: 20 ps, discard_time: 1 ps, sample_interval: 0.1 ps}"
TINY = (
    *(each for each in TINY_ALANINE if not each.startswith("sampling.")), BASINS, "reference=null",
    "refine.rounds=2", "refine.channels=1", "refine.curve_points=60", "refine.steps_per_point=5",
    "refine.training_steps=40", "windows.free_walkers=2",
)  # fmt: skip


@pytest.fixture(scope="module")
def refined(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("refined") / "run"
    done = run_cli("run", "alanine_dipeptide", "-o", folder, *settings(TINY))
    assert done.returncode == 0, done.stderr
    assert "within the states, nothing between them" in done.stderr
    assert "refine: " in done.stderr
    return folder


def summary_of(folder: Path) -> dict:
    return json.loads((folder / "summary.json").read_text())


def test_two_files_without_a_sampler_that_crosses_give_paths(refined: Path) -> None:
    summary = summary_of(refined)
    rows = summary["refinement"]["rounds"]
    assert len(rows) == 2
    assert summary["refinement"]["converged"] == rows[-1]["converged"]
    for row in rows:
        assert row["barrier_kj_mol"] == row["barriers_kj_mol"][row["chosen"]]
        assert row["barrier_kj_mol"]["value"] > 5 * row["barrier_kj_mol"]["error"] > 0
        assert row["windows"] == len(row["ratios"]) == len(row["ratio_errors"])
        assert row["variance_ratio_max"] == pytest.approx(np.exp(np.abs(np.log(row["ratios"])).max()))
        assert row["force_evaluations"] > 2 * row["windows"] * (100 + 200)  # of the windows, beside paths and free runs
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


def test_every_rounds_samples_stay_in_the_pool(refined: Path) -> None:
    sizes = [len(np.load(refined / f"refined/round_{k}/pool.npz")["features"]) for k in (1, 2)]
    drawn = len(np.load(refined / "samples.npz")["features"])
    windows = [row["windows"] - row["stuck"] for row in summary_of(refined)["refinement"]["rounds"]]
    each = 2 * 200 // 20
    assert sizes == [drawn + windows[0] * each, drawn + sum(windows) * each]


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


def test_a_new_geodesic_drops_the_refinement(refined: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(refined, out)
    quick = settings(("geodesic.channel=phi- psi-", "geodesic.steps=5", "geodesic.polish_steps=2"))
    done = run_cli("geodesic", out, "--overwrite", *quick)
    assert done.returncode == 0, done.stderr
    assert not (out / "refined").exists()
    assert not (out / "refinement.npz").exists()
    assert "'refine'" in refusal("paths", out)


def test_bad_input_is_one_sentence(tiny_alanine_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert "nothing is refined" in refusal("refine", tiny_alanine_run, "--overwrite")
    assert (tiny_alanine_run / "summary.json").is_file()
    assert "analytic potential" in refusal("run", "mueller_brown", "-o", out, "--set", "refine.rounds=2")
    assert "sampling.kind must be" in refusal("run", "mueller_brown", "-o", out, "--set", BASINS)
    assert "sample_interval" in refusal(
        "run", "alanine_dipeptide", "-o", out, "--set", "sampling={kind: basins, time: 1 ps, sample_interval: 2 ps}"
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
