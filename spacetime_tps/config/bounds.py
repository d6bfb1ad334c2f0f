"""Bounds of numbers: what can be meant, not what is wise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, ValidationError, ValidatorFunctionWrapHandler
from pydantic_core import CoreSchema, core_schema

from spacetime_tps.units import UNITS, parse_quantity

_ROUNDING = 1e-9
"""Of a quantity that is converted from its unit."""


@dataclass(frozen=True)
class Within:
    """Both bounds of a number, included, for ``Annotated``: plain numbers, or quantities such as ``"1 K"``.

    Every number of a configuration has them, so that 1e30 walkers are refused in one sentence rather than by whatever
    meets them first.
    """

    low: float | str
    high: float | str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        inner = handler(source)
        kind = {"int": "a whole number from ", "float": "a number from "}.get(inner["type"], "")
        expected = f"expected {kind}{_shown(self.low)} to {_shown(self.high)}"
        low, high = self.limits

        slack = _ROUNDING if isinstance(self.low, str) else 0.0

        def check(value: Any, parse: ValidatorFunctionWrapHandler) -> Any:
            try:
                parsed = parse(value)
            except ValidationError as error:
                if isinstance(self.low, str):
                    raise  # the unit is wrong, of which the parser knows more
                raise ValueError(expected) from error
            if not low * (1 - slack) <= parsed <= high * (1 + slack):
                raise ValueError(expected)
            return parsed

        return core_schema.no_info_wrap_validator_function(check, inner)

    @property
    def limits(self) -> tuple[float, float]:
        """In the internal unit."""
        low, high = (_internal(bound) for bound in (self.low, self.high))
        return low, high


def _internal(bound: float | str) -> float:
    if not isinstance(bound, str):
        return bound
    unit = bound.split()[-1]
    return parse_quantity(bound, next(dimension for dimension, units in UNITS.items() if unit in units))


def _shown(bound: float | str) -> str:
    if isinstance(bound, str):
        return bound
    return f"{bound:,}" if isinstance(bound, int) else f"{bound:g}"
