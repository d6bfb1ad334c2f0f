"""The report of a finished run: what its files say, as one page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from spacetime_tps.analysis.comparison import table, verdicts
from spacetime_tps.analysis.path_metrics import channel_labels
from spacetime_tps.config import dump
from spacetime_tps.errors import DamagedFileError, UserError
from spacetime_tps.export.answer import answer_lines, model_in_words
from spacetime_tps.export.report import Picture, Table, plain_tables, render_report
from spacetime_tps.export.scene import Scene, Track, still_picture
from spacetime_tps.export.trajectory import MoleculeWriter
from spacetime_tps.export.verdict import overall, suffix_and_unit, verdict
from spacetime_tps.files import read_arrays, read_json, write_text
from spacetime_tps.paths.ensemble import PathEnsemble
from spacetime_tps.shooting.path import ShotPath, unpack
from spacetime_tps.stages.context import Context, frame_interval
from spacetime_tps.stages.export import SOLVENT_LAGS, finish_summary
from spacetime_tps.stages.folder import REPORT, RunFolder, check_files
from spacetime_tps.stages.shoot import NATURE_OF_SAMPLES
from spacetime_tps.stages.shot_files import whole_frames
from spacetime_tps.systems import System, load_system

_UNGUIDED, _ANNEALED, _SAMPLED = 6, 6, 6
_FRAMES, _BYTES = 200, 2_000_000
"""Frames of a path at most, and bytes of all positions."""
_FIGURES = {
    "figures/free_energy_surface.png": (
        "Free energy surface", "Reference, or own samples, with the posterior means of all channels and paths.",
    ),
    "figures/energies.png": (
        "Energies along the paths", "Blue from A to B, red from B to A. Potential energy is mostly vibration.",
    ),
    "figures/spacetime.png": (
        "The geodesic in spacetime", "Log-SNR is how tightly a point restrains; the variance is what that leaves.",
    ),
    "figures/windows.png": (
        "Model against restrained simulations",
        "Dots: simulations at points of the geodesic; lines: the model; red: windows, smoothed density.",
    ),
    "figures/profiles.png": (
        "Free energy along collective variables", "By the windows and free simulations; a tube around the path only.",
    ),
    "figures/refinement.png": ("Rounds of refinement", "Barrier, and measured over predicted variances."),
    "figures/overlap.png": ("Overlap of the windows", "Neighbours should share at least 0.03."),
    "figures/work.png": ("Work of the restraint", "Both histograms cross at the free-energy difference."),
    "committor/committor.png": ("Committor", "Share of fresh trajectories that reach B first."),
    "shooting/chains.png": ("Transition path sampling", "MaxFreeEnergy along the chains, and what they hold."),
    "figures/training_loss.png": ("Training", "Relative squared error of the denoiser, seen and held out."),
}  # fmt: skip


def write_report(folder: RunFolder, comparison: Path | None = None) -> None:
    """Write ``report.html``; the caller holds the folder's lock.

    Args:
        folder: of the run.
        comparison: output of ``compare`` on the same system, whose table and figure are shown, too.

    Raises:
        UserError: the run is not finished, or there is no such comparison.
    """
    if not (folder / "summary.json").is_file():
        raise UserError(f"{folder.path} has no summary.json yet; finish the run with 'run --resume', then report.")
    folder.check()
    try:
        text = _page(folder, comparison)
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise DamagedFileError(
            f"What {folder.path} holds is damaged or of an older version ({type(error).__name__}: {error}); run "
            "'export' again with --overwrite, and 'shoot' or 'committor' if they had run."
        ) from error
    write_text(folder / REPORT, text)


def conclude(context: Context) -> None:
    """End a run: the summary, and the page that shows it."""
    finish_summary(context)
    write_report(context.folder)


def _page(folder: RunFolder, comparison: Path | None) -> str:
    config = folder.config()
    system, summary = load_system(config, folder.path), read_json(folder / "summary.json")
    shooting, committor = (
        _optional(folder / name, verb)
        for name, verb in (("shooting/summary.json", "shoot"), ("committor/committor.json", "committor"))
    )
    findings = verdict(summary, shooting, committor, folder.paths_digest())
    pictures = [
        Picture((folder / name).read_bytes(), *words) for name, words in _FIGURES.items() if (folder / name).is_file()
    ]
    tables = [_answer(summary), _channels(summary), *plain_tables(summary)]
    if comparison is not None:
        compared, picture = _comparison(comparison, summary["system"])
        tables.insert(0, compared)
        pictures.append(picture)
    notes = [summary["paths"]["nature"]]
    if summary["transitions"].get("paths"):
        notes += [f"In ensemble/: {summary['transitions']['nature']}", model_in_words(summary["definition"])]
    if shooting is not None:
        notes.append(f"In shooting/: {NATURE_OF_SAMPLES}")
    if system.molecule is not None and system.molecule.solvated:
        notes.append(SOLVENT_LAGS)
    scene, still = (None, None) if system.molecule is None else _scene(folder, system, summary)
    return render_report(
        f"{summary['system']}: transition paths, seed {summary['seed']}",
        overall(findings, summary["for_science"]),
        findings,
        notes,
        tables,
        pictures,
        scene,
        still,
        dump(config),
    )


def _optional(file: Path, verb: str) -> dict[str, Any] | None:
    """What a verb left, if it ran."""
    if not file.is_file():
        return None
    found = read_json(file)
    if not isinstance(found, dict) or "schema_version" not in found:
        raise DamagedFileError(f"{file} is damaged; run '{verb}' again with --overwrite.")
    check_files(file.parent, found.pop("files", {}), verb)
    return found


def _answer(summary: dict[str, Any]) -> Table:
    return Table("Answer", ["what", "value"], [[name, words] for name, words in answer_lines(summary)])


def _channels(summary: dict[str, Any]) -> Table:
    suffix, unit = suffix_and_unit(summary)
    rows = []
    for row in summary["geodesic"]["channels"]:
        barrier = row.get(f"barrier_{suffix}")
        rows.append(
            [
                row["label"],
                f"{row['length']:.1f}",
                f"{row[f'own_barrier_{suffix}']:.1f}",
                "-" if barrier is None else f"{barrier:.1f}",
                "yes" if row["converged"] else "no",
            ]
        )
    header = [
        "channel",
        "Fisher-Rao length",
        f"barrier by own samples [{unit}]",
        f"by the reference [{unit}]",
        "converged",
    ]
    return Table("Channels, the one that paths follow first", header, rows)


def _comparison(output: Path, system: str) -> tuple[Table, Picture]:
    """Of the folder that ``compare`` wrote."""
    file, picture = output / "compare.json", output / "figures/comparison.png"
    if not (file.is_file() and picture.is_file()):
        raise UserError(f"{output} holds no finished comparison: it lacks {file.name} or its figure.")
    found = read_json(file)
    if found["system"] != system:
        raise UserError(f"{output} compares methods on {found['system']}, and this run is of {system}.")
    methods = {
        method: {
            key: {name: float("nan") if value is None else value for name, value in entry.items()}
            for key, entry in row.items()
        }
        for method, row in found["methods"].items()
    }
    seeds = len(found["seeds"])
    title = f"Against other methods ({seeds} seed{'s' if seeds > 1 else ''}, energies in {found['unit']})"
    said = " ".join(verdicts(methods))
    return Table(title, *table(methods)), Picture(picture.read_bytes(), "Comparison with other methods", said)


def _scene(folder: RunFolder, system: System, summary: dict[str, Any]) -> tuple[Scene, bytes]:
    """What the viewer shows, and a still of the first path."""
    assert system.molecule is not None
    writer = MoleculeWriter(system.molecule.topology, system.structures[0])
    ends = writer.superposed(system.structures)
    tracks = [
        *_unguided(folder, system, writer),
        *_annealed(folder, system, writer, summary),
        *_sampled(folder, system, writer),
    ]
    most = _BYTES // (6 * ends.n_atoms * len(tracks))
    tracks = [track.thinned(int(np.clip(most, 2, _FRAMES))) for track in tracks]
    names = [state.name for state in system.states]
    scene = Scene(
        writer.pdb(ends.xyz[0]),
        {f"{side}: {name}": writer.pdb(frame) for side, name, frame in zip("AB", names, ends.xyz, strict=True)},
        tracks,
    )
    first = tracks[0]
    known = [values for values in first.energies.values() if np.isfinite(values).any()]
    top = int(np.nanargmax(known[0])) if known else len(first.along) // 2
    shown = first.positions_nm[[0, top, -1]]
    return scene, still_picture(ends.topology, shown, ["start", f"highest, frame {top + 1}", "end"])


def _annealed(folder: RunFolder, system: System, writer: MoleculeWriter, summary: dict[str, Any]) -> Iterator[Track]:
    """Paths of either direction in turn."""
    paths, unit = PathEnsemble.load(folder / "paths.npz"), system.energy_unit
    for k in range(min(_ANNEALED, len(paths))):
        energies = {
            f"reference free energy [{unit}]": paths.free_energy[k],
            f"potential energy [{unit}]": paths.potential_energy[k],
        }
        yield Track(
            f"path_{k:04d}, {'A to B' if paths.forward[k] else 'B to A'}",
            f"annealed (guided), {summary['geodesic']['chosen']}",
            writer.superposed(paths.frames[k]).xyz,
            paths.curve_parameter[k],
            "curve parameter",
            energies,
        )


def _unguided(folder: RunFolder, system: System, writer: MoleculeWriter) -> Iterator[Track]:
    """Paths out of ridge windows, drawn by their weights."""
    file = folder / "ensemble/paths.npz"
    if not file.is_file():
        return
    assert system.molecule is not None
    interval = frame_interval(system.config, system.config.transitions.frame_every)
    for k, path in enumerate(unpack(read_arrays(file))[:_UNGUIDED]):
        positions = writer.superposed(whole_frames(system.molecule, path.positions)).xyz
        yield _track(f"path_{k:04d} of the ensemble", "unguided (shots)", system, path, positions, interval)


def _sampled(folder: RunFolder, system: System, writer: MoleculeWriter) -> Iterator[Track]:
    """Paths by shooting, spread over the chains."""
    file = folder / "shooting/summary.json"
    if not file.is_file():
        return
    interval, paths = read_json(file)["frame_interval"], unpack(read_arrays(folder / "shooting/paths.npz"))
    for k in np.unique(np.linspace(0, len(paths) - 1, min(_SAMPLED, len(paths))).astype(int)):
        positions = writer.superposed(paths[k].positions).xyz
        yield _track(f"path {k} of the chains", "true ensemble (shooting)", system, paths[k], positions, interval)


def _track(name: str, kind: str, system: System, path: ShotPath, positions: np.ndarray, interval: float) -> Track:
    """An unguided path of the viewer."""
    along = system.variables.unwrapped(path.variables)
    (channel,) = channel_labels((along[-1] - along[0])[None], system.turning)
    energies = {}
    if system.reference is not None:
        columns = [system.variables.names.index(name) for name in system.reference.names]
        energies[f"reference free energy [{system.energy_unit}]"] = system.reference(path.variables[:, columns])
    times = interval * np.arange(len(path))
    return Track(name, f"{kind}, {channel}", positions, times, f"time [{system.time_unit}]", energies)
