"""Systems, potentials and denoisers that other packages bring, by their entry points; loaded when they are used."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any

from spacetime_tps.errors import UserError

SYSTEMS, POTENTIALS, DENOISERS = "systems", "potentials", "denoisers"


def _found(kind: str) -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=f"spacetime_tps.{kind}")}


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
        return points[name].load()
    except Exception as error:  # a plugin may fail in any way while it is imported
        raise UserError(
            f"The plugin {name!r} (spacetime_tps.{kind}, {points[name].value}) cannot be loaded: {error}."
        ) from error
