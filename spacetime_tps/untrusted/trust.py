"""Whether the files that are read now are the user's own, so that code in them may run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from spacetime_tps.errors import UserError

_TRUSTED: ContextVar[bool] = ContextVar("trusted", default=False)
ADVICE = "if you wrote this file yourself, give --trust"


@contextmanager
def trusting(own: bool = True) -> Iterator[None]:
    """Let OpenMM run the code that stands in force fields and Systems, as it does by itself, inside this block.

    It is a switch around calls and not a setting, because a setting travels with the system file or the run folder, and
    who wrote these would decide. The command line sets it for ``--trust``; from Python write
    ``with trusting(): Run.new("mine", "runs/mine")``.

    Args:
        own: False leaves things as they are.
    """
    token = _TRUSTED.set(own or _TRUSTED.get())
    try:
        yield
    finally:
        _TRUSTED.reset(token)


def trusted() -> bool:
    """Whether the caller said so."""
    return _TRUSTED.get()


def refused(file: Path, what: str) -> UserError:
    """The error that names a file, and what in it is not read."""
    return UserError(f"{file} holds {what}; {ADVICE}.")
