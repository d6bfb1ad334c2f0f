"""Committors from the fates of fresh trajectories, and how far frames are spread around the isocommittor surface.

p_B(x) is the probability that a trajectory from x with velocities from the Maxwell-Boltzmann distribution reaches B
before A. Only estimates here; who runs the trajectories says how.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from spacetime_tps.analysis.path_metrics import binomial_error

UNDECIDED, REACHED_A, REACHED_B = 0, 1, 2
"""Fates of a trajectory; the first is one that had reached neither state when it was given up."""
_PENALTY = 2e-3
"""Of the slope along one coordinate, where it is only to stay finite."""


@dataclass(frozen=True)
class Committor:
    """Committors of n frames.

    Attributes:
        p_b: share of the decided trajectories that reached B first, shape (n,); NaN where none was decided.
        error: standard deviation under Jeffreys' prior, shape (n,), see ``binomial_error``: it is chosen because it
            is not 0 where all trajectories end alike, as they do near the states.
        decided: trajectories that reached a state, shape (n,).
        undecided: those that did not, shape (n,); p_b says nothing of them, so they should be few.
    """

    p_b: np.ndarray
    error: np.ndarray
    decided: np.ndarray
    undecided: np.ndarray


def committor(outcomes: np.ndarray) -> Committor:
    """Committors from fates, shape (n_frames, n_shots), coded ``UNDECIDED``, ``REACHED_A``, ``REACHED_B``.

    Raises:
        ValueError: there is another code.
    """
    outcomes = np.asarray(outcomes)
    in_a, in_b = ((outcomes == code).sum(axis=1) for code in (REACHED_A, REACHED_B))
    decided, undecided = in_a + in_b, (outcomes == UNDECIDED).sum(axis=1)
    if np.any(decided + undecided != outcomes.shape[1]):
        raise ValueError(f"outcomes should be {UNDECIDED}, {REACHED_A} or {REACHED_B}, not {np.unique(outcomes)}")
    p_b = np.divide(in_b, decided, out=np.full(len(outcomes), np.nan), where=decided > 0)
    return Committor(p_b, binomial_error(in_b, decided), decided, undecided)


def committor_spread(
    p_b: np.ndarray, shots: np.ndarray | int, rng: np.random.Generator, resamples: int = 1000
) -> dict[str, float]:
    """Mean of the committor over frames and its spread beyond the binomial noise of the estimates.

    The variance of estimated committors is that of the committor plus the mean of p (1 - p) / n, of which
    p_b (1 - p_b) / (n - 1) is the unbiased estimate:

        variance = var(p_b) - mean[p_b (1 - p_b) / (n - 1)]

    A good reaction coordinate has little of it at the frames of one value. The idea of taking the binomial part off
    is that of Peters, J. Chem. Phys. 125, 241101 (2006), where every frame has the same number of shots.

    Args:
        p_b: of frames that are independent of each other, shape (n,).
        shots: decided trajectories of each frame, shape (n,), or of all of them; frames with less than two tell
            nothing and are left out.
        rng: of the bootstrap over frames.
        resamples: number of bootstrap samples.

    Returns:
        ``frames`` used; ``mean``; ``variance``, which noise may make negative; ``spread``, the root of the variance
        or 0; and the bootstrap standard error of each, ``*_error``. Of a single frame only ``mean``, the rest is NaN.
    """
    p_b, shots = np.broadcast_arrays(np.asarray(p_b, dtype=float), shots)
    used = shots >= 2
    p_b, shots = p_b[used], shots[used]
    n = len(p_b)
    if n < 2:
        keys = ("mean", "variance", "spread")
        unknown = {k: float("nan") for key in keys for k in (key, f"{key}_error")}
        return {"frames": n} | unknown | ({"mean": float(p_b[0])} if n else {})
    noise = p_b * (1 - p_b) / (shots - 1)
    picks = np.concatenate([np.arange(n)[None], rng.integers(n, size=(resamples, n))])
    mean = p_b[picks].mean(axis=1)
    variance = p_b[picks].var(axis=1, ddof=1) - noise[picks].mean(axis=1)
    result: dict[str, float] = {"frames": n}
    for key, values in (("mean", mean), ("variance", variance), ("spread", np.sqrt(np.maximum(variance, 0.0)))):
        result[key], result[f"{key}_error"] = float(values[0]), float(values[1:].std(ddof=1))
    return result


def explained_share(p_b: np.ndarray, shots: np.ndarray, coordinates: np.ndarray) -> float:
    """Share of the variance of logit p_B over frames that a linear function of some coordinates explains.

    Adjusted for the number of coordinates: R^2 = 1 - [RSS / (n - k - 1)] / [TSS / (n - 1)], with the logit taken of
    (m + 1/2) / (n + 1), m of n trajectories having reached B, so that it is finite. What the coordinates of a curve
    leave unexplained at frames of one of its points, others decide.

    Args:
        p_b: of the frames, shape (n,).
        shots: decided trajectories of each, shape (n,); frames without any are left out.
        coordinates: shape (n, k).

    Returns:
        NaN where there are too few frames, or all are alike.
    """
    used = shots > 0
    reached = p_b[used] * shots[used] + 0.5
    logit = np.log(reached / (shots[used] + 1.0 - reached))
    columns = np.column_stack([np.ones(len(logit)), coordinates[used]])
    n, k = columns.shape
    if n <= k or not (total := float(np.square(logit - logit.mean()).sum())) > 0:
        return float("nan")
    residual = logit - columns @ np.linalg.lstsq(columns, logit, rcond=None)[0]
    return float(1.0 - np.square(residual).sum() / (n - k) * (n - 1) / total)


@dataclass(frozen=True)
class LogisticCommittor:
    """p_B = 1 / (1 + exp(-(offset + slopes . x))).

    Attributes:
        offset: a number.
        slopes: shape (k,).
    """

    offset: float
    slopes: np.ndarray

    def __call__(self, coordinates: np.ndarray) -> np.ndarray:
        """p_B, shape (...), of coordinates, shape (..., k)."""
        return expit(self.offset + coordinates @ self.slopes)


def logistic_committor(
    coordinates: np.ndarray, reached: np.ndarray, tried: np.ndarray, penalty: float
) -> LogisticCommittor:
    """The most likely logistic function of some coordinates.

    Args:
        coordinates: of the points, shape (n, k).
        reached: trajectories of each that reached B, shape (n,).
        tried: those that were decided, shape (n,).
        penalty: on half the squares of the slopes of coordinates in units of their scatter, which keeps them finite
            where both outcomes are apart.
    """
    middle = coordinates.mean(axis=0)
    scale = np.maximum(coordinates.std(axis=0), 1e-12)
    z = (coordinates - middle) / scale

    def unlikeliness(at: np.ndarray) -> tuple[float, np.ndarray]:
        logit = at[0] + z @ at[1:]
        excess = tried * expit(logit) - reached
        value = (tried * np.logaddexp(0.0, logit) - reached * logit).sum() + 0.5 * penalty * np.square(at[1:]).sum()
        return float(value), np.append(excess.sum(), excess @ z + penalty * at[1:])

    found = minimize(unlikeliness, np.zeros(1 + z.shape[1]), jac=True, method="L-BFGS-B").x
    slopes = found[1:] / scale
    return LogisticCommittor(float(found[0] - slopes @ middle), slopes)


def half_at(coordinate: np.ndarray, p_b: np.ndarray, shots: np.ndarray) -> float:
    """Where along a coordinate the committor is one half, by the most likely logistic function.

    Args:
        coordinate: of the frames, shape (n,).
        p_b: their committors, shape (n,).
        shots: decided trajectories of each, shape (n,); frames without any are left out.

    Returns:
        NaN where it is one half nowhere between the outermost frames.
    """
    used = shots > 0
    if used.sum() < 2:
        return float("nan")
    s, reached, tried = coordinate[used], p_b[used] * shots[used], shots[used]
    fit = logistic_committor(s[:, None], reached, tried, _PENALTY)
    found = -fit.offset / fit.slopes[0] if fit.slopes[0] else float("nan")
    return float(found) if s.min() <= found <= s.max() else float("nan")
