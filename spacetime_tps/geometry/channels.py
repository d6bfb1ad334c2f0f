"""Which channels to try and which to take: order them by promise, merge those that are one curve, rank the rest."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np
import torch

from spacetime_tps.boltzmann.samples import WeightedSamples
from spacetime_tps.diffusion.denoiser import Denoiser
from spacetime_tps.diffusion.exact import SampleDenoiser
from spacetime_tps.geometry.free_energy import ModelFreeEnergy
from spacetime_tps.geometry.geodesic import Geodesic
from spacetime_tps.potentials import FreeEnergySurface
from spacetime_tps.representations import Channel, Representation, Torsions

_COMPARED_POINTS = 200
_MARGINAL_POINTS = 180
_EVERY = 4
"""Of the fine grid's points at which the smoothed free energy is read."""
_TUNNELLING = 0.5
_LIFTED_POINTS = 65
HIGH_KT = 2.0
"""An end structure that lies so far above the bottom of its state is told."""
FAR_OFF = 3.0
"""Standard deviations of a posterior that its mean may lie off the samples': curves among samples stay within two."""


def lifted_channels(
    channels: list[Channel],
    torsions: Torsions,
    angles: np.ndarray,
    samples: WeightedSamples,
    ends: np.ndarray,
    log_snr_end: float,
    log_snr: float,
) -> list[Channel]:
    """Channels of torsions as curves in another representation of the same samples.

    A channel is a straight line in torsions. What the samples around its points are on average in the other
    representation is where the optimiser begins there; it ends in the end structures' own features.

    Args:
        channels: in the torsions' chart.
        torsions: that they wind in.
        angles: of the samples [rad], shape (n, n_torsions).
        samples: with their features in the other representation.
        ends: features of the end structures, shape (2, n_features).
        log_snr_end: of the ends.
        log_snr: how sharply samples around a point are chosen.
    """
    s = np.linspace(0.0, 1.0, _LIFTED_POINTS)
    at = torch.from_numpy(torsions.features_of_angles(angles))
    straight = (1 - s)[:, None] * ends[0] + s[:, None] * ends[1]
    found = []
    for channel in channels:
        way = (1 - s)[:, None] * channel.start[1::2] + s[:, None] * channel.end[1::2]
        around = torch.from_numpy(np.exp(log_snr) * torsions.features_of_angles(way))
        weights = torch.softmax(torch.from_numpy(samples.log_weights) + around @ at.T, dim=-1).numpy()
        mean = weights @ samples.features
        # The average ends near the end structures, not in them.
        mean += (1 - s)[:, None] * (ends[0] - mean[0]) + s[:, None] * (ends[1] - mean[-1])
        detour = np.concatenate([mean - straight, np.zeros((len(s), 1))], axis=-1)
        start, end = (np.append(x, log_snr_end) for x in ends)
        found.append(Channel(channel.label, start, end, detour))
    return found


def order_by_promise(
    channels: list[Channel], representation: Torsions, posterior: SampleDenoiser, log_snr: float
) -> list[tuple[Channel, float]]:
    """Channels with the height [kT] that each has to climb at least, lowest first, the shorter way first among equals.

    A path that turns a torsion one way round passes every angle on that way; the free energy of this torsion alone is
    least there over all else. The largest climb of all torsions on their ways is the channel's promise.

    Args:
        channels: of one pair of ends.
        representation: of their chart.
        posterior: of the samples.
        log_snr: level at which their density is smoothed.
    """
    angles = torch.linspace(-torch.pi, torch.pi, _MARGINAL_POINTS + 1, dtype=torch.float64)[:-1]
    around = np.exp(log_snr) * torch.stack([angles.cos(), angles.sin()], dim=-1)
    promised = np.zeros(len(channels))
    for k in range(representation.n_torsions):
        natural = torch.zeros(_MARGINAL_POINTS, 2 * representation.n_torsions, dtype=torch.float64)
        natural[:, 2 * k : 2 * k + 2] = around
        with torch.no_grad():
            log_partition = posterior(natural).log_partition
        assert log_partition is not None
        marginal = representation.profile(natural, log_partition).numpy()
        for c, channel in enumerate(channels):
            first, last = channel.start[2 * k + 1], channel.end[2 * k + 1]
            way = np.linspace(first, last, 2 + int(abs(last - first) / (2 * np.pi) * _MARGINAL_POINTS))
            promised[c] = max(promised[c], climb(np.interp(way, angles.numpy(), marginal, period=2 * np.pi)))
    turned = [float(np.abs(channel.end - channel.start).sum()) for channel in channels]
    order = sorted(range(len(channels)), key=lambda c: (promised[c], turned[c]))
    return [(channels[c], float(promised[c])) for c in order]


