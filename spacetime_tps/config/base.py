"""The base of all configuration models: frozen, unknown keys refused."""

from __future__ import annotations

import itertools
from typing import Annotated, Any, Literal, TypeVar
from unicodedata import category

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

Preset = Literal["quick", "standard"]
_LONGEST_NAME = 100
_BREAKING = ("Cc", "Cs", "Zl", "Zp")
"""Unicode categories of control characters, halves of characters, and separators of lines and paragraphs."""
_FORMULAS = ("=", "+", "-", "@")
"""How a cell begins that programs for tables take for a formula; in a CSV file names begin cells."""
LogSNR = Annotated[float, Field(ge=-30, le=30)]


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


def _holds_boolean(value: Any) -> bool:
    if isinstance(value, dict | list | tuple):
        return any(_holds_boolean(item) for item in (value.values() if isinstance(value, dict) else value))
    return isinstance(value, bool)


class Model(BaseModel):
    """Base of all configuration models: frozen, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _no_booleans(cls, values: Any) -> Any:
        """No setting is a yes or no, and pydantic would read ``true`` as 1."""
        wrong = [key for key, value in values.items() if _holds_boolean(value)] if isinstance(values, dict) else []
        if wrong:
            raise ValueError(f"{wrong[0]} should be no true or false")
        return values


_M = TypeVar("_M", bound=Model)


def in_order(model: _M, *durations: str) -> _M:
    """The model, whose named durations have to grow."""
    for short, long in itertools.pairwise(durations):
        if getattr(model, short) > getattr(model, long):
            raise ValueError(f"{short} should not be longer than {long}")
    return model
