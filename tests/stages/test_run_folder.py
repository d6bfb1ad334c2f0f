"""What a run folder holds: damaged files are told, inputs copied once, what was chosen stays."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from spacetime_tps.files import read_arrays, read_json, write_arrays, write_json
from spacetime_tps.stages import STAGES, RunFolder
from spacetime_tps.stages.context import opened
from spacetime_tps.systems import find_system_file, load_config, load_system
from tests.conftest import TINY_ALANINE, refusal

UNREFINED = [name for name in STAGES if name != "refine"]


def test_overwrite_spares_what_the_new_run_reads(tiny_alanine_run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(tiny_alanine_run, copy)
    own = f"sampling={{kind: trajectories, files: ['{copy}/paths/*.dcd']}}"
    assert "--overwrite would delete" in refusal("run", "alanine_dipeptide", "-o", copy, "--overwrite", "--set", own)
    assert len(list((copy / "paths").glob("*.dcd"))) == 4


def test_force_fields_of_one_name_are_told_apart(tmp_path: Path) -> None:
    system = tmp_path / "mine"
    shutil.copytree(find_system_file("alanine_dipeptide").parent, system)
    for folder in ("x", "y"):
        (system / folder).mkdir()
        (system / folder / "ff.xml").write_text("<ForceField></ForceField>")
    both = "system.forcefield=[amber14/protein.ff14SB.xml, x/ff.xml, y/ff.xml]"
    assert "Two input files are called ff.xml" in refusal("run", system, "-o", tmp_path / "run", "--set", both)


@pytest.mark.parametrize(
    ("damaged", "stage"),
    [("samples.npz", "train"), ("denoiser.npz", "geodesic"), ("geodesic.npz", "paths"), ("paths.npz", "windows"),
     ("windows.npz", "transitions"), ("window_samples.npz", "transitions"), ("shots.npz", "export"),
     ("stages/paths.json", "export"),
     ("config.yaml", "export"), ("inputs/c5.pdb", "export")],
)  # fmt: skip
def test_damaged_run_folder_is_told(damaged: str, stage: str, tiny_alanine_run: Path, tmp_path: Path) -> None:
    for k, content in enumerate((b"", (tiny_alanine_run / damaged).read_bytes()[:100], b"{}")):
        copy = tmp_path / f"copy_{k}"
        shutil.copytree(tiny_alanine_run, copy)
        (copy / damaged).write_bytes(content)
        assert Path(damaged).stem in refusal(stage, copy, "--overwrite")
        assert (copy / "summary.json").is_file()


@pytest.mark.parametrize("stage", ["train", "paths", "windows"])
def test_an_emptied_record_is_told(stage: str, tiny_alanine_run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(tiny_alanine_run, copy)
    file = copy / f"stages/{stage}.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"summary": {}}))
    before = read_json(copy / "summary.json")
    for again in ("export", "transitions", "windows", "paths"):
        if UNREFINED.index(again) > UNREFINED.index(stage):
            assert f"run '{stage}' again with --overwrite" in refusal(again, copy, "--overwrite")
    assert read_json(copy / "summary.json") == before


def test_one_pdb_under_two_spellings_is_one_file(tmp_path: Path) -> None:
    system = find_system_file("alanine_dipeptide")
    own = "collective_variables.r={kind: rmsd, pdb: ./c5.pdb, atoms: heavy}"
    config = load_config(system, overrides=(own, *TINY_ALANINE))
    folder = RunFolder(tmp_path / "run")
    with folder.locked():
        folder.begin(config, system.parent, resume=False, overwrite=False)
    assert {file.name for file in (tmp_path / "run/inputs").iterdir()} >= {"c5.pdb", "c7ax.pdb"}
    assert load_system(folder.config(), folder.path).variables.names[-1] == "r"


def test_the_platform_that_was_asked_for_stays(tiny_alanine_run: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(tiny_alanine_run, tmp_path / "copy"))
    folder = RunFolder(copy)
    with folder.locked(existing=True), opened(folder, folder.config()) as context:
        write_json(copy / "stages/platform.json", {"name": "CPU"})
        assert context.dynamics().platform == "Reference"
    assert read_json(copy / "stages/platform.json")["name"] == "Reference"


@pytest.mark.parametrize("text", ['{"name": "CPU"}', "[]", "{}", ""])
def test_a_changed_record_of_the_platform_does_not_change_the_platform(
    text: str, tiny_alanine_run: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(tiny_alanine_run, tmp_path / "copy"))
    (copy / "stages/platform.json").write_text(text)
    assert "platform.json is damaged" in refusal("paths", copy, "--overwrite")
    assert (copy / "stages/platform.json").read_text() == text


def test_samples_of_another_width_or_kind_are_told(tiny_alanine_run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(tiny_alanine_run, copy)
    held = read_arrays(copy / "samples.npz")
    for features in (np.tile(held["features"], 2), held["features"].astype(str)):
        write_arrays(copy / "samples.npz", **{**held, "features": features})
        assert "samples.npz" in refusal("train", copy, "--overwrite")


def test_what_a_force_field_includes_comes_along(tmp_path: Path) -> None:
    system, run = tmp_path / "mine", RunFolder(tmp_path / "run")
    shutil.copytree(find_system_file("alanine_dipeptide").parent, system)
    (system / "sub").mkdir()
    (system / "ff.xml").write_text('<ForceField><Include file="sub/more.xml"/></ForceField>')
    (system / "sub/more.xml").write_text('<ForceField><Include file="last.xml"/></ForceField>')
    (system / "sub/last.xml").write_text("<ForceField></ForceField>")
    own = "system.forcefield=[amber14/protein.ff14SB.xml, ff.xml]"
    config = load_config(system / "system.yaml", overrides=(own, *TINY_ALANINE))
    with run.locked():
        run.begin(config, system, resume=False, overwrite=False)
    assert (run / "inputs/sub/last.xml").is_file()
    shutil.rmtree(system)
    assert load_system(run.config(), run.path).molecule is not None
