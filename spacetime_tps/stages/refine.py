"""Stage 4: rounds in which restrained windows along the geodesic correct the model that it came from.

A round simulates windows along the geodesics of the promising channels, weighs their samples and all earlier ones by
MBAR, trains the denoiser on from its last state and optimises the geodesics anew. It ends when barrier, posterior
variances and curve have stopped moving. Every round is a folder of its own; ``refined/`` takes the place of the
run's own model for all later stages.
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
from spacetime_tps.config import BasinsConfig
from spacetime_tps.errors import UserError
from spacetime_tps.files import read_arrays, read_json, write_arrays, write_json
from spacetime_tps.geometry.curve import FineCurve, evaluate, read_curves
from spacetime_tps.reporting import NullReporter
from spacetime_tps.representations import wrap
from spacetime_tps.stages.context import Context, StageResult, run_stage
from spacetime_tps.stages.folder import RunFolder
from spacetime_tps.stages.geodesic import geodesic
from spacetime_tps.stages.placement import Placed, explored, seen_in
from spacetime_tps.stages.sample import drawn_samples, variables_of_samples
from spacetime_tps.stages.train import load_denoiser, train
from spacetime_tps.stages.windows import states_difference, with_error

logger = logging.getLogger(__name__)

_CENTERS = 200
"""Points of a curve at which free energies are read, and at which two curves are compared."""
_FROM_SAMPLER = 20_000
"""Samples of the sampler at most that enter the pool."""
_SIGMAS = 2.0
"""Standard errors that a measured variance may be off beyond the tolerance."""


@dataclass(frozen=True)
class _Measured:
    """What windows along one geodesic say of it."""

    label: str
    windows: Placed
    compared: WindowComparison
    centers: np.ndarray
    force_evaluations: int


def refine(context: Context) -> StageResult:
    """Refine until nothing moves, or the rounds are over; write ``refined/`` and ``refinement.npz``."""
    config = context.config.refine
    if not config.rounds:
        raise UserError("refine.rounds is 0, so nothing is refined; give --set refine.rounds=5.")
    work = context.work_folder("refining")
    rows: list[dict[str, Any]] = []
    here, pool, going_on = context, None, True
    for number in range(1, config.rounds + 1):
        part = f"round_{number}"
        target, going_on = RunFolder(work / part), work.kept(part) and going_on
        if going_on:
            row, pool = read_json(target / "round.json"), Pool.load(target / "pool.npz")
        else:
            row, pool = _round(context, here, first_pool(context) if pool is None else pool, rows, target)
            work.keep(part)
        rows.append(row)
        barrier = row[f"barrier_{context.system.suffix}"]["value"]
        worst = {"refine/barrier": barrier, "refine/variance_ratio_max": row["variance_ratio_max"]}
        context.reporter.scalars(number, worst)
        logger.info("refine: %s", words_of(row, context))
        here = replace(context, folder=target)
        if row["converged"]:
            break
    if not rows[-1]["converged"]:
        logger.warning("refinement has not converged in %d rounds; raise refine.rounds", len(rows))
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
    summary = {"rounds": rows, "converged": rows[-1]["converged"]}
    return StageResult(summary, cost, words=f"{len(rows)} rounds, {words_of(rows[-1], context)}")


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
    if not isinstance(context.config.sampling, BasinsConfig):
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
    context: Context, here: Context, pool: Pool, before: list[dict[str, Any]], target: RunFolder
) -> tuple[dict[str, Any], Pool]:
    """Measure the model of ``here``, and make the next one in ``target``.

    Args:
        context: of the run.
        here: the model that is measured.
        pool: all samples so far.
        before: earlier rounds.
        target: folder of the next model.
    """
    system, config = context.system, context.config
    number = len(before) + 1
    measured = [_measure(context, here, label, curve, number) for label, curve in _promising(here)]
    for found in measured:
        pool = pool.joined(found.windows.pool(system))
    pool.save(target / "pool.npz")
    solution = solve(pool, system.molecular)
    level = config.geodesic.surface_log_snr
    read = (system.torsions, system.represented)
    profiles = {m.label: profile_along(solution, *read, m.centers, level) for m in measured}
    chosen = measured[0]
    drawn = drawn_samples(context).frames
    WeightedSamples(pool.features, solution.log_weights, drawn, 0).save(target / "samples.npz")
    fewer = {"steps": config.refine.training_steps, "learning_rate": config.refine.learning_rate}
    going_on = config.model_copy(update={"denoiser": config.denoiser.model_copy(update=fewer)})
    there = replace(
        context, folder=target, make_room=_nothing, reporter=NullReporter(), system=replace(system, config=going_on)
    )
    start = load_denoiser(here)
    run_stage(target, "train", lambda c: train(c, start), there)
    run_stage(target, "geodesic", geodesic, there)
    moved = _moved(chosen, there)
    row = {
        "chosen": chosen.label,
        f"barrier_{system.suffix}": _in_unit(profiles[chosen.label], system.kt),
        f"barriers_{system.suffix}": {label: _in_unit(p, system.kt) for label, p in profiles.items()},
        "ratios": chosen.compared.ratio.tolist(),
        "ratio_errors": (chosen.compared.error / chosen.compared.predicted).tolist(),
        "variance_ratio_max": float(np.exp(np.abs(np.log(chosen.compared.ratio)).max())),
        "wrong": int(chosen.compared.wrong.sum()),
        "windows": sum(len(m.windows.share) for m in measured),
        "stuck": sum(int(m.windows.stuck(system).sum()) for m in measured),
        "curve_moved_deg": moved,
        f"delta_f_states_{system.suffix}": states_difference(solution, system),
        "least_overlap": float(chosen.windows.overlaps(system).min()),
        "exchanges_accepted": chosen.windows.accepted,
        "force_evaluations": sum(m.force_evaluations for m in measured),
    }
    row["converged"] = _converged(row, before, context)
    write_json(target / "round.json", row)
    return row, pool


def _nothing() -> None:
    """A round's folder is new: there is nothing to make room for."""


