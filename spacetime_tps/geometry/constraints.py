"""Constraints on a curve, held at every point by an augmented Lagrangian."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from spacetime_tps.diffusion.denoiser import Posterior


class Constraint(Protocol):
    """An inequality g <= 0 at every point of a curve."""

    def violation(self, natural: Tensor, posterior: Posterior) -> Tensor:
        """g in its natural scale, shape (n_curves, n_points, n_parts)."""
        ...

    def tightened(self) -> Constraint:
        """The constraint with the margin that the optimiser needs to satisfy it between its points."""
        ...


class Objective(Protocol):
    """A term added to the curve energy, in its relative scale."""

    def __call__(self, natural: Tensor, posterior: Posterior) -> Tensor:
        """The term of every curve, shape (n_curves,)."""
        ...


@dataclass(frozen=True)
class LowVariance:
    """The posterior variance of every feature block stays below ``bound``: g = variance / bound - 1.

    Without it a geodesic between deep wells tunnels: its posterior turns bimodal and switches modes. The optimiser is
    given a bound lower by ``margin``, because it sees the coarse grid only and the variance peaks at ridges, between
    its points.
    """

    bound: float
    margin: float = 0.05

    def violation(self, natural: Tensor, posterior: Posterior) -> Tensor:
        """g, shape (n_curves, n_points, n_blocks)."""
        return posterior.block_variance / self.bound - 1.0

    def tightened(self) -> LowVariance:
        """The constraint the optimiser works with."""
        return LowVariance((1.0 - self.margin) * self.bound, 0.0)


class AugmentedLagrangian:
    """Pointwise multipliers for a set of constraints (Nocedal and Wright, Numerical Optimization, eq. 17.36 ff.)."""

    def __init__(self, constraints: list[Constraint], penalty: float):
        self.constraints = constraints
        self.penalty = penalty
        self._multipliers: list[Tensor | float] = [0.0] * len(constraints)

    def __call__(self, natural: Tensor, posterior: Posterior) -> Tensor:
        """Penalty term of every curve, shape (n_curves,): mean over points, sum over the parts of a constraint."""
        total = torch.zeros(natural.shape[0], dtype=natural.dtype, device=natural.device)
        for constraint, multiplier in zip(self.constraints, self._multipliers, strict=True):
            g = constraint.violation(natural, posterior)
            shifted = torch.relu(multiplier + self.penalty * g)
            square = multiplier**2 if isinstance(multiplier, float) else multiplier.square()
            total = total + ((shifted.square() - square) / (2 * self.penalty)).mean(1).sum(-1)
        return total

    def update(self, natural: Tensor, posterior: Posterior) -> None:
        """First-order multiplier update."""
        for k, constraint in enumerate(self.constraints):
            g = constraint.violation(natural, posterior).detach()
            self._multipliers[k] = torch.relu(self._multipliers[k] + self.penalty * g)
