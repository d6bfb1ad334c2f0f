"""Annealed transition paths as arrays."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from spacetime_tps.errors import DamagedFileError
from spacetime_tps.files import read_arrays, write_arrays
from spacetime_tps.shapes import check_finite, check_shapes

_AGAIN = "run 'paths' again with --overwrite"
_ROUNDING = 1e-6


@dataclass(frozen=True)
class PathEnsemble:
    """n paths of T frames each, every one in its own direction of time.

    Annealed paths are guided, non-equilibrium trajectories: their frames are neither Boltzmann nor
    transition-path-ensemble samples and carry no rates.

    Attributes:
        forward: whether the path runs from A to B, shape (n,).
        frames: positions [nm], shape (n, T, n_atoms, 3), or points, shape (n, T, d); float32.
        curve_parameter: curve parameter of a frame, 0 in A and 1 in B, shape (n, T).
        variables: collective variables, shape (n, T, n_cv).
        potential_energy: without the restraint, shape (n, T) [energy unit of the system].
        kinetic_energy: shape (n, T); NaN for overdamped dynamics.
        free_energy: largest reference F looked at since the last saved frame, shape (n, T); NaN without a reference.
        avoided_share: share of a path's looks in the region to be avoided, shape (n,); NaN without one.
        work_kt: work of the moving restraint, shape (n,) [kT].
        starts_in_state, ends_in_state: whether the first (last) frame lies in the state its direction names.
        start_stays, end_stays: whether that end, released, was found committed to its state.
        start_inside, end_inside: whether it lay inside the state at the very moment the release time was over.
        force_evaluations: of each path, shape (n,).
        interval: time between frames [ps, or reduced]; the frames' own axis is the curve parameter.
    """

    forward: np.ndarray
    frames: np.ndarray
    curve_parameter: np.ndarray
    variables: np.ndarray
    potential_energy: np.ndarray
    kinetic_energy: np.ndarray
    free_energy: np.ndarray
    avoided_share: np.ndarray
    work_kt: np.ndarray
    starts_in_state: np.ndarray
    ends_in_state: np.ndarray
    start_stays: np.ndarray
    end_stays: np.ndarray
    start_inside: np.ndarray
    end_inside: np.ndarray
    force_evaluations: np.ndarray
    interval: float

    def __len__(self) -> int:
        return len(self.forward)

    @property
    def max_free_energy(self) -> np.ndarray:
        """MaxFreeEnergy of each path over every look, shape (n,)."""
        return self.free_energy.max(axis=1)

    @property
    def max_potential_energy(self) -> np.ndarray:
        """MaxEnergy of each path over its saved frames, shape (n,)."""
        return self.potential_energy.max(axis=1)

    def save(self, path: Path) -> None:
        """Write to an ``.npz`` file."""
        write_arrays(path, **{f.name: np.asarray(getattr(self, f.name)) for f in fields(self)})

    @classmethod
    def load(cls, path: Path) -> PathEnsemble:
        """Read a file written by ``save``.

        Raises:
            DamagedFileError: it is missing, or its arrays are not those of paths.
        """
        data = read_arrays(path, [f.name for f in fields(cls)])
        _check(path, data)
        interval = float(data.pop("interval"))
        return cls(**data, interval=interval)


def _check(file: Path, data: dict[str, np.ndarray]) -> None:
    """Whether arrays can be paths: shapes, finite numbers, a curve parameter that runs one way."""
    each = ("avoided_share", "work_kt", "starts_in_state", "ends_in_state", "start_stays", "end_stays")
    framewise = ("curve_parameter", "potential_energy", "kinetic_energy", "free_energy")
    check_shapes(
        file,
        data,
        _AGAIN,
        forward=("n",),
        frames=("n", "FRAMES", "..."),
        variables=("n", "FRAMES", "variables"),
        interval=(),
        **dict.fromkeys(framewise, ("n", "FRAMES")),
        **dict.fromkeys((*each, "start_inside", "end_inside", "force_evaluations"), ("n",)),
    )
    check_finite(
        file, data, _AGAIN, "frames", "variables", "curve_parameter", "potential_energy", "work_kt", "interval"
    )
    at = np.where(data["forward"][:, None], data["curve_parameter"], 1.0 - data["curve_parameter"])
    if data["forward"].dtype != bool or at.min() < -_ROUNDING or (np.diff(at, axis=1) < -_ROUNDING).any():
        raise DamagedFileError(f"{file} is damaged: its curve parameter does not run from end to end; {_AGAIN}.")
