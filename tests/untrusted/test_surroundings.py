"""What stands beside the files: the working folder, installed packages, trajectories, the network."""

from __future__ import annotations

import math
import os
import pickle
import socket
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import mdtraj
import numpy as np
import pytest
from openmm import app

from spacetime_tps import plugins
from spacetime_tps.parallel import WorkerPool
from spacetime_tps.preparation.repair import _OfflineFixer, repaired
from spacetime_tps.trajectories import read_frames
from spacetime_tps.untrusted.forcefield import data_folders
from tests.preparation.files import C5, each_atom
from tests.untrusted.strangers import ENDS, Runs, program

# --- plugins ------------------------------------------------------------------------------------


def package(folder: Path, name: str, marker: Path) -> None:
    """A package that brings a system and a folder of force fields, and leaves the marker when it is imported."""
    metadata = folder / f"{name}-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    groups = (f"[spacetime_tps.systems]\n{name} = {name}:FOLDER\n", f"[openmm.forcefielddir]\n{name} = {name}:folder\n")
    (metadata / "entry_points.txt").write_text("".join(groups))
    (folder / f"{name}.py").write_text(f"FOLDER = '/nowhere'\nfolder = lambda: {str(folder)!r}\n{program(marker)}\n")


@pytest.mark.parametrize("entry", ["", ".", "HERE"])
def test_the_working_folder_brings_no_plugins(entry: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python puts it on its path for -c (empty), for -m, and for an empty place in PYTHONPATH (its whole name)."""
    marker = tmp_path / "marker"
    package(tmp_path, "theirs", marker)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path) if entry == "HERE" else entry)
    assert "theirs" not in plugins.known(plugins.SYSTEMS)
    assert tmp_path not in data_folders()
    assert not marker.exists()


def test_an_installed_package_brings_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a folder of PYTHONPATH, and not the module of that name in the working folder."""
    marker, wrong = tmp_path / "marker", tmp_path / "wrong"
    package(tmp_path / "site", "ours", marker)
    package(tmp_path / "here", "ours", wrong)
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.syspath_prepend("")
    assert "ours" in plugins.known(plugins.SYSTEMS)
    assert not marker.exists()
    assert (tmp_path / "site").resolve() in data_folders()
    assert marker.exists()
    assert not wrong.exists()
    assert "" in sys.path


def test_the_package_itself_is_found_in_either_way_of_installing() -> None:
    assert "spacetime-tps" in {distribution(point.dist.name).name for point in plugins.installed("console_scripts")}


# --- processes ----------------------------------------------------------------------------------


def test_workers_import_nothing_from_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They start as ``python -c "from multiprocessing ..."``."""
    marker = tmp_path / "marker"
    (tmp_path / "multiprocessing.py").write_text(program(marker))
    plain = [sys.executable, "-c", "import multiprocessing"]
    subprocess.run(plain, cwd=tmp_path, check=True)
    assert marker.exists()
    marker.unlink()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    with WorkerPool(2) as pool:
        assert pool.map(math.sqrt, [(4.0,), (9.0,)]) == [2.0, 3.0]
    assert not marker.exists()
    assert "PYTHONSAFEPATH" not in os.environ


# --- trajectories -------------------------------------------------------------------------------


def test_hdf5_trajectories_unpickle_nothing(tmp_path: Path) -> None:
    """PyTables unpickles attributes, wherever a file says that they are pickled."""
    tables = pytest.importorskip("tables")
    marker, file = tmp_path / "marker", tmp_path / "path.h5"
    frame = mdtraj.load(str(ENDS[0]))
    frame.save(str(file))
    assert read_frames(file, frame.topology) == pytest.approx(frame.xyz)
    with tables.open_file(str(file), "a") as handle:
        node = handle.root.coordinates
        node._v_attrs._g_setattr(node, "units", np.array(pickle.dumps(Runs(program(marker)), 0)))
    with pytest.raises(Exception, match=r".+"):
        read_frames(file, frame.topology)
    assert not marker.exists()
    with pytest.raises(Exception, match=r".+"):
        mdtraj.load(str(file))
    assert marker.exists()


# --- the network --------------------------------------------------------------------------------


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was asked of the network; nothing answers."""
    asked: list[str] = []

    def refuse(*arguments: object, **_: object) -> None:
        asked.append(str(arguments))
        raise OSError("there is no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    for name in ("getaddrinfo", "create_connection"):
        monkeypatch.setattr(socket, name, refuse)
    monkeypatch.setattr("pdbfixer.pdbfixer.urlopen", refuse)
    return asked


def test_pdbfixer_asks_nobody(calls: list[str], tmp_path: Path) -> None:
    from spacetime_tps.molecules import load_forcefield
    from spacetime_tps.preparation.reading import read_structure_file

    (tmp_path / "a.pdb").write_text(each_atom(C5, lambda _, line: None if line[12:16] == " CB " else line))
    found = repaired(read_structure_file(tmp_path / "a.pdb"), load_forcefield(["amber14/protein.ff14SB.xml"]), 7.0)
    assert found.topology.getNumAtoms() == 22
    fixer = _OfflineFixer(filename=str(ENDS[0]))
    assert not fixer.downloadTemplate("ATP")
    assert fixer._downloadFormalCharges("ATP") == {}
    fixer.addMissingHydrogens(7.0, app.ForceField("amber14/protein.ff14SB.xml"))
    assert calls == []
