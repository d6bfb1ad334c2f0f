"""Suggestions for an unknown key of a system file. Each is tried first: only a key that is accepted is suggested."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, get_args

from pydantic import BaseModel, Tag, ValidationError

from spacetime_tps.config.run import RunConfig

_MISSPELT, _ALIKE, _SAME = 0.85, 0.6, 1.0
"""Likeness of keys."""
_SHORTEST_PART = 4
"""Characters of a part of a key that are worth a suggestion."""
_MOST_PLACES = 2
"""Sections that a suggestion may name."""

Section = type[BaseModel]
Location = Sequence[int | str]


def suggestion(location: Location, settings: dict[str, Any]) -> str:
    """The key that was probably meant, in quotes: of the same section, or the dotted key of another; empty if none.

    Args:
        location: of the unknown key, as pydantic gives it: names of branches of unions among those of keys.
        settings: that it stands in.
    """
    wanted = str(location[-1])
    sections, path = _resolved(location[:-1], settings)
    here = sorted({key for section in sections for key in section.model_fields})

    def own(keys: list[str]) -> str:
        fitting = (key for key in keys if _is_taken(settings, [*path, location[-1]], [*path, key]))
        return next((f"'{key}'" for key in fitting), "")

    known = wanted.lower() in _all_places()
    return (
        own(_close(wanted, here, _MISSPELT))
        or _elsewhere(wanted, [*path, location[-1]], settings, _SAME)
        or own(([] if known else _close(wanted, here, _ALIKE)) or _containing(wanted, here))
        or _elsewhere(wanted, [*path, location[-1]], settings, _MISSPELT)
    )


def _elsewhere(wanted: str, refused: Location, settings: dict[str, Any], likeness: float) -> str:
    """The places of the key most like it, in quotes; empty if there are none, or too many to name.

    Of a key that is only alike, those in the same section of the file's top.
    """
    places = _all_places()
    keys = _close(wanted, sorted(places), likeness)[:1]
    near = "" if likeness == _SAME or len(refused) == 1 else f"{refused[0]}."
    found = [
        place
        for key in keys
        for place in places[key]
        if place.startswith(near) and _is_taken(settings, refused, place.split("."))
    ]
    if len(found) > _MOST_PLACES:
        return ""
    return " or ".join(f"'{place}'" if "." in place else f"'{place}' outside of all sections" for place in found)


def _close(wanted: str, keys: list[str], likeness: float) -> list[str]:
    """The keys most like it, best first, case left aside."""
    return difflib.get_close_matches(wanted.lower(), keys, n=3, cutoff=likeness)


def _containing(wanted: str, keys: list[str]) -> list[str]:
    """The only key of which it is a part, or which is a part of it."""
    wanted = wanted.lower()
    found = [key for key in keys if min(len(key), len(wanted)) >= _SHORTEST_PART and (wanted in key or key in wanted)]
    return found if len(found) == 1 else []


def _is_taken(settings: dict[str, Any], refused: Location, place: Location) -> bool:
    """Whether the refused key is accepted at another place, the rest unchanged."""
    tried = copy.deepcopy(settings)
    value = _section_in(tried, refused[:-1]).pop(refused[-1])
    section = _section_in(tried, place[:-1])
    if not isinstance(section, dict):
        return False
    section[place[-1]] = value
    try:
        RunConfig.model_validate(tried)
    except ValidationError as error:
        unknown = [each["loc"] for each in error.errors(include_url=False) if each["type"] == "extra_forbidden"]
        return list(place) not in [[*_resolved(where[:-1], tried)[1], where[-1]] for where in unknown]
    return True


def _section_in(settings: dict[str, Any], path: Location) -> Any:
    """What stands at a path; sections that are not there are begun."""
    here: Any = settings
    for part in path:
        if isinstance(here, dict) and here.get(part) is None:
            here[part] = {}
        elif not isinstance(here, dict | list):
            return None
        here = here[part]
    return here


def _resolved(location: Location, settings: dict[str, Any]) -> tuple[list[Section], list[int | str]]:
    """The kinds of section that may stand at a location, and the path there without names of branches of unions."""
    found: dict[Section, set[str]] = {RunConfig: set()}
    here: Any = settings
    path: list[int | str] = []
    for part in location:
        if named := [section for section, names in found.items() if part in names]:
            found = {section: set() for section in named}
            continue
        within = [section.model_fields[str(part)].annotation for section in found if part in section.model_fields]
        if within:
            found = {section: names for each in within for section, names in _sections_in(each).items()}
        if (isinstance(here, dict) and part in here) or (isinstance(here, list) and isinstance(part, int)):
            here = here[part]  # type: ignore[index]
            path.append(part)
    return list(found), path


def _sections_in(annotation: Any, tags: tuple[str, ...] = ()) -> dict[Section, set[str]]:
    """All sections that a type holds, not those within one another, with the names of their branches."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        kind = annotation.model_fields.get("kind")
        kinds = () if kind is None else tuple(str(each) for each in get_args(kind.annotation))
        return {annotation: {annotation.__name__, *kinds, *tags}}
    own = tuple(each.tag for each in getattr(annotation, "__metadata__", ()) if isinstance(each, Tag))
    return {
        section: names for part in get_args(annotation) for section, names in _sections_in(part, own or tags).items()
    }


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
            found += [(f"{place}.", each) for each in _plain_sections(field.annotation)]
    return places


def _plain_sections(annotation: Any) -> Iterator[Section]:
    """Sections that a type may be, itself or by branches of a union, and not in a list or table."""
    if isinstance(annotation, type):
        if issubclass(annotation, BaseModel):
            yield annotation
    elif getattr(annotation, "__origin__", None) not in (list, dict, tuple):
        for part in get_args(annotation):
            yield from _plain_sections(part)
