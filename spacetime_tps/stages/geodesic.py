"""Stage 3: the geodesics of all channels, and the choice among them."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import torch

from spacetime_tps.analysis.minimax import MinimaxPath, closed_to, minimax_between, minimax_of_channel
from spacetime_tps.config import GeodesicConfig
from spacetime_tps.diffusion.denoiser import Denoiser
from spacetime_tps.diffusion.exact import GridDenoiser, SampleDenoiser
from spacetime_tps.errors import UserError
from spacetime_tps.files import require_finite, write_arrays
from spacetime_tps.geometry.channels import (
    FAR_OFF,
    HIGH_KT,
    lifted_ends,
    merge_channels,
    relabelled,
    surface_barrier,
)
from spacetime_tps.geometry.constraints import AvoidRegion, Constraint, Objective
from spacetime_tps.geometry.curve import FineCurve, evaluate
from spacetime_tps.geometry.free_energy import (
    LowBarrier,
    SmoothSurface,
)
from spacetime_tps.geometry.geodesic import Geodesic, optimise_geodesics, polish_geodesics
from spacetime_tps.geometry.other_metrics import (
    PositionCurves,
    pullback_geodesics,
    score_metric_geodesics,
    straight_lines,
    with_tent,
)
from spacetime_tps.geometry.smoothed import SmoothedDensity
from spacetime_tps.potentials import FreeEnergySurface
from spacetime_tps.progress import progress_bar
from spacetime_tps.representations import Channel, Identity, Representation, Torsions
from spacetime_tps.seeds import torch_seed
from spacetime_tps.stages.context import Context, StageResult
from spacetime_tps.stages.ground import Ground, ground_of, heights_of_ends, left_samples, ranked
from spacetime_tps.stages.reference_grid import states_on
from spacetime_tps.stages.train import load_denoiser
from spacetime_tps.systems import System

logger = logging.getLogger(__name__)

_EARLIER_POINTS = 257
"""At which a curve is read that a search goes on from."""
_MODEL_SUBDIVISIONS = 2
"""Of a chord, where each reading of F is a pass through the network."""
_FILLED_KT = 3.0
"""So far below the least climb no model's barrier may lie: more than smoothing in many dimensions does."""


def geodesic(context: Context, earlier: dict[str, FineCurve] | None = None) -> StageResult:
    """Optimise every channel, rank them by the barrier on the run's own surface, write ``geodesic.npz``.

    Args:
        context: of the run.
        earlier: curves of channels, by label, that the search may go on from.
    """
    system, config = context.system, context.config.geodesic
    rng = torch.Generator().manual_seed(torch_seed(context.config.seed, "geodesic"))
    denoiser = load_denoiser(context)
    ground = ground_of(context, denoiser, rng)
    posterior, constraints, channels = ground.posterior, ground.constraints, ground.channels
    found, deviation = _geodesics(context, denoiser, ground, rng, earlier or {})
    if any(channel.detour is not None for channel in channels):
        found = relabelled(found, system.representation, system.center_names)
        _warn_of_another_way(channels[0].label if config.channel else None, [g.channel.label for g in found])
    require_finite(
        "The geodesics are",
        "take back what was changed under 'geodesic'",
        *(array for g in found for array in (g.curve.natural, g.curve.mean)),
    )
    kept, merged = merge_channels(found, config.merge_distance)
    kept, own = ranked(kept, ground, system)
    off = left_samples(kept, ground, system)
    for iteration, energy in enumerate(kept[0].history):
        context.reporter.scalars(iteration, {"geodesic/energy": float(energy)})
    exact, source = _exact(context, posterior)
    avoided = [constraint for constraint in constraints if isinstance(constraint, AvoidRegion)]
    straightness = {} if deviation is None else dict(zip((c.label for c in channels), deviation.tolist(), strict=True))
    rows = [
        {
            **_row(g, context, denoiser, exact),
            **({"avoided_share": _avoided_share(g, avoided[0], ground.read)} if avoided else {}),
            **({"off_samples": off[g.channel.label]} if off else {}),
            **({"deviation_from_straight": straightness[g.channel.label]} if straightness else {}),
            "merged": merged[g.channel.label],
            f"own_barrier_{system.suffix}": own[g.channel.label],
        }
        for g in kept
    ]
    summary: dict[str, Any] = {"chosen": kept[0].channel.label, "geometry": config.geometry}
    summary |= {"iterations": kept[0].iterations, "exact_posterior": source, "channels": rows}
    summary |= {
        "channels_possible": 2 ** len(system.center_names) if system.molecule is not None else 1,
        "channels_tried": len(channels),
        f"least_climb_{system.suffix}": {label: height * system.kt for label, height in ground.promise.items()},
    }
    heights = heights_of_ends(ground, system, config.surface_log_snr)
    if heights:
        summary[f"ends_above_bottom_{system.suffix}"] = [system.kt * height for height in heights]
    _warn_of_high_ends(heights, system)
    _warn(kept[0], config)
    _warn_of_no_samples(kept[0].channel.label, off)
    _warn_of_filled_ridge(kept[0].channel.label, own, ground, system)
    context.make_room()
    if ground.surface is not None:
        ground.surface.save(context.folder / "surface.npz")
    _save(context, kept)
    barrier = f"barrier {own[kept[0].channel.label]:.1f} {system.energy_unit} on the run's own samples"
    return StageResult(summary, words=f"{kept[0].channel.label} of {len(channels)} channels, {barrier}")


