"""A system folder is there whole or not at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spacetime_tps.errors import UserError
from spacetime_tps.preparation import system_folder
from spacetime_tps.preparation.system_file import HEADER
from spacetime_tps.settings import read_yaml
from spacetime_tps.systems import load_config


class Killed(BaseException):
    pass


@pytest.fixture
def writing(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Writes a system of given texts instead of molecules, and is killed before its n-th rename or removal."""

    def write(output: Path, word: str, extra: tuple[Path, ...] = (), until: int = 1000) -> None:
        steps = 0

        def counting(step: Callable[..., Any]) -> Callable[..., Any]:
            def counted(path: Path, *args: Any, **settings: Any) -> Any:
                nonlocal steps
                steps += 1
                if steps > until:
                    raise Killed
                return step(path, *args, **settings)

            return counted

        with monkeypatch.context() as patch:
            for name in ("load_system", "load_config"):
                patch.setattr(system_folder, name, lambda *_: None)
            patch.setattr(system_folder, "pdb_text", lambda *_: word)
            for name in ("replace", "unlink", "rename"):
                patch.setattr(Path, name, counting(getattr(Path, name)))
            topology: Any = None
            files = {file.name: file for file in extra}
            names = ", ".join(["a.pdb", "b.pdb", *files])
            text = f"{HEADER}\n# Files that belong to it, which --overwrite replaces: {names}\nname: {word}\n"
            system_folder.write_folder(output, topology, np.zeros((2, 1, 3)), text, files)

    return write


def test_a_kill_leaves_no_half_of_a_system_in_an_empty_folder(tmp_path: Path, writing: Callable[..., None]) -> None:
    for until in range(30):
        output = tmp_path / f"system_{until}"
        output.mkdir()
        try:
            writing(output, "one", until=until)
        except Killed:
            assert not output.exists() or not any(output.iterdir())
        else:
            assert sorted(file.name for file in output.iterdir()) == ["a.pdb", "b.pdb", "system.yaml"]
            break
    assert until > 3


def test_a_kill_never_mixes_two_systems(tmp_path: Path, writing: Callable[..., None]) -> None:
    """Before every rename and removal: one system, or the other, or a folder that says that it is neither."""
    for name in ("old.xml", "both.xml", "new.xml"):
        (tmp_path / name).write_text(name)
    old, both, new = (tmp_path / name for name in ("old.xml", "both.xml", "new.xml"))
    seen = set()
    for until in range(30):
        output = tmp_path / f"system_{until}"
        writing(output, "one", (old, both))
        try:
            writing(output, "two", (both, new), until=until)
        except Killed:
            pass
        else:
            seen.add("whole")
        names = {file.name for file in output.iterdir()} - {"system.yaml"}
        texts = {(output / f"{end}.pdb").read_text() for end in "ab"}
        if "unfinished" in (output / "system.yaml").read_text():
            seen.add("unfinished")
            with pytest.raises(UserError, match="run 'init' again with --overwrite"):
                load_config(output / "system.yaml")
        else:
            word = read_yaml(output / "system.yaml")["name"]
            seen.add(word)
            assert texts == {word}
            assert names == {"a.pdb", "b.pdb", "both.xml", "old.xml" if word == "one" else "new.xml"}
        system_folder.check_folder(output, [], overwrite=True)
        writing(output, "three")
        assert sorted(file.name for file in output.iterdir()) == ["a.pdb", "b.pdb", "system.yaml"]
        if "whole" in seen:
            break
    assert seen == {"one", "unfinished", "two", "whole"}
