"""Superposition and the integral over rotations, against brute force."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from spacetime_tps.representations.superposition import (
    centered,
    log_orientations,
    rigid_modes,
    rotation_onto,
    superposed,
)

RNG = np.random.default_rng(3)
SHAPE = centered(RNG.normal(size=(6, 3)))
TARGET = centered(SHAPE + 0.2 * RNG.normal(size=(6, 3)))


def test_superposition_undoes_any_motion() -> None:
    turns = Rotation.random(20, random_state=1).as_matrix()
    moved = SHAPE @ turns + RNG.normal(size=(20, 1, 3))
    assert superposed(moved, SHAPE) == pytest.approx(np.broadcast_to(SHAPE, moved.shape), abs=1e-12)


def test_superposition_is_scipys_and_never_a_mirror_image() -> None:
    for reference in (TARGET, TARGET * [1.0, 1.0, -1.0]):
        turn = rotation_onto(SHAPE, reference)
        expected, _ = Rotation.align_vectors(reference, SHAPE)
        assert pytest.approx(expected.as_matrix(), abs=1e-8) == turn.T
        assert np.linalg.det(turn) == pytest.approx(1.0)


def test_rigid_modes_are_those_of_small_motions() -> None:
    modes = rigid_modes(SHAPE)
    assert modes.T @ modes == pytest.approx(np.eye(6), abs=1e-12)
    small = SHAPE @ Rotation.from_rotvec([1e-6, -2e-6, 3e-6]).as_matrix() + [1e-6, 0, -2e-6]
    step = (small - SHAPE).ravel()
    assert np.linalg.norm(step - modes @ (modes.T @ step)) < 1e-4 * np.linalg.norm(step)


@pytest.mark.parametrize(("snr", "tolerance"), [(4.0, 0.05), (20.0, 0.01)])
def test_mean_over_orientations_is_that_of_quadrature(snr: float, tolerance: float) -> None:
    """Ratios of the mean of exp(SNR tr) between shapes, by 400,000 rotations around the best one."""
    rng = np.random.default_rng(0)
    shapes = [centered(TARGET + scatter * rng.normal(size=(6, 3))) for scatter in (0.05, 0.3)]
    told, found = [], []
    for shape in shapes:
        best = rotation_onto(shape, TARGET)
        # A Gaussian of small turns around the best rotation, weighed by the measure of rotations (1 - cos w) / w^2.
        width = 1.5 / np.sqrt(snr * np.square(TARGET).sum() / 3)
        vectors = rng.normal(scale=width, size=(400_000, 3))
        angle = np.linalg.norm(vectors, axis=1)
        log_density = -0.5 * np.square(vectors / width).sum(axis=1) - 3 * np.log(width)
        log_measure = np.log(np.where(angle > np.pi, 0.0, 2 * (1 - np.cos(angle)) / angle**2) + 1e-300)
        turned = shape @ best @ Rotation.from_rotvec(vectors).as_matrix()
        exponent = snr * (turned * TARGET).sum(axis=(1, 2)) + log_measure - log_density
        found.append(np.log(np.exp(exponent - exponent.max()).mean()) + exponent.max())
        told.append(log_orientations(shape, TARGET, snr))
    assert told[1] - told[0] == pytest.approx(found[1] - found[0], abs=tolerance)
