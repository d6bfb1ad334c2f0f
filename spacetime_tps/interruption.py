"""A wish to stop (Ctrl-C, SIGTERM) that no library swallows.

Python turns a signal into an exception at whatever line is running. Some libraries catch every exception while they are
imported, and callbacks from compiled code drop them. So the wish is remembered too, and asked for between steps.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

EXIT_CODE = 130
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_wanted = False
_held = 0


def watch() -> None:
    """From now on a signal raises KeyboardInterrupt, and is remembered."""
    global _wanted
    _wanted = False
    for number in _SIGNALS:
        signal.signal(number, _interrupt)


def raise_if_interrupted() -> None:
    """Raise what was swallowed.

    Raises:
        KeyboardInterrupt: a signal came since ``watch`` was called.
    """
    if _wanted:
        raise KeyboardInterrupt


def was_interrupted() -> bool:
    """Whether a signal came since ``watch`` was called, whatever has become of its exception."""
    return _wanted


@contextmanager
def held_back() -> Iterator[None]:
    """A signal inside is raised at the end, for calls that turn an exception into another, as ``zipfile`` does.

    Raises:
        KeyboardInterrupt: a signal came.
    """
    global _held
    if threading.current_thread() is not threading.main_thread():  # signals are not its business
        yield
        return
    _held += 1
    try:
        yield
    finally:
        _held -= 1
    raise_if_interrupted()


@contextmanager
def leaving_at_once() -> Iterator[None]:
    """While modules are imported nothing has begun: a signal ends the process on the spot."""
    before: list[tuple[int, Callable[..., object] | int | None]] = [(n, signal.getsignal(n)) for n in _SIGNALS]
    leave_at_once()
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)


def leave_at_once() -> None:
    """From now on a signal ends the process on the spot."""
    for number in _SIGNALS:
        signal.signal(number, _leave)


def _interrupt(number: int, frame: FrameType | None) -> None:
    global _wanted
    _wanted = True
    if not _held:
        raise KeyboardInterrupt


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    os.write(2, b"Error: Interrupted; nothing had begun.\n")
    os._exit(EXIT_CODE)
