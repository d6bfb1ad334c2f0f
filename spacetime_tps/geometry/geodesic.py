"""Spacetime geodesics: minimise the curve energy over splines, all channels in one batch, constraints held."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from spacetime_tps.config import GeodesicConfig
from spacetime_tps.diffusion.denoiser import Denoiser, Posterior
from spacetime_tps.geometry.constraints import AugmentedLagrangian, Constraint, Objective
from spacetime_tps.geometry.curve import FineCurve, chords, curve_energy, evaluate, fine_curves
from spacetime_tps.geometry.spline import SplineBasis, straight
from spacetime_tps.progress import progress_bar
from spacetime_tps.representations import Channel, Representation

_CONVERGENCE_ROUNDS = 3
_VIOLATION_TOLERANCE = 0.05
_RAMP_SHARE = 0.5
"""Objectives grow in over this share of the steps: thrown in at once, they tear the posterior apart at the ridge."""


@dataclass(frozen=True)
class Geodesic:
    """The optimised curve of one channel, judged on the fine grid.

    Attributes:
        channel: where it started from.
        curve: on the fine grid.
        converged: the fine-grid energy stood still over the last rounds and the constraints hold.
        history: fine-grid energy after every round, shape (n_rounds,).
        max_violation: largest g of all constraints on the fine grid (<= 0 where they hold), or -1 without any.
    """

    channel: Channel
    curve: FineCurve
    converged: bool
    history: np.ndarray
    max_violation: float


def optimise_geodesics(
    denoiser: Denoiser,
    representation: Representation,
    channels: list[Channel],
    config: GeodesicConfig,
    constraints: list[Constraint],
    objectives: list[Objective] | None = None,
) -> list[Geodesic]:
    """Minimise E / E_0 + objectives + augmented Lagrangian with Adam under a cosine schedule, float64.

    E_0 is the channel's initial energy, which makes one penalty and one learning rate fit every channel. The
    multipliers are updated after every round of ``steps / (multiplier_updates + 1)`` steps.
    """
    basis = SplineBasis(config.nodes)
    start, end = (torch.tensor(np.stack([getattr(c, side) for c in channels])) for side in ("start", "end"))
    coarse, fine = config.points, (config.points - 1) * config.fine_factor + 1
    problem = _Problem(denoiser, representation, straight(start, end, coarse), basis.matrix(coarse))
    judge = _Problem(denoiser, representation, straight(start, end, fine), basis.matrix(fine))
    weights = _arched(problem, representation, config.arch_depth).requires_grad_(True)
    lagrangian = AugmentedLagrangian([c.tightened() for c in constraints], config.penalty)
    optimiser = torch.optim.Adam([weights], lr=config.learning_rate)
    rounds = config.multiplier_updates + 1
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, config.steps)
    with torch.no_grad():
        initial = problem.energy(weights)[0].clamp_min(1e-12)
    history = []
    with progress_bar(config.steps, "geodesics", "step") as bar:
        for step in range(config.steps):
            energy, natural, posterior = problem.energy(weights)
            loss = energy / initial + lagrangian(natural, posterior)
            ramp = min(1.0, step / (_RAMP_SHARE * config.steps))
            for objective in objectives or []:
                loss = loss + ramp * objective(natural, posterior)
            loss = loss.sum()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
            if (step + 1) * rounds // config.steps > step * rounds // config.steps:
                with torch.no_grad():
                    _, natural, posterior = problem.energy(weights)
                    lagrangian.update(natural, posterior)
                    history.append(judge.energy(weights)[0])
            bar.update()
    return _judged(judge, weights.detach(), channels, constraints, torch.stack(history, 1).numpy(), config.tolerance)


class _Problem:
    """The energy of spline curves as a function of their whitened coefficients on one grid."""

    def __init__(self, denoiser: Denoiser, representation: Representation, line: Tensor, basis: Tensor):
        self.denoiser, self.representation, self.line, self.basis = denoiser, representation, line, basis

    def coordinates(self, weights: Tensor) -> Tensor:
        return self.line + self.basis @ weights

    def energy(self, weights: Tensor) -> tuple[Tensor, Tensor, Posterior]:
        natural = self.representation.natural(self.coordinates(weights))
        posterior = self.denoiser(natural)
        return curve_energy(chords(natural, posterior.mean)), natural, posterior


def _arched(problem: _Problem, representation: Representation, depth: float) -> Tensor:
    """Coefficients of the initial curve: the straight line with its log-SNR lowered by a parabola of ``depth``.

    The basis is white in the inner product of derivatives, so that a projection in it is one product.
    """
    n_curves, points, n_coordinates = problem.line.shape
    s = torch.linspace(0.0, 1.0, points, dtype=problem.line.dtype)
    arch = torch.zeros(points, n_coordinates, dtype=problem.line.dtype)
    arch[:, representation.log_snr_coordinates] = (-4.0 * depth * s * (1 - s))[:, None]
    weights = (points - 1) * problem.basis.diff(dim=0).T @ arch.diff(dim=0)
    return weights.expand(n_curves, -1, -1).clone()


def _judged(
    judge: _Problem,
    weights: Tensor,
    channels: list[Channel],
    constraints: list[Constraint],
    history: np.ndarray,
    tolerance: float,
) -> list[Geodesic]:
    coordinates = judge.coordinates(weights)
    natural = judge.representation.natural(coordinates)
    posterior = evaluate(judge.denoiser, natural)
    violation = np.full(len(channels), -1.0)
    for constraint in constraints:
        violation = np.maximum(violation, constraint.violation(natural, posterior).amax((1, 2)).numpy())
    last = history[:, -_CONVERGENCE_ROUNDS:]
    still = np.ptp(last, axis=1) <= tolerance * np.abs(last[:, -1])
    curves = fine_curves(coordinates, natural, posterior)
    return [
        Geodesic(channel, curve, bool(still[k] and violation[k] <= _VIOLATION_TOLERANCE), history[k], violation[k])
        for k, (channel, curve) in enumerate(zip(channels, curves, strict=True))
    ]
