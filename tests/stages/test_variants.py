"""Other geometries, denoisers, constraints and settings on the samples of a run; distances under its denoiser."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import torch

from spacetime_tps.diffusion.exact import SampleDenoiser
from spacetime_tps.files import read_arrays, read_json, write_arrays
from spacetime_tps.representations import Identity
from spacetime_tps.settings import read_yaml
from spacetime_tps.stages.geodesic import _warn_of_filled_ridge, _warn_of_high_ends
from spacetime_tps.stages.ground import Ground, heights_of_ends
from spacetime_tps.states import Ball, State
from spacetime_tps.systems import System, find_system_file
from tests.conftest import TINY_ALANINE, TINY_TOY, exploding_training, refusal, run_cli, settings

SYSTEMS = find_system_file("alanine_dipeptide").parent.parent


def succeed(*arguments: str | Path) -> None:
    done = run_cli(*arguments)
    assert done.returncode == 0, done.stderr


def rerun(
    base: Path, folder: Path, *arguments: str, then: Sequence[str] = ("paths", "windows", "transitions", "export")
) -> None:
    """A copy of ``base`` whose geodesic ran anew with ``arguments``, and the stages ``then`` after it."""
    shutil.copytree(base, folder)
    succeed("geodesic", folder, "--overwrite", *arguments)
    for stage in then:
        succeed(stage, folder)


@pytest.mark.parametrize("system", ["alanine", "toy"])
@pytest.mark.parametrize("geometry", ["score", "pullback", "linear"])
def test_other_geometries_run_through_the_chain(
    geometry: str, system: str, tiny_alanine_run: Path, tiny_toy_run: Path, tmp_path: Path
) -> None:
    base = tiny_alanine_run if system == "alanine" else tiny_toy_run
    slow = geometry == "pullback" and system == "alanine"
    one_channel = settings(("geodesic.channel=phi+ psi-",)) if slow else []
    then = ("paths", "windows", "transitions", "export") if system == "alanine" else ("paths",)
    rerun(base, tmp_path / "run", "--geometry", geometry, *one_channel, then=then)
    found = read_json(tmp_path / "run/stages/geodesic.json")["summary"]
    assert found["geometry"] == geometry
    assert read_yaml(tmp_path / "run/config.yaml")["geodesic"]["geometry"] == geometry
    data = np.load(tmp_path / "run/geodesic.npz")
    levels, positions = (0, 1) if system == "alanine" else (2, 0)
    for curve in data["coordinates"]:
        level, share = curve[:, levels], np.linspace(0.0, 1.0, len(curve))
        tent = level[0] + (level[len(level) // 2] - level[0]) * (1 - np.abs(2 * share - 1))
        assert level == pytest.approx(tent, abs=1e-9)
        if geometry == "linear":
            chord = np.linspace(curve[0, positions], curve[-1, positions], len(curve))
            assert curve[:, positions] == pytest.approx(chord, abs=1e-9)
    if geometry == "pullback":
        # Of the chosen channel: behind walls of 70 kJ/mol, latent points cannot be told apart in double precision.
        assert found["channels"][0]["deviation_from_straight"] < 1e-2


def test_constraints_of_a_new_geodesic(tiny_toy_run: Path, tmp_path: Path) -> None:
    avoid = "geodesic.avoid=[{ball: {x: -0.05, y: 0.467}, radius: 0.2}]"
    passed = "geodesic.waypoints=[{ball: {x: 0.3, y: 0.8}, radius: 0.2}]"
    rerun(tiny_toy_run, tmp_path / "run", *settings((avoid, passed, "geodesic.polish_rounds=8")))
    summary = read_json(tmp_path / "run/summary.json")
    channel = summary["geodesic"]["channels"][0]
    assert set(channel["constraint_violations"]) == {"trained_range", "low_variance", "avoid", "waypoint 1"}
    mean = np.load(tmp_path / "run/geodesic.npz")["mean"][0, :, :2]
    nearest = np.linalg.norm(mean - [0.3, 0.8], axis=1).min()
    assert channel["constraint_violations"]["waypoint 1"] == pytest.approx(nearest / 0.2 - 1, abs=1e-5)
    assert nearest < 0.25
    assert np.linalg.norm(mean - [-0.05, 0.467], axis=1).min() > 0.1
    assert 0 <= summary["paths"]["avoided_share"]["mean"] <= summary["paths"]["avoided_share"]["max"] < 0.1


def test_settings_that_a_finished_stage_has_used_are_kept(tiny_alanine_run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(tiny_alanine_run, folder)
    before = {name: (folder / name).read_bytes() for name in ("config.yaml", "summary.json", "geodesic.npz")}
    again = ("geodesic", folder, "--overwrite", "--set")
    assert "'sampling' were used by the stage 'sample'" in refusal(*again, "sampling.build_time=30 ps")
    denoiser = refusal(*again, "denoiser.steps=7")
    assert "'denoiser' were used by the stage 'train'" in denoiser
    assert f"spacetime-tps train {folder} --overwrite" in denoiser
    assert "'seed'" in refusal(*again, "seed=9")
    assert "did you mean 'nodes'" in refusal(*again, "geodesic.node=9")
    assert "'omega' is no collective variable" in refusal(*again, "geodesic.avoid=[{omega: [1 deg, 2 deg]}]")
    both = ("geodesic.avoid=[{phi: [1 deg, 2 deg]}]", "--geometry", "linear")
    assert "linear does not hold them" in refusal(*again, *both)
    assert "'geodesic.geometry'" in refusal(*again, "geodesic.geometry=flat")
    assert "leave out --set" in refusal("geodesic", folder, "--resume", "--geometry", "linear")
    assert "is finished" in refusal("geodesic", folder, "--geometry", "linear")
    assert {name: (folder / name).read_bytes() for name in before} == before


def contents(folder: Path) -> dict[str, bytes]:
    found = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "run.log"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def test_a_refused_change_leaves_the_run_as_it_was(tiny_alanine_run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(tiny_alanine_run, folder)
    before = contents(folder)
    again = ("geodesic", folder, "--overwrite", "--set")
    nowhere = "geodesic.avoid=[{phi: [0 deg, 1 deg], psi: [100 deg, 101 deg]}]"
    assert "No sample of this run lies in geodesic.avoid" in refusal(*again, nowhere)
    everywhere = "geodesic.avoid=[{phi: [-180 deg, 180 deg]}]"
    assert "holds the structure of state 'C5 and C7eq'" in refusal(*again, everywhere)
    assert "'cuda:77'" in refusal(*again, "hardware.device=cuda:77")
    assert "platform already" in refusal(*again, "hardware.platform=CPU")
    assert "expected -1 to 7: denoiser.log_snr_range" in refusal(*again, "geodesic.log_snr_end=8")
    with exploding_training():
        assert "not finite" in refusal("train", folder, "--overwrite", "--set", "denoiser.steps=7")
    assert contents(folder) == before
    (folder / "stages/geodesic.json").unlink()
    before = contents(folder)
    assert "'geodesic' of" in refusal("paths", folder, "--overwrite", "--set", "paths.count=6")
    assert contents(folder) == before


def test_a_new_geodesic_drops_what_came_after_the_old_one(tiny_alanine_run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(tiny_alanine_run, folder)
    (folder / "figures/mine.svg").write_text("precious")
    succeed("geodesic", folder, "--overwrite", *settings(("geodesic.points=20",)))
    gone = ("summary.json", "paths.npz", "paths.csv", "colvar.csv", "topology.pdb", "paths/path_0000.dcd")
    assert not any((folder / name).exists() for name in gone)
    assert (folder / "figures/mine.svg").read_text() == "precious"
    assert read_yaml(folder / "config.yaml")["geodesic"]["points"] == 20


def test_a_constraint_that_cannot_be_kept_is_told(tiny_toy_run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(tiny_toy_run, folder)
    far = "geodesic.waypoints=[{ball: {x: 50, y: 50}, radius: 0.1}]"
    done = run_cli("geodesic", folder, "--overwrite", "--set", far)
    assert done.returncode == 0
    assert "WARNING: the geodesic direct breaks its constraints: " in done.stderr
    assert "waypoint 1 by" in done.stderr


@pytest.fixture(scope="module")
def without_reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of alanine dipeptide as a user's own molecule: nothing is known about it."""
    folder = tmp_path_factory.mktemp("mine") / "system"
    shutil.copytree(SYSTEMS / "alanine_dipeptide", folder)
    (folder / "reference.npz").unlink()
    text = (folder / "system.yaml").read_text()
    (folder / "system.yaml").write_text(text.replace("reference: reference.npz\n", ""))
    return folder


