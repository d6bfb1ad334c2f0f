"""Positions of atoms along their principal axes, T(x) = (x, |x|^2), fitted to the samples of a run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import openmm
import torch
from torch import Tensor

from spacetime_tps.representations.base import Array
from spacetime_tps.representations.euclidean import Euclidean
from spacetime_tps.representations.superposition import centered, log_orientations, rotation_onto, superposed
from spacetime_tps.representations.torsions import Torsions, dihedral_angles

ANGSTROM = 10.0
"""In a nanometre."""
RIGID = 6
"""Modes of a rigid body."""


@dataclass(frozen=True)
class AtomAxes:
    """Principal axes of superposed atoms.

    Attributes:
        reference: onto which they are superposed, centred [A], shape (n_atoms, 3).
        axes: orthonormal, without those of a rigid body, shape (3 n_atoms, 3 n_atoms - 6).
    """

    reference: np.ndarray
    axes: np.ndarray


class Cartesian(Euclidean):
    """Positions of atoms [A] along their principal axes, the molecule superposed on a reference.

    What a frame is turned and shifted by is taken away before anything is read from it. Under a restraint the molecule
    is held in the reference's frame, where it still trembles as a rigid body; the six modes of this are no features,
    but |x|^2 counts them: each has the variance 1 / SNR. Posterior variances are those of the shape, without them.
    """

    def __init__(self, torsions: Torsions, atoms: np.ndarray, fit: AtomAxes):
        """``torsions`` lie within the ``atoms``, whose indices have the shape (n_atoms,)."""
        super().__init__(fit.axes.shape[1])
        self.torsions, self.atoms, self.fit = torsions, atoms, fit
        self.rigid_modes = RIGID
        place = {int(atom): k for k, atom in enumerate(atoms)}
        self._local = np.array([[place[int(atom)] for atom in four] for four in torsions.quadruples])

    def features(self, frames: np.ndarray) -> np.ndarray:
        """Shape (n, n_features), of positions [nm] in any frame, shape (n, n_atoms, 3)."""
        return self.features_of_seen(np.zeros(0), frames[..., self.atoms, :])

    def features_of_seen(self, angles: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """The same of positions [nm] of the represented atoms; the angles are not needed."""
        away = superposed(ANGSTROM * positions, self.fit.reference) - self.fit.reference
        return _flat(away) @ self.fit.axes

    def held(self, angles: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """T as a restraint feels it, the atoms where they stand, shape (..., n_parameters)."""
        away = _flat(ANGSTROM * positions - self.fit.reference)
        return np.concatenate([away @ self.fit.axes, np.square(away).sum(axis=-1, keepdims=True)], axis=-1)

    def trembling(self, natural: np.ndarray) -> np.ndarray:
        """Variance [A^2] by motions of a rigid body under a restraint, shape (..., 1)."""
        return RIGID / (-2.0 * natural[..., -1:])

    def placed(self, frame: np.ndarray) -> np.ndarray:
        """A frame [nm], shape (n_atoms, 3), turned and shifted onto the reference."""
        chosen = frame[self.atoms]
        return (frame - chosen.mean(axis=0)) @ rotation_onto(centered(chosen), self.fit.reference)

    def center(self, mean: Array) -> Array:
        """Angles [rad] of the torsions at E[x], shape (..., n_torsions)."""
        structures = self.structures(mean[..., :-1])
        if isinstance(structures, Tensor):
            return _dihedrals(structures, self._local)
        return dihedral_angles(structures, self._local)

    def structures(self, features: Array) -> Array:
        """Positions [A] of the represented atoms, shape (..., n_atoms, 3)."""
        if isinstance(features, Tensor):
            axes, reference = (torch.from_numpy(part).to(features) for part in (self.fit.axes, self.fit.reference))
            return (features @ axes.T).unflatten(-1, reference.shape) + reference
        shape = (*features.shape[:-1], *self.fit.reference.shape)
        return (features @ self.fit.axes.T).reshape(shape) + self.fit.reference

    def reduced(self, natural: np.ndarray, features: np.ndarray) -> np.ndarray:
        """-log of the integral of exp(eta . T) over all placements of each sample, shape (n_ensembles, n).

        Samples of free simulations have no orientation, those of restrained ones have it from their restraint: what can
        be weighed by MBAR is their shape. Rotations are integrated to leading order in 1 / SNR.
        """
        shapes = centered(self.structures(features))
        size = np.square(shapes).sum(axis=(-2, -1))
        found = np.zeros((len(natural), len(features)))
        for row, eta in zip(found, natural, strict=True):
            snr = -2.0 * eta[-1]
            if snr <= 0.0:
                continue
            target = centered(self.structures(eta[:-1] / snr))
            away = np.square(target - self.fit.reference).sum()
            straight = 0.5 * snr * (size + np.square(target).sum() - away)
            row[:] = straight - log_orientations(shapes, target, snr) + 1.5 * np.log(snr)
        return found

    def max_block_variance(self, spread: float) -> float:
        """Of a root-mean-square deviation ``spread`` [nm] of an atom."""
        return len(self.atoms) * (ANGSTROM * spread) ** 2

    def spread(self, block_variance: np.ndarray) -> np.ndarray:
        """Root-mean-square deviation [A] of an atom."""
        return np.sqrt(np.maximum(block_variance, 0.0) / len(self.atoms))

    def restraint(self, kt: float, copies: int = 1, n_atoms: int = 0) -> CartesianRestraint:
        """The OpenMM restraint at thermal energy ``kt`` [kJ/mol] of ``copies`` molecules of ``n_atoms`` each."""
        return CartesianRestraint(self, kt, copies, n_atoms)


class CartesianRestraint:
    """-kT eta . T(x) as a CustomExternalForce on the represented atoms."""

    def __init__(self, cartesian: Cartesian, kt: float, copies: int = 1, n_atoms: int = 0):
        self._kt, self._axes = kt, cartesian.fit.axes
        self._atoms = (cartesian.atoms + n_atoms * np.arange(copies)[:, None]).ravel().tolist()
        self._places = np.tile(cartesian.fit.reference, (copies, 1)).tolist()
        away = {axis: f"({ANGSTROM!r}*{axis}-r{axis})" for axis in "xyz"}
        linear = "+".join(f"c{axis}*{away[axis]}" for axis in "xyz")
        squares = "+".join(f"{away[axis]}^2" for axis in "xyz")
        self.force = openmm.CustomExternalForce(f"-({linear}+et*({squares}))")
        self.force.setName("SpacetimeRestraint")
        for name in ("cx", "cy", "cz", "et", "rx", "ry", "rz"):
            self.force.addPerParticleParameter(name)
        for atom, place in zip(self._atoms, self._places, strict=True):
            self.force.addParticle(atom, [0.0, 0.0, 0.0, 0.0, *place])

    def move_to(self, natural: np.ndarray, context: openmm.Context) -> None:
        """Set the restraint to natural parameters, shape (..., n_features + 1), in the order of the copies."""
        each = self._kt * natural.reshape(-1, natural.shape[-1])
        pull = (each[:, :-1] @ self._axes.T).reshape(len(each), -1, 3)
        stiffness = np.broadcast_to(each[:, None, -1:], (*pull.shape[:2], 1))
        rows = np.concatenate([pull, stiffness], axis=-1).reshape(-1, 4).tolist()
        for k, (atom, row, place) in enumerate(zip(self._atoms, rows, self._places, strict=True)):
            self.force.setParticleParameters(k, atom, [*row, *place])
        self.force.updateParametersInContext(context)


def _flat(positions: np.ndarray) -> np.ndarray:
    return positions.reshape(*positions.shape[:-2], -1)


def _dihedrals(positions: Tensor, quadruples: np.ndarray) -> Tensor:
    """``dihedral_angles`` in torch."""
    b1, b2, b3 = positions[..., quadruples, :].diff(dim=-2).unbind(-2)
    n1, n2 = torch.linalg.cross(b1, b2), torch.linalg.cross(b2, b3)
    return torch.atan2((b1 * n2).sum(-1) * b2.norm(dim=-1), (n1 * n2).sum(-1))
