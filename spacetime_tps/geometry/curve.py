"""Curves in spacetime and what is measured on them (arXiv 2505.17517, section 4).

E = (N-1)/2 sum_n (eta_{n+1} - eta_n) . (mu_{n+1} - mu_n); each chord is the sum of both Kullback-Leibler divergences
between neighbours, and the length is the sum of their square roots.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from spacetime_tps.diffusion.denoiser import Denoiser, Posterior
from spacetime_tps.files import read_arrays
from spacetime_tps.representations import Representation
from spacetime_tps.shapes import check_finite, check_shapes


def chords(natural: Tensor, mean: Tensor) -> Tensor:
    """Jeffreys divergences between neighbouring points, shape (..., N - 1), of curves of shape (..., N, p)."""
    return (natural.diff(dim=-2) * mean.diff(dim=-2)).sum(-1)


def curve_energy(chord: Tensor) -> Tensor:
    """E, shape (...), from chords, shape (..., N - 1)."""
    return 0.5 * chord.shape[-1] * chord.sum(-1)


def curve_length(chord: Tensor) -> Tensor:
    """Length, shape (...); a negative chord, which only an inconsistent model can give, counts as zero here."""
    return chord.clamp_min(0.0).sqrt().sum(-1)


def shares_of_length(natural: Tensor, mean: Tensor) -> Tensor:
    """Share of a curve's Fisher-Rao length in each chord, shape (..., N - 1), without a gradient.

    Averages over a curve that are weighted by it do not depend on where the optimiser puts its points, and are averages
    over the time of a path that follows the curve at constant speed.
    """
    step = chords(natural, mean).detach().abs().sqrt() + 1e-30
    return step / step.sum(-1, keepdim=True)


def point_shares(natural: Tensor, mean: Tensor) -> Tensor:
    """Share of the length that belongs to each point, half of the chords at its sides, shape (..., N)."""
    if natural.shape[-2] == 1:
        return torch.ones_like(natural[..., 0])
    half = 0.5 * shares_of_length(natural, mean)
    nothing = torch.zeros_like(half[..., :1])
    return torch.cat([half, nothing], dim=-1) + torch.cat([nothing, half], dim=-1)


@dataclass(frozen=True)
class FineCurve:
    """One curve on the fine grid.

    Attributes:
        coordinates: chart coordinates, shape (n, n_coordinates).
        natural: eta, shape (n, n_parameters).
        mean: mu by the denoiser, shape (n, n_parameters).
        block_variance: posterior variances, shape (n, n_blocks).
    """

    coordinates: np.ndarray
    natural: np.ndarray
    mean: np.ndarray
    block_variance: np.ndarray

    @property
    def chords(self) -> np.ndarray:
        """Jeffreys divergences between neighbours, shape (n - 1,)."""
        return np.sum(np.diff(self.natural, axis=0) * np.diff(self.mean, axis=0), axis=-1)

    @property
    def energy(self) -> float:
        """Curve energy E."""
        return float(curve_energy(torch.from_numpy(self.chords)))

    @property
    def length(self) -> float:
        """Fisher-Rao length."""
        return float(curve_length(torch.from_numpy(self.chords)))

    @property
    def negative_chord_fraction(self) -> float:
        """Share of chords below zero: a sign that the model is no exponential family there."""
        return float(np.mean(self.chords < 0))

    def at_constant_speed(self, points: int) -> np.ndarray:
        """Chart coordinates at ``points`` equal steps of Fisher-Rao length, shape (points, n_coordinates)."""
        return self.at_shares(np.linspace(0.0, 1.0, points))

    def at_shares(self, shares: np.ndarray) -> np.ndarray:
        """Chart coordinates where given shares of the Fisher-Rao length are travelled, shape (n, n_coordinates)."""
        chords = self.chords
        return self._at(shares, np.sqrt(np.maximum(chords, 1e-12 * np.abs(chords).max())))

    def at_equal_chart_steps(self, points: int) -> np.ndarray:
        """Chart coordinates at ``points`` equal steps of Euclidean length in the chart itself."""
        steps = np.linalg.norm(np.diff(self.coordinates, axis=0), axis=-1)
        return self._at(np.linspace(0.0, 1.0, points), steps)

    def _at(self, shares: np.ndarray, steps: np.ndarray) -> np.ndarray:
        travelled = np.concatenate([[0.0], np.cumsum(steps)])
        wanted = shares * travelled[-1]
        return np.stack([np.interp(wanted, travelled, column) for column in self.coordinates.T], axis=-1)


def fine_curves(coordinates: Tensor, natural: Tensor, posterior: Posterior) -> list[FineCurve]:
    """Split a batch of curves, shapes (n_curves, n, ...), into single ones."""
    arrays = [
        value.detach().cpu().numpy() for value in (coordinates, natural, posterior.mean, posterior.block_variance)
    ]
    return [FineCurve(*parts) for parts in zip(*arrays, strict=True)]


def evaluate(denoiser: Denoiser, natural: Tensor) -> Posterior:
    """Posterior along curves without building a graph."""
    with torch.no_grad():
        return denoiser(natural)


_ARRAYS = ("coordinates", "natural", "mean", "block_variance")


def read_curves(file: Path, representation: Representation) -> dict[str, FineCurve]:
    """The geodesics of ``geodesic.npz`` by the label of their channel, the chosen one first.

    Raises:
        DamagedFileError: it is missing, or does not hold curves of two points or more in this representation.
    """
    data, again = read_arrays(file, (*_ARRAYS, "labels")), "run 'geodesic' again with --overwrite"
    blocks = len(representation.block_names)
    check_shapes(
        file,
        data,
        again,
        labels=("channels",),
        coordinates=("channels", "POINTS", "coordinates"),
        natural=("channels", "POINTS", "parameters"),
        mean=("channels", "POINTS", "parameters"),
        block_variance=("channels", "POINTS", blocks),
    )
    check_finite(file, data, again, *_ARRAYS)
    return {str(label): FineCurve(*(data[name][k] for name in _ARRAYS)) for k, label in enumerate(data["labels"])}
