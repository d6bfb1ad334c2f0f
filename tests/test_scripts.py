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


@pytest.mark.parametrize(
    ("made", "given", "told"),
    [
        ({}, ["chosen.yaml"], "covered.json cannot be read as JSON; write it with --cover"),
        ({"covered.json": '{"a'}, ["chosen.yaml"], "covered.json cannot be read as JSON; write it with --cover"),
        ({"covered.json": "{}"}, ["chosen.yaml"], "times.xml cannot be read as XML; write it with --cover"),
        ({"covered.json": "{}", "times.xml": "<a/>"}, ["none.yaml"], "none.yaml is no list of faults"),
        ({"covered.json": "{}", "times.xml": "<a/>"}, ["run.py"], "run.py is no list of faults"),
        ({"covered.json": "{}", "times.xml": "<a/>", "chosen.json": "["}, ["chosen.yaml"], "delete it to begin anew"),
        ({"covered.json": "{}", "times.xml": "<a/>"}, ["chosen.yaml", "--first", "no"], "no cannot be read as JSON"),
    ],
)
def test_faults_are_refused_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: dict[str, str], given: list[str], told: str
) -> None:
    script = next(script for script in SCRIPTS if script.parts[-2:] == ("faults", "run.py"))
    for name, text in made.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(sys, "argv", [str(script), str(tmp_path), str(script.parent / given[0]), *given[1:]])
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(str(script), run_name="__main__")
    assert told in str(caught.value)
    assert is_one_sentence(str(caught.value))
