"""Stage 5: annealed Langevin paths along the chosen geodesic."""

from __future__ import annotations

import logging

import numpy as np
import torch

from spacetime_tps.analysis.work import WorkSummary, summarise_work
from spacetime_tps.diffusion.exact import GridDenoiser
from spacetime_tps.files import require_finite
from spacetime_tps.geometry.curve import FineCurve, read_curves
from spacetime_tps.paths.ensemble import PathEnsemble
from spacetime_tps.paths.molecular import anneal_molecule
from spacetime_tps.paths.overdamped import anneal_toy
from spacetime_tps.paths.schedule import Schedule, schedule_along
from spacetime_tps.representations import Identity, Torsions
from spacetime_tps.seeds import openmm_seed, torch_seed
from spacetime_tps.stages.context import Context, StageResult
from spacetime_tps.stages.train import load_denoiser

logger = logging.getLogger(__name__)


def paths(context: Context) -> StageResult:
    """Run the paths, doubling their length until the dissipated work holds; write ``paths.npz``."""
    config = context.config.paths
    schedule = chosen_schedule(context)
    steps, cost, rounds = config.steps_per_point, 0, []
    for doubling in range(config.max_doublings + 1):
        ensemble = anneal(context, schedule, steps, "paths", doubling)
        require_finite(
            "The paths are", "lower the time step or geodesic.log_snr_end", ensemble.frames, ensemble.work_kt
        )
        cost += int(ensemble.force_evaluations.sum())
        work = work_of(ensemble, schedule)
        rounds.append({"steps_per_point": steps, "worst_dissipation_kt": work.worst_dissipation})
        if work.worst_dissipation <= config.max_dissipated_work_kt or doubling == config.max_doublings:
            break
        steps *= 2
    if work.worst_dissipation > config.max_dissipated_work_kt:
        logger.warning(
            "the paths dissipate %.1f kT, above the wanted %.1f: the restraint drags the system; "
            "raise paths.steps_per_point or paths.max_doublings",
            work.worst_dissipation,
            config.max_dissipated_work_kt,
        )
    for k, each in enumerate(ensemble.work_kt):
        highest = float(ensemble.max_potential_energy[k])
        context.reporter.scalars(k, {"paths/work_kt": float(each), "paths/max_potential_energy": highest})
    context.make_room()
    ensemble.save(context.folder / "paths.npz")
    summary = {
        "rounds": rounds,
        "steps_per_path": len(schedule.natural) * steps,
        "chord_sum": schedule.chord_sum,
        "work": vars(work),
        "eta_ends": schedule.natural[[0, -1]],
    }
    return StageResult(summary, cost)


def chosen_curve(context: Context) -> FineCurve:
    """The geodesic of the chosen channel."""
    return next(iter(read_curves(context.folder / "geodesic.npz", context.system.representation).values()))


def chosen_schedule(context: Context) -> Schedule:
    """The schedule of the chosen channel."""
    model, config = context.refined(), context.config.paths
    curve, denoiser = chosen_curve(model), load_denoiser(model)
    return schedule_along(curve, context.system.representation, denoiser, config.curve_points, config.schedule)


def anneal(context: Context, schedule: Schedule, steps: int, name: str, *keys: int) -> PathEnsemble:
    """Run the paths of a run's configuration along a schedule; ``name`` and ``keys`` name the random streams."""
    system, config, seed = context.system, context.config.paths, context.config.seed
    if system.molecule is None:
        return anneal_toy(system, schedule, config, steps, torch_seed(seed, name, *keys))

    def seed_of(path: int) -> int:
        return openmm_seed(seed, name, *keys, path)

    return anneal_molecule(system, context.dynamics(), schedule, config, steps, seed_of, context.pool, context.copies())


def work_of(ensemble: PathEnsemble, schedule: Schedule) -> WorkSummary:
    """Work summary over all paths: selecting those that arrived would bias the free-energy difference."""
    forward = ensemble.forward
    return summarise_work(ensemble.work_kt[forward], ensemble.work_kt[~forward], schedule.chord_sum)


def reference_delta_f(context: Context, eta_ends: np.ndarray) -> float | None:
    """Free-energy difference of the restrained ends, B minus A, on the reference surface [kT]."""
    if context.system.reference is None or not isinstance(context.system.representation, Torsions | Identity):
        return None
    exact = GridDenoiser.from_surface(context.system.representation, context.system.reference)
    log_partition = exact(torch.from_numpy(np.asarray(eta_ends))).log_partition
    assert log_partition is not None
    return float(log_partition[0] - log_partition[1])
