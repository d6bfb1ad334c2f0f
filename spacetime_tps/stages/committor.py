"""Committors of frames: fresh trajectories from each, and which state they reach first; no stage of the chain."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spacetime_tps.analysis.committor import Committor, committor, committor_spread, explained_share
from spacetime_tps.config import RunConfig
from spacetime_tps.errors import UserError
from spacetime_tps.export import figures
from spacetime_tps.export.trajectory import MoleculeWriter
from spacetime_tps.files import read_arrays, write_csv, write_json
from spacetime_tps.geometry.curve import FineCurve
from spacetime_tps.geometry.smoothed import SmoothedDensity
from spacetime_tps.paths.ensemble import PathEnsemble
from spacetime_tps.potentials import FreeEnergySurface
from spacetime_tps.progress import progress_bar
from spacetime_tps.representations import Torsions
from spacetime_tps.representations.torsions import wrap
from spacetime_tps.seeds import generator
from spacetime_tps.shooting.chains import EngineRecipe
from spacetime_tps.shooting.engine import IN_A, IN_B
from spacetime_tps.shooting.first import still
from spacetime_tps.stages.context import Context, opened
from spacetime_tps.stages.export import NOT_FOR_SCIENCE, SCHEMA_VERSION, versions
from spacetime_tps.stages.first_paths import frames_from_file, unphysical
from spacetime_tps.stages.folder import RunFolder
from spacetime_tps.stages.measure import noise_seed, recipe_of
from spacetime_tps.stages.train import load_denoiser
from spacetime_tps.topology import NamedTorsions, free_torsions

logger = logging.getLogger(__name__)

FOLDER = "committor"
_NAMED = 3
"""Torsions beside those of the curve that are named, the one that adds most first."""
_WORTH_A_WORD = 0.1


@dataclass(frozen=True)
class _Shots:
    """Trajectories from some frames, picklable."""

    recipe: EngineRecipe
    frames: np.ndarray
    shots: int
    max_frames: int
    seeds: tuple[int, np.random.Generator]


def _shoot(task: _Shots) -> tuple[np.ndarray, int]:
    """Fates, shape (n_frames, n_shots), and the force evaluations of them."""
    noise, rng = task.seeds
    engine = task.recipe.build(noise)
    points = [still(frame, task.recipe) for frame in task.frames for _ in range(task.shots)]
    starts, _ = engine.starts(points, 0.0, rng)
    segments = engine.integrate(starts, np.full(len(points), task.max_frames), stop=True)
    fates = np.array([segment.state for segment in segments]).reshape(len(task.frames), task.shots)
    a, b = (state.contains(task.recipe.variables(task.frames)) for state in task.recipe.states)
    fates[a], fates[b] = IN_A, IN_B
    return fates, engine.force_evaluations


def committor_in(
    run: RunFolder,
    config: RunConfig,
    file: Path | None,
    overwrite: bool,
    say: Callable[[str], None] = logger.info,
) -> dict[str, Any]:
    """Committors of the frames of a file, or of the annealed paths where their curve is highest; writes ``committor/``.

    Args:
        run: the run folder, whose lock the caller holds.
        config: as stored in it, but for the section ``committor``.
        file: trajectory of frames, or a ``.npy`` array of points.
        overwrite: delete what an earlier call left.
        say: is told when it is done.

    Raises:
        UserError: there are results already, or no frames.
    """
    target = run.path / FOLDER
    if target.exists() and not overwrite:
        raise UserError(f"{target} holds earlier committors; --overwrite drops them.")
    started = time.perf_counter()
    with opened(run, config) as context:
        frames, source = _frames(context, file)
        recipe, settings = recipe_of(context), config.committor
        limit = max(1, settings.max_steps // recipe.frame_every)
        batches = [frames] if recipe.potential is not None else [frame[None] for frame in frames]
        tasks = [
            (
                _Shots(
                    recipe,
                    batch,
                    settings.shots,
                    limit,
                    (noise_seed(context, FOLDER, k), generator(config.seed, FOLDER, k)),
                ),
            )
            for k, batch in enumerate(batches)
        ]
        with progress_bar(len(tasks), "committors", "frame") as bar:
            results = [_shoot(*tasks[0])] if len(tasks) == 1 else context.pool.map(_shoot, tasks, bar)
        fates, cost = np.concatenate([fate for fate, _ in results]), sum(cost for _, cost in results)
        shutil.rmtree(target, ignore_errors=True)
        summary = _write(context, target, frames, committor(fates), source, cost, time.perf_counter() - started)
    say(
        f"committor: {len(frames)} frames, {settings.shots} trajectories each, {cost:,} force evaluations; "
        f"{_words(summary['spread_beyond_binomial'])}, {summary['undecided']} undecided"
        f"{_decisive(summary['explained'])}"
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


def _words(spread: dict[str, float]) -> str:
    if not np.isfinite(spread["mean"]):
        return "too few trajectories reached a state"
    if not np.isfinite(spread["spread"]):
        return f"p_B {spread['mean']:.2f}"
    beyond = f"spread beyond binomial {spread['spread']:.2f} +- {spread['spread_error']:.2f}"
    return f"mean committor to B {spread['mean']:.2f} +- {spread['mean_error']:.2f}, {beyond}"


def _frames(context: Context, file: Path | None) -> tuple[np.ndarray, str]:
    """Frames to shoot from, shape (n, ...), and what they are."""
    if file is not None:
        frames, source = frames_from_file(file, context.system), file.name
        dynamics = context.dynamics() if context.system.molecule is not None else None
        if reason := unphysical(frames, context.system, dynamics):
            raise UserError(f"{file} holds frames that are not physical: {reason}.")
    else:
        frames, source = _at_the_top(context)
    count = min(context.config.committor.frames, len(frames))
    chosen = np.unique(np.linspace(0, len(frames) - 1, count).astype(int))
    return frames[chosen], source


def _at_the_top(context: Context) -> tuple[np.ndarray, str]:
    """Of every annealed path the frame nearest to where the free energy along the chosen curve is highest."""
    folder, system = context.folder, context.system
    if not folder.finished("paths"):
        raise UserError(f"{folder.path} has no annealed paths; run its stages up to 'paths' first, or give --frames.")
    model = context.refined()
    data = read_arrays(model.folder / "geodesic.npz", ("coordinates", "natural", "mean", "block_variance"))
    curve = FineCurve(*(data[name][0] for name in ("coordinates", "natural", "mean", "block_variance")))
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
            height = density.free_energy(torch.from_numpy(means), level).numpy()
        what = f"denoiser's {what}, smoothed at log-SNR {level:g},"
    travelled = np.concatenate([[0.0], np.cumsum(np.sqrt(np.maximum(curve.chords, 0.0)))])
    top = float(travelled[int(np.argmax(height))] / travelled[-1])
    paths = PathEnsemble.load(folder / "paths.npz")
    nearest = np.abs(paths.curve_parameter - top).argmin(axis=1)
    frames = paths.frames[np.arange(len(paths)), nearest].astype(float)
    return frames, f"annealed paths at curve parameter {top:.3f}, where the {what} along the geodesic is highest"


def _explained(context: Context, frames: np.ndarray, found: Committor) -> dict[str, Any] | None:
    """What decides the committor of the frames: the curve's own torsions, and what each other torsion adds to them."""
    system = context.system
    if system.molecule is None or not isinstance(system.representation, Torsions):
        return None
    own = NamedTorsions(system.representation.block_names, np.array(system.representation.quadruples))
    others = free_torsions(system.molecule.topology, system.representation.quadruples)

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


