"""Annealed paths of a toy against what equilibrium demands."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from spacetime_tps.analysis.work import summarise_work
from spacetime_tps.config import PathsConfig, validate
from spacetime_tps.diffusion.exact import SampleDenoiser
from spacetime_tps.paths.ensemble import PathEnsemble
from spacetime_tps.paths.overdamped import anneal_toy, langevin_step
from spacetime_tps.paths.schedule import Schedule, restraint_work
from spacetime_tps.representations import Identity
from spacetime_tps.systems import System, find_system_file, load_config, load_system


def double_well_system() -> System:
    config = load_config(find_system_file("mueller_brown"), overrides=("reference=null",))
    settings = config.model_dump(mode="json") | {"name": "double_well"}
    settings["system"] = {
        "kind": "double_well",
        "kt": 1.0,
        "box": [[-2, 2], [-2, 2]],
        "dynamics": {"integrator": "overdamped", "time_step": 1e-3},
    }
    for key, x in (("a", -1.0), ("b", 1.0)):
        settings["states"][key] = {
            "name": key,
            "point": [x, 0.0],
            "any_of": [{"ball": {"x": x, "y": 0.0}, "radius": 0.5}],
        }
    return load_system(validate(settings, "test"), Path())


def exact_denoiser(system: System) -> SampleDenoiser:
    axis = np.linspace(-2.2, 2.2, 221)
    points = np.stack([m.ravel() for m in np.meshgrid(axis, axis, indexing="ij")], axis=-1)
    energy = system.potential.energy(torch.from_numpy(points))
    return SampleDenoiser(Identity(2), torch.from_numpy(Identity(2).statistics(points)), -energy / system.potential_kt)


def dragging_schedule(points: int) -> Schedule:
    """A restraint of SNR 30 moved from one well to the other."""
    y = torch.linspace(-1, 1, points, dtype=torch.float64)
    chart = torch.stack([y, torch.zeros_like(y), torch.full_like(y, np.log(30.0))], dim=-1)
    return Schedule(Identity(2).natural(chart).numpy(), 1.0)


MAY_BE_NAN = ("kinetic_energy", "free_energy", "avoided_share")
CONFIG = PathsConfig(count=200, look_every=1, frames=20, equilibration_steps=1500, release_steps=500)


@pytest.fixture(scope="module")
def annealed() -> tuple[System, Schedule, PathEnsemble]:
    system, schedule = double_well_system(), dragging_schedule(200)
    return system, schedule, anneal_toy(system, schedule, CONFIG, 30, seed=7)


def test_work_gives_the_exact_free_energy_difference(annealed: tuple[System, Schedule, PathEnsemble]) -> None:
    """Bennett's estimate over a protocol that is not even a geodesic, against quadrature; asymmetric ends."""
    system, _, _ = annealed
    chart = torch.tensor([[-1.0, 0.0, np.log(30.0)], [0.4, 0.3, np.log(12.0)]], dtype=torch.float64)
    line = chart[:1] + torch.linspace(0, 1, 150, dtype=torch.float64)[:, None] * (chart[1:] - chart[:1])
    schedule = Schedule(Identity(2).natural(line).numpy(), 1.0)
    paths = anneal_toy(system, schedule, CONFIG, 30, seed=11)
    psi = exact_denoiser(system)(torch.from_numpy(schedule.natural[[0, -1]])).log_partition
    work = summarise_work(paths.work_kt[paths.forward], paths.work_kt[~paths.forward], 1.0)
    assert abs(work.delta_f - (psi[0] - psi[1]).item()) < 4 * work.error
    assert work.error < 0.2


def test_start_is_the_restrained_ensemble(annealed: tuple[System, Schedule, PathEnsemble]) -> None:
    system, schedule, paths = annealed
    posterior = exact_denoiser(system)(torch.from_numpy(schedule.natural[:1]))
    start = paths.frames[paths.forward, 0]
    error = np.sqrt(posterior.block_variance.item() / 2 / len(start))
    assert np.abs(start.mean(0) - posterior.mean[0, :2].numpy()).max() < 4 * error


def test_paths_go_where_their_direction_says(annealed: tuple[System, Schedule, PathEnsemble]) -> None:
    _, _, paths = annealed
    assert paths.forward.sum() == 100
    assert paths.starts_in_state.mean() > 0.95
    assert paths.ends_in_state.mean() > 0.95
    assert (paths.frames[paths.forward, 0, 0] < 0).all()
    assert (paths.frames[~paths.forward, 0, 0] > 0).all()
    assert paths.curve_parameter[0] == pytest.approx(1 - paths.curve_parameter[1])
    assert (paths.end_stays >= paths.end_inside).all()


def test_energies_are_those_of_the_frames(annealed: tuple[System, Schedule, PathEnsemble]) -> None:
    system, _, paths = annealed
    energy = system.potential.energy(torch.from_numpy(paths.frames)).numpy()
    assert paths.potential_energy == pytest.approx(energy / system.potential_kt)


def test_force_evaluations_are_counted(annealed: tuple[System, Schedule, PathEnsemble]) -> None:
    _, _, paths = annealed
    least = CONFIG.equilibration_steps + 200 * 30 + 2 * CONFIG.release_steps + 20
    assert least <= paths.force_evaluations[0] <= least + 2 * 9 * CONFIG.release_steps


def test_same_seed_same_paths(annealed: tuple[System, Schedule, PathEnsemble]) -> None:
    system, schedule, _ = annealed
    config = CONFIG.model_copy(update={"count": 4, "equilibration_steps": 10})
    first, second, other = (anneal_toy(system, schedule, config, 2, seed=s).frames for s in (1, 1, 2))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


def test_ensemble_round_trip(annealed: tuple[System, Schedule, PathEnsemble], tmp_path: Path) -> None:
    _, _, paths = annealed
    paths.save(tmp_path / "paths.npz")
    again = PathEnsemble.load(tmp_path / "paths.npz")
    for name, value in vars(paths).items():
        assert np.array_equal(getattr(again, name), value, equal_nan=name in MAY_BE_NAN)


def test_restraint_work_is_the_change_of_the_restraint_energy() -> None:
    rng = np.random.default_rng(0)
    before, after, x = rng.normal(size=(3, 5, 2))
    eta, statistics = np.append(before[0], -1.0), np.append(x[0], x[0] @ x[0])
    new = np.append(after[0], -2.0)
    assert restraint_work(new - eta, statistics) == pytest.approx(-(new @ statistics) + eta @ statistics)


def test_step_samples_a_harmonic_well() -> None:
    """Euler-Maruyama in U = x^2/2 has the stationary variance kT / (1 - dt/2)."""
    rng, x = torch.Generator().manual_seed(0), torch.zeros(20_000, dtype=torch.float64)
    for _ in range(400):
        x = langevin_step(x, -x, kt=0.5, dt=0.05, rng=rng)
    assert x.var().item() == pytest.approx(0.5 / (1 - 0.025), rel=4 * np.sqrt(2 / 20_000))
