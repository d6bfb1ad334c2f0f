"""What an unknown key of a system file may have meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from functools import cache
from typing import Any, get_args

from pydantic import BaseModel

from spacetime_tps.config.run import RunConfig

_MISSPELT, _ALIKE, _SAME = 0.85, 0.6, 1.0
"""Likeness of keys."""
_SHORTEST_PART = 4
"""Characters of a part of a key that are worth a suggestion."""
_MOST_PLACES = 2
"""Sections that a suggestion may name."""

Section = type[BaseModel]


def suggestion(location: tuple[int | str, ...]) -> str:
    """The key of that section, or else the dotted keys of others, that may have been meant, in quotes; empty if none.

    Args:
        location: of the unknown key, as pydantic gives it: names of branches of unions among those of keys.
    """
    wanted = str(location[-1])
    here = {key for section in _sections_at(location[:-1]) for key in section.model_fields}
    if alike := _closest(wanted, here, _MISSPELT):
        return f"'{alike}'"
    if elsewhere := _elsewhere(wanted, _SAME):
        return elsewhere
    alike = _closest(wanted, here, _ALIKE) or _containing(wanted, here)
    return f"'{alike}'" if alike else _elsewhere(wanted, _MISSPELT)


def _elsewhere(wanted: str, likeness: float) -> str:
    """The places of the key most like it, in quotes; empty if there are none, or too many to name."""
    places = _all_places()
    found = places.get(_closest(wanted, set(places), likeness) or "", [])
    return " or ".join(f"'{place}'" for place in found) if len(found) <= _MOST_PLACES else ""


def _closest(wanted: str, keys: set[str], likeness: float) -> str | None:
    """The key most like it, case left aside."""
    found = difflib.get_close_matches(wanted.lower(), sorted(keys), n=1, cutoff=likeness)
    return found[0] if found else None


def _containing(wanted: str, keys: set[str]) -> str | None:
    """The only key of which it is a part, or which is a part of it."""
    wanted = wanted.lower()
    found = [key for key in keys if min(len(key), len(wanted)) >= _SHORTEST_PART and (wanted in key or key in wanted)]
    return found[0] if len(found) == 1 else None


def _sections_at(location: tuple[int | str, ...]) -> list[Section]:
    """The kinds of section that may stand at a place."""
    found: list[Section] = [RunConfig]
    for part in location:
        named = [section for section in found if part in (_kind_of(section), section.__name__)]
        within = [section.model_fields[part].annotation for section in found if part in section.model_fields]
        if named:
            found = named
        elif within:
            found = [section for annotation in within for section in _sections_in(annotation)]
    return found


def _kind_of(section: Section) -> str | None:
    """Its tag, by which it is told from other sections in its place."""
    field = section.model_fields.get("kind")
    return None if field is None else next((str(kind) for kind in get_args(field.annotation)), None)


def _sections_in(annotation: Any) -> Iterator[Section]:
    """All sections that a type holds, at any depth of unions and lists, but not within one another."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _sections_in(part)


@cache
def _all_places() -> dict[str, list[str]]:
    """Dotted keys of all sections that are no part of a list or table, by their last part."""
    places: dict[str, list[str]] = {}
    found: list[tuple[str, Section]] = [("", RunConfig)]
    while found:
        above, section = found.pop(0)
        for key, field in section.model_fields.items():
            place = f"{above}{key}"
            if place not in places.setdefault(key, []):
                places[key].append(place)
            found += [(f"{place}.", each) for each in _sections_in(field.annotation)]
    return places
