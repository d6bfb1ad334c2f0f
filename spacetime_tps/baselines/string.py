"""The zero-temperature string method on a tabulated surface, in its simplified and improved form.

E, Ren and Vanden-Eijnden, J. Chem. Phys. 126, 164103 (2007): every image takes a step down the gradient, then the
images are put back at equal arc length. A string at rest is a minimum energy path: the gradient lies along it. It is
the one next to the straight line it starts from, so that its barrier is no lower than the minimax bound of the
channel, and equal to it where the straight line leads to the lowest saddle.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from spacetime_tps.potentials import FreeEnergySurface, TablePotential

_STABILITY = 0.5
"""Step times the largest curvature along the string; explicit steps diverge above 2."""
_REACH = 0.5
"""Largest step of an image, in units of the distance between images."""
_PROBE = 1e-2
"""Displacement for second derivatives, in units of the grid's spacing."""
_SMOOTHING = 3.0
"""Width of the Gaussian for the first approach, in grid points."""
_LOOSE = 30.0
"""Tolerance of the first approach, in units of that of the second."""
_FINE_FACTOR = 16
_TINY = 1e-12


@dataclass(frozen=True)
class StringPath:
    """A minimum energy path.

    Attributes:
        points: images at equal arc length, lifted coordinates, shape (images, n_axes).
        barrier: maximum of F along the polygon of the images [unit of the surface].
        converged: whether the string came to rest within the steps.
        iterations: steps taken.
    """

    points: np.ndarray
    barrier: float
    converged: bool
    iterations: int


def string_path(
    surface: FreeEnergySurface,
    start: np.ndarray,
    end: np.ndarray,
    images: int = 64,
    steps: int = 5000,
    tolerance: float = 1e-6,
    smoothing: float = _SMOOTHING,
) -> StringPath:
    """Minimum energy path of one channel, both ends held.

    Args:
        surface: the table; between its points it is a cubic spline.
        start, end: lifted coordinates of the ends, shape (n_axes,); angles may lie more than pi apart, which chooses
            the channel.
        images: points of the string, the ends among them.
        steps: at most, for each of the two approaches.
        tolerance: largest motion of an image across the string in one step, relative to the string's length, at which
            the string is at rest.
        smoothing: a table from a simulation has ripples that hold a string on the slope of a ridge, so that the string
            first comes to rest on the table convolved with a Gaussian of this width [grid points]; 0 leaves that out.
    """
    return string_paths(surface, start[None], end[None], images, steps, tolerance, smoothing)[0]


def string_paths(
    surface: FreeEnergySurface,
    start: np.ndarray,
    end: np.ndarray,
    images: int = 64,
    steps: int = 5000,
    tolerance: float = 1e-6,
    smoothing: float = _SMOOTHING,
) -> list[StringPath]:
    """Minimum energy paths of several channels; ``start`` and ``end`` have shape (n_channels, n_axes).

    The other arguments are those of ``string_path``.
    """
    s = np.linspace(0.0, 1.0, images)[:, None]
    strings, approach = (1.0 - s) * start[:, None] + s * end[:, None], np.zeros(len(start), dtype=int)
    if smoothing:
        strings, _, approach = _relaxed(_smoothed(surface, smoothing), strings, steps, _LOOSE * tolerance)
    strings, converged, iterations = _relaxed(surface, strings, steps, tolerance)
    barriers = surface(_fine(strings)).max(axis=1)
    return [
        StringPath(points, float(barrier), bool(rests), int(count))
        for points, barrier, rests, count in zip(strings, barriers, converged, approach + iterations, strict=True)
    ]


def _smoothed(surface: FreeEnergySurface, width: float) -> FreeEnergySurface:
    modes = ["grid-wrap" if periodic else "nearest" for periodic in surface.periodic]
    return replace(surface, free_energy=gaussian_filter(surface.free_energy, width, mode=modes))


def _relaxed(
    surface: FreeEnergySurface, strings: np.ndarray, steps: int, tolerance: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Strings, shape (n_channels, images, n_axes), followed to rest; which came to it; the steps that each took."""
    potential, strings = TablePotential(surface), strings.copy()
    iterations, moving = np.full(len(strings), steps), np.ones(len(strings), dtype=bool)
    for step in range(steps):
        before = strings[moving]
        after = _at_equal_arcs(before + _descent(potential, before, surface.spacing))
        motion, tangents = after - before, _tangents(after)
        across = motion - (motion * tangents).sum(-1, keepdims=True) * tangents
        rests = np.linalg.norm(across, axis=-1).max(axis=1) <= tolerance * _lengths(after)[:, -1]
        strings[moving] = after
        iterations[np.flatnonzero(moving)[rests]] = step + 1
        moving[moving] = ~rests
        if not moving.any():
            break
    return strings, ~moving, iterations


def _descent(potential: TablePotential, strings: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """A step of every image down the gradient, the ends held, in the shape of the strings.

    The step is as long as the stiffest image of a string allows.
    """
    probes = _PROBE * np.diag(spacing)
    seen = np.concatenate([strings[..., None, :], strings[..., None, :] + probes], axis=-2)
    gradients = potential.gradient(torch.from_numpy(seen)).numpy()
    slope = gradients[..., 0, :]
    hessian = (gradients[..., 1:, :] - slope[..., None, :]) / (_PROBE * spacing[:, None])
    stiffest = np.linalg.norm(hessian, axis=(-2, -1)).max(axis=1)
    step = -_STABILITY / np.maximum(stiffest, _TINY)[:, None, None] * slope
    reach = _REACH * _lengths(strings)[:, -1, None, None] / (strings.shape[1] - 1)
    step *= np.minimum(1.0, reach / np.maximum(np.linalg.norm(step, axis=-1, keepdims=True), _TINY))
    step[:, [0, -1]] = 0.0
    return step


def _lengths(strings: np.ndarray) -> np.ndarray:
    """Length of each string up to its images, shape (n_channels, images)."""
    chords = np.linalg.norm(np.diff(strings, axis=1), axis=-1)
    return np.concatenate([np.zeros((len(strings), 1)), np.cumsum(chords, axis=1)], axis=1)


def _at_equal_arcs(strings: np.ndarray) -> np.ndarray:
    """Images put at equal distances along the polygons through them.

    Cubic splines, the method's other choice, follow the curve more closely, but overshoot at the cusp where a path
    turns around in a minimum, and then the string never rests.
    """
    size = strings.shape[1]
    return np.stack(
        [
            _along(string, lengths, np.linspace(0.0, lengths[-1], size))
            for string, lengths in zip(strings, _lengths(strings), strict=True)
        ]
    )


def _along(string: np.ndarray, lengths: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    return np.stack([np.interp(wanted, lengths, column) for column in string.T], axis=-1)


def _tangents(strings: np.ndarray) -> np.ndarray:
    """Unit vectors along the strings by central differences."""
    along = np.gradient(strings, axis=1)
    return along / np.maximum(np.linalg.norm(along, axis=-1, keepdims=True), _TINY)


def _fine(strings: np.ndarray) -> np.ndarray:
    """Points along the polygons, images among them, shape (n_channels, (images - 1) * _FINE_FACTOR + 1, n_axes)."""
    images = np.arange(strings.shape[1])
    wanted = np.linspace(0.0, images[-1], images[-1] * _FINE_FACTOR + 1)
    return np.stack([_along(string, images, wanted) for string in strings])
