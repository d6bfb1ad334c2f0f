"""The base of all configuration models: frozen, unknown keys refused."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, TypeVar
from unicodedata import category

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from spacetime_tps.config.bounds import Within
from spacetime_tps.units import Time

Preset = Literal["quick", "standard"]
_LONGEST_NAME = 100
_BREAKING = ("Cc", "Cs", "Zl", "Zp")
"""Unicode categories of control characters, halves of characters, and separators of lines and paragraphs."""
_FORMULAS = ("=", "+", "-", "@")
"""How a cell begins that programs for tables take for a formula; in a CSV file names begin cells."""
_LONGEST_FILE_NAME = 1000
_MOST_FILES, _MOST_TORSIONS = 10_000, 1000
_DEEPEST, _MOST_OPTIONS, _LARGEST_OPTION = 8, 10_000, 1e15
LogSNR = Annotated[float, Within(-30, 30)]
LearningRate = Annotated[float, Within(1e-8, 10)]
Duration = Annotated[Time, Within("0.01 fs", "1000 us")]
Interval = Annotated[Time, Within("0.01 fs", "100 ns")]
Discarded = Annotated[Time, Within("0 ps", "1000 us")]


def checked_label(name: str) -> str:
    """A name stands in tables, figures and the comments of other programs' input.

    Raises:
        ValueError: it is empty, longer than a line, holds what breaks one, or begins like a formula of a spreadsheet.
    """
    if name.startswith(_FORMULAS):
        raise ValueError("a name should not begin with =, +, - or @: programs for tables would compute it as a formula")
    if not 0 < len(name) <= _LONGEST_NAME or name != name.strip() or any(category(c) in _BREAKING for c in name):
        raise ValueError(
            f"a name should be up to {_LONGEST_NAME} printable characters in one line, with no blank at its ends"
        )
    return name


Label = Annotated[str, AfterValidator(checked_label)]
"""Name of a system, a state or a collective variable."""


def checked_file_name(name: str) -> str:
    """A file's name as a system file gives it.

    Raises:
        ValueError: it is empty, longer than any path, or holds the character NUL.
    """
    if not 0 < len(name) <= _LONGEST_FILE_NAME or "\0" in name:
        raise ValueError(f"expected the name of a file, up to {_LONGEST_FILE_NAME} characters")
    return name


FileName = Annotated[str, AfterValidator(checked_file_name)]
FileNames = Annotated[list[FileName], Field(max_length=_MOST_FILES)]
TorsionNames = Annotated[list[str], Field(min_length=1, max_length=_MOST_TORSIONS)]
PlainNumber = Annotated[float, Within(-1e9, 1e9)]
"""A coordinate, or a value of a collective variable without a unit."""
Quantity = Annotated[str, Field(max_length=100)]
"""A value with its unit; which one is known together with the collective variable."""


def checked_options(options: dict[str, Any]) -> dict[str, Any]:
    """What a plugin is handed: texts and finite numbers, not too many and not too deep.

    Raises:
        ValueError: something else is there.
    """
    counted = _count_options(options, _DEEPEST)
    if counted > _MOST_OPTIONS:
        raise ValueError(f"expected at most {_MOST_OPTIONS:,} values")
    return options


def _count_options(value: Any, depth: int) -> int:
    if isinstance(value, Mapping | list | tuple):
        if not depth:
            raise ValueError(f"expected at most {_DEEPEST} levels of nesting")
        items = value.values() if isinstance(value, Mapping) else value
        return 1 + sum(_count_options(item, depth - 1) for item in items)
    if isinstance(value, int | float) and not (abs(value) <= _LARGEST_OPTION and math.isfinite(value)):
        raise ValueError(f"expected numbers from {-_LARGEST_OPTION:g} to {_LARGEST_OPTION:g}")
    return 1


Options = Annotated[dict[str, Any], AfterValidator(checked_options)]


def _booleans_in(value: Any, where: str) -> Iterator[str]:
    """Dotted keys of all booleans in nested settings."""
    if isinstance(value, dict | list | tuple):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _booleans_in(item, f"{where}.{key}" if where else str(key))
    elif isinstance(value, bool):
        yield where


class Model(BaseModel):
    """Base of all configuration models: frozen, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _no_booleans(cls, values: Any) -> Any:
        """No setting is a yes or no, and pydantic would read ``true`` as 1."""
        wrong = next(_booleans_in(values, ""), None) if isinstance(values, dict) else None
        if wrong:
            raise ValueError(f"{wrong} is true or false, where a number or text is expected")
        return values


_M = TypeVar("_M", bound=Model)


def in_order(model: _M, *durations: str) -> _M:
    """The model, whose named durations have to grow."""
    for short, long in itertools.pairwise(durations):
        if getattr(model, short) > getattr(model, long):
            raise ValueError(f"{short} should not be longer than {long}")
    return model
