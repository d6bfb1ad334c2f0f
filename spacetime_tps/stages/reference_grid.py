"""Where the states lie on the grid of the reference surface."""

from __future__ import annotations

import numpy as np

from spacetime_tps.errors import UserError
from spacetime_tps.potentials import FreeEnergySurface
from spacetime_tps.systems import System


def states_on(surface: FreeEnergySurface | None, system: System) -> list[np.ndarray] | None:
    """Which points of a grid lie in A and in B, each of its shape; None if it is not over the collective variables.

    Raises:
        UserError: a state holds none of them, so that no barrier between the two can be read off the surface.
    """
    if surface is None or list(surface.names) != list(system.variables.names):
        return None
    points, shape = surface.points(), surface.free_energy.shape
    masks = [state.contains(points).reshape(shape) for state in system.states]
    for mask, letter in zip(masks, "AB", strict=True):
        if not mask.any():
            raise UserError(
                f"State {letter} holds no point of the grid of the reference surface ({' x '.join(map(str, shape))} "
                "points): widen that state, or leave the surface out with --set reference=null."
            )
    return masks
