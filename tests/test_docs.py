"""The Python of the documentation runs as it stands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parent.parent / "docs"
BLOCKS = [(file.name, block) for file in sorted(DOCS.glob("*.md")) for block in re.findall(
    r"```python\n(.*?)```", file.read_text(encoding="utf-8"), re.DOTALL)]  # fmt: skip


@pytest.mark.parametrize(("file", "block"), BLOCKS, ids=[file for file, _ in BLOCKS])
def test_block_runs(file: str, block: str, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", block], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert "False" not in done.stdout  # geodesics converge


def test_there_are_blocks() -> None:
    assert BLOCKS


@pytest.mark.parametrize("notebook", sorted((DOCS / "notebooks").glob("*.py")), ids=lambda file: file.stem)
def test_notebook_runs(notebook: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "SPACETIME_TPS_FAST": "1"}
    done = subprocess.run(
        [sys.executable, notebook], capture_output=True, text=True, cwd=tmp_path, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.glob("runs/*/report.html"))
    assert "report.html" in done.stdout
