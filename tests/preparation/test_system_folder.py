"""A system folder is there whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spacetime_tps.preparation import system_folder


class Killed(BaseException):
    pass


def test_a_kill_leaves_no_half_of_a_system_in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    renames = 0

    def counting(*_: Any) -> None:
        nonlocal renames
        renames += 1
        if renames == 2:
            raise Killed
        replace(*_)

    replace = Path.replace
    for name in ("load_system", "load_config"):
        monkeypatch.setattr(system_folder, name, lambda *_: None)
    monkeypatch.setattr(system_folder, "pdb_text", lambda *_: "END\n")
    monkeypatch.setattr(Path, "replace", counting)
    output = tmp_path / "system"
    output.mkdir()
    topology: Any = None
    try:
        system_folder.write_folder(output, topology, np.zeros((2, 1, 3)), "text", {})
    except Killed:
        assert not any(output.iterdir())
    else:
        assert sorted(file.name for file in output.iterdir()) == ["a.pdb", "b.pdb", "system.yaml"]
