"""compare from the command line, on a toy and on a molecule."""

from __future__ import annotations

import csv
import importlib
import json
import math
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from spacetime_tps.analysis.comparison import EXACT, METHODS, MethodPaths
from spacetime_tps.config import RunConfig
from spacetime_tps.errors import UserError
from spacetime_tps.files import read_arrays, write_arrays
from spacetime_tps.stages import RunFolder, stages_to_run
from spacetime_tps.stages.context import Stage, run_stages
from spacetime_tps.systems import load_config
from tests.conftest import TINY_ALANINE, TINY_TOY, refusal, run_cli, settings

compare_module = importlib.import_module("spacetime_tps.stages.compare")  # the package has a function of that name
TOY = (
    *TINY_TOY, "system.dynamics.time_step=4.0e-5", "paths.release_steps=100",
    "shooting.chains=8", "shooting.steps=4", "shooting.burn_in=1",
    "shooting.keep_every=1", "shooting.temperature_factor=2.5",
    "comparison.shooting_steps=4", "comparison.seeded_steps=2", "comparison.ratchet_steps=4000",
    "comparison.unbiased_steps=5000", "comparison.unbiased_walkers=256", "comparison.examined_paths=4",
)  # fmt: skip
MOLECULE = (
    *TINY_ALANINE, "shooting.chains=2", "shooting.burn_in=5", "shooting.keep_every=5", "comparison.shooting_steps=40",
    "shooting.temperature_factor=3",
    "comparison.seeded_steps=5", "comparison.ratchet_steps=20000", "comparison.examined_paths=2",
    "comparison.quenched_paths=1",
)  # fmt: skip


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("compare") / "toy"
    done = run_cli("compare", "mueller_brown", "-o", out, "--seeds", "2", *settings(TOY))
    assert done.returncode == 0, done.stderr
    assert "| geodesic |" in done.stdout
    return out


def test_every_method_is_in_the_table_with_its_spread(toy: Path) -> None:
    summary = json.loads((toy / "compare.json").read_text())
    methods = [name for name in METHODS if name != "transitions"]  # transitions.shots is 0 here
    assert list(summary["methods"]) == methods
    for name, row in summary["methods"].items():
        assert row["force_evaluations"]["n"] == 2
        assert (summary["kinds"][name] == "exact") == (name in EXACT)
    assert summary["seeds"] == [0, 1]
    assert (toy / "figures/comparison.png").is_file()
    table = (toy / "compare.md").read_text().splitlines()
    assert [line.split(" | ")[0].strip("| ") for line in table if line.startswith("| ")][1:] == methods
    rows = list(csv.DictReader((toy / "compare.csv").open()))
    found = {(row["method"], row["metric"]): row for row in rows}
    w1 = summary["methods"]["line"]["w1"]
    assert float(found["line", "w1"]["mean"]) == pytest.approx(w1["mean"], rel=1e-6)


FIGURES: dict[str, Callable[[MethodPaths], float]] = {
    "paths": lambda paths: len(paths.arrived),
    "arrived": lambda paths: paths.arrived.mean() if len(paths.arrived) else 0.0,
    "max_free_energy": lambda paths: paths.max_free_energy[paths.arrived].mean(),
    "max_free_energy_std": lambda paths: paths.max_free_energy[paths.arrived].std(),
    "path_length": lambda paths: paths.length[paths.arrived].mean(),
}


def check_figures(folder: Path, seeds: Sequence[int]) -> None:
    """Every method's figures are the mean and the scatter over seeds of what its stored paths say."""
    methods = json.loads((folder / "compare.json").read_text())["methods"]
    for method, row in methods.items():
        stored = [MethodPaths.of(read_arrays(folder / f"seed_{seed}/compare/{method}.npz")) for seed in seeds]
        for key, figure in FIGURES.items():
            told = [paths for paths in stored if key in ("paths", "arrived") or paths.arrived.any()]
            values = np.array([value for value in map(figure, told) if np.isfinite(value)])
            assert (key in row) == bool(len(values)), (method, key)
            if key in row:
                assert row[key]["n"] == len(values)
                assert row[key]["mean"] == pytest.approx(values.mean()), (method, key)
            if len(values) > 1:
                assert row[key]["std"] == pytest.approx(values.std(ddof=1)), (method, key)


def test_figures_follow_from_the_paths(toy: Path) -> None:
    check_figures(toy, (0, 1))
    summary = json.loads((toy / "compare.json").read_text())["methods"]
    assert summary["tps_one_way"]["path_length"]["mean"] > 0
    assert "path_length" not in summary["geodesic"]  # annealed paths have no duration


def test_costs_include_sampling_where_a_method_needs_it(toy: Path) -> None:
    summary = json.loads((toy / "compare.json").read_text())
    run = [json.loads((toy / f"seed_{seed}/summary.json").read_text())["force_evaluations"] for seed in (0, 1)]
    sampled = np.mean([r["sample"] for r in run])
    methods = summary["methods"]
    assert methods["geodesic"]["force_evaluations"]["mean"] == np.mean([r["sample"] + r["paths"] for r in run])
    assert methods["training_transitions"]["force_evaluations"]["mean"] == sampled
    for name in ("line", "string"):
        own = methods[name]["own_force_evaluations"]["mean"]
        assert methods[name]["force_evaluations"]["mean"] == pytest.approx(own + sampled)
    for name in ("steered", "ratchet", "tps_one_way"):
        assert methods[name]["force_evaluations"]["mean"] == methods[name]["own_force_evaluations"]["mean"]


