"""The coordinates of an analytic potential as they are."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from spacetime_tps.representations.base import Array
from spacetime_tps.representations.euclidean import Euclidean


class Identity(Euclidean):
    """Representation of points of R^d by themselves."""

    def features(self, frames: np.ndarray) -> np.ndarray:
        """The points themselves, shape (n, d)."""
        return frames

    def center(self, mean: Array) -> Array:
        """E[x], shape (..., d)."""
        return mean[..., :-1]

    def reduced(self, natural: np.ndarray, features: np.ndarray) -> np.ndarray:
        """-eta . T of each sample, shape (n_ensembles, n)."""
        return -natural @ self.statistics(features).T

    def restraint_gradient(self, x: Tensor, natural: Tensor) -> Tensor:
        """Gradient of -eta . T(x) with respect to x, in units of kT; shapes (..., d), (..., d + 1)."""
        return -(natural[..., :-1] + 2.0 * natural[..., -1:] * x)
