"""Stage 7: rate constants and unguided transition paths, by shots from windows on the ridges of the channels."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from scipy.spatial import KDTree

from spacetime_tps.analysis.committor import committor_spread
from spacetime_tps.analysis.path_metrics import channel_labels
from spacetime_tps.analysis.rates import SOUND_K, Rates, ShotEnsemble, Stay, pareto_k, rates_of, shot_ensemble
from spacetime_tps.boltzmann.pool import Pool, solve
from spacetime_tps.errors import UserError
from spacetime_tps.export.answer import rate_in_words
from spacetime_tps.export.trajectory import MoleculeWriter
from spacetime_tps.files import read_arrays, write_arrays, write_csv, write_text
from spacetime_tps.geometry.curve import FineCurve, evaluate, read_curves
from spacetime_tps.paths.ensemble import PathEnsemble
from spacetime_tps.seeds import generator
from spacetime_tps.shooting.chains import EngineRecipe, Observables
from spacetime_tps.shooting.engine import IN_B, NOWHERE
from spacetime_tps.shooting.path import ShotPath, pack
from spacetime_tps.shooting.shots import Shots
from spacetime_tps.stages.context import Context, StageResult
from spacetime_tps.stages.export import NOT_FOR_SCIENCE
from spacetime_tps.stages.paths import chosen_schedule
from spacetime_tps.stages.placement import explored
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
from spacetime_tps.stages.shoot import frame_interval
from spacetime_tps.stages.ties import free_walkers, windows_of_potential
from spacetime_tps.stages.train import load_denoiser
from spacetime_tps.stages.windows import WINDOW_SAMPLES
from spacetime_tps.systems import Molecule, System
from spacetime_tps.units import KCAL, eyring_barrier

logger = logging.getLogger(__name__)

FOLDER, WORK = "ensemble", "shooting_ridges"
"""Results, and rounds on their way to them."""
ENSEMBLE_PATHS = f"{FOLDER}/paths.npz"
"""Frames of the exported paths, in the order of ``exported`` of ``shots.npz``."""
NATURE_OF_SHOT_PATHS = (
    "Unguided trajectories in physical time: weighted as weights.csv says they are samples of the transition path "
    "ensemble of the stated dynamics, temperature and states."
)
_MOST_UNFINISHED = 0.01
"""Share of shots that reached no state above which the run warns."""
_GATHERED = 0.25
"""Ends of shots within this share of the distance between the states count as one place, in features."""
_TRANSITION_STATES = (0.4, 0.6)
_SHOWN_STATES = 100
_PROBED = 40
"""Frames of annealed paths from which trajectories tell where the ridge is."""
_SHORTER = 4
"""Times that windows along further channels are shorter than those along the chosen one."""
_SLOW = 0.1
"""Transition time over the life of a state above which it has none of its own."""


@dataclass(frozen=True)
class _Found:
    """What shots gave, and why there is no rate, if there is none."""

    shots: RidgeShots
    ensemble: ShotEnsemble
    rates: Rates | None
    reason: str


def transitions(context: Context) -> StageResult:
    """Shoot across the ridges, weigh what connects the states, and write ``shots.npz`` and ``ensemble/``."""
    config = context.config.transitions
    if not config.shots:
        context.make_room()
        write_arrays(context.folder / "shots.npz", weights=np.zeros(0))
        return StageResult(words="none, for transitions.shots is 0")
    try:
        recipe = _recipe(context)
    except UserError as error:
        context.make_room()
        write_arrays(context.folder / "shots.npz", weights=np.zeros(0))
        return StageResult({"shots": 0, "no_rates_because": str(error).rstrip(".")}, words=f"none: {error}")
    (label, curve), *others = _promising(context)
    paths, system = PathEnsemble.load(context.folder / "paths.npz"), context.system
    shooter = Shooter(system, recipe, config, context.config.seed, context.pool, context.work_folder(WORK))
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
    context.make_room()
    _write(context, found)
    context.folder.drop(WORK)
    summary = _summary(context, found, labels)
    summary["shared_ridge"] = [name for name, _ in others if name not in labels]
    return StageResult(summary, cost + shots.shots.force_evaluations, words=_words(context, found))


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
    about exp(-dF / kT) of what the best one does.
    """
    model, system = context.refined(), context.system
    curves = list(read_curves(model.folder / "geodesic.npz", system.representation).items())
    key = f"own_barrier_{system.suffix}"
    rows = model.folder.record("geodesic")["summary"]["channels"]
    heights = np.array([np.inf if row[key] is None else row[key] for row in rows], dtype=float) / system.kt
    near = np.flatnonzero(heights - heights.min() <= -np.log(context.config.transitions.least_flux))
    return [curves[k] for k in sorted({0, *near.tolist()})]


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
            placed, paths, more = explored(context, model, curve, name, steps=steps)
            along = placed.pool(context.system)
            frames.append(_frames_of(paths))
        pool, cost = pool.joined(along), cost + more
    return replace(ties, pool=pool), np.concatenate(frames), cost


