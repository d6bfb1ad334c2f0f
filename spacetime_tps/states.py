"""Metastable states as unions of boxes and balls in collective variables, periodic where the variables are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from spacetime_tps.config import BallConfig, BoxConfig, StateConfig
from spacetime_tps.errors import UserError
from spacetime_tps.units import parse_quantity

_ROUNDING = 1e-9


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


def build_state(config: StateConfig, names: list[str], angular: bool) -> State:
    """Turn a state's configuration into regions over the collective variables ``names``.

    Raises:
        UserError: a variable is unknown, a unit is missing or an interval is empty.
    """
    return State(config.name, build_regions(config.any_of, f"state {config.name!r}", names, angular))


def build_regions(
    configs: Sequence[BallConfig | BoxConfig], where: str, names: list[str], angular: bool
) -> tuple[Region, ...]:
    """Turn configured balls and boxes into regions over the collective variables ``names``.

    Args:
        configs: as in the system file.
        where: what the regions belong to, for messages.
        names: of the variables, in the order of the points' columns.
        angular: whether they are angles.

    Raises:
        UserError: a variable is unknown, a unit is missing or an interval is empty.
    """
    period = 2 * np.pi if angular else None

    def number(value: str | float) -> float:
        try:
            if angular:
                return parse_quantity(value, "angle")
            if not math.isfinite(plain := float(value)):
                raise ValueError
            return plain
        except ValueError as error:
            reason = error if angular else f"{value!r} should be a finite number without a unit"
            raise UserError(f"In {where}: {reason}.") from error

    def columns(variables: dict) -> tuple[int, ...]:
        for variable in variables:
            if variable not in names:
                raise UserError(f"In {where}: {variable!r} is no collective variable; there are {', '.join(names)}.")
        if not variables:
            raise UserError(f"In {where}: a region names no collective variable.")
        return tuple(names.index(variable) for variable in variables)

    regions: list[Region] = []
    for region in configs:
        if isinstance(region, BallConfig):
            center, radius = tuple(number(value) for value in region.ball.values()), number(region.radius)
            if radius <= 0:
                raise UserError(f"In {where}: the radius {region.radius!r} of a ball should be greater than 0.")
            regions.append(Ball(columns(region.ball), center, radius, period))
            continue
        ends = [(number(low), number(high)) for low, high in region.values()]
        empty = next((v for v, (low, high) in zip(region, ends, strict=True) if high <= low), None)
        if empty is not None:
            raise UserError(f"In {where}: the interval of {empty!r} is empty; give the lower end first.")
        low, width = (e[0] for e in ends), (e[1] - e[0] for e in ends)
        regions.append(Box(columns(region), tuple(low), tuple(width), period))
    return tuple(regions)