def _warn(chosen: Geodesic, config: GeodesicConfig) -> None:
    if config.low_variance is None:
        logger.warning(
            "without geodesic.low_variance a posterior may lie in two wells at once and the curve tunnel between them; "
            "the barrier of its mean is none then"
        )
    tolerance = config.violation_tolerance
    broken = [f"{name} by {value:.2g}" for name, value in chosen.violations.items() if value > tolerance]
    if broken:
        logger.warning("the geodesic %s breaks its constraints: %s", chosen.channel.label, ", ".join(broken))
    elif not chosen.converged:
        logger.warning(
            "the geodesic %s has not converged; raise geodesic.polish_rounds or geodesic.starts", chosen.channel.label
        )


def _warn_of_another_way(wanted: str | None, taken: list[str]) -> None:
    """A representation without circles cannot hold a channel, only begin in it."""
    if wanted is not None and wanted not in taken:
        logger.warning(
            "the curve has left the channel %s, in which it began, for %s: this representation holds no channel",
            wanted,
            ", ".join(taken),
        )


def _warn_of_no_samples(label: str, off: dict[str, float]) -> None:
    if off.get(label, 0.0) > FAR_OFF:
        logger.warning(
            "the curve %s, the best there is, leaves the samples: its posterior mean lies %.1f standard deviations off "
            "theirs; sample longer, or take a representation by torsions",
            label,
            off[label],
        )


def _warn_of_high_ends(heights: list[float], system: System) -> None:
    for state, height in zip(system.states, heights, strict=False):
        if np.isnan(height):
            logger.warning(
                "few samples lie near the structure of state %s: how far it lies above the bottom of its state is "
                "unknown; sample longer",
                state.name,
            )
        if height > HIGH_KT:
            logger.warning(
                "the structure of state %s lies %.1f %s above the bottom of its state: the paths cross from where it "
                "is, and barriers by model and windows count from there; a structure from the bottom gives the whole "
                "barrier",
                state.name,
                system.kt * height,
                system.energy_unit,
            )


def _warn_of_filled_ridge(label: str, own: dict[str, float], ground: Ground, system: System) -> None:
    """A barrier by the model far below what a single torsion of the samples has to climb is none."""
    least = system.kt * ground.promise.get(label, 0.0)
    if ground.surface is None and own[label] < least - _FILLED_KT * system.kt:
        logger.warning(
            "the model's barrier of %s is %.1f %s, but one torsion alone climbs %.1f in the samples: the model may "
            "fill the ridge, where samples are few; the windows tell, and longer sampling helps",
            label,
            own[label],
            system.energy_unit,
            least,
        )


