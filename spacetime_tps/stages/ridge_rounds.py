"""Rounds of shots across the ridges of channels: first across the curve, then where p_B by these is one half."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.special import logsumexp

from spacetime_tps.analysis.committor import LogisticCommittor, logistic_committor
from spacetime_tps.analysis.free_energies import along_by_samples
from spacetime_tps.analysis.rates import effective_share
from spacetime_tps.boltzmann.pool import Seen, Solution
from spacetime_tps.config import TransitionsConfig
from spacetime_tps.diffusion.denoiser import Denoiser
from spacetime_tps.files import require_finite
from spacetime_tps.geometry.curve import FineCurve, evaluate
from spacetime_tps.parallel import WorkerPool
from spacetime_tps.representations import Identity
from spacetime_tps.representations.ridge import RidgeWindows
from spacetime_tps.shooting.chains import EngineRecipe
from spacetime_tps.shooting.engine import IN_B, NOWHERE
from spacetime_tps.shooting.fates import fates_of
from spacetime_tps.shooting.ridges import Ridge, around_top, ridge_through
from spacetime_tps.shooting.shots import RidgeSpace, ShotPlan, Shots, shots_from
from spacetime_tps.stages.placement import seen_in
from spacetime_tps.stages.work_folder import WorkFolder
from spacetime_tps.systems import System

_POINTS = 400
"""Of a curve at which its free energy is read."""
_TILTS_KT = (0.0, 5.0, 10.0, 20.0, 40.0)
_STIFFER = (1.0, 1.5, 2.25, 3.4, 5.0)
"""Tilts and factors of stiffness that are tried, one after the other."""
_SPILL = 0.05
"""Share of a window's ensemble that may lie in the states, or in the angle with the same sine."""
_ROUNDS = (0.1, 0.2, 0.7)
"""Shares of the shots."""
ROUNDS = len(_ROUNDS)
_PENALTY = 1.0
"""Of slopes of a committor, in units of the scatter of features."""
_PROBES = 4
"""Trajectories from each frame along the curve."""
_REACH = (0.005, 0.05)
"""Of a ridge to either side, in shares of the curve, by probes."""
_ENOUGH = 0.15
"""Share of shots that connect the states, by a ridge across which paths go."""
_BELOW_KT = 1.5
"""Of a top along the curve, where what lies half way is a well behind it."""
_FEWEST_ENDS = 3
"""Trajectories to either state with which a committor is fitted."""
_LEAST_VARIANCE = 1e-6
"""Of features in a tube."""
_COVERED = 10.0
"""Effective samples of a posterior by which what it is the posterior of has been sampled."""
_LARGE = 500
"""Atoms of a system from which on paths are kept without its water."""


def ridge_space(system: System) -> RidgeSpace:
    """In which the ridge windows of a system are linear."""
    if system.molecule is None:
        return RidgeSpace(tuple(range(len(system.variables.names))))
    return RidgeSpace(tuple(system.represented), system.torsions)


@dataclass(frozen=True)
class RidgeShots:
    """Shots across the ridges of some channels.

    Attributes:
        windows: of all rounds and channels.
        channel: number of the channel of each, shape (n_windows,).
        shots: of all.
        connected: share of shots that connect the states, by channel, round by round.
        committors: of each channel, by its shots.
    """

    windows: RidgeWindows
    channel: np.ndarray
    shots: Shots
    connected: list[list[float]]
    committors: list[LogisticCommittor]

    def p_b(self, features: np.ndarray, window: np.ndarray) -> np.ndarray:
        """By the fits to the channels of some windows, shape (n,), at features, shape (n, n_features)."""
        channel = self.channel[window]
        chosen = [channel == k for k in range(len(self.committors))]
        return np.select(chosen, [fit(features) for fit in self.committors])

    def joined(self, other: RidgeShots) -> RidgeShots:
        """Both, the channels of ``other`` behind these."""
        return RidgeShots(
            self.windows.joined(other.windows),
            np.concatenate([self.channel, other.channel + len(self.connected)]),
            self.shots.joined(other.shots, len(self.windows)),
            self.connected + other.connected,
            self.committors + other.committors,
        )


