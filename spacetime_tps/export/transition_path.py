"""A transition path as other packages want it: MDTraj, MDAnalysis, OpenPathSampling, and their files."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mdtraj
import numpy as np
from openmm import app, unit

from spacetime_tps.dynamics import MolecularDynamics, thermalise
from spacetime_tps.errors import UserError
from spacetime_tps.export.trajectory import write_dcd
from spacetime_tps.files import replacing
from spacetime_tps.seeds import openmm_seed

if TYPE_CHECKING:
    import MDAnalysis

_SUFFIXES = (".dcd", ".xtc", ".trr", ".h5")
_ANGSTROM = 10.0


@dataclass(frozen=True)
class TransitionPath:
    """T frames of all atoms from one state to the other.

    Attributes:
        topology: OpenMM's, of these atoms.
        positions_nm: shape (T, n_atoms, 3).
        interval_ps: time between frames; of annealed paths no more than a way to number them.
        in_states: whether a frame lies in A and in B, shape (T, 2).
        nature: what the path is, in a sentence.
        velocities_nm_ps: shape (T, n_atoms, 3), within half an integration step of the times of the positions; None for
            annealed paths.
        box_nm: periodic box, shape (3, 3), or None.
    """

    topology: app.Topology
    positions_nm: np.ndarray
    interval_ps: float
    in_states: np.ndarray
    nature: str
    velocities_nm_ps: np.ndarray | None = None
    box_nm: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.positions_nm)

    def __repr__(self) -> str:
        """What there is of it; the arrays are long."""
        atoms, last = self.positions_nm.shape[1], self.interval_ps * (len(self) - 1)
        return f"<TransitionPath: {len(self)} frames of {atoms} atoms, {last:g} ps. {self.nature}>"

    @property
    def times_ps(self) -> np.ndarray:
        """Of the frames, from zero, shape (T,)."""
        return self.interval_ps * np.arange(len(self))

    def trimmed(self) -> TransitionPath:
        """From the last frame in one state to the first in the other: nothing but the ends lies in a state.

        Raises:
            UserError: the path does not lead from one state to the other with a frame between them.
        """
        for start, end in ((0, 1), (1, 0)):
            entries = np.flatnonzero(self.in_states[:, end] & (np.cumsum(self.in_states[:, start]) > 0))
            if not len(entries):
                continue
            last = int(entries[0])
            first = int(np.flatnonzero(self.in_states[:last, start])[-1])
            if last - first >= 2:
                return self.frames(slice(first, last + 1))
        raise UserError("The path does not lead from one state to the other with a frame between them.")

    def frames(self, some: slice) -> TransitionPath:
        """A part of the path."""
        velocities = None if self.velocities_nm_ps is None else self.velocities_nm_ps[some]
        return replace(
            self, positions_nm=self.positions_nm[some], in_states=self.in_states[some], velocities_nm_ps=velocities
        )

    def thermalised(self, dynamics: MolecularDynamics, seed: int) -> TransitionPath:
        """With Maxwell-Boltzmann velocities at the temperature of some dynamics of these atoms, constraints obeyed."""
        context = dynamics.context(openmm_seed(seed, "velocities"))
        velocities = np.empty(self.positions_nm.shape)
        for k, positions in enumerate(self.positions_nm):
            context.setPositions(positions.astype(float))
            thermalise(context, dynamics.temperature_k, openmm_seed(seed, "velocities", k))
            found = context.getState(velocities=True).getVelocities(asNumpy=True)
            velocities[k] = found.value_in_unit(unit.nanometer / unit.picosecond)
        return replace(self, velocities_nm_ps=velocities)

    def to_mdtraj(self) -> mdtraj.Trajectory:
        """An ``mdtraj.Trajectory`` with its times [ps]."""
        found = mdtraj.Trajectory(self.positions_nm, mdtraj.Topology.from_openmm(self.topology), time=self.times_ps)
        if self.box_nm is not None:
            found.unitcell_vectors = np.broadcast_to(self.box_nm, (len(self), 3, 3))
        return found

    def to_universe(self) -> MDAnalysis.Universe:
        """An ``MDAnalysis.Universe`` in memory, in Å and ps, with velocities where there are some.

        Raises:
            UserError: MDAnalysis is not installed.
        """
        try:
            import MDAnalysis
            from MDAnalysis.coordinates.memory import MemoryReader
        except ImportError as error:
            raise UserError("MDAnalysis is not installed; pip install MDAnalysis.") from error
        atoms = list(self.topology.atoms())
        residues = list(self.topology.residues())
        found = MDAnalysis.Universe.empty(
            len(atoms), len(residues), len(list(self.topology.chains())),
            atom_resindex=[atom.residue.index for atom in atoms],
            residue_segindex=[residue.chain.index for residue in residues],
            trajectory=False, velocities=self.velocities_nm_ps is not None,
        )  # fmt: skip
        found.add_TopologyAttr("names", [atom.name for atom in atoms])
        found.add_TopologyAttr("elements", [atom.element.symbol if atom.element else "" for atom in atoms])
        found.add_TopologyAttr("masses", [atom.element.mass._value if atom.element else 0.0 for atom in atoms])
        found.add_TopologyAttr("resnames", [residue.name for residue in residues])
        found.add_TopologyAttr("resids", [_number(residue.id, residue.index + 1) for residue in residues])
        found.add_TopologyAttr("segids", [chain.id for chain in self.topology.chains()])
        found.add_TopologyAttr("bonds", [(bond[0].index, bond[1].index) for bond in self.topology.bonds()])
        extra: dict[str, Any] = {}
        if self.velocities_nm_ps is not None:
            extra["velocities"] = _ANGSTROM * self.velocities_nm_ps
        if self.box_nm is not None:
            extra["dimensions"] = _lengths_and_angles(self.box_nm)
        positions = _ANGSTROM * self.positions_nm
        found.load_new(positions, format=MemoryReader, order="fac", dt=self.interval_ps, **extra)
        return found

    def to_openpathsampling(self, engine: Any = None) -> Any:
        """An ``openpathsampling.Trajectory`` that its transition path sampling accepts as a first one.

        Trimmed, so that only the ends lie in the states; with velocities, which must be there (``thermalised``), and
        a box, the engine's own if the path has none.

        Args:
            engine: an OpenMM engine of OpenPathSampling that the snapshots shall belong to.

        Raises:
            UserError: OpenPathSampling is not installed, or the path has no velocities or no transition.
        """
        try:
            import openpathsampling as paths
            from openpathsampling.engines.openmm import Snapshot
            from openpathsampling.engines.openmm.tools import TopologyEngine
            from openpathsampling.engines.openmm.topology import MDTrajTopology
        except ImportError as error:
            raise UserError(
                "OpenPathSampling is not installed; it lives in an environment of its own (constraints-ops.txt)."
            ) from error
        path = self.trimmed()
        if path.velocities_nm_ps is None:
            raise UserError("The path has no velocities; path.thermalised(dynamics, seed) draws them.")
        if engine is None:
            engine = TopologyEngine(MDTrajTopology(mdtraj.Topology.from_openmm(self.topology)))
        box = path.box_nm
        if box is None:
            system = getattr(engine, "system", None)
            default = np.eye(3) if system is None else system.getDefaultPeriodicBoxVectors()
            box = np.array([[_plain(x) for x in row] for row in default])
        speed = unit.nanometer / unit.picosecond
        return paths.Trajectory(
            [
                Snapshot.construct(x.astype(float) * unit.nanometer, box * unit.nanometer, v * speed, engine=engine)
                for x, v in zip(path.positions_nm, path.velocities_nm_ps, strict=True)
            ]
        )

    def save(self, file: Path | str) -> None:
        """Write a trajectory with right times: ``.dcd``, ``.xtc``, ``.trr`` (with velocities) or ``.h5`` (MDTraj's).

        Raises:
            UserError: the ending is none of these, the file cannot be written, or what it needs is not installed:
                PyTables for ``.h5``.
        """
        file = Path(file)
        if file.suffix not in _SUFFIXES:
            raise UserError(f"{file} should end in one of {', '.join(_SUFFIXES)}.")
        try:
            self._write(file)
        except OSError as error:
            raise UserError(f"{file} cannot be written: {error.strerror or error}.") from error

    def _write(self, file: Path) -> None:
        if file.suffix == ".dcd":
            write_dcd(file, self.to_mdtraj(), self.interval_ps)
            return
        with replacing(file) as temporary:
            if file.suffix == ".xtc":
                self.to_mdtraj().save_xtc(str(temporary))
            elif file.suffix == ".trr":
                self.to_universe().atoms.write(str(temporary), frames="all")
            else:
                self._save_h5(temporary)

    def _save_h5(self, file: Path) -> None:
        try:
            import tables  # noqa: F401
        except ImportError as error:
            raise UserError("HDF5 needs PyTables; pip install tables.") from error
        from mdtraj.formats import HDF5TrajectoryFile

        with HDF5TrajectoryFile(str(file), "w", force_overwrite=True) as handle:
            box = {}
            if self.box_nm is not None:
                sizes = np.tile(_lengths_and_angles(self.box_nm), (len(self), 1))
                box = {"cell_lengths": sizes[:, :3] / _ANGSTROM, "cell_angles": sizes[:, 3:]}
            handle.topology = mdtraj.Topology.from_openmm(self.topology)
            handle.write(self.positions_nm, time=self.times_ps, velocities=self.velocities_nm_ps, **box)


def _plain(length: Any) -> float:
    return float(length.value_in_unit(unit.nanometer)) if unit.is_quantity(length) else float(length)


def _number(label: str, otherwise: int) -> int:
    return int(label) if label.lstrip("-").isdigit() else otherwise


def _lengths_and_angles(box_nm: np.ndarray) -> np.ndarray:
    """Lengths [Å] and angles [deg] of a box, shape (6,)."""
    lengths = np.linalg.norm(box_nm, axis=1)
    cosines = [box_nm[i] @ box_nm[j] / (lengths[i] * lengths[j]) for i, j in ((1, 2), (0, 2), (0, 1))]
    return np.concatenate([_ANGSTROM * lengths, np.rad2deg(np.arccos(cosines))])
