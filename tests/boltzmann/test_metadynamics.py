"""Metadynamics of one analytic dihedral.

Four particles, harmonic bonds and angles, no constraints: the Jacobian of internal coordinates does not depend on the
dihedral, so its Boltzmann distribution is exactly exp(-U(theta)/kT) with U = k (1 + cos 2 theta), barriers 2 k.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import openmm
import pytest
from scipy.interpolate import CubicSpline

from spacetime_tps.boltzmann.bias import start_walker
from spacetime_tps.boltzmann.metadynamics import Metadynamics, frozen_round, sample_metadynamics
from spacetime_tps.boltzmann.transitions import Transitions
from spacetime_tps.config import MetadynamicsConfig
from spacetime_tps.dynamics import MolecularDynamics
from spacetime_tps.parallel import WorkerPool
from spacetime_tps.representations import dihedral_angles
from spacetime_tps.units import GAS_CONSTANT
from tests.boltzmann import dihedral as four_atom_molecule
from tests.boltzmann.dihedral import STRUCTURES, histogram_sigmas

TEMPERATURE = 300.0
KT = GAS_CONSTANT * TEMPERATURE
BARRIER_KT = 5.0
QUADRUPLES = np.array([[0, 1, 2, 3]])


def energy_kt(theta: np.ndarray) -> np.ndarray:
    return BARRIER_KT / 2 * (1 + np.cos(2 * theta))


def dihedral() -> MolecularDynamics:
    """Barriers of BARRIER_KT at 0 and 180 degrees."""
    return four_atom_molecule.dihedral(f"{BARRIER_KT / 2 * KT}*(1+cos(2*theta))")


def config(**changes: Any) -> MetadynamicsConfig:
    settings: dict[str, Any] = {
        "walkers": 4, "bias_factor": 10, "hill_width": "20 deg", "hill_interval": "0.4 ps", "grid_points": 36,
        "build_time": "80 ps", "exchange_interval": "4 ps", "frozen_time": "300 ps", "discard_time": "8 ps",
        "sample_interval": "0.2 ps", "frame_interval": "20 ps",
    }  # fmt: skip
    return MetadynamicsConfig(kind="metadynamics", **(settings | changes))


TINY = {"build_time": "4 ps", "exchange_interval": "2 ps", "frozen_time": "4 ps", "discard_time": "0.4 ps"}


def tiny(workers: int, seed: int = 11) -> tuple[np.ndarray, ...]:
    with WorkerPool(workers) as pool:
        found = sample_metadynamics(dihedral(), QUADRUPLES, STRUCTURES, config(**TINY), seed, pool)
    return tuple(value for value in vars(found).values() if not isinstance(value, Transitions))


@pytest.fixture(scope="module")
def sampled() -> Metadynamics:
    return sample_metadynamics(dihedral(), QUADRUPLES, STRUCTURES, config(), 1, WorkerPool(1))


@pytest.fixture(scope="module")
def tiny_run() -> tuple[np.ndarray, ...]:
    return tiny(workers=1)


def test_reweighted_histogram_is_the_boltzmann_distribution(sampled: Metadynamics) -> None:
    """Errors per bin come from 40 blocks of 30 ps, hundreds of times the dihedral's relaxation within a well.

    Were they exact and the bins independent, the mean square deviation would be 1 +- 0.41 for 12 bins; 2.5 leaves room
    for what the blocks do not see. A wrong sign or a lost weight shifts the ridge bins by up to 4.5 kT.
    """
    parts = np.split(np.arange(len(sampled.seen)), 40)  # walker after walker
    sigmas, off, inside = histogram_sigmas(sampled.seen[:, 0], sampled.log_weights, parts, energy_kt)
    assert np.abs(sigmas).max() < 4.5
    assert np.mean(sigmas**2) < 2.5
    assert np.abs(off).max() < 0.3  # ridge and valley bins differ by 4.5
    # The bias has done its work: unweighted, the ridges are nearly as full as the valleys.
    assert inside.mean(axis=0).min() > 0.02


def test_bias_fills_the_wells_up_to_the_bias_factor(sampled: Metadynamics) -> None:
    """V + (1 - 1/gamma) U is constant; hills of up to 0.5 kT on the way leave it rough by about as much."""
    table = sampled.table / KT
    grid = -np.pi + 2 * np.pi * np.arange(36) / 36
    rest = table + (1 - 1 / 10) * energy_kt(grid)
    assert rest.std() < 0.4
    assert table.std() > 1.2


def test_log_weights_are_the_bias_at_the_sample(sampled: Metadynamics) -> None:
    angles, log_weights, table = sampled.seen, sampled.log_weights, sampled.table
    spline = CubicSpline(np.linspace(-np.pi, np.pi, 37), np.append(table, table[0]) / KT, bc_type="periodic")
    assert log_weights == pytest.approx(spline(angles[:, 0]), abs=1e-6)
    assert np.ptp(log_weights) > 3


def test_shapes_and_cost(sampled: Metadynamics) -> None:
    angles, log_weights, frames, table = sampled.seen, sampled.log_weights, sampled.frames, sampled.table
    cost = sampled.force_evaluations
    assert angles.shape == (4 * 1500, 1)
    assert log_weights.shape == (6000,)
    assert frames.shape == (4 * 15, 4, 3)
    assert table.shape == (36,)
    assert cost == 4 * (80 + 8 + 300) / 0.004
    bonds = np.linalg.norm(np.diff(frames, axis=1), axis=-1)
    assert bonds.mean() == pytest.approx(0.15, abs=0.001)


def test_two_runs_are_identical(tiny_run: tuple) -> None:
    for first, second in zip(tiny_run, tiny(workers=1), strict=True):
        assert np.array_equal(first, second)
    assert not np.array_equal(tiny(workers=1, seed=12)[0], tiny_run[0])


def test_workers_do_not_change_the_result(tiny_run: tuple) -> None:
    for first, second in zip(tiny_run, tiny(workers=2), strict=True):
        assert np.array_equal(first, second)


def test_walkers_are_dealt_the_structures_in_turn_and_differ() -> None:
    """Hardly biased and for 1 ps, they stay in the wells where they start."""
    short = config(**TINY | {"build_time": "0.4 ps", "exchange_interval": "0.4 ps", "frozen_time": "1 ps"})
    short = short.model_copy(update={"hill_height_kt": 1e-6})
    angles = sample_metadynamics(dihedral(), QUADRUPLES, STRUCTURES, short, 1, WorkerPool(1)).seen
    walkers = angles.reshape(4, -1)
    assert np.median(walkers, axis=1) == pytest.approx(np.pi / 2 * np.array([1, -1, 1, -1]), abs=0.6)
    assert len({tuple(walker) for walker in walkers}) == 4


class RecordingPool(WorkerPool):
    """Runs tasks here and remembers their seeds, the sixth argument of each."""

    def __init__(self) -> None:
        super().__init__(1)
        self.seeds: list[int] = []

    def map(self, task: Any, arguments: Any, *rest: Any) -> list[Any]:
        self.seeds += [args[5] for args in arguments]
        return super().map(task, arguments, *rest)


def test_all_walkers_share_the_hills_and_no_two_tasks_a_seed() -> None:
    """Without tempering the bias holds every walker's hills in full: its mean is their number times their area."""
    pool = RecordingPool()
    untempered = config(**TINY | {"bias_factor": 1e12})
    table = sample_metadynamics(dihedral(), QUADRUPLES, STRUCTURES, untempered, 3, pool).table
    hills = 4 * 10  # four walkers, two rounds of five intervals
    area = 0.5 * KT * math.radians(20) * math.sqrt(2 * math.pi)
    assert table.mean() * 2 * math.pi == pytest.approx(hills * area, rel=1e-6)
    assert len(pool.seeds) == len(set(pool.seeds)) == 4 * (2 + 1)


