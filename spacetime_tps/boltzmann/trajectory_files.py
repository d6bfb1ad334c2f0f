"""Boltzmann samples that the user already has: trajectories, with the weights or biases of their frames."""

from __future__ import annotations

import glob
import hashlib
from dataclasses import dataclass
from pathlib import Path

import mdtraj
import numpy as np
from openmm import app

from spacetime_tps.boltzmann.recording import Recorder
from spacetime_tps.boltzmann.transitions import TransitionRecorder, Transitions, Watched
from spacetime_tps.config import TrajectoriesConfig
from spacetime_tps.errors import UserError, explained
from spacetime_tps.inputs import ANY_BYTES, read_text_file, regular_file
from spacetime_tps.progress import progress_bar
from spacetime_tps.structures import check_frames
from spacetime_tps.topology import solute_atoms
from spacetime_tps.trajectories import read_frames

_KEPT_FRAMES = 500
_KCAL = 4.184
_LARGEST_LOG_WEIGHT = 100_000
"""Far above any bias, far below where differences of log weights are lost to rounding."""


@dataclass(frozen=True)
class TrajectorySamples:
    """What the user's trajectories hold.

    Attributes:
        seen: what was recorded of each sample (see ``Recorder``), shape (n, n_recorded).
        log_weights: shape (n,).
        walker: trajectory that each frame comes from, shape (n,).
        frames: some positions [nm], shape (m, n_atoms, 3).
        transitions: between the states, from frame to frame.
        force_evaluations: none of ours.
    """

    seen: np.ndarray
    log_weights: np.ndarray
    walker: np.ndarray
    frames: np.ndarray
    transitions: Transitions
    force_evaluations: int = 0


