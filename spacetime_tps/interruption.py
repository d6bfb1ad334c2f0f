"""A wish to stop (Ctrl-C, SIGTERM) that no library swallows.

Python turns a signal into an exception at whatever line is running. Some libraries catch every exception while they are
imported, and callbacks from compiled code drop them. So the wish is remembered too, and asked for between steps.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

EXIT_CODE = 130
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_wanted = False


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


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    global _wanted
    _wanted = True
    raise KeyboardInterrupt


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    os.write(2, b"Error: Interrupted; nothing had begun.\n")
    os._exit(EXIT_CODE)
