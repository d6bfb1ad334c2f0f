"""What each end state is: short unbiased runs from its structure, and the intervals of torsions that they stay in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import openmm

from spacetime_tps.dynamics import MolecularDynamics, advance, positions_of, thermalise
from spacetime_tps.errors import UserError
from spacetime_tps.parallel import WorkerPool
from spacetime_tps.progress import progress_bar
from spacetime_tps.representations import dihedral_angles, wrap
from spacetime_tps.seeds import openmm_seed

RUNS, RUN_PS, LOOK_PS = 8, 20.0, 0.1
_EQUILIBRATION_PS = 2.0
_TOLERANCE, _CROWD_TOLERANCE, _CROWD = 1.0, 10.0, 500
"""Of a minimisation [kJ/mol/nm]; of one with more atoms than that, most of them water."""
_STRAINED_KJ_MOL = 1e3
"""Of energy for each atom after minimisation: nothing stable."""


def relaxed(dynamics: MolecularDynamics, positions: np.ndarray, source: str) -> np.ndarray:
    """A structure [nm], shape (n_atoms, 3), at its nearest minimum of the energy.

    Raises:
        UserError: there is none.
    """
    context = dynamics.context(seed=1)
    context.setPositions(positions)
    openmm.LocalEnergyMinimizer.minimize(context, _CROWD_TOLERANCE if len(positions) > _CROWD else _TOLERANCE)
    energy = context.getState(energy=True).getPotentialEnergy()._value
    if not np.isfinite(energy) or energy > _STRAINED_KJ_MOL * len(positions):
        raise UserError(
            f"{source} cannot be relaxed: its energy stays at {energy:.3g} kJ/mol, so atoms lie upon each other or "
            "bonds are torn; give a better structure."
        )
    return positions_of(context)


def run_freely(dynamics: MolecularDynamics, positions: np.ndarray, quadruples: np.ndarray, seed: int) -> np.ndarray:
    """Torsions [rad], shape (n, n_torsions), of one unbiased run."""
    context = dynamics.context(seed)
    context.setPositions(positions)
    thermalise(context, dynamics.temperature_k, seed)
    advance(context, dynamics.steps(_EQUILIBRATION_PS))
    interval, seen = dynamics.steps(LOOK_PS), []
    for _ in range(round(RUN_PS / LOOK_PS)):
        context.getIntegrator().step(interval)
        seen.append(positions_of(context))
    return dihedral_angles(np.array(seen), quadruples)


def survey(
    dynamics: MolecularDynamics, structures: np.ndarray, quadruples: np.ndarray, seed: int, pool: WorkerPool
) -> np.ndarray:
    """Torsions [rad] of eight runs of 20 ps from either end structure, shape (2, n_runs, n, n_torsions)."""
    tasks = [
        (dynamics, structures[s], quadruples, openmm_seed(seed, "survey", s, r)) for s in range(2) for r in range(RUNS)
    ]
    with progress_bar(len(tasks), "survey of the end states", "run") as bar:
        angles = np.array(pool.map(run_freely, tasks, bar))
    if not np.isfinite(angles).all():
        raise UserError("The runs from the end structures blew up; check the structures or lower --temperature.")
    return angles.reshape(2, RUNS, *angles.shape[1:])


@dataclass(frozen=True)
class Extent:
    """Where a torsion stays: circular mean and standard deviation, and an interval around the mean [rad]."""

    mean: float
    std: float
    low: float
    high: float


def extent(angles: np.ndarray, tails: float, margin: float, least: float) -> Extent:
    """Of angles [rad], any shape, pooled.

    Args:
        angles: of one torsion.
        tails: share of them left out at either end of the interval.
        margin: added at either end.
        least: half the width of the interval at least.
    """
    vector = np.exp(1j * angles).mean()
    mean, std = float(np.angle(vector)), float(np.sqrt(-2 * np.log(max(abs(vector), 1e-12))))
    offsets = wrap(angles - mean)
    low, high = np.quantile(offsets, [tails, 1 - tails])
    return Extent(mean, std, min(low - margin, -least), max(high + margin, least))