def read_trajectories(
    config: TrajectoriesConfig,
    folder: Path,
    topology: app.Topology,
    structure: np.ndarray,
    watched: Watched,
    recorded: Recorder,
    kt: float,
) -> TrajectorySamples:
    """Read all frames and their weights.

    Args:
        config: names of the files, relative to ``folder``.
        folder: of the system file.
        topology: that the trajectories must have; water and ions behind the molecule may be left out.
        structure: of the molecule [nm], shape (n_atoms, 3), whose chirality every frame must have.
        watched: collective variables, and the states.
        recorded: what is kept of each sample.
        kt: thermal energy [kJ/mol], in which biases count.

    Raises:
        UserError: a file is missing, damaged, of another molecule, given twice, or does not hold one number a frame, or
            one of its frames cannot be.
    """
    files = _expanded(config.files, folder)
    weights = _expanded(config.weights, folder)
    if weights and len(weights) != len(files):
        raise UserError(
            f"sampling.weights names {len(weights)} files for {len(files)} trajectories; give one for each, in order."
        )
    accepted = _accepted(topology)
    seen, log_weights, walker, frames, transitions = [], [], [], [], []
    seen_before: dict[str, Path] = {}
    with progress_bar(len(files), "trajectories", "file") as bar:
        for k, file in enumerate(files):
            positions = _frames(file, accepted)
            _check_new(seen_before, file, positions)
            logs = np.zeros(len(positions)) if not weights else _log_weights(weights[k], config, kt, len(positions))
            check_frames(topology, positions, str(file), structure)
            positions, logs = positions[config.skip :: config.every], logs[config.skip :: config.every]
            values = watched.variables(positions.astype(float))
            recorder = TransitionRecorder(watched.states)
            recorder.look(values, positions)
            seen.append(recorded(positions.astype(float)))
            log_weights.append(logs)
            walker.append(np.full(len(values), k))
            frames.append(positions[:: max(1, len(positions) * len(files) // _KEPT_FRAMES)])
            transitions.append(recorder.transitions())
            bar.update()
    if not sum(map(len, seen)):
        raise UserError("sampling.skip leaves no frame of the trajectories; lower it.")
    return TrajectorySamples(
        np.concatenate(seen),
        np.concatenate(log_weights),
        np.concatenate(walker),
        np.concatenate(frames).astype(np.float32),
        Transitions.joined(transitions),
    )


def _check_new(before: dict[str, Path], file: Path, positions: np.ndarray) -> None:
    """Refuse a trajectory without frames, or with those of another, which would count twice."""
    if not len(positions):
        raise UserError(f"{file} holds no frames; leave it out.")
    content = hashlib.sha256(np.ascontiguousarray(positions).tobytes()).hexdigest()
    if (same := before.setdefault(content, file)) is not file:
        raise UserError(f"{same} and {file} hold the same frames, which would count twice; name one of them.")


def _expanded(names: list[str], folder: Path) -> list[Path]:
    """Files, patterns such as ``run_*.xtc`` filled in alphabetical order."""
    found = []
    for name in names:
        matches = [name] if (folder / name).exists() else sorted(glob.glob(name, root_dir=folder))
        if not matches:
            raise UserError(f"The file {folder / name}, which 'sampling' names, does not exist.")
        found += [regular_file(folder / match, "", ANY_BYTES) for match in matches]
    return found


def _accepted(topology: app.Topology) -> list[mdtraj.Topology]:
    """The whole, and the molecule alone where that comes first, so that atoms keep their numbers."""
    whole, solute = mdtraj.Topology.from_openmm(topology), solute_atoms(topology)
    alone = 0 < len(solute) < whole.n_atoms and (solute == np.arange(len(solute))).all()
    return [whole, whole.subset(solute)] if alone else [whole]


def _frames(file: Path, accepted: list[mdtraj.Topology]) -> np.ndarray:
    for topology in accepted[1:]:
        try:
            return read_frames(file, topology)
        except Exception:  # the whole is tried next, and what it raises is told
            continue
    with explained(
        f"{file} cannot be read as a trajectory of the {accepted[0].n_atoms} atoms in the states' PDB files"
    ):
        return read_frames(file, accepted[0])


def _log_weights(file: Path, config: TrajectoriesConfig, kt: float, count: int) -> np.ndarray:
    column = _column(file, config.column)
    if len(column) != count:
        raise UserError(f"{file} holds {len(column)} numbers for {count} frames; give one for each frame.")
    if config.weights_are in ("log_weight", "bias"):
        unit = "kT" if config.weights_are == "log_weight" else config.bias_unit
        logs = column * {"kJ/mol": 1.0 / kt, "kcal/mol": _KCAL / kt, "kT": 1.0}[unit]
        if np.abs(logs).max() > _LARGEST_LOG_WEIGHT:
            raise UserError(
                f"{file} holds {column[np.abs(logs).argmax()]:g} {unit}, and no bias is larger than "
                f"{_LARGEST_LOG_WEIGHT:,} kT; the column or its unit may be another one."
            )
        return logs
    if (column < 0).any() or not column.any():
        raise UserError(f"{file} holds weights below zero, or none above it; they should be proportional to exp(V/kT).")
    with np.errstate(divide="ignore"):
        return np.maximum(np.log(column / column.max()), -700.0)


def _column(file: Path, wanted: str | int | None) -> np.ndarray:
    """One column of a text file; lines ``#! FIELDS ...`` name them, as PLUMED does at the start of a part."""
    names: list[str] = []
    width, index, values = 0, -1, []
    for number, line in enumerate(read_text_file(file).splitlines(), 1):
        if line.startswith("#! FIELDS"):
            before, names = names, line.split()[2:]
            if before and before != names and not isinstance(wanted, str):
                raise UserError(f"{file}: line {number} names other columns than before; give sampling.column by name.")
            width, index = len(names), -1
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        words = line.split()
        width = width or len(words)
        if len(words) != width:
            raise UserError(f"{file}: line {number} has {len(words)} columns, and those before {width}; it may be cut.")
        index = _index(file, wanted, names, width) if index < 0 else index
        values.append(_number(file, number, words[index], index))
    if not values:
        raise UserError(f"{file} holds no numbers.")
    return np.array(values)


def _number(file: Path, line: int, word: str, index: int) -> float:
    try:
        value = float(word)
    except ValueError as error:
        raise UserError(f"{file}: line {line} should hold a number in column {index + 1}.") from error
    if not np.isfinite(value):
        raise UserError(f"{file}: line {line} holds a number that is not finite.")
    return value


def _index(file: Path, wanted: str | int | None, names: list[str], width: int) -> int:
    if wanted is None:
        if width > 1:
            shown = f" ({', '.join(names)})" if names else ""
            raise UserError(f"{file} has {width} columns{shown}; name one with sampling.column.")
        return 0
    if isinstance(wanted, int):
        if not 1 <= wanted <= width:
            raise UserError(f"{file} has {width} columns, no column {wanted}.")
        return wanted - 1
    if wanted not in names:
        known = ", ".join(names) or "none: it has no line '#! FIELDS'"
        raise UserError(f"{file} has no column {wanted!r}; its columns are {known}.")
    return names.index(wanted)
