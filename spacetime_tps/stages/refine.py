"""Stage 4: rounds in which restrained windows along the geodesic correct the model that it came from.

A round simulates windows along the geodesics of the promising channels, weighs their samples and all earlier ones by
MBAR, trains the denoiser on from its last state and optimises the geodesics anew. Without an accuracy, windows stand
along all of these curves, until barrier, posterior variances and curve have stopped moving. With one, they stand where
samples are missing or reduce the errors most, until these are as small as wanted. Every round is a folder of its own;
``refined/`` takes the place of the run's own model for all later stages.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from spacetime_tps.analysis.free_energies import Profile, profile_along
from spacetime_tps.analysis.windows import WindowComparison
from spacetime_tps.boltzmann.pool import WITHIN_A, WITHIN_B, Pool, solve
from spacetime_tps.boltzmann.samples import WeightedSamples
from spacetime_tps.config import AdaptiveConfig, RunConfig
from spacetime_tps.errors import UserError
from spacetime_tps.files import read_arrays, read_json, write_arrays, write_json
from spacetime_tps.geometry.curve import FineCurve, evaluate
from spacetime_tps.reporting import NullReporter
from spacetime_tps.representations import wrap
from spacetime_tps.stages.budget import Budget
from spacetime_tps.stages.context import Context, StageResult, run_stage
from spacetime_tps.stages.folder import RunFolder
from spacetime_tps.stages.geodesic import geodesic
from spacetime_tps.stages.next_round import (
    ACCURATE,
    EVALUATIONS,
    FREE,
    ROUNDS,
    TIME,
    UNMOVED,
    Along,
    NextRound,
    curves_of,
    first_steps,
    promising,
)
from spacetime_tps.stages.outlook import CENTERS, relevant
from spacetime_tps.stages.placement import Placed, place_windows, quick_paths, seen_in
from spacetime_tps.stages.sample import drawn_samples, variables_of_samples
from spacetime_tps.stages.train import load_denoiser, train
from spacetime_tps.stages.windows import states_difference, with_error

logger = logging.getLogger(__name__)

_FROM_SAMPLER = 20_000
"""Samples of the sampler at most that enter the pool."""
_BELOW_KT = 1.0
"""What no sample has seen is taken for a plain, so far below the lowest barrier: a way across may be lower."""
_GOING_ON = {"starts": 4, "scout_steps": 100, "steps": 100}
"""Settings of the geodesic, at most, once there is a curve of an earlier round to go on from."""
_SIGMAS = 2.0
"""Standard errors that a measured variance may be off beyond the tolerance."""


@dataclass(frozen=True)
class _Measured:
    """What windows along one geodesic say of it."""

    windows: Placed
    compared: WindowComparison
    force_evaluations: int


def refine(context: Context) -> StageResult:
    """Run the rounds; write ``refined/`` and ``refinement.npz``."""
    config = context.config
    if not config.refine.rounds:
        raise UserError("refine.rounds is 0, so nothing is refined; give --set refine.rounds=5.")
    work, budget = context.work_folder("refining"), Budget.of(context)
    if config.accuracy is not None:
        work.take_from("refined")
    rows: list[dict[str, Any]] = []
    here, pool, going_on = context, first_pool(context), True
    while True:
        part = f"round_{len(rows) + 1}"
        target, going_on = RunFolder(work / part), going_on and work.kept(part)
        if going_on:
            row, pool = read_json(target / "round.json"), Pool.load(target / "pool.npz")
        else:
            following = NextRound.of(here, pool, rows)
            if (stopped := following.stopped_by(rows, budget, config)) is not None:
                break
            if len(rows) == 1 and budget.forbids(rows[0]["force_evaluations"], following.needed):
                _warn_of_budget(rows, following, budget, context)
            row, pool = _round(context, here, pool, following, rows, target)
            work.keep(part)
        rows.append(row)
        barrier = row[f"barrier_{context.system.suffix}"]["value"]
        worst = {"refine/barrier": barrier, "refine/variance_ratio_max": row["variance_ratio_max"]}
        context.reporter.scalars(len(rows), worst)
        logger.info("refine: %s", words_of(row, context))
        here = replace(context, folder=target)
    _warn(stopped, rows, following, budget, context)
    context.make_room()
    context.folder.promote(work.name, "refined")
    suffix = context.system.suffix
    write_arrays(
        context.folder / "refinement.npz",
        rounds=np.array(len(rows)),
        barrier=np.array([row[f"barrier_{suffix}"]["value"] for row in rows]),
        barrier_error=np.array([row[f"barrier_{suffix}"]["error"] for row in rows], dtype=float),
        variance_ratios=np.array([[min(row["ratios"]), max(row["ratios"])] for row in rows]),
    )
    cost = sum(row["force_evaluations"] for row in rows)
    summary = {
        "rounds": rows,
        "converged": stopped in (ACCURATE, UNMOVED),
        "stopped_because": stopped,
        "left_out": [] if following.ahead is None else following.ahead.left_out,
    }
    return StageResult(summary, cost, words=f"{len(rows)} rounds, {words_of(rows[-1], context)}")


def _warn(stopped: str, rows: list[dict[str, Any]], following: NextRound, budget: Budget, context: Context) -> None:
    """Say why the rounds ended, unless all is well, and what they left out."""
    if stopped == ROUNDS:
        logger.warning("refinement has not converged in %d rounds; raise refine.rounds", len(rows))
    if stopped == FREE:
        logger.warning(
            "no windows lower the errors any further, which are not within accuracy: what is left comes from the free "
            "simulations of both states; raise sampling.time"
        )
    if stopped == TIME:
        logger.warning("max_time ended the rounds before the errors were within accuracy; raise it, and --resume")
    if stopped == EVALUATIONS:
        _warn_of_budget(rows, following, budget, context)
    if following.ahead is not None and following.ahead.left_out:
        logger.warning(
            "%d channels that may matter were never simulated (%s): raise refine.channels",
            len(following.ahead.left_out),
            ", ".join(following.ahead.left_out),
        )


def _warn_of_budget(rows: list[dict[str, Any]], following: NextRound, budget: Budget, context: Context) -> None:
    """Say after the first round, and when it ends the rounds, what the accuracy would take."""
    spent = budget.others + sum(row["force_evaluations"] for row in rows)
    logger.warning(
        "an accuracy of %g kJ/mol would need about %s force evaluations in all, by what round %d knows: raise "
        "max_evaluations, and --resume",
        context.config.accuracy,
        f"{spent + following.needed:,}",
        len(rows),
    )


def words_of(row: dict[str, Any], context: Context) -> str:
    """A round in one line."""
    system = context.system
    barrier, states = row[f"barrier_{system.suffix}"], row[f"delta_f_states_{system.suffix}"]
    words = f"{row['chosen']}, barrier {with_error(barrier, system)}, "
    words += f"variance within a factor {row['variance_ratio_max']:.2f}"
    return words if states is None else f"{words}, B-A {with_error(states, system)}"


def first_pool(context: Context) -> Pool:
    """The samples of the run: of both states, each an ensemble of its own, or of a sampler that saw everything."""
    system = context.system
    parameters = system.representation.n_parameters
    samples = drawn_samples(context)
    variables = variables_of_samples(context)
    seen = seen_in(system, variables, np.zeros((len(variables), 0, 3)))
    walker = read_arrays(context.folder / "torsions.npz", ("walker",))["walker"]
    if not isinstance(context.config.sampling, AdaptiveConfig):
        every = -(-len(walker) // _FROM_SAMPLER)
        some = slice(None, None, every)
        return Pool.of_sampler(seen[some], samples.log_weights[some], walker[some], parameters)
    in_a = walker < context.config.sampling.walkers
    ends = [
        Pool.of_walkers(state, seen[rows], walker[rows], parameters)
        for state, rows in ((WITHIN_A, in_a), (WITHIN_B, ~in_a))
    ]
    return ends[0].joined(ends[1])


def _round(
    context: Context, here: Context, pool: Pool, following: NextRound, before: list[dict[str, Any]], target: RunFolder
) -> tuple[dict[str, Any], Pool]:
    """Measure the model of ``here``, and make the next one in ``target``.

    Args:
        context: of the run.
        here: the model that is measured.
        pool: all samples so far.
        following: what is simulated.
        before: earlier rounds.
        target: folder of the next model.
    """
    system, config = context.system, context.config
    number = len(before) + 1
    measured = [found for along in following.curves for found in _measure(context, here, along, number)]
    for found in measured:
        pool = pool.joined(found.windows.pool(system))
    pool.save(target / "pool.npz")
    solution = answer = solve(pool, system.molecular)
    dropped: dict[str, float] = {}
    if config.accuracy is not None:
        used, dropped = relevant(curves_of(here), load_denoiser(here), pool, system)
        answer = solve(used, system.molecular)
    read, level = (system.torsions, system.represented), config.geodesic.surface_log_snr
    curves = {label: _centers(curve, here) for label, curve, _ in promising(here) if label not in dropped}
    profiles = {label: profile_along(answer, *read, centers, level) for label, centers in curves.items()}
    drawn = drawn_samples(context).frames
    WeightedSamples(pool.features, solution.log_weights, drawn, 0).save(target / "samples.npz")
    lowest = min((p.barrier for p in profiles.values() if np.isfinite(p.error)), default=0.0)
    model = replace(system, config=_going_on(config, lowest, first=not before))
    there = replace(context, folder=target, make_room=_nothing, reporter=NullReporter(), system=model)
    start = load_denoiser(here)
    run_stage(target, "train", lambda c: train(c, start), there)
    known = {label: curve for label, curve, _ in curves_of(here)} if before else {}
    run_stage(target, "geodesic", lambda c: geodesic(c, known), there)
    chosen = next(iter(curves))
    row = {
        "chosen": chosen,
        f"barrier_{system.suffix}": _in_unit(profiles[chosen], system.kt),
        f"barriers_{system.suffix}": {label: _in_unit(p, system.kt) for label, p in profiles.items()},
        **_of_windows(measured),
        "stuck": sum(int(m.windows.stuck(system).sum()) for m in measured),
        "curve_moved_deg": _moved(chosen, curves[chosen], there),
        f"delta_f_states_{system.suffix}": states_difference(answer, system),
        "least_overlap": float(measured[0].windows.overlaps(system).min(initial=1.0)),
        "exchanges_accepted": measured[0].windows.accepted,
        "force_evaluations": sum(m.force_evaluations for m in measured),
        "dropped": dropped,
    }
    row["converged"] = _converged(row, before, context)
    write_json(target / "round.json", row)
    return row, pool


def _going_on(config: RunConfig, lowest: float, first: bool) -> RunConfig:
    """Settings of the next model, which goes on from the last one, after a round whose lowest barrier [kT] is known."""
    training = {"steps": config.refine.training_steps, "learning_rate": config.refine.learning_rate}
    changed: dict[str, Any] = {"denoiser": config.denoiser.model_copy(update=training)}
    if not first:
        search = {key: min(getattr(config.geodesic, key), most) for key, most in _GOING_ON.items()}
        changed["geodesic"] = config.geodesic.model_copy(update=search)
    if isinstance(config.sampling, AdaptiveConfig):
        plain = max(config.sampling.background_kt, lowest - _BELOW_KT)
        changed["sampling"] = config.sampling.model_copy(update={"background_kt": plain})
    return config.model_copy(update=changed)


def _of_windows(measured: list[_Measured]) -> dict[str, Any]:
    """How the windows along the first of the curves compare with the model, and how many there are of all."""
    compared = measured[0].compared
    return {
        "ratios": compared.ratio.tolist(),
        "ratio_errors": (compared.error / compared.predicted).tolist(),
        "variance_ratio_max": float(np.exp(np.abs(np.log(compared.ratio)).max())),
        "wrong": int(compared.wrong.sum()),
        "windows": sum(len(m.windows.share) for m in measured),
    }


def _nothing() -> None:
    """A round's folder is new: there is nothing to make room for."""


