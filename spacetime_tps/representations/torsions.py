"""Torsion angles as points on circles: x = (cos theta_1, sin theta_1, ..., cos theta_k, sin theta_k).

|x|^2 = k is constant, so the time component of eta drops out: T(x) = x, eta_k = SNR y_k, and the restraint is
-kT (eta_c cos theta + eta_s sin theta) for each torsion. The posterior variance of a torsion is 1 - |mu_k|^2.
The chart of torsion k is (log |eta_k|, angle of eta_k), the angle lifted to the real line.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

import numpy as np
import openmm
import torch
from torch import Tensor

from spacetime_tps.errors import UserError
from spacetime_tps.representations.base import Array, Channel
from spacetime_tps.representations.internal import Internal

_LEAST_SINE = 1e-4
"""Of a bond angle within a torsion: below, its atoms lie on one line."""
_ALL_TURN, _MOST_TURNING, _TURNS = 3, 8, np.deg2rad(60.0)


def dihedral_angles(positions: np.ndarray, quadruples: np.ndarray) -> np.ndarray:
    """Dihedral angles [rad] in (-pi, pi], IUPAC sign.

    Args:
        positions: shape (..., n_atoms, 3).
        quadruples: atom indices, shape (n_torsions, 4).

    Returns:
        shape (..., n_torsions).
    """
    p = positions[..., quadruples, :]
    b1, b2, b3 = p[..., 1, :] - p[..., 0, :], p[..., 2, :] - p[..., 1, :], p[..., 3, :] - p[..., 2, :]
    n1, n2 = _cross(b1, b2), _cross(b2, b3)
    sine = np.sum(b1 * n2, axis=-1) * np.linalg.norm(b2, axis=-1)
    return np.arctan2(sine, np.sum(n1 * n2, axis=-1))


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """``numpy.cross`` of vectors, shape (..., 3), without what that spends on other shapes."""
    product = np.empty_like(a)
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        product[..., i] = a[..., j] * b[..., k] - a[..., k] * b[..., j]
    return product


def undefined_torsions(positions: np.ndarray, torsions: Torsions) -> list[str]:
    """Names of the torsions that a structure, shape (n_atoms, 3), does not define: three atoms on one line."""
    bonds = np.diff(positions[torsions.quadruples], axis=1)
    normals = np.linalg.norm(np.cross(bonds[:, :-1], bonds[:, 1:]), axis=-1)
    flat = normals <= _LEAST_SINE * np.linalg.norm(bonds[:, :-1], axis=-1) * np.linalg.norm(bonds[:, 1:], axis=-1)
    return [name for name, bad in zip(torsions.block_names, flat.any(axis=1), strict=True) if bad]


def wrap(angle: np.ndarray) -> np.ndarray:
    """Angle in [-pi, pi)."""
    return (angle + np.pi) % (2 * np.pi) - np.pi


class Torsions(Internal):
    """Representation by named torsions of a molecule."""

    def __init__(self, names: Sequence[str], quadruples: Sequence[Sequence[int]]):
        """``quadruples`` holds the four atom indices of each torsion, shape (n_torsions, 4)."""
        self.block_names = list(names)
        self.period: float | None = 2 * np.pi
        self.quadruples = np.asarray(quadruples, dtype=int).reshape(-1, 4)
        self.n_torsions = len(self.block_names)
        self.n_features = self.n_parameters = self.n_coordinates = 2 * self.n_torsions
        self.log_snr_coordinates = list(range(0, self.n_coordinates, 2))

    @property
    def torsions(self) -> Torsions:
        """Themselves."""
        return self

    def angles(self, frames: np.ndarray) -> np.ndarray:
        """Angles [rad], shape (n, n_torsions), of positions, shape (n, n_atoms, 3)."""
        return dihedral_angles(frames, self.quadruples)

    @staticmethod
    def features_of_angles(angles: np.ndarray) -> np.ndarray:
        """(cos, sin) pairs, shape (..., 2 n_torsions), of angles [rad], shape (..., n_torsions)."""
        return np.stack([np.cos(angles), np.sin(angles)], axis=-1).reshape(*angles.shape[:-1], 2 * angles.shape[-1])

    def statistics(self, features: np.ndarray) -> np.ndarray:
        """T(x) = x."""
        return features

    def natural(self, coordinates: Tensor) -> Tensor:
        """eta of (log |eta_k|, angle_k) pairs."""
        radius, angle = coordinates[..., 0::2].exp(), coordinates[..., 1::2]
        return torch.stack([radius * angle.cos(), radius * angle.sin()], dim=-1).flatten(-2)

    def noised(self, features: Tensor, log_snr: Tensor, noise: Tensor) -> Tensor:
        """eta_k = SNR_k x_k + sqrt(SNR_k) noise_k."""
        snr = log_snr.exp().repeat_interleave(2, dim=-1)
        return snr * features + snr.sqrt() * noise

    def block_log_snr(self, natural: Tensor) -> Tensor:
        """log |eta_k|."""
        return natural.unflatten(-1, (-1, 2)).norm(dim=-1).clamp_min(1e-12).log()

    def block_variance(self, mean: Tensor) -> Tensor:
        """1 - |mu_k|^2."""
        return 1.0 - mean.unflatten(-1, (-1, 2)).square().sum(-1)

    def max_block_variance(self, spread: float) -> float:
        """1 - exp(-sigma^2) for an angular standard deviation sigma [rad] (wrapped normal)."""
        return float(-np.expm1(-(spread**2)))

    def spread(self, block_variance: np.ndarray) -> np.ndarray:
        """Standard deviation [deg] of the wrapped normal with that variance."""
        return np.rad2deg(np.sqrt(-np.log1p(-np.clip(block_variance, 0.0, 1.0 - 1e-15))))

    def center(self, mean: Array) -> Array:
        """Angles [rad] of mu_k, shape (..., n_torsions)."""
        atan2 = torch.atan2 if isinstance(mean, Tensor) else np.arctan2
        return atan2(mean[..., 1::2], mean[..., 0::2])

    def location(self, mean: Array) -> Array:
        """The same."""
        return self.center(mean)

    def profile(self, natural: Tensor, log_partition: Tensor) -> Tensor:
        """-[psi - sum_k log 2 pi I0(|eta_k|)]: free energy of the density smoothed by the von Mises restraint."""
        radius = natural.unflatten(-1, (-1, 2)).norm(dim=-1)
        log_norm = torch.special.i0e(radius).log() + radius + np.log(2 * np.pi)
        return log_norm.sum(-1) - log_partition

    def channels(self, start: np.ndarray, end: np.ndarray, log_snr_end: float) -> list[Channel]:
        """One channel for each choice of direction around the circles of the torsions that may turn either way.

        Up to three torsions all may; of more, those whose ends differ by at least 60 degrees, the eight nearest to half
        a turn. The shortest way comes first.
        """
        short = wrap(self.center(end) - self.center(start))
        free = np.arange(self.n_torsions)
        if self.n_torsions > _ALL_TURN:
            turning = np.flatnonzero(np.abs(short) >= _TURNS)
            free = np.sort(turning[np.argsort(-np.abs(short[turning]), kind="stable")][:_MOST_TURNING])
        found = []
        for choice in itertools.product((False, True), repeat=len(free)):
            around = np.zeros(self.n_torsions, dtype=bool)
            around[free] = choice
            found.append(self._channel(start, end, log_snr_end, around))
        return found

    def named_channel(self, label: str, start: np.ndarray, end: np.ndarray, log_snr_end: float) -> Channel:
        """The channel between two feature vectors that a label such as ``phi+ psi-`` names.

        Raises:
            UserError: the label does not name every torsion once, with a direction.
        """
        longest_first = sorted(self.block_names, key=len, reverse=True)
        torsion = re.compile(f"({'|'.join(map(re.escape, longest_first))})([+-])(?: +|$)")
        words = dict(torsion.findall(label))
        missing = [name for name in self.block_names if name not in words]
        if missing or torsion.sub("", label, count=self.n_torsions).strip():
            form = " ".join(f"{name}+" for name in self.block_names)
            wrong = f"{missing[0]} has none" if missing else "it names something else, too, or something twice"
            raise UserError(
                f"The channel {label!r} should name every torsion once, with its direction, such as {form!r}: {wrong}."
            )
        short = wrap(self.center(end) - self.center(start))
        upward = np.array([words[name] == "+" for name in self.block_names])
        return self._channel(start, end, log_snr_end, upward != (short >= 0))

    def _channel(self, start: np.ndarray, end: np.ndarray, log_snr_end: float, around: np.ndarray) -> Channel:
        """``around``: which torsions go the long way."""
        first = self.center(start)
        short = wrap(self.center(end) - first)
        turn = np.where(around, short - 2 * np.pi * np.where(short >= 0, 1.0, -1.0), short)
        label = " ".join(f"{n}{'+' if t >= 0 else '-'}" for n, t in zip(self.block_names, turn, strict=True))
        ends = [
            np.stack([np.full(self.n_torsions, log_snr_end), angles], axis=-1).ravel()
            for angles in (first, first + turn)
        ]
        return Channel(label, *ends)

    def restraint(self, kt: float, copies: int = 1, n_atoms: int = 0) -> TorsionRestraint:
        """The OpenMM restraint at thermal energy ``kt`` [kJ/mol] of ``copies`` molecules of ``n_atoms`` each."""
        return TorsionRestraint(self, kt, copies, n_atoms)


class TorsionRestraint:
    """-kT eta . T(x) as one CustomTorsionForce whose parameters follow the curve."""

    def __init__(self, torsions: Torsions, kt: float, copies: int = 1, n_atoms: int = 0):
        shifts = n_atoms * np.arange(copies)[:, None, None]
        self._quadruples = (torsions.quadruples + shifts).reshape(-1, 4).tolist()
        self._kt = kt
        self.force = openmm.CustomTorsionForce("-(ec*cos(theta)+es*sin(theta))")
        self.force.setName("SpacetimeRestraint")
        self.force.addPerTorsionParameter("ec")
        self.force.addPerTorsionParameter("es")
        for atoms in self._quadruples:
            self.force.addTorsion(*atoms, [0.0, 0.0])

    def move_to(self, natural: np.ndarray, context: openmm.Context) -> None:
        """Set the restraint to natural parameters, shape (..., 2 n_torsions), in the order of the copies."""
        strengths = (self._kt * natural.reshape(-1, 2)).tolist()
        for k, (atoms, eta) in enumerate(zip(self._quadruples, strengths, strict=True)):
            self.force.setTorsionParameters(k, *atoms, eta)
        self.force.updateParametersInContext(context)
