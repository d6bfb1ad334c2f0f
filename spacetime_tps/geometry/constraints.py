"""Constraints on a curve, held at every point by an augmented Lagrangian."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from spacetime_tps.diffusion.denoiser import Posterior
from spacetime_tps.errors import UserError
from spacetime_tps.geometry.curve import point_shares
from spacetime_tps.representations import Cartesian, Representation
from spacetime_tps.representations.euclidean import Euclidean
from spacetime_tps.states import Ball

_SHRINKS_TO = 0.5
_GROWTH = 2.0
_LARGEST_PENALTY = 1e4
_STIFF = 0.12
"""Standard deviation [A] below which a distance is stiff: 0.03 of bonds, 0.1 across an angle."""
_LEAST_DEVIATION = 0.02
"""Of a stiff distance [A]: those that are constrained do not vary at all."""


class Constraint(Protocol):
    """An inequality g <= 0 at every point of a curve."""

    @property
    def name(self) -> str:
        """What the user calls it."""
        ...

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
    margin: float = 0.02
    name: str = "low_variance"

    def violation(self, natural: Tensor, posterior: Posterior) -> Tensor:
        """g, shape (n_curves, n_points, n_blocks)."""
        return posterior.block_variance / self.bound - 1.0

    def tightened(self) -> LowVariance:
        """The constraint the optimiser works with."""
        return replace(self, bound=(1.0 - self.margin) * self.bound, margin=0.0)


@dataclass(frozen=True)
class TrainedRange:
    """The log-SNR of every feature block stays where the denoiser was trained, ``low`` to ``high``."""

    representation: Representation
    low: float
    high: float
    name: str = "trained_range"

    def violation(self, natural: Tensor, posterior: Posterior) -> Tensor:
        """g, shape (n_curves, n_points, 2 n_blocks), in units of log-SNR."""
        level = self.representation.block_log_snr(natural)
        return torch.cat([self.low - level, level - self.high], dim=-1)

    def tightened(self) -> TrainedRange:
        """The constraint the optimiser works with: the same."""
        return self


@dataclass(frozen=True)
class Pull:
    """No coordinate of a restraint's centre y lies farther from E[x] than ``most`` standard deviations of its noise.

    A denoiser has been shown samples plus noise and nothing else. In many dimensions a curve otherwise finds centres
    far from every sample, from which no simulation goes where the model says: g = SNR (y_k - E[x_k])^2 / most^2 - 1.
    """

    representation: Euclidean
    most: float
    margin: float = 0.05
    name: str = "pull"

    def violation(self, natural: Tensor, posterior: Posterior) -> Tensor:
        """g, shape (n_curves, n_points, n_features)."""
        chart = self.representation.chart(natural)
        away = (chart[..., :-1] - posterior.mean[..., :-1]).square() * chart[..., -1:].exp()
        return away / self.most**2 - 1.0

    def tightened(self) -> Pull:
        """The constraint the optimiser works with."""
        return replace(self, most=(1.0 - self.margin) * self.most, margin=0.0)


@dataclass(frozen=True)
class Strain:
    """No stiff distance in the structure E[x] is farther from the samples' than ``most`` standard deviations.

    Stiff distances, those of bonded atoms and across bond angles, hardly differ between samples. A structure that is
    the mean of two which differ by more than heat has them too short, and so has one that the model makes up where it
    has seen no sample: g = (d - mean d)^2 / (most sd)^2 - 1.

    Attributes:
        representation: by positions.
        pairs: of atoms, places among the represented ones, shape (n_pairs, 2).
        mean, deviation: of their distances among the samples [A], shape (n_pairs,).
    """

    representation: Cartesian
    pairs: np.ndarray
    mean: Tensor
    deviation: Tensor
    most: float = 3.0
    margin: float = 0.05
    name: str = "strain"

    @classmethod
    def of_samples(cls, representation: Cartesian, features: np.ndarray) -> Strain | None:
        """Of every distance that is stiff among samples, shape (n, n_features); unweighted: barriers count.

        None if none is: C-alphas that are no neighbours along the chain.
        """
        structures = representation.structures(features)
        pairs = np.stack(np.triu_indices(structures.shape[1], 1), axis=-1)
        mean, deviation = np.zeros((2, len(pairs)))
        for k, (i, j) in enumerate(pairs):
            distance = np.linalg.norm(structures[:, i] - structures[:, j], axis=-1)
            mean[k], deviation[k] = distance.mean(), distance.std()
        stiff = deviation < _STIFF
        if not stiff.any():
            return None
        deviation = np.maximum(deviation[stiff], _LEAST_DEVIATION)
        return cls(representation, pairs[stiff], torch.from_numpy(mean[stiff]), torch.from_numpy(deviation))

    def violation(self, natural: Tensor, posterior: Posterior) -> Tensor:
        """g, shape (n_curves, n_points, n_pairs)."""
        structures = self.representation.structures(posterior.mean[..., :-1])
        distance = (structures[..., self.pairs[:, 0], :] - structures[..., self.pairs[:, 1], :]).norm(dim=-1)
        return ((distance - self.mean) / (self.most * self.deviation)).square() - 1.0

    def tightened(self) -> Strain:
        """The constraint the optimiser works with."""
        return replace(self, most=(1.0 - self.margin) * self.most, margin=0.0)


@dataclass(frozen=True)
class AvoidRegion:
    """The posteriors of a curve have at most the share ``limit`` of their probability in a region.

    The probability mass of a posterior in the region R is exp(psi_R(eta) - psi(eta)), psi_R being the log-partition of
    the samples in R alone. Minus its logarithm is KL(p(x | eta, R) || p(x | eta)), the divergence from the posterior
    conditioned on R; it has a slope however far the curve is away. An annealed path spends equal times at equal steps
    of length, so the mean of the mass over the length is the share of a path's steps in R: g = 1 - log(mean mass) /
    log(limit). The optimiser is given a limit lower by the factor ``margin``, for the lag.

    Attributes:
        statistics: T of the samples in the region, shape (m, n_parameters).
        log_weights: of these samples, normalised over *all* samples, shape (m,).
        limit: share of the steps.
    """

    statistics: Tensor
    log_weights: Tensor
    limit: float
    margin: float = 0.5
    name: str = "avoid"

    def share(self, natural: Tensor, posterior: Posterior) -> Tensor:
        """log of the mean probability mass in the region over the length of a curve, shape (n_curves,).

        Raises:
            UserError: the denoiser has no log-partition.
        """
        if posterior.log_partition is None:
            raise UserError("geodesic.avoid needs a denoiser that gives its log-partition; this one does not.")
        inside = torch.logsumexp(natural @ self.statistics.T + self.log_weights, dim=-1)
        log_mass = (inside - posterior.log_partition).clamp_max(0.0)
        return torch.logsumexp(log_mass + point_shares(natural, posterior.mean).log(), dim=-1)

    def violation(self, natural: Tensor, posterior: Posterior) -> Tensor:
        """g, shape (n_curves, 1, 1)."""
        return (1.0 - self.share(natural, posterior) / math.log(self.limit))[:, None, None]

    def tightened(self) -> AvoidRegion:
        """The constraint the optimiser works with."""
        return replace(self, limit=self.margin * self.limit)


@dataclass(frozen=True)
class Waypoint:
    """The posterior mean passes through a ball: g = (least distance of the curve) / radius - 1.

    Attributes:
        ball: in the variables of the representation's ``center``.
        representation: of the features.
        margin: relative; the optimiser aims at a ball that is smaller by it.
    """

    ball: Ball
    representation: Representation
    margin: float = 0.05
    name: str = "waypoint"

    def violation(self, natural: Tensor, posterior: Posterior) -> Tensor:
        """g, shape (n_curves, 1, 1)."""
        center = self.representation.center(posterior.mean)[..., list(self.ball.columns)]
        offset = center - torch.tensor(self.ball.center, dtype=center.dtype)
        if self.ball.period is not None:
            offset = offset - (offset.detach() / self.ball.period).round() * self.ball.period
        nearest = offset.square().sum(-1).amin(-1)
        return ((nearest + 1e-12).sqrt() / self.ball.radius - 1.0)[:, None, None]

    def tightened(self) -> Waypoint:
        """The constraint the optimiser works with."""
        return replace(self, ball=replace(self.ball, radius=(1.0 - self.margin) * self.ball.radius), margin=0.0)


class AugmentedLagrangian:
    """Pointwise multipliers for a set of constraints (Nocedal and Wright, Numerical Optimization, eq. 17.36 ff.).

    The penalty of a curve grows where an update finds that its violation has hardly shrunk.
    """

    def __init__(self, constraints: list[Constraint], penalty: float):
        self.constraints = constraints
        self._terms = [_Term(constraint, penalty) for constraint in constraints]

    def __call__(self, natural: Tensor, posterior: Posterior) -> Tensor:
        """Penalty term of every curve, shape (n_curves,): mean over points, sum over the parts of a constraint."""
        total = torch.zeros(natural.shape[0], dtype=natural.dtype, device=natural.device)
        for term in self._terms:
            total = total + term(natural, posterior)
        return total

    def update(self, natural: Tensor, posterior: Posterior) -> None:
        """First-order multiplier update."""
        for term in self._terms:
            term.update(natural, posterior)

    def transport(self, old: np.ndarray, new: np.ndarray) -> None:
        """Carry the multipliers from points at curve parameters ``old`` to ``new``, shapes (n_curves, n_points)."""
        for term in self._terms:
            term.transport(old, new)


class _Term:
    def __init__(self, constraint: Constraint, penalty: float):
        self.constraint = constraint
        self._penalty = torch.tensor([[[penalty]]], dtype=torch.float64)
        self._multipliers = torch.zeros(1, 1, 1, dtype=torch.float64)
        self._worst: Tensor | None = None

    def __call__(self, natural: Tensor, posterior: Posterior) -> Tensor:
        g = self.constraint.violation(natural, posterior)
        shifted = torch.relu(self._multipliers + self._penalty * g)
        return ((shifted.square() - self._multipliers.square()) / (2 * self._penalty)).mean(1).sum(-1)

    def update(self, natural: Tensor, posterior: Posterior) -> None:
        g = self.constraint.violation(natural, posterior).detach()
        self._multipliers = torch.relu(self._multipliers + self._penalty * g)
        worst = g.amax((1, 2))
        if self._worst is not None:
            stuck = (worst > _SHRINKS_TO * self._worst) & (worst > 0)
            grown = torch.where(stuck[:, None, None], _GROWTH * self._penalty, self._penalty)
            self._penalty = grown.clamp_max(_LARGEST_PENALTY)
        self._worst = worst.clamp_min(0.0)

    def transport(self, old: np.ndarray, new: np.ndarray) -> None:
        if self._multipliers.shape[1] != old.shape[1]:
            return
        values = self._multipliers.numpy()
        moved = [[np.interp(t, s, column) for column in rows.T] for rows, s, t in zip(values, old, new, strict=True)]
        self._multipliers = torch.from_numpy(np.array(moved)).mT.contiguous()
