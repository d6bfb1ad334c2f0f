"""Geodesics of other metrics, for comparison: straight lines, the score metric, the pullback metric.

They live in the space of positions and know no noise level; to be annealed along, they get a tent in log-SNR.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from spacetime_tps.config import GeodesicConfig
from spacetime_tps.diffusion.denoiser import Denoiser, Posterior
from spacetime_tps.geometry.constraints import Constraint
from spacetime_tps.geometry.curve import chords, curve_energy, evaluate, fine_curves
from spacetime_tps.geometry.geodesic import Geodesic
from spacetime_tps.geometry.lbfgs import minimise
from spacetime_tps.geometry.smoothed import SmoothedDensity
from spacetime_tps.geometry.spline import SplineBasis
from spacetime_tps.progress import progress_bar
from spacetime_tps.representations import Channel, Representation

_TOLERANCE = 1e-9
_LARGEST_STEP = 2.0
_TENT_TRIALS = 72
_FLOW_POINTS = 48
_FLOW_STEPS = 48
_PULLBACK_STEPS = 40
_PULLBACK_TOLERANCE = 1e-7


@dataclass(frozen=True)
class PositionCurves:
    """Curves in the space of positions.

    Attributes:
        positions: shape (n_curves, n_points, n_positions).
        iterations: gradient evaluations of the whole batch.
        converged: whether the search for them came to rest; straight lines need none.
        deviation: largest distance of each decoded curve from the straight line, shape (n_curves,); pullback only.
    """

    positions: Tensor
    iterations: int = 0
    converged: bool = True
    deviation: np.ndarray | None = None


def straight_lines(start: Tensor, end: Tensor, points: int) -> Tensor:
    """Shape (n_curves, points, n), between ends of shape (n_curves, n)."""
    s = torch.linspace(0.0, 1.0, points, dtype=start.dtype)[:, None]
    return (1 - s) * start[:, None] + s * end[:, None]


def score_metric_geodesics(
    density: SmoothedDensity, start: Tensor, end: Tensor, config: GeodesicConfig
) -> PositionCurves:
    """Shortest curves under g = I + w s s^T, s the score at small noise (arXiv 2505.11128).

    The score points off the data manifold, so moving along it is made long.

    Args:
        density: gives the score, at ``config.log_snr_end``.
        start, end: positions, shape (n_curves, n_positions).
        config: grid, nodes, steps, and the multiple ``config.score_weight``.
    """

    def energy(curve: Tensor) -> Tensor:
        score = density.score(curve, config.log_snr_end)
        step, middle = curve.diff(dim=1), 0.5 * (score[:, 1:] + score[:, :-1])
        square = step.square().sum(-1) + config.score_weight * (middle * step).sum(-1).square()
        return curve_energy(square)

    return _shortest(energy, straight_lines(start, end, config.points), config)


def score_metric_extrapolation(
    density: SmoothedDensity,
    start: Tensor,
    velocity: Tensor,
    log_snr: float,
    weight: float,
    length: float,
    steps: int = 200,
) -> Tensor:
    """Follow the score metric's geodesic from a point in a direction: the initial-value problem.

    Hamilton's equations of H = pi . g^-1 pi / 2 with g^-1 = I - w s s^T / (1 + w |s|^2), by fourth-order Runge-Kutta.

    Args:
        density: gives the score.
        start: shape (n, n_positions).
        velocity: initial direction, shape (n, n_positions); only its direction counts.
        log_snr: level of the score.
        weight: the multiple w.
        length: of the curve under the metric.
        steps: of the integrator.

    Returns:
        positions, shape (n, steps + 1, n_positions).
    """

    def lower(p: Tensor, v: Tensor) -> Tensor:
        s = density.score(p, log_snr)
        return v + weight * (s * v).sum(-1, keepdim=True) * s

    def rates(p: Tensor, pi: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            p, pi = p.detach().requires_grad_(True), pi.detach().requires_grad_(True)
            s = density.score(p, log_snr)
            along = (s * pi).sum(-1).square() * weight / (1.0 + weight * s.square().sum(-1))
            hamiltonian = 0.5 * (pi.square().sum(-1) - along).sum()
            dp, dpi = torch.autograd.grad(hamiltonian, (pi, p))
        return dp, -dpi

    momentum = lower(start, velocity)
    momentum = momentum / (momentum * velocity).sum(-1, keepdim=True).sqrt()
    x, h, seen = start, length / steps, [start]
    for _ in range(steps):
        k1 = rates(x, momentum)
        k2 = rates(x + 0.5 * h * k1[0], momentum + 0.5 * h * k1[1])
        k3 = rates(x + 0.5 * h * k2[0], momentum + 0.5 * h * k2[1])
        k4 = rates(x + h * k3[0], momentum + h * k3[1])
        x = x + h / 6 * (k1[0] + 2 * k2[0] + 2 * k3[0] + k4[0])
        momentum = momentum + h / 6 * (k1[1] + 2 * k2[1] + 2 * k3[1] + k4[1])
        seen.append(x)
    return torch.stack(seen, dim=1)


def pullback_geodesics(
    density: SmoothedDensity, start: Tensor, end: Tensor, low: float, config: GeodesicConfig
) -> PositionCurves:
    """Shortest curves in latent space under the metric pulled back by the probability-flow decoder.

    The decoder is a bijection of flat spaces, so decoded geodesics are straight lines (arXiv 2505.17517, section 3);
    how far the optimised ones are from that is reported. A region takes up as much of latent space as it holds of the
    probability, so in double precision nothing above some 25 kT can be told apart there.

    The energy sum_n |dec(z_n+1) - dec(z_n)|^2 is lowered from the straight line in latent space by its natural
    gradient, which moves dec(z) towards even spacing between its ends; the encoder takes each step back to latent
    space.

    Args:
        density: gives the flow.
        start, end: decoded ends, shape (n_curves, n_positions).
        low: log-SNR of the latent space.
        config: level of the ends.
    """
    high = config.log_snr_end
    first, last = (density.flow(x, high, low, _FLOW_STEPS) for x in (start, end))
    latent, converged = straight_lines(first, last, _FLOW_POINTS), False
    decoded = density.flow(latent, low, high, _FLOW_STEPS)
    energy, steps = _stretch(decoded), 0
    target = straight_lines(start, end, _FLOW_POINTS)
    with progress_bar(_PULLBACK_STEPS, "geodesics", "step") as bar:
        while steps < _PULLBACK_STEPS:
            steps += 1
            latent = density.flow(decoded + 0.5 * (target - decoded), high, low, _FLOW_STEPS)
            decoded, before = density.flow(latent, low, high, _FLOW_STEPS), energy
            energy = _stretch(decoded)
            bar.update()
            converged = bool((before - energy <= _PULLBACK_TOLERANCE * energy).all())
            if converged:
                break
    along = decoded[:, -1:] - decoded[:, :1]
    offset = decoded - decoded[:, :1]
    share = (offset * along).sum(-1, keepdim=True) / along.square().sum(-1, keepdim=True)
    deviation = (offset - share * along).norm(dim=-1).amax(1).numpy()
    return PositionCurves(decoded, steps, converged, deviation)


def _stretch(decoded: Tensor) -> Tensor:
    return curve_energy(decoded.diff(dim=1).square().sum(-1))


def _shortest(energy: Callable[[Tensor], Tensor], line: Tensor, config: GeodesicConfig) -> PositionCurves:
    matrix = SplineBasis(config.nodes).matrix(np.linspace(0.0, 1.0, line.shape[1]))
    with torch.no_grad():
        scale = energy(line).detach()
    weights, evaluations = torch.zeros(len(line), config.nodes, line.shape[-1], dtype=line.dtype), 0
    still = False
    with progress_bar(config.polish_rounds, "geodesics", "round") as bar:
        for _ in range(config.polish_rounds):
            found = minimise(
                lambda w: energy(line + matrix @ w) / scale, weights, config.polish_steps, _TOLERANCE, _LARGEST_STEP
            )
            evaluations += found.evaluations
            still = bool((found.variables - weights).norm() <= 1e-3 * found.variables.norm().clamp_min(1e-12))
            weights = found.variables
            bar.update()
            if still:
                break
    return PositionCurves((line + matrix @ weights).detach(), evaluations, still)


def with_tent(
    curves: PositionCurves,
    denoiser: Denoiser,
    representation: Representation,
    channels: list[Channel],
    config: GeodesicConfig,
    constraints: Sequence[Constraint],
    log_snr_range: tuple[float, float],
) -> list[Geodesic]:
    """Give curves a linear tent in log-SNR and judge them like spacetime geodesics.

    The middle of the tent lies at ``config.tent_log_snr``, or without it at the lowest level of the trained range that
    keeps the constraints, curve by curve; at the level of the ends where no level does.
    """
    density = SmoothedDensity(denoiser, representation)
    fine = _resampled(curves.positions, (config.points - 1) * config.fine_factor + 1)
    arm = 1.0 - (2 * torch.linspace(0.0, 1.0, fine.shape[1], dtype=fine.dtype) - 1.0).abs()

    def judged(middle: Tensor) -> tuple[Tensor, Tensor, Posterior, list[Tensor]]:
        level = config.log_snr_end + (middle[:, None] - config.log_snr_end) * arm
        coordinates = density.chart(fine, level)
        natural = representation.natural(coordinates)
        posterior = evaluate(denoiser, natural)
        with torch.no_grad():
            return coordinates, natural, posterior, [c.violation(natural, posterior).amax((1, 2)) for c in constraints]

    best = torch.full((len(fine),), config.log_snr_end, dtype=fine.dtype)
    if config.tent_log_snr is not None:
        best = torch.full_like(best, config.tent_log_snr)
    elif constraints:
        for level in np.linspace(log_snr_range[1], log_snr_range[0], _TENT_TRIALS):
            middle = torch.full_like(best, float(level))
            worst = torch.stack(judged(middle)[3]).amax(0)
            best = torch.where(worst <= 0.0, middle, best)
    coordinates, natural, posterior, violations = judged(best)
    stride = config.fine_factor
    coarse = curve_energy(chords(natural[:, ::stride], posterior.mean[:, ::stride]))
    found = []
    for k, (channel, curve) in enumerate(zip(channels, fine_curves(coordinates, natural, posterior), strict=True)):
        by_name = {c.name: float(v[k]) for c, v in zip(constraints, violations, strict=True)}
        worst_of_all = max(by_name.values(), default=-1.0)
        held = curves.converged and worst_of_all <= config.violation_tolerance
        history = np.array([curve.energy])
        found.append(
            Geodesic(channel, curve, float(coarse[k]), held, history, worst_of_all, by_name, curves.iterations)
        )
    return found


def _resampled(positions: Tensor, points: int) -> Tensor:
    """Linear interpolation at equal steps of Euclidean length, shape (n_curves, points, n)."""
    rows = []
    for curve in positions.numpy():
        travelled = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(curve, axis=0), axis=1))])
        wanted = np.linspace(0.0, travelled[-1], points)
        rows.append(np.stack([np.interp(wanted, travelled, column) for column in curve.T], axis=-1))
    return torch.from_numpy(np.array(rows))