@pytest.mark.parametrize("denoiser", ["potential", "exact"])
def test_a_molecule_without_a_reference(denoiser: str, without_reference: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    succeed("run", without_reference, "-o", out, "--denoiser", denoiser, *settings(TINY_ALANINE))
    summary = read_json(out / "summary.json")
    assert summary["reference"] == {"source": None}
    assert summary["health"]["exact_posterior"] == "samples"
    assert "own_barrier_kj_mol" in summary["geodesic"]["channels"][0]
    assert "barrier_kj_mol" not in summary["geodesic"]["channels"][0]
    if denoiser == "exact":
        health = summary["health"]
        assert health["ridge_variance_worst"] < 1e-6
        assert health["chosen_max_posterior_variance"] == pytest.approx(
            health["chosen_max_posterior_variance_exact"], rel=1e-6
        )


def test_three_torsions_are_kept_low_by_the_models_own_density(without_reference: Path, tmp_path: Path) -> None:
    """One channel, optimised far enough that the term shows: what it lowers is the climb of the model's own density."""
    third = ("representation.torsions=[phi, psi, theta]", "collective_variables.theta=['1:O', '1:C', '2:N', '2:CA']")
    grid = ("sampling.grid_points=24", "sampling.hill_width=40 deg")
    search = (
        "geodesic.channel=phi+ psi- theta+", "geodesic.starts=4", "geodesic.scout_steps=60", "geodesic.steps=150",
        "geodesic.polish_rounds=12", "geodesic.polish_steps=20", "geodesic.low_barrier.weight=10",
    )  # fmt: skip
    low, plain = tmp_path / "low", tmp_path / "plain"
    options = ("--stop-after", "geodesic", *settings((*TINY_ALANINE, *third, *grid, *search)))
    succeed("run", without_reference, "-o", low, *options)
    shutil.copytree(low, plain)
    succeed("geodesic", plain, "--overwrite", "--set", "geodesic.low_barrier=null")
    rows = [read_json(folder / "stages/geodesic.json")["summary"]["channels"] for folder in (low, plain)]
    assert [row["label"] for row in rows[0]] == ["phi+ psi- theta+"]
    barriers = [row[0]["own_barrier_kj_mol"] for row in rows]
    assert barriers[0] < barriers[1] - 1.0


def test_exact_denoiser_of_the_reference_grid(tmp_path: Path) -> None:
    out = tmp_path / "run"
    succeed("run", "mueller_brown", "-o", out, "--denoiser", "exact", *settings(TINY_TOY))
    summary = read_json(out / "summary.json")
    assert summary["denoiser"]["kind"] == "exact"
    assert summary["health"]["exact_posterior"] == "reference grid"
    assert summary["health"]["jacobian_asymmetry"] < 1e-9
    assert summary["health"]["negative_chord_fraction"] == 0.0
    assert max(summary["denoiser"]["rms_error_to_reference_by_log_snr"].values()) < 1e-9


def test_distances_between_structures(tiny_alanine_run: Path, tmp_path: Path) -> None:
    c5, c7ax = (SYSTEMS / "alanine_dipeptide" / name for name in ("c5.pdb", "c7ax.pdb"))
    twin = tmp_path / "twin.pdb"
    twin.write_bytes(c5.read_bytes())
    output = tmp_path / "distances.json"
    done = run_cli("distance", c5, c7ax, twin, "--run", tiny_alanine_run, "--log-snr-end", "4", "--json", output)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    table = json.loads(output.read_text())
    assert set(table) == {"labels", "distance", "log_snr_end"}
    assert table["labels"] == ["c5", "c7ax", "twin"]
    assert table["log_snr_end"] == 4
    matrix = np.array(table["distance"])
    assert np.array_equal(matrix, matrix.T)
    assert np.diag(matrix).tolist() == [0, 0, 0]
    assert matrix[0, 2] == 0
    assert matrix[0, 1] > 1
    assert matrix[1, 2] == pytest.approx(matrix[0, 1], rel=0.05)  # the tiny preset's optimiser stops early
    assert f"{matrix[0, 1]:.3f}" in done.stdout


def test_distance_spares_files_and_refuses_what_it_cannot_measure(tiny_alanine_run: Path, tmp_path: Path) -> None:
    c5, c7ax = (SYSTEMS / "alanine_dipeptide" / name for name in ("c5.pdb", "c7ax.pdb"))
    folder = tmp_path / "run"
    shutil.copytree(tiny_alanine_run, folder)
    before = contents(folder)
    both = ("distance", c5, c7ax, "--run", folder, "--json")
    assert "no matrix of distances" in refusal(*both, folder / "summary.json")
    assert "no matrix of distances" in refusal(*both, folder)
    assert "is not there" in refusal(*both, tmp_path / "no/such/folder.json")
    assert "given twice" in refusal("distance", c5, c5, "--run", folder)
    line = tmp_path / "line.pdb"
    rows = c5.read_text().splitlines(True)
    flat = [
        f"{row[:30]}{0.5 * k:8.3f}{0.0:8.3f}{0.0:8.3f}{row[54:]}" if row.startswith(("ATOM", "HETATM")) else row
        for k, row in enumerate(rows)
    ]
    line.write_text("".join(flat))
    assert "line.pdb is not a possible structure" in refusal("distance", c5, line, "--run", folder)
    line.write_text("".join(row[:50] + "\n" if row.startswith(("ATOM", "HETATM")) else row for row in rows))
    assert "ends before its coordinates" in refusal("distance", c5, line, "--run", folder)
    assert contents(folder) == before
    tensors = read_arrays(folder / "denoiser.npz")
    write_arrays(folder / "denoiser.npz", **{name: value * np.nan for name, value in tensors.items()})
    assert "denoiser.npz is not as the stage 'train' left it" in refusal("distance", c5, c7ax, "--run", folder)


def test_distance_says_what_it_lacks(tiny_alanine_run: Path, tiny_toy_run: Path, tmp_path: Path) -> None:
    c5, c7ax = (SYSTEMS / "alanine_dipeptide" / name for name in ("c5.pdb", "c7ax.pdb"))
    run = ("--run", tiny_alanine_run)
    assert "two PDB files" in refusal("distance", c5, *run)
    assert "not there" in refusal("distance", c5, tmp_path / "no.pdb", *run)
    assert "-1 to 7" in refusal("distance", c5, c7ax, *run, "--log-snr-end", "7.5")
    assert "-1 to 7" in refusal("distance", c5, c7ax, *run, "--log-snr-end", "nan")
    assert "analytic potential" in refusal("distance", c5, c7ax, "--run", tiny_toy_run)
    assert "not a run folder" in refusal("distance", c5, c7ax, "--run", tmp_path / "nothing")
    other = tmp_path / "other.pdb"
    other.write_text("".join(line for line in c5.read_text().splitlines(True) if " CB " not in line))
    assert "21 atoms" in refusal("distance", c5, other, *run)


def test_a_model_that_fills_the_ridge_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """24.5 kJ/mol by the model where one torsion alone climbs 41.4; 38 is let pass, and so is a grid's barrier."""
    system = cast(System, SimpleNamespace(kt=2.494, energy_unit="kJ/mol"))
    for surface, own, said in ((None, 24.5, True), (None, 38.0, False), (object(), 24.5, False)):
        caplog.clear()
        ground = cast(Ground, SimpleNamespace(surface=surface, promise={"phi+": 41.4 / 2.494}))
        _warn_of_filled_ridge("phi+", {"phi+": own}, ground, system)
        assert ("fill the ridge" in caplog.text) == said


def heights_by(points: np.ndarray, ends: tuple[float, float]) -> tuple[list[float], System]:
    """Of structures at ``ends`` in the states around 0 and 3, by samples at ``points``, shape (n, 1)."""
    line = Identity(1)
    statistics = torch.from_numpy(line.statistics(points))
    posterior = SampleDenoiser(line, statistics, torch.zeros(len(points), dtype=torch.float64))
    states = tuple(State(name, (Ball((0,), (center,), 1.0, None),)) for name, center in (("left", 0.0), ("right", 3.0)))
    system = cast(
        System,
        SimpleNamespace(
            representation=line,
            center_names=["x"],
            variables=SimpleNamespace(names=["x"]),
            states=states,
            structures=np.array(ends)[:, None],
            kt=2.5,
            energy_unit="kJ/mol",
        ),
    )
    return heights_of_ends(cast(Ground, SimpleNamespace(read=posterior)), system, 5.0), system


def test_an_end_above_the_bottom_of_its_state_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """Two Gaussian wells of width 0.3, the first entered at 0.8: 0.8^2 / 2 (0.3^2 + exp(-5)) above its bottom."""
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.normal(0, 0.3, (20_000, 1)), rng.normal(3, 0.3, (20_000, 1))])
    heights, system = heights_by(points, (0.8, 3.0))
    assert heights == pytest.approx([0.64 / 2 / (0.09 + np.exp(-5)), 0.0], abs=0.2)
    _warn_of_high_ends(heights, system)
    assert "state left lies 8." in caplog.text
    assert "right" not in caplog.text


def test_a_hole_of_the_samples_is_no_height(caplog: pytest.LogCaptureFixture) -> None:
    """A well that six samples visited, none of them at its structure, which is its bottom."""
    rng = np.random.default_rng(1)
    points = np.concatenate([rng.normal(0, 0.3, (20_000, 1)), rng.uniform(3.3, 3.9, (6, 1))])
    heights, system = heights_by(points, (0.0, 3.0))
    assert heights[0] == pytest.approx(0.0, abs=0.2)
    assert np.isnan(heights[1])
    _warn_of_high_ends(heights, system)
    assert "few samples lie near the structure of state right" in caplog.text
    assert "above the bottom of its state:" not in caplog.text