def _measure(context: Context, here: Context, along: Along, number: int) -> list[_Measured]:
    """Windows along one geodesic, from frames of two quick paths along it."""
    denoiser, name, config = load_denoiser(here), f"refine {number} {along.label}", context.config
    paths = quick_paths(context, denoiser, along.curve, name)
    cost, found = int(paths.force_evaluations.sum()), []
    for shares, steps, which in ((along.first, first_steps(config), ""), (along.more, config.windows.steps, ", more")):
        if shares is not None and not len(shares):
            continue
        windows = place_windows(
            context, along.curve, denoiser, paths, f"{name}{which}", exchange_every=config.refine.exchange_every,
            steps=steps, shares=shares,
        )  # fmt: skip
        compared = windows.compared(context.system, evaluate(denoiser, torch.from_numpy(windows.natural)))
        found.append(_Measured(windows, compared, cost + windows.force_evaluations))
        cost = 0
    return found


def _centers(curve: FineCurve, of: Context) -> np.ndarray:
    """Posterior means [rad] at equal steps of a curve's length, shape (CENTERS, n_torsions)."""
    representation = of.system.representation
    natural = representation.natural(torch.from_numpy(curve.at_constant_speed(CENTERS)))
    return representation.center(evaluate(load_denoiser(of), natural).mean).numpy()


