"""Numbers of single paths, of sets of paths and of Monte Carlo chains of paths, as pure functions of arrays.

A path is an array of T frames at equal steps, given from A to B; a set of paths is a list of such arrays, which may
differ in length. A chain counts its current path again when a trial is rejected.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from spacetime_tps.analysis.metrics import mean_and_std
from spacetime_tps.potentials import Potential
from spacetime_tps.states import Region

# --- distributions of one number per path -------------------------------------------------------


def path_maximum(values: Sequence[np.ndarray]) -> np.ndarray:
    """Largest value of each path, shape (n,), of arrays of shape (T,); MaxFreeEnergy and MaxEnergy are such maxima.

    Raises:
        ValueError: a path is empty.
    """
    return np.array([np.max(path) for path in values])


def path_length(frames: np.ndarray, interval: float) -> np.ndarray:
    """Duration of paths of ``frames`` frames each, ``interval`` [ps] apart: (frames - 1) interval, shape (n,) [ps].

    OpenPathSampling gives the length of a path as its number of frames instead.
    """
    return (np.asarray(frames) - 1) * interval


def wasserstein(
    first: np.ndarray,
    second: np.ndarray,
    first_weights: np.ndarray | None = None,
    second_weights: np.ndarray | None = None,
) -> float:
    """Wasserstein-1 distance W1 = integral |F(v) - G(v)| dv of two sets of values [unit of the values].

    F and G are the cumulative distributions of ``first``, shape (n,), and ``second``, shape (m,). Weights, of the same
    shapes, need not be normalised.

    Raises:
        ValueError: a set is empty.
    """
    from scipy.stats import wasserstein_distance  # a second, which few commands need

    return float(wasserstein_distance(first, second, first_weights, second_weights))


def wasserstein_with_error(
    first: np.ndarray,
    second: np.ndarray,
    rng: np.random.Generator,
    resamples: int = 200,
    independent: tuple[int, int] | None = None,
) -> dict[str, float]:
    """W1 with its bootstrap error and its noise floor: finite samples of one and the same distribution differ, too.

    Args:
        first, second: one value per path, shapes (n,) and (m,).
        rng: of the resampling.
        resamples: number of bootstrap samples (Efron 1979).
        independent: how many independent paths each set is worth, such as ``effective_size``, where paths are
            correlated; n and m otherwise. Resamples have these sizes.

    Returns:
        ``value``; ``error``, its standard error over resamples of the paths of either set (too small where the value
        hardly exceeds the noise floor, as W1 is not smooth at 0); ``noise_floor``, the mean W1 of two samples of the
        same sizes out of the pooled values, and ``noise_floor_95``, its quantile of 95 %: a value below it does not
        tell the two sets apart. All in the unit of the values.

    Raises:
        ValueError: a set is empty.
    """
    first, second = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    value = wasserstein(first, second)
    n, m = (len(first), len(second)) if independent is None else independent
    pooled = np.concatenate([first, second])

    def resampled(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.array([wasserstein(rng.choice(a, n), rng.choice(b, m)) for _ in range(resamples)])

    floor = resampled(pooled, pooled)
    return {
        "value": value,
        "error": float(np.std(resampled(first, second), ddof=1)),
        "noise_floor": float(floor.mean()),
        "noise_floor_95": float(np.quantile(floor, 0.95)),
    }


# --- where paths go -----------------------------------------------------------------------------


def channel_labels(displacement: np.ndarray, turning: Mapping[int, str]) -> list[str]:
    """Channels of n paths by the signs of their unwrapped displacements, as in ``Torsions.channels``: ``phi+ psi-``.

    Args:
        displacement: last minus first value of the collective variables along each path, shape (n, n_cv).
        turning: columns and names of the angles in which the states lie apart, so that the sign says which way around
            the circle a path went; without any, space has one channel, ``all``.

    An angle whose displacement is zero counts as ``+``.
    """
    return [
        " ".join(f"{name}{'+' if row[k] >= 0 else '-'}" for k, name in turning.items()) or "all" for row in displacement
    ]


def path_density(
    paths: Sequence[np.ndarray],
    low: np.ndarray | Sequence[float],
    high: np.ndarray | Sequence[float],
    bins: int | Sequence[int],
    period: float | None = None,
) -> np.ndarray:
    """Share of the paths that visit each bin of a grid, shape (bins, ...): a path counts at most once in a bin.

    This is the path density of OpenPathSampling (``PathDensityHistogram`` with ``interpolate=False``) over the number
    of paths. Only bins that hold a frame are visited: densities are comparable at equal time between frames.

    Args:
        paths: collective variables of the frames, shapes (T, n_cv).
        low, high: of the grid, shape (n_cv,); frames outside count nowhere, those at ``high`` in the last bin.
        bins: in each variable.
        period: of the variables, None if they have none; they are brought into [low, low + period).

    Raises:
        ValueError: there is no path.
    """
    if not len(paths):
        raise ValueError("a path density needs at least one path")
    start, width = np.asarray(low, dtype=float), np.subtract(high, low).astype(float)
    shape = np.broadcast_to(bins, start.shape)
    visits = np.zeros(int(np.prod(shape)))
    for path in paths:
        offset = path - start if period is None else (path - start) % period
        inside = np.all((offset >= 0) & (offset <= width), axis=-1)
        index = np.minimum((offset[inside] / width * shape).astype(int), shape - 1)
        visits[np.unique(np.ravel_multi_index(tuple(index.T), tuple(shape)))] += 1
    return (visits / len(paths)).reshape(shape)


def density_overlap(first: np.ndarray, second: np.ndarray) -> float:
    """Weighted Jaccard similarity (Ruzicka) of two path densities on the same bins: sum min(p, q) / sum max(p, q).

    1 for equal densities, 0 where no bin is visited by both sets, NaN where nothing is visited at all. Two finite
    sets of one ensemble overlap by less than 1; compare with two halves of the same set.
    """
    largest = np.maximum(first, second).sum()
    return float(np.minimum(first, second).sum() / largest) if largest > 0 else float("nan")


# --- chains of paths ----------------------------------------------------------------------------


def decorrelated_steps(oldest: np.ndarray) -> np.ndarray:
    """Steps at which the path of a chain shares no frame with the decorrelated path before it.

    This is the ``decorrelated`` of OpenPathSampling's ``PathTree``, which also counts the first path, one more. The
    path of step s shares no frame with that of step d < s if all of its frames were made after d: a frame that was
    dropped never comes back.

    Args:
        oldest: step that made the oldest frame of the path after steps 1, 2, ..., shape (n_steps,); step 0 stands for
            the first path.

    Returns:
        the steps, counted from 1, in increasing order; the first path is step 0 and not among them.
    """
    found, last = [], 0
    for step, born in enumerate(oldest, start=1):
        if born > last:
            found.append(step)
            last = step
    return np.array(found, dtype=int)


def integrated_autocorrelation_time(series: np.ndarray, window: float = 5.0) -> float:
    """tau = 1 + 2 sum_t rho(t) of a stationary series, shape (n,) [steps]: n / tau of its values are independent.

    The sum ends at the first M >= window * tau(M) (Sokal, *Monte Carlo methods in statistical mechanics: foundations
    and new algorithms*, Cargèse lectures, 1996; his tau_int is half of it). The relative standard error is about
    sqrt(2 (2 M + 1) / n); tau is too small if n is less than some 50 tau. It is never less than 1, so that no series is
    worth more than its length; a series that never changes is worth one value: n.
    """
    x = np.asarray(series, dtype=float)
    n = len(x)
    if np.ptp(x) == 0:
        return float(n)
    x = x - x.mean()
    spectrum = np.fft.rfft(x, 2 * n)
    covariance = np.fft.irfft(spectrum * spectrum.conj(), 2 * n)[:n]
    tau = 2.0 * np.cumsum(covariance / covariance[0]) - 1.0
    last = 1 + int(np.argmax(np.arange(1, n) >= window * tau[1:]))  # there is one: the sum over all lags is zero
    return float(max(1.0, tau[last]))


def effective_size(series: np.ndarray) -> float:
    """How many independent values a stationary series, shape (n,), is worth: n / tau, between 1 and n."""
    return len(series) / integrated_autocorrelation_time(series)


def binomial_error(successes: np.ndarray | int, trials: np.ndarray | int) -> np.ndarray:
    """Standard deviation of a probability after ``successes`` out of ``trials`` under Jeffreys' prior.

    That of Beta(k + 1/2, n - k + 1/2): sqrt((k + 1/2) (n - k + 1/2) / ((n + 1)^2 (n + 2))). It tends to
    sqrt(p (1 - p) / n), but is not 0 where all trials end alike, and a single number, where an interval (Wilson's or
    Jeffreys') is two (Brown, Cai and DasGupta, Statist. Sci. 16, 101, 2001). NaN without trials.
    """
    k, n = np.asarray(successes, dtype=float), np.asarray(trials, dtype=float)
    return np.where(n > 0, np.sqrt((k + 0.5) * (n - k + 0.5) / ((n + 1) ** 2 * (n + 2))), np.nan)


def acceptance_table(accepted: np.ndarray, labels: np.ndarray | Sequence[str]) -> dict[str, dict[str, float]]:
    """Acceptance by kind of move or direction, as in OpenPathSampling's move summary.

    Args:
        accepted: of each trial, shape (n,), bool.
        labels: of each trial, shape (n,).

    Returns:
        for every label in alphabetical order ``trials``, ``accepted``, ``share`` and ``error``, its binomial error;
        trials from the same path are not quite independent, which the error leaves out.
    """
    accepted, labels = np.asarray(accepted, dtype=bool), np.asarray(labels)
    table: dict[str, dict[str, float]] = {}
    for label in np.unique(labels):
        mine = accepted[labels == label]
        table[str(label)] = {"trials": len(mine), "accepted": int(mine.sum()), **_share(mine)}
    return table


def _share(found: np.ndarray) -> dict[str, float]:
    share = float(found.mean()) if len(found) else float("nan")
    return {"share": share, "error": float(binomial_error(found.sum(), len(found)))}


# --- RMSD, THP and ETS: the convention of TPS-DPS -----------------------------------------------
# Seong et al., arXiv 2405.19961. What they do differently: every path is cut at its frame closest to the target before
# it is scored, so that their last frame is their best one; a path of alanine dipeptide hits if (phi, psi) lies within
# 0.75 rad (43 degrees) of the target's, with a phi that starts at CH3 instead of C; RMSD is given in angstrom.


def target_rmsd(last_frames: np.ndarray, target: np.ndarray, heavy: np.ndarray) -> np.ndarray:
    """RMSD [nm] to the target after optimal superposition, without weights, shape (n,).

    Rotations, not reflections: Kabsch, Acta Cryst. A 32, 922 (1976) and A 34, 827 (1978). Here it is that of the last
    frame of each path; TPS-DPS takes the frame closest to the target.

    Args:
        last_frames: shape (n, n_atoms, 3) [nm].
        target: shape (n_atoms, 3) [nm].
        heavy: which atoms count, indices or a mask of shape (n_atoms,).
    """
    moved = last_frames[:, heavy].astype(float)
    fixed = target[heavy].astype(float)
    moved, fixed = moved - moved.mean(axis=1, keepdims=True), fixed - fixed.mean(axis=0)
    u, _, vt = np.linalg.svd(np.swapaxes(moved, 1, 2) @ fixed)
    u[..., -1] *= np.sign(np.linalg.det(u @ vt))[:, None]
    return np.sqrt(np.square(moved @ (u @ vt) - fixed).sum(-1).mean(-1))


def target_hit(last_variables: np.ndarray, target: Region) -> np.ndarray:
    """Whether the last frame of each path lies in the target state, shape (n,), from its variables, (n, n_cv).

    The state is that of the system; TPS-DPS takes a disc of 0.75 rad around the target structure instead, with
    phi = CH3-N-CA-C, and its last frame is the one closest to the target.
    """
    return target.contains(last_variables)


def target_hit_share(hit: np.ndarray) -> dict[str, float]:
    """THP, the share of the paths that hit the target, with its binomial error, from ``target_hit``, shape (n,)."""
    return _share(np.asarray(hit, dtype=bool))


def transition_state_energy(maxima: np.ndarray, hit: np.ndarray) -> dict[str, float]:
    """ETS: mean and sample standard deviation of the highest potential energy over the paths that hit the target.

    Args:
        maxima: of the potential over all frames of each path, shape (n,), see ``path_maximum``; TPS-DPS leaves out
            what comes after the frame closest to the target.
        hit: from ``target_hit``, shape (n,).
    """
    return mean_and_std(np.asarray(maxima)[np.asarray(hit, dtype=bool)])


# --- how likely a path is -----------------------------------------------------------------------


def overdamped_log_likelihood(path: Tensor, potential: Potential, kt: float, dt: float) -> Tensor:
    """Log-probability density of Euler-Maruyama paths given their first points, shape (...).

    A step x' = x - dt grad U(x) + sqrt(2 kT dt) xi, as in ``paths.overdamped.langevin_step``, has the density
    N(x'; x - dt grad U(x), 2 kT dt) (Onsager and Machlup 1953, discretised). Exact if every step is stored, and
    meaningless otherwise.

    Args:
        path: shape (..., T, d).
        potential: U.
        kt: thermal energy in the unit of U.
        dt: time of a step; the mobility is 1.
    """
    variance = 2 * kt * dt
    start, end = path[..., :-1, :], path[..., 1:, :]
    residual = end - start + dt * potential.gradient(start)
    terms = residual.square() / variance + math.log(2 * math.pi * variance)
    return -0.5 * torch.sum(terms, dim=(-2, -1))
