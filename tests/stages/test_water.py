"""The whole chain in a periodic box of water: its results mean nothing, its files do."""

from __future__ import annotations

import json
from pathlib import Path

import mdtraj
import numpy as np
import openmm
import pytest
import yaml
from openmm import app

from spacetime_tps.boltzmann.recording import Recorder
from spacetime_tps.boltzmann.trajectory_files import read_trajectories
from spacetime_tps.boltzmann.transitions import Watched
from spacetime_tps.config import MoleculeConfig, TrajectoriesConfig
from spacetime_tps.dynamics import MolecularDynamics
from spacetime_tps.errors import UserError
from spacetime_tps.files import read_arrays
from spacetime_tps.molecules import openmm_system, pdb_text
from spacetime_tps.preparation.init import SOLVENTS
from spacetime_tps.preparation.matching import matched
from spacetime_tps.preparation.reading import read_structure_file
from spacetime_tps.preparation.solvation import WaterBox, solvated
from spacetime_tps.preparation.survey import relaxed
from spacetime_tps.systems import find_system_file, load_config, load_system, systems_folder
from tests.conftest import TINY_ALANINE, refusal, run_cli, settings
from tests.preparation.files import ENDS

TINY = (
    *(setting for setting in TINY_ALANINE if not setting.startswith("hardware")),
    "sampling.walkers=2", "sampling.build_time=1 ps", "sampling.exchange_interval=1 ps",
    "sampling.hill_interval=0.1 ps", "sampling.frozen_time=2 ps", "sampling.sample_interval=0.04 ps",
    "sampling.frame_interval=0.4 ps", "paths.count=2", "paths.steps_per_point=3",
    "paths.equilibration_steps=300", "paths.release_steps=50",
    "windows.spacing=24", "windows.most=4", "windows.sample_every=10", "windows.equilibration_steps=50",
    "windows.steps=100", "windows.free_steps=100", "hardware.platform=CPU", "hardware.workers=1",
    "system.dynamics.friction=10 /ps", "transitions.shots=24", "transitions.walkers=2",
    "transitions.equilibration_steps=20", "transitions.spacing_steps=20", "transitions.max_steps=100",
)  # fmt: skip


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Alanine dipeptide in water."""
    folder = tmp_path_factory.mktemp("water")
    files = ["amber14/protein.ff14SB.xml", *SOLVENTS["water"]]
    first, second = (read_structure_file(file) for file in ENDS)
    both = solvated(first, matched(first, second), app.ForceField(*files), WaterBox(0.35, 0.0, 0.6), seed=0)
    description = MoleculeConfig.model_validate(
        {"kind": "molecule", "temperature": "300 K", "forcefield": files, "nonbonded": "pme", "cutoff": "0.6 nm"}
        | {"dynamics": {"time_step": "2 fs", "friction": "1 /ps"}}
    )
    described = openmm_system(description, both[0].topology, folder, "a.pdb")
    dynamics = MolecularDynamics(openmm.XmlSerializer.serialize(described), 300.0, 0.002, 1.0, "CPU")
    for name, structure in zip(("a.pdb", "b.pdb"), both, strict=True):
        (folder / name).write_text(pdb_text(structure.topology, relaxed(dynamics, structure.positions, name)))
    text = yaml.safe_load((systems_folder() / "alanine_dipeptide/system.yaml").read_text())
    text["system"] |= {"forcefield": files, "nonbonded": "pme", "cutoff": "0.6 nm"}
    text["states"]["a"]["pdb"], text["states"]["b"]["pdb"] = "a.pdb", "b.pdb"
    text["states"]["b"]["any_of"] = [{"phi": ["20 deg", "100 deg"], "psi": ["-80 deg", "10 deg"]}]  # water moves psi
    del text["reference"]
    (folder / "system.yaml").write_text(yaml.safe_dump(text))
    return folder


def test_a_run_in_water_writes_the_molecule_and_says_what_lags(system: Path, tmp_path: Path) -> None:
    done = run_cli("run", system, "-o", tmp_path / "run", *settings(TINY))
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    assert "not in the posterior" in summary["paths"]["solvent"]
    assert summary["definition"]["nonbonded"] == "pme"
    assert summary["definition"]["cutoff"] == "0.6 nm"
    trajectory = mdtraj.load(str(tmp_path / "run/paths/path_0000.dcd"), top=str(tmp_path / "run/topology.pdb"))
    assert trajectory.n_atoms == 22
    frames = read_arrays(tmp_path / "run/paths.npz", ("frames",))["frames"]
    assert frames.shape[2] > 300  # shooting goes on from whole frames
    assert summary["transitions"]["shots"] in (42, 84)  # of one ridge or of two, too few and too short for paths
    assert "shots" in summary["transitions"]["no_rates_because"]
    phi = mdtraj.compute_phi(trajectory)[1][:, 0]
    whole = app.PDBFile(str(system / "a.pdb"))
    by_water = mdtraj.Trajectory(frames[0], mdtraj.Topology.from_openmm(whole.topology))
    assert phi == pytest.approx(mdtraj.compute_phi(by_water)[1][:, 0], abs=1e-4)
    # rigid waters and the molecule; both ends start cold
    assert summary["paths"]["kinetic_temperature_k"]["mean"] == pytest.approx(300, abs=40)


def test_trajectories_may_leave_the_water_out(system: Path, tmp_path: Path) -> None:
    pdb = mdtraj.load(str(system / "a.pdb"))
    frames = np.repeat(pdb.xyz, 5, axis=0) + np.random.default_rng(0).normal(0, 0.01, (5, pdb.n_atoms, 3))
    whole = mdtraj.Trajectory(frames, pdb.topology)
    whole.save_xtc(str(tmp_path / "whole.xtc"))
    whole.atom_slice(range(22)).save_dcd(str(tmp_path / "alone.dcd"))
    whole.atom_slice(range(21)).save_dcd(str(tmp_path / "fewer.dcd"))
    file = find_system_file(str(system))
    loaded = load_system(load_config(file), system)
    assert loaded.molecule is not None
    assert loaded.variables.quadruples is not None
    watched = Watched(loaded.states, loaded.variables, 1)

    def read(name: str) -> np.ndarray:
        config = TrajectoriesConfig(kind="trajectories", files=[name])
        topology, four = loaded.molecule.topology, Recorder(loaded.variables.quadruples)
        return read_trajectories(config, tmp_path, topology, loaded.structures[0], watched, four, loaded.kt).seen

    assert read("alone.dcd") == pytest.approx(read("whole.xtc"), abs=0.02)  # XTC rounds to 0.001 nm
    assert read("alone.dcd") == pytest.approx(loaded.variables(frames), abs=1e-3)
    with pytest.raises(UserError, match=r"fewer\.dcd cannot be read"):
        read("fewer.dcd")


def test_end_structures_in_different_boxes_are_refused(system: Path, tmp_path: Path) -> None:
    for file in system.iterdir():
        if file.is_file():
            (tmp_path / file.name).write_bytes(file.read_bytes())
    lines = (tmp_path / "b.pdb").read_text().splitlines()
    k = next(k for k, line in enumerate(lines) if line.startswith("CRYST1"))
    lines[k] = lines[k].replace(lines[k][6:15], f"{float(lines[k][6:15]) + 1:9.3f}", 1)
    (tmp_path / "b.pdb").write_text("\n".join(lines) + "\n")
    assert "different periodic boxes" in refusal("run", tmp_path, "-o", tmp_path / "run")
    assert not (tmp_path / "run").exists()
