"""Stage 6: restrained windows along the chosen geodesic, which check the denoiser and measure the barrier."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spacetime_tps.analysis.free_energies import Profile, difference_of_states, least_overlap, profile_along, profile_of
from spacetime_tps.analysis.friction import Friction, friction_of
from spacetime_tps.analysis.rates import Stay
from spacetime_tps.analysis.windows import CLOSE, WindowComparison, remembered, slow_torsions, torsions_apart
from spacetime_tps.boltzmann.pool import EVERYWHERE, WITHIN_A, WITHIN_B, Pool, Solution, solve
from spacetime_tps.diffusion.denoiser import Denoiser
from spacetime_tps.files import write_arrays
from spacetime_tps.geometry.curve import FineCurve, evaluate
from spacetime_tps.paths.ensemble import PathEnsemble
from spacetime_tps.representations import Molecular, Representation, Torsions
from spacetime_tps.stages.context import Context, StageResult
from spacetime_tps.stages.next_round import curves_of
from spacetime_tps.stages.outlook import relevant
from spacetime_tps.stages.paths import chosen_curve
from spacetime_tps.stages.placement import Placed, mostly_sound, place_windows, recorder_of, seen_in, simulated
from spacetime_tps.stages.train import load_denoiser
from spacetime_tps.systems import System
from spacetime_tps.topology import free_torsions
from spacetime_tps.units import shown_number

logger = logging.getLogger(__name__)

WINDOW_SAMPLES = "window_samples.npz"
"""The pool of windows and free simulations."""
_CENTERS = 200
"""Points of the curve at which the windows' free energy is read."""
_BINS = 72
"""Of a collective variable's circle, or range."""
_FINE, _INTEGRATED = 400, 1600
"""Points of the curve between which its derivative is taken, and over which the model's mean is integrated."""
_LEAST_OVERLAP = 0.03
_NAMED = 3
"""Slow torsions at most."""