def _avoided_share(g: Geodesic, region: AvoidRegion, posterior: SampleDenoiser) -> float:
    """Share of the region to be avoided along a curve by the run's own samples, numerator and denominator alike."""
    natural = torch.from_numpy(g.curve.natural)[None]
    return float(region.share(natural, posterior(natural)).exp())


def _geodesics(
    context: Context, denoiser: Denoiser, ground: Ground, rng: torch.Generator, earlier: dict[str, FineCurve]
) -> tuple[list[Geodesic], np.ndarray | None]:
    """The geodesics of the chosen geometry; for the pullback metric also how far they are from straight."""
    config, representation = context.config.geodesic, context.system.representation
    channels, constraints = ground.channels, ground.constraints
    if config.geometry == "spacetime":
        return _spacetime_geodesics(context, denoiser, ground, rng, earlier), None
    density = SmoothedDensity(denoiser, representation)
    start, end = (
        torch.tensor(np.stack([getattr(c, side)[density.columns] for c in channels])) for side in ("start", "end")
    )
    low, high = context.config.denoiser.log_snr_range
    if config.geometry == "score":
        curves = score_metric_geodesics(density, start, end, config)
    elif config.geometry == "pullback":
        curves = pullback_geodesics(density, start, end, low, config)
    else:
        curves = PositionCurves(straight_lines(start, end, config.points))
    tented = with_tent(curves, denoiser, representation, channels, config, constraints, (low, high))
    return tented, curves.deviation


def _spacetime_geodesics(
    context: Context, denoiser: Denoiser, ground: Ground, rng: torch.Generator, earlier: dict[str, FineCurve]
) -> list[Geodesic]:
    """Every channel in a process of its own; of many, those with the lowest barriers so far are polished."""
    config, system, channels = context.config.geodesic, context.system, ground.channels
    few = len(channels) <= config.polished_channels
    rough = config if few else config.model_copy(update={"polish_rounds": 0})
    terms = (ground.constraints, _objectives(context, ground))
    shared = (denoiser, system.representation, *terms, rng.get_state(), context.config.hardware.torch_threads)
    with progress_bar(len(channels), "geodesics", "channel") as bar:
        tasks = [(channel, rough, *shared, _between_ends(channel, earlier.get(channel.label))) for channel in channels]
        found = context.pool.map(_one_geodesic, tasks, bar)
    if few:
        return found
    ordered, _ = ranked(found, ground, system)
    kept = ordered[: config.polished_channels]
    with progress_bar(len(kept), "polish", "channel") as bar:
        polished = context.pool.map(_one_geodesic, [(draft, config, *shared) for draft in kept], bar)
    return polished + ordered[config.polished_channels :]


def _one_geodesic(
    start: Channel | Geodesic,
    config: GeodesicConfig,
    denoiser: Denoiser,
    representation: Representation,
    constraints: list[Constraint],
    objectives: list[Objective],
    random_state: torch.Tensor,
    threads: int,
    earlier: np.ndarray | None = None,
) -> Geodesic:
    """Optimise a channel, or go on with a draft; every channel draws the same numbers."""
    torch.set_num_threads(threads)
    if isinstance(start, Geodesic):
        return polish_geodesics(denoiser, representation, [start], config, constraints, objectives)[0]
    rng = torch.Generator().set_state(random_state)
    return optimise_geodesics(
        denoiser, representation, [start], config, constraints, objectives, rng, earlier=[earlier]
    )[0]


def _between_ends(channel: Channel, curve: FineCurve | None) -> np.ndarray | None:
    """Chart coordinates of a curve at equal steps of its length, if it joins the ends of a channel."""
    if curve is None or not np.allclose(curve.coordinates[[0, -1]], [channel.start, channel.end]):
        return None
    return curve.at_constant_speed(_EARLIER_POINTS)


