"""Metrics of paths against closed forms, brute force, hand-made cases and MDTraj."""

from __future__ import annotations

import itertools

import mdtraj
import numpy as np
import pytest
import torch
from openmm import app
from scipy.stats import beta, norm

from spacetime_tps.analysis.path_metrics import (
    acceptance_table,
    binomial_error,
    channel_labels,
    decorrelated_steps,
    density_overlap,
    effective_size,
    integrated_autocorrelation_time,
    overdamped_log_likelihood,
    path_density,
    path_length,
    path_maximum,
    target_hit,
    target_hit_share,
    target_rmsd,
    transition_state_energy,
    wasserstein,
    wasserstein_with_error,
)
from spacetime_tps.potentials import DoubleWell, MuellerBrown
from spacetime_tps.representations import Torsions
from spacetime_tps.states import Ball
from spacetime_tps.systems import systems_folder

# --- distributions of one number per path -------------------------------------------------------------------------


def test_maxima_and_durations_of_paths_of_different_length() -> None:
    paths = [np.array([1.0, 5.0, 2.0]), np.array([-3.0, -4.0]), np.array([7.0])]
    assert path_maximum(paths).tolist() == [5.0, -3.0, 7.0]
    assert path_length(np.array([len(p) for p in paths]), 0.25).tolist() == [0.5, 0.25, 0.0]
    with pytest.raises(ValueError, match="zero-size"):
        path_maximum([np.zeros(0)])


def test_wasserstein_by_hand() -> None:
    """Half of the mass of one set has to go from 0 to 1; weights say the same."""
    assert wasserstein(np.array([0.0, 1.0]), np.array([1.0, 1.0])) == pytest.approx(0.5)
    assert wasserstein(np.array([0.0, 2.0]), np.array([2.0]), np.array([1.0, 3.0])) == pytest.approx(0.5)


def test_wasserstein_of_shifted_gaussians_is_the_shift() -> None:
    """By translation, and its error is that of the difference of the means."""
    rng, n = np.random.default_rng(0), 2000
    found = wasserstein_with_error(rng.normal(0, 1, n), rng.normal(1.5, 1, n), rng)
    assert found["error"] == pytest.approx(np.sqrt(2 / n), rel=0.25)
    assert abs(found["value"] - 1.5) < 4 * found["error"]
    assert found["value"] > 10 * found["noise_floor_95"]


def floor_of_gaussians(n: int, m: int) -> float:
    """E W1 of two samples: F_n - G_m is Gaussian of variance F (1 - F) (1/n + 1/m) at each value."""
    v = np.linspace(-8, 8, 4001)
    deviation = np.sqrt(norm.cdf(v) * norm.sf(v) * (1 / n + 1 / m))
    return float(np.sqrt(2 / np.pi) * np.sum(deviation) * (v[1] - v[0]))


def test_noise_floor_of_equal_distributions() -> None:
    rng, n, m = np.random.default_rng(1), 900, 400
    found = [wasserstein_with_error(rng.normal(0, 1, n), rng.normal(0, 1, m), rng) for _ in range(8)]
    expected = floor_of_gaussians(n, m)
    assert np.mean([f["noise_floor"] for f in found]) == pytest.approx(expected, rel=0.06)
    assert np.mean([f["value"] for f in found]) == pytest.approx(expected, rel=0.4)
    assert sum(f["value"] > f["noise_floor_95"] for f in found) <= 2


def test_correlated_paths_raise_floor_and_error() -> None:
    rng = np.random.default_rng(2)
    first, second = rng.normal(0, 1, 900), rng.normal(1, 1, 400)
    few = wasserstein_with_error(first, second, rng, independent=(90, 40))
    many = wasserstein_with_error(first, second, rng)
    assert few["value"] == many["value"]
    for key in ("error", "noise_floor", "noise_floor_95"):
        assert few[key] / many[key] == pytest.approx(np.sqrt(10), rel=0.25)