def _weighed(context: Context, shots: RidgeShots, ties: _Ties) -> _Found:
    """The ensemble and the rates, or the reason why there are none."""
    system, space = context.system, ridge_space(context.system)
    points = points_of(system, shots.shots)
    ensemble = shot_ensemble(ties.pool, system.representation, shots.windows, space, shots.shots, points)
    if lost := lost_shots(system, shots.shots):
        return _Found(shots, ensemble, None, lost)
    if not ensemble.shots.paths:
        return _Found(shots, ensemble, None, f"none of {len(shots.shots)} shots connects the states")
    rates = rates_of(ensemble, ties.stays, frame_interval(context.config, context.config.transitions.frame_every))
    reason = _why_not(ensemble, rates, ties.stays)
    return _Found(shots, ensemble, None if reason else rates, reason)


def _why_not(ensemble: ShotEnsemble, rates: Rates, stays: tuple[Stay, Stay]) -> str:
    """Why rates by these shots would be none, in words; empty if they are sound."""
    shape = pareto_k(ensemble.weights)
    if np.isnan(shape):
        return f"only {len(ensemble.weights)} shots connect the states; raise transitions.shots"
    if shape > SOUND_K:
        return f"a few paths carry most of the weight (Pareto k {shape:.2f}); raise transitions.shots"
    if not all(stay.inside > 0.0 and np.isfinite(stay.error) for stay in stays):
        return "no free simulations stay in the states; raise windows.free_walkers"
    if not np.isfinite(rates.errors).all():
        return "ridge windows share no samples with the states; lower windows.spacing"
    if np.exp(rates.log_constants.max()) * rates.transition_time > _SLOW:
        return (
            "a state is left within the time of a transition: it is not metastable, and no rate constant describes it"
        )
    return ""


def lost_shots(system: System, shots: Shots) -> str:
    """Why too many shots reached no state for a rate, in words; empty if few did."""
    lost = int(shots.unfinished.sum())
    if lost <= len(shots.paths):
        return ""
    where = _in_words(system, gathering(system, shots))
    return (
        f"{lost} of {len(shots)} shots reached no state in transitions.max_steps and {len(shots.paths)} connect the "
        f"states; {where}: raise transitions.max_steps, or name that place as a state and take each step by itself"
    )


def gathering(system: System, shots: Shots) -> dict[str, Any]:
    """Where most of the trajectories that reached no state stopped: a share of them, and the mean of its variables."""
    space, variables = ridge_space(system), system.variables
    lost = (shots.ends == NOWHERE) & ~shots.inside[:, None] & (shots.stops != shots.variables[:, None]).any(axis=-1)
    stops = shots.stops[lost]
    features, ends = space.features(stops), space.features(variables(system.structures))
    reach = _GATHERED * float(np.linalg.norm(ends[1] - ends[0]))
    near = KDTree(features).query_ball_point(features, reach)
    together = features[max(near, key=len)]
    mean = together.mean(axis=0)
    names = [variables.names[k] for k in space.columns]
    at = mean if space.torsions is None else np.rad2deg(space.torsions.center(mean))
    return {"share": len(together) / len(stops), "at": dict(zip(names, at.tolist(), strict=True))}


