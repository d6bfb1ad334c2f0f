"""What shots found, and the files of it: arrays, the table of weights, trajectories and transition states."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from spacetime_tps.analysis.path_metrics import channel_labels
from spacetime_tps.analysis.rates import Rates, ShotEnsemble, resampled
from spacetime_tps.analysis.tubes import tubes
from spacetime_tps.export.trajectory import MoleculeWriter
from spacetime_tps.files import write_arrays, write_csv, write_text
from spacetime_tps.seeds import generator
from spacetime_tps.shooting.chains import Observables
from spacetime_tps.shooting.path import pack
from spacetime_tps.stages.context import Context, frame_interval
from spacetime_tps.stages.export import NOT_FOR_SCIENCE
from spacetime_tps.stages.no_rates import INTERMEDIATE, Gathering, gathering
from spacetime_tps.stages.ridge_rounds import RidgeShots, ridge_space
from spacetime_tps.systems import Molecule, System

FOLDER = "ensemble"
ENSEMBLE_PATHS = f"{FOLDER}/paths.npz"
"""Frames of the exported paths, in the order of ``exported`` of ``shots.npz``."""
NATURE_OF_SHOT_PATHS = (
    "Unguided trajectories in physical time: samples of the transition path ensemble of the stated dynamics, "
    "temperature and states, all rows of ensemble/weights.csv by their weights"
)
NATURE_OF_EXPORTED_PATHS = f"{NATURE_OF_SHOT_PATHS}, or the files path_*.dcd each as often as it was drawn."
_MOST_UNFINISHED = 0.01
"""Share of shots that reached no state above which it matters where they stopped."""
_TRANSITION_STATES = (0.4, 0.6)
_SHOWN_STATES = 100


@dataclass(frozen=True)
class Found:
    """What shots gave, and why there is no rate, if there is none.

    Attributes:
        system: of the run.
        shots: across all ridges.
        ensemble: their weights.
        rates: by these; None if there are none.
        reason: why there are none, in words.
    """

    system: System
    shots: RidgeShots
    ensemble: ShotEnsemble
    rates: Rates | None
    reason: str

    @cached_property
    def channels(self) -> list[str]:
        """The way that each path takes around the angles that bound both states."""
        observables = Observables.of(self.system)
        moved = [observables.displacement(path.variables) for path in self.ensemble.shots.paths]
        return channel_labels(np.array(moved), self.system.turning) if moved else []

    @property
    def many_lost(self) -> bool:
        """Whether so many shots reached no state, or more than connect the states, that it matters where."""
        unfinished = self.shots.shots.unfinished
        return bool(unfinished.mean() > _MOST_UNFINISHED or unfinished.sum() > len(self.shots.shots.paths))

    @cached_property
    def gathering(self) -> Gathering | None:
        """Where many lost shots stopped, if they came to rest there."""
        return gathering(self.system, self.shots.shots) if self.many_lost else None

    @cached_property
    def crossings(self) -> np.ndarray:
        """Features of each path where the windows lie thickest, on top of a ridge, shape (n, n_features)."""
        paths, tops = self.ensemble.shots.paths, self.ensemble.tops
        variables = [path.variables[top] for path, top in zip(paths, tops, strict=True)]
        return ridge_space(self.system).features(np.array(variables))

    @cached_property
    def tubes(self) -> np.ndarray:
        """Number of the tube of each path among those of its channel, shape (n,)."""
        channels, numbers = np.array(self.channels), np.zeros(len(self.channels), dtype=int)
        for label in set(self.channels):
            rows = channels == label
            numbers[rows] = tubes(self.crossings[rows], self.ensemble.weights[rows])
        return numbers

    @property
    def near_half(self) -> np.ndarray:
        """Numbers of points whose committor lies between 0.4 and 0.6 by the fit to their ridge's shots."""
        shots = self.shots.shots
        p_b = self.shots.p_b(ridge_space(self.system).features(shots.variables), shots.window)
        low, high = _TRANSITION_STATES
        return np.flatnonzero((p_b >= low) & (p_b <= high) & ~shots.inside)


