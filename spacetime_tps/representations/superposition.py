"""Superposition of atoms by least squares (Kabsch 1976), and what is left of an integral over rotations."""

from __future__ import annotations

import numpy as np


def centered(positions: np.ndarray) -> np.ndarray:
    """Positions, shape (..., n_atoms, 3), about their mean."""
    return positions - positions.mean(axis=-2, keepdims=True)


def rotation_onto(positions: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Rotations R, shape (..., 3, 3), that bring centred positions x nearest to a centred reference: x @ R."""
    left, _, right = np.linalg.svd(np.swapaxes(positions, -1, -2) @ reference)
    left[..., -1] *= np.sign(np.linalg.det(left @ right))[..., None]
    return left @ right


def superposed(positions: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Positions, shape (..., n_atoms, 3), moved as rigid bodies onto a centred reference, shape (n_atoms, 3)."""
    about = centered(positions)
    return about @ rotation_onto(about, reference)


def rigid_modes(positions: np.ndarray) -> np.ndarray:
    """Orthonormal displacements that move centred positions as a rigid body, shape (..., 3 n_atoms, 6)."""
    n = positions.shape[-2]
    lead = positions.shape[:-2]
    shifts = np.broadcast_to(np.tile(np.eye(3), (n, 1)) / np.sqrt(n), (*lead, 3 * n, 3))
    turns = np.stack([np.cross(axis, positions) for axis in np.eye(3)], axis=-1).reshape(*lead, 3 * n, 3)
    return np.concatenate([shifts, np.linalg.qr(turns)[0]], axis=-1)


def log_orientations(positions: np.ndarray, target: np.ndarray, snr: float) -> np.ndarray:
    """log of the mean of exp(SNR sum_a target_a . R x_a) over all rotations R, to leading order in 1 / SNR.

    The matrix Fisher integral by Laplace's method: with the singular values s of sum_a target_a x_a^T, the last signed
    by the determinant, SNR (s1 + s2 + s3) - log prod_(i<j) SNR (s_i + s_j) / 2, up to a constant.

    Args:
        positions: centred, shape (..., n_atoms, 3).
        target: centred, shape (n_atoms, 3).
        snr: of the restraint.
    """
    moment = np.swapaxes(positions, -1, -2) @ target
    values = np.linalg.svd(moment, compute_uv=False)
    values[..., -1] *= np.sign(np.linalg.det(moment))
    pairs = values + np.roll(values, 1, axis=-1)
    return snr * values.sum(axis=-1) - 0.5 * np.log(snr * np.maximum(pairs, 1e-12)).sum(axis=-1)
