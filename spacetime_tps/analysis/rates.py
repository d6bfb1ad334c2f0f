"""Rate constants and the transition path ensemble from shots out of ridge windows.

With f_k the free energies of the windows above the unrestrained ensemble and n_k their points of n in all, the points
have the density rho(x) w(x), w(x) = sum_k (n_k / n) exp(f_k + u_k(x)), and <w> = 1 at equilibrium. Every transition
path is found in proportion to its probability times W_i, the sum of w over its interior frames. So, with frames tau
apart,

* weighted by 1 / W_i the paths are samples of the transition path ensemble;
* the reactive flux is Phi = 1 / (2 tau n) sum_i 1 / W_i (Hummer, J. Chem. Phys. 120, 516 (2004), section II, with a
  mixture of windows in place of a dividing surface);
* k_AB = Phi / p_A, p_A the probability that the state visited last is A.

Free energies are those of MBAR, and one sandwich estimate covers them and the shots (``estimated``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp
from scipy.stats import genpareto

from spacetime_tps.boltzmann.blocks import jackknife_error
from spacetime_tps.boltzmann.pool import RIDGE, Pool, Seen, Solution, solve
from spacetime_tps.boltzmann.reweighting import Estimate, SampleSum, solved
from spacetime_tps.representations import Identity, Molecular
from spacetime_tps.representations.ridge import RidgeWindows
from spacetime_tps.shooting.shots import RidgeSpace, Shots

SOUND_K = 0.7
"""Pareto shape of weights up to which averages of them are sound."""
_LEAST_TAIL = 5
"""Weights that a tail is fitted to, at least."""


@dataclass(frozen=True)
class ShotEnsemble:
    """Shots out of ridge windows, their weights, and what ties the windows to the states.

    Attributes:
        shots: points and paths.
        solution: MBAR over all that was sampled: windows of every kind and free simulations, the points last.
        log_factors: log(n_k / n) + f_k of each ridge window, with free energies as ``solution`` counts them, shape
            (n_windows,).
        log_sums: log W_i of each path by these, shape (n_paths,).
        shares: of each ridge window in W_i, shape (n_paths, n_windows).
        tops: number of the interior frame of each path at which w is largest, shape (n_paths,).
    """

    shots: Shots
    solution: Solution
    log_factors: np.ndarray
    log_sums: np.ndarray
    shares: np.ndarray
    tops: np.ndarray

    @property
    def weights(self) -> np.ndarray:
        """1 / W_i over their sum, shape (n_paths,)."""
        return np.exp(-self.log_sums - logsumexp(-self.log_sums)) if len(self.log_sums) else np.zeros(0)

    @property
    def effective(self) -> float:
        """Kish's effective number of paths."""
        return _effective(self.log_sums)

    def flux(self, counted: np.ndarray | None = None) -> SampleSum:
        """sum_i c_i / W_i / n as a sum over the points; c_i >= 0, shape (n_paths,), is one if it is not given."""
        weights = self.weights if counted is None else self.weights * counted
        whole = weights.sum()
        terms = np.zeros(len(self.solution.pool))
        np.add.at(terms, len(terms) - len(self.shots) + self.shots.shot, weights / whole)
        shares = np.zeros(len(self.solution.pool.counts))
        shares[self.solution.pool.confined == RIDGE] = weights @ self.shares / whole
        return SampleSum(terms, shares, -float(logsumexp(-self.log_sums) + np.log(whole)) + np.log(len(self.shots)))

    def averages(self, counted: Sequence[np.ndarray]) -> list[tuple[float, float]]:
        """Means of functions over the transition path ensemble and their standard errors.

        Args:
            counted: c_i >= 0 of each function, shape (n_paths,), not all zero.
        """
        sums = [self.flux(), *(self.flux(each) for each in counted)]
        estimate = self.solution.estimate(np.zeros((len(self.solution.pool), 0)), sums)
        found = [estimate.difference(k, 0) for k in range(1, len(sums))]
        return [(float(np.exp(log_mean)), float(np.exp(log_mean) * error)) for log_mean, error in found]

    def estimate(self) -> Estimate:
        """-log of the probabilities of A, of B and of everything, and of the flux times 2 tau, in this order."""
        everywhere = np.ones((len(self.solution.pool), 1))
        with np.errstate(divide="ignore"):
            targets = np.log(np.hstack([self.solution.pool.in_states.astype(float), everywhere]))
        return self.solution.estimate(targets, [self.flux()])


def shot_ensemble(
    pool: Pool,
    representation: Molecular | Identity,
    windows: RidgeWindows,
    space: RidgeSpace,
    shots: Shots,
    points: Seen,
) -> ShotEnsemble:
    """Weigh shots by all that is known of their windows.

    Args:
        pool: samples of tube windows and free simulations.
        representation: of its features.
        windows: that were shot from.
        space: of the windows.
        shots: what became of their points.
        points: these points as the pool wants them, leading shape (n,).
    """
    drawn = Pool.of_ridges(points, shots.window, shots.walker, representation.n_parameters)
    both = pool.joined(drawn)
    logs = windows.log_weights(space.features(both.variables)).T
    solution = solve(both, representation, logs)
    free = solution.reweighted.free_energies[both.confined == RIDGE]
    offset = free + np.log(drawn.counts / len(shots))
    frames = [offset + windows.log_weights(space.features(path.variables[1:-1])) for path in shots.paths]
    each = np.array([logsumexp(found, axis=0) for found in frames]).reshape(-1, len(windows))
    sums = logsumexp(each, axis=1)
    tops = np.array([1 + int(logsumexp(found, axis=1).argmax()) for found in frames], dtype=int)
    return ShotEnsemble(shots, solution, offset, sums, np.exp(each - sums[:, None]), tops)


