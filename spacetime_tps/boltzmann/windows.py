"""Restrained windows along a curve: the denoising posteriors simulated as they stand.

A point of spacetime is the Boltzmann ensemble under the restraint -kT eta . T(x). Where no grid tells what the
posterior is, a short simulation does, and what all windows saw is one set of unbiased samples around the curve.
"""

from __future__ import annotations

import numpy as np

from spacetime_tps.boltzmann.reweighting import mixture
from spacetime_tps.config import WindowsConfig
from spacetime_tps.dynamics import MolecularDynamics, advance, positions_of, thermalise
from spacetime_tps.parallel import WorkerPool
from spacetime_tps.progress import progress_bar
from spacetime_tps.representations import Torsions, dihedral_angles
from spacetime_tps.seeds import openmm_seed


def sample_window(
    dynamics: MolecularDynamics,
    torsions: Torsions,
    natural: np.ndarray,
    start_nm: np.ndarray,
    config: WindowsConfig,
    seed: int,
) -> np.ndarray:
    """Torsion angles [rad], shape (n, n_torsions), of one restrained simulation."""
    restraint = torsions.restraint(dynamics.kt)
    context = dynamics.context(seed, [restraint.force])
    context.setPositions(start_nm)
    restraint.move_to(natural, context)
    thermalise(context, dynamics.temperature_k, seed)
    advance(context, config.equilibration_steps)
    seen = []
    for _ in range(config.steps // config.sample_every):
        context.getIntegrator().step(config.sample_every)
        seen.append(positions_of(context))
    return dihedral_angles(np.array(seen), torsions.quadruples)


def sample_windows(
    dynamics: MolecularDynamics,
    torsions: Torsions,
    natural: np.ndarray,
    starts: np.ndarray,
    config: WindowsConfig,
    seed: int,
    pool: WorkerPool,
) -> tuple[np.ndarray, int]:
    """Simulate every window from each of its starts.

    Args:
        dynamics: of the molecule.
        torsions: that are restrained.
        natural: eta of the windows, shape (n_windows, n_parameters).
        starts: frames [nm], shape (n_windows, n_starts, n_atoms, 3).
        config: lengths.
        seed: of the run.
        pool: where the windows run.

    Returns:
        angles [rad], shape (n_windows, n_starts, n, n_torsions), and the number of force evaluations.
    """
    windows, sides = starts.shape[:2]
    tasks = [
        (dynamics, torsions, natural[w], starts[w, k], config, openmm_seed(seed, "windows", w, k))
        for w in range(windows)
        for k in range(sides)
    ]
    with progress_bar(len(tasks), "restrained windows", "run") as bar:
        angles = np.array(pool.map(sample_window, tasks, bar))
    cost = len(tasks) * (config.equilibration_steps + config.steps // config.sample_every * config.sample_every)
    return angles.reshape(windows, sides, *angles.shape[1:]), cost


def window_weights(torsions: Torsions, natural: np.ndarray, angles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unbiased log-weights of the samples of all windows together, and the windows' free energies.

    Args:
        torsions: that are restrained.
        natural: shape (n_windows, n_parameters).
        angles: shape (n_windows, n, n_torsions) [rad].

    Returns:
        log-weights, shape (n_windows * n,), and f_k = -psi(eta_k) up to a constant [kT], shape (n_windows,).
    """
    statistics = torsions.statistics(torsions.features_of_angles(angles.reshape(-1, angles.shape[-1])))
    free_energies, log_mixture = mixture(-natural @ statistics.T, np.full(len(angles), angles.shape[1]))
    return -log_mixture, free_energies
