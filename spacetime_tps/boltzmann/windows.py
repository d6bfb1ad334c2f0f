"""Restrained windows along a curve: the denoising posteriors simulated as they stand.

A point of spacetime is the Boltzmann ensemble under the restraint -kT eta . T(x). Where no grid tells what the
posterior is, a short simulation does, and what all windows saw is one set of unbiased samples around the curve.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from spacetime_tps.boltzmann.langevin import mala_step
from spacetime_tps.boltzmann.recording import Recorder
from spacetime_tps.config import WindowsConfig
from spacetime_tps.dynamics import (
    MolecularDynamics,
    advance,
    copies_of,
    look_lengths,
    phase_of,
    positions_of,
    thermalise,
)
from spacetime_tps.parallel import WorkerPool
from spacetime_tps.potentials import Potential
from spacetime_tps.progress import progress_bar
from spacetime_tps.representations import Identity, Molecular, dihedral_angles, held_in
from spacetime_tps.seeds import generator, openmm_seed

_ROW = 8
"""Windows that exchange configurations with one another; rows from the other start lie across their ends."""


@dataclass(frozen=True)
class WindowSamples:
    """What restrained simulations saw.

    Attributes:
        seen: what was recorded (see ``Recorder``), shape (n_windows, n_starts, n, n_recorded).
        simulation: number of the simulation behind each window and start, shape (n_windows, n_starts); windows that
            exchanged configurations are one simulation.
        accepted: share of the exchanges that were tried; NaN if none was.
        force_evaluations: of all.
        watched: mean (cos, sin) of torsions that the samples do not hold, shape (n_windows, n_starts, n_watched, 2).
    """

    seen: np.ndarray
    simulation: np.ndarray
    accepted: float
    force_evaluations: int
    watched: np.ndarray


@dataclass(frozen=True)
class _Row:
    """Windows of one Context; see ``sample_windows``.

    Attributes:
        watched: atoms of torsions of which only the mean (cos, sin) is kept, shape (n_watched, 4).
        neighbours: which windows exchange configurations with the next one, shape (n_windows - 1,).
        together: whether they are molecules that move at once, or take turns as one molecule.
    """

    dynamics: MolecularDynamics
    representation: Molecular
    natural: np.ndarray
    starts: np.ndarray
    config: WindowsConfig
    seeds: list[int]
    exchanges: np.random.Generator
    recorded: Recorder
    watched: np.ndarray
    every: int
    exchange_every: int
    neighbours: np.ndarray
    together: bool


class _InTurn:
    """One molecule that is put into one window after the other.

    Attributes:
        here: positions and velocities of each window.
    """

    def __init__(self, row: _Row):
        self._restraint = row.representation.restraint(row.dynamics.kt)
        self._context = row.dynamics.context(row.seeds[0], [self._restraint.force])
        self._natural, self._every = row.natural, row.every
        self.here: list[tuple[np.ndarray, np.ndarray]] = []
        for w, natural in enumerate(row.natural):
            self._context.setPositions(row.representation.placed(row.starts[w]))
            self._restraint.move_to(natural, self._context)
            thermalise(self._context, row.dynamics.temperature_k, row.seeds[w])
            advance(self._context, row.config.equilibration_steps)
            self.here.append(phase_of(self._context))

    def sampled(self, samples: int) -> np.ndarray:
        """The next looks at every window, shape (n_windows, samples, n_atoms, 3)."""
        seen = []
        for w, natural in enumerate(self._natural):
            if len(self._natural) > 1:
                self._context.setPositions(self.here[w][0])
                self._context.setVelocities(self.here[w][1])
                self._restraint.move_to(natural, self._context)
            looks = []
            for _ in range(samples):
                self._context.getIntegrator().step(self._every)
                looks.append(positions_of(self._context))
            seen.append(looks)
            self.here[w] = phase_of(self._context)
        return np.array(seen)


class _Together:
    """A molecule in every window, all in one Context.

    Attributes:
        here: positions and velocities of each window.
    """

    def __init__(self, row: _Row):
        self._copies, self._every = len(row.natural), row.every
        restraint = row.representation.restraint(row.dynamics.kt, self._copies, row.starts.shape[1])
        self._context = row.dynamics.copied(self._copies).context(row.seeds[0], [restraint.force])
        self._context.setPositions(np.concatenate([row.representation.placed(start) for start in row.starts]))
        restraint.move_to(row.natural, self._context)
        thermalise(self._context, row.dynamics.temperature_k, row.seeds[0])
        advance(self._context, row.config.equilibration_steps)
        self.here = self._phases()

    def _phases(self) -> list[tuple[np.ndarray, np.ndarray]]:
        parts = (copies_of(part, self._copies) for part in phase_of(self._context))
        return list(zip(*parts, strict=True))

    def sampled(self, samples: int) -> np.ndarray:
        """The next looks at every window, shape (n_windows, samples, n_atoms, 3)."""
        positions, velocities = (np.concatenate(part) for part in zip(*self.here, strict=True))
        self._context.setPositions(positions)
        self._context.setVelocities(velocities)
        seen = []
        for _ in range(samples):
            self._context.getIntegrator().step(self._every)
            seen.append(copies_of(positions_of(self._context), self._copies))
        self.here = self._phases()
        return np.swapaxes(np.array(seen), 0, 1)


@dataclass(frozen=True)
class _SeenInRow:
    """What a row of windows gave.

    Attributes:
        seen: what was recorded, shape (n_windows, n, n_recorded).
        watched: shape (n_windows, n_watched, 2).
        accepted, tried: exchanges.
    """

    seen: np.ndarray
    watched: np.ndarray
    accepted: int
    tried: int


def _sample_row(row: _Row) -> _SeenInRow:
    windows = _Together(row) if row.together else _InTurn(row)
    total = row.config.steps // row.every
    seen = []
    accepted = tried = 0
    for turn, samples in enumerate(look_lengths(total, row.exchange_every or total)):
        seen.append(windows.sampled(samples))
        here = windows.here
        statistics = held_in(row.representation, np.array([positions for positions, _ in here]))
        for w in range(turn % 2, len(here) - 1, 2):
            if not row.neighbours[w]:
                continue
            gain = (row.natural[w] - row.natural[w + 1]) @ (statistics[w + 1] - statistics[w])
            tried += 1
            if np.log1p(-row.exchanges.random()) < gain:
                here[w], here[w + 1] = here[w + 1], here[w]
                accepted += 1
    frames = np.concatenate(seen, axis=1)
    stride = max(1, row.config.sample_every // row.every)
    angles = dihedral_angles(frames[:, stride - 1 :: stride], row.watched)
    watched = np.stack([np.cos(angles).mean(axis=1), np.sin(angles).mean(axis=1)], axis=-1)
    return _SeenInRow(row.recorded(frames), watched, accepted, tried)


def sample_windows(
    dynamics: MolecularDynamics,
    representation: Molecular,
    natural: np.ndarray,
    starts: np.ndarray,
    config: WindowsConfig,
    seed: int,
    pool: WorkerPool,
    recorded: Recorder,
    name: str = "windows",
    every: int | None = None,
    exchange_every: int = 0,
    copies: int = 1,
    watched: np.ndarray | None = None,
) -> WindowSamples:
    """Simulate every window from each of its starts.

    Neighbours i and j exchange configurations with probability min(1, exp((eta_i - eta_j) . (T(x_j) - T(x_i)))), which
    leaves the ensembles of both as they are.

    Args:
        dynamics: of the molecule.
        representation: whose restraint holds them.
        natural: eta of the windows, zero for a free simulation, shape (n_windows, n_parameters); those that exchange in
            a row.
        starts: frames [nm], shape (n_windows, n_starts, n_atoms, 3).
        config: lengths.
        seed: of the run.
        pool: where the windows run.
        recorded: what is kept of each sample.
        name: of the simulations and their random streams.
        every: steps between samples; None: ``config.sample_every``.
        exchange_every: samples of a window between attempts to exchange; 0: none.
        copies: windows at most that share a Context as molecules of their own; 1: they take turns.
        watched: atoms of torsions of which only the mean is kept, shape (n_watched, 4).
    """
    watched = np.zeros((0, 4), dtype=int) if watched is None else watched
    every = every or config.sample_every
    windows, sides = starts.shape[:2]
    rows = _rows(windows, sides, exchange_every > 0, copies)
    tasks = []
    for group in _groups(rows, copies):
        (first_side, first), last = group[0], np.cumsum([part.stop - part.start for _, part in group]) - 1
        etas = np.concatenate([natural[part] for _, part in group])
        from_here = np.concatenate([starts[part, k] for k, part in group])
        seeds = [openmm_seed(seed, name, w, k) for k, part in group for w in range(part.start, part.stop)]
        exchanges = generator(seed, name, "exchanges", first.start, first_side)
        neighbours = ~np.isin(np.arange(len(etas) - 1), last)
        tasks.append(
            _Row(
                dynamics, representation, etas, from_here, config, seeds, exchanges, recorded, watched, every,
                exchange_every, neighbours, copies > 1,
            )
        )  # fmt: skip
    with progress_bar(len(tasks), name, "run") as bar:
        found = pool.map(_sample_row, [(task,) for task in tasks], bar)
    place = np.empty((windows, sides), dtype=int)
    simulation = np.empty((windows, sides), dtype=int)
    done = 0
    for number, (k, part) in enumerate(rows):
        length = part.stop - part.start
        place[part, k], simulation[part, k] = np.arange(done, done + length), number
        done += length
    seen, means = (np.concatenate([getattr(each, part) for each in found])[place] for part in ("seen", "watched"))
    accepted, tried = (sum(getattr(each, count) for each in found) for count in ("accepted", "tried"))
    cost = windows * sides * (config.equilibration_steps + config.steps // every * every)
    return WindowSamples(seen, simulation, accepted / tried if tried else float("nan"), cost, means)


def _rows(windows: int, sides: int, exchanging: bool, copies: int) -> list[tuple[int, slice]]:
    """Start and windows of each simulation."""
    if not exchanging:
        return [(k, slice(w, w + 1)) for w in range(windows) for k in range(sides)]
    length, found = _ROW if copies == 1 else copies, []
    for k in range(sides):
        edges = [0, *range(length if k % 2 == 0 else max(1, length // 2), windows, length), windows]
        found += [(k, slice(*ends)) for ends in itertools.pairwise(edges)]
    return found


def _groups(rows: list[tuple[int, slice]], copies: int) -> list[list[tuple[int, slice]]]:
    """Simulations that share a Context: each has one of its own, unless it holds copies, and then as many as fit."""
    groups: list[list[tuple[int, slice]]] = []
    room = 0
    for side, part in rows:
        count = part.stop - part.start
        if copies == 1 or count > room:
            groups.append([])
            room = copies
        groups[-1].append((side, part))
        room -= count
    return groups


@dataclass(frozen=True)
class WindowSteps:
    """Lengths of a simulation on an analytic potential: steps before and while samples are taken, every so many."""

    equilibration: int
    sampled: int
    every: int
    time_step: float


def sample_windows_of_potential(
    potential: Potential,
    kt: float,
    representation: Identity,
    natural: np.ndarray,
    starts: np.ndarray,
    steps: WindowSteps,
    seed: int,
) -> tuple[np.ndarray, int]:
    """Simulate windows of an analytic potential by Metropolis-adjusted Langevin walkers, all in one batch.

    Args:
        potential: the energy.
        kt: thermal energy in its unit.
        representation: the coordinates themselves.
        natural: eta of the windows, zero for a free simulation, shape (n_windows, n_parameters).
        starts: points, shape (n_windows, n_starts, d).
        steps: how many, how large, and how often a sample is taken.
        seed: of the torch generator.

    Returns:
        points, shape (n_windows, n_starts, n, d), and the number of force evaluations.
    """
    rng = torch.Generator().manual_seed(seed)
    restrained = _Restrained(potential, kt, representation, torch.from_numpy(natural)[:, None])
    x = torch.from_numpy(starts).double()
    energy, gradient = restrained.energy(x), restrained.gradient(x)
    kept = []
    total = steps.equilibration + steps.sampled
    with progress_bar(total, "restrained windows", "step") as bar:
        for step in range(1, total + 1):
            x, energy, gradient, _ = mala_step(x, energy, gradient, restrained, 1.0, steps.time_step * kt, rng)
            if step > steps.equilibration and (step - steps.equilibration) % steps.every == 0:
                kept.append(x)
            bar.update()
    return torch.stack(kept, dim=2).numpy(), (total + 1) * starts.shape[0] * starts.shape[1]


class _Restrained:
    """U / kT - eta . T(x) [kT]."""

    def __init__(self, potential: Potential, kt: float, representation: Identity, natural: Tensor):
        self.dimension = potential.dimension
        self._potential, self._kt, self._representation, self._natural = potential, kt, representation, natural

    def energy(self, x: Tensor) -> Tensor:
        statistics = torch.cat([x, x.square().sum(-1, keepdim=True)], dim=-1)
        return self._potential.energy(x) / self._kt - (self._natural * statistics).sum(-1)

    def gradient(self, x: Tensor) -> Tensor:
        return self._potential.gradient(x) / self._kt + self._representation.restraint_gradient(x, self._natural)
