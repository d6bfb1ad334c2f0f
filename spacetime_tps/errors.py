"""The one exception a user is meant to read."""


class UserError(Exception):
    """Bad input or circumstances, told in one sentence: what, where, what was expected, what to do.

    The command line prints the message without a traceback and exits with code 1.
    """


class DamagedFileError(UserError):
    """A file of our own is missing or cannot be what was written: nothing should go on without it."""
