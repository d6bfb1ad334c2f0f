"""Stage 1: Boltzmann samples."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from spacetime_tps.boltzmann.coverage import Coverage, coverage
from spacetime_tps.boltzmann.langevin import sample_langevin
from spacetime_tps.boltzmann.metadynamics import Metadynamics, sample_metadynamics
from spacetime_tps.boltzmann.replica_exchange import ReplicaExchange, sample_replica_exchange
from spacetime_tps.boltzmann.samples import WeightedSamples
from spacetime_tps.boltzmann.trajectory_files import TrajectorySamples, read_trajectories
from spacetime_tps.boltzmann.transitions import Transitions, Watched
from spacetime_tps.config import LangevinConfig, MetadynamicsConfig, ReplicaExchangeConfig, TrajectoriesConfig
from spacetime_tps.files import require_finite
from spacetime_tps.representations import Torsions
from spacetime_tps.seeds import generator, torch_seed
from spacetime_tps.stages.context import Context, StageResult
from spacetime_tps.topology import Isomers

logger = logging.getLogger(__name__)


def sample(context: Context) -> StageResult:
    """Draw weighted samples and write ``samples.npz``."""
    system, config = context.system, context.config.sampling
    if isinstance(config, LangevinConfig):
        assert system.potential is not None
        seed = torch_seed(context.config.seed, "sample")
        samples, transitions, summary = sample_langevin(
            system.potential, system.potential_kt, system.structures, system.states, config, seed
        )
        visited = [bool(state.contains(system.variables(samples.frames)).any()) for state in system.states]
        summary |= {"visited_a": visited[0], "visited_b": visited[1]}
    else:
        samples, transitions, summary = _molecule(context, config)
    require_finite(
        "The samples are",
        "check the structures, lower the time step or the hill height",
        samples.features,
        samples.log_weights,
    )
    context.make_room()
    transitions.save(context.folder / "transitions.npz")
    samples.save(context.folder / "samples.npz")
    return StageResult(
        {**summary, "samples": len(samples.features), "transitions": len(transitions)}, samples.force_evaluations
    )


def _molecule(
    context: Context, config: MetadynamicsConfig | ReplicaExchangeConfig | TrajectoriesConfig
) -> tuple[WeightedSamples, Transitions, dict[str, Any]]:
    system = context.system
    assert isinstance(system.representation, Torsions)
    assert system.variables.quadruples is not None
    assert system.molecule is not None
    sampled: Metadynamics | ReplicaExchange | TrajectorySamples
    if isinstance(config, MetadynamicsConfig):
        sampled = _metadynamics(context, config)
        summary: dict[str, Any] = {"max_bias_kj_mol": float(sampled.table.max())}
    elif isinstance(config, TrajectoriesConfig):
        watched, topology = _watched(context), system.molecule.topology
        sampled = read_trajectories(config, context.folder.path, topology, watched, system.kt)
        summary = {"trajectories": int(sampled.walker.max()) + 1}
    else:
        sampled = _replica_exchange(context, config)
        summary = {
            "temperatures_k": sampled.temperatures,
            "acceptance": sampled.acceptance,
            "round_trips": sampled.round_trips,
            "discarded": sampled.discarded,
        }
    in_a, in_b = (state.contains(sampled.angles) for state in system.states)
    columns = [system.variables.names.index(name) for name in system.representation.block_names]
    angles = sampled.angles[:, columns]
    covered = coverage(
        angles,
        sampled.log_weights,
        sampled.walker,
        in_a,
        in_b,
        len(sampled.transitions),
        system.kt,
        generator(context.config.seed, "coverage"),
    )
    _warn(covered)
    features = system.representation.features_of_angles(angles)
    samples = WeightedSamples(features, sampled.log_weights, sampled.frames, sampled.force_evaluations)
    summary |= {
        "effective_samples": samples.effective_size(),
        "visited_a": bool(in_a.any()),
        "visited_b": bool(in_b.any()),
        "connected": covered.connected,
        "connection_gap_deg": covered.gap_deg,
        "delta_f_states_kj_mol": {"value": covered.delta_f, "error": covered.delta_f_error, "of": "states, B minus A"},
    }
    return samples, sampled.transitions, summary


def _watched(context: Context) -> Watched:
    return Watched(context.system.states, context.system.variables, context.config.paths.look_every)


def _metadynamics(context: Context, config: MetadynamicsConfig) -> Metadynamics:
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
        system.variables.quadruples,
    )


def _replica_exchange(context: Context, config: ReplicaExchangeConfig) -> ReplicaExchange:
    system = context.system
    assert system.molecule is not None
    assert isinstance(system.representation, Torsions)
    assert system.variables.quadruples is not None
    return sample_replica_exchange(
        context.dynamics(),
        system.variables.quadruples,
        system.structures,
        config,
        Isomers.of(system.molecule.topology, system.structures, system.representation.quadruples),
        _watched(context),
        context.config.seed,
        context.pool,
    )


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
