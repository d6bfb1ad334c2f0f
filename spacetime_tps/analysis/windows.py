"""A denoiser against restrained simulations, point by point along a curve."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from spacetime_tps.boltzmann.blocks import jackknife_error
from spacetime_tps.diffusion.denoiser import Posterior
from spacetime_tps.representations import Molecular, Torsions, wrap
from spacetime_tps.topology import NamedTorsions

CLOSE, WRONG = 1.5, 2.5
"""Factors between measured and predicted posterior variance: within the first it is right, beyond the second wrong."""
STUCK = 1.0
"""Disagreement of the runs from either start beyond which they lie in different wells."""
_REMEMBERED = 0.1
"""Share of the windows in which a torsion that is not represented may tell the runs from either start apart."""
_NONE = 1e-9
"""Variance that stands for less than none, which short windows may leave when what trembles is taken off."""
_FAR = 2.0
"""Posterior standard deviations between measured and predicted centre beyond which the model is wrong."""


@dataclass(frozen=True)
class WindowComparison:
    """What the model says of each window, and what was measured there.

    Attributes:
        predicted, measured: posterior variances summed over the blocks, shape (n_windows,).
        error: standard error of ``measured``, by leaving out one of eight blocks at a time.
        by_block: measured over predicted variance of each feature block, shape (n_windows, n_blocks).
        center_off: difference of the centres [rad], shape (n_windows, n_torsions).
        far: whether a centre is off by more than two standard deviations, shape (n_windows,).
        starts_apart: largest difference of a torsion's mean between the runs from either start [rad], shape
            (n_windows,).
    """

    predicted: np.ndarray
    measured: np.ndarray
    error: np.ndarray
    by_block: np.ndarray
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


def compare_windows(
    representation: Molecular, natural: np.ndarray, model: Posterior, statistics: np.ndarray, blocks: int = 8
) -> WindowComparison:
    """Compare the model's posteriors with simulated ones.

    Args:
        representation: of the restraints.
        natural: eta of the windows, shape (n_windows, n_parameters).
        model: posteriors there.
        statistics: T of the samples as the restraints feel it, shape (n_windows, n_starts, n, n_parameters).
        blocks: of the simulations, for the error; half of them from each of two starts.
    """
    mean = statistics.mean(axis=(1, 2))
    trembling = representation.trembling(natural)
    measured = np.maximum(_variance(representation, mean) - trembling, _NONE)
    together = statistics.reshape(len(statistics), -1, statistics.shape[-1])
    parts = np.stack([part.mean(axis=1) for part in np.array_split(together, blocks, axis=1)], axis=1)
    without = (parts.sum(axis=1, keepdims=True) - parts) / (blocks - 1)
    left = (_variance(representation, without) - trembling[:, None]).sum(axis=-1)
    predicted = model.block_variance.numpy()
    off = wrap(representation.center(mean) - representation.center(model.mean.numpy()))
    sides = representation.center(statistics.mean(axis=2))
    return WindowComparison(
        predicted=predicted.sum(axis=-1),
        measured=measured.sum(axis=-1),
        error=jackknife_error(left, axis=1),
        by_block=measured / np.maximum(predicted, 1e-12),
        center_off=off,
        far=_apart(representation, mean, model) > _FAR,
        starts_apart=np.abs(wrap(sides[:, 0] - sides[:, -1])).max(axis=-1),
    )


def disagreement(features: np.ndarray) -> np.ndarray:
    """Largest difference of a feature's mean between the runs from either start, over its scatter within them.

    Args:
        features: shape (n_windows, n_starts, n, n_features).

    Returns:
        shape (n_windows,); small where a window has been sampled, above one where the runs do not meet.
    """
    apart = np.abs(features[:, 0].mean(axis=1) - features[:, -1].mean(axis=1))
    scatter = np.sqrt(features.var(axis=2).mean(axis=1))
    return (apart / np.maximum(scatter, 1e-12)).max(axis=-1)


def torsions_apart(means: np.ndarray) -> np.ndarray:
    """The same for torsions of which each run's mean (cos, sin) is known: their length is one, and so is the scatter.

    Args:
        means: shape (n_windows, n_starts, n_torsions, 2).

    Returns:
        shape (n_windows, n_torsions).
    """
    apart = np.linalg.norm(means[:, 0] - means[:, -1], axis=-1)
    scatter = np.sqrt(1.0 - np.square(means).sum(axis=-1).mean(axis=1))
    return apart / np.maximum(scatter, 1e-12)


def slow_torsions(torsions: NamedTorsions, apart: np.ndarray, share: np.ndarray) -> list[dict[str, Any]]:
    """Torsions beside the represented ones by which the runs from either start do not meet, in most windows first.

    One for each bond at most. No restraint holds them and no window is long enough for them, so that what is measured
    depends on where they happened to begin.

    Args:
        torsions: that were watched.
        apart: see ``torsions_apart``, shape (n_windows, n_torsions).
        share: of the curve at each window, shape (n_windows,).
    """
    stuck, rows, bonds = apart > STUCK, [], set()
    for k in np.lexsort((-apart.max(axis=0, initial=0.0), -stuck.sum(axis=0))):
        bond = frozenset(torsions.quadruples[k, 1:3].tolist())
        if stuck[:, k].any() and bond not in bonds:
            worst = int(apart[:, k].argmax())
            rows.append(
                {
                    "name": torsions.names[k],
                    "windows": int(stuck[:, k].sum()),
                    "curve_parameter": float(share[worst]),
                    "disagreement": float(apart[worst, k]),
                }
            )
            bonds.add(bond)
    return rows


def remembered(summary: Mapping[str, Any]) -> list[str]:
    """Torsions that keep where they began in more than a tenth of the windows.

    Args:
        summary: of the windows, with ``count`` and, if torsions were watched, ``slow_torsions``.

    Returns:
        names, in most windows first.
    """
    slow = summary.get("slow_torsions", [])
    return [row["name"] for row in slow if row["windows"] > _REMEMBERED * summary["count"]]


def _variance(representation: Molecular, mean: np.ndarray) -> np.ndarray:
    return representation.block_variance(torch.from_numpy(mean)).numpy()


def _apart(representation: Molecular, mean: np.ndarray, model: Posterior) -> np.ndarray:
    """Largest distance of the centres of a block, in posterior standard deviations of the model, shape (n_windows,)."""
    predicted, expected = model.block_variance.numpy(), model.mean.numpy()
    if isinstance(representation, Torsions):
        away = np.abs(wrap(representation.center(mean) - representation.center(expected)))
    else:
        away = np.linalg.norm((mean - expected)[..., :-1], axis=-1, keepdims=True)
    return (away / np.sqrt(np.maximum(predicted, 1e-12))).max(axis=-1)
