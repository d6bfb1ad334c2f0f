"""The numbers reported of a set of paths, as defined in the documentation."""

from __future__ import annotations

import numpy as np

from spacetime_tps.paths.ensemble import PathEnsemble
from spacetime_tps.units import GAS_CONSTANT


def mean_and_std(values: np.ndarray) -> dict[str, float]:
    """Mean and sample standard deviation; NaN where there are too few values."""
    return {
        "mean": float(np.mean(values)) if len(values) else float("nan"),
        "std": float(np.std(values, ddof=1)) if len(values) > 1 else float("nan"),
    }


def max_free_energy(paths: PathEnsemble, arrived: np.ndarray, bound: float, error: float) -> dict[str, object]:
    """MaxFreeEnergy over arrived paths, in each direction, and the share of paths below the minimax bound.

    No path can lie below the bound except by the error of the reference, so ``fraction_below_bound`` counts paths
    below bound - 2 error. Lower is not better: true reactive paths exceed the saddle thermally.
    """
    values = paths.max_free_energy
    below = values[arrived] < bound - 2 * error
    return {
        **mean_and_std(values[arrived]),
        "fraction_below_bound": float(below.mean()) if arrived.any() else float("nan"),
        "forward": mean_and_std(values[arrived & paths.forward]),
        "backward": mean_and_std(values[arrived & ~paths.forward]),
    }


def kinetic_temperature(kinetic_energy: np.ndarray, degrees_of_freedom: int) -> dict[str, float]:
    """Kinetic temperature [K] over paths and frames, shape (n, T), and at both ends; the error is over paths."""
    temperature = 2 * kinetic_energy / (degrees_of_freedom * GAS_CONSTANT)
    tenth = max(1, temperature.shape[1] // 10)
    per_path = temperature.mean(axis=1)
    return {
        "mean": float(per_path.mean()),
        "error": float(per_path.std(ddof=1) / np.sqrt(len(per_path))) if len(per_path) > 1 else float("nan"),
        "first_tenth": float(temperature[:, :tenth].mean()),
        "last_tenth": float(temperature[:, -tenth:].mean()),
    }