def windows(context: Context) -> StageResult:
    """Simulate windows at equal steps of the geodesic's length and write ``windows.npz``.

    They start from frames of annealed paths of either direction, so that what those drag along shows. With free
    simulations in both states they give the free-energy difference of the states. An analytic potential has no windows:
    its posteriors are known.
    """
    system, config = context.system, context.config.windows
    if system.molecule is None:
        context.make_room()
        write_arrays(context.folder / "windows.npz", curve_parameter=np.zeros(0))
        return StageResult(words="none, for the posteriors of an analytic potential are known")
    followed = context.refined()
    curve, denoiser = chosen_curve(followed), load_denoiser(followed)
    paths = PathEnsemble.load(context.folder / "paths.npz")
    represented = system.torsions.quadruples
    beside = free_torsions(system.molecule.topology, represented).about_other_bonds(represented)
    looks = place_windows(context, curve, denoiser, paths, "windows", config.look_every, watched=beside.quadruples)
    placed = looks.every(config.sample_every // config.look_every)
    own, stays, more = _between_states(context, placed.pool(system))
    pool = own if context.config.accuracy is None else _of_rounds(followed, denoiser).joined(own)
    alone = solve(own, system.molecular)
    solution = alone if pool is own else solve(pool, system.molecular)
    measured = _Measured(
        placed,
        placed.compared(system, evaluate(denoiser, torch.from_numpy(placed.natural))),
        solution,
        alone,
        _smoothed(context, curve, denoiser, solution),
        _friction(context, curve, placed.share, looks.held(system)),
        _profiles_of_windows(curve, denoiser, placed, solution, system.molecular),
        slow_torsions(beside, torsions_apart(placed.watched), placed.share)[:_NAMED],
    )
    for w, (share, ratio) in enumerate(zip(placed.share, measured.compared.ratio, strict=True)):
        context.reporter.scalars(w, {"windows/variance_ratio": float(ratio), "windows/curve_parameter": float(share)})
    _warn(measured, placed.stuck(system), isinstance(system.representation, Torsions))
    context.make_room()
    pool.save(context.folder / WINDOW_SAMPLES)
    write_arrays(context.folder / "windows.npz", **_arrays(context, measured), stays=stays)
    summary = _summary(context, measured)
    words = (
        f"variance within a factor {CLOSE:g} of the model's at {measured.compared.close.sum()} of "
        f"{len(placed.share)} windows, barrier {with_error(summary[f'barrier_{system.suffix}'], system)}"
    )
    return StageResult(summary, placed.force_evaluations + more, words=words)


@dataclass(frozen=True)
class _Measured:
    """What the windows gave.

    Attributes:
        placed: the windows and their samples.
        compared: their variance beside the model's.
        solution: MBAR over these windows, the free simulations, and where an accuracy is wanted all earlier rounds.
        alone: the same without earlier rounds.
        smoothed: free energy along the curve by it.
        friction: metric and relaxation times along the curve.
        profiles: A/kT at the windows by the model and by MBAR, shape (2, n_windows).
        slow: see ``slow_torsions``.
    """

    placed: Placed
    compared: WindowComparison
    solution: Solution
    alone: Solution
    smoothed: Profile
    friction: Friction
    profiles: np.ndarray
    slow: list[dict[str, Any]]


def _arrays(context: Context, found: _Measured) -> dict[str, np.ndarray]:
    system = context.system
    predicted, measured = system.kt * (found.profiles - found.profiles[:, :1])
    return {
        "curve_parameter": found.placed.share,
        "natural": found.placed.natural,
        "angles": found.placed.variables[..., system.represented].astype(np.float32),
        "predicted_variance": found.compared.predicted,
        "measured_variance": found.compared.measured,
        "measured_variance_error": found.compared.error,
        "predicted_profile": predicted,
        "measured_profile": measured,
        "smoothed_parameter": np.linspace(0.0, 1.0, _CENTERS),
        "smoothed_free_energy": system.kt * found.smoothed.free_energy,
        "overlap": found.alone.reweighted.overlap,
        "profiles": _profiles(context, found.solution),
        "metric": found.friction.metric,
        "relaxation_time": found.friction.relaxation,
    }


def _summary(context: Context, found: _Measured) -> dict[str, Any]:
    system = context.system
    predicted, measured = found.profiles
    return {
        "count": len(found.placed.share),
        "close_fraction": float(found.compared.close.mean()),
        "wrong": int(found.compared.wrong.sum()),
        "stuck": int(found.placed.stuck(system).sum()),
        "slow_torsions": found.slow,
        "points": _points(found.compared, found.placed.share, system.molecular),
        f"profile_rms_difference_{system.suffix}": system.kt * float(np.std(predicted - measured)),
        **_free_energies(context, found.solution, found.smoothed),
        "least_overlap": least_overlap(found.alone),
        f"delta_f_ends_{system.suffix}": _ends(context, found.solution, found.placed.natural),
        **_slowness(context, found.friction),
    }


def _smoothed(context: Context, curve: FineCurve, denoiser: Denoiser, solution: Solution) -> Profile:
    system = context.system
    dense = system.representation.natural(torch.from_numpy(curve.at_constant_speed(_CENTERS)))
    if isinstance(system.representation, Torsions):
        centers = system.representation.center(evaluate(denoiser, dense).mean).numpy()
    else:
        centers = _centers_seen(system, solution, dense.numpy())
    level = context.config.geodesic.surface_log_snr
    return profile_along(solution, system.torsions, system.represented, centers, level)


def _centers_seen(system: System, solution: Solution, natural: np.ndarray) -> np.ndarray:
    """Angles of the mean (cos, sin) of the torsions in the ensembles of eta, by MBAR, shape (n, n_torsions) [rad].

    A linear guess from few components says little of them, and the torsions of a mean structure are not their mean.
    """
    seen = system.torsions.features_of_angles(solution.pool.variables[:, system.represented])
    logs = solution.log_weights - system.molecular.reduced(natural, solution.pool.features)
    weights = np.exp(logs - logs.max(axis=1, keepdims=True))
    return system.torsions.center(weights @ seen / weights.sum(axis=1, keepdims=True))


def _profiles_of_windows(
    curve: FineCurve, denoiser: Denoiser, placed: Placed, solution: Solution, representation: Molecular
) -> np.ndarray:
    """A/kT at the windows by the model and by MBAR, shape (2, n_windows)."""
    everywhere = solution.reweighted.free_energies[solution.pool.confined == EVERYWHERE]
    by_mbar = torch.from_numpy(-everywhere[-len(placed.share) :])
    natural = torch.from_numpy(placed.natural)
    by_model = _log_partition(curve, denoiser, placed.share, representation)
    return torch.stack([representation.profile(natural, psi) for psi in (by_model, by_mbar)]).numpy()


def _log_partition(curve: FineCurve, denoiser: Denoiser, share: np.ndarray, representation: Molecular) -> Tensor:
    """psi at shares of a curve, up to a constant; of a model that does not know it the integral of mu . d eta."""
    known = evaluate(denoiser, representation.natural(torch.from_numpy(curve.at_shares(share)))).log_partition
    if known is not None:
        return known
    fine = np.union1d(np.linspace(0.0, 1.0, _INTEGRATED), share)
    natural = representation.natural(torch.from_numpy(curve.at_shares(fine)))
    mean = evaluate(denoiser, natural).mean
    rise = (0.5 * (mean[1:] + mean[:-1]) * natural.diff(dim=0)).sum(-1).cumsum(0).numpy()
    return torch.from_numpy(np.interp(share, fine, np.concatenate([[0.0], rise])))


def _free_energies(context: Context, solution: Solution, smoothed: Profile) -> dict[str, Any]:
    system, level = context.system, context.config.geodesic.surface_log_snr
    return {
        f"barrier_{system.suffix}": {
            "value": system.kt * smoothed.barrier,
            "error": system.kt * smoothed.error,
            "of": f"density smoothed at log-SNR {level:g}, largest climb along the geodesic",
        },
        f"delta_f_states_{system.suffix}": states_difference(solution, system),
    }


def _ends(context: Context, solution: Solution, natural: np.ndarray) -> dict[str, Any]:
    """What the work of the annealed paths says by Crooks' theorem, by the windows."""
    system = context.system
    ends = -system.molecular.reduced(natural[[0, -1]], solution.pool.features).T
    value, error = solution.estimate(ends).difference(0, 1)
    return {"value": system.kt * value, "error": system.kt * error, "of": "restrained end ensembles, B minus A"}


def _profiles(context: Context, solution: Solution) -> np.ndarray:
    """Free energy along every collective variable in a row.

    Returns:
        shape (n, 5): number of the variable, edges of the bin [rad, nm or plain], free energy and error in the
        system's unit.
    """
    system, rows = context.system, []
    for k in range(len(system.variables.names)):
        edges = np.linspace(-np.pi, np.pi, _BINS + 1)
        if k >= system.variables.n_angles:
            seen = solution.pool.variables[:, k]
            edges = np.linspace(seen.min(), np.nextafter(seen.max(), np.inf), _BINS + 1)
        found = profile_of(solution, k, edges)
        number = np.full(len(found.edges), float(k))
        values = (number, *found.edges.T, system.kt * found.free_energy, system.kt * found.error)
        rows.append(np.stack(values, axis=-1))
    return np.concatenate(rows)


def _slowness(context: Context, friction: Friction) -> dict[str, Any]:
    """How fast the windows relax, and what linear response expects of the annealed paths."""
    points, last = context.config.paths.curve_points, context.folder.record("paths")["summary"]["rounds"][-1]
    interval = last["steps_per_point"] * context.dynamics().time_step_ps
    return {
        "thermodynamic_length": friction.length,
        "relaxation_time_ps": friction.mean_relaxation,
        "dissipated_work_kt": {
            "predicted": friction.dissipation(points, interval),
            "if_always_relaxed": friction.length**2 / (2 * points),
            "of": "annealed paths, by linear response",
        },
    }


def states_difference(solution: Solution, system: System) -> dict[str, Any] | None:
    """Free energy of B minus that of A with its error, in the system's unit; None if a state has no sample."""
    if not solution.pool.in_states.any(axis=0).all():
        return None
    value, error = difference_of_states(solution)
    return {"value": system.kt * value, "error": system.kt * error, "of": "states, B minus A"}


def with_error(estimate: dict[str, Any], system: System) -> str:
    """A value and its error in words; windows that do not overlap leave the error unknown."""
    error = estimate["error"]
    known = f"{error:.2g}" if error is not None and np.isfinite(error) else "unknown"
    return f"{shown_number(estimate['value'], 1)} +- {known} {system.energy_unit}"


def _friction(context: Context, curve: FineCurve, share: np.ndarray, statistics: np.ndarray) -> Friction:
    """By T at looks at the windows, shape (n_windows, n_starts, n, n_parameters)."""
    velocity = velocity_along(curve, context.system.representation, share)
    interval = context.config.windows.look_every * context.dynamics().time_step_ps
    return friction_of(share, velocity, statistics, interval)


def velocity_along(curve: FineCurve, representation: Representation, share: np.ndarray) -> np.ndarray:
    """dη/ds at shares s of a curve, shape (n_windows, n_parameters).

    Its points are evenly spaced: between two that nearly coincide a difference would be rounding alone.
    """
    fine = np.linspace(0.0, 1.0, _FINE)
    natural = representation.natural(torch.from_numpy(curve.at_shares(fine))).numpy()
    slopes = np.gradient(natural, fine, axis=0)
    return np.stack([np.interp(share, fine, column) for column in slopes.T], axis=-1)


def _between_states(context: Context, windows: Pool) -> tuple[Pool, np.ndarray, int]:
    """The windows between free simulations in A and in B, as far as these stayed there; their stays, and their cost.

    Stays are (share inside, error of its logarithm) of A and of B, shape (2, 2); see ``Stay``.
    """
    system, config = context.system, context.config.windows
    if not config.free_walkers:
        return windows, np.full((2, 2), np.nan), 0
    free = np.zeros((2, system.representation.n_parameters))
    starts = np.repeat(system.structures[:, None], config.free_walkers, axis=1)
    found = simulated(context, free, starts, config.free_steps, "free simulations")
    recorded = recorder_of(system)
    seen = seen_in(system, recorded.variables(found.seen, system.variables), recorded.positions(found.seen))
    in_a, in_b = (Pool.of_state(k, seen[k], free.shape[1]) for k in (WITHIN_A, WITHIN_B))
    pool = in_a.joined(windows) if len(in_a) else windows
    stays = [Stay.of(seen.in_states[k, ..., k], seen.in_states[k, ..., 1 - k]) for k in (WITHIN_A, WITHIN_B)]
    told = np.array([[stay.inside, stay.error] for stay in stays])
    return pool.joined(in_b) if len(in_b) else pool, told, found.force_evaluations


def _of_rounds(followed: Context, denoiser: Denoiser) -> Pool:
    """What all rounds of refinement have sampled, but for windows along channels that do not matter."""
    pool = Pool.load(followed.folder / "pool.npz")
    return relevant(curves_of(followed), denoiser, pool, followed.system)[0]


def _points(compared: WindowComparison, share: np.ndarray, representation: Molecular) -> list[dict[str, Any]]:
    off = np.abs(np.log(compared.by_block))
    return [
        {
            "curve_parameter": float(share[w]),
            "predicted_variance": float(compared.predicted[w]),
            "measured_variance": float(compared.measured[w]),
            "error": float(compared.error[w]),
            "ratio": float(compared.ratio[w]),
            "worst_block": representation.block_names[int(off[w].argmax())],
            "worst_block_ratio": float(compared.by_block[w, off[w].argmax()]),
            "center_off_deg": float(np.rad2deg(np.abs(compared.center_off[w]).max())),
            "starts_apart_deg": float(np.rad2deg(compared.starts_apart[w])),
            "flag": "wrong" if compared.wrong[w] else "" if compared.close[w] else "off",
        }
        for w in range(len(share))
    ]


def _warn(found: _Measured, stuck: np.ndarray, extensible: bool) -> None:
    compared, share = found.compared, found.placed.share
    if stuck.any():
        logger.warning(
            "runs from either start do not meet in %d of %d windows (curve parameter %s), which are %s free energies: "
            "lower geodesic.low_variance, or raise windows.steps",
            stuck.sum(),
            len(share),
            ", ".join(f"{s:.2f}" for s in share[stuck]),
            "left out of" if mostly_sound(stuck) else "too many to be left out of",
        )
    if (least := least_overlap(found.alone)) < _LEAST_OVERLAP:
        logger.warning(
            "neighbouring windows share %.1g of their samples: free energies by windows are uncertain; "
            "lower windows.spacing",
            least,
        )
    if remembered({"count": len(share), "slow_torsions": found.slow}):
        logger.warning(
            "runs from either start lie apart by the torsion %s in %d of %d windows, which are too short for it: %s"
            "raise windows.steps",
            found.slow[0]["name"],
            found.slow[0]["windows"],
            len(share),
            "take it into the representation, or " if extensible else "",
        )
    if compared.wrong.any():
        where = ", ".join(f"{s:.2f}" for s in share[compared.wrong])
        logger.warning(
            "the denoiser is wrong at %d of %d windows (curve parameter %s): sample longer, or train longer",
            compared.wrong.sum(),
            len(share),
            where,
        )
