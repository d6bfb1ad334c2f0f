"""Annealed OpenMM paths of one analytic dihedral, whose free energies are one-dimensional integrals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from openmm import app

from spacetime_tps.analysis.metrics import kinetic_temperature
from spacetime_tps.analysis.work import summarise_work
from spacetime_tps.collective_variables import CollectiveVariables
from spacetime_tps.config import PathsConfig
from spacetime_tps.parallel import WorkerPool
from spacetime_tps.paths.ensemble import PathEnsemble
from spacetime_tps.paths.molecular import anneal_molecule, frame_points
from spacetime_tps.paths.schedule import Schedule
from spacetime_tps.potentials import FreeEnergySurface
from spacetime_tps.representations import Torsions, wrap
from spacetime_tps.seeds import openmm_seed
from spacetime_tps.states import Box, State
from spacetime_tps.systems import Molecule, System, find_system_file, load_config
from tests.boltzmann.test_metadynamics import KT, QUADRUPLES, STRUCTURES, TEMPERATURE, dihedral, energy_kt

CONFIG = PathsConfig(count=24, curve_points=200, equilibration_steps=2000, release_steps=250, frames=50)
STEPS_PER_POINT = 20
BINS = 720


def well(name: str, low: float) -> State:
    return State(name, (Box((0,), (low,), (np.pi * 0.6,), 2 * np.pi),))


def grid() -> FreeEnergySurface:
    theta = 2 * np.pi * np.arange(BINS) / BINS - np.pi
    return FreeEnergySurface(
        names=("t",), origin=np.array([-np.pi]), spacing=np.array([2 * np.pi / BINS]), periodic=np.array([True]),
        free_energy=KT * energy_kt(theta), error=np.zeros(BINS), source="exact", kt=KT,
    )  # fmt: skip


@pytest.fixture(scope="module")
def system() -> System:
    return System(
        config=load_config(find_system_file("alanine_dipeptide")),
        representation=Torsions(["t"], QUADRUPLES),
        variables=CollectiveVariables(["t"], QUADRUPLES),
        states=(well("plus", 0.2 * np.pi), well("minus", -0.8 * np.pi)),
        structures=STRUCTURES,
        energy_unit="kJ/mol",
        kt=KT,
        molecule=Molecule(app.Topology(), dihedral()),
        reference=grid(),
    )


@pytest.fixture(scope="module")
def schedule() -> Schedule:
    """From +90 degrees, held with kappa 20, over the barrier at 0 to -90 degrees, held with kappa 4."""
    s = np.linspace(0, 1, CONFIG.curve_points)
    angle, kappa = np.pi / 2 - np.pi * s, np.exp(np.log(20) * (1 - s) + np.log(4) * s + 4 * s * (1 - s))
    return Schedule(np.stack([kappa * np.cos(angle), kappa * np.sin(angle)], axis=-1), 1.0)


def anneal(
    system: System, schedule: Schedule, config: PathsConfig, workers: int, seed: int = 3, copies: int = 1
) -> PathEnsemble:
    with WorkerPool(workers) as pool:
        return anneal_molecule(
            system, dihedral(), schedule, config, STEPS_PER_POINT, lambda k: openmm_seed(seed, k), pool, copies
        )


@pytest.fixture(scope="module", params=[1, 9], ids=["one molecule", "nine copies"])
def paths(system: System, schedule: Schedule, request: pytest.FixtureRequest) -> PathEnsemble:
    return anneal(system, schedule, CONFIG, 1, copies=request.param)


def test_work_gives_the_exact_free_energy_difference(paths: PathEnsemble, schedule: Schedule) -> None:
    theta = 2 * np.pi * np.arange(BINS) / BINS
    features = np.stack([np.cos(theta), np.sin(theta)], axis=-1)
    psi = np.log(np.exp(schedule.natural[[0, -1]] @ features.T - energy_kt(theta)).mean(axis=1))
    work = summarise_work(paths.work_kt[paths.forward], paths.work_kt[~paths.forward], 1.0)
    assert work.error < 0.6
    assert abs(work.delta_f - (psi[0] - psi[1])) < 4 * work.error
    assert work.dissipated_forward > -3 * work.dissipated_forward_error


def test_every_path_arrives_over_the_barrier(paths: PathEnsemble) -> None:
    assert paths.starts_in_state.all()
    assert paths.ends_in_state.mean() > 0.9
    assert paths.end_stays.mean() > 0.9
    barrier = grid().free_energy.max()
    assert (paths.max_free_energy <= barrier + 1e-9).all()
    assert paths.max_free_energy.min() > 0.97 * barrier  # looked at every five steps, the ridge is not skipped


def test_a_path_begins_where_it_was_equilibrated_however_long_the_trial_release_was(
    system: System, schedule: Schedule
) -> None:
    """Looked at after two steps: a bond's vibration, nothing more, since positions and velocities are put back."""
    begun = replace(schedule, natural=schedule.natural[:10])
    config = CONFIG.model_copy(update={"count": 8, "frames": 10, "equilibration_steps": 500})
    with WorkerPool(1) as pool:
        short, long = (
            anneal_molecule(
                system, dihedral(), begun, config.model_copy(update={"release_steps": steps}), 2,
                lambda k: openmm_seed(5, k), pool, 1,
            )
            for steps in (1, 2000)
        )  # fmt: skip
    forward = short.forward
    apart = np.abs(wrap(short.variables[forward, 0, 0] - long.variables[forward, 0, 0]))
    assert apart.max() < 0.05


def test_energies_leave_the_restraint_out(paths: PathEnsemble) -> None:
    torsion = KT * energy_kt(paths.variables[..., 0])
    vibration = paths.potential_energy - torsion
    assert vibration.min() > -1e-3
    assert vibration.mean() == pytest.approx(2.5 * KT, rel=0.1)  # three bonds and two angles


def test_kinetic_temperature_is_the_thermostat_s(paths: PathEnsemble) -> None:
    found = kinetic_temperature(paths.kinetic_energy, 12)
    assert abs(found["mean"] - TEMPERATURE) < 4 * found["error"]


@pytest.mark.parametrize("copies", [1, 2])
def test_workers_do_not_change_a_path(system: System, schedule: Schedule, copies: int) -> None:
    short = replace(schedule, natural=schedule.natural[::20])
    config = CONFIG.model_copy(update={"count": 4, "equilibration_steps": 100, "frames": 5})
    one, two = (anneal(system, short, config, workers, copies=copies) for workers in (1, 2))
    for name, value in vars(one).items():
        assert np.array_equal(getattr(two, name), value, equal_nan=name == "avoided_share"), name


def test_force_evaluations_count_every_step(system: System, schedule: Schedule) -> None:
    config = CONFIG.model_copy(update={"count": 2, "release_steps": 50})
    paths = anneal(system, schedule, config, 1)
    least = CONFIG.equilibration_steps + CONFIG.curve_points * STEPS_PER_POINT + 2 * 50 + 50
    assert (paths.force_evaluations >= least).all()
    assert (paths.force_evaluations <= least + 2 * 9 * 50).all()


def test_frames_lie_at_equal_curve_points() -> None:
    assert frame_points(11, 6).tolist() == [0, 2, 4, 6, 8, 10]
    assert frame_points(3, 10).tolist() == [0, 1, 2]
