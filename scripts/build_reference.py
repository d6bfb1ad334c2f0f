"""Build the reference free-energy surface of a system, independent of every training run.

For a molecule: two-dimensional umbrella sampling. Windows on a regular grid of the two torsions (von Mises restraints)
are visited one after another by a walker that is dragged gently from each to the next, in four independent passes
(forward, backward, and both with the axes exchanged), so that what one pass drags along the others drag the other
way. Each pass is combined with MBAR; the surface is the mean over passes, its error their standard error.
For an analytic potential: U/kT on a grid, without error.

    python scripts/build_reference.py alanine_dipeptide      # about half an hour on two cores
    python scripts/build_reference.py mueller_brown
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import openmm
import torch
from pymbar import MBAR

from spacetime_tps.dynamics import MolecularDynamics, choose_platform, positions_of, thermalise
from spacetime_tps.errors import plain_errors
from spacetime_tps.parallel import WorkerPool, available_cores
from spacetime_tps.potentials import FreeEnergySurface
from spacetime_tps.progress import progress_bar
from spacetime_tps.representations import Torsions, wrap
from spacetime_tps.seeds import openmm_seed
from spacetime_tps.systems import System, find_system_file, load_config, load_system

SEED = 20261122
WINDOWS = 36
KAPPA = 80.0
"""Restraint strength: -kT KAPPA (cos(phi - phi0) + cos(psi - psi0)), a standard deviation of 6.4 degrees."""
PASSES = 4
GLIDE_STEPS, EQUILIBRATION_STEPS, SAMPLES, SAMPLE_STRIDE = 1000, 10_000, 100, 250
GRID = 180
BANDWIDTH = np.deg2rad(4.0)
CEILING_KJ_MOL = 150.0
"""Where atoms overlap no window could hold its walker; F is not known there and is cut off at this height."""


def window_order(index: int) -> list[tuple[int, int]]:
    """A boustrophedon walk over all windows; odd passes run it backward, passes 2 and 3 exchange the axes."""
    snake = [(i, j if i % 2 == 0 else WINDOWS - 1 - j) for i in range(WINDOWS) for j in range(WINDOWS)]
    if index >= 2:
        snake = [(j, i) for i, j in snake]
    return snake[::-1] if index % 2 else snake


def sample_pass(dynamics: MolecularDynamics, torsions: Torsions, start_nm: np.ndarray, index: int) -> np.ndarray:
    """Torsion angles [rad] of one pass, shape (WINDOWS, WINDOWS, SAMPLES, 2)."""
    restraint = torsions.restraint(dynamics.kt)
    context = dynamics.context(openmm_seed(SEED, "umbrella", index), [restraint.force])
    integrator = context.getIntegrator()
    centers = np.linspace(-np.pi, np.pi, WINDOWS, endpoint=False)

    def angles() -> np.ndarray:
        return torsions.center(torsions.features(positions_of(context)[None]))[0]

    def glide(origin: np.ndarray, target: np.ndarray, steps: int) -> None:
        for fraction in np.linspace(0.0, 1.0, 11)[1:]:
            center = origin + fraction * wrap(target - origin)
            restraint.move_to(KAPPA * torsions.features_of_angles(center), context)
            integrator.step(steps // 10)

    context.setPositions(start_nm)
    here = angles()
    glide(here, here, 10)
    openmm.LocalEnergyMinimizer.minimize(context)
    thermalise(context, dynamics.temperature_k, openmm_seed(SEED, "velocities", index))
    samples = np.zeros((WINDOWS, WINDOWS, SAMPLES, 2))
    steps = 50 * GLIDE_STEPS
    for i, j in window_order(index):
        glide(here, np.array([centers[i], centers[j]]), steps)
        here, steps = np.array([centers[i], centers[j]]), GLIDE_STEPS
        integrator.step(EQUILIBRATION_STEPS)
        for k in range(SAMPLES):
            integrator.step(SAMPLE_STRIDE)
            samples[i, j, k] = angles()
    return samples


def mbar_log_weights(samples: np.ndarray) -> np.ndarray:
    """Unbiased log-weights, shape (WINDOWS * WINDOWS * SAMPLES,), of one pass.

    The windows' free energies come from every second sample (a gigabyte of reduced energies less), the mixture
    weights are then evaluated for all.
    """
    centers = np.linspace(-np.pi, np.pi, WINDOWS, endpoint=False)
    mesh = np.stack([c.ravel() for c in np.meshgrid(centers, centers, indexing="ij")], axis=-1)

    def bias(angles: np.ndarray) -> np.ndarray:
        return -KAPPA * sum(np.cos(mesh[:, None, k] - angles[None, :, k]) - 1.0 for k in range(2))

    thinned = samples[:, :, ::2]
    counts = np.full(len(mesh), thinned.shape[2])
    mbar = MBAR(bias(thinned.reshape(-1, 2)), counts, solver_protocol="robust", initialize="zeros")
    chunks = np.array_split(samples.reshape(-1, 2), 50)
    return np.concatenate([-np.logaddexp.reduce(mbar.f_k[:, None] - bias(chunk), axis=0) for chunk in chunks])


def smooth_free_energy(flat: np.ndarray, log_weights: np.ndarray, kt: float) -> np.ndarray:
    """-kT log density on the grid: von Mises kernels of two widths, extrapolated so that the h^2 bias cancels."""
    bins = 2 * GRID
    weights = np.exp(log_weights - log_weights.max())
    edges = np.linspace(-np.pi, np.pi, bins + 1)
    edges -= np.pi / bins  # bin centres on the grid points
    shifted = (flat - edges[0]) % (2 * np.pi) + edges[0]
    counts, _, _ = np.histogram2d(shifted[:, 0], shifted[:, 1], bins=[edges, edges], weights=weights)
    offsets = np.linspace(0, 2 * np.pi, bins, endpoint=False)

    def smoothed(width: float) -> np.ndarray:
        kernel = np.exp((np.cos(offsets) - 1) / width**2)
        transform = np.fft.rfft2(np.outer(kernel, kernel) / kernel.sum() ** 2)
        density = np.fft.irfft2(np.fft.rfft2(counts) * transform, s=counts.shape)
        return -kt * np.log(np.maximum(density, 1e-300))[::2, ::2]

    return 2 * smoothed(BANDWIDTH) - smoothed(np.sqrt(2) * BANDWIDTH)


def pass_surface(samples: np.ndarray, kt: float) -> np.ndarray:
    """Free energy [kJ/mol] on the grid from one pass, its zero such that exp(-F/kT) averages to one."""
    free_energy = smooth_free_energy(samples.reshape(-1, 2), mbar_log_weights(samples), kt)
    return free_energy + kt * np.log(np.exp(-free_energy / kt).mean())


def molecule_surface(system: System) -> FreeEnergySurface:
    """Umbrella sampling with MBAR over the two torsions of the representation."""
    assert system.molecule is not None
    assert isinstance(system.representation, Torsions)
    torsions, dynamics = system.representation, system.molecule.dynamics
    dynamics = dynamics.on(choose_platform("auto", dynamics, system.structures[0])[0])
    tasks = [(dynamics, torsions, system.structures[0], index) for index in range(PASSES)]
    with WorkerPool(min(PASSES, available_cores())) as pool, progress_bar(PASSES, "umbrella passes") as bar:
        passes = pool.map(sample_pass, tasks, bar)
    surfaces = [pass_surface(samples, dynamics.kt) for samples in passes]
    mean = np.mean(surfaces, axis=0)
    error = np.std(surfaces, axis=0, ddof=1) / np.sqrt(PASSES)
    per_window = GLIDE_STEPS + EQUILIBRATION_STEPS + SAMPLES * SAMPLE_STRIDE
    sampled_ns = PASSES * WINDOWS**2 * SAMPLES * SAMPLE_STRIDE * dynamics.time_step_ps / 1000
    return FreeEnergySurface(
        names=tuple(torsions.block_names),
        origin=np.full(2, -np.pi),
        spacing=np.full(2, 2 * np.pi / GRID),
        periodic=np.ones(2, dtype=bool),
        free_energy=np.minimum(mean - mean.min(), CEILING_KJ_MOL).astype(np.float32),
        error=error.astype(np.float32),
        source=(
            f"umbrella sampling, {WINDOWS} x {WINDOWS} windows, {PASSES} passes, "
            f"{sampled_ns:.0f} ns of sampling, MBAR; scripts/build_reference.py, "
            f"OpenMM {openmm.version.short_version}, platform {dynamics.platform}"
        ),
        kt=system.kt,
        force_evaluations=PASSES * (WINDOWS**2 * per_window + 49 * GLIDE_STEPS),
    )


def potential_surface(system: System, points: int = 481) -> FreeEnergySurface:
    """U/kT above its minimum on a grid over the box of the configuration."""
    assert system.potential is not None
    low, high = np.array(system.config.system.box).T
    surface = FreeEnergySurface(
        names=tuple(system.variables.names),
        origin=low,
        spacing=(high - low) / (points - 1),
        periodic=np.zeros(len(low), dtype=bool),
        free_energy=np.zeros((points,) * len(low)),
        error=np.zeros((points,) * len(low), dtype=np.float32),
        source="analytic: U/kT on a grid (scripts/build_reference.py)",
        kt=1.0,
        force_evaluations=points ** len(low),
    )
    energy = system.potential.energy(torch.from_numpy(surface.points())).numpy() / system.potential_kt
    table = (energy - energy.min()).reshape(surface.free_energy.shape).astype(np.float32)
    return FreeEnergySurface(**{**surface.__dict__, "free_energy": table})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("system", help="name, folder or YAML file of the system")
    parser.add_argument("--output", type=Path, help="default: reference.npz beside the system file")
    arguments = parser.parse_args()
    file = find_system_file(arguments.system)
    config = load_config(file, overrides=("reference=null",))
    system = load_system(config, file.parent)
    surface = molecule_surface(system) if system.molecule else potential_surface(system)
    output = arguments.output or file.parent / "reference.npz"
    surface.save(output)
    print(
        f"{output}: {surface.source}; largest error below 60 kJ/mol (or kT): "
        f"{surface.error[surface.free_energy < 60].max():.2f}"
    )


if __name__ == "__main__":
    with plain_errors():
        main()
