"""Ratchet-and-pawl dynamics: the bias against a closed form, and where its paths begin and end."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import openmm
import pytest
import torch
from openmm import app

from spacetime_tps.baselines.guided import GuidedPaths, Passage
from spacetime_tps.baselines.ratchet import (
    Ratchet,
    RatchetBias,
    progress,
    ratchet_gradient,
    ratchet_molecule,
    ratchet_toy,
)
from spacetime_tps.collective_variables import CollectiveVariables
from spacetime_tps.dynamics import RESTRAINT_GROUP, MolecularDynamics, restraint_energy_of, thermalise
from spacetime_tps.parallel import WorkerPool
from spacetime_tps.representations import Torsions, dihedral_angles
from spacetime_tps.states import Ball, Box, State
from spacetime_tps.systems import Molecule, System, find_system_file, load_config, load_system
from tests.boltzmann.test_metadynamics import KT, QUADRUPLES, STRUCTURES, TEMPERATURE, dihedral

ATOMS = np.array([[0, 1, 2, 3], [1, 2, 3, 5]])
TARGET = np.array([0.7, -2.9])
STIFFNESS = 120.0
SETTINGS = Ratchet(strength_kt=20.0, look_every=5, equilibration_steps=600, max_steps=40_000)


def rho_of(positions: np.ndarray, quadruples: np.ndarray, target: np.ndarray) -> np.ndarray:
    return (1 - np.cos(dihedral_angles(positions, quadruples) - target)).sum(-1)


def free_particles(count: int) -> MolecularDynamics:
    system = openmm.System()
    for _ in range(count):
        system.addParticle(12.0)
    return MolecularDynamics(openmm.XmlSerializer.serialize(system), TEMPERATURE, 0.001, 1.0)


# --- the bias -------------------------------------------------------------------------------------------------------


def test_energy_and_forces_against_a_closed_form() -> None:
    rng, h = np.random.default_rng(4), 1e-6
    for _ in range(5):
        bias = RatchetBias(ATOMS, TARGET, STIFFNESS)
        context = free_particles(6).context(1, [bias.force])
        positions = rng.normal(size=(6, 3))
        context.setPositions(positions)
        rho = rho_of(positions, ATOMS, TARGET)
        assert restraint_energy_of(context) == 0.0  # off
        bias.engage(context)
        assert bias.least == pytest.approx(rho, abs=1e-10)
        for below in (0.0, 0.3 * rho, 0.9 * rho, 1.1 * rho):
            context.setParameter("rho_min", below)

            def energy(x: np.ndarray, least: float = below) -> float:
                return STIFFNESS / 2 * max(0.0, rho_of(x, ATOMS, TARGET) - least) ** 2

            forces = context.getState(forces=True, groups={RESTRAINT_GROUP}).getForces(asNumpy=True)._value
            assert restraint_energy_of(context) == pytest.approx(energy(positions), rel=1e-9, abs=1e-12)
            for k in np.ndindex(6, 3):
                step = np.zeros((6, 3))
                step[k] = h
                slope = (energy(positions + step) - energy(positions - step)) / (2 * h)
                assert forces[k] == pytest.approx(-slope, rel=1e-5, abs=1e-5)
            assert (below < rho) == bool(np.abs(forces).max() > 0)  # what has made progress is left alone


def test_least_progress_is_the_running_minimum_and_is_kept() -> None:
    """Looked at every step; between looks the pawl gives way by thermal energies only."""
    stiffness, target = 200 * KT, dihedral_angles(STRUCTURES[1], QUADRUPLES)
    bias = RatchetBias(QUADRUPLES, target, stiffness)
    context = dihedral().context(7, [bias.force])
    context.setPositions(STRUCTURES[0])
    thermalise(context, TEMPERATURE, 7)
    bias.engage(context)
    rho, least = [2.0], [bias.least]
    assert bias.least == pytest.approx(2.0)  # half a turn away
    for _ in range(4000):
        context.getIntegrator().step(1)
        rho.append(float(rho_of(bias.look(context), QUADRUPLES, target)))
        least.append(bias.least)
        assert context.getParameter("rho_min") == bias.least
    assert least == pytest.approx(np.minimum.accumulate(rho), abs=1e-9)
    excess = stiffness / 2 * (np.array(rho) - least) ** 2 / KT
    assert excess.max() < 15
    assert least[-1] < 0.01


def test_gradient_of_the_toy_bias_by_autograd() -> None:
    rng = np.random.default_rng(0)
    x, target = (torch.from_numpy(rng.normal(size=(50, 3))) for _ in range(2))
    rho = 0.5 * np.square(x.numpy() - target.numpy()).sum(1)
    assert progress(x, target).numpy() == pytest.approx(rho)
    least = torch.from_numpy(rho * rng.uniform(0.5, 1.5, 50))
    x.requires_grad_()
    energy = 0.5 * STIFFNESS * (0.5 * (x - target).square().sum(1) - least).clamp_min(0).square()
    (expected,) = torch.autograd.grad(energy.sum(), x)
    found = ratchet_gradient(x.detach(), target, least, STIFFNESS)
    assert torch.allclose(found, expected)
    assert (found.norm(dim=1).numpy() > 0).tolist() == (rho > least.numpy()).tolist()


# --- passages -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 3, 7, 200])
def test_passage_from_last_exit_to_first_entry(size: int) -> None:
    states = (State("a", (Box((0,), (-9.0,), (8.5,), None),)), State("b", (Box((0,), (3.0,), (9.0,), None),)))
    t = np.arange(200.0)
    walk = (0.02 * t - 1.2 + np.sin(t / 9) + np.random.default_rng(5).normal(0, 0.2, 200))[:, None]
    frames = np.repeat(walk, 2, axis=1)
    arrival = int(np.flatnonzero(walk[:, 0] >= 3)[0])
    leave = int(np.flatnonzero(walk[:arrival, 0] <= -0.5)[-1])
    assert (walk[1:leave, 0] > -0.5).any()  # it leaves more than once
    passage, at = Passage(states, frames[0], walk[0]), 1
    while not passage.arrived:
        passage.look(frames[at : at + size], walk[at : at + size])
        at += size
    points, variables = passage.path()
    assert np.array_equal(variables, walk[leave : arrival + 1])
    assert np.array_equal(points, frames[leave : arrival + 1].astype(np.float32))


def check_ends(paths: GuidedPaths, states: tuple[State, State]) -> None:
    """Of every path the first frame alone in its start, and the last alone in its target if it has arrived."""
    for k, forward in enumerate(paths.forward):
        start, target = states if forward else states[::-1]
        in_start, in_target = start.contains(paths.variables[k]), target.contains(paths.variables[k])
        assert np.flatnonzero(in_start).tolist() == [0]
        last = len(in_target) - 1
        assert np.flatnonzero(in_target).tolist() == ([last] if paths.arrived[k] else [])
        assert paths.frames[k].dtype == np.float32
        assert len(paths.frames[k]) == len(paths.variables[k])


# --- molecules ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def molecule() -> System:
    """The dihedral with its minima at +90 and -90 degrees, barriers of 5 kT, and states that hold a part of a well."""
    return System(
        config=load_config(find_system_file("alanine_dipeptide")),
        representation=Torsions(["t"], QUADRUPLES),
        variables=CollectiveVariables(["t"], QUADRUPLES),
        states=tuple(State(n, (Ball((0,), (c,), 0.2, 2 * np.pi),)) for n, c in (("+", np.pi / 2), ("-", -np.pi / 2))),
        structures=STRUCTURES,
        energy_unit="kJ/mol",
        kt=KT,
        molecule=Molecule(app.Topology(), dihedral()),
    )


def run(system: System, settings: Ratchet, count: int, workers: int, seed: int = 3) -> GuidedPaths:
    with WorkerPool(workers) as pool:
        return ratchet_molecule(system, dihedral(), count, settings, seed, pool)


@pytest.fixture(scope="module")
def paths(molecule: System) -> GuidedPaths:
    return run(molecule, SETTINGS, 8, 1)


def test_molecular_paths_run_from_state_to_state(paths: GuidedPaths, molecule: System) -> None:
    assert paths.forward.tolist() == [True, False] * 4
    assert paths.arrived.all()
    check_ends(paths, molecule.states)
    for frames, variables in zip(paths.frames, paths.variables, strict=True):
        assert dihedral_angles(frames.astype(float), QUADRUPLES) == pytest.approx(variables, abs=1e-4)
        assert np.abs(np.sin(variables[:, 0])).min() < 0.3  # over one of the barriers, at 0 and 180 degrees
    assert paths.interval == pytest.approx(5 * 0.004)


def test_force_evaluations_of_molecular_paths(paths: GuidedPaths, molecule: System) -> None:
    for frames, cost in zip(paths.frames, paths.force_evaluations, strict=True):
        biased = cost - SETTINGS.equilibration_steps
        assert biased % (64 * SETTINGS.look_every) == 0  # whole chunks of looks
        assert (len(frames) - 1) * SETTINGS.look_every <= biased


def test_a_path_without_time_does_not_arrive(molecule: System) -> None:
    short = run(molecule, replace(SETTINGS, max_steps=100), 4, 1)
    assert not short.arrived.any()
    check_ends(short, molecule.states)
    assert (short.force_evaluations == 700).all()
    assert all(len(frames) <= 21 for frames in short.frames)


def test_workers_do_not_change_a_path(paths: GuidedPaths, molecule: System) -> None:
    other = run(molecule, SETTINGS, 4, 2)
    for k in range(4):
        assert np.array_equal(other.frames[k], paths.frames[k])
        assert np.array_equal(other.variables[k], paths.variables[k])
    assert np.array_equal(other.force_evaluations, paths.force_evaluations[:4])


def test_alanine_dipeptide_arrives() -> None:
    """One path each way, from C5 to C7ax and back, with the default strength."""
    file = find_system_file("alanine_dipeptide")
    system = load_system(load_config(file), file.parent)
    assert system.molecule is not None
    assert system.reference is not None
    settings = Ratchet(equilibration_steps=2000)
    found = ratchet_molecule(system, system.molecule.dynamics, 2, settings, 1, WorkerPool(1))
    assert found.arrived.all()
    check_ends(found, system.states)
    for variables in found.variables:
        assert system.reference(variables).max() > 38


# --- analytic potentials --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mueller_brown() -> System:
    file = find_system_file("mueller_brown")
    return load_system(load_config(file), file.parent)


TOY = Ratchet(strength_kt=50.0, look_every=1, equilibration_steps=500, max_steps=20_000)


@pytest.fixture(scope="module")
def toys(mueller_brown: System) -> GuidedPaths:
    return ratchet_toy(mueller_brown, 16, TOY, 2)


def test_toy_paths_run_from_state_to_state(toys: GuidedPaths, mueller_brown: System) -> None:
    assert toys.forward.tolist() == [True, False] * 8
    assert toys.arrived.mean() > 0.9
    check_ends(toys, mueller_brown.states)
    assert toys.interval == 1e-5
    assert mueller_brown.reference is not None
    highest = np.array([mueller_brown.reference(v).max() for v in toys.variables])[toys.arrived]
    assert highest.min() > 7.07 - 0.1  # a step leaps over the saddle's very line
    assert np.median(highest) < 12


def test_toy_paths_do_not_fall_back(toys: GuidedPaths, mueller_brown: System) -> None:
    """Between the states, rho never rises above its running minimum by more than thermal energies allow."""
    for k, forward in enumerate(toys.forward):
        target = mueller_brown.structures[1 if forward else 0]
        rho = 0.5 * np.square(toys.variables[k] - target).sum(1)
        excess = 0.5 * TOY.strength_kt * (rho - np.minimum.accumulate(rho)) ** 2
        assert excess.max() < 12


def test_without_strength_it_is_the_plain_dynamics(mueller_brown: System) -> None:
    """The deep minimum is not left in the time in which a ratchet takes all over."""
    free = ratchet_toy(mueller_brown, 16, replace(TOY, strength_kt=0.0, max_steps=5000), 2)
    assert not free.arrived[free.forward].any()


def test_toy_seeds(toys: GuidedPaths, mueller_brown: System) -> None:
    few = replace(TOY, max_steps=300)
    one, two, other = (ratchet_toy(mueller_brown, 8, few, seed) for seed in (2, 2, 3))
    assert all(map(np.array_equal, one.frames, two.frames))
    assert not any(map(np.array_equal, one.frames, other.frames))
    assert (one.force_evaluations == 800).all()
