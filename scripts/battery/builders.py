"""System folders that cases spoil: a tiny run of alanine dipeptide, described in every way that there is."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import mdtraj
import numpy as np
import yaml
from harness import MARKER
from masters import ALANINE, copy_run
from openmm import app

from spacetime_tps.systems import System, load_config, load_system, systems_folder

HERE = systems_folder() / "alanine_dipeptide"
_AMBER = Path(__file__).resolve().parents[2] / "tests/preparation/data"
SAMPLE = ("sample", "sys", "-o", "out")
INIT = ("init", "sys/c5.pdb", "sys/c7ax.pdb", "-o", "new", "--workers", "1")
Edit = Callable[[Path], None]


@cache
def built() -> System:
    return load_system(load_config(HERE / "system.yaml"), HERE)


@cache
def system_xml() -> str:
    molecule = built().molecule
    assert molecule is not None
    return molecule.dynamics.system_xml


@cache
def _settings() -> str:
    config = load_config(HERE / "system.yaml", seed=0, overrides=ALANINE)
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


@cache
def frames_of_ends() -> np.ndarray:
    """Frames about either end, shape (2, 30, 22, 3) [nm]."""
    noise = np.random.default_rng(1).normal(0, 0.003, (2, 30, 22, 3))
    return (built().structures[:, None] + noise).astype(np.float32)


def turned(frame: np.ndarray, four: tuple[int, ...], angle: float, moving: list[int]) -> np.ndarray:
    """A frame with atoms turned about the middle bond of a torsion by an angle [rad]."""
    start, axis = frame[four[1]], frame[four[2]] - frame[four[1]]
    axis = axis / np.linalg.norm(axis)
    arms = frame[moving] - start
    along = (arms @ axis)[:, None] * axis
    changed = frame.copy()
    changed[moving] = start + along + (arms - along) * np.cos(angle) + np.cross(axis, arms) * np.sin(angle)
    return changed


@cache
def crossing() -> np.ndarray:
    """From one end to the other by turning phi and psi alone, shape (41, 22, 3) [nm]."""
    system = built()
    first, last = system.variables(system.structures)
    step = (last - first + np.pi) % (2 * np.pi) - np.pi
    phi, psi = (tuple(int(k) for k in four) for four in system.variables.quadruples)
    atoms = list(_topology().atoms)
    behind = [atom.index for atom in atoms if atom.index not in phi[:3] and atom.index > phi[2]]
    third = [k for k in behind if k >= psi[2] and (atoms[k].name in ("C", "O") or atoms[k].residue.index == 2)]
    frames = []
    for share in np.linspace(0, 1, 41):
        frame = turned(system.structures[0], phi, share * step[0], behind)
        frames.append(turned(frame, psi, share * step[1], third))
    return np.array(frames)


def _topology() -> mdtraj.Topology:
    molecule = built().molecule
    assert molecule is not None
    return mdtraj.Topology.from_openmm(molecule.topology)


def save(path: Path, frames: np.ndarray) -> None:
    """A trajectory in the format of its name."""
    topology = _topology()
    if frames.shape[1] != topology.n_atoms:
        topology = topology.subset(range(frames.shape[1]))
    mdtraj.Trajectory(frames.astype(np.float32), topology).save(str(path))


def base(box: Path, **changes: Any) -> None:
    """The system folder ``sys`` of a tiny run of alanine dipeptide; ``changes`` are sections."""
    folder = box / "sys"
    folder.mkdir()
    for file in ("c5.pdb", "c7ax.pdb"):
        (folder / file).write_bytes((HERE / file).read_bytes())
    settings = yaml.safe_load(_settings())
    for key, value in changes.items():
        settings[key] = value if not isinstance(value, dict) or "kind" in value else {**settings[key], **value}
    (folder / "system.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))


def amber(box: Path) -> None:
    """Described by an Amber topology."""
    base(box, system={"forcefield": None, "prmtop": "m.prmtop"})
    (box / "sys/m.prmtop").write_bytes((_AMBER / "alanine_dipeptide.prmtop").read_bytes())


def serialised(box: Path) -> None:
    """Described by a serialised System."""
    base(box, system={"forcefield": None, "openmm_system": "m.xml", "hydrogen_mass": None})
    (box / "sys/m.xml").write_text(system_xml())


def own_forcefield(box: Path) -> None:
    """Described by a force field file of one's own."""
    base(box, system={"forcefield": ["m.xml"]})
    source = Path(app.__file__).parent / "data/amber14/protein.ff14SB.xml"
    (box / "sys/m.xml").write_bytes(source.read_bytes())


def referenced(box: Path) -> None:
    """With a reference surface."""
    base(box, reference="reference.npz")
    (box / "sys/reference.npz").write_bytes((HERE / "reference.npz").read_bytes())


def trajectories(box: Path, suffix: str = "dcd", weights: bool = True) -> None:
    """Samples from two trajectories with weights."""
    sampling: dict[str, Any] = {"kind": "trajectories", "files": [f"t0.{suffix}", f"t1.{suffix}"]}
    if weights:
        sampling |= {"weights": ["w0.dat", "w1.dat"], "weights_are": "log_weight"}
    base(box, sampling=sampling)
    for k, frames in enumerate(frames_of_ends()):
        save(box / f"sys/t{k}.{suffix}", frames)
        (box / f"sys/w{k}.dat").write_text("".join(f"{0.01 * j}\n" for j in range(len(frames))))


def run_of(masters: Path, box: Path) -> None:
    base(box)
    copy_run(masters, "alanine_0", box / "run")
    save(box / "frames.dcd", frames_of_ends()[0][:3])
    save(box / "path.dcd", crossing())


class Touch:
    """Unpickled, it leaves a mark."""

    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.system, (f"touch {MARKER}",)
