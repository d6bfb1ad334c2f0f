"""Transition paths out of an umbrella window on the barrier: exact, and independent of one another.

A point x drawn with density rho(x) W(x), rho that of equilibrium and W = exp(-(s - s0)^2 / (2 w^2)) that of a harmonic
restraint on one collective variable, is given Maxwell-Boltzmann velocities and followed both ways. Where one end lies
in A and the other in B, each transition path comes up in proportion to its probability times the sum of W over its
interior frames, since any of them could have been the point (Hummer, J. Chem. Phys. 120, 516 (2004), with a window in
place of a dividing surface). Weighted by the inverse of that sum the paths are samples of the transition path ensemble.

Unlike in a chain of shooting moves, what decides between two tubes over a ridge is the restrained ensemble on the
ridge, which mixes quickly. Paths that do not pass through the window are not seen.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import openmm
import torch
from torch import Tensor

from spacetime_tps.dynamics import MolecularDynamics
from spacetime_tps.errors import UserError
from spacetime_tps.parallel import WorkerPool
from spacetime_tps.potentials import Potential
from spacetime_tps.progress import progress_bar
from spacetime_tps.seeds import generator, openmm_seed, torch_seed
from spacetime_tps.shooting.chains import EngineRecipe
from spacetime_tps.shooting.engine import IN_A, IN_B, NOWHERE, Phase, Segment
from spacetime_tps.shooting.first import still
from spacetime_tps.shooting.moves import GaussianSelector
from spacetime_tps.shooting.path import ShotPath, joined


@dataclass(frozen=True)
class Window:
    """A harmonic restraint and how long its ensemble is sampled.

    Attributes:
        selector: its W.
        equilibration_frames: at the start of each walker.
        spacing_frames: between the points that are shot from.
        shots: of each walker.
        max_frames: of either part of a path.
    """

    selector: GaussianSelector
    equilibration_frames: int
    spacing_frames: int
    shots: int
    max_frames: int


@dataclass(frozen=True)
class WindowPaths:
    """Paths from A to B and their weights, in the order in which each walker found them.

    Attributes:
        paths: of all walkers.
        weights: of each, shape (n,).
        walker: that found it, shape (n,).
        shots: of all walkers together.
        shots_of_walker: of one.
        force_evaluations: of the restrained dynamics and the shots.
    """

    paths: list[ShotPath]
    weights: np.ndarray
    walker: np.ndarray
    shots: int
    shots_of_walker: int
    force_evaluations: int

    @property
    def effective(self) -> float:
        """Kish's effective number of paths, (sum w)^2 / sum w^2."""
        return float(self.weights.sum() ** 2 / np.square(self.weights).sum()) if len(self.weights) else 0.0

    def flux_over_window(self, interval: float) -> tuple[float, float]:
        """Transitions from A to B in a unit of equilibrium time over <W>, and the standard error by walkers.

        A trajectory at equilibrium has <W> p of W per frame on transition paths in either direction, p being the share
        of shots that connect the states, and every path holds the sum of W over its frames: so many paths there are.
        Time reversal makes half of them run from A to B. Multiplied by the equilibrium average <W> of the window
        this is the reactive flux, and over the population of A the rate constant (Hummer 2004, section II).

        Args:
            interval: time between frames.
        """
        walkers = self.shots // self.shots_of_walker
        sums = np.bincount(self.walker, self.weights, minlength=walkers) / (2.0 * interval * self.shots_of_walker)
        error = float(sums.std(ddof=1) / np.sqrt(walkers)) if walkers > 1 else float("nan")
        return float(sums.mean()), error

    def resampled(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Numbers of ``count`` paths that count alike, by systematic resampling, in random order."""
        edges = np.cumsum(self.weights) / self.weights.sum()
        picked = np.searchsorted(edges, (np.arange(count) + rng.random()) / count, side="right")
        return rng.permutation(np.minimum(picked, len(self.weights) - 1))


@dataclass(frozen=True)
class _Task:
    recipe: EngineRecipe
    window: Window
    starts: np.ndarray
    seeds: tuple[int, int, np.random.Generator]


def window_paths(
    recipe: EngineRecipe, window: Window, starts: np.ndarray, seed: int, name: str, pool: WorkerPool
) -> WindowPaths:
    """Sample the window and shoot from it.

    Args:
        recipe: of the unguided dynamics.
        window: where, and how much.
        starts: configurations near the window, one a walker, shape (n, n_atoms, 3) [nm] or (n, d).
        seed: of the run.
        name: of the random streams.
        pool: where walkers of a molecule run.
    """
    toy = recipe.potential is not None
    batches = [starts] if toy else [start[None] for start in starts]
    noise = torch_seed if toy else openmm_seed
    tasks = [
        _Task(
            recipe,
            window,
            batch,
            (noise(seed, name, "window", k), noise(seed, name, "shots", k), generator(seed, name, k)),
        )
        for k, batch in enumerate(batches)
    ]
    with progress_bar(len(tasks), "shooting from the window", "walker") as bar:
        results = [_walk(tasks[0])] if toy else pool.map(_walk, [(task,) for task in tasks], bar)
    found = [
        (path, weight, number + len(batches[0]) * k)
        for k, (rows, _) in enumerate(results)
        for path, weight, number in rows
    ]
    return WindowPaths(
        [path for path, _, _ in found],
        np.array([weight for _, weight, _ in found]),
        np.array([number for _, _, number in found], dtype=int),
        window.shots * len(starts),
        window.shots,
        sum(cost for _, cost in results),
    )


def _walk(task: _Task) -> tuple[list[tuple[ShotPath, float, int]], int]:
    """The paths of some walkers with their weights and walkers, and their cost."""
    window, (of_window, of_shots, rng) = task.window, task.seeds
    sampler = restrained(task.recipe, window.selector).build(of_window)
    engine = task.recipe.build(of_shots)
    here, _ = sampler.starts([still(start, task.recipe) for start in task.starts], 0.0, rng)
    count = len(task.starts)

    def moved(phase: Phase, frames: int) -> tuple[Phase, list[Segment]]:
        segments = sampler.integrate(phase, np.full(count, frames), stop=False)
        positions, velocities = (
            np.stack([getattr(s, part)[-1] for s in segments]) for part in ("positions", "velocities")
        )
        return Phase(positions, velocities), segments

    here, _ = moved(here, window.equilibration_frames)
    found: list[list[tuple[ShotPath, float]]] = [[] for _ in task.starts]
    limits = np.full(count, window.max_frames)
    for _ in range(window.shots):
        here, segments = moved(here, window.spacing_frames)
        points = [segment.as_path(False, 0).part(len(segment) - 1, len(segment)) for segment in segments]
        forward, backward = engine.starts(points, 0.0, rng)
        between = ~np.any([s.contains(joined(points).variables) for s in task.recipe.states], axis=0)
        behind = engine.integrate(backward, np.where(between, limits, 0), stop=True)
        worth = np.array([segment.state != NOWHERE for segment in behind])
        ahead = engine.integrate(forward, np.where(worth, limits, 0), stop=True)
        for k, (first, last) in enumerate(zip(behind, ahead, strict=True)):
            if {first.state, last.state} != {IN_A, IN_B}:
                continue
            point = replace(points[k], velocities=forward.velocities[k : k + 1])
            path = joined([first.as_path(True, 0), point, last.as_path(False, 0)])
            path = path if first.state == IN_A else path.reversed()
            found[k].append((path, float(1.0 / window.selector.weights(path.variables[1:-1]).sum())))
    rows = [(path, weight, k) for k, row in enumerate(found) for path, weight in row]
    return rows, sampler.force_evaluations + engine.force_evaluations


def restrained(recipe: EngineRecipe, selector: GaussianSelector) -> EngineRecipe:
    """The same dynamics with -kT log W added to the energy."""
    if recipe.potential is not None:
        return replace(recipe, potential=_Restrained(recipe.potential, selector, recipe.kt))
    assert recipe.dynamics is not None
    assert recipe.variables.quadruples is not None
    if selector.column >= recipe.variables.n_angles:
        name = recipe.variables.names[selector.column]
        raise UserError(f"comparison.umbrella.variable is {name!r}, and the window can be held in a torsion only.")
    force = openmm.CustomTorsionForce(f"0.5*k*min(d,{2 * np.pi!r}-d)^2; d=abs(theta-theta0)")
    force.addPerTorsionParameter("k")
    force.addPerTorsionParameter("theta0")
    center = (selector.center + np.pi) % (2 * np.pi) - np.pi
    atoms = [int(i) for i in recipe.variables.quadruples[selector.column]]
    force.addTorsion(*atoms, [recipe.dynamics.kt / selector.width**2, center])
    return replace(recipe, dynamics=_with_force(recipe.dynamics, force))


def _with_force(dynamics: MolecularDynamics, force: openmm.Force) -> MolecularDynamics:
    system = openmm.XmlSerializer.deserialize(dynamics.system_xml)
    system.addForce(force)
    return replace(dynamics, system_xml=openmm.XmlSerializer.serialize(system))


class _Restrained:
    """A potential with a harmonic restraint on one coordinate."""

    def __init__(self, potential: Potential, selector: GaussianSelector, kt: float):
        self.dimension = potential.dimension
        self._potential, self._selector = potential, selector
        self._stiffness = kt / selector.width**2

    def _offset(self, x: Tensor) -> Tensor:
        return x[..., self._selector.column] - self._selector.center

    def energy(self, x: Tensor) -> Tensor:
        return self._potential.energy(x) + 0.5 * self._stiffness * self._offset(x) ** 2

    def gradient(self, x: Tensor) -> Tensor:
        pull = torch.zeros_like(x)
        pull[..., self._selector.column] = self._stiffness * self._offset(x)
        return self._potential.gradient(x) + pull
