"""Ways in which a file of a stranger could run a program, each with the proof that it does by itself and not here."""

from __future__ import annotations

from pathlib import Path

import pytest

from spacetime_tps.cli.main import main
from spacetime_tps.stages import RunFolder
from spacetime_tps.systems import load_config
from spacetime_tps.untrusted.trust import trusted, trusting
from tests.conftest import refusal, run_cli
from tests.oracles import is_one_sentence
from tests.untrusted.strangers import ENDS, OWN, is_system, plant, proofs

WAYS = list(proofs(Path("marker")))


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / "marker"


@pytest.mark.parametrize("way", WAYS)
def test_it_runs_where_files_are_trusted_and_only_there(way: str, marker: Path, tmp_path: Path) -> None:
    file = plant(tmp_path / "theirs", proofs(marker)[way])
    said = refusal("config", file)
    assert f"theirs/{OWN} holds a" in said
    assert "if you wrote this file yourself, give --trust" in said
    assert is_one_sentence(said.removeprefix("Error: ")), said
    assert not marker.exists()
    done = run_cli("config", "--trust", file)
    assert marker.exists()
    assert "trust" not in done.stdout
    marker.unlink()
    refusal("config", file)
    assert not marker.exists()


@pytest.mark.parametrize("way", WAYS)
def test_it_does_not_run_in_a_stranger_s_run_folder(way: str, marker: Path, tmp_path: Path) -> None:
    file = plant(tmp_path / "theirs", proofs(marker)[way])
    run = RunFolder(tmp_path / "run")
    with trusting(), run.locked():
        run.begin(load_config(file), file.parent, resume=False, overwrite=False)
    (run / "summary.json").write_text("{}")
    marker.unlink(missing_ok=True)
    for command in (("report", run.path), ("distance", *ENDS, "--run", run.path)):
        assert "give --trust" in refusal(*command)
        assert not marker.exists()
    assert not any("trust" in path.read_text(errors="replace") for path in run.path.rglob("*.yaml"))


@pytest.mark.parametrize("way", WAYS)
def test_it_does_not_run_in_init(way: str, marker: Path, tmp_path: Path) -> None:
    text = proofs(marker)[way]
    own = tmp_path / OWN
    own.write_text(text)
    described = ("--system", own) if is_system(text) else ("--forcefield", "amber14-all.xml", "--forcefield", own)
    assert "give --trust" in refusal("init", *ENDS, "-o", tmp_path / "mine", *described)
    assert not marker.exists()
    assert not (tmp_path / "mine").exists()


def test_every_verb_has_the_flag() -> None:
    for verb in main.list_commands(None):
        command = main.get_command(None, verb)
        assert any("--trust" in option.opts for option in command.params), verb


def test_trust_ends_with_its_block() -> None:
    with trusting():
        with trusting(False):
            assert trusted()
        assert trusted()
    assert not trusted()
    with pytest.raises(ValueError, match="stops"), trusting():
        raise ValueError("stops")
    assert not trusted()
