"""What all samples so far say of a curve, and where along it more of them would help."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from spacetime_tps.analysis.free_energies import Profile, profile_along
from spacetime_tps.boltzmann.allocation import samples_wanted, shares_along
from spacetime_tps.boltzmann.pool import EVERYWHERE, Pool, Solution, solve
from spacetime_tps.diffusion.denoiser import Denoiser
from spacetime_tps.geometry.curve import FineCurve, evaluate
from spacetime_tps.representations import Torsions
from spacetime_tps.systems import System

CENTERS = 200
"""Points of a curve at which free energies are read."""
_STRATA = 16
"""Parts of a curve over which windows are distributed."""
_SAMPLED = 50.0
"""Effective samples of a posterior from which on what it is the posterior of counts as sampled."""
_SMALL = 0.25
"""Of an accuracy in kT: a flux that changes the logarithm of the whole by so little need not be known."""
_SIGMAS = 2.0
"""Standard errors by which a bound on a flux is put off."""
_LEAST_ROOM = 0.25
"""Of a limit on a variance, what is left to windows along the chosen curve whatever other samples add to it."""
_GROWTH = 2.0
"""Times the samples that there are, at most, after one round: their scatter is not known better than that."""


@dataclass(frozen=True)
class Outlook:
    """What all samples so far say of a curve.

    Attributes:
        label: of its channel.
        curve: along which windows would stand.
        centers: posterior means [rad] at equal steps of its length, shape (n, n_torsions).
        profile: free energy there, smoothed.
        effective: samples by Kish's number in the posteriors at these points, shape (n,).
    """

    label: str
    curve: FineCurve
    centers: np.ndarray
    profile: Profile
    effective: np.ndarray

    @property
    def sampled(self) -> bool:
        """Whether samples lie everywhere along the curve."""
        return bool(self.effective.min() >= _SAMPLED)

    def most_flux(self, best: Outlook) -> float:
        """Bound on the flux over this curve as a share of that over another, by the heights of both and two errors."""
        (height, error), (lowest, its_error) = self.profile.above_a, best.profile.above_a
        return float(np.exp(np.clip(lowest - height + _SIGMAS * np.hypot(error, its_error), -700.0, 0.0)))


@dataclass(frozen=True)
class Forecast:
    """What all samples so far say of the curves that may matter, and which windows would help.

    Attributes:
        found: along the curves that are not dropped, the chosen one first, ``refine.channels`` of them at most.
        dropped: bounds on the flux of those that are, as shares of the chosen one's, by label; see ``relevant``.
        left_out: labels of channels that may matter and are beyond ``refine.channels``.
        states: B - A and its standard error [kT].
        missing: where samples are missing along each, in shares of its length, ``windows.spacing`` apart.
        more: where along the chosen one windows would lower the errors, in shares of its length.
        needed: windows along the chosen one that would do, by what is known so far; ``more`` are no more than these.
        accuracy: that is wanted of both errors [kT].
    """

    found: list[Outlook]
    dropped: dict[str, float]
    left_out: list[str]
    states: tuple[float, float]
    missing: list[np.ndarray]
    more: np.ndarray
    needed: int
    accuracy: float

    @property
    def chosen(self) -> Outlook:
        """The curve whose barrier is wanted."""
        return self.found[0]

    @property
    def accurate(self) -> bool:
        """Whether both errors are as small as wanted, and no samples are missing."""
        covered = all(each.sampled for each in self.found)
        return covered and max(self.chosen.profile.error, self.states[1]) <= self.accuracy


def outlook(label: str, curve: FineCurve, denoiser: Denoiser, solution: Solution, system: System) -> Outlook:
    """Read the samples of a solution along a curve of a denoiser, in a representation by torsions."""
    representation = system.representation
    assert isinstance(representation, Torsions)
    natural = representation.natural(torch.from_numpy(curve.at_constant_speed(CENTERS)))
    centers = representation.center(evaluate(denoiser, natural).mean).numpy()
    level = system.config.geodesic.surface_log_snr
    profile = profile_along(solution, system.torsions, system.represented, centers, level)
    logs = solution.log_weights - representation.reduced(natural.numpy(), solution.pool.features)
    weights = np.exp(logs - logs.max(axis=1, keepdims=True))
    effective = np.square(weights.sum(axis=1)) / np.square(weights).sum(axis=1)
    return Outlook(label, curve, centers, profile, effective)


def nearest_places(found: Sequence[Outlook], pool: Pool, system: System) -> tuple[np.ndarray, np.ndarray]:
    """Which curve passes nearest to each window of a pool, and at which share of its length, shapes (n_ensembles,).

    -1 and NaN for ensembles that are no windows, or of which there are no samples.
    """
    torsions = system.torsions
    seen = torsions.features_of_angles(pool.variables[:, system.represented])
    counts = np.maximum(pool.counts, 1)[:, None]
    means = np.stack([np.bincount(pool.ensemble, column, len(counts)) for column in seen.T], axis=-1) / counts
    at = np.concatenate([torsions.features_of_angles(each.centers) for each in found])
    nearest = np.square(means[:, None] - at).sum(axis=-1).argmin(axis=1)
    windows = (pool.confined == EVERYWHERE) & (pool.counts > 0)
    channel = np.where(windows, nearest // CENTERS, -1)
    share = np.where(windows, nearest % CENTERS / (CENTERS - 1), np.nan)
    return channel, share


def relevant(
    curves: Sequence[tuple[str, FineCurve, float]], denoiser: Denoiser, pool: Pool, system: System
) -> tuple[Pool, dict[str, float]]:
    """The samples that an answer is made of: without windows along channels that do not matter, whose high ridges short
    windows sample badly. And bounds on the flux over these, as shares of that over the chosen curve.

    Args:
        curves: label, curve and own barrier [kT] of each channel, the chosen one first.
        denoiser: that the curves belong to.
        pool: all samples.
        system: of the run.
    """
    solution = solve(pool, system.molecular)
    read = [outlook(label, curve, denoiser, solution, system) for label, curve, _ in curves]
    heights, first = [height for *_, height in curves], read[0]
    bounds = {
        each.label: each.most_flux(first) if each.sampled and first.sampled else float(np.exp(heights[0] - height))
        for each, height in zip(read[1:], heights[1:], strict=True)
    }
    least = _least_share(system)
    dropped = {label: bound for label, bound in bounds.items() if bound < least}
    if not dropped:
        return pool, {}
    curve, _ = nearest_places(read, pool, system)
    unneeded = [k for k, each in enumerate(read) if each.label in dropped]
    return pool.of_ensembles(~np.isin(curve, unneeded)), dropped


def _least_share(system: System) -> float:
    """Of the flux: what less than that adds is small beside the accuracy that is wanted of a barrier."""
    assert system.config.accuracy is not None
    return max(system.config.transitions.least_flux, min(0.5, _SMALL * system.config.accuracy / system.kt))


def forecast(
    curves: Sequence[tuple[str, FineCurve, float]], denoiser: Denoiser, pool: Pool, system: System
) -> Forecast:
    """Read all samples along the curves of a denoiser; see ``relevant``."""
    config = system.config
    assert config.accuracy is not None
    used, dropped = relevant(curves, denoiser, pool, system)
    solution = solve(used, system.molecular)
    kept = [(label, curve) for label, curve, _ in curves if label not in dropped]
    most = config.refine.channels
    found = [outlook(label, curve, denoiser, solution, system) for label, curve in kept[:most]]
    with np.errstate(divide="ignore"):
        both = solution.estimate(np.log(solution.pool.in_states.astype(float)))
    accuracy = config.accuracy / system.kt
    missing = [_missing(each, config.windows.spacing) for each in found]
    more, needed = np.zeros(0), 0
    if found[0].sampled:
        more, needed = _more_windows(found, solution, both.variance_by_ensemble(0, 1), accuracy**2, system)
    left_out = [label for label, _ in kept[most:]]
    return Forecast(found, dropped, left_out, both.difference(0, 1), missing, more, needed, accuracy)


def _more_windows(
    found: Sequence[Outlook], solution: Solution, states_variance: np.ndarray, limit: float, system: System
) -> tuple[np.ndarray, int]:
    """Where along the first of some curves windows lower the variance of its barrier and of B - A to a limit.

    Or as far towards it as twice the samples go: how much more are needed these do not say well.

    Args:
        found: along the curves.
        solution: of all samples.
        states_variance: what the samples of each ensemble add to the variance of B - A [kT^2], shape (n_ensembles,).
        limit: of both variances [kT^2].
        system: of the run.

    Returns:
        shares of the curve's length, ascending, and how many windows would reach the limit.
    """
    curve, share = nearest_places(found, solution.pool, system)
    own = curve == 0
    stratum = np.minimum((share[own] * _STRATA).astype(int), _STRATA - 1)
    samples = np.bincount(stratum, solution.pool.counts[own], _STRATA)
    more = np.zeros(_STRATA)
    for variance in (found[0].profile.variance_by_ensemble, states_variance):
        if not np.isfinite(variance).all():
            continue
        room = max(limit - variance[~own].sum(), _LEAST_ROOM * limit)
        more = np.maximum(more, samples_wanted(np.bincount(stratum, variance[own], _STRATA), samples, room) - samples)
    windows = system.config.windows
    each, total = 2 * (windows.steps // windows.sample_every), more.sum()
    if total > (most := (_GROWTH - 1.0) * samples.sum()):
        more *= most / total
    return shares_along(np.ceil(more / each).astype(int)), int(np.ceil(total / each))


def _missing(found: Outlook, spacing: float) -> np.ndarray:
    """Shares of a curve, evenly spaced over the whole of it, at which samples are missing."""
    count = int(np.ceil(found.curve.length / spacing))
    nearest = np.round(np.linspace(0.0, count, len(found.effective))).astype(int)
    return np.unique(nearest[found.effective < _SAMPLED]) / count
