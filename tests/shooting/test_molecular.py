"""The dynamics of a molecule under shooting: time reversal, velocities, constraints, counting."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import openmm
import pytest

from spacetime_tps.shooting import MolecularEngine, Move, Phase, ShotPath, init, step
from spacetime_tps.shooting.chains import EngineRecipe
from spacetime_tps.shooting.first import first_path, hot_paths, stretched, with_velocities
from spacetime_tps.systems import System, find_system_file, load_config, load_system
from spacetime_tps.units import GAS_CONSTANT


@pytest.fixture(scope="module")
def system() -> System:
    file = find_system_file("alanine_dipeptide")
    return load_system(load_config(file), file.parent)


def engine_of(system: System, friction: float = 1.0, seed: int = 3) -> MolecularEngine:
    assert system.molecule is not None
    dynamics = replace(system.molecule.dynamics, friction_per_ps=friction)
    return MolecularEngine(dynamics, system.variables, system.states, 5, seed)


def at_rest(system: System) -> ShotPath:
    frame = system.structures[:1]
    return ShotPath(
        frame, np.zeros_like(frame), np.zeros(1, dtype=bool), system.variables(frame), np.zeros(1, dtype=int)
    )


def last_frame(segment_path: ShotPath) -> ShotPath:
    return segment_path.part(len(segment_path) - 1, len(segment_path))


def test_without_friction_a_reversed_trajectory_runs_back(system: System) -> None:
    engine, rng = engine_of(system, friction=1e-12), np.random.default_rng(1)
    start, _ = engine.starts([at_rest(system)], 0.0, rng)
    there = engine.integrate(start, np.array([60]), stop=False)[0].as_path(False, 1)
    _, back = engine.starts([last_frame(there)], 1.0, rng)
    home = engine.integrate(back, np.array([60]), stop=False)[0].as_path(True, 1)
    assert home.positions[0] == pytest.approx(start.positions[0], abs=1e-5)
    assert home.positions[1:] == pytest.approx(there.positions[:-1], abs=1e-5)
    forward, _ = engine.starts([home.part(0, 1)], 1.0, rng)
    again = engine.integrate(forward, np.array([60]), stop=False)[0]
    assert again.positions == pytest.approx(there.positions, abs=1e-4)
    # Turning the sign of the stored velocities alone starts a kick off and misses by a thousand times more.
    wrong = engine.integrate(Phase(there.positions[-1:], -there.velocities[-1:]), np.array([60]), stop=False)[0]
    assert np.abs(wrong.positions[-1] - start.positions[0]).max() > 1e-3


def test_new_velocities_are_thermal_and_obey_the_constraints(system: System) -> None:
    assert system.molecule is not None
    engine, rng = engine_of(system), np.random.default_rng(2)
    dynamics = system.molecule.dynamics
    openmm_system = openmm.XmlSerializer.deserialize(dynamics.system_xml)
    mass = np.array([openmm_system.getParticleMass(i)._value for i in range(openmm_system.getNumParticles())])
    draws = 400
    forward, backward = engine.starts([at_rest(system)] * draws, 0.0, rng)
    on_time = 0.5 * (forward.velocities - backward.velocities)  # v = u - kick/2 and v = -u - kick/2
    dof = dynamics.degrees_of_freedom()
    kinetic = 0.5 * np.einsum("i,nij->n", mass, on_time**2)
    error = 0.5 * dynamics.kt * np.sqrt(2 * dof / draws)
    assert abs(kinetic.mean() - 0.5 * dof * GAS_CONSTANT * 300) < 3 * error
    positions = forward.positions[0]
    for c in range(openmm_system.getNumConstraints()):
        i, j, _ = openmm_system.getConstraintParameters(c)
        along = positions[i] - positions[j]
        speed = ((on_time[:, i] - on_time[:, j]) @ along) / np.linalg.norm(along)
        assert np.abs(speed).max() < 1e-5


@pytest.mark.parametrize("mixing", [0.0, 0.6, 1.0])
def test_velocities_are_mixed(system: System, mixing: float) -> None:
    """<v v'> = c <v^2>, as an average over many draws."""
    engine, rng = engine_of(system), np.random.default_rng(4)
    first, _ = engine.starts([at_rest(system)], 0.0, rng)
    frame = replace(at_rest(system), velocities=first.velocities)
    kick = engine.starts([at_rest(system)], 1.0, rng)[0].velocities[0]
    old = first.velocities[0] - kick
    new = engine.starts([frame] * 600, mixing, rng)[0].velocities - kick
    overlap = (new * old).sum(axis=(1, 2)) / (old**2).sum()
    assert overlap.mean() == pytest.approx(mixing, abs=0.03)
    assert overlap.std() == pytest.approx(0.0, abs=1e-9) if mixing == 1 else overlap.std() > 0.01


