"""Stage 8: trajectories, tables, figures and the summary."""

from __future__ import annotations

import datetime
import math
import platform
from typing import Any

import numpy as np
import torch

from spacetime_tps.analysis.metrics import kinetic_temperature, max_free_energy, mean_and_std
from spacetime_tps.analysis.minimax import MinimaxPath, closed_to
from spacetime_tps.analysis.structure import hysteresis, integrity_problems
from spacetime_tps.analysis.windows import remembered
from spacetime_tps.analysis.work import WorkSummary
from spacetime_tps.export import figures
from spacetime_tps.export.plumed import plumed_input
from spacetime_tps.export.trajectory import MoleculeWriter
from spacetime_tps.files import read_arrays, read_json, require_finite, write_csv, write_json, write_text
from spacetime_tps.geometry.curve import evaluate, read_curves
from spacetime_tps.paths.ensemble import PathEnsemble
from spacetime_tps.potentials import FreeEnergySurface
from spacetime_tps.representations import Torsions
from spacetime_tps.run_log import versions
from spacetime_tps.stages.context import Context, StageResult
from spacetime_tps.stages.folder import stages_of
from spacetime_tps.stages.geodesic import reference_bound
from spacetime_tps.stages.paths import chosen_curve, reference_delta_f
from spacetime_tps.stages.train import load_denoiser
from spacetime_tps.systems import Molecule, System
from spacetime_tps.topology import NamedTorsions, free_torsions

SCHEMA_VERSION = 1
NOT_FOR_SCIENCE = "preset quick: not for science"
NATURE_OF_PATHS = (
    "Annealed paths are guided, non-equilibrium trajectories: their frames are neither Boltzmann nor "
    "transition-path-ensemble samples and carry no rates."
)
SOLVENT_LAGS = (
    "Water and ions are simulated but not in the posterior: the geodesic knows their mean effect only, and what they "
    "lag behind the restraint is part of dissipated_work_kt. Trajectories are written without them."
)
_RESTRAINTS, _NODES = 200, 25
"""Points between which PLUMED moves the restraint, and nodes of its path variable."""


def export(context: Context) -> StageResult:
    """Write everything a user opens; ``summary.json`` is written by ``finish_summary``, last of all."""
    system, folder = context.system, context.folder
    paths = PathEnsemble.load(folder / "paths.npz")
    read_curves(context.refined().folder / "geodesic.npz", system.representation)
    read_arrays(folder / "windows.npz")
    problems = _problems(context, paths)
    require_finite("The paths are", "run 'paths' again with --overwrite", paths.frames, paths.work_kt)
    whole = np.array([not p for p in problems])
    arrived = paths.ends_in_state & paths.end_stays & whole
    started = paths.starts_in_state & paths.start_stays
    bound = reference_bound(system)
    summary = _paths_summary(context, paths, arrived, started, problems, bound)
    context.make_room()
    note = NOT_FOR_SCIENCE if context.config.preset == "quick" else None
    if system.molecule is not None:
        _write_trajectories(context, paths, note)
    _write_tables(context, paths, arrived, started, problems, note)
    if isinstance(system.representation, Torsions):
        _write_plumed(context, system.representation, note)
    _write_figures(context, paths, bound, note)
    return StageResult({"paths": summary, "reference": reference_summary(system, bound)})


def reference_summary(system: System, bound: MinimaxPath | None) -> dict[str, Any]:
    """Where the reference surface comes from, and the least possible barrier on it."""
    reference: dict[str, Any] = {"source": None}
    if system.reference is not None:
        reference = {"source": system.reference.source, "force_evaluations": system.reference.force_evaluations}
    if bound is not None:
        scale = 180 / np.pi if system.molecule is not None else 1.0
        saddle = dict(zip(system.center_names, (bound.saddle * scale).tolist(), strict=True))
        reference |= {
            f"minimax_barrier_{system.suffix}": bound.barrier,
            f"error_{system.suffix}": bound.error,
            "saddle": saddle,
        }
        if system.avoided is not None and system.reference is not None:
            outside = reference_bound(system, closed_to(system.reference, system.avoided))
            assert outside is not None
            reference[f"minimax_barrier_avoiding_{system.suffix}"] = outside.barrier
    return reference


def _problems(context: Context, paths: PathEnsemble) -> list[list[str]]:
    system = context.system
    if system.molecule is None:
        return [[] for _ in range(len(paths))]
    topology = system.molecule.topology
    return [integrity_problems(topology, system.structures, frames.astype(float)) for frames in paths.frames]