def merge_channels(geodesics: list[Geodesic], distance: float) -> tuple[list[Geodesic], dict[str, list[str]]]:
    """Keep one of the channels whose posterior means run together.

    Args:
        geodesics: all channels.
        distance: root-mean-square distance of the posterior means, at equal shares of the Fisher-Rao length, below
            which two channels are the same curve.

    Returns:
        the kept geodesics (the lower energy of each group) and, by kept label, the labels merged into it.
    """
    kept: list[Geodesic] = []
    merged: dict[str, list[str]] = {}
    for geodesic in sorted(geodesics, key=lambda g: (not g.converged, g.curve.energy)):
        twin = next((k for k in kept if _apart(k, geodesic) < distance), None)
        if twin is None:
            kept.append(geodesic)
            merged[geodesic.channel.label] = []
        else:
            merged[twin.channel.label].append(geodesic.channel.label)
    return kept, merged


def _apart(first: Geodesic, second: Geodesic) -> float:
    means = []
    for geodesic in (first, second):
        travelled = np.concatenate([[0.0], np.cumsum(np.sqrt(np.maximum(geodesic.curve.chords, 0.0)))])
        wanted = np.linspace(0, travelled[-1], _COMPARED_POINTS)
        means.append(np.stack([np.interp(wanted, travelled, column) for column in geodesic.curve.mean.T], axis=-1))
    return float(np.sqrt(np.square(means[0] - means[1]).sum(-1).mean()))


def relabelled(geodesics: list[Geodesic], representation: Representation, names: list[str]) -> list[Geodesic]:
    """Geodesics called by the way that they take, one for each: where no chart holds a winding, a curve may leave it.

    Of those that take the same way the best by convergence and energy stays.
    """
    best: dict[str, Geodesic] = {}
    for geodesic in sorted(geodesics, key=lambda g: (not g.converged, g.curve.energy)):
        first, last = lifted_ends(geodesic, representation, angular=True)
        label = " ".join(f"{name}{'+' if turn >= 0 else '-'}" for name, turn in zip(names, last - first, strict=True))
        best.setdefault(label, replace(geodesic, channel=replace(geodesic.channel, label=label)))
    return list(best.values())


def off_samples(geodesic: Geodesic, representation: Representation, posterior: Denoiser) -> float:
    """How far a curve leaves the samples: the distance of its posterior mean from that of the samples, at its largest.

    In units of the posterior's standard deviation, over all features. Where no sample is near, those of the samples are
    the nearest ones, whatever the model believes.

    Args:
        geodesic: with the model's posteriors along it.
        representation: of both.
        posterior: of the samples.
    """
    n, some = representation.n_features, slice(None, None, 2 * _EVERY)
    exact = posterior(torch.from_numpy(geodesic.curve.natural[some])).mean.numpy()
    away = np.linalg.norm(exact[:, :n] - geodesic.curve.mean[some, :n], axis=1)
    return float((away / np.sqrt(geodesic.curve.block_variance[some].sum(axis=1))).max())


def rank_channels(
    geodesics: list[Geodesic], barriers: dict[str, float], tie: float, unsupported: Collection[str] = ()
) -> list[Geodesic]:
    """Best first: by barrier; of those within ``tie`` of the lowest, converged ones first and then the shortest.

    A channel that breaks a constraint by more than half its bound comes last whatever its barrier: its posterior
    tunnels, and the barrier of its mean is none. So does one that leaves the samples.

    Args:
        geodesics: the kept channels.
        barriers: of each, by label.
        tie: difference of barriers that means nothing.
        unsupported: labels of those that leave the samples.
    """

    def barrier(geodesic: Geodesic) -> float:
        return barriers[geodesic.channel.label]

    def tunnels(geodesic: Geodesic) -> bool:
        return geodesic.max_violation > _TUNNELLING or geodesic.channel.label in unsupported

    lowest = min(barrier(g) for g in geodesics if not tunnels(g) or all(map(tunnels, geodesics)))

    def key(geodesic: Geodesic) -> tuple[bool, float, bool, float]:
        tied = barrier(geodesic) <= lowest + tie
        height = lowest if tied else barrier(geodesic)
        return tunnels(geodesic), height, not geodesic.converged, geodesic.curve.length

    return sorted(geodesics, key=key)


def surface_barrier(geodesic: Geodesic, representation: Representation, surface: FreeEnergySurface) -> float:
    """Maximum of F at the posterior mean along the fine curve, above the surface's global minimum."""
    return float(surface(representation.center(geodesic.curve.mean)).max())


def smoothed_barrier(geodesic: Geodesic, representation: Representation, free_energy: ModelFreeEnergy) -> float:
    """Largest climb of the smoothed free energy at the posterior mean along the fine curve.

    It is read at one level everywhere: the curve's own level changes along it, and with it what that smooths over.
    """
    means = torch.from_numpy(representation.location(geodesic.curve.mean[::_EVERY]))
    with torch.no_grad():
        return climb(free_energy(means).numpy())


def climb(height: np.ndarray) -> float:
    """Largest rise of a profile, shape (n,), from any of its points to a later one."""
    return float((height - np.minimum.accumulate(height)).max())


def lifted_ends(geodesic: Geodesic, representation: Representation, angular: bool) -> tuple[np.ndarray, np.ndarray]:
    """Start and end of a channel in collective variables, unwrapped along the curve where these are angles."""
    centers = representation.center(geodesic.curve.mean)
    if angular:
        centers = np.unwrap(centers, axis=0)
    return centers[0], centers[-1]
