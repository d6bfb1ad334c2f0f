"""Slow or wide linear combinations of torsions, T(x) = (x, |x|^2), fitted to the samples of a run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import openmm
import torch
from torch import Tensor

from spacetime_tps.representations.base import Array
from spacetime_tps.representations.euclidean import Euclidean
from spacetime_tps.representations.internal import Internal
from spacetime_tps.representations.torsions import Torsions


@dataclass(frozen=True)
class TorsionAxes:
    """Combinations of (cos, sin) of torsions.

    Attributes:
        offset: mean of these, shape (2 n_torsions,).
        axes: shape (2 n_torsions, n_components).
        inverse: what the best linear guess adds to ``offset`` for every component, shape (n_components, 2 n_torsions).
    """

    offset: np.ndarray
    axes: np.ndarray
    inverse: np.ndarray


class Components(Euclidean, Internal):
    """The slowest (TICA) or widest (PCA) linear combinations of (cos, sin) of torsions."""

    def __init__(self, torsions: Torsions, fit: TorsionAxes):
        super().__init__(fit.axes.shape[1])
        self._torsions, self.fit = torsions, fit

    @property
    def torsions(self) -> Torsions:
        """Those that are combined."""
        return self._torsions

    def features_of_angles(self, angles: np.ndarray) -> np.ndarray:
        """Shape (..., n_components), of the torsions' angles [rad]."""
        return (self.torsions.features_of_angles(angles) - self.fit.offset) @ self.fit.axes

    def center(self, mean: Array) -> Array:
        """Angles [rad] of the torsions by the best linear guess from E[x], shape (..., n_torsions)."""
        components = mean[..., :-1]
        if isinstance(components, Tensor):
            offset, inverse = (torch.from_numpy(part).to(components) for part in (self.fit.offset, self.fit.inverse))
            return self.torsions.center(offset + components @ inverse)
        return self.torsions.center(self.fit.offset + components @ self.fit.inverse)

    def restraint(self, kt: float, copies: int = 1, n_atoms: int = 0) -> ComponentsRestraint:
        """The OpenMM restraint at thermal energy ``kt`` [kJ/mol] of one molecule: a CV force holds no more."""
        assert copies == 1
        return ComponentsRestraint(self, kt)


class ComponentsRestraint:
    """-kT eta . T(x) as a CustomCVForce of one CustomTorsionForce a component."""

    def __init__(self, components: Components, kt: float):
        self._kt = kt
        names = [f"x{k}" for k in range(components.n_features)]
        linear = "+".join(f"e{name}*{name}" for name in names)
        squares = "+".join(f"{name}^2" for name in names)
        self.force = openmm.CustomCVForce(f"-({linear}+et*({squares}))")
        self.force.setName("SpacetimeRestraint")
        constants = components.fit.offset @ components.fit.axes
        pairs = components.fit.axes.reshape(-1, 2, components.n_features)
        for k, name in enumerate(names):
            share = float(constants[k] / len(pairs))
            each = openmm.CustomTorsionForce(f"c*cos(theta)+s*sin(theta)-{share!r}")
            each.addPerTorsionParameter("c")
            each.addPerTorsionParameter("s")
            for atoms, pair in zip(components.torsions.quadruples, pairs, strict=True):
                each.addTorsion(*map(int, atoms), pair[:, k].tolist())
            self.force.addCollectiveVariable(name, each)
            self.force.addGlobalParameter(f"e{name}", 0.0)
        self.force.addGlobalParameter("et", 0.0)

    def move_to(self, natural: np.ndarray, context: openmm.Context) -> None:
        """Set the restraint to natural parameters, shape (..., n_components + 1), of one copy."""
        *linear, square = (self._kt * natural.ravel()).tolist()
        for k, value in enumerate(linear):
            context.setParameter(f"ex{k}", value)
        context.setParameter("et", square)
