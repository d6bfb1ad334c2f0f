"""A bias that fills the free energy of a few torsions: hills of well-tempered metadynamics on a grid.

Barducci, Bussi and Parrinello, Phys. Rev. Lett. 100, 020603 (2008); several walkers: Raiteri et al., J. Phys. Chem. B
110, 3533 (2006). Walkers pool their hills at fixed step counts, so the result depends on the seed alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import openmm

from spacetime_tps.config import HillsConfig
from spacetime_tps.dynamics import GPU_PLATFORMS, MolecularDynamics, positions_of, thermalise
from spacetime_tps.parallel import WorkerPool
from spacetime_tps.progress import progress_bar
from spacetime_tps.representations import dihedral_angles, wrap
from spacetime_tps.seeds import openmm_seed


class TabulatedBias:
    """A bias V [kJ/mol] on a periodic grid of torsions as an OpenMM force.

    ``table`` has shape (n,) * n_torsions without the repeated end point; grid point i lies at -pi + 2 pi i / n.

    A CustomCVForce is the quickest on a CPU, where other forces compile their expressions anew with every table. On a
    GPU it waits for every torsion's value to come to the host, and one force over all their atoms is quicker.
    """

    def __init__(self, quadruples: np.ndarray, table: np.ndarray, platform: str = "Reference"):
        self.table = table
        atoms = quadruples.astype(int)
        self.force = _over_all_atoms(atoms) if platform in GPU_PLATFORMS else _over_variables(atoms)
        self.force.setName("MetadynamicsBias")
        self.force.addTabulatedFunction("bias", self._function(new=True))

    def _function(self, new: bool = False) -> openmm.TabulatedFunction | None:
        closed = np.pad(self.table, [(0, 1)] * self.table.ndim, mode="wrap")
        values = closed.ravel(order="F").tolist()
        limits = [-math.pi, math.pi] * self.table.ndim
        sizes = list(closed.shape) if closed.ndim > 1 else []
        if new:
            kind = getattr(openmm, f"Continuous{closed.ndim}DFunction")
            return kind(*sizes, values, *limits, True)
        self.force.getTabulatedFunction(0).setFunctionParameters(*sizes, values, *limits)
        return None

    def update(self, context: openmm.Context) -> None:
        """Hand the present table to the context."""
        self._function()
        self.force.updateParametersInContext(context)


def _over_variables(atoms: np.ndarray) -> openmm.CustomCVForce:
    names = [f"theta{k}" for k in range(len(atoms))]
    force = openmm.CustomCVForce(f"bias({','.join(names)})")
    for name, four in zip(names, atoms.tolist(), strict=True):
        torsion = openmm.CustomTorsionForce("theta")
        torsion.addTorsion(*four)
        force.addCollectiveVariable(name, torsion)
    return force


def _over_all_atoms(atoms: np.ndarray) -> openmm.CustomCompoundBondForce:
    angles = [f"dihedral({','.join(f'p{4 * k + j}' for j in range(1, 5))})" for k in range(len(atoms))]
    force = openmm.CustomCompoundBondForce(atoms.size, f"bias({','.join(angles)})")
    force.addBond(atoms.ravel().tolist(), [])
    return force


def hill(angles: np.ndarray, size: int, width: float) -> np.ndarray:
    """A unit Gaussian hill at ``angles`` [rad], shape (n_torsions,), on the periodic grid (size,) * n_torsions."""
    grid = -np.pi + 2 * np.pi * np.arange(size) / size
    shape = np.ones(())
    for angle in angles:
        shape = np.multiply.outer(shape, np.exp(-0.5 * (wrap(grid - angle) / width) ** 2))
    return shape


@dataclass(frozen=True)
class Walker:
    """Where a walker is between two rounds: positions [nm] and velocities [nm/ps], shape (n_atoms, 3)."""

    positions: np.ndarray
    velocities: np.ndarray


def resume(dynamics: MolecularDynamics, bias: TabulatedBias, walker: Walker, seed: int) -> openmm.Context:
    """A biased context that goes on where a walker is."""
    context = dynamics.context(seed, [bias.force])
    context.setPositions(walker.positions)
    context.setVelocities(walker.velocities)
    return context


def _leave(context: openmm.Context) -> Walker:
    state = context.getState(positions=True, velocities=True)
    return Walker(state.getPositions(asNumpy=True)._value, state.getVelocities(asNumpy=True)._value)


def start_walker(dynamics: MolecularDynamics, positions: np.ndarray, seed: int) -> Walker:
    """A walker at a structure, with Maxwell-Boltzmann velocities."""
    context = dynamics.context(seed)
    context.setPositions(positions)
    thermalise(context, dynamics.temperature_k, seed)
    return _leave(context)


def build_round(
    dynamics: MolecularDynamics,
    quadruples: np.ndarray,
    walker: Walker,
    table: np.ndarray,
    config: HillsConfig,
    seed: int,
) -> tuple[Walker, np.ndarray]:
    """One walker's share of a round: where it ends, and the bias it added [kJ/mol]."""
    bias = TabulatedBias(quadruples, table.copy(), dynamics.platform)
    context = resume(dynamics, bias, walker, seed)
    interval = dynamics.steps(config.hill_interval)
    for _ in range(dynamics.steps(config.exchange_interval) // interval):
        context.getIntegrator().step(interval)
        angles = dihedral_angles(positions_of(context), quadruples)
        cell = tuple(np.rint((angles + np.pi) / (2 * np.pi) * config.grid_points).astype(int) % config.grid_points)
        tempering = math.exp(-bias.table[cell] / ((config.bias_factor - 1) * dynamics.kt))
        height = config.hill_height_kt * dynamics.kt * tempering
        bias.table += height * hill(angles, config.grid_points, config.hill_width)
        bias.update(context)
    return _leave(context), bias.table - table


@dataclass(frozen=True)
class Filled:
    """A bias that has grown, and what it took.

    Attributes:
        quadruples: atoms of the biased torsions, shape (n_torsions, 4).
        table: the bias on its grid [kJ/mol], shape (n,) * n_torsions.
        walkers: where they ended.
        force_evaluations: of all of them.
    """

    quadruples: np.ndarray
    table: np.ndarray
    walkers: list[Walker]
    force_evaluations: int


def fill(
    dynamics: MolecularDynamics,
    quadruples: np.ndarray,
    structures: np.ndarray,
    config: HillsConfig,
    seed: int,
    pool: WorkerPool,
) -> Filled:
    """Let the walkers grow the bias.

    Args:
        dynamics: of the molecule.
        quadruples: atoms of the biased torsions, shape (n_torsions, 4).
        structures: starting frames dealt out to the walkers in turn [nm], shape (n, n_atoms, 3).
        config: hills, times and number of walkers.
        seed: of the run.
        pool: where the walkers run.
    """
    table = np.zeros((config.grid_points,) * len(quadruples))
    walkers = [
        start_walker(dynamics, structures[w % len(structures)], openmm_seed(seed, "walker", w))
        for w in range(config.walkers)
    ]
    rounds = max(1, round(config.build_time / config.exchange_interval))
    with progress_bar(rounds * config.walkers, "metadynamics", "round") as bar:
        for r in range(rounds):
            tasks = [
                (dynamics, quadruples, walker, table, config, openmm_seed(seed, "metadynamics", r, w))
                for w, walker in enumerate(walkers)
            ]
            results = pool.map(build_round, tasks, bar)
            walkers = [walker for walker, _ in results]
            table = table + sum(added for _, added in results)
    interval = dynamics.steps(config.hill_interval)
    per_round = dynamics.steps(config.exchange_interval) // interval * interval
    return Filled(quadruples, table, walkers, config.walkers * rounds * per_round)
