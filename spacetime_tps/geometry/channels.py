"""Which channel to take: merge those that are one curve, measure the barrier of each, rank them."""

from __future__ import annotations

import numpy as np
import torch

from spacetime_tps.diffusion.exact import SampleDenoiser
from spacetime_tps.geometry.geodesic import Geodesic
from spacetime_tps.potentials import FreeEnergySurface
from spacetime_tps.representations import Representation

_COMPARED_POINTS = 200
_TUNNELLING = 0.5


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


def rank_channels(geodesics: list[Geodesic], barriers: dict[str, float], tie: float) -> list[Geodesic]:
    """Best first: by barrier; of those within ``tie`` of the lowest, converged ones first and then the shortest.

    A channel that breaks a constraint by more than half its bound comes last whatever its barrier: its posterior
    tunnels, and the barrier of its mean is none.

    Args:
        geodesics: the kept channels.
        barriers: of each, by label.
        tie: difference of barriers that means nothing.
    """

    def barrier(geodesic: Geodesic) -> float:
        return barriers[geodesic.channel.label]

    def tunnels(geodesic: Geodesic) -> bool:
        return geodesic.max_violation > _TUNNELLING

    lowest = min(barrier(g) for g in geodesics if not tunnels(g) or all(map(tunnels, geodesics)))

    def key(geodesic: Geodesic) -> tuple[bool, float, bool, float]:
        tied = barrier(geodesic) <= lowest + tie
        height = lowest if tied else barrier(geodesic)
        return tunnels(geodesic), height, not geodesic.converged, geodesic.curve.length

    return sorted(geodesics, key=key)


def surface_barrier(geodesic: Geodesic, representation: Representation, surface: FreeEnergySurface) -> float:
    """Maximum of F at the posterior mean along the fine curve, above the surface's global minimum."""
    return float(surface(representation.center(geodesic.curve.mean)).max())


def smoothed_barrier(geodesic: Geodesic, representation: Representation, posterior: SampleDenoiser, kt: float) -> float:
    """Maximum along the curve of the samples' smoothed free energy, above its value at the start (any dimension)."""
    natural = torch.from_numpy(geodesic.curve.natural[::16])
    with torch.no_grad():
        log_partition = posterior(natural).log_partition
    assert log_partition is not None
    profile = kt * representation.profile(natural, log_partition)
    return float(profile.max() - profile[0])


def lifted_ends(geodesic: Geodesic, representation: Representation) -> tuple[np.ndarray, np.ndarray]:
    """Start and end of a channel in collective variables, angles unwrapped along the curve."""
    centers = representation.center(geodesic.curve.mean)
    if representation.n_features == representation.n_coordinates:
        centers = np.unwrap(centers, axis=0)
    return centers[0], centers[-1]
