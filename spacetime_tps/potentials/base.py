"""The contract of an analytic potential."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class Potential(Protocol):
    """A batched energy with its gradient."""

    dimension: int

    def energy(self, x: Tensor) -> Tensor:
        """Energies of points ``x``, shape (..., dimension), as shape (...)."""
        ...

    def gradient(self, x: Tensor) -> Tensor:
        """Gradients at ``x``, shape (..., dimension)."""
        ...
