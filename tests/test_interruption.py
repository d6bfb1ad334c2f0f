"""A signal is not lost, whatever the code that it meets does with exceptions."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spacetime_tps.files import write_arrays, write_text
from spacetime_tps.interruption import EXIT_CODE, leaving_at_once, raise_if_interrupted, was_interrupted, watch
from spacetime_tps.parallel import WorkerPool

SWALLOWED = """
import os, signal
from spacetime_tps.interruption import leaving_at_once
with leaving_at_once():
    try:
        os.kill(os.getpid(), signal.{name})
    except BaseException:
        pass
print("went on")
"""


@pytest.fixture
def swallowed(request: pytest.FixtureRequest) -> Iterator[None]:
    """A signal came, and a library dropped the exception."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    watch()
    with suppress(KeyboardInterrupt):
        os.kill(os.getpid(), request.param)
    yield
    watch()
    for number, handler in before.items():
        signal.signal(number, handler)


both = pytest.mark.parametrize("swallowed", [signal.SIGINT, signal.SIGTERM], indirect=True)


@both
@pytest.mark.usefixtures("swallowed")
def test_a_swallowed_signal_ends_the_next_step(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        raise_if_interrupted()
    with pytest.raises(KeyboardInterrupt):
        write_text(tmp_path / "a.txt", "a")
    with WorkerPool(1) as pool, pytest.raises(KeyboardInterrupt):
        pool.map(abs, [(1,)])
    assert list(tmp_path.iterdir()) == []


def test_without_a_signal_nothing_is_raised(tmp_path: Path) -> None:
    raise_if_interrupted()
    write_text(tmp_path / "a.txt", "a")
    assert (tmp_path / "a.txt").read_text() == "a"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_an_archive_is_written_stays_what_it_is(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """``zipfile`` would raise ValueError in its place, and print another from ``__del__``."""

    def interrupted(self: zipfile.ZipFile, *arguments: Any, **settings: Any) -> Any:
        handle = opened(self, *arguments, **settings)
        os.kill(os.getpid(), number)
        return handle

    opened, before = zipfile.ZipFile.open, {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    watch()
    try:
        monkeypatch.setattr(zipfile.ZipFile, "open", interrupted)
        with pytest.raises(KeyboardInterrupt):
            write_arrays(tmp_path / "a.npz", x=np.arange(3))
        assert was_interrupted()
    finally:
        watch()
        for n, handler in before.items():
            signal.signal(n, handler)
    assert list(tmp_path.iterdir()) == []
    gc.collect()
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_while_modules_are_imported_a_signal_ends_the_process(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SWALLOWED.format(name=name)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (EXIT_CODE, "", "Error: Interrupted; nothing had begun.\n")


def test_handlers_come_back_after_the_imports() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with leaving_at_once():
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] != before
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
