"""``run.log``: what was done in a run folder, when, by which versions on which machine, and every warning."""

from __future__ import annotations

import logging
import os
import platform
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from spacetime_tps.parallel import available_cores

PACKAGES = ("spacetime-tps", "torch", "openmm", "mdtraj", "MDAnalysis", "numpy", "scipy", "pymbar", "pydantic")
"""On which results depend."""
ONLY_IN_LOG = {"only_in_log": True}
"""For ``extra`` of a message that the user reads elsewhere."""
_logger = logging.getLogger("spacetime_tps")
_FORMAT = "%(asctime)s %(levelname)-7s %(message)s"


class _File(logging.FileHandler):
    """A log that stops no run: on a full disk, lines are lost."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Close the file, whatever becomes of its last lines."""
        with suppress(OSError):
            super().close()


class _Onward(logging.Handler):
    """Hands what the package logs to the handlers of the application, from the level on that it asked for."""

    def emit(self, record: logging.LogRecord) -> None:
        """Pass the record to the root logger."""
        if record.levelno >= logging.root.getEffectiveLevel() and not hasattr(record, "only_in_log"):
            logging.root.handle(record)


def versions() -> dict[str, str | None]:
    """Versions of Python and of the packages that results depend on."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


@contextmanager
def logged(file: Path) -> Iterator[None]:
    """Append to a log, beside what the application shows, all that the package logs, from INFO on.

    Args:
        file: made if it is not there; if it cannot be written, nothing is logged.
    """
    try:
        handler = _File(file, encoding="utf-8")
    except OSError:
        yield
        return
    handler.setFormatter(_formatter())
    before = (_logger.level, _logger.propagate)
    onward = _Onward()
    _logger.addHandler(handler)
    if _logger.propagate:
        _logger.addHandler(onward)
    _logger.setLevel(logging.INFO)
    _logger.propagate = False
    try:
        _begin()
        yield
        _logger.info("ended")
    except BaseException as error:
        _logger.info("ended by %s", ": ".join(filter(None, (type(error).__name__, " ".join(str(error).split())))))
        raise
    finally:
        _logger.level, _logger.propagate = before
        _logger.removeHandler(handler)
        _logger.removeHandler(onward)
        handler.close()


def _formatter() -> logging.Formatter:
    formatter = logging.Formatter(_FORMAT, "%Y-%m-%dT%H:%M:%SZ")
    formatter.converter = time.gmtime
    return formatter


def _begin() -> None:
    """What is run, by what, and where."""
    _logger.info("command %s", shlex.join(sys.argv) if sys.argv and sys.argv[0] else "(Python)")
    _logger.info("versions %s", ", ".join(f"{name} {found}" for name, found in versions().items() if found))
    processor = platform.processor() or platform.machine()
    machine = f"{platform.node()}, {platform.platform()}, {processor}, {available_cores()} cores"
    _logger.info("machine %s; process %d", machine, os.getpid())
