"""Weighted Boltzmann samples."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spacetime_tps.errors import UserError
from spacetime_tps.files import read_arrays, require_finite, write_arrays


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
        """Read a file written by ``save``."""
        data = read_arrays(path, ("features", "log_weights", "force_evaluations"))
        if len(data["features"]) != len(data["log_weights"]):
            raise UserError(f"{path} is damaged: it has {len(data['features'])} samples, not one for each weight.")
        require_finite(
            f"The samples in {path} are", "draw them again with 'sample'", data["features"], data["log_weights"]
        )
        return cls(
            features=data["features"].astype(np.float64),
            log_weights=data["log_weights"],
            frames=data["frames"],
            force_evaluations=int(data["force_evaluations"]),
        )