def _promising(here: Context) -> list[tuple[str, FineCurve]]:
    """Geodesics of the channels that are simulated, best first."""
    config, system = here.config.refine, here.system
    rows = here.folder.record("geodesic")["summary"]["channels"]
    curves = list(read_curves(here.folder / "geodesic.npz", system.representation).items())
    heights = np.array([row[f"own_barrier_{system.suffix}"] for row in rows]) / system.kt
    near = np.flatnonzero(heights <= heights[0] + config.within_kt)[: config.channels]
    return [curves[k] for k in near]


def _measure(context: Context, here: Context, label: str, curve: FineCurve, number: int) -> _Measured:
    """Windows along one geodesic, from frames of two quick paths along it."""
    denoiser, name = load_denoiser(here), f"refine {number} {label}"
    windows, _, cost = explored(context, denoiser, curve, name, context.config.refine.exchange_every)
    compared = windows.compared(context.system, evaluate(denoiser, torch.from_numpy(windows.natural)))
    return _Measured(label, windows, compared, _centers(curve, here), cost)


def _centers(curve: FineCurve, of: Context) -> np.ndarray:
    """Posterior means [rad] at equal steps of a curve's length, shape (_CENTERS, n_torsions)."""
    representation = of.system.representation
    natural = representation.natural(torch.from_numpy(curve.at_constant_speed(_CENTERS)))
    return representation.center(evaluate(load_denoiser(of), natural).mean).numpy()


def _moved(chosen: _Measured, there: Context) -> float | None:
    """How far the new geodesic lies from the measured one [deg], root mean square; None if another channel won."""
    label, curve = _promising(there)[0]
    if label != chosen.label:
        return None
    away = wrap(_centers(curve, there) - chosen.centers)
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
