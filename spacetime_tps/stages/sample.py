"""Stage 1: Boltzmann samples."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.special import logsumexp

from spacetime_tps.boltzmann.coverage import Coverage, coverage
from spacetime_tps.boltzmann.free_runs import FreeSamples, sample_free_runs, with_background
from spacetime_tps.boltzmann.langevin import sample_langevin
from spacetime_tps.boltzmann.metadynamics import Metadynamics, sample_metadynamics
from spacetime_tps.boltzmann.recording import Recorder
from spacetime_tps.boltzmann.replica_exchange import ReplicaExchange, sample_replica_exchange
from spacetime_tps.boltzmann.samples import WeightedSamples
from spacetime_tps.boltzmann.trajectory_files import TrajectorySamples, read_trajectories
from spacetime_tps.boltzmann.transitions import Transitions, Watched
from spacetime_tps.config import (
    AdaptiveConfig,
    CartesianConfig,
    ComponentsConfig,
    LangevinConfig,
    MetadynamicsConfig,
    ReplicaExchangeConfig,
    TrajectoriesConfig,
)
from spacetime_tps.errors import DamagedFileError, UserError
from spacetime_tps.files import read_arrays, require_finite, write_arrays
from spacetime_tps.representations import AtomAxes, Cartesian, Components, Molecular, TorsionAxes, Torsions, wrap
from spacetime_tps.representations.fitting import FITTED, fit_atoms, fit_torsions
from spacetime_tps.seeds import generator, torch_seed
from spacetime_tps.stages.context import Context, StageResult
from spacetime_tps.stages.folder import RunFolder
from spacetime_tps.systems import ENDS, System
from spacetime_tps.topology import Isomers, free_torsions
from spacetime_tps.units import shown_number

logger = logging.getLogger(__name__)

_TURNS = np.deg2rad(60.0)
"""A torsion that differs by more between the end structures may have a barrier to turn over."""
_MOSTLY = 0.5
_FEW_SAMPLES = 20
"""Effective samples below which a density is none."""
_MOST_FLATTENED = 2
"""Torsions that a bias is grown for unasked: a third takes ten times as long to fill."""


def sample(context: Context) -> StageResult:
    """Draw weighted samples and write ``samples.npz``."""
    if context.system.given is not None:  # what an earlier attempt found must not change this one
        context = replace(context, system=replace(context.system, structures=context.system.given))
    system, config = context.system, context.config.sampling
    ends = None
    if isinstance(config, LangevinConfig):
        assert system.potential is not None
        seed = torch_seed(context.config.seed, "sample")
        samples, transitions, summary = sample_langevin(
            system.potential, system.potential_kt, system.structures, system.states, config, seed
        )
        torsions, fit = None, None
        visited = [bool(state.contains(system.variables(samples.frames)).any()) for state in system.states]
        summary |= {"visited_a": visited[0], "visited_b": visited[1]}
    else:
        samples, transitions, summary, torsions, fit = _molecule(context, config)
        if isinstance(config, AdaptiveConfig):
            ends = _bottoms(system, samples, context.config.geodesic.surface_log_snr)
    require_finite(
        "The samples are",
        "check the structures, lower the time step or the hill height",
        samples.features,
        samples.log_weights,
    )
    context.make_room()
    transitions.save(context.folder / "transitions.npz")
    if torsions is not None:
        write_arrays(context.folder / "torsions.npz", **torsions)
    if fit is not None:
        write_arrays(context.folder / FITTED, **vars(fit))
    if ends is not None:
        write_arrays(context.folder / ENDS, structures=ends)
    samples.save(context.folder / "samples.npz")
    summary = {**summary, "samples": len(samples.features), "transitions": len(transitions)}
    return StageResult(summary, samples.force_evaluations, words=_told(summary))


def _told(summary: dict[str, Any]) -> str:
    """How well the samples join both states."""
    if "left_their_state" in summary:
        return f"{summary['samples']:,} samples within the states, nothing between them"
    words = f"{summary['effective_samples']:,.0f} effective of {summary['samples']:,} samples"
    words += f", {summary['transitions']:,} transitions between the states"
    difference = summary.get("delta_f_states_kj_mol")
    if difference is not None and np.isfinite(difference["value"]):
        words += f", B-A {difference['value']:.2f} +- {shown_number(difference['error'])} kJ/mol"
    return words


def _bottoms(system: System, samples: WeightedSamples, log_snr: float) -> np.ndarray:
    """The frame of either state where the samples are densest at a level of smoothing, shape (2, n_atoms, 3) [nm].

    A path that begins on the flank of a state would count its barrier from there.
    """
    inside, features = system.in_states(system.variables(samples.frames)), system.torsions.features(samples.frames)
    found = []
    for k, structure in enumerate(system.structures):
        frames = np.concatenate([structure[None], samples.frames[inside[:, k]]])
        at = np.concatenate([system.torsions.features(structure[None]), features[inside[:, k]]])
        found.append(frames[logsumexp(np.exp(log_snr) * (at @ samples.features.T), axis=1).argmax()])
    return np.array(found, dtype=np.float64)


def _molecule(
    context: Context, config: MetadynamicsConfig | ReplicaExchangeConfig | TrajectoriesConfig | AdaptiveConfig
) -> tuple[WeightedSamples, Transitions, dict[str, Any], dict[str, np.ndarray], AtomAxes | TorsionAxes | None]:
    """Samples, transitions, what to say of them, all torsions of every sample, and what was fitted to them."""
    system = context.system
    assert system.variables.quadruples is not None
    assert system.molecule is not None
    others = free_torsions(system.molecule.topology, system.variables.quadruples)
    recorded = Recorder(
        np.concatenate([system.variables.quadruples, others.quadruples]),
        system.recorded_atoms,
        system.variables.measures,
    )
    sampled, summary = _drawn(context, config, recorded)
    everything, positions = recorded.angles(sampled.seen), recorded.positions(sampled.seen)
    variables = recorded.variables(sampled.seen, system.variables)
    angles, inside = everything[:, system.represented], system.in_states(variables)
    representation, fit = _fitted(context, angles, positions, sampled)
    features = representation.features_of_seen(angles, positions)
    samples = WeightedSamples(features, sampled.log_weights, sampled.frames, sampled.force_evaluations)
    _check_weights(samples)
    summary |= {
        "effective_samples": samples.effective_size(),
        "visited_a": bool(inside[:, 0].any()),
        "visited_b": bool(inside[:, 1].any()),
    }
    if not isinstance(sampled, FreeSamples):
        rng = generator(context.config.seed, "coverage")
        in_a, in_b, crossings = inside[:, 0], inside[:, 1], len(sampled.transitions)
        covered = coverage(angles, sampled.log_weights, sampled.walker, in_a, in_b, crossings, system.kt, rng)
        _warn(covered)
        summary |= _joining(covered)
    torsions = {
        "quadruples": recorded.quadruples,
        "represented": system.torsions.quadruples,
        "angles": everything.astype(np.float32),
        "measures": variables[:, system.variables.n_angles :],
        "walker": sampled.walker,
    }
    return samples, sampled.transitions, summary, torsions, fit


def _drawn(
    context: Context,
    config: MetadynamicsConfig | ReplicaExchangeConfig | TrajectoriesConfig | AdaptiveConfig,
    recorded: Recorder,
) -> tuple[Metadynamics | ReplicaExchange | TrajectorySamples | FreeSamples, dict[str, Any]]:
    """What was drawn, by the kind of sampling, and what is to be said of it."""
    system, seed = context.system, context.config.seed
    assert system.molecule is not None
    if isinstance(config, MetadynamicsConfig):
        walked = _metadynamics(context, config, recorded)
        return walked, {"max_bias_kj_mol": float(walked.table.max())}
    if isinstance(config, TrajectoriesConfig):
        topology, folder = system.molecule.topology, context.folder.path
        read = read_trajectories(config, folder, topology, system.structures[0], _watched(context), recorded, system.kt)
        return read, {"trajectories": int(read.walker.max()) + 1}
    if isinstance(config, AdaptiveConfig):
        watched, dynamics = _watched(context), context.dynamics()
        free = sample_free_runs(dynamics, system.structures, watched, recorded, config, seed, context.pool)
        _check_free_runs(free, system)
        return free, {"left_their_state": free.left}
    ladder = _replica_exchange(context, config, recorded)
    return ladder, {
        "biased": [system.variables.names[k] for k in flattened(system, config)],
        "max_bias_kj_mol": None if ladder.bias is None else float(ladder.bias.table.max()),
        "temperatures_k": ladder.temperatures,
        "acceptance": ladder.acceptance,
        "round_trips": ladder.round_trips,
        "discarded": ladder.discarded,
    }


def _fitted(
    context: Context,
    angles: np.ndarray,
    positions: np.ndarray,
    sampled: Metadynamics | ReplicaExchange | TrajectorySamples | FreeSamples,
) -> tuple[Molecular, AtomAxes | TorsionAxes | None]:
    """The representation of the run, fitted to its samples if it is of such a kind, and the fit."""
    system, wanted = context.system, context.config.representation
    if isinstance(wanted, CartesianConfig):
        atoms = fit_atoms(positions)
        return Cartesian(system.torsions, system.recorded_atoms, atoms), atoms
    if not isinstance(wanted, ComponentsConfig):
        return system.torsions, None
    lag = None
    if wanted.kind == "tica":
        assert isinstance(context.config.sampling, MetadynamicsConfig | ReplicaExchangeConfig)
        lag = max(1, round(wanted.lag / context.config.sampling.sample_interval))
    features = system.torsions.features_of_angles(angles)
    axes = fit_torsions(features, sampled.log_weights, sampled.walker, wanted.count, lag)
    return Components(system.torsions, axes), axes


def _joining(covered: Coverage) -> dict[str, Any]:
    return {
        "connected": covered.connected,
        "connection_gap_deg": covered.gap_deg,
        "delta_f_states_kj_mol": {"value": covered.delta_f, "error": covered.delta_f_error, "of": "states, B minus A"},
    }


def _check_weights(samples: WeightedSamples) -> None:
    if samples.effective_size() < _FEW_SAMPLES:
        logger.warning(
            "all weight lies on %.1f of %d samples: nothing that follows means anything; check the weights, or sample "
            "longer",
            samples.effective_size(),
            len(samples.features),
        )


def _check_free_runs(sampled: FreeSamples, system: System) -> None:
    for state, left in zip(system.states, sampled.left, strict=True):
        if left == 1.0:
            raise UserError(
                f"No free simulation from the structure of {state.name} was seen in that state; check the structure "
                "and the state's definition."
            )
        if left > _MOSTLY:
            logger.warning(
                "free simulations from the structure of %s spent %.0f %% of their time outside of that state; only the "
                "rest counts",
                state.name,
                100 * left,
            )


def load_samples(context: Context) -> WeightedSamples:
    """The samples of a run, in the features of its representation; with ``adaptive`` the plain between them, too.

    Raises:
        UserError: a file is damaged, or a torsion of the representation was not recorded.
    """
    samples, config = drawn_samples(context), context.config.sampling
    if not isinstance(config, AdaptiveConfig):
        return samples
    torsions, level = context.system.torsions, context.config.geodesic.surface_log_snr
    ends = torsions.features(context.system.structures)
    return with_background(samples, torsions, ends, level, config, generator(context.config.seed, "background"))


def drawn_samples(context: Context) -> WeightedSamples:
    """The samples that were drawn and nothing else; see ``load_samples``."""
    samples = WeightedSamples.load(context.folder / "samples.npz")
    representation, file = context.system.representation, context.folder / "torsions.npz"
    if not isinstance(representation, Torsions) or not file.is_file():
        return _fitting(samples, context)
    recorded = read_arrays(file, ("quadruples", "represented", "angles"))
    if np.array_equal(recorded["represented"], representation.quadruples):
        return _fitting(samples, context)
    columns = recorded_columns(context.folder, representation)
    angles = recorded["angles"][:, columns].astype(np.float64)
    return replace(samples, features=representation.features_of_angles(angles))


def angles_of_samples(context: Context) -> np.ndarray:
    """Of the torsions that a molecule is read in [rad], shape (n, n_torsions)."""
    file = context.folder / "torsions.npz"
    angles = read_arrays(file, ("angles",))["angles"]
    return angles[:, recorded_columns(context.folder, context.system.torsions)].astype(np.float64)


def variables_of_samples(context: Context) -> np.ndarray:
    """Collective variables of the samples of a molecule, shape (n, n_cv)."""
    recorded, variables = read_arrays(context.folder / "torsions.npz"), context.system.variables
    angles = recorded["angles"][:, : variables.n_angles].astype(np.float64)
    return np.concatenate([angles, recorded["measures"]], axis=-1) if variables.measures else angles


def _fitting(samples: WeightedSamples, context: Context) -> WeightedSamples:
    """The samples, if their features are those of the representation."""
    if samples.features.shape[1:] != (context.system.representation.n_features,):
        file = context.folder / "samples.npz"
        raise DamagedFileError(f"{file} does not hold the samples of this run; draw them again with 'sample'.")
    return samples


def recorded_columns(folder: RunFolder, representation: Torsions) -> list[int]:
    """Which of the recorded torsions are those of a representation.

    Raises:
        UserError: one of them was not recorded.
    """
    file = folder / "torsions.npz"
    recorded = read_arrays(file, ("quadruples",))["quadruples"] if file.is_file() else np.zeros((0, 4), dtype=int)
    columns = []
    for name, four in zip(representation.block_names, representation.quadruples, strict=True):
        same = (recorded == four).all(axis=1) | (recorded == four[::-1]).all(axis=1)
        if not same.any():
            raise UserError(
                f"The samples of {folder.path} do not hold the torsion {name!r}: recorded were torsions of four "
                "heavy atoms along bonds, and the collective variables."
            )
        columns.append(int(same.argmax()))
    return columns


def _watched(context: Context) -> Watched:
    return Watched(context.system.states, context.system.variables, context.config.paths.look_every)


def _metadynamics(context: Context, config: MetadynamicsConfig, recorded: Recorder) -> Metadynamics:
    system = context.system
    assert system.variables.quadruples is not None
    names = system.variables.names
    biased = [names.index(name) for name in config.bias or system.center_names]
    return sample_metadynamics(
        context.dynamics(),
        system.variables.quadruples[biased],
        system.structures,
        config,
        context.config.seed,
        context.pool,
        _watched(context),
        recorded,
    )


def _replica_exchange(context: Context, config: ReplicaExchangeConfig, recorded: Recorder) -> ReplicaExchange:
    system = context.system
    assert system.molecule is not None
    assert system.variables.quadruples is not None
    biased = flattened(system, config)
    return sample_replica_exchange(
        context.dynamics(),
        recorded,
        system.structures,
        config,
        Isomers.of(system.molecule.topology, system.structures, system.torsions.quadruples),
        _watched(context),
        context.config.seed,
        context.pool,
        system.variables.quadruples[biased] if biased else None,
    )


def flattened(system: System, config: ReplicaExchangeConfig) -> list[int]:
    """Columns of the variables that are biased: those that are named, or that take the molecule from A to B."""
    if config.flatten is None:
        return []
    if config.flatten.bias is not None:
        return [system.variables.names.index(name) for name in config.flatten.bias]
    start, end = system.variables(system.structures)
    turn = np.abs(wrap(end - start))
    bounding = {column for state in system.states for column in state.columns}
    candidates = sorted((k for k in bounding if turn[k] > _TURNS), key=lambda k: -turn[k])
    return sorted(candidates[:_MOST_FLATTENED])


def _warn(covered: Coverage) -> None:
    """Say what the path is worth if the samples do not join the states."""
    if not np.isfinite(covered.delta_f):
        missed = "no sample lies in one of the states"
    elif not covered.connected:
        missed = (
            f"no sampling trajectory crossed between the states, and on every way between them the samples leave a gap "
            f"of {covered.gap_deg:.0f} deg"
        )
    else:
        return
    logger.warning(
        "%s: the free-energy difference of the states is unknown, and the geodesic crosses what was not sampled; "
        "sample longer or at a higher temperature",
        missed,
    )
