"""Cartesian positions and linear combinations of torsions: what they forget, and the restraints that match them."""

from __future__ import annotations

import numpy as np
import openmm
import pytest
import torch
from scipy.spatial.transform import Rotation

from spacetime_tps.diffusion.exact import sample_denoiser
from spacetime_tps.errors import UserError
from spacetime_tps.representations import Cartesian, Components, Molecular, Torsions, held_in
from spacetime_tps.representations.fitting import fit_atoms, fit_torsions
from spacetime_tps.representations.superposition import centered, rotation_onto
from spacetime_tps.systems import System, find_system_file, load_config, load_system
from spacetime_tps.topology import chosen_atoms

FILE = find_system_file("alanine_dipeptide")
SYSTEM: System = load_system(load_config(FILE), FILE.parent)
RNG = np.random.default_rng(5)
FRAMES = SYSTEM.structures[RNG.integers(2, size=400)] + 0.01 * RNG.normal(size=(400, 22, 3))


def cartesian() -> Cartesian:
    assert SYSTEM.molecule is not None
    heavy = chosen_atoms(SYSTEM.molecule.topology, "heavy")
    return Cartesian(SYSTEM.torsions, heavy, fit_atoms(FRAMES[:, heavy]))


def components(kind: str) -> Components:
    features = SYSTEM.torsions.features(FRAMES)
    walker = np.repeat([0, 1], 200)
    axes = fit_torsions(features, np.zeros(400), walker, 3, 2 if kind == "tica" else None)
    return Components(SYSTEM.torsions, axes)


ALL = {"cartesian": cartesian, "tica": lambda: components("tica"), "pca": lambda: components("pca")}


@pytest.fixture(params=sorted(ALL))
def representation(request: pytest.FixtureRequest) -> Molecular:
    return ALL[request.param]()


def moved(frames: np.ndarray) -> np.ndarray:
    turns = Rotation.random(len(frames), random_state=2).as_matrix()
    return frames @ turns + RNG.normal(size=(len(frames), 1, 3))


def test_turning_and_shifting_changes_nothing(representation: Molecular) -> None:
    """Features, and with them posteriors: 1e-5 is asked for."""
    before, after = representation.features(FRAMES), representation.features(moved(FRAMES))
    assert np.abs(after - before).max() < 1e-9 * max(1.0, np.abs(before).max())
    statistics = torch.from_numpy(representation.statistics(before))
    posterior = sample_denoiser(representation, statistics, torch.zeros(len(before), dtype=torch.float64))
    levels = torch.full((len(before), 1), 2.0, dtype=torch.float64)
    still = torch.zeros(before.shape, dtype=torch.float64)
    first, second = (posterior(representation.noised(torch.from_numpy(x), levels, still)).mean for x in (before, after))
    assert (first - second).abs().max() < 1e-6


def test_restraint_is_minus_kt_eta_t(representation: Molecular) -> None:
    """Energy differences between frames as OpenMM has them."""
    restraint = representation.restraint(2.5)
    system = openmm.System()
    for _ in range(22):
        system.addParticle(1.0)
    system.addForce(restraint.force)
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
    natural = RNG.normal(size=(3, representation.n_parameters))
    natural[:, -1] = -np.abs(natural[:, -1])
    frames = FRAMES[:4] + 0.01 * RNG.normal(size=(4, 22, 3))
    for eta in natural:
        restraint.move_to(eta, context)
        energies = []
        for frame in frames:
            context.setPositions(frame)
            energies.append(
                context.getState(energy=True).getPotentialEnergy().value_in_unit(openmm.unit.kilojoule_per_mole)
            )
        expected = -2.5 * held_in(representation, frames) @ eta
        assert np.array(energies) == pytest.approx(expected, rel=1e-6, abs=1e-6)
    restraint.move_to(np.zeros(representation.n_parameters), context)
    assert context.getState(energy=True).getPotentialEnergy()._value == pytest.approx(0.0, abs=1e-9)


def test_center_is_where_the_torsions_are(representation: Molecular) -> None:
    """Exactly by positions; by three of four components as well as a line can."""
    statistics = representation.statistics(representation.features(FRAMES))
    angles = SYSTEM.torsions.angles(FRAMES)
    found = representation.center(statistics)
    tolerance = 1e-8 if isinstance(representation, Cartesian) else 0.3
    assert np.sqrt(np.square(np.angle(np.exp(1j * (found - angles)))).mean()) < tolerance
    assert representation.center(torch.from_numpy(statistics)).numpy() == pytest.approx(found, abs=1e-9)


