from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openmm
import pytest
import torch

from spacetime_tps.errors import UserError
from spacetime_tps.systems import System, find_system_file, load_config, load_system, systems_folder
from tests.oracles import is_one_sentence

Edit = Callable[[Path], None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of alanine dipeptide without its reference surface."""
    source = systems_folder() / "alanine_dipeptide"
    for name in ("c5.pdb", "c7ax.pdb"):
        shutil.copy(source / name, tmp_path / name)
    text = (source / "system.yaml").read_text(encoding="utf-8")
    assert "reference: reference.npz" in text
    (tmp_path / "system.yaml").write_text(text.replace("reference: reference.npz", "reference: null"), encoding="utf-8")
    return tmp_path


def load(folder: Path, *overrides: str) -> System:
    return load_system(load_config(folder / "system.yaml", overrides=overrides), folder)


def lines(name: str, edit: Callable[[list[str]], list[str]]) -> Edit:
    """Rewrites the lines of a file."""

    def apply(folder: Path) -> None:
        path = folder / name
        path.write_text("".join(edit(path.read_text().splitlines(keepends=True))))

    return apply


def both(edit: Callable[[list[str]], list[str]]) -> Edit:
    def apply(folder: Path) -> None:
        for name in ("c5.pdb", "c7ax.pdb"):
            lines(name, edit)(folder)

    return apply


def nothing(folder: Path) -> None:
    pass


def delete(folder: Path) -> None:
    (folder / "c7ax.pdb").unlink()


def empty(folder: Path) -> None:
    (folder / "c7ax.pdb").write_text("")


def binary(folder: Path) -> None:
    (folder / "c7ax.pdb").write_bytes(bytes(range(256)) * 8)


def cut(characters: int) -> Edit:
    """Ends c7ax.pdb within the line of its atom 12 (CB)."""

    def apply(folder: Path) -> None:
        text = (folder / "c7ax.pdb").read_text()
        (folder / "c7ax.pdb").write_text(text[: text.index("ATOM     12") + characters])

    return apply


def coordinate(text: str) -> Edit:
    """Overwrites x of CB."""
    return lines("c7ax.pdb", lambda ls: [x[:30] + text.rjust(8) + x[38:] if x[12:16] == " CB " else x for x in ls])


def without(atom: str) -> Callable[[list[str]], list[str]]:
    return lambda ls: [x for x in ls if x[12:16].strip() != atom]


def renamed(old: str, new: str) -> Callable[[list[str]], list[str]]:
    return lambda ls: [x[:12] + x[12:20].replace(old, new) + x[20:] if x.startswith(("ATOM", "HET")) else x for x in ls]


def swapped(ls: list[str]) -> list[str]:
    k = next(k for k, x in enumerate(ls) if x[12:16] == " CB ")
    return [*ls[:k], ls[k + 1], ls[k], *ls[k + 2 :]]


BAD_FILES = {
    "missing": (delete, ["c7ax.pdb", "not there"]),
    "empty": (empty, ["c7ax.pdb"]),
    "binary": (binary, ["c7ax.pdb"]),
    "cut before the coordinates": (cut(28), ["c7ax.pdb"]),
    "cut within the coordinates": (cut(40), ["c7ax.pdb"]),
    "cut after a line": (lines("c7ax.pdb", lambda ls: ls[:15]), ["c5.pdb", "c7ax.pdb", "22", "14"]),
    "both cut": (both(lambda ls: ls[:17]), ["psi", "3:N"]),
    "no numbers": (coordinate("x.xxx"), ["c7ax.pdb"]),
    "not a number": (coordinate("nan"), ["c7ax.pdb", "not finite"]),
    "infinite": (coordinate("inf"), ["c7ax.pdb", "not finite"]),
    "partner lacks an atom": (lines("c7ax.pdb", without("HB3")), ["c5.pdb", "c7ax.pdb", "22", "21"]),
    "partner names an atom otherwise": (lines("c7ax.pdb", renamed(" CB ", " CX ")), ["c7ax.pdb", "ALA2:CB", "ALA2:CX"]),
    "partner is another residue": (lines("c7ax.pdb", renamed("ALA", "SER")), ["c7ax.pdb", "ALA2:N", "SER2:N"]),
    "partner in another order": (lines("c7ax.pdb", swapped), ["c5.pdb", "c7ax.pdb", "atom 12", "ALA2:CB", "ALA2:HB1"]),
    "both lack a hydrogen": (both(without("HB3")), ["c5.pdb", "force field"]),
    "both of an unknown residue": (both(renamed("ALA", "XYZ")), ["c5.pdb", "force field"]),
}


@pytest.mark.parametrize(("edit", "mentions"), BAD_FILES.values(), ids=BAD_FILES.keys())
def test_unfit_pdb_files(folder: Path, edit: Edit, mentions: list[str]) -> None:
    edit(folder)
    with pytest.raises(UserError) as caught:
        load(folder)
    message = str(caught.value)
    assert all(text in message for text in mentions), message
    assert is_one_sentence(message), message


BAD_SETTINGS = {
    "structures exchanged": (
        ["states.a.pdb=c7ax.pdb", "states.b.pdb=c5.pdb"], ["'C5 and C7eq'", "c7ax.pdb", "phi 61.2 deg, psi -41.3 deg"]
    ),
    "state beside its structure": (
        ["states.b.any_of=[{ball: {phi: 61 deg, psi: 41 deg}, radius: 25 deg}]"], ["'C7ax'", "c7ax.pdb"]
    ),
    "states overlap": (["states.b.any_of=[{phi: [-180 deg, 180 deg]}]"], ["c5.pdb", "both states"]),
    "unknown atom in a torsion": (
        ["collective_variables.phi=['1:C', '2:N', '2:CX', '2:C']"], ["'phi'", "'2:CX'", "RESIDUE_NUMBER:ATOM"]
    ),
    "unknown residue in a torsion": (["collective_variables.psi=['2:N', '2:CA', '2:C', '4:N']"], ["'psi'", "'4:N'"]),
    "three atoms": (["collective_variables.phi=['1:C', '2:N', '2:CA']"], ["'phi'", "four"]),
    "an atom twice": (["collective_variables.phi=['1:C', '2:N', '2:N', '2:C']"], ["'phi'", "four different"]),
    "unknown variable in a state": (["states.b.any_of=[{omega: [0 deg, 1 deg]}]"], ["'C7ax'", "'omega'", "phi, psi"]),
    "no unit in a state": (["states.b.any_of=[{phi: [0, 90]}]"], ["'C7ax'", "deg, rad"]),
    "three ends of an interval": (["states.b.any_of=[{phi: [0 deg, 90 deg, 95 deg]}]"], ["any_of", "phi"]),
    "unknown force field": (["system.forcefield=[amber99/nowhere.xml]"], ["amber99/nowhere.xml", "cannot be loaded"]),
    "reference that is not there": (["reference=nowhere.npz"], ["nowhere.npz"]),
}  # fmt: skip


@pytest.mark.parametrize(("overrides", "mentions"), BAD_SETTINGS.values(), ids=BAD_SETTINGS.keys())
def test_unfit_settings(folder: Path, overrides: list[str], mentions: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        load(folder, *overrides)
    message = str(caught.value)
    assert all(text in message for text in mentions), message
    assert is_one_sentence(message), message


def test_interval_of_three_is_no_unknown_key(folder: Path) -> None:
    """The variable is known; what is wrong is its interval."""
    with pytest.raises(UserError) as caught:
        load(folder, "states.b.any_of=[{phi: [0 deg, 90 deg, 95 deg]}]")
    assert "unknown key" not in str(caught.value)


def test_reference_of_another_system(folder: Path) -> None:
    shutil.copy(systems_folder() / "alanine_dipeptide" / "reference.npz", folder / "reference.npz")
    assert load(folder, "reference=reference.npz").reference is not None
    with pytest.raises(UserError, match="over phi, psi, but the representation is over psi, phi") as caught:
        load(folder, "reference=reference.npz", "representation.torsions=[psi, phi]")
    assert is_one_sentence(str(caught.value))
    with pytest.raises(UserError, match=r"reference\.npz is for kT = 2\.4943, the system has 2\.5775") as caught:
        load(folder, "reference=reference.npz", "system.temperature=310 K")
    assert is_one_sentence(str(caught.value).replace("= 2.", "= 2"))


def test_reference_that_is_damaged(folder: Path) -> None:
    whole = (systems_folder() / "alanine_dipeptide" / "reference.npz").read_bytes()
    (folder / "reference.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"reference\.npz"):
        load(folder, "reference=reference.npz")


# --- finding a system -------------------------------------------------------------------------------------------------


def test_unknown_system() -> None:
    with pytest.raises(UserError) as caught:
        find_system_file("alanin_dipeptide")
    message = str(caught.value)
    assert is_one_sentence(message)
    assert "'alanin_dipeptide'" in message
    assert all(name in message for name in ("alanine_dipeptide", "alanine_dipeptide_600k", "mueller_brown"))


def test_a_system_is_a_name_a_folder_or_a_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = folder / "system.yaml"
    assert find_system_file(str(file)) == find_system_file(str(folder)) == file
    assert find_system_file("mueller_brown") == systems_folder() / "mueller_brown" / "system.yaml"
    with pytest.raises(UserError, match="There is no system"):
        find_system_file(str(folder / "mueller_brown"))
    (folder / "mueller_brown").mkdir()
    shutil.copy(file, folder / "mueller_brown")
    monkeypatch.chdir(folder)  # what lies here goes before what comes with the package
    assert find_system_file("mueller_brown").resolve() == folder / "mueller_brown" / "system.yaml"


# --- what a loaded system holds ---------------------------------------------------------------------------------------


def test_alanine_dipeptide(folder: Path) -> None:
    system = load(folder)
    assert system.molecule is not None
    assert system.structures.shape == (2, 22, 3)
    assert np.rad2deg(system.variables(system.structures)) == pytest.approx(
        np.array([[-151.6, 160.1], [61.2, -41.3]]), abs=0.1
    )
    assert (system.energy_unit, system.suffix, system.reference) == ("kJ/mol", "kj_mol", None)
    assert system.kt == pytest.approx(8.31446261815324e-3 * 300)
    names = [f"{atom.residue.id}:{atom.name}" for atom in system.molecule.topology.atoms()]
    chosen = [[names[i] for i in quadruple] for quadruple in system.representation.quadruples]
    assert chosen == [["1:C", "2:N", "2:CA", "2:C"], ["2:N", "2:CA", "2:C", "3:N"]]
    dynamics = system.molecule.dynamics
    assert (dynamics.temperature_k, dynamics.time_step_ps, dynamics.friction_per_ps) == (300.0, 0.002, 1.0)


@pytest.mark.parametrize(
    ("name", "turning"),
    [
        ("alanine_dipeptide", {0: "phi", 1: "psi"}),
        ("alanine_dipeptide_four_torsions", {0: "phi", 1: "psi"}),
        ("mueller_brown", {}),
    ],
)
def test_channels_are_told_by_the_angles_that_bound_both_states(name: str, turning: dict[int, str]) -> None:
    file = find_system_file(name)
    assert load_system(load_config(file), file.parent).turning == turning


def test_choice_and_order_of_the_torsions(folder: Path) -> None:
    system = load(folder, "representation.torsions=[psi]")
    assert system.representation.block_names == ["psi"]
    assert system.representation.quadruples.tolist() == [[6, 8, 10, 16]]
    assert system.variables.names == ["phi", "psi"]  # states keep both
    assert load(folder, "representation.torsions=[psi, phi]").representation.block_names == ["psi", "phi"]


@pytest.mark.parametrize(("setting", "constraints"), [("none", 0), ("hbonds", 12)])
def test_constraints(folder: Path, setting: str, constraints: int) -> None:
    molecule = load(folder, f"system.constraints={setting}").molecule
    assert molecule is not None
    system = openmm.XmlSerializer.deserialize(molecule.dynamics.system_xml)
    assert system.getNumConstraints() == constraints
    assert molecule.dynamics.degrees_of_freedom() == 66 - constraints


def test_mueller_brown() -> None:
    file = find_system_file("mueller_brown")
    system = load_system(load_config(file), file.parent)
    assert system.structures == pytest.approx(np.array([[-0.558, 1.442], [0.623, 0.028]]), abs=1e-3)
    assert (system.energy_unit, system.suffix, system.kt, system.potential_kt) == ("kT", "kt", 1.0, 15.0)
    a, b = system.states
    assert a.contains(system.structures).tolist() == [True, False]
    assert b.contains(system.structures).tolist() == [False, True]
    assert np.array_equal(system.variables(system.structures), system.structures)


@pytest.mark.parametrize(
    ("override", "mentions"),
    [
        ("system.box=[[0, 1]]", ["system.box", "2", "not 1"]),
        ("states.a.point=[0.0]", ["upper left minimum", "2 coordinates"]),
        ("states.a.point=[0.0, 0.0]", ["'upper left minimum' does not hold its own structure", "x 0, y 0"]),
        ("states.a.any_of=[{z: [0, 1]}]", ["'z'", "x, y"]),
    ],
)
def test_unfit_toy(override: str, mentions: list[str]) -> None:
    file = find_system_file("mueller_brown")
    with pytest.raises(UserError) as caught:
        load_system(load_config(file, overrides=(override, "reference=null")), file.parent)
    message = str(caught.value)
    assert all(text in message for text in mentions), message
    assert is_one_sentence(message), message


def test_mueller_brown_reference_is_the_potential() -> None:
    """F/kT of the surface over the coordinates themselves is U/kT up to its minimum."""
    file = find_system_file("mueller_brown")
    system = load_system(load_config(file), file.parent)
    assert system.reference is not None
    assert system.potential is not None
    points = system.reference.points()
    energy = system.potential.energy(torch.from_numpy(points)).numpy() / 15.0
    low = energy - energy.min() < 8
    difference = system.reference.free_energy.ravel()[low] - energy[low]
    assert np.ptp(difference) < 0.05
