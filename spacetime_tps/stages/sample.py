"""Stage 1: Boltzmann samples."""

from __future__ import annotations

from spacetime_tps.boltzmann.langevin import sample_langevin
from spacetime_tps.boltzmann.metadynamics import Watched, sample_metadynamics
from spacetime_tps.boltzmann.samples import WeightedSamples
from spacetime_tps.boltzmann.transitions import Transitions
from spacetime_tps.config import LangevinConfig, MetadynamicsConfig
from spacetime_tps.files import require_finite
from spacetime_tps.representations import Torsions
from spacetime_tps.seeds import torch_seed
from spacetime_tps.stages.context import Context, StageResult


def sample(context: Context) -> StageResult:
    """Draw weighted samples and write ``samples.npz``."""
    system, config = context.system, context.config.sampling
    if isinstance(config, LangevinConfig):
        assert system.potential is not None
        seed = torch_seed(context.config.seed, "sample")
        samples, transitions, summary = sample_langevin(
            system.potential, system.potential_kt, system.structures, system.states, config, seed
        )
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
    visited = [bool(state.contains(system.variables(samples.frames)).any()) for state in system.states]
    return StageResult(
        {
            **summary,
            "samples": len(samples.features),
            "visited_a": visited[0],
            "visited_b": visited[1],
            "transitions": len(transitions),
        },
        samples.force_evaluations,
    )


def _molecule(context: Context, config: MetadynamicsConfig) -> tuple[WeightedSamples, Transitions, dict[str, float]]:
    system = context.system
    assert isinstance(system.representation, Torsions)
    assert system.variables.quadruples is not None
    names = system.variables.names
    biased = [names.index(name) for name in config.bias or system.representation.block_names]
    watched = Watched(system.states, system.variables, context.config.paths.look_every)
    angles, log_weights, frames, table, transitions, cost = sample_metadynamics(
        context.dynamics(),
        system.variables.quadruples[biased],
        system.structures,
        config,
        context.config.seed,
        context.pool,
        watched,
        system.representation.quadruples,
    )
    features = system.representation.features_of_angles(angles)
    samples = WeightedSamples(features, log_weights, frames, cost)
    summary = {"effective_samples": samples.effective_size(), "max_bias_kj_mol": float(table.max())}
    return samples, transitions, summary
