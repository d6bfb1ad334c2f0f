"""Restrained windows along a curve: the denoising posteriors simulated as they stand.

A point of spacetime is the Boltzmann ensemble under the restraint -kT eta . T(x). Where no grid tells what the
posterior is, a short simulation does, and what all windows saw is one set of unbiased samples around the curve.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from spacetime_tps.boltzmann.langevin import mala_step
from spacetime_tps.config import WindowsConfig
from spacetime_tps.dynamics import MolecularDynamics, advance, positions_of, thermalise
from spacetime_tps.parallel import WorkerPool
from spacetime_tps.potentials import Potential
from spacetime_tps.progress import progress_bar
from spacetime_tps.representations import Identity, Torsions, dihedral_angles
from spacetime_tps.seeds import openmm_seed


def sample_window(
    dynamics: MolecularDynamics,
    torsions: Torsions,
    natural: np.ndarray,
    start_nm: np.ndarray,
    config: WindowsConfig,
    seed: int,
    recorded: np.ndarray,
    every: int,
) -> np.ndarray:
    """Torsion angles [rad] of the ``recorded`` quadruples, shape (n, n_recorded), of one restrained simulation.

    A sample is taken ``every`` so many steps.
    """
    restraint = torsions.restraint(dynamics.kt)
    context = dynamics.context(seed, [restraint.force])
    context.setPositions(start_nm)
    restraint.move_to(natural, context)
    thermalise(context, dynamics.temperature_k, seed)
    advance(context, config.equilibration_steps)
    seen = []
    for _ in range(config.steps // every):
        context.getIntegrator().step(every)
        seen.append(positions_of(context))
    return dihedral_angles(np.array(seen), recorded)


def sample_windows(
    dynamics: MolecularDynamics,
    torsions: Torsions,
    natural: np.ndarray,
    starts: np.ndarray,
    config: WindowsConfig,
    seed: int,
    pool: WorkerPool,
    recorded: np.ndarray | None = None,
    name: str = "windows",
    every: int | None = None,
) -> tuple[np.ndarray, int]:
    """Simulate every window from each of its starts.

    Args:
        dynamics: of the molecule.
        torsions: that are restrained.
        natural: eta of the windows, zero for a free simulation, shape (n_windows, n_parameters).
        starts: frames [nm], shape (n_windows, n_starts, n_atoms, 3).
        config: lengths.
        seed: of the run.
        pool: where the windows run.
        recorded: atoms of the torsions that are returned, shape (n_recorded, 4); None: those that are restrained.
        name: of the simulations and their random streams.
        every: steps between samples; None: ``config.sample_every``.

    Returns:
        angles [rad], shape (n_windows, n_starts, n, n_recorded), and the number of force evaluations.
    """
    recorded, every = torsions.quadruples if recorded is None else recorded, every or config.sample_every
    windows, sides = starts.shape[:2]
    tasks = [
        (dynamics, torsions, natural[w], starts[w, k], config, openmm_seed(seed, name, w, k), recorded, every)
        for w in range(windows)
        for k in range(sides)
    ]
    with progress_bar(len(tasks), name, "run") as bar:
        angles = np.array(pool.map(sample_window, tasks, bar))
    cost = len(tasks) * (config.equilibration_steps + config.steps // every * every)
    return angles.reshape(windows, sides, *angles.shape[1:]), cost


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