def _paths_summary(
    context: Context,
    paths: PathEnsemble,
    arrived: np.ndarray,
    started: np.ndarray,
    problems: list[list[str]],
    bound: MinimaxPath | None,
) -> dict[str, Any]:
    system, suffix = context.system, context.system.suffix
    stage = context.folder.record("paths")["summary"]
    summary: dict[str, Any] = {
        "count": len(paths),
        "arrived_fraction": float(arrived.mean()),
        "started_fraction": float(started.mean()),
        "inside_state_after_release_fraction": {
            "first": float(paths.start_inside.mean()),
            "last": float(paths.end_inside.mean()),
        },
        "frames": int(paths.frames.shape[1]),
        "frame_interval_ps" if system.molecule else "frame_interval": paths.interval,
        "steps_per_path": stage["steps_per_path"],
        "rounds": stage["rounds"],
        "time": "curve parameter; the frames' spacing in physical time is no rate",
        f"max_potential_energy_{suffix}": mean_and_std(paths.max_potential_energy[arrived]),
        **_work_summary(context, stage),
        "integrity": {
            "broken": int(sum(bool(p) for p in problems)),
            "reasons": {f"path_{k:04d}": p for k, p in enumerate(problems) if p},
        },
        "nature": NATURE_OF_PATHS,
    }
    if system.molecule is not None and system.molecule.solvated:
        summary["solvent"] = SOLVENT_LAGS
    if system.avoided is not None:
        limit = context.config.geodesic.avoid_share
        shares = {"mean": float(paths.avoided_share.mean()), "max": float(paths.avoided_share.max()), "limit": limit}
        summary["avoided_share"] = shares
    if bound is not None:
        summary[f"max_free_energy_{suffix}"] = max_free_energy(paths, arrived, bound.barrier, bound.error)
    if system.molecule is not None:
        summary |= _lag_summary(system, system.molecule, paths)
    return summary


def _work_summary(context: Context, stage: dict[str, Any]) -> dict[str, Any]:
    """What the stage ``paths`` found of work, in the units of the system."""
    work = WorkSummary(**{key: np.nan if value is None else value for key, value in stage["work"].items()})
    kt, reference = context.system.kt, reference_delta_f(context, stage["eta_ends"])
    return {
        "dissipated_work_kt": {
            "forward": work.dissipated_forward,
            "backward": work.dissipated_backward,
            "forward_error": work.dissipated_forward_error,
            "backward_error": work.dissipated_backward_error,
            "lag": work.lag,
            "gaussian_forward": work.gaussian_forward,
            "gaussian_backward": work.gaussian_backward,
        },
        f"delta_f_{context.system.suffix}": {
            "crooks": work.delta_f * kt,
            "error": work.error * kt,
            "reference": None if reference is None else reference * kt,
            "of": "restrained end ensembles, B minus A",
        },
    }


def _lag_summary(system: System, molecule: Molecule, paths: PathEnsemble) -> dict[str, Any]:
    """Torsions that lag behind the restraint, and the temperature of what moves."""
    torsions = free_torsions(molecule.topology, system.torsions.quadruples)
    represented = NamedTorsions(system.torsions.block_names, system.torsions.quadruples)
    seen = (paths.frames, paths.curve_parameter, paths.forward)
    return {
        "hysteresis": hysteresis(torsions, *seen)[:3],
        "hysteresis_of_representation": hysteresis(represented, *seen),
        "kinetic_temperature_k": kinetic_temperature(paths.kinetic_energy, molecule.dynamics.degrees_of_freedom()),
    }


def _write_trajectories(context: Context, paths: PathEnsemble, note: str | None) -> None:
    system, folder = context.system, context.folder
    assert system.molecule is not None
    writer = MoleculeWriter(system.molecule.topology, system.structures[0])
    writer.structure(folder / "topology.pdb", note)
    for k, frames in enumerate(paths.frames):
        writer.trajectory(folder / f"paths/path_{k:04d}.dcd", frames, paths.interval)


def _write_plumed(context: Context, torsions: Torsions, note: str | None) -> None:
    """The moving restraint and a path variable for PLUMED, with the atoms as topology.pdb numbers them."""
    assert context.system.molecule is not None
    model, system = context.refined(), context.system
    curve, denoiser = chosen_curve(model), load_denoiser(model)
    restraints, nodes = (
        torsions.natural(torch.from_numpy(curve.at_constant_speed(count))) for count in (_RESTRAINTS, _NODES)
    )
    solute = context.system.molecule.solute
    atoms = np.zeros(len(system.structures[0]), dtype=int)
    atoms[solute] = 1 + np.arange(len(solute))
    steps = context.folder.record("paths")["summary"]["steps_per_path"]
    centers = torsions.center(evaluate(denoiser, nodes).mean).numpy()
    text = plumed_input(torsions, restraints.numpy(), steps, centers, system.kt, atoms)
    write_text(context.folder / "plumed.dat", text if note is None else f"# {note}\n{text}")


