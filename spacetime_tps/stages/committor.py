"""Committors of frames: fresh trajectories from each, and which state they reach first; no stage of the chain."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spacetime_tps.analysis.committor import Committor, committor, committor_spread, explained_share, half_at
from spacetime_tps.config import RunConfig
from spacetime_tps.errors import UserError
from spacetime_tps.export import figures
from spacetime_tps.export.trajectory import MoleculeWriter
from spacetime_tps.files import write_csv, write_json
from spacetime_tps.geometry.smoothed import SmoothedDensity
from spacetime_tps.paths.ensemble import PathEnsemble
from spacetime_tps.potentials import FreeEnergySurface
from spacetime_tps.representations.torsions import wrap
from spacetime_tps.run_log import versions
from spacetime_tps.seeds import generator
from spacetime_tps.shooting.fates import fates_of
from spacetime_tps.stages.context import Context, opened
from spacetime_tps.stages.export import NOT_FOR_SCIENCE, SCHEMA_VERSION
from spacetime_tps.stages.first_paths import frames_from_file, unphysical
from spacetime_tps.stages.folder import RunFolder
from spacetime_tps.stages.measure import recipe_of
from spacetime_tps.stages.paths import chosen_curve
from spacetime_tps.stages.train import load_denoiser
from spacetime_tps.topology import NamedTorsions, free_torsions
from spacetime_tps.units import shown_number

logger = logging.getLogger(__name__)

FOLDER = "committor"
_NAMED = 3
"""Torsions beside those of the curve that are named, the one that adds most first."""
_WORTH_A_WORD = 0.1


@dataclass(frozen=True)
class _Chosen:
    """Frames to shoot from.

    Attributes:
        frames: shape (n, ...).
        source: what they are, in words.
        along: curve parameter of each, shape (n,), if they are spread along the curve.
        top: curve parameter where the free energy along the curve is highest, if it was asked for.
    """

    frames: np.ndarray
    source: str
    along: np.ndarray | None = None
    top: float | None = None
    of_paths: bool = True


def committor_in(
    run: RunFolder,
    config: RunConfig,
    file: Path | None,
    overwrite: bool,
    say: Callable[[str], None] = logger.info,
    along: bool = False,
) -> dict[str, Any]:
    """Committors of the frames of a file, or of the annealed paths where their curve is highest; writes ``committor/``.

    Args:
        run: the run folder, whose lock the caller holds.
        config: as stored in it, but for the section ``committor``.
        file: trajectory of frames, or a ``.npy`` array of points.
        overwrite: delete what an earlier call left.
        say: is told when it is done.
        along: frames of the annealed paths between the states instead, at equal steps of the curve parameter.

    Raises:
        UserError: there are results already, or no frames.
    """
    target = run.path / FOLDER
    if run.own(FOLDER) and not overwrite:
        raise UserError(f"{target} holds earlier committors; --overwrite drops them.")
    started = time.perf_counter()
    run.check()
    with opened(run, config) as context:
        chosen = _frames(context, file, along)
        frames = chosen.frames
        recipe, settings = recipe_of(context), config.committor
        limit = max(1, settings.max_steps // recipe.frame_every)
        fates, cost = fates_of(recipe, frames, settings.shots, limit, config.seed, FOLDER, context.pool)
        run.previous.set_aside(run.own(FOLDER), done=[f"{FOLDER}/committor.json"])
        summary = _write(context, target, chosen, committor(fates), cost, time.perf_counter() - started)
    run.previous.settle()
    say(
        f"committor: {len(frames)} frames, {settings.shots} trajectories each, {cost:,} force evaluations; "
        f"{_said(summary)}, {summary['undecided']} undecided" + ("" if along else _decisive(summary["explained"]))
    )
    return summary


def _decisive(explained: dict[str, Any] | None) -> str:
    """The torsion that the curve lacks most, if there is one worth a word."""
    if explained is None or not explained["with"]:
        return ""
    own, best = explained["by"]["share"], explained["with"][0]
    if not best["share"] - own > _WORTH_A_WORD:
        return ""
    return (
        f"; {', '.join(explained['by']['torsions'])} explain {own:.0%} of the variance of its logit, "
        f"with {best['torsion']} {best['share']:.0%}"
    )


def _said(summary: dict[str, Any]) -> str:
    if (along := summary["along"]) is None:
        return _words(summary["spread_beyond_binomial"])
    at = along["half_at"]
    found = "p_B passes one half nowhere" if at is None else f"p_B is one half at curve parameter {at:.3f}"
    return f"{found}, the free energy highest at {along['highest_at']:.3f}"


def _words(spread: dict[str, float]) -> str:
    if not np.isfinite(spread["mean"]):
        return "too few trajectories reached a state"
    if not np.isfinite(spread["spread"]):
        return f"p_B {spread['mean']:.2f}"
    beyond = f"spread beyond binomial {shown_number(spread['spread'])} +- {shown_number(spread['spread_error'])}"
    return f"mean committor to B {spread['mean']:.2f} +- {shown_number(spread['mean_error'])}, {beyond}"


def _frames(context: Context, file: Path | None, along: bool) -> _Chosen:
    """Frames of a file, or of the annealed paths."""
    if file is not None:
        frames = frames_from_file(file, context.system)
        dynamics = context.dynamics() if context.system.molecule is not None else None
        if reason := unphysical(frames, context.system, dynamics):
            raise UserError(f"{file} holds frames that are not physical: {reason}.")
        return _Chosen(frames[_spread(context, len(frames))], file.name, of_paths=False)
    if not context.folder.finished("paths"):
        raise UserError(
            f"{context.folder.path} has no annealed paths; run its stages up to 'paths' first, or give --frames."
        )
    paths = PathEnsemble.load(context.folder / "paths.npz")
    top, what = _top(context)
    if along:
        wanted = np.linspace(*_between_states(context, paths), context.config.committor.frames)
        rows = np.arange(len(wanted)) % len(paths)
        nearest = np.abs(paths.curve_parameter[rows] - wanted[:, None]).argmin(axis=1)
        frames, at = paths.frames[rows, nearest].astype(float), paths.curve_parameter[rows, nearest]
        return _Chosen(frames, "annealed paths at equal steps of the curve parameter between the states", at, top)
    nearest = np.abs(paths.curve_parameter - top).argmin(axis=1)
    frames = paths.frames[np.arange(len(paths)), nearest].astype(float)
    source = f"annealed paths at curve parameter {top:.3f}, where the {what} along the geodesic is highest"
    return _Chosen(frames[_spread(context, len(frames))], source)


def _spread(context: Context, count: int) -> np.ndarray:
    """Numbers of at most as many of ``count`` frames as configured."""
    return np.unique(np.linspace(0, count - 1, min(context.config.committor.frames, count)).astype(int))


def _between_states(context: Context, paths: PathEnsemble) -> tuple[float, float]:
    """Curve parameters at which paths leave A for good and enter B, the median over paths.

    Raises:
        UserError: no path has a frame outside both states.
    """
    outside = np.logical_not(context.system.in_states(paths.variables).any(axis=-1))
    crossing = [at[mine] for at, mine in zip(paths.curve_parameter, outside, strict=True) if mine.any()]
    if not crossing:
        raise UserError("No annealed path has a frame between the states; raise paths.frames, and run 'paths' again.")
    return float(np.median([at.min() for at in crossing])), float(np.median([at.max() for at in crossing]))


def _top(context: Context) -> tuple[float, str]:
    """Curve parameter where the free energy along the chosen curve is highest, and which free energy that is."""
    system, model = context.system, context.refined()
    curve = chosen_curve(model)
    surface = system.reference
    if surface is None and (model.folder / "surface.npz").is_file():
        surface = FreeEnergySurface.load(model.folder / "surface.npz")
    means, what = system.representation.center(curve.mean), "free energy at the posterior mean"
    if surface is not None:
        height = surface(means)
    else:  # at one level everywhere: that of the curve itself changes along it, and with it what it smooths over
        level = context.config.geodesic.surface_log_snr
        density = SmoothedDensity(load_denoiser(model), system.representation)
        with torch.no_grad():
            height = density.free_energy(torch.from_numpy(system.representation.location(curve.mean)), level).numpy()
        what = f"denoiser's {what}, smoothed at log-SNR {level:g},"
    travelled = np.concatenate([[0.0], np.cumsum(np.sqrt(np.maximum(curve.chords, 0.0)))])
    return float(travelled[int(np.argmax(height))] / travelled[-1]), what


def _explained(context: Context, frames: np.ndarray, found: Committor) -> dict[str, Any] | None:
    """What decides the committor of the frames: the curve's own torsions, and what each other torsion adds to them."""
    system = context.system
    if system.molecule is None:
        return None
    own = NamedTorsions(system.torsions.block_names, np.array(system.torsions.quadruples))
    others = free_torsions(system.molecule.topology, system.torsions.quadruples)

    def turned(torsions: NamedTorsions) -> np.ndarray:
        """From their circular means."""
        angles = torsions.angles(frames)
        return wrap(angles - np.angle(np.exp(1j * angles).mean(axis=0)))

    base = turned(own)
    shares = [explained_share(found.p_b, found.decided, np.column_stack([base, column])) for column in turned(others).T]
    order = np.argsort(-np.nan_to_num(shares, nan=-np.inf), kind="stable")[:_NAMED]
    return {
        "by": {"torsions": own.names, "share": explained_share(found.p_b, found.decided, base)},
        "with": [{"torsion": others.names[k], "share": shares[k]} for k in order],
    }