def effective_share(windows: RidgeWindows, space: RidgeSpace, shots: Shots) -> float:
    """Effective paths by one shot, with no more than the windows' own points to weigh them by.

    Args:
        windows: that were shot from.
        space: of the windows.
        shots: what became of their points.
    """
    counts = np.bincount(shots.window, minlength=len(windows))
    free = solved(-windows.log_weights(space.features(shots.variables)).T, counts).free_energies
    with np.errstate(divide="ignore"):
        offset = free + np.log(counts)
    frames = [offset + windows.log_weights(space.features(path.variables[1:-1])) for path in shots.paths]
    return _effective(np.array([logsumexp(found) for found in frames])) / len(shots)


def _effective(log_sums: np.ndarray) -> float:
    """Kish's effective number of paths that weigh 1 / W_i, from log W_i, shape (n_paths,)."""
    if not len(log_sums):
        return 0.0
    return float(np.exp(2.0 * logsumexp(-log_sums) - logsumexp(-2.0 * log_sums)))


@dataclass(frozen=True)
class Stay:
    """How long free simulations that came from a state stayed in it.

    Attributes:
        inside: share of the time inside the state until the other one is reached.
        error: standard error of its logarithm, by simulations.
    """

    inside: float
    error: float

    @classmethod
    def of(cls, own: np.ndarray, other: np.ndarray) -> Stay:
        """Of simulations that started in a state.

        Args:
            own: whether each look finds them in it, shape (n_walkers, n).
            other: whether in the other state, shape (n_walkers, n).
        """
        before = np.cumsum(other, axis=1) == 0
        inside, until = (own & before).sum(axis=1).astype(float), before.sum(axis=1).astype(float)
        share = inside.sum() / until.sum() if until.any() else 0.0
        if len(until) < 2 or not share > 0.0:
            return cls(float(share), float("nan"))
        left = (inside.sum() - inside) / np.maximum(until.sum() - until, 1.0)
        return cls(float(share), float(jackknife_error(np.log(np.maximum(left, 1e-300)))))


@dataclass(frozen=True)
class Rates:
    """Rate constants of both directions, A to B first.

    Attributes:
        log_constants: log k, per unit of time, shape (2,).
        errors: standard errors of these, shape (2,).
        log_flux: log of the reactive flux per unit of time.
        populations: p_A and p_B, the shares of time that the state visited last was A and B, shape (2,).
        accounted: what p_A + p_B come to beside the weight of all samples: less than one where something populated was
            entered from neither state, more where a state is left for a while for places that no window has seen.
        accounted_error: its standard error, no less than if both shares erred alike.
        transition_time: mean duration of the transition paths.
        transition_time_error: its standard error.
    """

    log_constants: np.ndarray
    errors: np.ndarray
    log_flux: float
    populations: np.ndarray
    accounted: float
    accounted_error: float
    transition_time: float
    transition_time_error: float

    @property
    def transition_over_life(self) -> float:
        """Mean duration of a transition over the life of the state that is left sooner: small for a rate constant."""
        return float(np.exp(self.log_constants.max())) * self.transition_time


def rates_of(found: ShotEnsemble, stays: tuple[Stay, Stay], interval: float) -> Rates:
    """Rate constants by shots.

    Args:
        found: paths and their weights.
        stays: of A and of B.
        interval: time between frames.
    """
    estimate = found.estimate()
    logs, errors, shares, share_errors = [], [], [], []
    for state, stay in enumerate(stays):
        value, error = estimate.difference(3, state)
        logs.append(value - np.log(2.0 * interval) + np.log(stay.inside))
        errors.append(float(np.hypot(error, stay.error)))
        less, of_less = estimate.difference(2, state)
        shares.append(np.exp(-less) / stay.inside)
        share_errors.append(shares[-1] * np.hypot(of_less, stay.error))
    populations = np.array(shares) / sum(shares)
    ((length, length_error),) = found.averages([np.array([len(path) - 1.0 for path in found.shots.paths])])
    return Rates(
        log_constants=np.array(logs),
        errors=np.array(errors),
        log_flux=float(logs[0] + np.log(populations[0])),
        populations=populations,
        accounted=float(sum(shares)),
        accounted_error=float(sum(share_errors)),
        transition_time=interval * length,
        transition_time_error=interval * length_error,
    )


def pareto_k(weights: np.ndarray) -> float:
    """Shape of the generalised Pareto distribution of the largest weights; above 0.7 no average of them is sound.

    The tail is min(n / 5, 3 sqrt(n)) of n weights (Vehtari, Simpson, Gelman, Yao and Gabry, "Pareto smoothed importance
    sampling" (2024), section 3), the shape its maximum-likelihood estimate. NaN for fewer than 25 weights.
    """
    tail = int(min(len(weights) / 5, 3 * np.sqrt(len(weights))))
    if tail < _LEAST_TAIL:
        return float("nan")
    ordered = np.sort(weights)
    excess = ordered[-tail:] - ordered[-tail - 1]
    if not excess.max() > 0.0:
        return -np.inf
    return float(genpareto.fit(excess[excess > 0.0] / excess.max(), floc=0.0)[0])


def resampled(weights: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Numbers of ``count`` paths that count alike, by systematic resampling, in random order."""
    edges = np.cumsum(weights) / weights.sum()
    picked = np.searchsorted(edges, (np.arange(count) + rng.random()) / count, side="right")
    return rng.permutation(np.minimum(picked, len(weights) - 1))
