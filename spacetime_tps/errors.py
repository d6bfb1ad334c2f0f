"""The one exception a user is meant to read."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


class UserError(Exception):
    """Bad input or circumstances, told in one sentence: what, where, what was expected, what to do.

    The command line prints the message without a traceback and exits with code 1.
    """


class DamagedFileError(UserError):
    """A file of our own is missing or cannot be what was written: nothing should go on without it."""


def one_line(text: str) -> str:
    """A message as one line: what breaks a line or cannot be printed is shown escaped."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether a library could not get the memory it asked for; torch raises a RuntimeError then."""
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError) and bool(re.search("allocate memory|out of memory", str(error)))


_SAYS_NOTHING = (IndexError, KeyError, AttributeError, TypeError, StopIteration)
"""What a parser raises that met the end of a file, or something else than it took for granted."""


def reason_of(error: Exception) -> str:
    """The first sentence of a library's message, to stand inside one of ours."""
    if isinstance(error, _SAYS_NOTHING):
        return "it is incomplete or malformed"
    text = " ".join(str(error).split())
    return re.split(r"[.!?](?:\s|$)", text)[0] if text else type(error).__name__


@contextmanager
def plain_errors() -> Iterator[None]:
    """For scripts: end with the sentence of an error that a user is meant to read, not with its traceback."""
    try:
        yield
    except (UserError, OSError) as error:
        raise SystemExit(f"Error: {error}") from error


@contextmanager
def explained(what: str, advice: str = "") -> Iterator[None]:
    """Quietly call a library whose parsers raise whatever a malformed input provokes; tell it in one sentence.

    Args:
        what: that went wrong; the library's reason follows in brackets.
        advice: what to do about it.

    Raises:
        UserError: the library raised anything.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{what} ({reason_of(error)}){'; ' if advice else ''}{advice}.") from error
