"""Spacetime geodesics: minimise the curve energy over splines, all starts in one batch, constraints held.

Adam under a cosine schedule finds the valley while the objectives grow in and the multipliers form; rounds of L-BFGS
go down to its bottom. After every round the points of a curve are moved to equal steps of its Fisher-Rao length, so
that none of them is spent where nothing changes and no bump hides between two of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from spacetime_tps.config import GeodesicConfig
from spacetime_tps.diffusion.denoiser import Denoiser, Posterior
from spacetime_tps.geometry.constraints import AugmentedLagrangian, Constraint, Objective
from spacetime_tps.geometry.curve import FineCurve, chords, curve_energy, evaluate, fine_curves
from spacetime_tps.geometry.lbfgs import minimise
from spacetime_tps.geometry.spline import SplineBasis
from spacetime_tps.progress import progress_bar
from spacetime_tps.representations import Channel, Representation

_ADAM_ROUNDS = 10
_SCOUT_POINTS, _SCOUT_FINE_FACTOR = 48, 4
_PROJECTION_POINTS = 1025
_RAMP_SHARE = 0.5
"""Objectives grow in over this share of Adam's steps: thrown in at once, they tear the posterior apart at the ridge."""
_INNER_TOLERANCE = 1e-8
_LARGEST_STEP = 2.0
"""In whitened coefficients; half of it bounds the displacement of a curve in chart coordinates."""
_MOVING_ROUNDS = 3
"""Rounds of L-BFGS after which the points move; then they rest, so that the multipliers can settle."""
_LEAST_SPEED = 0.2
"""Of the mean: a curve that stands still somewhere keeps some points there."""


@dataclass(frozen=True)
class Geodesic:
    """The optimised curve of one channel, judged on the fine grid.

    Attributes:
        channel: where it started from.
        curve: on the fine grid, points at nearly equal steps of Fisher-Rao length.
        coarse_energy: on the grid of the optimiser.
        converged: the fine-grid energy changed by less than the tolerance in the last round and the constraints hold.
        history: fine-grid energy after every round, shape (n_rounds,).
        max_violation: largest g of all constraints on the fine grid (<= 0 where they hold), or -1 without any.
        violations: the same by constraint.
        iterations: gradient evaluations of the whole batch.
        weights: coefficients of the spline, shape (n_nodes, n_coordinates), where the curve is one.
    """

    channel: Channel
    curve: FineCurve
    coarse_energy: float
    converged: bool
    history: np.ndarray
    max_violation: float
    violations: dict[str, float]
    iterations: int
    weights: np.ndarray | None = None


def optimise_geodesics(
    denoiser: Denoiser,
    representation: Representation,
    channels: list[Channel],
    config: GeodesicConfig,
    constraints: Sequence[Constraint] = (),
    objectives: Sequence[Objective] = (),
    rng: torch.Generator | None = None,
    target_energy: float | None = None,
    earlier: Sequence[np.ndarray | None] | None = None,
) -> list[Geodesic]:
    """Minimise E / E_0 + objectives + augmented Lagrangian in float64 and judge the result on a finer grid.

    E_0 is the channel's initial energy, which makes one penalty and one learning rate fit every channel. With
    ``config.starts`` above one, as many scouts of each channel, all but the first bent, are sent ahead on a coarser
    grid, and the lowest of them goes on.

    Args:
        denoiser: anything with the contract.
        representation: its chart.
        channels: ends and windings.
        config: grids, steps and tolerances. Its geometry, constraints and end level are what the stage ``geodesic``
            makes channels, constraints and objectives of; they are not read here.
        constraints: held at every point of the fine grid.
        objectives: added to the relative energy.
        rng: of the bends; seed 0 without it.
        target_energy: stop once the fine-grid energy of every channel is this low.
        earlier: a curve of each channel that is known from before, in chart coordinates between its ends, shape
            (n, n_coordinates); it takes the place of the last scout.
    """
    terms = (constraints, objectives)
    search = _Search(denoiser, representation, channels, config, *terms)
    scouts = [channel for channel in channels for _ in range(config.starts)]
    polish = config.polish_rounds * config.polish_steps
    steps = config.steps + polish + (config.scout_steps if config.starts > 1 else 0)
    with progress_bar(steps, "geodesics", "step") as bar:
        if config.starts == 1:
            weights = search.begun_from(search.arches(), earlier)
            weights = search.adam(weights, config.steps, ramped=True, bar=bar)
        else:
            rough = config.model_copy(
                update={
                    "points": min(config.points, _SCOUT_POINTS),
                    "fine_factor": min(config.fine_factor, _SCOUT_FINE_FACTOR),
                }
            )
            scouting = _Search(denoiser, representation, scouts, rough, *terms)
            weights = scouting.arches()
            weights += _bends(scouting, config, rng or torch.Generator().manual_seed(0))
            weights = scouting.begun_from(weights, earlier)
            weights = scouting.adam(weights, config.scout_steps, ramped=True, bar=bar)
            weights = scouting.lowest(weights, config.starts)
            weights = search.adam(weights, config.steps, ramped=False, bar=bar)
        weights = search.polish(weights, bar, target_energy)
    return search.judged(weights)