@dataclass(frozen=True)
class Shooter:
    """How shots are made.

    Attributes:
        system: of the run.
        recipe: of its unguided dynamics.
        config: how many, and how long.
        seed: of the run.
        pool: where walkers run.
        store: folder in which finished rounds are kept and found again.
    """

    system: System
    recipe: EngineRecipe
    config: TransitionsConfig
    seed: int
    pool: WorkerPool
    store: WorkFolder | None = None

    def plan(self, share: float, windows: int) -> ShotPlan:
        """Of a round."""
        config, molecule = self.config, self.system.molecule
        every = config.frame_every
        large = molecule is not None and molecule.topology.getNumAtoms() > _LARGE
        return ShotPlan(
            equilibration_frames=max(1, config.equilibration_steps // every),
            spacing_frames=max(1, config.spacing_steps // every),
            shots=max(1, round(share * config.shots / (windows * config.walkers))),
            max_frames=max(1, config.max_steps // every),
            atoms=molecule.solute if molecule is not None and large else None,
        )

    def probe(self, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
        """How many trajectories from each frame reached B, how many either state, shapes (n,), and what they cost."""
        limit = max(1, self.config.max_steps // self.config.frame_every)
        fates, cost = fates_of(self.recipe, frames, _PROBES, limit, self.seed, "transitions, probes", self.pool)
        return (fates == IN_B).sum(axis=1), (fates != NOWHERE).sum(axis=1), cost

    def shoot(self, number: int, share: float, windows: RidgeWindows, frames: np.ndarray) -> Shots:
        """A round, from the frames that lie best in each window."""
        part = f"round_{number}.npz"
        if self.store is not None and self.store.kept(part):
            return Shots.load(self.store / part)
        space = ridge_space(self.system)
        starts = _best_frames(windows, space.features(self.system.variables(frames)), frames, self.config.walkers)
        plan, name = self.plan(share, len(windows)), f"transitions {number}"
        found = shots_from(self.recipe, space, windows, starts, plan, self.seed, name, self.pool)
        require_finite("The shots are", "lower the time step", found.positions)
        if self.store is not None:
            found.save(self.store / part)
            self.store.keep(part)
        return found


def rounds_of_shots(
    shooter: Shooter,
    channels: Sequence[tuple[Ridge, Solution]],
    frames: np.ndarray,
    say: Callable[[str], None] = lambda _: None,
    first_number: int = 0,
) -> RidgeShots:
    """Shoot across ridges, and then where the committor by these shots is one half.

    The first is gone back to if it connects the states well, and gives more effective paths a shot than a fitted one.

    Args:
        shooter: of the run.
        channels: the ridge across the curve of each, and MBAR over windows along it and free simulations.
        frames: from which windows may start, shape (n, n_atoms, 3) [nm] or (n, d).
        say: called after every round with one sentence on it.
        first_number: of the first round among all of a run.
    """
    space = ridge_space(shooter.system)
    known = [(solution, space.features(solution.pool.variables)) for _, solution in channels]
    first = [ridge for ridge, _ in channels]
    ridges = first
    shots: Shots | None = None
    windows: RidgeWindows | None = None
    channel = np.zeros(0, dtype=int)
    connected: list[list[float]] = [[] for _ in channels]
    worth: list[list[float]] = [[] for _ in channels]
    for number, share in enumerate(_ROUNDS):
        new = [_fitting_windows(ridge, *each) for ridge, each in zip(ridges, known, strict=True)]
        owner = np.repeat(np.arange(len(new)), [len(each) for each in new])
        added = new[0]
        for each in new[1:]:
            added = added.joined(each)
        near = frames if shots is None else np.concatenate([frames, shots.positions])
        found = shooter.shoot(first_number + number, share, added, near)
        for k in range(len(channels)):
            own = found.of_windows(np.flatnonzero(owner == k))
            connected[k].append(len(own.paths) / len(own))
            worth[k].append(effective_share(new[k], space, own))
        shots = found if shots is None or windows is None else shots.joined(found, len(windows))
        windows = added if windows is None else windows.joined(added)
        channel = np.concatenate([channel, owner])
        committors = [
            _committor_of(shots, space, np.flatnonzero(channel == k), ridge.anchor) for k, ridge in enumerate(first)
        ]
        ridges = [
            first[k]
            if connected[k][0] >= _ENOUGH and worth[k][0] > worth[k][-1]
            else _better(ridges[k], committors[k], shots, channel == k)
            for k in range(len(channels))
        ]
        told = ", ".join(f"{row[-1]:.0%}" for row in connected)
        say(f"transitions: round {number + 1} of {ROUNDS}, {len(found)} shots, {told} connect the states")
    assert shots is not None
    assert windows is not None
    return RidgeShots(windows, channel, shots, connected, committors)


def points_of(system: System, shots: Shots) -> Seen:
    """Points of shots as a pool wants them."""
    if isinstance(system.representation, Identity):
        return Seen(shots.variables, system.in_states(shots.variables), shots.variables)
    return seen_in(system, shots.variables, shots.positions[:, system.recorded_atoms])


@dataclass(frozen=True)
class Tube:
    """What samples say of a curve, at equal steps of its length.

    Attributes:
        points: mean angles [rad] or coordinates, shape (n, d).
        features: of the ridge windows' space there, shape (n, n_features).
        holds: inverse variance of a feature around the mean, shape (n,).
        free_energy: [kT], shape (n,).
    """

    points: np.ndarray
    features: np.ndarray
    holds: np.ndarray
    free_energy: np.ndarray

    @classmethod
    def along(cls, curve: FineCurve, solution: Solution, system: System) -> Tube:
        """By MBAR over samples around a curve."""
        space = ridge_space(system)
        natural = system.representation.natural(torch.from_numpy(curve.at_constant_speed(_POINTS))).numpy()
        features = space.features(solution.pool.variables)
        averaged = np.column_stack([features, np.square(features).sum(axis=1)])
        found, free_energy = along_by_samples(solution, system.representation, natural, averaged)
        means, squares = found[:, :-1], found[:, -1]
        variance = np.maximum(squares - np.square(means).sum(axis=1), _LEAST_VARIANCE)
        points = means if space.torsions is None else space.torsions.center(means)
        at = means if space.torsions is None else space.torsions.features_of_angles(points)
        return cls(points, at, len(space.columns) / variance, free_energy)

    def below_top(self, features: np.ndarray) -> float:
        """Free energy [kT] at the top of the largest climb above that where the tube is nearest to some features."""
        _, top, _ = around_top(self.free_energy)
        return float(self.free_energy[top] - self.free_energy[self._nearest(features)])

    def hold_near(self, features: np.ndarray) -> float:
        """Where the tube passes nearest to some features, shape (n_features,)."""
        return float(self.holds[self._nearest(features)])

    def _nearest(self, features: np.ndarray) -> int:
        return int(np.square(self.features - features).sum(axis=1).argmin())


def ridge_by_probes(
    shooter: Shooter, points: np.ndarray, along: np.ndarray, frames: np.ndarray, tube: Tube
) -> tuple[Ridge | None, int]:
    """Across a curve where trajectories from frames beside it go either way, and what they cost.

    None if they do so nowhere, or in a well between two barriers only: paths stay there for so long that they would
    count all the less, the longer they do.

    Args:
        shooter: of the run.
        points: angles [rad] or coordinates at equal steps of the curve's parameter, shape (n, d).
        along: the parameter at each frame, shape (m,).
        frames: of annealed paths, shape (m, n_atoms, 3) [nm] or (m, d).
        tube: along the curve.
    """
    reached, decided, cost = shooter.probe(frames)
    if not 0 < reached.sum() < decided.sum():
        return None, cost
    fit = logistic_committor(along[:, None], reached, decided, _PENALTY)
    if not fit.slopes[0] > 0.0:
        return None, cost
    half, reach = -fit.offset / fit.slopes[0], np.clip(1.0 / fit.slopes[0], *_REACH)
    if not along.min() < half < along.max():
        return None, cost
    places = np.clip(np.array([half - reach, half, half + reach]), 0.0, 1.0) * (len(points) - 1)
    before, at, behind = points[np.round(places).astype(int)]
    space = ridge_space(shooter.system)
    here = at if space.torsions is None else space.torsions.features_of_angles(at)
    if tube.below_top(here) > _BELOW_KT:
        return None, cost
    return ridge_through(before, at, behind, space, tube.hold_near(here)), cost


def covered(curve: FineCurve, denoiser: Denoiser, solution: Solution, system: System) -> bool:
    """Whether samples lie already where a curve is highest by the model, as those of a ridge that it shares do."""
    natural = system.representation.natural(torch.from_numpy(curve.at_constant_speed(_POINTS)))
    model = evaluate(denoiser, natural)
    if model.log_partition is None:
        return False
    _, top, _ = around_top(system.representation.profile(natural, model.log_partition).numpy())
    features = solution.pool.features
    logs = solution.log_weights - system.representation.reduced(natural[top : top + 1].numpy(), features)[0]
    weights = np.exp(logs - logsumexp(logs))
    apart = weights @ features - model.mean[top, : features.shape[1]].numpy()
    near = float(np.square(apart).sum()) <= 4.0 * float(model.block_variance[top].sum())
    return near and float(1.0 / np.square(weights).sum()) >= _COVERED


def ridge_by_samples(tube: Tube, system: System) -> Ridge:
    """Across a curve where it is highest, by samples around it."""
    places = around_top(tube.free_energy)
    before, at, behind = tube.points[list(places)]
    return ridge_through(before, at, behind, ridge_space(system), float(tube.holds[places[1]]))


def _fitting_windows(ridge: Ridge, solution: Solution, features: np.ndarray) -> RidgeWindows:
    """Windows across a ridge, as soft as keeps them there.

    By the samples around the curve: what they hold in the states, or in the angle with the same sine, weighs in a
    window by its free energy, and a soft window on a high barrier would lie mostly there.
    """
    elsewhere = solution.pool.in_states.any(axis=1) | (features @ ridge.toward < 0.0)
    for tilt, stiffer in zip(_TILTS_KT, _STIFFER, strict=True):
        windows = ridge.windows(tilt, stiffer)
        logs = solution.log_weights[:, None] + windows.log_weights(features)
        weights = np.exp(logs - logs.max(axis=0))
        if (weights[elsewhere].sum(axis=0) <= _SPILL * weights.sum(axis=0)).all():
            break
    return windows


def _better(ridge: Ridge, committor: LogisticCommittor, shots: Shots, windows: np.ndarray) -> Ridge:
    """Where the committor is one half; if hardly any trajectory went one way, a step toward that side."""
    ends = shots.ends[windows[shots.window]]
    ends = ends[ends != NOWHERE]
    to_b = float((ends == IN_B).mean()) if len(ends) else 0.5
    if min(to_b, 1.0 - to_b) * len(ends) >= _FEWEST_ENDS:
        return ridge.along_committor(committor.offset, committor.slopes)
    return replace(ridge, center=ridge.center - np.sign(to_b - 0.5) * ridge.reach)


def _committor_of(shots: Shots, space: RidgeSpace, windows: np.ndarray, anchor: np.ndarray) -> LogisticCommittor:
    """By both ends of the shots from some windows; one half everywhere if none of them arrived.

    Of an angle it depends on the sine of its distance from the anchor alone: a slope along the cosine, which hardly
    varies there, would be noise, and a restraint along it has no hold on the other side of the ridge.
    """
    decided, along = shots.ends != NOWHERE, space.tangents(anchor)
    used = decided.any(axis=1) & np.isin(shots.window, windows)
    if not used.any():
        return LogisticCommittor(0.0, np.zeros(len(anchor)))
    reached, tried = (shots.ends == IN_B).sum(axis=1)[used], decided.sum(axis=1)[used]
    found = logistic_committor(space.features(shots.variables[used]) @ along.T, reached, tried, _PENALTY)
    return LogisticCommittor(found.offset, found.slopes @ along)


def _best_frames(windows: RidgeWindows, features: np.ndarray, frames: np.ndarray, walkers: int) -> np.ndarray:
    """Frames that weigh most in each window, spread over the best of them, shape (n_windows, walkers, ...)."""
    order = np.argsort(-windows.log_weights(features), axis=0, kind="stable")
    best = order[: max(walkers, len(frames) // 50)]
    picked = best[np.linspace(0, len(best) - 1, walkers).astype(int)]
    return frames[picked.T]
