"""Where ridge windows stand: across the top of a curve, or where a committor is one half."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from spacetime_tps.representations.ridge import RidgeWindows
from spacetime_tps.representations.torsions import wrap
from spacetime_tps.shooting.shots import RidgeSpace

_FALL_KT = 1.5
"""Fall of the free energy on either side of a top, up to which a ridge reaches."""
_OFFSETS = (-0.5, 0.0, 0.5, 0.0)
"""Centres of the windows of a ridge, in units of its reach."""
_LEAST_REACH, _STIFFEST = 0.1, 1000.0
"""Of a ridge in angles, and of its windows [kT]: stiffer restraints need shorter time steps than a molecule does."""
_STIFFNESS = (8.0, 8.0, 8.0, 5.0)
"""Of the windows, over the square of the reach [kT]; the barrier itself falls off with 3, so that the last is broad."""
_WIDER = 3.0
"""Times that a fitted ridge may be wider than the one before."""
_HOLDS = (1 / 3, 1 / 9, 1 / 27)
"""Of windows between the tube along the curve and the open ridge, in units of how firmly the tube is held."""


@dataclass(frozen=True)
class Ridge:
    """A hyperplane n . x = s of feature space that transition paths cross.

    Attributes:
        direction: n, a unit vector, shape (n_features,).
        center: s.
        reach: how far to either side of it points still go both ways.
        toward: direction of the tilt that tells both values of an angle with the same sine apart, shape (n_features,);
            zero where there is none.
        anchor: features of the point of the curve that it leads through, shape (n_features,).
        hold: inverse variance of a feature in the tube along the curve there [kT].
        stiffest: bound of the stiffness of windows [kT].
    """

    direction: np.ndarray
    center: float
    reach: float
    toward: np.ndarray
    anchor: np.ndarray
    hold: float
    stiffest: float = np.inf

    def windows(self, tilt: float = 0.0, stiffer: float = 1.0) -> RidgeWindows:
        """Three windows across it, a broad one, and broad ones that are held ever more loosely near the curve.

        The latter are what the tube along the curve and the open ridge, many times wider beside the curve, share.

        Args:
            tilt: [kT].
            stiffer: factor of all stiffnesses.
        """
        offsets, stiffness = (np.pad(row, (0, len(_HOLDS)), mode="edge") for row in (_OFFSETS, _STIFFNESS))
        curb = self.hold * np.array([*np.zeros(len(_OFFSETS)), *_HOLDS])
        return RidgeWindows(
            np.tile(self.direction, (len(curb), 1)),
            self.center + self.reach * offsets,
            np.minimum(stiffer * stiffness / self.reach**2, self.stiffest),
            tilt * self.toward + curb[:, None] * self.anchor,
            curb,
        )

    def along_committor(self, offset: float, slopes: np.ndarray) -> Ridge:
        """The ridge where logit p_B = offset + slopes . x is zero, as far as p_B lies between 0.12 and 0.88.

        Three times as far as this ridge reaches at most: a committor that is flatter is that of a well.
        """
        steepness = float(np.linalg.norm(slopes))
        reach = min(2.0 / steepness, _WIDER * self.reach)
        return replace(self, direction=slopes / steepness, center=-offset / steepness, reach=reach)


def ridge_through(before: np.ndarray, at: np.ndarray, behind: np.ndarray, space: RidgeSpace, hold: float) -> Ridge:
    """Across a curve at a point of it, from one point before it as far as one behind.

    Args:
        before, at, behind: angles [rad] or coordinates, shape (n,).
        space: of the windows.
        hold: see ``Ridge``.
    """
    away = np.stack([before, behind]) - at
    if space.torsions is None:
        along = (away[1] - away[0]) / np.linalg.norm(away[1] - away[0])
        reach = 0.5 * float((away[1] - away[0]) @ along)
        return Ridge(along, float(at @ along), reach, np.zeros_like(along), at, hold)
    away = wrap(away)
    along = (away[1] - away[0]) / np.linalg.norm(away[1] - away[0])
    cosine, sine = np.cos(at), np.sin(at)
    direction = np.stack([-sine * along, cosine * along], axis=-1).ravel()
    toward = np.zeros((len(along), 2))
    most = int(np.abs(along).argmax())
    toward[most] = cosine[most], sine[most]
    reach = 0.5 * float((np.sin(away[1]) - np.sin(away[0])) @ along)
    anchor = np.stack([cosine, sine], axis=-1).ravel()
    return Ridge(direction, 0.0, max(reach, _LEAST_REACH), toward.ravel(), anchor, hold, _STIFFEST)


def around_top(free_energy: np.ndarray) -> tuple[int, int, int]:
    """Numbers of the top of the largest climb along a curve and of the nearest points 1.5 kT below it, in their order.

    Args:
        free_energy: along the curve [kT], shape (n,).
    """
    top = int(np.argmax(free_energy - np.minimum.accumulate(free_energy)))
    low = free_energy[top] - _FALL_KT
    before, behind = np.flatnonzero(free_energy[:top] <= low), np.flatnonzero(free_energy[top:] <= low)
    first = int(before[-1]) if len(before) else 0
    return first, top, top + int(behind[0]) if len(behind) else len(free_energy) - 1