def test_a_placed_frame_feels_what_its_features_say() -> None:
    space = cartesian()
    placed = np.array([space.placed(frame) for frame in moved(FRAMES)])
    held = held_in(space, placed)
    assert held == pytest.approx(space.statistics(space.features(FRAMES)), abs=1e-6)


def test_posterior_of_placed_samples_is_that_of_all_their_placements() -> None:
    """Two shapes under a restraint, every orientation and shift of them by 400,000 random ones."""
    space, snr = cartesian(), 30.0
    shapes = centered(10 * FRAMES[[0, 3]][:, space.atoms])
    features = space.features_of_seen(np.zeros(0), FRAMES[[0, 3]][:, space.atoms])
    y = features.mean(axis=0) + 0.1 * RNG.normal(size=space.n_features)
    natural = space.natural(torch.from_numpy(np.append(y, np.log(snr)))[None])
    shown = torch.from_numpy(space.statistics(features))
    told = sample_denoiser(space, shown, torch.zeros(2, dtype=torch.float64))(natural)
    target, means, logs = space.structures(y), [], []
    rng = np.random.default_rng(1)
    for shape in shapes:
        best = shape @ rotation_onto(shape, centered(target))
        width = 1.5 / np.sqrt(snr * np.square(target).sum() / 3)
        vectors = rng.normal(scale=width, size=(100_000, 3))
        angle = np.linalg.norm(vectors, axis=1)
        shifts = rng.normal(scale=1 / np.sqrt(len(shape) * snr), size=(100_000, 1, 3))
        here = best @ Rotation.from_rotvec(vectors).as_matrix() + target.mean(axis=0) + shifts
        statistics = space.held(np.zeros(0), here / 10)
        log_proposal = -0.5 * np.square(vectors / width).sum(axis=1)
        log_proposal -= 0.5 * snr * len(shape) * np.square(shifts).sum(axis=(1, 2))
        log_measure = np.log(2 * (1 - np.cos(angle)) / angle**2)
        log_weight = statistics @ natural[0].numpy() + log_measure - log_proposal
        weight = np.exp(log_weight - log_weight.max())
        logs.append(np.log(weight.mean()) + log_weight.max())
        means.append(weight @ statistics / weight.sum())
    share = np.exp(np.array(logs) - np.logaddexp(*logs))
    mean = share @ np.array(means)
    off = np.abs(told.mean[0].numpy() - mean)
    assert off[:-1].max() < 0.01  # A
    assert off[-1] < 0.02 * mean[-1]
    reduced = space.reduced(natural.numpy(), features)[0]
    assert reduced[1] - reduced[0] == pytest.approx(logs[0] - logs[1], abs=0.1)


def test_reduced_potentials_forget_the_placement(representation: Molecular) -> None:
    natural = representation.natural(torch.randn(3, representation.n_coordinates, dtype=torch.float64)).numpy()
    features = (representation.features(frames) for frames in (FRAMES[:20], moved(FRAMES[:20])))
    first, second = (representation.reduced(natural, x) for x in features)
    assert first == pytest.approx(second, abs=1e-6)
    free = representation.reduced(np.zeros((1, representation.n_parameters)), representation.features(FRAMES[:5]))
    assert free == pytest.approx(np.zeros((1, 5)))


def test_too_few_atoms_are_refused() -> None:
    with pytest.raises(UserError, match="at least 4 atoms"):
        fit_atoms(FRAMES[:, :3])


def test_tica_finds_the_slow_direction() -> None:
    """A torsion that hops between two angles now and then beside one that is noise."""
    rng = np.random.default_rng(0)
    slow = np.where(np.cumsum(rng.random(5000) < 0.01) % 2, 0.8, -0.8) + 0.1 * rng.normal(size=5000)
    angles = np.stack([slow, rng.uniform(-3, 3, 5000)], axis=-1)
    torsions = Torsions(["slow", "fast"], [(0, 1, 2, 3), (1, 2, 3, 4)])
    found = fit_torsions(torsions.features_of_angles(angles), np.zeros(5000), np.zeros(5000, dtype=int), 1, 5)
    first = (torsions.features_of_angles(angles) - found.offset) @ found.axes
    assert abs(np.corrcoef(first[:, 0], np.sin(slow))[0, 1]) > 0.99
    assert first.std() == pytest.approx(1.0)