def write_shots(context: Context, found: Found) -> None:
    """Arrays, the table of weights, and for a molecule trajectories and transition states."""
    system, shots, weights = context.system, found.shots.shots, found.ensemble.weights
    folder, config = context.folder, context.config.transitions
    interval = frame_interval(context.config, config.frame_every)
    note = NOT_FOR_SCIENCE if context.config.preset == "quick" else None
    drawn = _drawn(weights, config.trajectories, generator(context.config.seed, "transitions", "exported"))
    heaviest = np.argsort(-weights, kind="stable")
    exported, others = heaviest[drawn[heaviest] > 0], heaviest[drawn[heaviest] == 0]
    names = [f"path_{number:04d}.dcd" for number in range(len(exported))] if system.molecule else []
    if system.molecule is not None:
        writer = MoleculeWriter(system.molecule.topology, system.structures[0])
        for k, name in zip(exported, names, strict=True):
            writer.trajectory(folder / FOLDER / name, whole_frames(system.molecule, shots.paths[k].positions), interval)
        states = _transition_states(context, found)
        if len(states):
            write_text(folder / FOLDER / "transition_states.pdb", writer.models(states, note))
        if found.gathering is not None:
            frame = whole_frames(system.molecule, found.gathering.frame[None])
            write_text(folder / INTERMEDIATE, writer.models(frame, note))
    columns: dict[str, list[Any]] = {
        "weight": weights.tolist(),
        "drawn": drawn.tolist(),
        "duration_ps" if system.molecule else "duration_reduced": [interval * (len(path) - 1) for path in shots.paths],
        "channel": found.channels,
        "tube": found.tubes.tolist(),
    }
    if system.reference is not None:
        observables = Observables.of(system)
        highest = [observables.max_free_energy(path.variables) for path in shots.paths]
        columns[f"max_free_energy_{system.suffix}"] = highest
    order = [*exported.tolist(), *others.tolist()]
    files = [*names, *[""] * (len(order) - len(names))]
    rows = [
        [row, *(values[k] for values in columns.values()), file]
        for row, (k, file) in enumerate(zip(order, files, strict=True))
    ]
    write_csv(folder / FOLDER / "weights.csv", ["path", *columns, "file"], rows, note)
    if len(exported):
        write_arrays(folder / ENSEMBLE_PATHS, **pack([shots.paths[k] for k in exported]))
    windows = found.shots.windows
    write_arrays(
        folder / "shots.npz",
        weights=weights,
        log_factors=found.ensemble.log_factors,
        log_sums=found.ensemble.log_sums,
        exported=exported,
        drawn=drawn,
        shot=shots.shot,
        lengths=np.array([len(path) for path in shots.paths], dtype=int),
        path_variables=np.concatenate([path.variables for path in shots.paths]) if shots.paths else np.zeros((0, 0)),
        window=shots.window,
        walker=shots.walker,
        ends=shots.ends,
        inside=shots.inside,
        variables=shots.variables,
        direction=windows.direction,
        center=windows.center,
        stiffness=windows.stiffness,
        tilt=windows.tilt,
        curb=windows.curb,
        channel=found.shots.channel,
    )


def _drawn(weights: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """How often each path is among ``count`` that count alike, shape (n,)."""
    if not weights.any():
        return np.zeros(len(weights), dtype=int)
    return np.bincount(resampled(weights, count, rng), minlength=len(weights))


def whole_frames(molecule: Molecule, positions: np.ndarray) -> np.ndarray:
    """Positions of all atoms, those of water at nought where they were not kept: no trajectory holds them."""
    atoms = molecule.topology.getNumAtoms()
    if positions.shape[1] == atoms:
        return positions
    whole = np.zeros((len(positions), atoms, 3), dtype=positions.dtype)
    whole[:, molecule.solute] = positions
    return whole


def _transition_states(context: Context, found: Found) -> np.ndarray:
    """Points between 0.4 and 0.6 of the fitted committors, as Boltzmann has them, shape (n, n_atoms, 3)."""
    likely, shots = found.near_half, found.shots.shots
    weights = np.exp(found.ensemble.solution.log_weights[-len(shots) :])[likely]
    if not len(likely):
        return np.zeros((0, *shots.positions.shape[1:]))
    rng = generator(context.config.seed, "transitions", "states")
    count = min(_SHOWN_STATES, len(likely))
    drawn = rng.choice(likely, count, replace=False, p=weights / weights.sum())
    return shots.positions[drawn]