def polish_geodesics(
    denoiser: Denoiser,
    representation: Representation,
    drafts: list[Geodesic],
    config: GeodesicConfig,
    constraints: Sequence[Constraint] = (),
    objectives: Sequence[Objective] = (),
) -> list[Geodesic]:
    """Go on from curves that were optimised without rounds of L-BFGS; see ``optimise_geodesics``."""
    search = _Search(denoiser, representation, [draft.channel for draft in drafts], config, constraints, objectives)
    search.arches()
    search.iterations = max(draft.iterations for draft in drafts)
    weights = torch.from_numpy(np.stack([draft.weights for draft in drafts if draft.weights is not None]))
    with progress_bar(config.polish_rounds * config.polish_steps, "polish", "step") as bar:
        weights = search.polish(weights, bar)
    return search.judged(weights)


def _bends(search: _Search, config: GeodesicConfig, rng: torch.Generator) -> Tensor:
    """Coefficients that bend all but the first start of every channel, the same ways in each, evenly spread."""
    n_curves, n = search.start.shape
    s = torch.linspace(0.0, 1.0, _PROJECTION_POINTS, dtype=torch.float64)
    waves = torch.stack([torch.sin(np.pi * k * s) for k in (1, 2)], dim=-1)
    engine = torch.quasirandom.SobolEngine(2 * n, scramble=True, seed=int(torch.randint(2**31, (1,), generator=rng)))
    uniform = engine.draw(config.starts, dtype=torch.float64).clamp(1e-3, 1 - 1e-3)
    size = torch.special.ndtri(uniform).view(config.starts, 2, n)
    size[0] = 0.0
    size[..., search.representation.log_snr_coordinates] = 0.0
    extent = (search.end - search.start).abs()
    reach = torch.maximum(extent, 0.5 * extent.amax(1, keepdim=True))[:, None]
    return search.project(waves) @ (config.bend * reach * size.repeat(n_curves // config.starts, 1, 1))


@dataclass(frozen=True)
class _FineGrid:
    """Curves on the fine grid: parameters (n_curves, n_fine), chart coordinates, natural parameters, posteriors."""

    parameters: np.ndarray
    coordinates: Tensor
    natural: Tensor
    posterior: Posterior


class _Search:
    """One optimisation of a batch of curves."""

    def __init__(
        self,
        denoiser: Denoiser,
        representation: Representation,
        channels: list[Channel],
        config: GeodesicConfig,
        constraints: Sequence[Constraint],
        objectives: Sequence[Objective],
    ):
        self.denoiser, self.representation, self.config = denoiser, representation, config
        self.channels = channels
        self.constraints, self.objectives = constraints, objectives
        self.basis = SplineBasis(config.nodes)
        self.start, self.end = (torch.tensor(np.stack([getattr(c, e) for c in channels])) for e in ("start", "end"))
        self.lagrangian = AugmentedLagrangian([c.tightened() for c in constraints], config.penalty)
        uniform = np.linspace(0.0, 1.0, config.points)
        self._move_points(np.repeat(uniform[None], len(channels), axis=0))
        self.scale: Tensor | None = None
        self.iterations = 0
        self.history: list[Tensor] = []

    def polish(self, weights: Tensor, bar: tqdm, target_energy: float | None = None) -> Tensor:
        """Rounds of L-BFGS until nothing changes and every constraint holds, or the target is reached."""
        config = self.config
        for k in range(config.polish_rounds):
            if 0 < k <= _MOVING_ROUNDS:
                self._space_evenly()
            found = minimise(self.loss, weights, config.polish_steps, _INNER_TOLERANCE, _LARGEST_STEP)
            weights = found.variables
            self.iterations += found.evaluations
            self._end_round(weights)
            bar.update(config.polish_steps)
            if self._still().all() and all(bool((v <= 0.0).all()) for v in self._violations()):
                break
            if target_energy is not None and bool((self.history[-1] <= target_energy).all()):
                break
        return weights

    def coordinates(self, weights: Tensor) -> Tensor:
        """Chart coordinates of the curves, shape (n_curves, n_points, n_coordinates)."""
        return self.line + self.matrix @ weights

    def energy(self, weights: Tensor) -> tuple[Tensor, Tensor, Posterior]:
        """Curve energies, shape (n_curves,), with the natural parameters and posteriors they come from."""
        natural = self.representation.natural(self.coordinates(weights))
        posterior = self.denoiser(natural)
        # An inconsistent model can make chords negative; without the absolute value they would be sought out.
        return curve_energy(chords(natural, posterior.mean).abs()), natural, posterior

    def loss(self, weights: Tensor, ramp: float = 1.0) -> Tensor:
        """What is minimised, shape (n_curves,)."""
        energy, natural, posterior = self.energy(weights)
        assert self.scale is not None
        total = energy / self.scale
        if self.constraints:
            total = total + self.lagrangian(natural, posterior)
        for objective in self.objectives:
            total = total + ramp * objective(natural, posterior)
        return total

    def arches(self) -> Tensor:
        """Coefficients of straight lines with the channels' detours, the log-SNR lowered by a parabola; sets E_0."""
        s = torch.linspace(0.0, 1.0, _PROJECTION_POINTS, dtype=torch.float64)
        arch = torch.zeros(len(s), self.start.shape[1], dtype=torch.float64)
        arch[:, self.representation.log_snr_coordinates] = (-4.0 * self.config.arch_depth * s * (1 - s))[:, None]
        weights = self.project(arch).expand(len(self.channels), -1, -1).clone()
        for row, channel in zip(weights, self.channels, strict=True):
            if channel.detour is not None:
                row += self.project(torch.from_numpy(channel.detour))
        with torch.no_grad():
            self.scale = self.energy(weights)[0].clamp_min(1e-12)
        return weights

    def begun_from(self, weights: Tensor, earlier: Sequence[np.ndarray | None] | None) -> Tensor:
        """The coefficients, the last of those of each channel replaced by a curve that is known."""
        each = len(weights) // len(earlier) if earlier else 0
        for k, curve in enumerate(earlier or ()):
            if curve is not None:
                s, last = torch.linspace(0.0, 1.0, len(curve), dtype=torch.float64)[:, None], (k + 1) * each - 1
                straight = (1 - s) * self.start[last] + s * self.end[last]
                weights[last] = self.project(torch.from_numpy(curve) - straight)
        return weights

    def project(self, displacement: Tensor) -> Tensor:
        """Coefficients of displacements given at equal steps of s, shape (n, m): the basis is white in slopes."""
        s = np.linspace(0.0, 1.0, len(displacement))
        return (len(s) - 1) * self.basis.matrix(s).diff(dim=0).T @ displacement.diff(dim=0)

    @torch.no_grad()
    def lowest(self, weights: Tensor, starts: int) -> Tensor:
        """Of each channel's ``starts`` curves the one of least loss, shape (n_channels, ...)."""
        best = self.loss(weights).unflatten(0, (-1, starts)).argmin(1)
        return weights.unflatten(0, (-1, starts))[torch.arange(len(best)), best]

    def adam(self, weights: Tensor, steps: int, ramped: bool, bar: tqdm) -> Tensor:
        """``steps`` of Adam under a cosine schedule; ``ramped``: the objectives grow in."""
        if self.scale is None:
            self.arches()
        weights = weights.clone().requires_grad_(True)
        optimiser = torch.optim.Adam([weights], lr=self.config.learning_rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, max(1, steps))
        for step in range(steps):
            loss = self.loss(weights, min(1.0, step / (_RAMP_SHARE * steps)) if ramped else 1.0).sum()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
            self.iterations += 1
            if (step + 1) * _ADAM_ROUNDS // steps > step * _ADAM_ROUNDS // steps:
                self._end_round(weights.detach())
                self._space_evenly()
            bar.update()
        return weights.detach()

    @torch.no_grad()
    def _end_round(self, weights: Tensor) -> None:
        """Update the multipliers and look at the curves on the fine grid."""
        if self.constraints:
            _, natural, posterior = self.energy(weights)
            self.lagrangian.update(natural, posterior)
        self._look(weights)
        self.history.append(curve_energy(chords(self.fine.natural, self.fine.posterior.mean)))

    @torch.no_grad()
    def _look(self, weights: Tensor) -> None:
        points, count = self.config.points, (self.config.points - 1) * self.config.fine_factor + 1
        at = np.linspace(0.0, points - 1.0, count)
        parameters = np.stack([np.interp(at, np.arange(points), row) for row in self.parameters])
        matrix, line = self._basis_at(parameters)
        coordinates = line + matrix @ weights
        natural = self.representation.natural(coordinates)
        self.fine = _FineGrid(parameters, coordinates, natural, evaluate(self.denoiser, natural))

    def _space_evenly(self) -> None:
        """Move the points to equal steps of length; the multipliers stay where they are on the curve."""
        parameters = self.fine.parameters
        chord = chords(self.fine.natural, self.fine.posterior.mean)
        speed = chord.clamp_min(0.0).sqrt().numpy() / np.diff(parameters)
        total = (speed * np.diff(parameters)).sum(1, keepdims=True)
        steps = np.maximum(speed, _LEAST_SPEED * total) * np.diff(parameters)
        travelled = np.concatenate([np.zeros((len(steps), 1)), np.cumsum(steps, axis=1)], axis=1)
        share = np.linspace(0.0, 1.0, self.config.points)
        old = self.parameters
        self._move_points(
            np.stack([np.interp(share * t[-1], t, s) for t, s in zip(travelled, parameters, strict=True)])
        )
        self.lagrangian.transport(old, self.parameters)

    def _move_points(self, parameters: np.ndarray) -> None:
        self.parameters = parameters
        self.matrix, self.line = self._basis_at(parameters)

    def _basis_at(self, parameters: np.ndarray) -> tuple[Tensor, Tensor]:
        s = torch.from_numpy(parameters)[..., None]
        return self.basis.matrix(parameters), (1 - s) * self.start[:, None] + s * self.end[:, None]

    def _still(self) -> Tensor:
        """Which curves' fine-grid energy the last round left alone."""
        if len(self.history) < 2:
            return torch.zeros(len(self.channels), dtype=torch.bool)
        last, before = self.history[-1], self.history[-2]
        return (last - before).abs() <= self.config.tolerance * last.abs()

    @torch.no_grad()
    def _violations(self) -> list[Tensor]:
        return [c.violation(self.fine.natural, self.fine.posterior).amax((1, 2)) for c in self.constraints]

    @torch.no_grad()
    def judged(self, weights: Tensor) -> list[Geodesic]:
        """The curves on the fine grid, with what was asked of them."""
        coarse = curve_energy(chords(*self._on_own_grid(weights)))
        if not self.history:
            self._look(weights)
        fine, violations, still = self.fine, self._violations(), self._still()
        curves = fine_curves(fine.coordinates, fine.natural, fine.posterior)
        history = torch.stack(self.history, 1).numpy() if self.history else np.zeros((len(curves), 0))
        found = []
        for k, (channel, curve) in enumerate(zip(self.channels, curves, strict=True)):
            by_name = {c.name: float(v[k]) for c, v in zip(self.constraints, violations, strict=True)}
            worst = max(by_name.values(), default=-1.0)
            converged = bool(still[k]) and worst <= self.config.violation_tolerance
            judged = (float(coarse[k]), converged, history[k], worst, by_name, self.iterations, weights[k].numpy())
            found.append(Geodesic(channel, curve, *judged))
        return found

    def _on_own_grid(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        _, natural, posterior = self.energy(weights)
        return natural, posterior.mean