def _exact(context: Context, posterior: Denoiser) -> tuple[Denoiser, str]:
    """The posterior that the model's claims are checked against, and what it comes from."""
    system = context.system
    if system.reference is None or not isinstance(system.representation, Torsions | Identity):
        return posterior, "samples"
    return GridDenoiser.from_surface(system.representation, system.reference), "reference grid"


def _objectives(context: Context, ground: Ground) -> list[Objective]:
    config = context.config.geodesic.low_barrier
    if config is None:
        return []
    system = context.system
    representation, kt, surface = system.representation, system.kt, ground.surface
    if config.free_energy == "model" or (config.free_energy == "auto" and surface is None):
        return [
            LowBarrier(
                ground.model, representation.location, kt, config.weight, config.softness_kt, _MODEL_SUBDIVISIONS
            )
        ]
    if surface is None:
        raise UserError(
            "geodesic.low_barrier.free_energy: samples needs a representation of at most two variables; use model."
        )
    return [LowBarrier(SmoothSurface(surface), representation.center, kt, config.weight, config.softness_kt)]


def _row(g: Geodesic, context: Context, denoiser: Denoiser, exact: Denoiser) -> dict[str, Any]:
    system, config = context.system, context.config
    levels = system.representation.block_log_snr(torch.from_numpy(g.curve.natural)).numpy()
    low, high = config.denoiser.log_snr_range
    natural = torch.from_numpy(g.curve.natural)
    checked = exact(natural)
    unit = {"torsions": "_deg", "cartesian": "_angstrom"}.get(config.representation.kind, "")

    def by_block(variance: np.ndarray) -> dict[str, float]:
        spread = system.representation.spread(variance.max(axis=0))
        return dict(zip(system.representation.block_names, spread.tolist(), strict=True))

    row: dict[str, Any] = {
        "label": g.channel.label,
        "energy": g.curve.energy,
        "energy_on_optimiser_grid": g.coarse_energy,
        "length": g.curve.length,
        "max_posterior_variance": float(g.curve.block_variance.max()),
        "max_posterior_variance_exact": float(checked.block_variance.max()),
        f"max_posterior_std{unit}": by_block(g.curve.block_variance),
        f"max_posterior_std_exact{unit}": by_block(checked.block_variance.numpy()),
        "constraint_violations": g.violations,
        "negative_chord_fraction": g.curve.negative_chord_fraction,
        "outside_trained_range_fraction": float(((levels < low) | (levels > high)).any(axis=1).mean()),
        "converged": g.converged,
    }
    log_partition = evaluate(denoiser, natural).log_partition
    if log_partition is not None:
        profile = system.kt * system.representation.profile(natural, log_partition)
        row[f"smoothed_barrier_{system.suffix}"] = float(profile.max() - profile[0])
    if system.reference is not None:
        row[f"barrier_{system.suffix}"] = surface_barrier(g, system.representation, system.reference)
        open_to_it = system.reference if system.avoided is None else closed_to(system.reference, system.avoided)
        bound = minimax_of_channel(open_to_it, *lifted_ends(g, system.representation, system.molecule is not None))
        row[f"minimax_barrier_{system.suffix}"] = bound.barrier
    return row


def _save(context: Context, kept: list[Geodesic]) -> None:
    arrays = {
        name: np.stack([getattr(g.curve, name) for g in kept])
        for name in ("coordinates", "natural", "mean", "block_variance")
    }
    labels = np.array([g.channel.label for g in kept])
    history = np.full((len(kept), max(len(g.history) for g in kept)), np.nan)
    for row, g in zip(history, kept, strict=True):
        row[: len(g.history)] = g.history
    write_arrays(context.folder / "geodesic.npz", labels=labels, history=history, **arrays)


def reference_bound(system: System, surface: FreeEnergySurface | None = None) -> MinimaxPath | None:
    """The minimax bound between the two states on the reference surface, or on a changed copy of it.

    Raises:
        UserError: a state is too small for the grid.
    """
    surface = surface or system.reference
    masks = states_on(surface, system)
    return None if surface is None or masks is None else minimax_between(surface, *masks)
