"""Stage 7: rate constants and unguided transition paths, by shots from windows on the ridges of the channels."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from spacetime_tps.analysis.rates import Rates, Stay, pareto_k, rates_of, shot_ensemble
from spacetime_tps.boltzmann.pool import Pool, solve
from spacetime_tps.errors import UserError
from spacetime_tps.export.answer import rate_in_words
from spacetime_tps.files import read_arrays, write_arrays
from spacetime_tps.geometry.curve import FineCurve, evaluate
from spacetime_tps.paths.ensemble import PathEnsemble
from spacetime_tps.shooting.chains import EngineRecipe
from spacetime_tps.shooting.engine import IN_B, NOWHERE
from spacetime_tps.stages.context import Context, StageResult, frame_interval
from spacetime_tps.stages.next_round import curves_of
from spacetime_tps.stages.no_rates import lost_shots, place_of, why_not
from spacetime_tps.stages.outlook import relevant
from spacetime_tps.stages.paths import chosen_schedule
from spacetime_tps.stages.placement import place_windows, quick_paths
from spacetime_tps.stages.ridge_rounds import (
    ROUNDS,
    RidgeShots,
    Shooter,
    Tube,
    covered,
    points_of,
    ridge_by_probes,
    ridge_by_samples,
    ridge_space,
    rounds_of_shots,
)
from spacetime_tps.stages.shot_files import NATURE_OF_EXPORTED_PATHS, NATURE_OF_SHOT_PATHS, Found, write_shots
from spacetime_tps.stages.ties import free_walkers, windows_of_potential
from spacetime_tps.stages.train import load_denoiser
from spacetime_tps.stages.windows import WINDOW_SAMPLES
from spacetime_tps.stages.work_folder import WorkFolder
from spacetime_tps.units import KCAL, eyring_barrier

logger = logging.getLogger(__name__)

WORK = "shooting_ridges"
"""Rounds on their way to results."""
_PROBED = 40
"""Frames of annealed paths from which trajectories tell where the ridge is."""
_MORE = 1.25
"""The run warns if it makes more than this many times the shots that were asked for."""
_SHORTER = 4
"""Times that windows along further channels are shorter than those along the chosen one."""


def transitions(context: Context) -> StageResult:
    """Shoot across the ridges, weigh what connects the states, and write ``shots.npz`` and ``ensemble/``."""
    config, work = context.config.transitions, context.work_folder(WORK)
    if not config.shots:
        return _none(context, work, StageResult(words="none, for transitions.shots is 0"))
    try:
        recipe = _recipe(context)
    except UserError as error:
        reason = {"shots": 0, "no_rates_because": str(error).rstrip(".")}
        return _none(context, work, StageResult(reason, words=f"none: {error}"))
    (label, curve), *others = _promising(context)
    paths, system = PathEnsemble.load(context.folder / "paths.npz"), context.system
    shooter = Shooter(system, recipe, config, context.config.seed, context.pool, work)
    ties = _ties(context, curve)
    solution = solve(ties.pool, system.representation)
    tube, frames = Tube.along(curve, solution, system), _frames_of(paths)
    ridge, probes = ridge_by_probes(shooter, _points_of(context), *_along(paths), tube)
    shots = rounds_of_shots(shooter, [(ridge or ridge_by_samples(tube, system), solution)], frames, logger.info)
    found = _weighed(context, shots, ties)
    cost, labels = ties.force_evaluations + probes, [label]
    model = load_denoiser(context.refined())
    apart = [each for each in others if not covered(each[1], model, found.ensemble.solution, system)]
    if apart:
        ties, frames, more = _further_ties(context, ties, apart)
        solution = solve(ties.pool, system.representation)
        ridges = [ridge_by_samples(Tube.along(other, solution, system), system) for _, other in apart]
        known = [(each, solution) for each in ridges]
        shots = shots.joined(rounds_of_shots(shooter, known, frames, logger.info, ROUNDS))
        found = _weighed(context, shots, ties)
        cost, labels = cost + more, [label, *(name for name, _ in apart)]
    if (made := len(shots.shots)) > _MORE * config.shots * len(labels):
        logger.warning(
            "%d shots were made: transitions.shots=%d is fewer than one of each walker of each window in each round",
            made,
            config.shots,
        )
    context.make_room()
    write_shots(context, found)
    work.drop()
    summary = _summary(context, found, labels)
    summary["shared_ridge"] = [name for name, _ in others if name not in labels]
    return StageResult(summary, cost + shots.shots.force_evaluations, words=_words(context, found))


def _none(context: Context, work: WorkFolder, result: StageResult) -> StageResult:
    """The files of a stage that has not shot."""
    context.make_room()
    write_arrays(context.folder / "shots.npz", weights=np.zeros(0))
    work.drop()
    return result


def _points_of(context: Context) -> np.ndarray:
    """Posterior means of the chosen curve by the model, in angles [rad] or coordinates, at equal steps of what the
    annealed paths go by."""
    representation = context.system.representation
    natural = torch.from_numpy(chosen_schedule(context).natural)
    return representation.center(evaluate(load_denoiser(context.refined()), natural).mean).numpy()


def _along(paths: PathEnsemble) -> tuple[np.ndarray, np.ndarray]:
    """Curve parameters at equal steps, and frames near them of paths of either direction."""
    wanted = np.linspace(0.0, 1.0, _PROBED)
    rows = np.arange(_PROBED) % len(paths)
    nearest = np.abs(paths.curve_parameter[rows] - wanted[:, None]).argmin(axis=1)
    return paths.curve_parameter[rows, nearest], paths.frames[rows, nearest].astype(float)


def _recipe(context: Context) -> EngineRecipe:
    """Of the unguided dynamics.

    Raises:
        UserError: masses are repartitioned.
    """
    dynamics = context.dynamics() if context.system.molecule is not None else None
    return EngineRecipe.of(context.system, dynamics, context.config.transitions.frame_every)


def _promising(context: Context) -> list[tuple[str, FineCurve]]:
    """Geodesics of the channels that may carry some of the flux, the chosen one first.

    By the barriers on the run's own samples, as Arrhenius has it: what a channel with a barrier higher by dF carries is
    about exp(-dF / kT) of what the best one does. Where rounds have measured the barriers, those that these let out are
    left out here, too.
    """
    model = context.refined()
    curves, dropped = curves_of(model), dict[str, float]()
    if context.config.accuracy is not None:
        dropped = relevant(curves, load_denoiser(model), Pool.load(model.folder / "pool.npz"), context.system)[1]
    highest = min(height for *_, height in curves) - np.log(context.config.transitions.least_flux)
    near = [(label, curve) for label, curve, height in curves if height <= highest and label not in dropped]
    return near if near and near[0][0] == curves[0][0] else [curves[0][:2], *near]


def _frames_of(paths: PathEnsemble) -> np.ndarray:
    """All frames of all paths, shape (n, n_atoms, 3) [nm] or (n, d)."""
    return paths.frames.reshape(-1, *paths.frames.shape[2:]).astype(float)


@dataclass(frozen=True)
class _Ties:
    """What ties ridge windows to the states.

    Attributes:
        pool: samples of windows along curves and of free simulations.
        stays: of these in A and in B.
        force_evaluations: of what was simulated for it.
    """

    pool: Pool
    stays: tuple[Stay, Stay]
    force_evaluations: int


def _ties(context: Context, curve: FineCurve) -> _Ties:
    """Windows along the chosen curve."""
    if context.system.molecule is None:
        free, stays, cost = free_walkers(context.system, context.config.seed)
        along, more = windows_of_potential(context.system, curve, context.config.seed, 0)
        return _Ties(free.joined(along), stays, cost + more)
    a, b = read_arrays(context.folder / "windows.npz", ("stays",))["stays"].tolist()
    return _Ties(Pool.load(context.folder / WINDOW_SAMPLES, "windows"), (Stay(*a), Stay(*b)), 0)


def _further_ties(context: Context, ties: _Ties, curves: list[tuple[str, FineCurve]]) -> tuple[_Ties, np.ndarray, int]:
    """Those of further channels besides, shorter ones, with frames along these, and what they cost."""
    pool, frames, cost = ties.pool, [], 0
    for number, (label, curve) in enumerate(curves, start=1):
        if context.system.molecule is None:
            along, more = windows_of_potential(context.system, curve, context.config.seed, number)
            frames.append(along.variables)
        else:
            model, name = load_denoiser(context.refined()), f"transitions {label}"
            steps = max(1, context.config.windows.steps // _SHORTER)
            paths = quick_paths(context, model, curve, name)
            placed = place_windows(context, curve, model, paths, name, steps=steps)
            along, more = placed.pool(context.system), placed.force_evaluations + int(paths.force_evaluations.sum())
            frames.append(_frames_of(paths))
        pool, cost = pool.joined(along), cost + more
    return replace(ties, pool=pool), np.concatenate(frames), cost


def _weighed(context: Context, shots: RidgeShots, ties: _Ties) -> Found:
    """The ensemble and the rates, or the reason why there are none."""
    system, space = context.system, ridge_space(context.system)
    points = points_of(system, shots.shots)
    ensemble = shot_ensemble(ties.pool, system.representation, shots.windows, space, shots.shots, points)
    if lost := lost_shots(system, shots.shots):
        return Found(system, shots, ensemble, None, lost)
    if not ensemble.shots.paths:
        return Found(system, shots, ensemble, None, f"none of {len(shots.shots)} shots connects the states")
    rates = rates_of(ensemble, ties.stays, frame_interval(context.config, context.config.transitions.frame_every))
    reason = why_not(ensemble, rates, ties.stays, system.time_unit)
    return Found(system, shots, ensemble, None if reason else rates, reason)


def _constant(context: Context, rates: Rates, side: int) -> dict[str, Any]:
    """A rate constant and its error; of a molecule per nanosecond."""
    log_k, error = float(rates.log_constants[side]), float(rates.errors[side])
    molecular = context.system.molecule is not None
    value = float(np.exp(log_k + (np.log(1000.0) if molecular else 0.0)))
    found: dict[str, Any] = {
        "value": value,
        "error": value * error,
        "error_of_log": error,
        "unit": "1/ns" if molecular else "1/reduced time",
    }
    if context.system.molecule is not None:
        barrier = eyring_barrier(log_k, context.system.molecule.dynamics.temperature_k)
        found |= {"eyring_barrier_kj_mol": barrier, "eyring_barrier_kcal_mol": barrier / KCAL}
    return found


def _summary(context: Context, found: Found, labels: list[str]) -> dict[str, Any]:
    shots, ensemble = found.shots.shots, found.ensemble
    unfinished = float(shots.unfinished.mean())
    summary: dict[str, Any] = {
        "shots": len(shots),
        "connected_share": len(shots.paths) / len(shots),
        "connected_share_by_round": dict(zip(labels, found.shots.connected, strict=True)),
        "unfinished_share": unfinished,
        "paths": len(shots.paths),
        "effective_paths": ensemble.effective,
        "largest_weight": float(ensemble.weights.max(initial=0.0)),
        "pareto_k": pareto_k(ensemble.weights),
        "no_rates_because": found.reason or None,
        "nature": f"{NATURE_OF_SHOT_PATHS}." if context.system.molecule is None else NATURE_OF_EXPORTED_PATHS,
    }
    if (gathered := found.gathering) is not None:
        summary["gathering"] = {"share": gathered.share, "at": gathered.at}
    if found.many_lost and found.rates is not None:
        factor = 1.0 + unfinished / summary["connected_share"]
        logger.warning(
            "%.1f %% of the shots reached no state in transitions.max_steps%s: rates may be too low by a factor of up "
            "to %.2g",
            100 * unfinished,
            "" if gathered is None else f", {gathered.words(context.system)}",
            factor,
        )
    if shots.paths:
        summary |= {"channels": _channels(found), "tubes": _tubes(found)}
        summary["committor_at_top"] = _at_top(found)
    if found.rates is not None:
        rates, time = found.rates, "ps" if context.system.molecule is not None else "reduced"
        summary |= {
            "rate_a_to_b": _constant(context, rates, 0),
            "rate_b_to_a": _constant(context, rates, 1),
            "flux": float(np.exp(rates.log_flux)),
            "population_a": float(rates.populations[0]),
            "population_b": float(rates.populations[1]),
            "accounted_population": rates.accounted,
            "accounted_population_error": rates.accounted_error,
            f"mean_transition_time_{time}": rates.transition_time,
            f"mean_transition_time_error_{time}": rates.transition_time_error,
            "transition_over_life": rates.transition_over_life,
        }
    return summary


def _at_top(found: Found) -> dict[str, Any]:
    """Is p_B one half at fitted transition states?

    By the mean over their shots: how p_B is spread over them both ends of a shot do not tell, since they share their
    velocities, so that one going to B makes it likely that the other goes to A.
    """
    ends = found.shots.shots.ends[found.near_half]
    decided = (ends != NOWHERE).sum(axis=1)
    p_b = ((ends == IN_B).sum(axis=1) / np.maximum(decided, 1))[decided > 0]
    error = float(p_b.std(ddof=1) / len(p_b) ** 0.5) if len(p_b) > 1 else float("nan")
    mean = float(p_b.mean()) if len(p_b) else float("nan")
    of = "points between 0.4 and 0.6 of the fitted committor"
    return {"frames": len(p_b), "mean": mean, "mean_error": error, "of": of}


def _channels(found: Found) -> dict[str, dict[str, float | None]]:
    """Shares of the flux and their errors, by channel."""
    labels = sorted(set(found.channels))
    return dict(zip(labels, _shares(found, [np.array(found.channels) == label for label in labels]), strict=True))


def _tubes(found: Found) -> list[dict[str, Any]]:
    """Shares of the flux, and where its paths cross the ridge, of every tube of every channel."""
    channels, space, weights = np.array(found.channels), ridge_space(found.system), found.ensemble.weights
    kinds = sorted(set(zip(found.channels, found.tubes.tolist(), strict=True)))
    members = [(channels == label) & (found.tubes == number) for label, number in kinds]
    rows = []
    for (label, number), own, share in zip(kinds, members, _shares(found, members), strict=True):
        if weights[own].any():
            mean = np.average(found.crossings[own], axis=0, weights=weights[own])
            rows.append({"channel": label, "tube": number, **share, "crosses_at": place_of(found.system, space, mean)})
    return rows


def _shares(found: Found, members: list[np.ndarray]) -> list[dict[str, float | None]]:
    """Of the flux through some paths each, shape (n_paths,), with standard errors; null where these are not known.

    They are not where there is nothing else: that no other path was found says little of how many there are.
    """
    weights = found.ensemble.weights
    some = [own.astype(float) for own in members if weights[own].any()]
    known = iter(found.ensemble.averages(some))
    averages = [next(known) if weights[own].any() else (0.0, np.inf) for own in members]
    sound = [np.isfinite(error) and weights[~own].any() for own, (_, error) in zip(members, averages, strict=True)]
    return [
        {"share": share, "error": error if is_known else None}
        for (share, error), is_known in zip(averages, sound, strict=True)
    ]


def _words(context: Context, found: Found) -> str:
    shots = found.shots.shots
    words = (
        f"{len(shots.paths)} of {len(shots)} shots connect the states, {found.ensemble.effective:.0f} effective paths"
    )
    if found.rates is None:
        return f"{words}; no rates: {found.reason}"
    a_to_b, b_to_a = (rate_in_words(_constant(context, found.rates, side)) for side in (0, 1))
    return f"{words}; A to B {a_to_b}, B to A {b_to_a}"
