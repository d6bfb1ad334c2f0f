"""The command as a shell starts it, in a process that imports everything anew."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

COMMAND = [sys.executable, "-c", "from spacetime_tps.cli.main import main; main(prog_name='spacetime-tps')"]


def environment(box: Path) -> dict[str, str]:
    """With home and temporary folder in the sandbox."""
    return {**os.environ, "HOME": str(box / "home"), "TMPDIR": str(box / "tmp")}


def started(words: tuple[str, ...], box: Path) -> subprocess.Popen[bytes]:
    """The running command, in a session of its own."""
    out, err = ((box / f"tmp/.{name}").open("wb") for name in ("stdout", "stderr"))
    with out, err:
        return subprocess.Popen([*COMMAND, *words], cwd=box, env=environment(box), stdin=subprocess.DEVNULL,
                                stdout=out, stderr=err, start_new_session=True)  # fmt: skip
