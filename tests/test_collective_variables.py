"""RMSD and native contacts against MDTraj, states in mixed variables, and what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import mdtraj
import numpy as np
import openmm
import pytest
from scipy.special import expit

from spacetime_tps.collective_variables import RMSD, NativeContacts
from spacetime_tps.errors import UserError
from spacetime_tps.systems import System, find_system_file, load_config, load_system
from tests.conftest import refusal, settings
from tests.oracles import is_one_sentence

FOLDER = find_system_file("chignolin").parent


@pytest.fixture(scope="module")
def chignolin() -> System:
    return load_system(load_config(FOLDER / "system.yaml"), FOLDER)


@pytest.fixture(scope="module")
def frames() -> mdtraj.Trajectory:
    """The folded end, shaken, turned and shifted, and the extended one."""
    rng = np.random.default_rng(2)
    folded, extended = (mdtraj.load(FOLDER / f"{name}.pdb") for name in ("folded", "extended"))
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    turn *= np.sign(np.linalg.det(turn))
    shaken = [folded.xyz[0] + rng.normal(0, width, folded.xyz[0].shape) for width in (0.0, 0.02, 0.05, 0.1)]
    return mdtraj.Trajectory(np.array([*(x @ turn + 3.0 for x in shaken), extended.xyz[0]]), folded.topology)


def test_they_are_mdtraj_s(chignolin: System, frames: mdtraj.Trajectory) -> None:
    """Contacts by the recipe of MDTraj's own example of Best, Hummer and Eaton (2013), with our cutoffs."""
    native = mdtraj.load(FOLDER / "folded.pdb")
    values = chignolin.variables(frames.xyz.astype(float))
    assert chignolin.variables.names[-2:] == ["contacts", "ca_rmsd"]
    alphas = native.topology.select("name CA")
    assert values[:, -1] == pytest.approx(mdtraj.rmsd(frames, native, atom_indices=alphas), abs=2e-4)
    heavy = native.topology.select("element != H")
    residue = {int(k): native.topology.atom(int(k)).residue.index for k in heavy}
    pairs = [(i, j) for n, i in enumerate(heavy) for j in heavy[n + 1 :] if abs(residue[i] - residue[j]) > 3]
    lengths = mdtraj.compute_distances(native, pairs)[0]
    pairs, lengths = np.array(pairs)[lengths < 0.45], lengths[lengths < 0.45]
    r = mdtraj.compute_distances(frames, pairs)
    assert values[:, -2] == pytest.approx(np.mean(expit(-50 * (r - 1.8 * lengths)), axis=1), abs=1e-5)
    assert values[0, -2] > 0.999
    assert values[-1, -2] < 1e-6
    phi = mdtraj.compute_phi(frames)[1]
    columns = [chignolin.variables.names.index(f"phi_{k}") for k in range(2, 11)]
    assert np.abs(np.angle(np.exp(1j * (values[:, columns] - phi)))).max() < 1e-4


def test_states_in_intervals_of_several_units(chignolin: System) -> None:
    names = chignolin.variables.names
    rows = np.zeros((5, len(names)))
    rows[:, -2:] = [(0.9, 0.1), (0.9, 0.3), (0.5, 0.1), (0.1, 0.6), (0.1, 0.2)]
    neither = [False, False]
    assert chignolin.in_states(rows).tolist() == [[False, True], neither, neither, [True, False], neither]
    assert chignolin.turning == {}
    assert chignolin.variables.columns[-2:] == ["contacts", "ca_rmsd_nm"]
    assert chignolin.variables.shown(rows)[0, -1] == 0.1
    assert chignolin.variables.columns[0] == "psi_1_deg"


def test_a_state_may_mix_torsions_and_others(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / "own")
    text = (tmp_path / "own/system.yaml").read_text()
    text = text.replace("contacts: [0.75, 1], ca_rmsd", "psi_4: [-90 deg, 30 deg], contacts: [0.75, 1], ca_rmsd")
    (tmp_path / "own/system.yaml").write_text(text)
    system = load_system(load_config(tmp_path / "own/system.yaml"), tmp_path / "own")
    row = np.zeros(len(system.variables.names))
    row[-2:], column = (0.9, 0.1), system.variables.names.index("psi_4")
    assert system.states[1].contains(row)
    row[column] = np.deg2rad(-30 + 360)
    assert system.states[1].contains(row)
    row[column] = np.deg2rad(90)
    assert not system.states[1].contains(row)
    assert set(system.states[1].columns) == {column, len(row) - 2, len(row) - 1}


