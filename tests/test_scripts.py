"""Scripts are run by hand and rarely: at least what they import has to be there."""

from __future__ import annotations

import ast
import importlib
import runpy
import sys
from pathlib import Path

import pytest

from tests.oracles import is_one_sentence

SCRIPTS = sorted((Path(__file__).parents[1] / "scripts").rglob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_what_a_script_imports_of_the_package_is_there(script: Path) -> None:
    for node in ast.walk(ast.parse(script.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("spacetime_tps"):
            module = importlib.import_module(str(node.module))
            assert not [alias.name for alias in node.names if not hasattr(module, alias.name)], node.module


GOOD = {"covered.json": "{}", "times.xml": "<a/>"}
NO_LINES = "covered.json is missing or not what this script writes; write it with --cover"


@pytest.mark.parametrize(
    ("made", "given", "told"),
    [
        ({}, ["chosen.yaml"], NO_LINES),
        ({"covered.json": '{"a'}, ["chosen.yaml"], NO_LINES),
        ({"covered.json": '{"spacetime_tps/units.py": [1]}'}, ["chosen.yaml"], NO_LINES),
        (
            {"covered.json": "{}"},
            ["chosen.yaml"],
            "times.xml is missing or not what pytest writes; write it with --cover",
        ),
        ({**GOOD, "times.xml": '<a><testcase time="abc"/></a>'}, ["chosen.yaml"], "times.xml is missing or not what"),
        (GOOD, ["none.yaml"], "There is no list of faults"),
        (GOOD, ["run.py"], "run.py is no list of faults"),
        ({**GOOD, "chosen.json": '{"a": 1}'}, ["chosen.yaml"], "delete it to begin anew"),
        (GOOD, ["chosen.yaml", "--first", "no"], "give what an earlier run wrote"),
        (GOOD, ["--lines"], "There is no"),
    ],
)
def test_faults_are_refused_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: dict[str, str], given: list[str], told: str
) -> None:
    script = next(script for script in SCRIPTS if script.parts[-2:] == ("faults", "run.py"))
    for name, text in made.items():
        (tmp_path / name).write_text(text)
    words = [str(script.parent / word) if word.endswith((".yaml", ".py")) else word for word in given]
    monkeypatch.setattr(sys, "argv", [str(script), str(tmp_path), *words])
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(str(script), run_name="__main__")
    assert told in str(caught.value)
    assert is_one_sentence(str(caught.value))