def _in_words(system: System, found: dict[str, Any]) -> str:
    unit = "" if system.molecule is None else " deg"
    place = ", ".join(f"{name} {value:.3g}{unit}" for name, value in found["at"].items())
    return f"{found['share']:.0%} of these ends lie together near {place}"


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


def _summary(context: Context, found: _Found, labels: list[str]) -> dict[str, Any]:
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
        "nature": NATURE_OF_SHOT_PATHS,
    }
    if unfinished > _MOST_UNFINISHED:
        summary["gathering"] = gathering(context.system, shots)
        factor = 1.0 + unfinished / max(summary["connected_share"], 1.0 / len(shots))
        logger.warning(
            "%.1f %% of the shots reached no state in transitions.max_steps, %s: rates may be too low by a factor of "
            "up to %.2g",
            100 * unfinished,
            _in_words(context.system, summary["gathering"]),
            factor,
        )
    if shots.paths:
        summary["channels"] = _shares(context, ensemble)
        summary["committor_at_top"] = _at_top(context, found)
    if found.rates is not None:
        rates, time = found.rates, "ps" if context.system.molecule is not None else "reduced"
        summary |= {
            "rate_a_to_b": _constant(context, rates, 0),
            "rate_b_to_a": _constant(context, rates, 1),
            "flux": float(np.exp(rates.log_flux)),
            "population_a": float(rates.populations[0]),
            "population_b": float(rates.populations[1]),
            "accounted_population": rates.accounted,
            f"mean_transition_time_{time}": rates.transition_time,
        }
    return summary


def _at_top(context: Context, found: _Found) -> dict[str, Any]:
    """What both ends of the shots from fitted transition states say: is p_B one half there, and how widely spread?"""
    ends = found.shots.shots.ends[_near_half(context, found)]
    decided = (ends != NOWHERE).sum(axis=1)
    p_b = (ends == IN_B).sum(axis=1) / np.maximum(decided, 1)
    rng = generator(context.config.seed, "transitions", "committor")
    return {**committor_spread(p_b, decided, rng), "of": "points between 0.4 and 0.6 of the fitted committor"}


def _shares(context: Context, ensemble: ShotEnsemble) -> dict[str, float]:
    """Of the flux, by channel."""
    labels = np.array(_channels_of(context, ensemble.shots.paths))
    return {label: float(ensemble.weights[labels == label].sum()) for label in sorted(set(labels.tolist()))}


def _channels_of(context: Context, paths: list[ShotPath]) -> list[str]:
    """The way that each path takes around the angles that bound both states."""
    observables = Observables.of(context.system)
    moved = [observables.displacement(path.variables) for path in paths]
    return channel_labels(np.array(moved), context.system.turning) if moved else []


def _words(context: Context, found: _Found) -> str:
    shots = found.shots.shots
    words = (
        f"{len(shots.paths)} of {len(shots)} shots connect the states, {found.ensemble.effective:.0f} effective paths"
    )
    if found.rates is None:
        return f"{words}; no rates: {found.reason}"
    a_to_b, b_to_a = (rate_in_words(_constant(context, found.rates, side)) for side in (0, 1))
    return f"{words}; A to B {a_to_b}, B to A {b_to_a}"


