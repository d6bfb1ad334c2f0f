"""A written DCD, read back by two independent libraries."""

from __future__ import annotations

from pathlib import Path

import MDAnalysis
import mdtraj
import numpy as np
import pytest
from openmm import app

from spacetime_tps.export.trajectory import MoleculeWriter, superposed, write_dcd
from spacetime_tps.systems import systems_folder


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_mdtraj_and_mdanalysis_read_the_same(tmp_path: Path) -> None:
    pdb = app.PDBFile(str(systems_folder() / "alanine_dipeptide/c5.pdb"))
    start = np.array(pdb.getPositions(asNumpy=True)._value, dtype=float)
    frames = start + np.random.default_rng(0).normal(0, 0.02, (7, *start.shape)) + np.array([3.0, -2.0, 1.0])
    topology = mdtraj.Topology.from_openmm(pdb.topology)
    trajectory = superposed(topology, frames, start)
    MoleculeWriter(pdb.topology, start).structure(tmp_path / "topology.pdb")
    write_dcd(tmp_path / "path.dcd", trajectory, interval_ps=0.25)
    first = mdtraj.load(str(tmp_path / "path.dcd"), top=str(tmp_path / "topology.pdb"))
    second = MDAnalysis.Universe(str(tmp_path / "topology.pdb"), str(tmp_path / "path.dcd"))
    assert second.trajectory.dt == pytest.approx(0.25, rel=1e-6)
    assert second.trajectory.n_frames == first.n_frames == 7
    by_mdanalysis = np.array([step.positions.copy() for step in second.trajectory]) / 10
    assert np.abs(first.xyz - by_mdanalysis).max() < 1e-5
    assert np.abs(first.xyz - trajectory.xyz).max() < 1e-5
    assert first.topology.n_bonds == second.atoms.n_atoms - 1 == 21
    distances = np.linalg.norm(frames[:, 0] - frames[:, 10], axis=-1)
    assert np.linalg.norm(first.xyz[:, 0] - first.xyz[:, 10], axis=-1) == pytest.approx(distances, abs=1e-5)
    assert np.linalg.norm(first.xyz - start, axis=-1).mean() < 0.06
