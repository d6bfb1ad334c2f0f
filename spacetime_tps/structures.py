"""What the atoms of a molecule cannot do in any frame: bonds torn or squashed, centres flattened, a mirror image.

Coordinates in the wrong unit, frames of zeros, atoms in another order and mirrored molecules would all be simulated
without a word; everything here is cheap enough to look at every frame.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from openmm import app
from scipy.spatial import cKDTree

from spacetime_tps.errors import UserError
from spacetime_tps.topology import TETRAHEDRAL, chiral_centers, is_solvent, neighbours_of

_LIGHT = {"C", "N", "O", "F"}
_BONDS_NM = {"hydrogen": (0.06, 0.20), "light": (0.08, 0.22), "other": (0.06, 0.35)}
"""Lengths that a bond may have: with hydrogen, between carbon, nitrogen, oxygen and fluorine, and of any others."""
_TYPICAL_NM, _SCALE = 0.13, (0.6, 1.7)
"""Of the median bond of an organic molecule, and how far it may be off before its unit is in doubt."""
_LEAST_SCALE = 0.01
"""Below it no unit explains what is one heap."""
_OVERLAP_NM = 0.04
_FLAT = 0.25
"""Least singular value of the four unit bonds of a tetrahedral atom; 1.15 in a regular one, 0 in a plane."""
_FARTHEST_NM = 1e4
_FRAMES_AT_ONCE = 500


@dataclass(frozen=True)
class Anatomy:
    """What the bonds of a topology say of every frame.

    Attributes:
        names: of the atoms, such as ``CA of ALA 2``.
        bonds: indices of bonded atoms, without those of the solvent, shape (n_bonds, 2).
        limits: least and greatest length of each [nm], shape (n_bonds, 2).
        tetrahedral: atoms with four neighbours, and these, shape (n_tetrahedral, 5).
        centers: stereocentres, and three of their neighbours, shape (n_centers, 4).
    """

    names: list[str]
    bonds: np.ndarray
    limits: np.ndarray
    tetrahedral: np.ndarray
    centers: np.ndarray

    @classmethod
    def of(cls, topology: app.Topology, n_atoms: int | None = None) -> Anatomy:
        """That of a topology, or of its first ``n_atoms`` atoms."""
        atoms = list(topology.atoms())[:n_atoms]
        solvent = {atom.index for residue in topology.residues() if is_solvent(residue) for atom in residue.atoms()}
        bonds, limits = [], []
        for first, second in topology.bonds():
            if max(first.index, second.index) < len(atoms) and first.index not in solvent:
                bonds.append((first.index, second.index))
                limits.append(_BONDS_NM[_kind_of_bond(first, second)])
        neighbours = [[] if k in solvent else around for k, around in enumerate(neighbours_of(topology)[: len(atoms)])]
        four = [k for k, around in enumerate(neighbours) if len(around) == 4 and _symbol(atoms[k]) in TETRAHEDRAL]
        centers = chiral_centers(topology).quadruples
        return cls(
            names=[f"{atom.name} of {atom.residue.name} {atom.residue.id}" for atom in atoms],
            bonds=np.array(bonds, dtype=int).reshape(-1, 2),
            limits=np.array(limits, dtype=float).reshape(-1, 2),
            tetrahedral=np.array([[k, *neighbours[k]] for k in four], dtype=int).reshape(-1, 5),
            centers=centers[(centers < len(atoms)).all(axis=1)],
        )

    def lengths(self, frames: np.ndarray) -> np.ndarray:
        """Of the bonds [nm], shape (..., n_bonds), in frames [nm], shape (..., n_atoms, 3)."""
        return np.linalg.norm(frames[..., self.bonds[:, 0], :] - frames[..., self.bonds[:, 1], :], axis=-1)

    def hands(self, frames: np.ndarray) -> np.ndarray:
        """Signs of the stereocentres, shape (..., n_centers)."""
        center, a, b, c = (frames[..., self.centers[:, k], :] for k in range(4))
        return np.sign((np.cross(a - center, b - center) * (c - center)).sum(axis=-1))

    def flatness(self, frames: np.ndarray) -> np.ndarray:
        """Least singular values of the bonds of tetrahedral atoms, shape (..., n_tetrahedral)."""
        arms = frames[..., self.tetrahedral[:, 1:], :] - frames[..., self.tetrahedral[:, :1], :]
        arms = arms / np.maximum(np.linalg.norm(arms, axis=-1, keepdims=True), 1e-12)
        return np.linalg.svd(arms, compute_uv=False)[..., -1]

    def unit_problem(self, frames: np.ndarray) -> str:
        """What to say of frames most of whose bonds have lengths of another unit; empty if they do not."""
        if len(self.bonds) < 3:
            return ""
        ratio = float(np.median(self.lengths(frames))) / _TYPICAL_NM
        if not ratio > _LEAST_SCALE or _SCALE[0] < ratio < _SCALE[1]:
            return ""
        return (
            f"its bonds are {ratio * _TYPICAL_NM:.2g} nm long (median), where {_TYPICAL_NM:g} nm are expected: its "
            "coordinates are in another unit, or its atoms in another order"
        )

    def first_problem(self, frames: np.ndarray, hands: np.ndarray | None = None) -> tuple[int, str] | None:
        """Number of the first frame that cannot be, and why; None if all can.

        Args:
            frames: shape (T, n_atoms, 3) [nm].
            hands: signs that the stereocentres must have, shape (n_centers,); None: any.
        """
        for begin in range(0, len(frames), _FRAMES_AT_ONCE):
            part = np.asarray(frames[begin : begin + _FRAMES_AT_ONCE], dtype=float)
            bad = [found for found in self._problems(part, hands) if found is not None]
            if bad:
                number, words = min(bad, key=lambda found: found[0])
                return begin + number, words
        return None

    def _problems(self, frames: np.ndarray, hands: np.ndarray | None) -> Iterable[tuple[int, str] | None]:
        wrong = ~np.isfinite(frames).all(axis=(1, 2))
        yield _first(wrong, lambda _: "it holds coordinates that are not finite")
        if wrong.any():
            return
        yield _first(np.abs(frames).max(axis=(1, 2)) > _FARTHEST_NM, lambda _: "its atoms lie beyond 10 micrometres")
        extent = (frames.max(axis=1) - frames.min(axis=1)).max(axis=1)
        yield _first((extent < _OVERLAP_NM) & (frames.shape[1] > 1), lambda _: "all its atoms lie at one place")
        lengths = self.lengths(frames)
        beyond = np.maximum(lengths - self.limits[:, 1], self.limits[:, 0] - lengths)
        yield _first(np.any(beyond > 0, axis=1), lambda k: self._words_of_bond(int(beyond[k].argmax()), frames[k]))
        flat = self.flatness(frames) < _FLAT
        yield _first(
            np.any(flat, axis=1), lambda k: f"the bonds of {self._name(flat[k], self.tetrahedral)} lie in a plane"
        )
        if hands is not None:
            mirrored = self.hands(frames) != hands
            yield _first(
                mirrored.any(axis=1),
                lambda k: f"it is the mirror image of the states' PDB files at {self._name(mirrored[k], self.centers)}",
            )

    def _words_of_bond(self, worst: int, frame: np.ndarray) -> str:
        a, b = self.bonds[worst]
        low, high = self.limits[worst]
        apart = np.linalg.norm(frame[a] - frame[b])
        return self.unit_problem(frame) or (
            f"{self.names[a]} and {self.names[b]} are bonded and lie {apart:.3g} nm apart, expected {low:g} to "
            f"{high:g} nm"
        )

    def _name(self, wrong: np.ndarray, atoms: np.ndarray) -> str:
        return self.names[int(atoms[int(wrong.argmax()), 0])]


def check_structure(topology: app.Topology, positions: np.ndarray, source: str) -> None:
    """Refuse a structure whose atoms cannot be where they are.

    Args:
        topology: with its bonds; without any only overlaps are seen.
        positions: shape (n_atoms, 3) [nm].
        source: file, for messages.

    Raises:
        UserError: a bond is torn or squashed, a tetrahedral atom flat, or two atoms overlap.
    """
    found = Anatomy.of(topology).first_problem(positions[None])
    if found is not None:
        raise UserError(f"{source} is not a possible structure: {found[1]}; check its coordinates and their unit.")
    check_overlaps(topology, positions, source)


def check_overlaps(topology: app.Topology, positions: np.ndarray, source: str) -> None:
    """Refuse two atoms in one place; those without an element are sites of a model, not atoms.

    Raises:
        UserError: there are two.
    """
    atoms = [atom for atom in topology.atoms() if atom.element is not None]
    pairs = cKDTree(positions[[atom.index for atom in atoms]]).query_pairs(_OVERLAP_NM) if atoms else set()
    if pairs:
        a, b = (atoms[k] for k in sorted(min(pairs)))
        apart = np.linalg.norm(positions[a.index] - positions[b.index])
        names = " and ".join(f"{atom.name} of {atom.residue.name} {atom.residue.id}" for atom in (a, b))
        raise UserError(
            f"{source} is not a possible structure: {names} overlap, {apart:.3f} nm apart, expected more than "
            f"{_OVERLAP_NM:g} nm; give a structure without overlaps."
        )


def check_unit(topology: app.Topology, positions: np.ndarray, source: str) -> None:
    """Refuse a structure most of whose bonds have lengths of another unit.

    Raises:
        UserError: as it says.
    """
    if words := Anatomy.of(topology).unit_problem(positions):
        raise UserError(f"{source} is not a possible structure: {words}; PDB files are in angstroms.")


def check_frames(topology: app.Topology, frames: np.ndarray, source: str, structure: np.ndarray) -> None:
    """Refuse a trajectory with a frame that cannot be, or that is a mirror image.

    Args:
        topology: of the molecule; of what lies behind it (water, ions) frames may have less.
        frames: shape (T, n_atoms, 3) [nm].
        source: file, for messages.
        structure: of the molecule, whose chirality the frames must have, shape (at least n_atoms, 3).

    Raises:
        UserError: naming the first such frame, counted from 0.
    """
    anatomy = Anatomy.of(topology, frames.shape[1])
    found = anatomy.first_problem(frames, anatomy.hands(structure[: frames.shape[1]]))
    if found is not None:
        raise UserError(
            f"{source}: frame {found[0]} (of {len(frames)}, counted from 0) cannot be: {found[1]}; its atoms have to "
            "be those of the states' PDB files in their order, the molecule whole, the unit that of the format."
        )


def check_same_hands(topology: app.Topology, structures: Iterable[np.ndarray], files: Iterable[str]) -> None:
    """Refuse structures [nm], each of shape (n_atoms, 3), that are mirror images of the first at a stereocentre.

    Raises:
        UserError: one is.
    """
    anatomy = Anatomy.of(topology)
    (first, *others), (source, *sources) = list(structures), list(files)
    hands = anatomy.hands(first)
    for other, file in zip(others, sources, strict=True):
        if (wrong := anatomy.hands(other) != hands).any():
            name = anatomy.names[int(anatomy.centers[int(wrong.argmax()), 0])]
            raise UserError(
                f"{source} and {file} are mirror images at {name}; no path inverts a stereocentre, so give both with "
                "the same chirality."
            )


def _first(wrong: np.ndarray, words: Callable[[int], str]) -> tuple[int, str] | None:
    if not wrong.any():
        return None
    number = int(wrong.argmax())
    return number, words(number)


def _symbol(atom: app.topology.Atom) -> str:
    return "" if atom.element is None else str(atom.element.symbol)


def _kind_of_bond(first: app.topology.Atom, second: app.topology.Atom) -> str:
    symbols = {_symbol(first), _symbol(second)}
    if symbols <= _LIGHT:
        return "light"
    return "hydrogen" if "H" in symbols and symbols <= _LIGHT | {"H", "S", "P", "Si", "B"} else "other"
