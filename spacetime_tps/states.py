"""Metastable states as unions of boxes and balls in collective variables, periodic where the variables are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from spacetime_tps.config import BallConfig, BoxConfig, StateConfig
from spacetime_tps.errors import UserError
from spacetime_tps.units import parse_quantity

_ROUNDING = 1e-9
_LIMITS: dict[str | None, tuple[float, str]] = {
    "angle": (4 * math.pi + 1e-9, "-720 deg to 720 deg"),
    "length": (1000.0, "-1000 nm to 1000 nm"),
    None: (1e9, "-1e+09 to 1e+09"),
}
"""How far from zero a value may lie, by the dimension of its variable."""
_SMALLEST: dict[str | None, tuple[float, str]] = {
    "angle": (1e-4, "0.006 deg"),
    "length": (1e-6, "1e-06 nm"),
    None: (1e-9, "1e-09"),
}
"""Of a radius or a width."""


@dataclass(frozen=True)
class Axes:
    """Collective variables by name, and what each is: an ``angle``, a ``length`` or, None, a plain number."""

    names: tuple[str, ...]
    dimensions: tuple[str | None, ...]

    @classmethod
    def alike(cls, names: Sequence[str], dimension: str | None) -> Axes:
        """All of one dimension."""
        return cls(tuple(names), (dimension,) * len(names))

    def column(self, name: str, where: str) -> int:
        """Of a variable.

        Raises:
            UserError: there is none of that name.
        """
        if name not in self.names:
            raise UserError(f"In {where}: {name!r} is no collective variable; there are {', '.join(self.names)}.")
        return self.names.index(name)

    def period(self, column: int) -> float | None:
        """Of an angle; None elsewhere."""
        return 2 * np.pi if self.dimensions[column] == "angle" else None

    def value(self, column: int, given: str | float, where: str) -> float:
        """A value of a variable, written as in a system file, in the internal unit.

        Raises:
            UserError: a unit is missing or wrong, or it is no finite number.
        """
        dimension = self.dimensions[column]
        try:
            value = parse_quantity(given, dimension) if dimension is not None else float(given)
        except ValueError as error:
            reason = error if dimension is not None else f"{given!r} should be a finite number without a unit"
            raise UserError(f"In {where}: {reason}.") from error
        largest, shown = _LIMITS[dimension]
        if not abs(value) <= largest:  # NaN is not, either
            raise UserError(f"In {where}: expected {shown} of {self.names[column]!r}, not {given!r}.")
        return value

    def size(self, column: int, given: str | float, where: str, what: str) -> float:
        """A radius or a width in the unit of a variable.

        Raises:
            UserError: as of ``value``, or it is not positive, or too small to hold anything.
        """
        value = self.value(column, given, where)
        least, shown = _SMALLEST[self.dimensions[column]]
        if value < least:
            raise UserError(f"In {where}: expected a {what} of {shown} or more, not {given!r}.")
        return value


class Region(Protocol):
    """A set of points in the space of collective variables."""

    @property
    def columns(self) -> tuple[int, ...]:
        """Of the variables that bound it."""
        ...

    def contains(self, points: np.ndarray) -> np.ndarray:
        """Membership, shape (...), of points, shape (..., n_cv)."""
        ...


@dataclass(frozen=True)
class Box:
    """Intervals in some of the variables; a periodic interval may pass the seam."""

    columns: tuple[int, ...]
    low: tuple[float, ...]
    width: tuple[float, ...]
    period: float | None

    def contains(self, points: np.ndarray) -> np.ndarray:
        """Membership, shape (...), of points, shape (..., n_cv)."""
        offset = points[..., list(self.columns)] - np.array(self.low)
        if self.period is not None:
            offset = (offset + _ROUNDING) % self.period - _ROUNDING
        return np.all((offset >= -_ROUNDING) & (offset <= np.array(self.width) + _ROUNDING), axis=-1)


@dataclass(frozen=True)
class Ball:
    """Points within ``radius`` of a centre in some of the variables."""

    columns: tuple[int, ...]
    center: tuple[float, ...]
    radius: float
    period: float | None

    def contains(self, points: np.ndarray) -> np.ndarray:
        """Membership, shape (...), of points, shape (..., n_cv)."""
        offset = points[..., list(self.columns)] - np.array(self.center)
        if self.period is not None:
            offset = (offset + self.period / 2) % self.period - self.period / 2
        return np.linalg.norm(offset, axis=-1) <= self.radius + _ROUNDING


@dataclass(frozen=True)
class Both:
    """What lies in several regions at once: intervals of angles and of other variables."""

    parts: tuple[Region, ...]

    @property
    def columns(self) -> tuple[int, ...]:
        """Of the variables that bound any of them."""
        return tuple(column for part in self.parts for column in part.columns)

    def contains(self, points: np.ndarray) -> np.ndarray:
        """Membership, shape (...), of points, shape (..., n_cv)."""
        return np.all([part.contains(points) for part in self.parts], axis=0)


@dataclass(frozen=True)
class State:
    """A named union of regions."""

    name: str
    regions: tuple[Region, ...]

    @property
    def columns(self) -> tuple[int, ...]:
        """Of the variables that bound it."""
        return tuple(sorted({column for region in self.regions for column in region.columns}))

    def contains(self, points: np.ndarray) -> np.ndarray:
        """Membership, shape (...), of points, shape (..., n_cv)."""
        return np.any([region.contains(points) for region in self.regions], axis=0)


def build_state(config: StateConfig, axes: Axes) -> State:
    """Turn a state's configuration into regions over collective variables.

    Raises:
        UserError: a variable is unknown, a unit is missing or an interval is empty.
    """
    return State(config.name, build_regions(config.any_of, f"state {config.name!r}", axes))


def build_regions(configs: Sequence[BallConfig | BoxConfig], where: str, axes: Axes) -> tuple[Region, ...]:
    """Turn configured balls and boxes into regions over collective variables.

    Args:
        configs: as in the system file.
        where: what the regions belong to, for messages.
        axes: the variables, in the order of the points' columns.

    Raises:
        UserError: a variable is unknown, a unit is missing or an interval is empty, or a ball mixes units.
    """
    return tuple(
        _ball(region, where, axes) if isinstance(region, BallConfig) else _box(region, where, axes)
        for region in configs
    )


def _columns(variables: dict[str, Any], where: str, axes: Axes) -> tuple[int, ...]:
    columns = tuple(axes.column(name, where) for name in variables)
    if not columns:
        raise UserError(f"In {where}: a region names no collective variable.")
    return columns


def _ball(region: BallConfig, where: str, axes: Axes) -> Ball:
    columns = _columns(region.ball, where, axes)
    if len({axes.dimensions[column] for column in columns}) > 1:
        raise UserError(f"In {where}: a ball in variables of different units has no radius; give intervals.")
    center = tuple(axes.value(k, value, where) for k, value in zip(columns, region.ball.values(), strict=True))
    radius = axes.size(columns[0], region.radius, where, "radius")
    return Ball(columns, center, radius, axes.period(columns[0]))


def _box(region: BoxConfig, where: str, axes: Axes) -> Region:
    columns = _columns(region, where, axes)
    ends = [tuple(axes.value(k, end, where) for end in both) for k, both in zip(columns, region.values(), strict=True)]
    empty = next((name for name, (low, high) in zip(region, ends, strict=True) if high <= low), None)
    if empty is not None:
        raise UserError(f"In {where}: the interval of {empty!r} is empty; give the lower end first.")
    parts: list[Region] = []
    for period in sorted({axes.period(column) for column in columns}, key=str):
        rows = [(k, low, high - low) for k, (low, high) in zip(columns, ends, strict=True) if axes.period(k) == period]
        bounded, lows, widths = zip(*rows, strict=True)
        parts.append(Box(bounded, lows, widths, period))
    return parts[0] if len(parts) == 1 else Both(tuple(parts))
