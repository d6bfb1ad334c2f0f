"""Axes of linear representations, fitted to the samples of a run."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from spacetime_tps.errors import DamagedFileError, UserError
from spacetime_tps.files import read_arrays
from spacetime_tps.representations.cartesian import ANGSTROM, RIGID, AtomAxes
from spacetime_tps.representations.components import TorsionAxes
from spacetime_tps.representations.superposition import centered, rigid_modes, superposed

FITTED = "representation.npz"
"""In a run folder: the axes."""
NEEDS_DEEPTIME = "representation.kind 'tica' needs deeptime; pip install 'spacetime-tps[tica]', or take 'pca'."
_ROUNDS = 10
"""Of superposing on the mean and taking the mean again."""
_LEAST_ATOMS = 4
_FLAT = 1e-10
"""Share of the largest variance below which a direction has none."""


def fit_atoms(positions: np.ndarray) -> AtomAxes:
    """Mean structure and principal axes of samples as they come, biased ones too: barriers count like basins.

    Args:
        positions: of the represented atoms [nm], shape (n, n_atoms, 3).

    Raises:
        UserError: there are fewer than four atoms.
    """
    if positions.shape[1] < _LEAST_ATOMS:
        raise UserError(
            f"representation.kind 'cartesian' needs at least {_LEAST_ATOMS} atoms, and representation.atoms are "
            f"{positions.shape[1]} here; take others."
        )
    atoms = ANGSTROM * positions
    reference = centered(atoms[0])
    for _ in range(_ROUNDS):
        reference = superposed(atoms, reference).mean(axis=0)
    away = (superposed(atoms, reference) - reference).reshape(len(atoms), -1)
    rigid = rigid_modes(reference)
    inside = np.eye(len(rigid)) - rigid @ rigid.T
    variances, axes = np.linalg.eigh(inside @ np.cov(away.T) @ inside - 1e-6 * rigid @ rigid.T)
    order = np.argsort(-variances)[: len(rigid) - RIGID]
    return AtomAxes(reference, axes[:, order])


def fit_torsions(
    features: np.ndarray, log_weights: np.ndarray, walker: np.ndarray, components: int, lag: int | None
) -> TorsionAxes:
    """Slowest combinations of (cos, sin) by TICA, each of variance one; without a lag the widest by PCA.

    Correlations in time are those of the sampling run, bias and all; means and variances are weighted.

    Args:
        features: (cos, sin) of the torsions, shape (n, 2 n_torsions), in the order of time within a walker.
        log_weights: shape (n,).
        walker: that each sample comes from, shape (n,).
        components: how many.
        lag: in samples; None: PCA.

    Raises:
        UserError: no walker has more than ``lag`` samples.
    """
    if lag is None:
        weights = np.exp(log_weights - log_weights.max())
        weights = np.ones(len(features)) / len(features) if weights.sum() < components else weights / weights.sum()
        offset = weights @ features
        _, vectors = np.linalg.eigh((features - offset).T @ (weights[:, None] * (features - offset)))
        axes = vectors[:, ::-1][:, :components]
    else:
        parts = [features[walker == w] for w in np.unique(walker)]
        parts = [part for part in parts if len(part) > lag]
        if not parts:
            raise UserError("No walker is longer than representation.lag; shorten it, or sample longer.")
        try:
            from deeptime.decomposition import TICA
        except ImportError as error:
            raise UserError(NEEDS_DEEPTIME) from error
        model = TICA(lagtime=lag, dim=components, scaling=None).fit_fetch(parts)
        offset, axes = model.mean_0, model.singular_vectors_left[:, :components]
    projected = (features - offset) @ axes
    scale = np.maximum(projected.std(axis=0), _FLAT)
    axes, projected = axes / scale, projected / scale
    inverse, *_ = np.linalg.lstsq(projected, features - offset, rcond=None)
    return TorsionAxes(offset, axes, inverse)


def read_fit(file: Path, shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray] | None:
    """Arrays of a representation that was fitted to the samples beside it; None as long as there are no samples.

    Raises:
        DamagedFileError: the file is missing, or does not hold them.
    """
    again = "draw the samples again: 'run' or 'sample' with --overwrite"
    if not (file.parent / "samples.npz").is_file():
        return None
    if not file.is_file():
        raise DamagedFileError(f"{file}, which the samples were described with, is missing; {again}.")
    found = read_arrays(file, tuple(shapes))
    for name, shape in shapes.items():
        if found[name].shape != shape or found[name].dtype.kind != "f" or not np.isfinite(found[name]).all():
            raise DamagedFileError(f"{file} does not hold finite {name!r} of the shape {shape}; {again}.")
    return {name: found[name] for name in shapes}
