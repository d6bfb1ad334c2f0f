"""The whole chain in representations that are fitted to the samples of the run."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from spacetime_tps import Run
from spacetime_tps.errors import UserError
from spacetime_tps.files import write_arrays
from spacetime_tps.stages import RunFolder
from tests.conftest import TINY_ALANINE

KINDS = {
    "cartesian": ("geodesic.low_variance=0.2 A", "geodesic.log_snr_end=3.5"),
    "tica": ("geodesic.low_variance=null", "representation.components=3", "representation.lag=0.4 ps"),
}


SHOTS = (
    "transitions.shots=60", "transitions.walkers=2", "transitions.equilibration_steps=20",
    "transitions.spacing_steps=20", "transitions.max_steps=3000",
)  # fmt: skip


@pytest.fixture(scope="module", params=sorted(KINDS))
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp(request.param) / "run"
    changes = (*TINY_ALANINE, *SHOTS, f"representation.kind={request.param}", *KINDS[request.param])
    made = Run.new("alanine_dipeptide", folder, seed=5, changes=changes)
    made.finish()
    return made


def test_the_chain_runs_to_its_report(run: Run) -> None:
    folder, summary = run.folder.path, run.summary
    assert len(run.transition_paths()) == 4
    assert summary["transitions"]["shots"] in (70, 140)  # of one ridge or of two
    assert 0 < len(list((folder / "ensemble").glob("path_*.dcd"))) <= min(16, summary["transitions"]["paths"])
    assert (folder / "report.html").is_file()
    assert not (folder / "plumed.dat").exists()
    fitted = np.load(folder / "representation.npz")
    assert np.load(folder / "samples.npz")["features"].shape[1] == fitted["axes"].shape[1]
    chosen = summary["geodesic"]["channels"][0]
    assert set(chosen["constraint_violations"]) >= {"trained_range", "pull"}
    assert {"phi", "psi"} == {word[:-1] for word in summary["geodesic"]["chosen"].split()}
    if summary["representation"] == "cartesian":  # along components of so few samples the torsions jump
        assert chosen["barrier_kj_mol"] > chosen["minimax_barrier_kj_mol"] - 0.5
    held = np.load(folder / "windows.npz")
    height = held["smoothed_free_energy"]
    climb = height - np.minimum.accumulate(height)
    assert summary["windows"]["barrier_kj_mol"]["value"] == pytest.approx(climb.max(), abs=0.01)
    ratios = held["measured_variance"] / held["predicted_variance"]
    assert [point["ratio"] for point in summary["windows"]["points"]] == pytest.approx(ratios)


@pytest.mark.parametrize("damage", ["missing", "not finite", "of another shape"])
def test_a_damaged_fit_is_told_by_name(run: Run, damage: str, tmp_path: Path) -> None:
    shutil.copytree(run.folder.path, tmp_path / "copy")
    file = tmp_path / "copy/representation.npz"
    arrays = {name: array for name, array in np.load(file).items() if array.dtype.kind == "f"}
    if damage == "missing":
        file.unlink()
    else:
        axes = arrays["axes"]
        with RunFolder(file.parent).locked(existing=True):
            write_arrays(file, **(arrays | {"axes": axes * np.nan if damage == "not finite" else axes[:-1]}))
    with pytest.raises(UserError, match=r"representation\.npz.*draw the samples again"):
        Run(tmp_path / "copy").export()
    assert (tmp_path / "copy/summary.json").is_file()


def test_tica_is_refused_before_anything_is_sampled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tica = ["representation.kind=tica", "geodesic.low_variance=null"]
    with pytest.raises(UserError, match="take less than half"):
        Run.new("alanine_dipeptide", tmp_path / "run", changes=[*tica, "representation.lag=4 ns"])
    with pytest.raises(UserError, match="shorter than sampling"):
        Run.new("alanine_dipeptide", tmp_path / "run", changes=[*tica, "representation.lag=0.001 ps"])
    with pytest.raises(UserError, match="take 'pca'"):
        Run.new("alanine_dipeptide", tmp_path / "run", changes=[*tica, "sampling={kind: trajectories, files: [a.dcd]}"])
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="needs deeptime"):
        Run.new("alanine_dipeptide", tmp_path / "run", changes=tica)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("refine.rounds=2", "need representation.kind 'torsions'"),
        ("geodesic.avoid=[{phi: [0 deg, 10 deg]}]", "need representation.kind 'torsions' or 'identity'"),
        ("geodesic.low_variance=10 deg", 'a length such as "0.3 A"'),
        ("representation.atoms=ca", "leave out atoms of the torsion 'phi'"),
    ],
)
def test_what_they_cannot_do_is_said(change: str, message: str, tmp_path: Path) -> None:
    changes = ["representation.kind=cartesian", "geodesic.low_variance=0.2 A", change]
    with pytest.raises(UserError, match=message):
        Run.new("alanine_dipeptide", tmp_path / "run", changes=changes).sample()