def _write(
    context: Context, target: Path, frames: np.ndarray, found: Committor, source: str, cost: int, seconds: float
) -> dict[str, Any]:
    system, config = context.system, context.config
    note = NOT_FOR_SCIENCE if config.preset == "quick" else None
    rng = generator(config.seed, FOLDER, "bootstrap")
    angular = system.variables.angular
    values = system.variables(frames) * (180 / np.pi if angular else 1.0)
    names = [f"{name}_deg" if angular else name for name in system.variables.names]
    rows = [
        [k, *values[k], found.p_b[k], found.error[k], int(found.decided[k]), int(found.undecided[k])]
        for k in range(len(frames))
    ]
    write_csv(target / "committor.csv", ["frame", *names, "p_b", "error", "decided", "undecided"], rows, note)
    counts, edges = np.histogram(found.p_b[found.decided > 0], bins=10, range=(0.0, 1.0))
    if system.molecule is not None:
        writer = MoleculeWriter(system.molecule.topology, system.structures[0])
        writer.structure(target / "topology.pdb", note)
        writer.trajectory(target / "frames.dcd", frames, 1.0)
    if (found.decided > 0).any():
        figures.save(figures.committor_figure(found.p_b[found.decided > 0]), target / "committor.png", note)
    summary = {
        "schema_version": SCHEMA_VERSION,
        "system": config.name,
        "seed": config.seed,
        "for_science": config.preset != "quick",
        "definition": config.system.model_dump(mode="json"),
        "settings": config.committor.model_dump(mode="json"),
        "representation": system.representation.block_names,
        "frames": source,
        "count": len(frames),
        "histogram": {"edges": edges, "counts": counts},
        "spread_beyond_binomial": committor_spread(found.p_b, found.decided, rng),
        "explained": _explained(context, frames, found),
        "undecided": int(found.undecided.sum()),
        "force_evaluations": cost,
        "wall_seconds": {"committor": round(seconds, 2)},
        "versions": versions(),
    }
    write_json(target / "committor.json", summary)
    return summary
