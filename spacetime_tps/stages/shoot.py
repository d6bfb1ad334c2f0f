"""Transition path sampling in a run folder: no stage of the chain, but what has the last word on its paths.

Everything lies in ``shooting/``; blocks of Monte Carlo steps are stored as they end, ``summary.json`` comes last.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spacetime_tps.analysis.metrics import mean_and_std
from spacetime_tps.analysis.shooting import Chains, gelman_rubin, mean_with_error, summarise_chains
from spacetime_tps.config import RunConfig, ShootingConfig
from spacetime_tps.errors import DamagedFileError, UserError
from spacetime_tps.export import figures
from spacetime_tps.export.trajectory import MoleculeWriter
from spacetime_tps.files import read_arrays, read_json, write_arrays, write_csv, write_json
from spacetime_tps.run_log import versions
from spacetime_tps.shooting.chains import build_move, run_chains
from spacetime_tps.shooting.path import ShotPath, pack, unpack
from spacetime_tps.stages.context import Context, frame_interval, opened
from spacetime_tps.stages.export import NOT_FOR_SCIENCE, SCHEMA_VERSION, reference_summary
from spacetime_tps.stages.first_paths import first_paths
from spacetime_tps.stages.folder import RunFolder
from spacetime_tps.stages.geodesic import reference_bound
from spacetime_tps.units import shown_number

logger = logging.getLogger(__name__)

FOLDER, WORK = "shooting", "shooting.new"
"""Results of ``shoot``, and those that will replace them."""
FIRST_PATHS, SETTINGS = f"{FOLDER}/first.npz", "settings.json"
_MIXED = 1.1
NATURE_OF_SAMPLES = (
    "Paths of exact Monte Carlo chains in the transition path ensemble of the stated dynamics, temperature and states; "
    "correlated as the summary says, and in the limit of long chains its samples. Time is physical."
)


def _shoot(context: Context, folder: Path, config: ShootingConfig, say: Callable[[str], None], started: float) -> None:
    system = context.system
    data = read_arrays(folder / "first.npz", ("lengths", "cost", "source", "paths"))
    cost_of_first, source, of_paths = int(data["cost"]), str(data["source"]), str(data["paths"])
    try:
        first = unpack(data)
    except (KeyError, ValueError) as error:
        raise DamagedFileError(f"{folder / 'first.npz'} is damaged; run 'shoot' again with --overwrite.") from error
    if len(first) != config.chains:
        raise DamagedFileError(
            f"{folder / 'first.npz'} holds {len(first)} first paths, not {config.chains}; "
            "run 'shoot' again with --overwrite."
        )
    dynamics = context.dynamics() if system.molecule is not None else None
    blocks = run_chains(system, dynamics, first, config, context.config.seed, context.pool, folder=folder / "blocks")
    chains = Chains.of(blocks, config.burn_in, config.keep_every)
    interval = frame_interval(context.config, config.frame_every)
    chosen = chains.independent_paths()
    picked = (
        [chosen[k] for k in np.unique(np.linspace(0, len(chosen) - 1, config.trajectories).astype(int))]
        if chosen
        else []
    )
    note = NOT_FOR_SCIENCE if context.config.preset == "quick" else None
    if system.molecule is not None:
        _write_trajectories(context, folder, picked, interval, note)
    if chains.paths:
        write_arrays(folder / "paths.npz", **pack(chains.paths))
    _write_trials(context, folder, chains, note)
    summary = _summary(context, config, chains, interval, cost_of_first, (source, of_paths), first)
    _write_figures(context, folder, config, chains, note)
    summary["files"] = context.folder.digests_within(folder, "*.npz", "*.dcd", "*.pdb", "*.csv", "*.png")
    summary |= {"wall_seconds": {"shoot": round(time.perf_counter() - started, 2)}, "versions": versions()}
    write_json(folder / "summary.json", summary)
    _take_the_place(context.folder, folder)
    say(_words(summary, system.suffix, system.energy_unit))


def _take_the_place(run: RunFolder, folder: Path) -> None:
    """Results that were made beside earlier ones replace them."""
    if folder.name == WORK:
        run.previous.set_aside(run.own(FOLDER), done=[f"{FOLDER}/summary.json"])
        run.promote(WORK, FOLDER)
        run.previous.settle()


def _words(summary: dict[str, Any], suffix: str, unit: str) -> str:
    text = (
        f"shoot: {summary['wall_seconds']['shoot']:.0f} s, {sum(summary['force_evaluations'].values()):,} force "
        f"evaluations; acceptance {summary['acceptance']['all']['share']:.0%}, "
        f"{summary['decorrelated_paths']} decorrelated paths"
    )
    highest = summary.get(f"max_free_energy_{suffix}")
    if highest is not None:
        text += f"; MaxFreeEnergy {shown_number(highest['mean'])} +- {shown_number(highest['error'])} {unit}"
    scatter = max(row["gelman_rubin"] or 0.0 for row in (highest, summary["length"]) if row is not None)
    if scatter > _MIXED:
        text += f"; the chains have not mixed (Gelman-Rubin {scatter:.2f}): errors are too small"
    return text


def shoot_in(
    run: RunFolder,
    config: RunConfig,
    trajectory: Path | None,
    resume: bool,
    overwrite: bool,
    say: Callable[[str], None] = logger.info,
    as_before: bool = False,
) -> None:
    """Sample paths in a run folder, whose lock the caller holds.

    Args:
        run: the folder.
        config: as stored in it, but for the section ``shooting``.
        trajectory: where the first path is to be cut from, if not as the configuration says.
        resume: go on where an earlier call stopped.
        overwrite: delete what an earlier call left.
        say: is told when it is done.
        as_before: with ``resume``, the settings are those of the earlier call, whatever ``config`` says.

    Raises:
        UserError: the folder holds results or those of other settings, or there is no usable first path.
    """
    started = time.perf_counter()
    run.check()
    source = trajectory.name if trajectory is not None else config.shooting.first
    folder = run / (WORK if run.own(WORK) or (overwrite and run.own(f"{FOLDER}/summary.json")) else FOLDER)
    if resume and as_before and (folder / SETTINGS).is_file():
        config, source = _settings_before(folder, config)
    wanted = {"from": source, **config.shooting.model_dump(mode="json")}
    _check(folder, wanted, resume, overwrite)
    with opened(run, config) as context:
        build_move(config.shooting, context.system.variables.axes)
        if overwrite or not (folder / "first.npz").is_file():
            if trajectory is None and source not in ("paths", "ensemble", "high_temperature"):
                raise UserError(f"{folder} has lost its first paths; give --from {source} once more, or --overwrite.")
            found, cost, origin = first_paths(context, config.shooting, trajectory)
            run.drop(folder.name)
            write_json(folder / SETTINGS, wanted)
            of_paths = (run.paths_digest() or "") if source in ("paths", "ensemble") else ""
            described = {"cost": np.array(cost), "source": np.array(origin), "paths": np.array(of_paths)}
            write_arrays(folder / "first.npz", **described, **pack(found))
            run.previous.settle()
        _shoot(context, folder, config.shooting, say, started)


def end_with_paths_of_the_ensemble(run: RunFolder, config: RunConfig, say: Callable[[str], None]) -> bool:
    """Sample ``config.tps`` paths from the annealed ones of a finished run, unless they are there; whether it did."""
    if not config.tps or run.own(f"{FOLDER}/summary.json"):
        return False
    wanted = config.shooting.model_copy(update={"trajectories": config.tps, "first": "paths"})
    resume = bool(run.own(FOLDER))
    shoot_in(run, config.model_copy(update={"shooting": wanted}), None, resume, False, say)
    return True


def _settings_before(folder: Path, config: RunConfig) -> tuple[RunConfig, str]:
    """The configuration with the settings that an earlier call stored, and where its first paths came from.

    Raises:
        UserError: the file is damaged.
    """
    stored = _stored_settings(folder / SETTINGS)
    source = str(stored.pop("from", ""))
    try:
        return config.model_copy(update={"shooting": ShootingConfig.model_validate(stored)}), source
    except ValueError as error:
        raise UserError(f"{folder / SETTINGS} is damaged; run 'shoot' again with --overwrite.") from error


def _stored_settings(file: Path) -> dict[str, Any]:
    stored = read_json(file)
    if not isinstance(stored, dict):
        raise DamagedFileError(f"{file} is damaged; run 'shoot' again with --overwrite.")
    return dict(stored)


def _check(folder: Path, wanted: dict[str, Any], resume: bool, overwrite: bool) -> None:
    """Refuse to touch results, or to go on with other settings.

    Raises:
        UserError: it holds results, or those of other settings.
    """
    settings = folder / SETTINGS
    if overwrite:
        return
    if not settings.is_file():
        if folder.is_dir() and any(folder.iterdir()):
            raise DamagedFileError(f"{folder} holds files but no {SETTINGS}; --overwrite begins anew.")
        return
    if not resume:
        raise UserError(f"{folder} holds an earlier run of 'shoot'; use --resume to go on or --overwrite.")
    stored = _stored_settings(settings)
    if missing := [key for key in wanted if key not in stored]:
        raise DamagedFileError(f"{settings} is damaged: it lacks {missing[0]!r}; --overwrite begins anew.")
    if (folder / "blocks").is_dir() and not (folder / "first.npz").is_file():
        raise DamagedFileError(f"{folder} holds blocks of chains but no first.npz; --overwrite begins anew.")
    different = [key for key in wanted if stored.get(key) != wanted[key]]
    if different:
        raise UserError(
            f"The run in {folder} has other settings ({different[0]} is {stored.get(different[0])!r} there and "
            f"{wanted[different[0]]!r} here); --resume goes on with the same ones only."
        )


def _write_trajectories(
    context: Context, folder: Path, paths: list[ShotPath], interval: float, note: str | None
) -> None:
    system = context.system
    assert system.molecule is not None
    writer = MoleculeWriter(system.molecule.topology, system.structures[0])
    writer.structure(folder / "topology.pdb", note)
    for k, path in enumerate(paths):
        writer.trajectory(folder / f"path_{k:04d}.dcd", path.positions, interval)


def _write_trials(context: Context, folder: Path, chains: Chains, note: str | None) -> None:
    steps, suffix = chains.steps, context.system.suffix
    header = ["chain", "step", "move", "accepted", "reason", "new_frames", "length", "oldest_frame_of_step"]
    header += [f"max_free_energy_{suffix}"]
    rows = (
        [c, t + 1, steps.move[c, t], int(steps.accepted[c, t]), steps.reason[c, t], steps.new_frames[c, t]]
        + [steps.length[c, t], steps.oldest[c, t], steps.max_free_energy[c, t]]
        for c in range(steps.accepted.shape[0])
        for t in range(steps.accepted.shape[1])
    )
    write_csv(folder / "trials.csv", header, rows, note)


def _summary(
    context: Context,
    config: ShootingConfig,
    chains: Chains,
    interval: float,
    cost_of_first: int,
    origin: tuple[str, str],
    first: list[ShotPath],
) -> dict[str, Any]:
    (source, of_paths), system, suffix = origin, context.system, context.system.suffix
    bound = reference_bound(system)
    summary: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "system": context.config.name,
        "seed": context.config.seed,
        "for_science": context.config.preset != "quick",
        "nature": NATURE_OF_SAMPLES,
        "definition": context.config.system.model_dump(mode="json"),
        "settings": config.model_dump(mode="json"),
        "first_path": {"from": source, "frames": [len(path) for path in first]},
        "paths": of_paths or None,
        "frame_interval": interval,
        "time": f"physical time [{system.time_unit}]",
        **summarise_chains(chains, system.turning, interval, cost_of_first),
        "reference": reference_summary(system, bound),
    }
    if bound is not None:
        series = chains.steps.max_free_energy[:, config.burn_in :]
        below = series < bound.barrier - 2 * bound.error
        summary[f"max_free_energy_{suffix}"] = mean_with_error(series) | {
            "gelman_rubin": gelman_rubin(series),
            "fraction_below_bound": float(below.mean()),
        }
    if system.potential is not None and chains.paths:
        energies = [float(system.potential.energy(torch.from_numpy(p.positions)).max()) for p in chains.paths]
        summary["max_energy"] = mean_and_std(np.array(energies)) | {"kt": system.potential_kt}
    return summary


def _write_figures(context: Context, folder: Path, config: ShootingConfig, chains: Chains, note: str | None) -> None:
    system = context.system
    bound = reference_bound(system)
    barrier = bound.barrier if bound else None
    interval = frame_interval(context.config, config.frame_every)
    figure = figures.shooting_figure(
        chains.steps, config.burn_in, interval, system.time_unit, system.energy_unit, barrier
    )
    figures.save(figure, folder / "chains.png", note)