def test_unguided_paths_are_as_likely_as_free_dynamics_makes_them(toy: Path) -> None:
    summary = json.loads((toy / "compare.json").read_text())
    dt, kt = summary["definition"]["dynamics"]["time_step"], summary["definition"]["kt"]
    expected = -(1 + math.log(4 * math.pi * kt * dt))
    found = {name: row.get("log_likelihood_per_step", {}).get("mean") for name, row in summary["methods"].items()}
    assert found["unbiased"] == pytest.approx(expected, abs=0.05)
    still_hot = found["tps_one_way"]  # after four steps from paths at 2.5 times the temperature
    assert expected - 1.6 < still_hot < expected - 0.1
    assert found["geodesic"] is None


def test_it_resumes_and_is_the_same_again(toy: Path, tmp_path: Path) -> None:
    before = json.loads((toy / "compare.json").read_text())
    assert "not empty" in refusal("compare", "mueller_brown", "-o", toy, "--seeds", "2", *settings(TOY))
    for name in ("string", "tps_fixed"):
        (toy / f"seed_1/compare/{name}.npz").unlink()
    (toy / ".partial-killed.md").touch()
    done = run_cli("compare", "mueller_brown", "-o", toy, "--seeds", "2", "--resume", *settings(TOY))
    assert done.returncode == 0, done.stderr
    after = json.loads((toy / "compare.json").read_text())
    for method, row in before["methods"].items():
        for key, entry in row.items():
            if key != "wall_seconds":
                assert after["methods"][method][key] == entry, (method, key)
    assert "among the seeds" in refusal(
        "compare", "mueller_brown", "-o", toy, "--seeds", "1", "--resume", *settings(TOY)
    )
    (tmp_path / "notes.txt").write_text("mine")
    assert "no comparison wrote" in refusal("compare", "mueller_brown", "-o", tmp_path)


def test_damage_stops_it(toy: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(toy, copy)
    again = ("compare", "mueller_brown", "-o", copy, "--seeds", "2", "--resume", *settings(TOY))
    before = (copy / "compare.json").read_bytes()
    data = read_arrays(copy / "seed_0/compare/line.npz")
    del data["scalar_names"]
    with RunFolder(copy / "seed_0").locked(existing=True):
        write_arrays(copy / "seed_0/compare/line.npz", **data)
    assert "line.npz lacks the array" in refusal(*again)
    (copy / "seed_0/compare/line.npz").unlink()
    (copy / "seed_0/samples.npz").write_bytes(b"PK")
    assert "samples.npz is not as the stage 'sample' left it" in refusal(*again)
    assert (copy / "compare.json").read_bytes() == before
    short = settings((*TOY, "comparison.shooting_steps=1"))
    assert "comparison.shooting_steps is 1" in refusal("compare", "mueller_brown", "-o", tmp_path / "new", *short)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("sampled", [False, True])
def test_tables_stay_as_long_as_their_runs(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sampled: bool
) -> None:
    """Whether ``--overwrite`` fails before or after the first seed has become another run."""

    def failing(folders: list[RunFolder], configs: list[RunConfig], stages: dict[str, Stage], *_: object) -> None:
        if sampled:
            run_stages(folders[0], configs[0], {"sample": stages["sample"]}, None)
        raise UserError("no further")

    copy = tmp_path / "copy"
    shutil.copytree(toy, copy)
    monkeypatch.setattr(compare_module, "_potential_seeds", failing)
    config = load_config(copy / "seed_0/config.yaml")
    with pytest.raises(UserError, match="no further"):
        compare_module.compare(copy, config, copy / "seed_0", 2, stages_to_run(config), resume=False, overwrite=True)
    names = ("compare.md", "compare.csv", "compare.json", "figures/comparison.png", "seed_0/summary.json")
    assert [(copy / name).exists() for name in names] == [not sampled] * 5
    assert (copy / "seed_1/summary.json").read_bytes() == (toy / "seed_1/summary.json").read_bytes()
    assert not (copy / ".previous").exists()


def test_a_molecule_gets_every_figure(tmp_path: Path) -> None:
    done = run_cli("compare", "alanine_dipeptide", "-o", tmp_path / "out", "--seeds", "1", *settings(MOLECULE))
    assert done.returncode == 0, done.stderr
    methods = json.loads((tmp_path / "out/compare.json").read_text())["methods"]
    assert set(methods) >= {
        "geodesic",
        "line",
        "line_tent",
        "steered",
        "string",
        "ratchet",
        "tps_one_way",
        "tps_two_way",
    }
    assert "transitions: left out: the run has shot no paths (transitions.shots)" in done.stderr
    check_figures(tmp_path / "out", [0])
    for method in ("tps_one_way", "tps_two_way"):
        assert 0 < methods[method]["acceptance"]["mean"] <= 1
        assert 0 < methods[method]["path_length"]["mean"] < 10  # ps
        assert methods[method]["max_energy"]["mean"] > methods[method]["quenched_barrier"]["mean"]  # that has no heat
    assert methods["tps_one_way"]["below_bound"]["mean"] == 0.0
    assert methods["tps_one_way"]["quenched_barrier"]["mean"] > 20


def test_a_report_shows_it(toy: Path, tmp_path: Path) -> None:
    run = next(toy.glob("seed_*"))
    done = run_cli("report", run, "--compare", toy)
    assert done.returncode == 0, done.stderr
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "Against other methods (2 seeds, energies in kT)" in page
    for name in json.loads((toy / "compare.json").read_text())["methods"]:
        assert f"<td>{name}</td>" in page
    assert "than the geodesic" in page
    assert "holds no finished comparison" in refusal("report", run, "--compare", tmp_path)
