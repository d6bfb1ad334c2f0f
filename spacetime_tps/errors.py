"""The one exception a user is meant to read."""

from __future__ import annotations

import re


class UserError(Exception):
    """Bad input or circumstances, told in one sentence: what, where, what was expected, what to do.

    The command line prints the message without a traceback and exits with code 1.
    """


class DamagedFileError(UserError):
    """A file of our own is missing or cannot be what was written: nothing should go on without it."""


def reason_of(error: Exception) -> str:
    """The first sentence of a library's message, to stand inside one of ours."""
    text = " ".join(str(error).split())
    return re.split(r"[.!?](?:\s|$)", text)[0] if text else type(error).__name__
