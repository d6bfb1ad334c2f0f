"""Restrained windows of one dihedral whose posteriors are known by quadrature."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy.special import logsumexp

from spacetime_tps.analysis.free_energies import difference_of_states, profile_along, profile_of
from spacetime_tps.analysis.windows import compare_windows, disagreement, torsions_apart
from spacetime_tps.boltzmann.pool import Pool, Seen, Solution, solve
from spacetime_tps.boltzmann.recording import Recorder
from spacetime_tps.boltzmann.windows import WindowSteps, sample_windows, sample_windows_of_potential
from spacetime_tps.config import WindowsConfig
from spacetime_tps.diffusion.denoiser import Posterior
from spacetime_tps.geometry.channels import climb
from spacetime_tps.parallel import WorkerPool
from spacetime_tps.potentials import DoubleWell
from spacetime_tps.representations import Identity, Torsions
from tests.boltzmann.dihedral import dihedral, energy_kt
from tests.oracles import circle, four_atoms

TORSION = Torsions(["theta"], [(0, 1, 2, 3)])
SEEN = Recorder(TORSION.quadruples)
CENTERS = np.linspace(-np.pi / 2, np.pi / 2, 19)
NATURAL = 20.0 * np.stack([np.cos(CENTERS), np.sin(CENTERS)], axis=-1)
CONFIG = WindowsConfig(equilibration_steps=500, steps=10_000, sample_every=20)
THETA = circle(4000)


def exact() -> tuple[Posterior, np.ndarray]:
    """Posteriors of the windows and -psi up to a constant, by quadrature."""
    logits = NATURAL @ np.stack([np.cos(THETA), np.sin(THETA)]) - energy_kt(THETA)
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    mean = torch.from_numpy(weights @ np.stack([np.cos(THETA), np.sin(THETA)], axis=-1))
    psi = np.log(np.exp(logits).sum(axis=1))
    return Posterior(mean, TORSION.block_variance(mean)), psi[0] - psi


@pytest.fixture(scope="module", params=[1, 10], ids=["one molecule", "ten copies"])
def angles(request: pytest.FixtureRequest) -> np.ndarray:
    starts = np.array([[four_atoms(center), four_atoms(center + 0.1)] for center in CENTERS])
    found = sample_windows(dihedral(), TORSION, NATURAL, starts, CONFIG, 3, WorkerPool(1), SEEN, copies=request.param)
    assert found.force_evaluations == 19 * 2 * 10_500
    assert found.simulation.ravel().tolist() == list(range(38))
    assert np.isnan(found.accepted)
    return found.seen


def test_windows_are_the_denoising_posteriors(angles: np.ndarray) -> None:
    """All 19 posteriors: variances within 4.5 of their own errors and mostly within one, centres within 2 degrees."""
    posterior, _ = exact()
    found = compare_windows(TORSION, NATURAL, posterior, TORSION.features_of_angles(angles))
    sigmas = (found.measured - found.predicted) / found.error
    assert np.abs(sigmas).max() < 4.5
    assert np.mean(sigmas**2) < 2.5
    assert found.close.all()
    assert not found.wrong.any()
    assert np.rad2deg(np.abs(found.center_off)).max() < 2
    assert np.rad2deg(found.starts_apart).max() < 4


@pytest.mark.parametrize("copies", [1, 10])
def test_of_watched_torsions_the_mean_of_each_run_is_kept(copies: int) -> None:
    starts = np.array([[four_atoms(center), four_atoms(center + 0.1)] for center in CENTERS])
    short = WindowsConfig(equilibration_steps=0, steps=400, sample_every=40)
    back = np.array([[3, 2, 1, 0], [0, 1, 2, 3]])
    found = sample_windows(
        dihedral(), TORSION, NATURAL, starts, short, 3, WorkerPool(1), SEEN, every=10, copies=copies, watched=back
    )
    features = TORSION.features_of_angles(found.seen[:, :, 3::4])
    assert features.shape == (19, 2, 10, 2)
    assert found.watched == pytest.approx(np.repeat(features.mean(axis=2)[:, :, None], 2, axis=2))


def test_runs_in_different_wells_lie_apart_by_the_scatter_within_them() -> None:
    """The scatter of angles follows from their mean; runs from the same place do not lie apart."""
    rng = np.random.default_rng(5)
    angles = np.stack([rng.vonmises(0.0, 20.0, (3, 500)), rng.vonmises([[0.0], [1.2], [-2.5]], 20.0, (3, 500))], axis=1)
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    found = torsions_apart(vectors.mean(axis=2)[:, :, None])
    means = vectors.mean(axis=2)
    scatter = np.sqrt(vectors.var(axis=2).sum(axis=-1).mean(axis=1))
    assert found[:, 0] == pytest.approx(np.linalg.norm(means[:, 0] - means[:, 1], axis=-1) / scatter)
    assert found[0, 0] < 0.2
    assert (found[1:, 0] > 4.0).all()
    assert (disagreement(vectors)[1:] > 1.0).all()


@pytest.mark.parametrize("copies", [1, 38])
def test_exchanges_are_accepted_as_often_as_they_should_and_leave_the_ensembles_alone(copies: int) -> None:
    posterior, free_energies = exact()
    starts = np.array([[four_atoms(center), four_atoms(center + 0.1)] for center in CENTERS])
    found = sample_windows(
        dihedral(), TORSION, NATURAL, starts, CONFIG, 3, WorkerPool(1), SEEN, exchange_every=5, copies=copies
    )
    if copies == 1:
        assert found.simulation[:, 0].tolist() == [0] * 8 + [1] * 8 + [2] * 3
        assert found.simulation[:, 1].tolist() == [3] * 4 + [4] * 8 + [5] * 7
    else:
        assert found.simulation.T.tolist() == [[0] * 19, [1] * 19]
    statistics = np.stack([np.cos(THETA), np.sin(THETA)], axis=-1)[::20]
    logits = NATURAL @ statistics.T - energy_kt(THETA[::20])
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    expected = []
    for (p, q), step in zip(itertools.pairwise(weights), -np.diff(NATURAL, axis=0), strict=True):
        gain = statistics @ step
        expected.append(p @ np.exp(np.minimum(0.0, gain - gain[:, None])) @ q)
    assert found.accepted == pytest.approx(np.mean(expected), abs=0.03)
    compared = compare_windows(TORSION, NATURAL, posterior, TORSION.features_of_angles(found.seen))
    sigmas = (compared.measured - compared.predicted) / compared.error
    assert np.abs(sigmas).max() < 4.5
    assert np.mean(sigmas**2) < 2.5
    assert solved(found.seen).reweighted.free_energies == pytest.approx(free_energies, abs=0.15)


def solved(angles: np.ndarray) -> Solution:
    nowhere = np.zeros((*angles.shape[:-1], 2), dtype=bool)
    return solve(Pool.of_windows(NATURAL, Seen(TORSION.features_of_angles(angles), nowhere, angles)), TORSION)


def test_their_free_energies_and_their_profile_are_those_of_quadrature(angles: np.ndarray) -> None:
    _, free_energies = exact()
    solution = solved(angles)
    assert solution.reweighted.free_energies == pytest.approx(free_energies, abs=0.15)
    kernel = np.exp(np.exp(4.0) * (np.cos(THETA[:, None] - CENTERS) - 1))
    smoothed = -np.log(np.exp(-energy_kt(THETA)) @ kernel / kernel.sum(axis=0))
    found = profile_along(solution, TORSION, [0], CENTERS[:, None], 4.0)
    assert found.free_energy == pytest.approx(smoothed - smoothed.min(), abs=0.15)
    assert found.barrier == pytest.approx(climb(smoothed), abs=0.1)  # 7.9 kT
    assert 0.01 < found.error < 0.2


def test_a_profile_along_the_variable_itself_is_that_of_quadrature(angles: np.ndarray) -> None:
    """Between the outer windows, bins of 10 degrees; errors hold and vanish at the lowest bin, by definition."""
    found = profile_of(solved(angles), 0, np.linspace(-np.pi, np.pi, 37))
    between = (np.abs(found.edges) < 1.6).all(axis=1)
    turned = (THETA + np.pi) % (2 * np.pi) - np.pi
    mass = np.array([np.exp(-energy_kt(turned[(a <= turned) & (b > turned)])).sum() for a, b in found.edges])
    lowest = int(found.free_energy.argmin())
    exact = -np.log(mass / mass[lowest])
    assert between.sum() == 18
    assert found.error[lowest] == 0
    others = between & (np.arange(len(mass)) != lowest)
    sigmas = (found.free_energy - exact)[others] / found.error[others]
    assert np.abs(sigmas).max() < 4
    assert np.mean(sigmas**2) < 2.5
    assert found.error[between].max() < 0.3


def test_windows_of_a_potential_are_its_posteriors_and_relax_at_its_pace() -> None:
    """Against quadrature; a free walker in a harmonic well forgets at the rate kT of one over its stiffness."""
    potential, space, kt = DoubleWell(barrier=3.0, stiffness=10.0), Identity(2), 2.0
    centers = torch.tensor([[-0.9, 0.1, 3.0], [0.0, 0.0, 2.0], [0.4, -0.2, 1.0]], dtype=torch.float64)
    natural = space.natural(centers).numpy()
    steps = WindowSteps(equilibration=500, sampled=3000, every=20, time_step=5e-3)
    starts = np.repeat(centers.numpy()[:, None, :2], 100, axis=1)
    points, cost = sample_windows_of_potential(potential, kt, space, natural, starts, steps, seed=4)
    assert points.shape == (3, 100, 150, 2)
    assert cost == 3501 * 300
    grid = np.stack(np.meshgrid(np.linspace(-3, 3, 601), np.linspace(-3, 3, 601), indexing="ij"), axis=-1)
    flat = grid.reshape(-1, 2)
    energy = potential.energy(torch.from_numpy(flat)).numpy() / kt
    for eta, seen in zip(natural, points, strict=True):
        logits = space.statistics(flat) @ eta - energy
        weights = np.exp(logits - logits.max())
        weights /= weights.sum()
        mean = weights @ flat
        assert seen.mean(axis=(0, 1)) == pytest.approx(mean, abs=0.02)
        assert seen.var(axis=(0, 1)) == pytest.approx(weights @ np.square(flat - mean), rel=0.06)
    walls = np.stack([points[..., 0] < -0.5, points[..., 0] > 0.5], axis=-1)
    solution = solve(Pool.of_windows(natural, Seen(points, walls, points)), space)
    log_z = [float(logsumexp(space.statistics(flat) @ eta - energy)) for eta in natural]
    assert solution.reweighted.free_energies == pytest.approx(log_z[0] - np.array(log_z), abs=0.05)
    difference, error = difference_of_states(solution)
    assert abs(difference) < 4 * error < 0.4  # both wells are alike
    y = points[2, :, :, 1]  # harmonic: curvature 10 of the well and kT exp(1) of the restraint
    correlation = ((y[:, 1:] * y[:, :-1]).mean() - y.mean() ** 2) / y.var()
    assert -np.log(correlation) / (steps.every * steps.time_step) == pytest.approx(10.0 + kt * np.e, rel=0.15)


def test_a_wrong_model_is_flagged_where_it_is_wrong(angles: np.ndarray) -> None:
    posterior, _ = exact()
    variance, mean = posterior.block_variance.clone(), posterior.mean.clone()
    variance[3] *= 2.0
    variance[5] /= 3.0
    mean[7] = mean[7].flip(0)
    found = compare_windows(TORSION, NATURAL, Posterior(mean, variance), TORSION.features_of_angles(angles))
    assert np.flatnonzero(found.wrong).tolist() == [5, 7]
    assert np.flatnonzero(~found.close).tolist() == [3, 5]
    assert found.ratio[[3, 5]] == pytest.approx([0.5, 3.0], rel=0.15)


@pytest.mark.parametrize("turned", [0.0, np.pi])
def test_what_the_starts_remember_shows(turned: float) -> None:
    """Two runs that never meet: their means are far apart."""
    rng = np.random.default_rng(0)
    centers = CENTERS + turned  # on either side of the cut at 180 degrees, or far from it
    angles = centers[:, None, None, None] + np.array([0.3, -0.3])[:, None, None] + rng.normal(0, 0.1, (19, 2, 200, 1))
    posterior, _ = exact()
    found = compare_windows(TORSION, NATURAL, posterior, TORSION.features_of_angles(angles))
    assert np.rad2deg(found.starts_apart) == pytest.approx(np.rad2deg(0.6), abs=2)


def test_a_climb_is_the_largest_rise_on_the_way() -> None:
    assert climb(np.array([2.0, 1.0, 5.0, 0.0, 3.0])) == 4.0
    assert climb(np.array([9.0, 1.0, 5.0, 0.0, 4.5])) == 4.5
    assert climb(np.array([3.0, 2.0, 1.0])) == 0.0


@pytest.mark.parametrize("copies", [1, 5])
def test_workers_do_not_change_a_window(copies: int) -> None:
    starts = np.array([[four_atoms(center), four_atoms(center + 0.1)] for center in CENTERS[:4]])
    config = WindowsConfig(equilibration_steps=50, steps=200, sample_every=20)
    seen = []
    for workers in (1, 2):
        with WorkerPool(workers) as pool:
            found = sample_windows(
                dihedral(), TORSION, NATURAL[:4], starts, config, 3, pool, SEEN, exchange_every=2, copies=copies
            )
        seen.append(found.seen)
    assert np.array_equal(*seen)
