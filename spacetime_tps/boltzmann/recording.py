"""What is kept of every sample of a simulation: angles, other variables, and positions of some atoms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from spacetime_tps.collective_variables import CollectiveVariables, Measure, measured
from spacetime_tps.representations import dihedral_angles


@dataclass(frozen=True)
class Recorder:
    """Reads frames.

    Attributes:
        quadruples: atoms of the torsions, shape (n_torsions, 4).
        atoms: whose positions are kept, shape (n_atoms,).
        measures: other variables.
    """

    quadruples: np.ndarray
    atoms: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=int))
    measures: Sequence[Measure] = ()

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """Angles [rad], measures, positions [nm], shape (..., n_torsions + n_measures + 3 n_atoms)."""
        angles = dihedral_angles(frames, self.quadruples)
        if not len(self.atoms) and not self.measures:
            return angles
        kept = frames[..., self.atoms, :]
        return np.concatenate([angles, measured(frames, self.measures), kept.reshape(*kept.shape[:-2], -1)], axis=-1)

    def angles(self, seen: np.ndarray) -> np.ndarray:
        """Of what was read, shape (..., n_torsions)."""
        return seen[..., : len(self.quadruples)]

    def positions(self, seen: np.ndarray) -> np.ndarray:
        """Of what was read, shape (..., n_atoms, 3)."""
        first = len(self.quadruples) + len(self.measures)
        return seen[..., first:].reshape(*seen.shape[:-1], len(self.atoms), 3)

    def variables(self, seen: np.ndarray, of: CollectiveVariables) -> np.ndarray:
        """Collective variables, shape (..., n_cv), whose torsions are the first and whose measures are those here."""
        last = len(self.quadruples) + len(self.measures)
        return np.concatenate([seen[..., : of.n_angles], seen[..., len(self.quadruples) : last]], axis=-1)
