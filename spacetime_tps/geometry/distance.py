"""Diffusion edit distances: lengths of spacetime geodesics between configurations (arXiv 2505.17517)."""

from __future__ import annotations

import itertools

import numpy as np

from spacetime_tps.config import GeodesicConfig
from spacetime_tps.diffusion.denoiser import Denoiser
from spacetime_tps.files import require_finite
from spacetime_tps.geometry.constraints import TrainedRange
from spacetime_tps.geometry.geodesic import optimise_geodesics
from spacetime_tps.representations import Representation

_CURVES_AT_ONCE = 64
_SAME = 1e-12


def edit_distances(
    denoiser: Denoiser,
    representation: Representation,
    features: np.ndarray,
    log_snr_end: float,
    log_snr_range: tuple[float, float],
    config: GeodesicConfig,
) -> np.ndarray:
    """Matrix of distances between configurations at one end level, the shortest channel of each pair.

    The distance grows with the end level, like sqrt(d / 2) times it, so the level is part of the number. The curves are
    held in the range of log-SNR in which the denoiser was trained and by nothing else: they may tunnel.

    Args:
        denoiser: gives the posteriors.
        representation: of the features.
        features: shape (n, n_features).
        log_snr_end: level of the configurations.
        log_snr_range: in which the denoiser was trained.
        config: grids, steps, tolerances.

    Returns:
        shape (n, n), symmetric, zero on the diagonal.

    Raises:
        UserError: a geodesic came to nothing.
    """
    pairs = [
        (i, j)
        for i, j in itertools.combinations(range(len(features)), 2)
        if np.abs(features[i] - features[j]).max() > _SAME
    ]
    channels = [
        ((i, j), channel)
        for i, j in pairs
        for channel in representation.channels(features[i], features[j], log_snr_end)
    ]
    held = [TrainedRange(representation, *log_snr_range)]
    matrix = np.full((len(features), len(features)), np.inf)
    for first in range(0, len(channels), _CURVES_AT_ONCE):
        batch = channels[first : first + _CURVES_AT_ONCE]
        found = optimise_geodesics(denoiser, representation, [channel for _, channel in batch], config, held)
        require_finite(
            "The geodesics are", "give configurations and a level that the denoiser was trained on",
            *(geodesic.curve.mean for geodesic in found),
        )  # fmt: skip
        for (pair, _), geodesic in zip(batch, found, strict=True):
            matrix[pair] = min(matrix[pair], geodesic.curve.length)
    matrix = np.minimum(matrix, matrix.T)
    return np.where(np.isinf(matrix), 0.0, matrix)
