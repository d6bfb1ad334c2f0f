"""What the samples of a run say before any curve is drawn: channels, constraints, free energies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from spacetime_tps.config import ToyConfig
from spacetime_tps.diffusion.denoiser import Denoiser
from spacetime_tps.diffusion.exact import SampleDenoiser, sample_denoiser
from spacetime_tps.diffusion.rigid import PlacedSampleDenoiser
from spacetime_tps.diffusion.targets import reference_posterior
from spacetime_tps.errors import UserError
from spacetime_tps.geometry.channels import (
    FAR_OFF,
    lifted_channels,
    off_samples,
    order_by_promise,
    rank_channels,
    smoothed_barrier,
    surface_barrier,
)
from spacetime_tps.geometry.constraints import (
    AvoidRegion,
    Constraint,
    LowVariance,
    Pull,
    Strain,
    TrainedRange,
    Waypoint,
)
from spacetime_tps.geometry.free_energy import (
    MAX_GRID_DIMENSION,
    ModelFreeEnergy,
    smoothed_surface,
)
from spacetime_tps.geometry.geodesic import Geodesic
from spacetime_tps.geometry.smoothed import SmoothedDensity
from spacetime_tps.potentials import FreeEnergySurface
from spacetime_tps.representations import Cartesian, Channel, Components, Identity, Torsions
from spacetime_tps.stages.context import Context
from spacetime_tps.stages.sample import angles_of_samples, load_samples
from spacetime_tps.states import Ball
from spacetime_tps.systems import System

_PROBES = 500
"""Samples of a state among which its bottom is looked for."""
_FEW_NEAR = 10.0
"""Samples near a structure below which its free energy is not known to one kT."""
_PULL_OF_COMPONENTS, _PULL_OF_POSITIONS = 2.5, 1.25
"""Standard deviations of the noise by which a restraint's centre may lie off; less where there are many coordinates."""
_TIE_KT = 0.5
"""Barriers on the run's own surface that differ by less are equal within its noise."""


@dataclass(frozen=True)
class Ground:
    """What the samples of a run say before any curve is drawn.

    Attributes:
        posterior: of the samples themselves.
        read: the same in the variables that ``center`` returns.
        surface: their free energy, up to two variables.
        model: the denoiser's own free energy, for any number of them.
        constraints: that the configuration asks for.
        channels: that are tried, most promising first.
        promise: the height [kT] that each possible channel has to climb at least, by label, lowest first.
    """

    posterior: SampleDenoiser | PlacedSampleDenoiser
    read: SampleDenoiser
    surface: FreeEnergySurface | None
    model: ModelFreeEnergy
    constraints: list[Constraint]
    channels: list[Channel]
    promise: dict[str, float]


def ground_of(context: Context, denoiser: Denoiser, rng: torch.Generator) -> Ground:
    """Read the samples of a run.

    Raises:
        UserError: no sample lies in the region to be avoided, or an end structure does, or the channel that the
            configuration names is none.
    """
    system, representation = context.system, context.system.representation
    samples = load_samples(context)
    learning, level = context.config.denoiser, context.config.geodesic.surface_log_snr
    highest = max(level, learning.log_snr_range[1])
    posterior = reference_posterior(representation, samples, learning.reference_samples, rng, highest)
    model = ModelFreeEnergy(SmoothedDensity(denoiser, representation), system.kt, level)
    read = posterior if isinstance(posterior, SampleDenoiser) else None
    angles = None
    if not isinstance(representation, Torsions | Identity):
        angles = angles_of_samples(context)
        features = torch.from_numpy(system.torsions.features_of_angles(angles))
        laid = sample_denoiser(system.torsions, features, torch.from_numpy(samples.log_weights), highest)
        assert isinstance(laid, SampleDenoiser)
        read = laid
    assert read is not None
    channels, promise = _channels(context, read)
    if angles is not None:
        ends, config = representation.features(system.structures), context.config.geodesic
        channels = lifted_channels(
            channels, system.torsions, angles, samples, ends, config.log_snr_end, config.surface_log_snr
        )
    constraints = _constraints(context, read, samples.features)
    return Ground(posterior, read, _own_surface(context, read), model, constraints, channels, promise)


def _channels(context: Context, posterior: SampleDenoiser) -> tuple[list[Channel], dict[str, float]]:
    """The one that the configuration names, or the most promising ones; and what all of them promise."""
    representation, config = posterior.representation, context.config.geodesic
    start, end = representation.features(context.system.structures)
    if config.channel is not None:
        return [representation.named_channel(config.channel, start, end, config.log_snr_end)], {}
    channels = representation.channels(start, end, config.log_snr_end)
    if not isinstance(representation, Torsions):
        return channels, {}
    ordered = order_by_promise(channels, representation, posterior, config.surface_log_snr)
    return [channel for channel, _ in ordered[: config.max_channels]], {c.label: height for c, height in ordered}