def _write(context: Context, found: _Found) -> None:
    """Arrays, the table of weights, and for a molecule trajectories and transition states."""
    system, shots, weights = context.system, found.shots.shots, found.ensemble.weights
    folder, config = context.folder, context.config.transitions
    interval = frame_interval(context.config, config.frame_every)
    note = NOT_FOR_SCIENCE if context.config.preset == "quick" else None
    exported = _picked(weights, config.trajectories, generator(context.config.seed, "transitions", "exported"))
    names = {int(k): f"path_{number:04d}.dcd" for number, k in enumerate(exported)} if system.molecule else {}
    if system.molecule is not None:
        writer = MoleculeWriter(system.molecule.topology, system.structures[0])
        for k, name in names.items():
            writer.trajectory(folder / FOLDER / name, whole_frames(system.molecule, shots.paths[k].positions), interval)
        states = _transition_states(context, found)
        if len(states):
            text = writer.models(states, note)
            write_text(folder / FOLDER / "transition_states.pdb", text)
    observables = Observables.of(system)
    highest = [observables.max_free_energy(path.variables) for path in shots.paths]
    labels = _channels_of(context, shots.paths)
    time = "ps" if system.molecule is not None else "reduced"
    header = ["path", "weight", f"duration_{time}", "channel", f"max_free_energy_{system.suffix}", "file"]
    rows = [
        [k, weights[k], interval * (len(path) - 1), labels[k], highest[k], names.get(k, "")]
        for k, path in enumerate(shots.paths)
    ]
    write_csv(folder / FOLDER / "weights.csv", header, rows, note)
    if len(exported):
        write_arrays(folder / ENSEMBLE_PATHS, **pack([shots.paths[k] for k in exported]))
    windows = found.shots.windows
    write_arrays(
        folder / "shots.npz",
        weights=weights,
        log_factors=found.ensemble.log_factors,
        log_sums=found.ensemble.log_sums,
        exported=exported,
        shot=shots.shot,
        lengths=np.array([len(path) for path in shots.paths], dtype=int),
        path_variables=np.concatenate([path.variables for path in shots.paths]) if shots.paths else np.zeros((0, 0)),
        window=shots.window,
        walker=shots.walker,
        ends=shots.ends,
        inside=shots.inside,
        variables=shots.variables,
        direction=windows.direction,
        center=windows.center,
        stiffness=windows.stiffness,
        tilt=windows.tilt,
        curb=windows.curb,
        channel=found.shots.channel,
    )


def _picked(weights: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Numbers of different paths, drawn by their weights, in falling order of these."""
    some = np.flatnonzero(weights > 0.0)
    picked = rng.choice(some, min(count, len(some)), replace=False, p=weights[some]) if len(some) else some
    return picked[np.argsort(-weights[picked], kind="stable")]


def whole_frames(molecule: Molecule, positions: np.ndarray) -> np.ndarray:
    """Positions of all atoms, those of water at nought where they were not kept: no trajectory holds them."""
    atoms = molecule.topology.getNumAtoms()
    if positions.shape[1] == atoms:
        return positions
    whole = np.zeros((len(positions), atoms, 3), dtype=positions.dtype)
    whole[:, molecule.solute] = positions
    return whole


def _transition_states(context: Context, found: _Found) -> np.ndarray:
    """Points between 0.4 and 0.6 of the fitted committors, as Boltzmann has them, shape (n, n_atoms, 3)."""
    likely = _near_half(context, found)
    weights = np.exp(found.ensemble.solution.log_weights[-len(found.shots.shots) :])[likely]
    if not len(likely):
        return np.zeros((0, *found.shots.shots.positions.shape[1:]))
    rng = generator(context.config.seed, "transitions", "states")
    count = min(_SHOWN_STATES, len(likely))
    drawn = rng.choice(likely, count, replace=False, p=weights / weights.sum())
    return found.shots.shots.positions[drawn]


def _near_half(context: Context, found: _Found) -> np.ndarray:
    """Numbers of points whose committor lies between 0.4 and 0.6 by the fit to their channel's shots."""
    shots = found.shots
    features = ridge_space(context.system).features(shots.shots.variables)
    channel = shots.channel[shots.shots.window]
    p_b = np.select([channel == k for k in range(len(shots.committors))], [fit(features) for fit in shots.committors])
    low, high = _TRANSITION_STATES
    return np.flatnonzero((p_b >= low) & (p_b <= high) & ~shots.shots.inside)
