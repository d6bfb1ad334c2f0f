"""Restrained windows along a geodesic: where they stand, how they start, and what they saw."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from spacetime_tps.analysis.windows import STUCK, WindowComparison, compare_windows, disagreement
from spacetime_tps.boltzmann.pool import Pool, Seen, solve
from spacetime_tps.boltzmann.recording import Recorder
from spacetime_tps.boltzmann.windows import WindowSamples, sample_windows
from spacetime_tps.config import RunConfig, WindowsConfig
from spacetime_tps.diffusion.denoiser import Denoiser, Posterior
from spacetime_tps.files import require_finite
from spacetime_tps.geometry.curve import FineCurve, evaluate
from spacetime_tps.paths.ensemble import PathEnsemble
from spacetime_tps.paths.molecular import anneal_molecule
from spacetime_tps.paths.schedule import schedule_along
from spacetime_tps.seeds import openmm_seed
from spacetime_tps.stages.context import Context
from spacetime_tps.systems import System

_TOO_MANY = 0.5
"""Share of stuck windows from which on none is left out."""
_QUICK_PATHS = {"count": 2, "equilibration_steps": 5000, "release_steps": 1, "frames": 200}
_FILLINGS = 2
"""Times that windows are put between neighbours that overlap too little."""


@dataclass(frozen=True)
class Placed:
    """Windows in the order in which they stand along a curve.

    Attributes:
        share: of the curve's length that is travelled at each, shape (n_windows,).
        natural: eta of each, shape (n_windows, n_parameters).
        variables: collective variables that were seen, shape (n_windows, n_starts, n, n_cv).
        positions: of the atoms that the representation needs [nm], shape (n_windows, n_starts, n, n_atoms, 3).
        simulation: see ``WindowSamples``, shape (n_windows, n_starts).
        accepted: share of exchanges between those that were placed first; NaN if there were none.
        force_evaluations: of all.
        watched: see ``WindowSamples``, shape (n_windows, n_starts, n_watched, 2).
    """

    share: np.ndarray
    natural: np.ndarray
    variables: np.ndarray
    positions: np.ndarray
    simulation: np.ndarray
    accepted: float
    force_evaluations: int
    watched: np.ndarray

    def joined(self, other: Placed) -> Placed:
        """Both."""
        order = np.argsort(np.concatenate([self.share, other.share]), kind="stable")
        later = other.simulation + self.simulation.max() + 1
        return Placed(
            np.concatenate([self.share, other.share])[order],
            np.concatenate([self.natural, other.natural])[order],
            np.concatenate([self.variables, other.variables])[order],
            np.concatenate([self.positions, other.positions])[order],
            np.concatenate([self.simulation, later])[order],
            self.accepted,
            self.force_evaluations + other.force_evaluations,
            np.concatenate([self.watched, other.watched])[order],
        )

    def every(self, stride: int) -> Placed:
        """With one of ``stride`` samples."""
        rows = np.s_[:, :, stride - 1 :: stride]
        return replace(self, variables=self.variables[rows], positions=self.positions[rows])

    def seen(self, system: System) -> Seen:
        """Their samples."""
        return seen_in(system, self.variables, self.positions)

    def held(self, system: System) -> np.ndarray:
        """T of their samples as the restraints feel it, shape (n_windows, n_starts, n, n_parameters)."""
        return system.molecular.held(self.variables[..., system.represented], self.positions)

    def stuck(self, system: System) -> np.ndarray:
        """Windows whose runs from either start do not meet, shape (n_windows,)."""
        return disagreement(self.seen(system).features) > STUCK

    def pool(self, system: System) -> Pool:
        """Their samples, but for those of stuck windows: how their wells are to be weighed, they do not say.

        Where most are stuck, as many torsions and short runs have it, a chain without them would say less than one with
        them; what the starts have not forgotten is then in the errors, which compare whole simulations.
        """
        sound = ~self.stuck(system)
        return Pool.of_windows(
            self.natural, self.seen(system), self.simulation, sound if mostly_sound(~sound) else None
        )

    def overlaps(self, system: System) -> np.ndarray:
        """Of neighbours, by the windows alone, shape (n_windows - 1,)."""
        return np.diagonal(solve(self.pool(system), system.molecular).reweighted.overlap, offset=1)

    def compared(self, system: System, model: Posterior) -> WindowComparison:
        """Against the model's posteriors at ``natural``."""
        return compare_windows(system.molecular, self.natural, model, self.held(system))


def mostly_sound(stuck: np.ndarray) -> bool:
    """Whether more than half of the windows are not stuck."""
    return float(np.mean(stuck)) < _TOO_MANY


def windows_along(curve: FineCurve, config: WindowsConfig) -> int:
    """How many windows stand at equal steps of a curve's length, before more are put between them."""
    return int(min(config.most, 1 + np.ceil(curve.length / config.spacing)))


def cost_of_quick_paths(config: RunConfig) -> int:
    """Force evaluations of the two paths from whose frames windows start."""
    steps = config.refine.curve_points * config.refine.steps_per_point
    return _QUICK_PATHS["count"] * (steps + _QUICK_PATHS["equilibration_steps"] + 2 * _QUICK_PATHS["release_steps"])


