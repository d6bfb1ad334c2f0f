"""Ridge windows: ensembles held along one direction of feature space, with everything else free.

A window multiplies the Boltzmann density by exp(a . x - c/2 |x|^2 - k/2 (n . x - s)^2): harmonic in the one coordinate
n . x, and tilted by a linear term where that is needed to tell both values of an angle with the same sine apart. Tube
windows hold every feature, so the ways over a ridge that lie beside the tube are never seen in them; in a ridge window
they are as likely as the ridge makes them. Windows with c > 0 are held near a / c besides, and lie between the two.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import openmm

from spacetime_tps.representations.base import Array


@dataclass(frozen=True)
class RidgeWindows:
    """Windows in the features that neither turning nor shifting a molecule changes.

    Attributes:
        direction: n of each, shape (n_windows, n_features).
        center: s of each, shape (n_windows,).
        stiffness: k of each [kT], shape (n_windows,).
        tilt: a of each [kT], shape (n_windows, n_features).
        curb: c of each [kT], shape (n_windows,).
    """

    direction: np.ndarray
    center: np.ndarray
    stiffness: np.ndarray
    tilt: np.ndarray
    curb: np.ndarray

    def __len__(self) -> int:
        return len(self.center)

    def joined(self, other: RidgeWindows) -> RidgeWindows:
        """Both."""
        return RidgeWindows(
            *(np.concatenate([getattr(each, part.name) for each in (self, other)]) for part in fields(self))
        )

    def __getitem__(self, rows: np.ndarray | slice) -> RidgeWindows:
        """Some of them."""
        return RidgeWindows(*(getattr(self, part.name)[rows] for part in fields(self)))

    def log_weights(self, features: Array) -> Array:
        """Logarithms of the factors of all windows, shape (..., n_windows), of features, shape (..., n_features)."""
        away, square = features @ self.direction.T - self.center, (features**2).sum(-1)
        return features @ self.tilt.T - 0.5 * self.curb * square[..., None] - 0.5 * self.stiffness * away**2


class TorsionRidge:
    """The restraint of a ridge window over (cos, sin) of a molecule's torsions, in OpenMM; there |x|^2 is constant."""

    def __init__(self, quadruples: np.ndarray, window: RidgeWindows, kt: float):
        """``quadruples`` holds the atoms of each torsion, shape (n_torsions, 4); ``window`` is one window."""
        count = len(quadruples)
        angles = [f"dihedral({','.join(f'p{4 * k + i + 1}' for i in range(4))})" for k in range(count)]
        along = "+".join(f"c{k}*cos(t{k})+d{k}*sin(t{k})" for k in range(count))
        tilt = "+".join(f"a{k}*cos(t{k})+b{k}*sin(t{k})" for k in range(count))
        told = ";".join(f"t{k}={angle}" for k, angle in enumerate(angles))
        self.force = openmm.CustomCompoundBondForce(4 * count, f"0.5*k*({along}-s)^2-({tilt});{told}")
        self.force.setName("RidgeRestraint")
        for name in ["k", "s", *(f"{letter}{k}" for letter in "cdab" for k in range(count))]:
            self.force.addPerBondParameter(name)
        (n,), (s,), (k,), (a,) = window.direction, window.center, window.stiffness, kt * window.tilt
        values = [kt * k, s, *n[0::2], *n[1::2], *a[0::2], *a[1::2]]
        self.force.addBond(quadruples.ravel().tolist(), [float(value) for value in values])