def _write_tables(
    context: Context,
    paths: PathEnsemble,
    arrived: np.ndarray,
    started: np.ndarray,
    problems: list[list[str]],
    note: str | None,
) -> None:
    system, folder, suffix = context.system, context.folder, context.system.suffix
    direction = np.where(paths.forward, "A->B", "B->A")
    header = ["path", "direction", "started", "arrived", "work_kt", f"max_free_energy_{suffix}"]
    header += [f"max_potential_energy_{suffix}", "force_evaluations", "integrity"]
    rows = [
        [k, direction[k], int(started[k]), int(arrived[k]), paths.work_kt[k], paths.max_free_energy[k]]
        + [paths.max_potential_energy[k], int(paths.force_evaluations[k]), "; ".join(problems[k]) or "ok"]
        for k in range(len(paths))
    ]
    write_csv(folder / "paths.csv", header, rows, note)
    variables = system.variables.shown(paths.variables)
    header = ["path", "frame", "direction", "curve_parameter", *system.variables.columns]
    header += [f"potential_energy_{suffix}", f"highest_free_energy_since_last_frame_{suffix}"]
    rows = [
        [k, t, direction[k], paths.curve_parameter[k, t], *variables[k, t], paths.potential_energy[k, t]]
        + [paths.free_energy[k, t]]
        for k in range(len(paths))
        for t in range(paths.frames.shape[1])
    ]
    write_csv(folder / "colvar.csv", header, rows, note)
    measured = read_arrays(folder / "windows.npz")
    if "profiles" in measured:
        header = ["variable", "from", "to", f"free_energy_{suffix}", f"error_{suffix}"]
        profiles = [
            [system.variables.columns[int(row[0])], *row[1:]] for row in shown_profiles(system, measured["profiles"])
        ]
        write_csv(folder / "profiles.csv", header, profiles, note)


def shown_profiles(system: System, profiles: np.ndarray) -> np.ndarray:
    """Profiles of ``windows.npz``, shape (n, 5), their bins in the variables' units."""
    scale = system.variables.shown(np.ones(len(system.variables.names)))[profiles[:, 0].astype(int)]
    return np.column_stack([profiles[:, 0], scale[:, None] * profiles[:, 1:3], profiles[:, 3:]])


def _write_figures(context: Context, paths: PathEnsemble, bound: MinimaxPath | None, note: str | None) -> None:
    system, folder = context.system, context.folder
    representation, unit = system.representation, system.energy_unit
    model = context.refined().folder
    curves = read_curves(model / "geodesic.npz", representation)
    target = folder / "figures"
    surface = system.reference
    if surface is None and (model / "surface.npz").is_file():
        surface = FreeEnergySurface.load(model / "surface.npz")
    if surface is not None and len(surface.names) == 2:
        columns = [system.variables.names.index(name) for name in surface.names]
        channels = {label: representation.center(curve.mean) for label, curve in curves.items()}
        ends = system.variables(system.structures)[:, columns]
        figures.save(
            figures.surface_figure(surface, unit, channels, paths, columns, ends, system.avoided, system.waypoints),
            target / "free_energy_surface.png",
            note,
        )
    figures.save(figures.energy_figure(paths, unit, bound.barrier if bound else None), target / "energies.png", note)
    curve = next(iter(curves.values()))
    levels = representation.block_log_snr(torch.from_numpy(curve.natural)).numpy()
    travelled = np.concatenate([[0.0], np.cumsum(np.sqrt(np.maximum(curve.chords, 0.0)))])
    spread = context.config.low_variance
    limit = representation.max_block_variance(spread) if spread is not None else None
    spacetime = figures.spacetime_figure(levels, curve.block_variance, representation.block_names, limit, travelled)
    figures.save(spacetime, target / "spacetime.png", note)
    measured = read_arrays(folder / "windows.npz")
    if len(measured["curve_parameter"]):
        figures.save(figures.windows_figure(measured, unit), target / "windows.png", note)
        figures.save(figures.overlap_figure(measured["overlap"]), target / "overlap.png", note)
        profiles = figures.profiles_figure(shown_profiles(system, measured["profiles"]), system.variables, unit)
        figures.save(profiles, target / "profiles.png", note)
    delta_f = folder.record("paths")["summary"]["work"]["delta_f"]
    work = figures.work_figure(paths.work_kt[paths.forward], paths.work_kt[~paths.forward], delta_f)
    figures.save(work, target / "work.png", note)
    if context.config.refine.rounds:
        refinement = read_arrays(folder / "refinement.npz")
        figures.save(figures.refinement_figure(refinement, unit), target / "refinement.png", note)
    loss = np.array(model.record("train")["summary"]["loss"], dtype=float).reshape(-1, 3)
    figures.save(figures.loss_figure(loss), target / "training_loss.png", note)