@pytest.mark.parametrize(
    ("change", "mentions"),
    [
        (("kind: native_contacts", "kind: contacts"), ["collective_variables.contacts", "rmsd or native_contacts"]),
        (("native_contacts, pdb: folded.pdb", "native_contacts, pdb: gone.pdb"), ["gone.pdb", "'contacts'"]),
        (("native_contacts, pdb: folded.pdb", "native_contacts, pdb: extended.pdb"), ["no contact", "cutoff"]),
        (("kind: rmsd, pdb: folded.pdb", "kind: rmsd"), ["ca_rmsd", "'collective_variables", "pdb' is missing"]),
        (("kind: rmsd, pdb: folded.pdb", "kind: rmsd, pdb: folded.pdb, atoms: cb"), ["'heavy' or 'all'"]),
        (("ca_rmsd: [0 nm, 0.2 nm]", "ca_rmsd: [0, 0.2]"), ["state 'folded'", "no length"]),
        (("contacts: [0.75, 1]", "contacts: [0.75 nm, 1 nm]"), ["state 'folded'", "without a unit"]),
        (("{contacts: [0.75, 1], ca_rmsd: [0 nm, 0.2 nm]}", "{ball: {contacts: 1, ca_rmsd: 0 nm}, radius: 0.2}"),
         ["different units"]),
        (("torsions: [psi_1", "torsions: [ca_rmsd"), ["'ca_rmsd'", "no torsion"]),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told(change: tuple[str, str], mentions: list[str], tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / "own")
    text = (tmp_path / "own/system.yaml").read_text()
    assert change[0] in text
    (tmp_path / "own/system.yaml").write_text(text.replace(*change))
    with pytest.raises(UserError) as caught:
        load_system(load_config(tmp_path / "own/system.yaml"), tmp_path / "own")
    message = str(caught.value)
    assert is_one_sentence(message)
    assert all(each in message for each in mentions), message


def test_heavier_hydrogens_are_refused_where_time_matters(tmp_path: Path) -> None:
    message = refusal("shoot", "chignolin", "-o", tmp_path / "run", *settings(("shooting.first=high_temperature",)))
    assert "repartitioned" in message


def test_hydrogens_take_their_mass_from_their_neighbours(chignolin: System) -> None:
    assert chignolin.molecule is not None
    light = load_system(load_config(FOLDER / "system.yaml", overrides=("system.hydrogen_mass=null",)), FOLDER)
    assert light.molecule is not None
    heavy, plain = (
        openmm.XmlSerializer.deserialize(system.molecule.dynamics.system_xml) for system in (chignolin, light)
    )
    masses = np.array([[each.getParticleMass(k)._value for k in range(138)] for each in (heavy, plain)])
    assert masses.sum(axis=1) == pytest.approx(masses[1].sum())
    assert masses[0].min() == pytest.approx(3.0)
    assert masses[1].min() < 1.01
    with pytest.raises(UserError, match="leaves an atom of extended"):
        load_system(load_config(FOLDER / "system.yaml", overrides=("system.hydrogen_mass=6 Da",)), FOLDER)
    with pytest.raises(UserError, match=r"expected 1\.007 Da to 12 Da"):
        load_config(FOLDER / "system.yaml", overrides=("system.hydrogen_mass=0.001 Da",))
    message = refusal("config", "chignolin", *settings(("system.forcefield=null", "system.openmm_system=a.xml")))
    assert "own masses" in message


def test_frames_are_superposed_and_contacts_counted() -> None:
    frame = np.array([[0.0, 0.0, 0.0], [0.3, 0.0, 0.0], [0.0, 0.4, 0.0], [0.0, 0.0, 0.5]])
    assert RMSD(np.arange(4), frame)(np.stack([frame, frame + 1.0])) == pytest.approx([0.0, 0.0], abs=1e-12)
    contacts = NativeContacts.of(frame, np.arange(4), np.arange(4), 0.45, 1)
    assert sorted(contacts.lengths) == pytest.approx([0.3, 0.4])
    assert contacts(100.0 * frame) == pytest.approx(0.0)
