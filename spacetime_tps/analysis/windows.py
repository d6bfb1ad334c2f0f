"""A denoiser against restrained simulations, point by point along a curve, and the barrier that these measure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from spacetime_tps.boltzmann.blocks import jackknife_error
from spacetime_tps.boltzmann.windows import window_weights
from spacetime_tps.diffusion.denoiser import Posterior
from spacetime_tps.diffusion.exact import SampleDenoiser
from spacetime_tps.geometry.channels import climb
from spacetime_tps.geometry.smoothed import SmoothedDensity
from spacetime_tps.representations import Torsions, wrap

CLOSE, WRONG = 1.5, 2.5
"""Factors between measured and predicted posterior variance: within the first it is right, beyond the second wrong."""
_FAR = 2.0
"""Posterior standard deviations between measured and predicted centre beyond which the model is wrong."""


@dataclass(frozen=True)
class WindowComparison:
    """What the model says of each window, and what was measured there.

    Attributes:
        predicted, measured: posterior variances summed over the torsions, shape (n_windows,).
        error: standard error of ``measured``, by leaving out one of eight blocks at a time.
        by_torsion: measured over predicted variance of each torsion, shape (n_windows, n_torsions).
        center_off: difference of the centres [rad], shape (n_windows, n_torsions).
        far: whether a centre is off by more than two standard deviations, shape (n_windows,).
        starts_apart: largest difference of a torsion's mean between the runs from either start [rad], shape
            (n_windows,).
    """

    predicted: np.ndarray
    measured: np.ndarray
    error: np.ndarray
    by_torsion: np.ndarray
    center_off: np.ndarray
    far: np.ndarray
    starts_apart: np.ndarray

    @property
    def ratio(self) -> np.ndarray:
        """Measured over predicted variance, shape (n_windows,)."""
        return self.measured / self.predicted

    @property
    def close(self) -> np.ndarray:
        """Which windows agree within a factor of 1.5."""
        return np.abs(np.log(self.ratio)) <= np.log(CLOSE)

    @property
    def wrong(self) -> np.ndarray:
        """Where the model is wrong: by a factor beyond 2.5, or about where the posterior lies."""
        return (np.abs(np.log(self.ratio)) > np.log(WRONG)) | self.far


def compare_windows(torsions: Torsions, model: Posterior, angles: np.ndarray, blocks: int = 8) -> WindowComparison:
    """Compare the model's posteriors with simulated ones.

    Args:
        torsions: that are restrained.
        model: posteriors at the windows' natural parameters.
        angles: shape (n_windows, n_starts, n, n_torsions) [rad].
        blocks: of the simulations, for the error; half of them from each of two starts.
    """
    features = torsions.features_of_angles(angles)
    mean = features.mean(axis=(1, 2))
    measured = _variance(mean)
    together = features.reshape(len(features), -1, features.shape[-1])
    parts = np.stack([part.mean(axis=1) for part in np.array_split(together, blocks, axis=1)], axis=1)
    without = (parts.sum(axis=1, keepdims=True) - parts) / (blocks - 1)
    left = _variance(without).sum(axis=-1)
    predicted = model.block_variance.numpy()
    off = wrap(torsions.center(mean) - torsions.center(model.mean.numpy()))
    sides = torsions.center(features.mean(axis=2))
    return WindowComparison(
        predicted=predicted.sum(axis=-1),
        measured=measured.sum(axis=-1),
        error=jackknife_error(left, axis=1),
        by_torsion=measured / np.maximum(predicted, 1e-12),
        center_off=off,
        far=(np.abs(off) > _FAR * np.sqrt(np.maximum(predicted, 1e-12))).any(axis=-1),
        starts_apart=np.abs(wrap(sides[:, 0] - sides[:, -1])).max(axis=-1),
    )


def _variance(mean: np.ndarray) -> np.ndarray:
    return 1.0 - np.square(mean).reshape(*mean.shape[:-1], -1, 2).sum(axis=-1)


@dataclass(frozen=True)
class WindowProfile:
    """Free energy along the curve by the windows.

    Attributes:
        restrained: A(s) [kT] of the windows, at the curve's own levels, above the first, shape (n_windows,).
        smoothed: free energy [kT] of the unbiased density, smoothed at one level, at the centres that were asked for.
        barrier: largest climb of ``smoothed`` [kT].
        error: standard error of ``barrier``: the larger of two, of leaving out one of eight blocks of time at a time,
            and of leaving out one of the starts, which shows what the runs have not forgotten.
    """

    restrained: np.ndarray
    smoothed: np.ndarray
    barrier: float
    error: float


def profile_of_windows(
    torsions: Torsions, natural: np.ndarray, angles: np.ndarray, centers: np.ndarray, log_snr: float, blocks: int = 8
) -> WindowProfile:
    """Combine all windows by MBAR and read the free energy along a curve.

    Args:
        torsions: that are restrained.
        natural: of the windows, shape (n_windows, n_parameters).
        angles: shape (n_windows, n_starts, n, n_torsions) [rad].
        centers: of the curve [rad], shape (m, n_torsions).
        log_snr: level of the smoothing.
        blocks: of time, for the error.
    """

    def smoothed(chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        log_weights, free_energies = window_weights(torsions, natural, chosen)
        statistics = torsions.statistics(torsions.features_of_angles(chosen.reshape(-1, chosen.shape[-1])))
        density = SmoothedDensity(
            SampleDenoiser(torsions, torch.from_numpy(statistics), torch.from_numpy(log_weights)), torsions
        )
        with torch.no_grad():
            return density.free_energy(torch.from_numpy(centers), log_snr).numpy(), free_energies

    def error_without(parts: list[np.ndarray]) -> float:
        climbs = [climb(smoothed(_joined([*parts[:k], *parts[k + 1 :]]))[0]) for k in range(len(parts))]
        return float(jackknife_error(np.array(climbs)))

    height, free_energies = smoothed(_joined([angles]))
    restrained = torsions.profile(torch.from_numpy(natural), torch.from_numpy(-free_energies)).numpy()
    starts, times = np.split(angles, angles.shape[1], axis=1), np.array_split(angles, blocks, axis=2)
    error = max(error_without(times), error_without(starts) if len(starts) > 1 else 0.0)
    return WindowProfile(restrained - restrained[0], height - height.min(), climb(height), error)


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    """Samples of each window, shape (n_windows, n, n_torsions), from all starts and blocks of time."""
    return np.concatenate([part.reshape(len(part), -1, part.shape[-1]) for part in parts], axis=1)