# --- where paths go -----------------------------------------------------------------------------------------------


def test_straight_lines_of_all_channels_bear_their_labels() -> None:
    torsions = Torsions(["phi", "psi"], [[0, 1, 2, 3], [1, 2, 3, 4]])
    ends = torsions.features_of_angles(np.deg2rad([[-150.0, 160.0], [61.0, -41.0]]))
    channels = torsions.channels(*ends, 4.0)
    assert len({channel.label for channel in channels}) == 4
    for channel in channels:
        moved = channel.end[1::2] - channel.start[1::2]
        assert channel_labels(moved[None], {0: "phi", 1: "psi"}) == [channel.label]


def test_labels_of_displacements() -> None:
    moved = np.array([[0.1, -2.0], [-3.0, 0.0]])
    assert channel_labels(moved, {0: "a", 1: "b"}) == ["a+ b-", "a- b+"]
    assert channel_labels(moved, {1: "b"}) == ["b-", "b+"]
    assert channel_labels(moved, {}) == ["all", "all"]


def test_path_density_counts_a_path_once_in_a_bin() -> None:
    back_and_forth = np.array([[0.1, 0.1], [0.9, 0.1], [0.1, 0.1], [1.5, 1.9]])
    stays = np.array([[0.2, 0.3], [0.3, 0.2], [9.0, 0.5], [2.0, 2.0]])  # outside, and on the upper corner
    density = path_density([back_and_forth, stays], [0.0, 0.0], [2.0, 2.0], (2, 4))
    assert density.tolist() == [[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]


def test_path_density_of_a_circle() -> None:
    """Any whole number of turns makes no difference, and nothing lies outside."""
    path = np.random.default_rng(3).uniform(-np.pi, np.pi, (30, 2))
    grid = ([-np.pi, -np.pi], [np.pi, np.pi], 9, 2 * np.pi)
    density = path_density([path], *grid)
    expected, *_ = np.histogram2d(*path.T, bins=9, range=[[-np.pi, np.pi]] * 2)
    assert np.array_equal(density, expected > 0)
    assert np.array_equal(path_density([path + 2 * np.pi * np.array([3, -1])], *grid), density)
    with pytest.raises(ValueError, match="at least one path"):
        path_density([], *grid)


def test_overlap_of_densities() -> None:
    first, second = np.array([[1.0, 0.5], [0.0, 0.0]]), np.array([[0.5, 0.5], [0.5, 0.0]])
    assert density_overlap(first, second) == density_overlap(second, first) == pytest.approx(1.0 / 2.0)
    assert density_overlap(first, first) == 1.0
    assert density_overlap(first, np.array([[0.0, 0.0], [0.0, 1.0]])) == 0.0
    assert np.isnan(density_overlap(0 * first, 0 * first))


# --- chains of paths ----------------------------------------------------------------------------------------------


def test_decorrelated_steps_of_a_history_by_hand() -> None:
    """Forward, rejected, backward: all new at step 3; then both halves again, at steps 5 and 7."""
    assert decorrelated_steps(np.array([0, 0, 1, 1, 4, 4, 6])).tolist() == [3, 5, 7]
    assert decorrelated_steps(np.array([0, 0, 0])).tolist() == []
    assert decorrelated_steps(np.array([1, 2, 2])).tolist() == [1, 2]


def test_decorrelated_steps_against_shared_frames() -> None:
    """One-way shooting with frames that bear names: the sets of two decorrelated paths have nothing in common."""
    rng, path = np.random.default_rng(4), [(0, k) for k in range(12)]  # (born, name)
    last, expected, oldest = set(path), [], []
    for step in range(1, 400):
        if rng.random() < 0.6:
            cut, size = int(rng.integers(1, len(path) - 1)), int(rng.integers(2, 8))
            new = [(step, k) for k in range(size)]
            path = path[:cut] + new if rng.random() < 0.5 else new + path[cut:]
        oldest.append(min(born for born, _ in path))
        if not last & set(path):
            expected.append(step)
            last = set(path)
    assert len(expected) > 20
    assert decorrelated_steps(np.array(oldest)).tolist() == expected


@pytest.mark.parametrize("a", [0.0, 0.5, 0.8])
def test_autocorrelation_time_of_an_autoregressive_series(a: float) -> None:
    """x' = a x + xi has rho(t) = a^t and tau = (1 + a) / (1 - a)."""
    rng, n, expected = np.random.default_rng(5), 100_000, (1 + a) / (1 - a)
    x = [0.0]
    for noise in rng.normal(size=n - 1):
        x.append(a * x[-1] + noise)
    error = expected * np.sqrt(2 * (2 * 5 * expected + 1) / n)
    tau = integrated_autocorrelation_time(np.array(x))
    assert abs(tau - expected) < 4 * error
    assert effective_size(np.array(x)) == n / tau


def test_autocorrelation_time_at_its_limits() -> None:
    """What never moves is worth one value; what swings to and fro not more than its length."""
    assert integrated_autocorrelation_time(np.full(50, 0.1)) == 50
    assert effective_size(np.full(50, 0.1)) == 1
    assert effective_size(np.tile([0.0, 1.0], 100)) == 200
    assert integrated_autocorrelation_time(np.repeat(np.random.default_rng(6).normal(size=20_000), 2)) == pytest.approx(
        2, abs=0.2
    )


def test_binomial_error_against_the_beta_distribution() -> None:
    k, n = np.array([0, 3, 20, 20]), np.array([20, 20, 20, 25])
    assert binomial_error(k, n) == pytest.approx(beta(k + 0.5, n - k + 0.5).std())
    assert binomial_error(3000, 10_000) == pytest.approx(np.sqrt(0.3 * 0.7 / 10_000), rel=1e-3)
    assert np.isnan(binomial_error(0, 0))


def test_acceptance_by_direction() -> None:
    accepted = np.array([True, False, False, True, False, False])
    labels = np.array(["forward", "forward", "backward", "forward", "backward", "backward"])
    table = acceptance_table(accepted, labels)
    assert list(table) == ["backward", "forward"]
    assert table["forward"] | {"error": 0} == {"trials": 3, "accepted": 2, "share": pytest.approx(2 / 3), "error": 0}
    assert table["backward"]["share"] == 0.0
    assert table["backward"]["error"] == pytest.approx(float(binomial_error(0, 3)))
    assert table["backward"]["error"] > 0.1


# --- RMSD, THP and ETS --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pair() -> tuple[mdtraj.Topology, np.ndarray]:
    """Topology and both structures of alanine dipeptide."""
    files = [app.PDBFile(str(systems_folder() / "alanine_dipeptide" / name)) for name in ("c5.pdb", "c7ax.pdb")]
    structures = [np.array(f.getPositions(asNumpy=True)._value, dtype=float) for f in files]
    return mdtraj.Topology.from_openmm(files[0].topology), np.stack(structures)


def random_rotation(rng: np.random.Generator) -> np.ndarray:
    q, r = np.linalg.qr(rng.normal(size=(3, 3)))
    q *= np.sign(np.diag(r))
    return q * np.linalg.det(q)


def test_rmsd_against_mdtraj(pair: tuple[mdtraj.Topology, np.ndarray]) -> None:
    topology, (start, target) = pair
    rng, heavy = np.random.default_rng(7), topology.select("element != H")
    assert len(heavy) == 10
    frames = np.stack([start + rng.normal(0, 0.03, start.shape) @ random_rotation(rng) for _ in range(20)] + [target])
    trajectory, reference = mdtraj.Trajectory(frames, topology), mdtraj.Trajectory(target, topology)
    expected = mdtraj.rmsd(trajectory, reference, atom_indices=heavy)
    found = target_rmsd(frames, target, heavy)
    assert found[:-1] == pytest.approx(expected[:-1], abs=1e-5)
    assert found[:-1].min() > 0.05
    assert found[-1] < 1e-12
    mask = np.isin(np.arange(topology.n_atoms), heavy)
    assert np.array_equal(target_rmsd(frames, target, mask), found)


def test_rmsd_does_not_depend_on_where_and_how_a_molecule_lies(pair: tuple[mdtraj.Topology, np.ndarray]) -> None:
    topology, (start, target) = pair
    rng, heavy = np.random.default_rng(8), topology.select("element != H")
    moved = np.stack([start @ random_rotation(rng) + rng.normal(size=3) for _ in range(10)])
    expected = target_rmsd(start[None], target, heavy)[0]
    assert target_rmsd(moved, target, heavy) == pytest.approx(expected, abs=1e-12)
    assert target_rmsd(moved, target @ random_rotation(rng), heavy) == pytest.approx(expected, abs=1e-12)


def test_mirror_image_is_not_superposed(pair: tuple[mdtraj.Topology, np.ndarray]) -> None:
    topology, (_, target) = pair
    heavy = topology.select("element != H")
    assert target_rmsd((target * [1, 1, -1])[None], target, heavy)[0] > 0.03


def test_hits_and_the_energy_of_those_that_hit() -> None:
    state = Ball((0, 1), (np.pi, 0.0), 0.5, 2 * np.pi)
    hit = target_hit(np.array([[np.pi - 0.4, 0.0], [-np.pi + 0.4, 0.0], [0.0, 0.0], [np.pi, 0.6]]), state)
    assert hit.tolist() == [True, True, False, False]
    assert target_hit_share(hit) == {"share": 0.5, "error": pytest.approx(float(binomial_error(2, 4)))}
    energy = transition_state_energy(np.array([10.0, 14.0, 99.0, 99.0]), hit)
    assert energy == {"mean": 12.0, "std": pytest.approx(np.sqrt(8))}
    nothing = np.zeros(4, dtype=bool)
    assert target_hit_share(nothing)["share"] == 0.0
    assert np.isnan(transition_state_energy(np.ones(4), nothing)["mean"])


# --- how likely a path is -----------------------------------------------------------------------------------------


def test_log_likelihood_is_a_product_of_gaussians() -> None:
    kt, dt, well = 0.7, 3e-3, DoubleWell(barrier=4.0, stiffness=6.0)
    path = np.cumsum(np.random.default_rng(9).normal(0, 0.06, (40, 2)), axis=0) - [1.0, 0.0]
    product = 1.0
    for (x, y), after in itertools.pairwise(path):
        force = np.array([-16.0 * x * (x**2 - 1), -6.0 * y])
        squared = np.sum((after - np.array([x, y]) - dt * force) ** 2)
        product *= np.exp(-squared / (4 * kt * dt)) / (4 * np.pi * kt * dt)
    found = overdamped_log_likelihood(torch.from_numpy(path), well, kt, dt)
    assert found.shape == ()
    assert float(found) == pytest.approx(float(np.log(product)), rel=1e-10)


def test_log_likelihood_of_a_batch_and_of_parts() -> None:
    rng = np.random.default_rng(10)
    paths = torch.from_numpy(np.cumsum(rng.normal(0, 0.01, (3, 4, 30, 2)), axis=2))
    surface, kt, dt = MuellerBrown(), 15.0, 1e-5
    found = overdamped_log_likelihood(paths, surface, kt, dt)
    assert found.shape == (3, 4)
    single = overdamped_log_likelihood(paths[2, 1], surface, kt, dt)
    parts = [overdamped_log_likelihood(part, surface, kt, dt) for part in (paths[2, 1, :11], paths[2, 1, 10:])]
    assert float(found[2, 1]) == pytest.approx(float(single), rel=1e-12)
    assert float(sum(parts)) == pytest.approx(float(single), rel=1e-12)