@pytest.fixture(scope="module")
def hot(system: System) -> tuple[ShotPath, int]:
    assert system.molecule is not None
    recipe = EngineRecipe.of(system, system.molecule.dynamics, 5)
    (path,), cost = hot_paths(recipe, 3.0, system.structures[0], 1, 2_000_000, 11, np.random.default_rng(0))
    return path, cost


def test_a_hot_run_gives_a_first_path(system: System, hot: tuple[ShotPath, int]) -> None:
    path, cost = hot
    a, b = system.states
    assert a.contains(path.variables).tolist() == [True] + [False] * (len(path) - 1)
    assert b.contains(path.variables).tolist() == [False] * (len(path) - 1) + [True]
    assert path.variables == pytest.approx(system.variables(path.positions))
    assert cost % 5 in (0, 1)


@pytest.mark.parametrize("two_way", [False, True])
def test_steps_keep_paths_whole(system: System, hot: tuple[ShotPath, int], two_way: bool) -> None:
    engine, rng = engine_of(system, seed=9), np.random.default_rng(9)
    state, changed = init(with_velocities(hot[0], engine, rng)), 0
    for number in range(1, 41):
        before = engine.force_evaluations
        (state,), (info,) = step([state], engine, Move(two_way=two_way), rng)
        assert state.steps == number
        assert engine.force_evaluations - before >= 5 * info.new_frames
        if not info.accepted:
            continue
        changed += 1
        path = state.path
        assert path.variables == pytest.approx(system.variables(path.positions))
        assert system.states[0].contains(path.variables[0])
        assert system.states[1].contains(path.variables[-1])
        assert not any(s.contains(path.variables[1:-1]).any() for s in system.states)
        jumps = np.linalg.norm(np.diff(path.positions, axis=0), axis=-1).max(axis=1)
        assert jumps[(path.born[1:] > 0) & (path.born[:-1] > 0)].max() < 0.1  # 10 fs apart
    assert changed >= (1 if two_way else 10)  # ten seeds: 1 to 6, and 19 to 32


def test_a_path_is_stretched_to_a_fixed_length(system: System, hot: tuple[ShotPath, int]) -> None:
    engine, rng = engine_of(system, seed=5), np.random.default_rng(5)
    (path,) = stretched([with_velocities(hot[0], engine, rng)], len(hot[0]) + 100, system.states, engine, rng)
    assert len(path) == len(hot[0]) + 100
    assert system.states[0].contains(path.variables[0])
    assert system.states[1].contains(path.variables[-1])


def test_a_path_is_cut_from_either_direction_of_time(system: System, hot: tuple[ShotPath, int]) -> None:
    path = hot[0]
    again = first_path(path.positions[::-1], path.variables[::-1], system.states)
    assert again.positions == pytest.approx(path.positions)
    with pytest.raises(ValueError, match="C7ax"):
        first_path(path.positions[:-1], path.variables[:-1], system.states)
    broken = path.positions.copy()
    broken[3, 2, 1] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        first_path(broken, path.variables, system.states)