def test_a_walker_goes_on_with_its_velocities() -> None:
    """Free particles without friction move straight: x + v t."""
    system = openmm.System()
    for _ in range(4):
        system.addParticle(12.0)
    free = MolecularDynamics(openmm.XmlSerializer.serialize(system), TEMPERATURE, 0.001, 1e-12)
    walker = start_walker(free, STRUCTURES[0], 7)
    assert np.abs(walker.velocities).max() > 0.1
    times = {"discard_time": "0.03 ps", "frozen_time": "0.04 ps", "sample_interval": "0.01 ps"}
    times["frame_interval"] = "0.02 ps"
    angles, biases, frames, _ = frozen_round(free, QUADRUPLES, walker, np.zeros(36), config(**times), 5)
    expected = np.array([walker.positions + walker.velocities * t for t in (0.04, 0.05, 0.06, 0.07)])
    assert frames == pytest.approx(expected[::2], abs=1e-5)
    assert angles == pytest.approx(dihedral_angles(expected, QUADRUPLES), abs=1e-4)
    assert biases.tolist() == [0.0] * 4


def test_walkers_start_warm() -> None:
    speeds = np.array([start_walker(dihedral(), STRUCTURES[0], seed).velocities for seed in range(1, 301)])
    kinetic = 0.5 * 12.0 * np.square(speeds).sum(axis=(1, 2))
    expected, error = 6 * KT, math.sqrt(6) * KT / math.sqrt(300)  # twelve degrees of freedom
    assert abs(kinetic.mean() - expected) < 4 * error