def ranked(found: list[Geodesic], ground: Ground, system: System) -> tuple[list[Geodesic], dict[str, float]]:
    """Curves by their barrier on the run's own samples, best first, and these barriers by label."""
    own = {
        g.channel.label: surface_barrier(g, system.representation, ground.surface)
        if ground.surface is not None
        else smoothed_barrier(g, system.representation, ground.model)
        for g in found
    }
    lost = [label for label, off in left_samples(found, ground, system).items() if off > FAR_OFF]
    return rank_channels(found, own, _TIE_KT * system.kt, lost), own


def left_samples(found: list[Geodesic], ground: Ground, system: System) -> dict[str, float]:
    """How far curves leave the samples (see ``off_samples``), by label.

    Nothing, where a chart holds every curve among them: of torsions and of a potential's coordinates.
    """
    representation = system.representation
    if isinstance(representation, Torsions | Identity):
        return {}
    return {g.channel.label: off_samples(g, representation, ground.posterior) for g in found}


def _constraints(context: Context, posterior: SampleDenoiser, features: np.ndarray) -> list[Constraint]:
    """What the configuration asks for, in terms of the run's own samples.

    Raises:
        UserError: no sample lies in the region to be avoided, or an end structure does.
    """
    system, config = context.system, context.config
    representation = system.representation
    constraints: list[Constraint] = [TrainedRange(representation, *config.denoiser.log_snr_range)]
    if isinstance(representation, Components):
        constraints.append(Pull(representation, _PULL_OF_COMPONENTS))
    if isinstance(representation, Cartesian):
        constraints.append(Pull(representation, _PULL_OF_POSITIONS))
        strain = Strain.of_samples(representation, features)
        constraints += [] if strain is None else [strain]
    if config.low_variance is not None:
        constraints.append(LowVariance(representation.max_block_variance(config.low_variance)))
    if system.avoided is not None:
        ends = system.avoided.contains(
            representation.center(representation.statistics(representation.features(system.structures)))
        )
        if ends.any():
            state = system.states[int(ends.argmax())].name
            raise UserError(
                f"geodesic.avoid holds the structure of state {state!r}, where paths have to go; make it smaller."
            )
        inside = torch.from_numpy(system.avoided.contains(representation.center(posterior.statistics.numpy())))
        if not inside.any():
            raise UserError(
                "No sample of this run lies in geodesic.avoid, so its probability is unknown; "
                "sample longer or remove it."
            )
        constraints.append(
            AvoidRegion(posterior.statistics[inside], posterior.log_weights[inside], config.geodesic.avoid_share)
        )
    for k, ball in enumerate(system.waypoints):
        assert isinstance(ball, Ball)
        constraints.append(Waypoint(ball, representation, name=f"waypoint {k + 1}"))
    return constraints


def heights_of_ends(ground: Ground, system: System, log_snr: float) -> list[float]:
    """How far either end structure lies above the bottom of its state [kT], by the samples, smoothed at a level.

    A barrier that is counted from an end which is not the bottom of its state is too low by that much. Empty where the
    states are not defined in the variables of the representation; NaN where no sample lies in a state, or, in the few
    dimensions of a grid, so few lie near the structure that a hole of the samples would pass for a height.
    """
    posterior = ground.read
    representation = posterior.representation
    if system.center_names != system.variables.names:
        return []
    density = SmoothedDensity(posterior, representation)
    centers = representation.center(posterior.statistics.numpy())
    ends = representation.center(representation.statistics(representation.features(system.structures)))
    nearby = [np.inf, np.inf]
    if len(system.center_names) <= MAX_GRID_DIMENSION:  # in more of them hardly any sample lies near any structure
        nearby = _samples_near(posterior, system, density.natural(torch.from_numpy(ends), log_snr))
    heights = []
    for state, end, near in zip(system.states, ends, nearby, strict=True):
        inside = np.flatnonzero(state.contains(centers))
        probes = inside[:: max(1, len(inside) // _PROBES)]
        with torch.no_grad():
            height = density.free_energy(torch.from_numpy(np.vstack([end, centers[probes]])), log_snr).numpy()
        heights.append(float(height[0] - height.min()) if len(probes) and near >= _FEW_NEAR else float("nan"))
    return heights


def _samples_near(posterior: SampleDenoiser, system: System, natural: Tensor) -> list[float]:
    """How many samples, whatever their weights, lie within the kernel of either end structure, shape (2,)."""
    representation = posterior.representation
    at = torch.from_numpy(representation.statistics(representation.features(system.structures)))
    return [float(((posterior.statistics - t) @ n).exp().sum()) for t, n in zip(at, natural, strict=True)]


def _own_surface(context: Context, posterior: SampleDenoiser) -> FreeEnergySurface | None:
    system = context.system
    names = system.center_names
    if len(names) > MAX_GRID_DIMENSION:
        return None
    box = context.config.system.box if isinstance(context.config.system, ToyConfig) else None
    return smoothed_surface(posterior, names, box, system.kt, context.config.geodesic.surface_log_snr)
