"""The oracles against SciPy and against each other: a wrong yardstick would pass wrong code."""

from __future__ import annotations

import math

import mdtraj
import numpy as np
import pytest
import scipy.special

from tests.oracles import (
    boltzmann_average,
    four_atoms,
    gaussian_log_partition,
    gaussian_posterior,
    gaussian_query,
    half_plane_distance,
    is_one_sentence,
    log_bessel_i0,
    ratio_with_error,
    von_mises_mean_length,
)


def test_half_plane_distance_has_the_fisher_metric_and_obeys_the_triangle() -> None:
    m, s, dm, ds = 0.3, 0.7, 2e-5, -1e-5
    metric = math.sqrt(dm**2 / s**2 + 2 * ds**2 / s**2)
    assert half_plane_distance(m, s, m + dm, s + ds) == pytest.approx(metric, rel=1e-4)
    # Vertical lines are geodesics: sqrt2 |log(s2 / s1)|.
    assert half_plane_distance(1.0, 0.2, 1.0, 0.9) == pytest.approx(math.sqrt(2) * math.log(0.9 / 0.2), rel=1e-12)
    a, b, c = (0.0, 0.3), (1.0, 0.2), (0.4, 0.9)
    assert half_plane_distance(*a, *b) < half_plane_distance(*a, *c) + half_plane_distance(*c, *b)


def test_gaussian_query_inverts_the_posterior() -> None:
    mean, std = gaussian_posterior(0.4, 1.3, -0.7, 1.1)
    assert gaussian_query(0.4, 1.3, mean, std) == pytest.approx((-0.7, 1.1), rel=1e-12)


def test_gaussian_log_partition_closed_form() -> None:
    # In one dimension: psi = (m/s^2 + a)^2 S / 2 - m^2 / (2 s^2) + log(S / s^2) / 2, 1/S = 1/s^2 - 2 b.
    m, s, a, b = 0.4, 0.8, 1.7, -0.9
    variance = 1 / (s**-2 - 2 * b)
    psi = (m / s**2 + a) ** 2 * variance / 2 - m**2 / (2 * s**2) + math.log(variance / s**2) / 2
    assert gaussian_log_partition(np.array([m]), s, np.array([a, b])) == pytest.approx(psi, abs=1e-9)


@pytest.mark.parametrize("k", [0.0, 0.3, 5.0, 80.0, 600.0])
def test_von_mises_against_scipy(k: float) -> None:
    assert log_bessel_i0(k) == pytest.approx(math.log(scipy.special.i0e(k)) + k, abs=1e-10)
    assert von_mises_mean_length(k) == pytest.approx(scipy.special.i1e(k) / scipy.special.i0e(k), abs=1e-10)


def test_boltzmann_average_of_a_harmonic_well() -> None:
    assert boltzmann_average(np.square, lambda x: 3.0 * x**2, 0.5, 5.0) == pytest.approx(0.5 / 6.0, rel=1e-9)


@pytest.mark.parametrize("torsion", [-2.5, -0.4, 1.0, 3.0])
def test_four_atoms_against_mdtraj(torsion: float) -> None:
    topology = mdtraj.Topology()
    residue = topology.add_residue("X", topology.add_chain())
    for _ in range(4):
        topology.add_atom("C", mdtraj.element.carbon, residue)
    trajectory = mdtraj.Trajectory(four_atoms(torsion)[None], topology)
    assert mdtraj.compute_dihedrals(trajectory, [[0, 1, 2, 3]])[0, 0] == pytest.approx(torsion, abs=1e-5)


def test_ratio_with_error_of_equal_weights_is_the_standard_error() -> None:
    values = np.array([1.0, 2.0, 4.0, 9.0])
    ratio, error = ratio_with_error(values, np.ones(4))
    assert (ratio, error) == pytest.approx((4.0, values.std(ddof=1) / 2.0), rel=1e-12)


def test_is_one_sentence() -> None:
    assert is_one_sentence("The file c5.pdb, 1.5 kB, is not there.")
    assert not is_one_sentence("Bad file. See the manual.")
    assert not is_one_sentence("Bad\nfile.")
    assert not is_one_sentence("Bad file")