def _health_of(geodesic: dict[str, Any]) -> dict[str, Any]:
    """The model against the exact posterior on the chosen channel."""
    chosen = geodesic["channels"][0]
    return {
        "exact_posterior": geodesic["exact_posterior"],
        "chosen_max_posterior_variance": chosen["max_posterior_variance"],
        "chosen_max_posterior_variance_exact": chosen["max_posterior_variance_exact"],
        "chosen_negative_chord_fraction": chosen["negative_chord_fraction"],
    }


def finish_summary(context: Context) -> dict[str, Any]:
    """Gather what all stages reported into ``summary.json``, the last file of a run, and return it.

    Everything that may differ between two runs of one seed lies under ``wall_seconds``, ``versions``, ``platform``,
    ``created`` or ``provenance``.
    """
    folder, config = context.folder, context.config
    records = {stage: folder.record(stage) for stage in stages_of(config)}
    exported = records["export"]["summary"]
    model = context.refined().folder
    train = {key: value for key, value in model.record("train")["summary"].items() if key != "loss"}
    followed = model.record("geodesic")["summary"]
    health = train.pop("health") | _health_of(followed)
    dynamics, answer = config.system.model_dump(mode="json"), _answer(context, records)
    summary = {
        "schema_version": SCHEMA_VERSION,
        "system": config.name,
        "seed": config.seed,
        "preset": config.preset,
        "for_science": config.preset != "quick",
        "definition": dynamics,
        "representation": config.representation.kind,
        "force_evaluations": {stage: record["force_evaluations"] for stage, record in records.items()},
        "sampling": records["sample"]["summary"],
        "denoiser": train,
        "health": health,
        "geodesic": followed,
        "refinement": records["refine"]["summary"] if "refine" in records else None,
        "paths": exported["paths"],
        "windows": records["windows"]["summary"],
        "transitions": records["transitions"]["summary"],
        "answer": answer,
        "accuracy": _accuracy(context, answer, records),
        "reference": exported["reference"],
        "versions": versions(),
        "platform": _platform(context),
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "wall_seconds": {stage: record["wall_seconds"] for stage, record in records.items()}
        | {name: seconds for record in records.values() for name, seconds in record["timings"].items()},
    }
    write_json(folder / "summary.json", summary)
    return summary


def _answer(context: Context, records: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What was asked for, each with value, error and unit; None where it is not known."""
    system, windows, shots = context.system, records["windows"]["summary"], records["transitions"]["summary"]
    unit = {"unit": system.energy_unit}

    def energy(found: dict[str, Any] | None) -> dict[str, Any] | None:
        return None if found is None else {key: found[key] for key in ("value", "error")} | unit

    keys = ("value", "error", "unit")
    rates = {name: shots.get(name) for name in ("rate_a_to_b", "rate_b_to_a")}
    return {
        "barrier": energy(windows.get(f"barrier_{system.suffix}")),
        "delta_f_states": energy(windows.get(f"delta_f_states_{system.suffix}")),
        **{name: None if found is None else {key: found[key] for key in keys} for name, found in rates.items()},
    }


def _accuracy(context: Context, answer: dict[str, Any], records: dict[str, dict[str, Any]]) -> dict[str, Any] | None:
    """The standard error that was wanted, the larger one of barrier and B - A, and why rounds of windows ended.

    None is known where windows depend on where they started.
    """
    if (wanted := context.config.accuracy) is None:
        return None
    errors = [found["error"] for found in (answer["barrier"], answer["delta_f_states"]) if found is not None]
    known = len(errors) == 2 and all(error is not None and math.isfinite(error) for error in errors)
    known = known and not remembered(records["windows"]["summary"])
    return {
        "wanted": wanted,
        "reached": max(errors) if known else None,
        "unit": context.system.energy_unit,
        "stopped_because": records["refine"]["summary"]["stopped_because"],
    }


def _platform(context: Context) -> dict[str, Any]:
    file = context.folder / "stages/platform.json"
    return {
        "openmm": read_json(file) if context.system.molecule is not None and file.is_file() else None,
        "device": context.device(),
        "machine": platform.machine(),
        "host": platform.node(),
    }
