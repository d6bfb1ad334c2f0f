"""What representations of a molecule by internal coordinates share: no frame is fixed, nothing but angles recorded."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from spacetime_tps.representations.torsions import Torsions


class Internal(ABC):
    """Features are functions of torsions, which neither turning nor shifting the molecule changes."""

    atoms = np.zeros(0, dtype=int)
    """Whose positions are recorded with every sample: none."""
    rigid_modes = 0
    """Modes of the molecule as a rigid body that a restraint holds."""

    @property
    @abstractmethod
    def torsions(self) -> Torsions:
        """In which it is read where a frame or a posterior lies."""

    def features(self, frames: np.ndarray) -> np.ndarray:
        """Features, shape (n, n_features), of positions, shape (n, n_atoms, 3)."""
        return self.features_of_angles(self.torsions.angles(frames))

    @abstractmethod
    def features_of_angles(self, angles: np.ndarray) -> np.ndarray:
        """Features, shape (..., n_features), of the torsions' angles [rad], shape (..., n_torsions)."""

    @abstractmethod
    def statistics(self, features: np.ndarray) -> np.ndarray:
        """T(x), shape (..., n_parameters)."""

    def features_of_seen(self, angles: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """Features of what is recorded with a sample; positions are not."""
        return self.features_of_angles(angles)

    def held(self, angles: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """T as a restraint feels it, shape (..., n_parameters)."""
        return self.statistics(self.features_of_angles(angles))

    def placed(self, frame: np.ndarray) -> np.ndarray:
        """A frame where a restraint can hold it: anywhere."""
        return frame

    def trembling(self, natural: np.ndarray) -> np.ndarray:
        """Variance by motions of a rigid body, shape (..., n_blocks or 1): none."""
        return np.zeros((*natural.shape[:-1], 1))

    def reduced(self, natural: np.ndarray, features: np.ndarray) -> np.ndarray:
        """-eta . T of each sample, shape (n_ensembles, n)."""
        return -natural @ self.statistics(features).T
