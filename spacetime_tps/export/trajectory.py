"""Trajectories that MDTraj, MDAnalysis and VMD open, with the frame interval in the DCD header."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import mdtraj
import numpy as np
from openmm import app, unit

from spacetime_tps.files import replacing, write_text

AKMA_TIME_PS = 0.04888821
"""CHARMM's unit of time, in which a DCD header states its interval [ps]."""
_NSAVC_OFFSET, _DELTA_OFFSET = 16, 44


def write_topology(path: Path, topology: app.Topology, positions_nm: np.ndarray, remark: str | None = None) -> None:
    """Write a PDB file that keeps the chain and residue numbers of the input."""
    text = io.StringIO()
    if remark:
        text.write(f"REMARK   1 {remark}\n")
    app.PDBFile.writeModel(topology, positions_nm * unit.nanometer, text, keepIds=True)
    app.PDBFile.writeFooter(topology, text)
    write_text(path, text.getvalue())


def superposed(topology: mdtraj.Topology, frames_nm: np.ndarray, onto_nm: np.ndarray) -> mdtraj.Trajectory:
    """Frames, shape (T, n_atoms, 3) [nm], rotated and shifted onto the heavy atoms of ``onto_nm`` (Kabsch 1976).

    Paths diffuse and tumble freely in the simulation; nobody wants to watch that. In float64, because MDTraj's own
    superposition does not always converge in its float32.
    """
    heavy = topology.select("element != H")
    frames, target = frames_nm.astype(float), onto_nm.astype(float)
    center = target[heavy].mean(axis=0)
    centred = frames - frames[:, heavy].mean(axis=1, keepdims=True)
    left, _, right = np.linalg.svd(np.swapaxes(centred[:, heavy], 1, 2) @ (target[heavy] - center))
    left[:, :, -1] *= np.sign(np.linalg.det(left @ right))[:, None]
    return mdtraj.Trajectory(centred @ (left @ right) + center, topology)


def write_dcd(path: Path, trajectory: mdtraj.Trajectory, interval_ps: float) -> None:
    """Write a trajectory through MDTraj.

    MDTraj leaves the header's time fields at their defaults; they are filled in here, so that MDAnalysis reads the
    right interval.
    """
    with replacing(path) as temporary:
        trajectory.save_dcd(str(temporary))
        with temporary.open("r+b") as handle:
            handle.seek(_NSAVC_OFFSET)
            handle.write(struct.pack("<i", 1))
            handle.seek(_DELTA_OFFSET)
            handle.write(struct.pack("<f", interval_ps / AKMA_TIME_PS))