def _moved(chosen: str, centers: np.ndarray, there: Context) -> float | None:
    """How far the new geodesic lies from the measured one [deg], root mean square; None if another channel won."""
    label, curve, _ = promising(there)[0]
    if label != chosen:
        return None
    away = wrap(_centers(curve, there) - centers)
    return float(np.rad2deg(np.sqrt(np.square(away).sum(axis=-1).mean())))


def _in_unit(profile: Profile, kt: float) -> dict[str, float]:
    return {"value": kt * profile.barrier, "error": kt * profile.error}


def _converged(row: dict[str, Any], before: list[dict[str, Any]], context: Context) -> bool:
    """Whether nothing has moved since the round before, and the new curve is where the windows were."""
    config, key = context.config.refine, f"barrier_{context.system.suffix}"
    off = np.abs(np.array(row["ratios"]) - 1.0) - _SIGMAS * np.array(row["ratio_errors"])
    if not before or before[-1]["chosen"] != row["chosen"] or row["curve_moved_deg"] is None:
        return False
    step = abs(row[key]["value"] - before[-1][key]["value"]) / context.system.kt
    return bool(
        step <= config.barrier_tolerance_kt
        and off.max() <= config.variance_tolerance
        and np.deg2rad(row["curve_moved_deg"]) <= config.curve_tolerance
    )
