"""Shots out of ridge windows: points of restrained ensembles, followed forward and backward by unguided dynamics.

A point drawn with density rho(x) w(x), rho that of equilibrium, is given Maxwell-Boltzmann velocities and integrated
both ways until it reaches a state. Where one end lies in A and the other in B, each transition path comes up in
proportion to its probability times the sum of w over its interior frames, since any of them could have been the point
(Hummer, J. Chem. Phys. 120, 516 (2004), with windows in place of a dividing surface).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import openmm
import torch
from torch import Tensor

from spacetime_tps.boltzmann.langevin import mala_step
from spacetime_tps.errors import DamagedFileError
from spacetime_tps.files import read_arrays, write_arrays
from spacetime_tps.parallel import WorkerPool
from spacetime_tps.potentials import Potential
from spacetime_tps.progress import progress_bar
from spacetime_tps.representations.ridge import RidgeWindows, TorsionRidge
from spacetime_tps.representations.torsions import Torsions
from spacetime_tps.seeds import generator, openmm_seed, torch_seed
from spacetime_tps.shooting.chains import EngineRecipe
from spacetime_tps.shooting.engine import IN_A, IN_B, NOWHERE, Phase, Segment
from spacetime_tps.shooting.first import still
from spacetime_tps.shooting.path import ShotPath, joined, pack, unpack

_STABLE = 0.5
"""Largest time step of walkers in a window over the time in which its restraint relaxes."""
_ARRAYS = ("window", "walker", "positions", "variables", "ends", "stops", "inside")
_OFTEN_EMPTY = ("lost", "shot")
_OF_PATHS = "path_"
"""Before the names of what is stored of paths."""


@dataclass(frozen=True)
class RidgeSpace:
    """The features that ridge windows are linear in: (cos, sin) of torsions, or the coordinates of a point.

    Attributes:
        columns: of the collective variables that are these torsions or coordinates.
        torsions: of a molecule.
    """

    columns: tuple[int, ...]
    torsions: Torsions | None = None

    def features(self, variables: np.ndarray) -> np.ndarray:
        """Shape (..., n_features), of collective variables, shape (..., n_cv)."""
        own = variables[..., list(self.columns)]
        return own if self.torsions is None else self.torsions.features_of_angles(own)

    def tangents(self, at: np.ndarray) -> np.ndarray:
        """Directions in which the features of angles turn, at features of shape (n_features,), or all coordinates.

        Returns:
            unit vectors, shape (n_angles, n_features), or the identity.
        """
        if self.torsions is None:
            return np.eye(len(at))
        pairs = at.reshape(-1, 2)
        turned = np.stack([-pairs[:, 1], pairs[:, 0]], axis=-1)
        found = np.zeros((len(pairs), len(pairs), 2))
        found[np.arange(len(pairs)), np.arange(len(pairs))] = turned
        return found.reshape(len(pairs), -1)


@dataclass(frozen=True)
class ShotPlan:
    """How much of a window is sampled, and shot from.

    Attributes:
        equilibration_frames: at the start of each walker; up to whole ``spacing_frames``.
        spacing_frames: between the points that are shot from.
        shots: of each walker.
        max_frames: of either part of a path.
        atoms: whose positions are kept of paths, shape (n,); None: all.
    """

    equilibration_frames: int
    spacing_frames: int
    shots: int
    max_frames: int
    atoms: np.ndarray | None = None


@dataclass(frozen=True)
class Shots:
    """Points of windows and what became of them, walker after walker, those of each in the order of time.

    Attributes:
        window: of each point, shape (n,).
        walker: of each, shape (n,).
        positions: of the points [nm], shape (n, n_atoms, 3), or points, shape (n, d).
        variables: collective variables of the points, shape (n, n_cv).
        ends: where the trajectories backward and forward in time arrived, shape (n, 2): ``IN_A``, ``IN_B`` or
            ``NOWHERE``, if they arrived nowhere in time or the point lies in a state already.
        stops: collective variables where these trajectories stopped, or of the point if they were not begun, shape
            (n, 2, n_cv).
        lost: where those that were begun and arrived nowhere stopped, in the order of ``losses``, shape (n_lost,
            n_atoms, 3) or (n_lost, d).
        inside: points in a state, shape (n,).
        paths: transition paths, from A to B, without velocities; positions in single precision.
        shot: number of the point behind each path, shape (n_paths,).
        force_evaluations: of the restrained dynamics and of the shots.
    """

    window: np.ndarray
    walker: np.ndarray
    positions: np.ndarray
    variables: np.ndarray
    ends: np.ndarray
    stops: np.ndarray
    lost: np.ndarray
    inside: np.ndarray
    paths: list[ShotPath]
    shot: np.ndarray
    force_evaluations: int

    def __len__(self) -> int:
        return len(self.window)

    def save(self, file: Path) -> None:
        """Write to an ``.npz`` file."""
        own = {name: getattr(self, name) for name in _ARRAYS + _OFTEN_EMPTY}
        paths = {f"{_OF_PATHS}{name}": values for name, values in pack(self.paths).items()}
        write_arrays(file, **own, **paths, force_evaluations=np.array(self.force_evaluations))

    @classmethod
    def load(cls, file: Path) -> Shots:
        """Read a file written by ``save``.

        Raises:
            DamagedFileError: it is missing, or its arrays are not those of shots.
        """
        data = read_arrays(file, (*_ARRAYS, "force_evaluations"))
        packed = {name.removeprefix(_OF_PATHS): data[name] for name in data if name.startswith(_OF_PATHS)}
        try:
            own = {name: data[name] for name in _ARRAYS + _OFTEN_EMPTY}
            return cls(**own, paths=unpack(packed), force_evaluations=int(data["force_evaluations"]))
        except (KeyError, ValueError) as error:
            raise DamagedFileError(f"{file} is damaged; run 'transitions' again with --overwrite.") from error

    @property
    def unfinished(self) -> np.ndarray:
        """Points outside both states of which an end arrived nowhere, shape (n,)."""
        return ~self.inside & (self.ends == NOWHERE).any(axis=1)

    @property
    def losses(self) -> np.ndarray:
        """Point and end (0 backward, 1 forward) of each trajectory that arrived nowhere, shape (n_lost, 2)."""
        begun = (self.stops != self.variables[:, None]).any(axis=-1)
        return np.argwhere((self.ends == NOWHERE) & ~self.inside[:, None] & begun)

    def of_windows(self, windows: np.ndarray) -> Shots:
        """Those from some windows, counted anew in the order of their numbers; what they cost is not known."""
        rows = np.flatnonzero(np.isin(self.window, windows))
        kept = np.isin(self.shot, rows)
        return Shots(
            np.searchsorted(windows, self.window[rows]), self.walker[rows], self.positions[rows], self.variables[rows],
            self.ends[rows], self.stops[rows], self.lost[np.isin(self.losses[:, 0], rows)], self.inside[rows],
            [path for path, keep in zip(self.paths, kept, strict=True) if keep],
            np.searchsorted(rows, self.shot[kept]), 0,
        )  # fmt: skip

    def joined(self, other: Shots, first_window: int) -> Shots:
        """Both, the windows of ``other`` counted from ``first_window``."""
        walkers = int(self.walker.max(initial=-1)) + 1
        return Shots(
            np.concatenate([self.window, other.window + first_window]),
            np.concatenate([self.walker, other.walker + walkers]),
            np.concatenate([self.positions, other.positions]),
            np.concatenate([self.variables, other.variables]),
            np.concatenate([self.ends, other.ends]),
            np.concatenate([self.stops, other.stops]),
            np.concatenate([self.lost, other.lost]),
            np.concatenate([self.inside, other.inside]),
            [*self.paths, *other.paths],
            np.concatenate([self.shot, other.shot + len(self)]),
            self.force_evaluations + other.force_evaluations,
        )


@dataclass(frozen=True)
class _Task:
    """Some walkers, one window each: ``seeds`` are those of the windows' noise, the shots' noise and of velocities."""

    recipe: EngineRecipe
    space: RidgeSpace
    windows: RidgeWindows
    plan: ShotPlan
    starts: np.ndarray
    seeds: tuple[int, int, np.random.Generator]


def shots_from(
    recipe: EngineRecipe,
    space: RidgeSpace,
    windows: RidgeWindows,
    starts: np.ndarray,
    plan: ShotPlan,
    seed: int,
    name: str,
    pool: WorkerPool,
) -> Shots:
    """Sample ridge windows and shoot from their points.

    Args:
        recipe: of the unguided dynamics.
        space: of the windows.
        windows: of every one the walkers of ``starts``.
        starts: configurations near each window, shape (n_windows, n_walkers, n_atoms, 3) [nm] or (..., d).
        plan: how much.
        seed: of the run.
        name: of the random streams.
        pool: where walkers of a molecule run.
    """
    toy = recipe.potential is not None
    count, each = starts.shape[:2]
    window = np.repeat(np.arange(count), each)
    rows = starts.reshape(count * each, *starts.shape[2:])
    batches = [np.arange(len(rows))] if toy else [np.array([k]) for k in range(len(rows))]
    noise = torch_seed if toy else openmm_seed
    tasks = [
        _Task(
            recipe, space, windows[window[batch]], plan, rows[batch],
            (noise(seed, name, "windows", k), noise(seed, name, "shots", k), generator(seed, name, "velocities", k)),
        )
        for k, batch in enumerate(batches)
    ]  # fmt: skip
    with progress_bar(len(tasks), "shooting from ridge windows", "walker") as bar:
        results = [_walk(tasks[0])] if toy else pool.map(_walk, [(task,) for task in tasks], bar)
    found = [one for result in results for one in result[0]]
    paths = [(path, walker * plan.shots + k) for walker, one in enumerate(found) for k, path in one.paths]
    positions, variables, ends, stops, lost, inside = (
        np.concatenate([getattr(one, part) for one in found])
        for part in ("positions", "variables", "ends", "stops", "lost", "inside")
    )
    return Shots(
        window=np.repeat(window, plan.shots),
        walker=np.repeat(np.arange(len(rows)), plan.shots),
        positions=positions,
        variables=variables,
        ends=ends,
        stops=stops,
        lost=lost,
        inside=inside,
        paths=[path for path, _ in paths],
        shot=np.array([k for _, k in paths], dtype=int),
        force_evaluations=sum(cost for _, cost in results),
    )


@dataclass(frozen=True)
class _Walked:
    """Of one walker: points, shape (shots, ...), where they went, and paths with the number of the point."""

    positions: np.ndarray
    variables: np.ndarray
    ends: np.ndarray
    stops: np.ndarray
    lost: np.ndarray
    inside: np.ndarray
    paths: list[tuple[int, ShotPath]]


def _walk(task: _Task) -> tuple[list[_Walked], int]:
    """What some walkers found, and their cost."""
    plan, (_, of_shots, rng) = task.plan, task.seeds
    windows = _PotentialWindows(task) if task.recipe.potential is not None else _MolecularWindow(task)
    engine = task.recipe.build(of_shots)
    count = len(task.starts)
    for _ in range(math.ceil(plan.equilibration_frames / plan.spacing_frames)):
        windows.next()
    columns: list[list[np.ndarray]] = [[], [], [], [], []]
    paths: list[list[tuple[int, ShotPath]]] = [[] for _ in range(count)]
    lost: list[list[np.ndarray]] = [[] for _ in range(count)]
    limits = np.full(count, plan.max_frames)
    for number in range(plan.shots):
        points = windows.next()
        forward, backward = engine.starts(points, 0.0, rng)
        at = joined(points)
        inside = np.any([s.contains(at.variables) for s in task.recipe.states], axis=0)
        behind = engine.integrate(backward, np.where(inside, 0, limits), stop=True)
        worth = np.array([segment.state != NOWHERE for segment in behind])
        ahead = engine.integrate(forward, np.where(worth, limits, 0), stop=True)
        ends = np.array([[first.state, last.state] for first, last in zip(behind, ahead, strict=True)], dtype=np.int8)
        stops = np.stack([_last(each, at.variables) for each in (behind, ahead)], axis=1)
        for column, values in zip(columns, (at.positions, at.variables, ends, stops, inside), strict=True):
            column.append(values)
        for of_walker, pair in zip(lost, zip(behind, ahead, strict=True), strict=True):
            of_walker += [
                _kept(each.positions[-1:], plan.atoms) for each in pair if each.state == NOWHERE and len(each)
            ]
        for k in np.flatnonzero((np.sort(ends, axis=1) == [IN_A, IN_B]).all(axis=1)):
            point = replace(points[k], velocities=forward.velocities[k : k + 1])
            path = joined([behind[k].as_path(True, 0), point, ahead[k].as_path(False, 0)])
            paths[k].append((number, _slim(path if ends[k, 0] == IN_A else path.reversed(), plan.atoms)))
    positions, variables, fates, stopped, within = (np.stack(column, axis=1) for column in columns)
    none = _kept(positions[:0, 0], plan.atoms)
    found = [
        _Walked(
            positions[k], variables[k], fates[k], stopped[k], np.concatenate([none, *lost[k]]), within[k], paths[k]
        )
        for k in range(count)
    ]  # fmt: skip
    return found, windows.force_evaluations + engine.force_evaluations


def _last(segments: list[Segment], begun: np.ndarray) -> np.ndarray:
    """Collective variables where segments stopped, shape (n, n_cv); where one is empty, those that it began with."""
    return np.array([each.variables[-1] if len(each) else start for each, start in zip(segments, begun, strict=True)])


def _slim(path: ShotPath, atoms: np.ndarray | None) -> ShotPath:
    """What is kept of a path."""
    return replace(path, positions=_kept(path.positions, atoms), velocities=np.zeros((len(path), 0)))


def _kept(positions: np.ndarray, atoms: np.ndarray | None) -> np.ndarray:
    """Of some atoms, in single precision."""
    return (positions if atoms is None else positions[:, atoms]).astype(np.float32)


class _MolecularWindow:
    """The molecule in its window, by restrained Langevin dynamics of its own integrator; a frame a point."""

    def __init__(self, task: _Task):
        recipe, (noise, _, rng) = task.recipe, task.seeds
        assert recipe.dynamics is not None
        assert task.space.torsions is not None
        restraint = TorsionRidge(task.space.torsions.quadruples, task.windows, recipe.dynamics.kt)
        system = openmm.XmlSerializer.deserialize(recipe.dynamics.system_xml)
        system.addForce(restraint.force)
        held = replace(recipe.dynamics, system_xml=openmm.XmlSerializer.serialize(system))
        every = recipe.frame_every * task.plan.spacing_frames
        self._engine = replace(recipe, dynamics=held, frame_every=every).build(noise)
        self._here, _ = self._engine.starts([still(start, recipe) for start in task.starts], 0.0, rng)

    @property
    def force_evaluations(self) -> int:
        """So far."""
        return self._engine.force_evaluations

    def next(self) -> list[ShotPath]:
        """The point of every walker, ``spacing_frames`` after the last."""
        segments = self._engine.integrate(self._here, np.ones(len(self._here.positions), dtype=int), stop=False)
        points = [segment.as_path(False, 0) for segment in segments]
        at = joined(points)
        self._here = Phase(at.positions, at.velocities)
        return points


class _PotentialWindows:
    """Walkers of an analytic potential, one window each, by Metropolis-adjusted steps.

    Plain steps of the unguided dynamics would sample a wider distribution in a narrow window: its variance would be
    larger by 1 / (1 - kT k dt / 2), k that of the window, and there is none once kT k dt reaches 2.
    """

    def __init__(self, task: _Task):
        recipe, plan = task.recipe, task.plan
        assert recipe.potential is not None
        self._held, self._kt = _Held(recipe.potential, recipe.kt, task.windows), recipe.kt
        stiffest = float((task.windows.stiffness + task.windows.curb).max())
        self._step = min(recipe.time_step, _STABLE / (recipe.kt * stiffest))
        self._steps = math.ceil(plan.spacing_frames * recipe.frame_every * recipe.time_step / self._step)
        self._rng = torch.Generator().manual_seed(task.seeds[0])
        self._x = torch.from_numpy(task.starts).double()
        self._energy, self._gradient = self._held.energy(self._x), self._held.gradient(self._x)
        self._recipe = recipe
        self.force_evaluations = len(self._x)

    def next(self) -> list[ShotPath]:
        """The point of every walker, as much time after the last as ``spacing_frames`` are."""
        for _ in range(self._steps):
            self._x, self._energy, self._gradient, _ = mala_step(
                self._x, self._energy, self._gradient, self._held, self._kt, self._step, self._rng
            )
        self.force_evaluations += self._steps * len(self._x)
        return [still(x, self._recipe) for x in self._x.numpy()]


class _Held:
    """A potential and, for every row of a batch, the restraint of a window."""

    def __init__(self, potential: Potential, kt: float, windows: RidgeWindows):
        self.dimension = potential.dimension
        self._potential, self._kt = potential, kt
        parts = (windows.direction, windows.center, windows.stiffness, windows.tilt, windows.curb)
        self._n, self._s, self._k, self._a, self._c = (torch.from_numpy(np.asarray(x, dtype=float)) for x in parts)

    def energy(self, x: Tensor) -> Tensor:
        away = (x * self._n).sum(-1) - self._s
        held = 0.5 * (self._k * away**2 + self._c * x.square().sum(-1))
        return self._potential.energy(x) + self._kt * (held - (x * self._a).sum(-1))

    def gradient(self, x: Tensor) -> Tensor:
        away = (x * self._n).sum(-1) - self._s
        pull = (self._k * away)[..., None] * self._n + self._c[..., None] * x - self._a
        return self._potential.gradient(x) + self._kt * pull
