"""The Python of the documentation runs: with tiny settings, and by ``make docs-test`` as it stands."""

from __future__ import annotations

import contextlib
import io
import os
import re
from pathlib import Path

import pytest

from tests.conftest import TINY_ALANINE, TINY_SHOTS, TINY_TOY

ROOT = Path(__file__).parent.parent
WHOLE = "SPACETIME_TPS_WHOLE_DOCS" in os.environ
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCKS = {
    block: page.name
    for page in PAGES
    for block in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    if "runs/alanine_dipeptide/paths" not in block  # of `make demo`
}


SHORTER = {
    "mueller_brown": TINY_TOY,
    "alanine_dipeptide": (
        *TINY_ALANINE, *TINY_SHOTS, "shooting.chains=2", "shooting.steps=20", "shooting.burn_in=4",
        "shooting.keep_every=4", "committor.frames=3", "committor.shots=2",
    ),
    "systems/mine": TINY_ALANINE,
}  # fmt: skip


def _shorter(code: str) -> str:
    """The same calls with settings that take seconds."""
    for system, changes in SHORTER.items():
        begun = rf'(Run\.new\("{system}", .*)preset="standard"'
        code = re.sub(begun, rf'\1preset="quick", changes={list(changes)}', code)
    assert 'preset="standard"' not in code
    return code.replace('"--minutes", "2"', '"--minutes", "0.1"')


def _printed(code: str) -> str:
    """What the code prints in the working folder."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code if WHOLE else _shorter(code), "<documentation>", "exec"), {"__name__": "__main__"})
    return printed.getvalue()


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("block", BLOCKS, ids=list(BLOCKS.values()))
def test_block_runs(block: str) -> None:
    printed = _printed(block)
    assert printed.strip()
    assert "False" not in printed  # geodesics converge


def test_every_page_with_code_is_seen() -> None:
    assert {"quickstart.md", "geometry.md"} <= set(BLOCKS.values())


@pytest.mark.parametrize("notebook", sorted((ROOT / "docs/notebooks").glob("*.py")), ids=lambda file: file.stem)
def test_notebook_runs(notebook: Path, tmp_path: Path) -> None:
    code = notebook.read_text(encoding="utf-8")
    assert 'preset="standard"' in code
    printed = _printed(code)
    assert list(tmp_path.glob("runs/*/report.html"))
    assert "report.html" in printed
