"""Trajectories that MDTraj, MDAnalysis and VMD open, with the frame interval in the DCD header."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import mdtraj
import numpy as np
from openmm import app, unit

from spacetime_tps.files import replacing, write_text
from spacetime_tps.topology import solute_atoms, without_solvent

AKMA_TIME_PS = 0.04888821
"""CHARMM's unit of time, in which a DCD header states its interval [ps]."""
_NSAVC_OFFSET, _DELTA_OFFSET = 16, 44


class MoleculeWriter:
    """Writes a molecule's structure and trajectories, without water and ions.

    Trajectories are superposed onto the structure: molecules diffuse and tumble, and nobody wants to watch that.
    """

    def __init__(self, topology: app.Topology, structure_nm: np.ndarray):
        """``structure_nm``: one frame [nm], shape (n_atoms, 3)."""
        self._atoms = solute_atoms(topology)
        self._topology, self._structure = without_solvent(topology, structure_nm)
        self._converted = mdtraj.Topology.from_openmm(self._topology)

    def structure(self, path: Path, remark: str | None = None) -> None:
        """Write a PDB file that keeps the chain and residue numbers of the input."""
        write_text(path, self.pdb(self._structure, remark))

    def pdb(self, frame_nm: np.ndarray, remark: str | None = None) -> str:
        """A frame of the molecule alone, shape (n_atoms, 3) [nm], in the PDB format."""
        text = io.StringIO()
        if remark:
            text.write(f"REMARK   1 {remark}\n")
        app.PDBFile.writeModel(self._topology, frame_nm * unit.nanometer, text, keepIds=True)
        app.PDBFile.writeFooter(self._topology, text)
        return text.getvalue()

    def models(self, frames_nm: np.ndarray, remark: str | None = None) -> str:
        """Frames of all atoms, shape (n, n_atoms, 3) [nm], as models of one PDB file, superposed."""
        text = io.StringIO()
        if remark:
            text.write(f"REMARK   1 {remark}\n")
        for number, frame in enumerate(self.superposed(frames_nm).xyz, start=1):
            app.PDBFile.writeModel(self._topology, frame * unit.nanometer, text, modelIndex=number, keepIds=True)
        app.PDBFile.writeFooter(self._topology, text)
        return text.getvalue()

    def superposed(self, frames_nm: np.ndarray) -> mdtraj.Trajectory:
        """Frames of all atoms, shape (T, n_atoms, 3) [nm], as those of the molecule alone, onto the structure."""
        return superposed(self._converted, frames_nm[:, self._atoms], self._structure)

    def trajectory(self, path: Path, frames_nm: np.ndarray, interval_ps: float) -> None:
        """Write frames of all atoms, shape (T, n_atoms, 3) [nm], as a DCD file."""
        write_dcd(path, self.superposed(frames_nm), interval_ps)


def superposed(topology: mdtraj.Topology, frames_nm: np.ndarray, onto_nm: np.ndarray) -> mdtraj.Trajectory:
    """Frames, shape (T, n_atoms, 3) [nm], rotated and shifted onto the heavy atoms of ``onto_nm`` (Kabsch 1976).

    In float64, because MDTraj's own superposition does not always converge in its float32.
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