def place_windows(
    context: Context,
    curve: FineCurve,
    denoiser: Denoiser,
    paths: PathEnsemble,
    name: str,
    look_every: int | None = None,
    exchange_every: int = 0,
    watched: np.ndarray | None = None,
    steps: int | None = None,
    shares: np.ndarray | None = None,
) -> Placed:
    """Simulate windows at equal steps of the curve's length, and more of them where neighbours overlap too little.

    Args:
        context: of the run; ``windows`` of its configuration says how many and how long.
        curve: along which they stand.
        denoiser: that the curve belongs to.
        paths: from whose frames they start.
        name: of the simulations and their random streams.
        look_every: steps between samples; None: as configured.
        exchange_every: samples between exchanges of neighbours; 0: none.
        watched: atoms of torsions to look at beside the collective variables, shape (n_watched, 4).
        steps: of each behind the equilibration; None: as configured.
        shares: of the curve's length at which windows stand, and nowhere else; None: as said above.
    """
    config, system = context.config.windows, context.system
    stride = 1 if look_every is None else config.sample_every // look_every

    def at(share: np.ndarray, name: str) -> Placed:
        natural, means = _points(curve, share, denoiser, system)
        starts = _starts_near(paths, system, means)
        found = simulated(context, natural, starts, steps or config.steps, name, look_every, exchange_every, watched)
        recorded = recorder_of(system)
        return Placed(
            share,
            natural,
            recorded.variables(found.seen, system.variables),
            recorded.positions(found.seen),
            found.simulation,
            found.accepted,
            found.force_evaluations,
            found.watched,
        )

    if shares is not None:
        return at(shares, name)
    placed = at(np.linspace(0.0, 1.0, windows_along(curve, config)), name)
    for filling in range(1, _FILLINGS + 1):
        overlaps = placed.every(stride).overlaps(system)
        poor = np.argsort(overlaps, kind="stable")[: config.most - len(placed.share)]
        poor = np.sort(poor[overlaps[poor] < config.least_overlap])
        if not len(poor):
            break
        placed = placed.joined(at(0.5 * (placed.share[poor] + placed.share[poor + 1]), f"{name}, between {filling}"))
    return placed


def quick_paths(context: Context, denoiser: Denoiser, curve: FineCurve, name: str) -> PathEnsemble:
    """Two quick paths along a curve, one in each direction, from whose frames windows may start.

    Args:
        context: of the run.
        denoiser: that the curve belongs to.
        curve: that they follow.
        name: of the simulations and their random streams.
    """
    config = context.config
    schedule = schedule_along(
        curve, context.system.representation, denoiser, config.refine.curve_points, config.paths.schedule
    )
    return anneal_molecule(
        context.system,
        context.dynamics(),
        schedule,
        config.paths.model_copy(update=_QUICK_PATHS),
        config.refine.steps_per_point,
        lambda k: openmm_seed(config.seed, name, "paths", k),
        context.pool,
        context.copies(),
    )


def simulated(
    context: Context,
    natural: np.ndarray,
    starts: np.ndarray,
    steps: int,
    name: str,
    look_every: int | None = None,
    exchange_every: int = 0,
    watched: np.ndarray | None = None,
) -> WindowSamples:
    """Restrained simulations of the system; what is recorded of it, ``recorder_of`` reads."""
    system, config = context.system, context.config.windows.model_copy(update={"steps": steps})
    found = sample_windows(
        context.dynamics(), system.molecular, natural, starts, config, context.config.seed, context.pool,
        recorder_of(system), name, look_every, exchange_every, context.copies(), watched,
    )  # fmt: skip
    require_finite("The windows are", "lower the time step or geodesic.log_snr_end", found.seen)
    return found


def recorder_of(system: System) -> Recorder:
    """Keeps the collective variables of a molecule, and what else its representation needs."""
    assert system.variables.quadruples is not None
    return Recorder(system.variables.quadruples, system.recorded_atoms, system.variables.measures)


def seen_in(system: System, variables: np.ndarray, positions: np.ndarray) -> Seen:
    """Samples of which collective variables, shape (..., n_cv), and positions, (..., n_atoms, 3) [nm], are known."""
    features = system.molecular.features_of_seen(variables[..., system.represented], positions)
    return Seen(features, system.in_states(variables), variables)


def _points(curve: FineCurve, share: np.ndarray, denoiser: Denoiser, system: System) -> tuple[np.ndarray, np.ndarray]:
    """Natural parameters and posterior means where shares of the curve are travelled."""
    natural = system.representation.natural(torch.from_numpy(curve.at_shares(share)))
    return natural.numpy(), evaluate(denoiser, natural).mean.numpy()


def _starts_near(paths: PathEnsemble, system: System, means: np.ndarray) -> np.ndarray:
    """For each window the frame nearest to its posterior mean of one path from A and of one from B, in turn."""
    found = []
    for w, mean in enumerate(means[:, : system.representation.n_features]):
        pair = []
        for side in (np.flatnonzero(paths.forward), np.flatnonzero(~paths.forward)):
            frames = paths.frames[side[w % len(side)]].astype(float)
            away = np.square(system.representation.features(frames) - mean).sum(axis=-1)
            pair.append(frames[away.argmin()])
        found.append(pair)
    return np.array(found)
