"""What the report's 3-D viewer shows: paths as compact numbers, and a still picture where scripts are off."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import mdtraj
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from mpl_toolkits.mplot3d.art3d import Line3DCollection

_LARGEST = 32_000
_COLORS = {"C": "#555555", "N": "#3050f8", "O": "#ff0d0d", "H": "#bbbbbb", "S": "#c8a800"}


@dataclass(frozen=True)
class Track:
    """One path of the viewer.

    Attributes:
        name: of the path.
        group: kind and channel under which it is listed.
        positions_nm: frames, superposed, shape (T, n_atoms, 3).
        along: curve parameter or time of each frame, shape (T,).
        along_is: what that is, with its unit.
        energies: by name with unit, shape (T,) each; NaN where unknown.
    """

    name: str
    group: str
    positions_nm: np.ndarray
    along: np.ndarray
    along_is: str
    energies: Mapping[str, np.ndarray] = field(default_factory=dict)

    def thinned(self, most: int) -> Track:
        """With at most so many frames, first and last among them."""
        if len(self.along) <= most:
            return self
        rows = np.unique(np.linspace(0, len(self.along) - 1, most).astype(int))
        energies = {name: values[rows] for name, values in self.energies.items()}
        return Track(self.name, self.group, self.positions_nm[rows], self.along[rows], self.along_is, energies)

    def plain(self) -> dict[str, Any]:
        """For JSON: positions as base64 of little-endian int16 in steps of ``step`` [Å]."""
        angstrom = 10.0 * self.positions_nm
        step = max(0.01, float(np.abs(angstrom).max()) / _LARGEST)
        packed = np.round(angstrom / step).astype("<i2").tobytes()
        energies = {
            name: [None if not np.isfinite(v) else round(float(v), 3) for v in values]
            for name, values in self.energies.items()
            if np.isfinite(values).any()
        }
        return {
            "name": self.name,
            "group": self.group,
            "frames": len(self.along),
            "step": step,
            "positions": base64.b64encode(packed).decode("ascii"),
            "along": [round(float(s), 5) for s in self.along],
            "along_is": self.along_is,
            "energies": energies,
        }


@dataclass(frozen=True)
class Scene:
    """Everything that the viewer shows.

    Attributes:
        structure_pdb: PDB text whose atoms the paths move.
        ends_pdb: PDB text of both end structures, superposed, by the names of their states.
        tracks: the paths.
    """

    structure_pdb: str
    ends_pdb: Mapping[str, str]
    tracks: Sequence[Track]

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "structure": self.structure_pdb,
            "ends": dict(self.ends_pdb),
            "tracks": [track.plain() for track in self.tracks],
        }


def still_picture(topology: mdtraj.Topology, frames_nm: np.ndarray, titles: Sequence[str]) -> bytes:
    """PNG of a few frames as sticks side by side, shape (n, n_atoms, 3)."""
    figure = Figure(figsize=(3.2 * len(frames_nm), 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    bonds = np.array([[one.index, other.index] for one, other in topology.bonds], dtype=int).reshape(-1, 2)
    colors = [_COLORS.get(atom.element.symbol if atom.element else "", "#888888") for atom in topology.atoms]
    centre = frames_nm.mean(axis=(0, 1))
    reach = np.abs(frames_nm - centre).max()
    for k, (frame, title) in enumerate(zip(frames_nm, titles, strict=True), 1):
        axes = figure.add_subplot(1, len(frames_nm), k, projection="3d")
        middle = 0.5 * (frame[bonds[:, 0]] + frame[bonds[:, 1]])
        halves = np.concatenate([np.stack([frame[bonds[:, side]], middle], axis=1) for side in (0, 1)])
        axes.add_collection3d(Line3DCollection(halves, colors=[colors[i] for i in bonds.T.ravel()], linewidths=3))
        for axis, mid in zip("xyz", centre, strict=True):
            getattr(axes, f"set_{axis}lim")(mid - reach, mid + reach)
        axes.set_axis_off()
        axes.set_title(title, fontsize=10)
    target = io.BytesIO()
    figure.savefig(target, format="png", dpi=110, metadata={"Software": None})
    return target.getvalue()
