"""Systems, potentials and denoisers that other packages bring, by their entry points; loaded when they are used.

Only installed packages count: those whose metadata lie in a folder of Python's path other than the working folder.
Python puts that folder on its path for ``python -c`` and ``python -m``, and a stranger's folder could hold metadata
that name any program. Folders that a person names in ``PYTHONPATH``, and editable installations, are as good as
site-packages.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import EntryPoint, distributions
from typing import Any

from spacetime_tps.errors import UserError

SYSTEMS, POTENTIALS, DENOISERS = "systems", "potentials", "denoisers"


def installed(group: str) -> list[EntryPoint]:
    """Entry points of a group that installed packages bring; of a package that is there twice, the first counts."""
    found: list[EntryPoint] = []
    seen = set()
    for distribution in distributions(path=_path()):
        points = distribution.entry_points.select(group=group)
        if points and (name := distribution.metadata["Name"]) not in seen:
            seen.add(name)
            found += points
    return found


def imported(point: EntryPoint) -> Any:
    """The object of an entry point, imported from anywhere but the working folder."""
    with _without_working_folder():
        return point.load()


def _path() -> list[str]:
    """Python's path without the working folder."""
    try:
        here = os.path.realpath(os.getcwd())
    except OSError:  # it is gone
        here = ""
    return [entry for entry in sys.path if entry and os.path.realpath(entry) != here]


@contextmanager
def _without_working_folder() -> Iterator[None]:
    kept = list(sys.path)
    sys.path[:] = _path()
    try:
        yield
    finally:
        sys.path[:] = kept


def _found(kind: str) -> dict[str, EntryPoint]:
    return {point.name: point for point in installed(f"spacetime_tps.{kind}")}


def known(kind: str) -> list[str]:
    """Names of all that are installed, in order; none of them is imported."""
    return sorted(_found(kind))


def load(kind: str, name: str) -> Any:
    """The object behind a name.

    Args:
        kind: ``SYSTEMS``, ``POTENTIALS`` or ``DENOISERS``.
        name: of the entry point.

    Raises:
        UserError: there is none of that name, or its package cannot be imported.
    """
    points = _found(kind)
    if name not in points:
        there = f"installed are {', '.join(sorted(points))}" if points else "none is installed"
        raise UserError(f"No package brings {name!r} under spacetime_tps.{kind}; {there}.")
    try:
        return imported(points[name])
    except Exception as error:  # a plugin may fail in any way while it is imported
        raise UserError(
            f"The plugin {name!r} (spacetime_tps.{kind}, {points[name].value}) cannot be loaded: {error}."
        ) from error
