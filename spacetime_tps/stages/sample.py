"""Stage 1: Boltzmann samples."""

from __future__ import annotations

from spacetime_tps.boltzmann.langevin import sample_langevin
from spacetime_tps.boltzmann.metadynamics import sample_metadynamics
from spacetime_tps.boltzmann.samples import WeightedSamples
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
        samples, summary = sample_langevin(system.potential, system.potential_kt, system.structures, config, seed)
    else:
        samples, summary = _molecule(context, config)
    require_finite(
        "The samples are",
        "check the structures, lower the time step or the hill height",
        samples.features,
        samples.log_weights,
    )
    context.make_room()
    samples.save(context.folder / "samples.npz")
    visited = [bool(state.contains(system.variables(samples.frames)).any()) for state in system.states]
    return StageResult(
        {**summary, "samples": len(samples.features), "visited_a": visited[0], "visited_b": visited[1]},
        samples.force_evaluations,
    )


def _molecule(context: Context, config: MetadynamicsConfig) -> tuple[WeightedSamples, dict[str, float]]:
    system = context.system
    assert isinstance(system.representation, Torsions)
    angles, log_weights, frames, table, cost = sample_metadynamics(
        context.dynamics(),
        system.representation.quadruples,
        system.structures,
        config,
        context.config.seed,
        context.pool,
    )
    features = system.representation.features_of_angles(angles)
    samples = WeightedSamples(features, log_weights, frames, cost)
    return samples, {"effective_samples": samples.effective_size(), "max_bias_kj_mol": float(table.max())}
