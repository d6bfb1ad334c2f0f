"""Curves to anneal along that know nothing of the geodesic, or nothing but its schedule.

Straight lines in the representation, minimum energy paths, and a moving harmonic restraint. Each becomes a curve of
posteriors, so that the same annealed dynamics follows it and only the curve differs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from spacetime_tps.baselines.string import string_paths
from spacetime_tps.config import GeodesicConfig
from spacetime_tps.diffusion.denoiser import Denoiser
from spacetime_tps.geometry.constraints import Constraint
from spacetime_tps.geometry.curve import FineCurve, evaluate, fine_curves
from spacetime_tps.geometry.geodesic import Geodesic
from spacetime_tps.geometry.other_metrics import PositionCurves, straight_lines, with_tent
from spacetime_tps.geometry.smoothed import SmoothedDensity
from spacetime_tps.paths.schedule import Schedule
from spacetime_tps.potentials import FreeEnergySurface
from spacetime_tps.representations import Channel, Representation


def line_curves(
    denoiser: Denoiser,
    representation: Representation,
    channels: list[Channel],
    config: GeodesicConfig,
    constraints: Sequence[Constraint],
    log_snr_range: tuple[float, float],
    tent: bool,
) -> list[Geodesic]:
    """The straight line of every channel, at the level of the ends or with a tent as deep as the constraints allow."""
    density = SmoothedDensity(denoiser, representation)
    curves = PositionCurves(straight_lines(*_ends(channels, density), config.points))
    settings = config.model_copy(update={"tent_log_snr": None if tent else config.log_snr_end})
    return with_tent(curves, denoiser, representation, channels, settings, constraints, log_snr_range)


def string_curves(
    surface: FreeEnergySurface,
    denoiser: Denoiser,
    representation: Representation,
    channels: list[Channel],
    config: GeodesicConfig,
    constraints: Sequence[Constraint],
    log_snr_range: tuple[float, float],
) -> list[Geodesic]:
    """The minimum energy path of every channel on ``surface``, with a tent as deep as the constraints allow."""
    start, end = _ends(channels, SmoothedDensity(denoiser, representation))
    strings = string_paths(surface, start.numpy(), end.numpy())
    positions = torch.from_numpy(np.stack([string.points for string in strings]))
    curves = PositionCurves(positions, max(s.iterations for s in strings), all(s.converged for s in strings))
    settings = config.model_copy(update={"tent_log_snr": None})
    return with_tent(curves, denoiser, representation, channels, settings, constraints, log_snr_range)


def _ends(channels: list[Channel], density: SmoothedDensity) -> tuple[Tensor, Tensor]:
    start, end = (np.stack([getattr(c, side)[density.columns] for c in channels]) for side in ("start", "end"))
    return torch.from_numpy(start), torch.from_numpy(end)


def straightened(curve: FineCurve, denoiser: Denoiser, representation: Representation) -> FineCurve:
    """A curve's own schedule of log-SNR along the straight line between its ends, at equal shares of its length."""
    travelled = np.concatenate([[0.0], np.cumsum(np.sqrt(np.maximum(curve.chords, 0.0)))])
    share = (travelled / travelled[-1])[:, None]
    levels = curve.coordinates[:, representation.log_snr_coordinates]
    coordinates = (1 - share) * curve.coordinates[0] + share * curve.coordinates[-1]
    coordinates[:, representation.log_snr_coordinates] = levels
    z = torch.from_numpy(coordinates)[None]
    natural = representation.natural(z)
    return fine_curves(z, natural, evaluate(denoiser, natural))[0]


def steered_schedule(
    representation: Representation, denoiser: Denoiser, channel: Channel, log_snr: float, points: int
) -> Schedule:
    """A harmonic restraint of constant strength whose centre moves at constant speed straight from A to B.

    Steered molecular dynamics (Izrailev et al. 1998) with the restraint kT SNR / 2 |x - y(t)|^2 in the features.

    Args:
        representation: of the features.
        denoiser: for the sum of chords that the work is compared with.
        channel: which way around; the level of its ends is replaced.
        log_snr: log of the stiffness in kT.
        points: of the schedule.
    """
    share = np.linspace(0.0, 1.0, points)[:, None]
    coordinates = (1 - share) * channel.start + share * channel.end
    coordinates[:, representation.log_snr_coordinates] = log_snr
    natural = representation.natural(torch.from_numpy(coordinates))
    mean = evaluate(denoiser, natural).mean
    return Schedule(natural.numpy(), float((natural.diff(dim=0) * mean.diff(dim=0)).sum()))