def _along(chosen: _Chosen, found: Committor) -> dict[str, float | None]:
    """Where along the curve the committor is one half, and where the free energy is highest."""
    assert chosen.along is not None
    at = half_at(chosen.along, found.p_b, found.decided)
    return {"half_at": at if np.isfinite(at) else None, "highest_at": chosen.top}


def _write(
    context: Context, target: Path, chosen: _Chosen, found: Committor, cost: int, seconds: float
) -> dict[str, Any]:
    system, config, frames = context.system, context.config, chosen.frames
    note = NOT_FOR_SCIENCE if config.preset == "quick" else None
    rng = generator(config.seed, FOLDER, "bootstrap")
    values = system.variables.shown(system.variables(frames))
    rows = [
        [k, *values[k], found.p_b[k], found.error[k], int(found.decided[k]), int(found.undecided[k])]
        for k in range(len(frames))
    ]
    header = ["frame", *system.variables.columns, "p_b", "error", "decided", "undecided"]
    if chosen.along is not None:
        header, rows = [*header, "curve_parameter"], [[*row, at] for row, at in zip(rows, chosen.along, strict=True)]
    write_csv(target / "committor.csv", header, rows, note)
    counts, edges = np.histogram(found.p_b[found.decided > 0], bins=10, range=(0.0, 1.0))
    if system.molecule is not None:
        writer = MoleculeWriter(system.molecule.topology, system.structures[0])
        writer.structure(target / "topology.pdb", note)
        writer.trajectory(target / "frames.dcd", frames, 1.0)
    decided = found.decided > 0
    if chosen.along is not None and decided.any():
        along = figures.committor_along_figure(chosen.along[decided], found.p_b[decided], found.error[decided])
        figures.save(along, target / "committor.png", note)
    elif decided.any():
        figures.save(figures.committor_figure(found.p_b[decided]), target / "committor.png", note)
    summary = {
        "schema_version": SCHEMA_VERSION,
        "system": config.name,
        "seed": config.seed,
        "for_science": config.preset != "quick",
        "definition": config.system.model_dump(mode="json"),
        "settings": config.committor.model_dump(mode="json"),
        "representation": system.center_names,
        "frames": chosen.source,
        "paths": context.folder.paths_digest() if chosen.of_paths else None,
        "count": len(frames),
        "histogram": {"edges": edges, "counts": counts},
        "spread_beyond_binomial": committor_spread(found.p_b, found.decided, rng),
        "explained": _explained(context, frames, found),
        "along": None if chosen.along is None else _along(chosen, found),
        "undecided": int(found.undecided.sum()),
        "force_evaluations": cost,
        "wall_seconds": {"committor": round(seconds, 2)},
        "versions": versions(),
        "files": context.folder.digests_within(target, "*.dcd", "*.pdb", "*.csv", "*.png"),
    }
    write_json(target / "committor.json", summary)
    return summary
