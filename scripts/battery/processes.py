"""The command as a shell starts it, in a process that imports everything anew."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path

from harness import Outcome

_STARTS = ("spacetime_tps.cli.start", "spacetime_tps.cli.main")
"""Modules whose ``main`` the installed command calls, the newest first."""
_MODULE = next(name for name in _STARTS if importlib.util.find_spec(name) is not None)
COMMAND = [sys.executable, "-c", f"import sys; sys.argv[0] = 'spacetime-tps'; from {_MODULE} import main; main()"]


def environment(box: Path) -> dict[str, str]:
    """With home and temporary folder in the sandbox."""
    return {**os.environ, "HOME": str(box / "home"), "TMPDIR": str(box / "tmp")}


def started(words: tuple[str, ...], box: Path) -> subprocess.Popen[bytes]:
    """The running command, in a session of its own."""
    out, err = ((box / f"tmp/.{name}").open("wb") for name in ("stdout", "stderr"))
    with out, err:
        return subprocess.Popen([*COMMAND, *words], cwd=box, env=environment(box), stdin=subprocess.DEVNULL,
                                stdout=out, stderr=err, start_new_session=True)  # fmt: skip


def wait_for(process: subprocess.Popen[bytes], outcome: Outcome, seconds: float) -> None:
    """Note how a process ends; one that does not is killed with all that it started."""
    try:
        outcome.code = process.wait(seconds)
    except subprocess.TimeoutExpired:
        outcome.hung = True
        os.killpg(process.pid, signal.SIGKILL)
        outcome.code = process.wait()
