"""What is kept of every sample of a simulation: angles, and positions of some atoms."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from spacetime_tps.representations import dihedral_angles


@dataclass(frozen=True)
class Recorder:
    """Reads frames.

    Attributes:
        quadruples: atoms of the torsions, shape (n_torsions, 4).
        atoms: whose positions are kept, shape (n_atoms,).
    """

    quadruples: np.ndarray
    atoms: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=int))

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """Angles [rad] and, after them, positions [nm], shape (..., n_torsions + 3 n_atoms)."""
        angles = dihedral_angles(frames, self.quadruples)
        if not len(self.atoms):
            return angles
        kept = frames[..., self.atoms, :]
        return np.concatenate([angles, kept.reshape(*kept.shape[:-2], -1)], axis=-1)

    def angles(self, seen: np.ndarray) -> np.ndarray:
        """Of what was read, shape (..., n_torsions)."""
        return seen[..., : len(self.quadruples)]

    def positions(self, seen: np.ndarray) -> np.ndarray:
        """Of what was read, shape (..., n_atoms, 3)."""
        return seen[..., len(self.quadruples) :].reshape(*seen.shape[:-1], len(self.atoms), 3)
