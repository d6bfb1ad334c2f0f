"""Weighted Boltzmann samples."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spacetime_tps.files import read_arrays, write_arrays
from spacetime_tps.shapes import check_finite, check_shapes


@dataclass(frozen=True)
class WeightedSamples:
    """Samples of a biased simulation with the log-weights that make them Boltzmann samples.

    Attributes:
        features: shape (n, n_features).
        log_weights: shape (n,), up to a constant.
        frames: some of the frames behind them: positions [nm], shape (m, n_atoms, 3), or points, shape (m, d).
        force_evaluations: what they cost.
    """

    features: np.ndarray
    log_weights: np.ndarray
    frames: np.ndarray
    force_evaluations: int

    def effective_size(self) -> float:
        """Kish's effective sample size (sum w)^2 / sum w^2 (correlation in time not counted)."""
        weights = np.exp(self.log_weights - self.log_weights.max())
        return float(weights.sum() ** 2 / np.square(weights).sum())

    def save(self, path: Path) -> None:
        """Write to an ``.npz`` file."""
        write_arrays(
            path,
            features=self.features.astype(np.float32),
            log_weights=self.log_weights,
            frames=self.frames.astype(np.float32),
            force_evaluations=np.array(self.force_evaluations),
        )

    @classmethod
    def load(cls, path: Path) -> WeightedSamples:
        """Read a file written by ``save``.

        Raises:
            DamagedFileError: it is missing, or does not hold two samples or more with their weights.
        """
        data = read_arrays(path, ("features", "log_weights", "force_evaluations"))
        again = "draw the samples again with 'sample'"
        check_shapes(
            path, data, again, features=("N", "features"), log_weights=("N",), frames=("m", "..."), force_evaluations=()
        )
        check_finite(path, data, again, "features", "log_weights", "frames")
        return cls(
            features=data["features"].astype(np.float64),
            log_weights=data["log_weights"],
            frames=data["frames"],
            force_evaluations=int(data["force_evaluations"]),
        )
