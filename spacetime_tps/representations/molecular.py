"""The representations of a molecule."""

from __future__ import annotations

import numpy as np

from spacetime_tps.representations.cartesian import Cartesian
from spacetime_tps.representations.components import Components
from spacetime_tps.representations.torsions import Torsions

Molecular = Torsions | Components | Cartesian


def held_in(representation: Molecular, frames: np.ndarray) -> np.ndarray:
    """T of frames, shape (..., n_atoms, 3) [nm], as a restraint feels it, shape (..., n_parameters)."""
    return representation.held(representation.torsions.angles(frames), frames[..., representation.atoms, :])
