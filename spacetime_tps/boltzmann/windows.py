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
from spacetime_tps.dynamics import MolecularDynamics, advance, look_lengths, phase_of, positions_of, thermalise
from spacetime_tps.parallel import WorkerPool
from spacetime_tps.potentials import Potential
from spacetime_tps.progress import progress_bar
from spacetime_tps.representations import Identity, Molecular, held_in
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
    """

    seen: np.ndarray
    simulation: np.ndarray
    accepted: float
    force_evaluations: int


@dataclass(frozen=True)
class _Row:
    """Windows that exchange configurations, or a single one; see ``sample_windows``."""

    dynamics: MolecularDynamics
    representation: Molecular
    natural: np.ndarray
    starts: np.ndarray
    config: WindowsConfig
    seeds: list[int]
    exchanges: np.random.Generator
    recorded: Recorder
    every: int
    exchange_every: int


def _sample_row(row: _Row) -> tuple[np.ndarray, int, int]:
    """What was recorded, shape (n_windows, n, n_recorded), and how many exchanges were accepted and tried."""
    restraint = row.representation.restraint(row.dynamics.kt)
    context = row.dynamics.context(row.seeds[0], [restraint.force])
    windows = range(len(row.natural))
    here = []
    for w in windows:
        context.setPositions(row.representation.placed(row.starts[w]))
        restraint.move_to(row.natural[w], context)
        thermalise(context, row.dynamics.temperature_k, row.seeds[w])
        advance(context, row.config.equilibration_steps)
        here.append(phase_of(context))
    total = row.config.steps // row.every
    seen: list[list[np.ndarray]] = [[] for _ in windows]
    accepted = tried = 0
    for turn, samples in enumerate(look_lengths(total, row.exchange_every or total)):
        for w in windows:
            if len(windows) > 1:
                context.setPositions(here[w][0])
                context.setVelocities(here[w][1])
                restraint.move_to(row.natural[w], context)
            for _ in range(samples):
                context.getIntegrator().step(row.every)
                seen[w].append(positions_of(context))
            here[w] = phase_of(context)
        statistics = held_in(row.representation, np.array([positions for positions, _ in here]))
        for w in range(turn % 2, len(windows) - 1, 2):
            gain = (row.natural[w] - row.natural[w + 1]) @ (statistics[w + 1] - statistics[w])
            tried += 1
            if np.log1p(-row.exchanges.random()) < gain:
                here[w], here[w + 1] = here[w + 1], here[w]
                accepted += 1
    return row.recorded(np.array(seen)), accepted, tried


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
    """
    every = every or config.sample_every
    windows, sides = starts.shape[:2]
    rows = _rows(windows, sides, exchange_every > 0)
    tasks = [
        _Row(
            dynamics, representation, natural[part], starts[part, k], config,
            [openmm_seed(seed, name, w, k) for w in range(part.start, part.stop)],
            generator(seed, name, "exchanges", part.start, k), recorded, every, exchange_every,
        )
        for k, part in rows
    ]  # fmt: skip
    with progress_bar(len(tasks), name, "run") as bar:
        found = pool.map(_sample_row, [(task,) for task in tasks], bar)
    seen = np.empty((windows, sides, *found[0][0].shape[1:]))
    simulation = np.empty((windows, sides), dtype=int)
    for number, ((k, part), (kept, _, _)) in enumerate(zip(rows, found, strict=True)):
        seen[part, k], simulation[part, k] = kept, number
    tried = sum(row[2] for row in found)
    cost = windows * sides * (config.equilibration_steps + config.steps // every * every)
    return WindowSamples(seen, simulation, sum(row[1] for row in found) / tried if tried else float("nan"), cost)


def _rows(windows: int, sides: int, exchanging: bool) -> list[tuple[int, slice]]:
    """Start and windows of each simulation."""
    if not exchanging:
        return [(k, slice(w, w + 1)) for w in range(windows) for k in range(sides)]
    found = []
    for k in range(sides):
        edges = [0, *range(_ROW if k % 2 == 0 else _ROW // 2, windows, _ROW), windows]
        found += [(k, slice(*ends)) for ends in itertools.pairwise(edges)]
    return found


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
