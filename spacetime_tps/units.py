"""Quantities with their unit in the value, as in ``"300 K"``.

Inside the package every number is in nm, ps, kJ/mol, K and radians; a quantity crosses the boundary as text that says
its unit. The annotated types below parse such text in pydantic models and write it back.
"""

from __future__ import annotations

import math
import re
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer

from spacetime_tps.errors import shown_value

GAS_CONSTANT = 8.31446261815324e-3
"""Molar gas constant [kJ/mol/K] (CODATA 2018)."""

KCAL = 4.184
"""Kilojoules in a kilocalorie."""
_PLANCK_OVER_BOLTZMANN = 4.799243073366221e1
"""h / kB [K ps] (CODATA 2018)."""
UNITS: dict[str, dict[str, float]] = {
    "temperature": {"K": 1.0},
    "time": {"ps": 1.0, "fs": 1e-3, "ns": 1e3, "us": 1e6},
    "rate": {"/ps": 1.0, "/fs": 1e3, "/ns": 1e-3},
    "energy": {"kJ/mol": 1.0, "kcal/mol": KCAL},
    "angle": {"deg": math.pi / 180.0, "rad": 1.0},
    "length": {"nm": 1.0, "A": 0.1, "Å": 0.1},
    "mass": {"Da": 1.0, "amu": 1.0},
    "wall time": {"s": 1.0, "min": 60.0, "h": 3600.0},
}
"""Accepted units of each dimension with their value in the internal unit."""

_CANONICAL = {"temperature": "K", "time": "ps", "rate": "/ps", "energy": "kJ/mol", "angle": "deg", "length": "nm"}
_CANONICAL |= {"mass": "Da", "wall time": "s"}
_NUMBER = re.compile(r"^\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*(\S*)\s*$")


def parse_quantity(value: Any, dimension: str) -> float:
    """Return ``value``, text such as ``"2 fs"``, in the internal unit of ``dimension``.

    Raises:
        ValueError: the text is no number followed by a unit of that dimension.
    """
    accepted = UNITS[dimension]
    example = f'"{1.0:g} {_CANONICAL[dimension]}"'
    match = _NUMBER.match(value) if isinstance(value, str) else None
    if match is None or match.group(2) not in accepted:
        raise ValueError(
            f"{shown_value(value)} is no {dimension}: expected a number and one of the units "
            f"{', '.join(accepted)}, such as {example}"
        )
    number = float(match.group(1)) * accepted[match.group(2)]
    if not math.isfinite(number):
        raise ValueError(f"{shown_value(value)} is no finite {dimension}")
    return number


def format_quantity(value: float, dimension: str) -> str:
    """Write ``value`` (internal unit) as text that ``parse_quantity`` reads back exactly.

    The customary unit of ``dimension`` is used where twelve to seventeen digits in it suffice, else the internal one.
    """
    unit = _CANONICAL[dimension]
    for digits in (12, 15, 17):
        text = f"{value / UNITS[dimension][unit]:.{digits}g} {unit}"
        if parse_quantity(text, dimension) == value:
            return text
    internal = next(name for name, factor in UNITS[dimension].items() if factor == 1.0)
    return f"{value!r} {internal}"


def shown_number(value: float | None, digits: int = 2, unknown: str = "unknown") -> str:
    """A number with its decimals; ``unknown`` where there is none, or one that is not finite."""
    return unknown if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def _quantity(dimension: str) -> Any:
    def parse(value: Any) -> float:
        return parse_quantity(value, dimension)

    def serialise(value: float) -> str:
        return format_quantity(value, dimension)

    return Annotated[float, BeforeValidator(parse), PlainSerializer(serialise, return_type=str)]


Temperature = _quantity("temperature")
Time = _quantity("time")
Rate = _quantity("rate")
Energy = _quantity("energy")
Angle = _quantity("angle")
Length = _quantity("length")
Mass = _quantity("mass")
WallTime = _quantity("wall time")


def eyring_barrier(log_rate: float, temperature: float) -> float:
    """Free energy of activation -RT log(k h / (kB T)) [kJ/mol] of log k [log 1/ps] at a temperature [K].

    It stands for a rate constant and no more: the transmission coefficient counts as one (Eyring, J. Chem. Phys. 3, 107
    (1935)).
    """
    return -GAS_CONSTANT * temperature * (log_rate + math.log(_PLANCK_OVER_BOLTZMANN / temperature))
