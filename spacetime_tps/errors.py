"""The one exception a user is meant to read."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_LONGEST_WORD, _LONGEST_VALUE = 300, 60


class UserError(Exception):
    """Bad input or circumstances, told in one sentence: what, where, what was expected, what to do.

    The command line prints the message without a traceback and exits with code 1. Names of files and values may hold
    line breaks and other characters that a terminal obeys; they are shown escaped.
    """

    def __init__(self, message: str):
        super().__init__(printable(message))


def printable(text: str) -> str:
    """Text in one line, with characters that are not printable written as Python escapes them."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def shortened(text: str, length: int) -> str:
    """Printable text of about ``length`` characters, the middle of a longer one left out."""
    shown = text if len(text) <= length else f"{text[: 2 * length // 3]}...{text[-length // 3 :]}"
    return printable(shown)


def shown_value(value: Any) -> str:
    """A value of the user's as it stands in a message: in one line, and not all of a long one."""
    if isinstance(value, dict):
        return "a section of settings"
    if value is None:
        return "null"
    try:
        return shortened(repr(value), _LONGEST_VALUE)
    except ValueError:
        return "a number of thousands of digits"


def in_short(message: str) -> str:
    """A message without the middle of words that no line holds, such as an option of thousands of characters."""
    return re.sub(rf"\S{{{_LONGEST_WORD},}}", lambda word: shortened(word.group(), _LONGEST_WORD), message)


class DamagedFileError(UserError):
    """A file of our own is missing or cannot be what was written: nothing should go on without it."""


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
