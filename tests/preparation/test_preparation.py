"""What ``init`` makes of good files: nothing lost, nothing mirrored, nothing renamed without need."""

from __future__ import annotations

import sys
from pathlib import Path

import mdtraj
import numpy as np
import pytest
import yaml
from openmm import app, unit

from spacetime_tps.errors import UserError
from spacetime_tps.molecules import load_forcefield, pdb_text
from spacetime_tps.parallel import WorkerPool
from spacetime_tps.preparation.decisions import decide
from spacetime_tps.preparation.init import Wishes, prepare
from spacetime_tps.preparation.matching import matched
from spacetime_tps.preparation.reading import Structure, only_chains, read_structure_file
from spacetime_tps.preparation.repair import repaired
from spacetime_tps.preparation.system_file import quoted
from spacetime_tps.preparation.torsions import candidates, quadruples_of
from spacetime_tps.systems import find_system_file, load_config, load_system, systems_folder
from tests.analysis.test_structure import rotated
from tests.conftest import run_cli
from tests.preparation.files import (
    ATOM,
    C5,
    C7AX,
    ENDS,
    PROLINE,
    TETRA,
    at,
    each_atom,
    exchanged,
    place_of,
    renamed,
    two_chains,
    without_hydrogens,
)

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
import build_peptide

FORCEFIELD = load_forcefield(["amber14/protein.ff14SB.xml"])


def structure(tmp_path: Path, text: str, name: str = "mine.pdb") -> Structure:
    file = tmp_path / name
    file.write_text(text)
    return read_structure_file(file)


# --- reading --------------------------------------------------------------------------------------


def test_a_plain_file_is_read_as_mdtraj_reads_it(tmp_path: Path) -> None:
    found = structure(tmp_path, C5)
    reference = mdtraj.load(str(tmp_path / "mine.pdb"))
    assert found.positions == pytest.approx(reference.xyz[0], abs=1e-6)
    assert [atom.name for atom in found.topology.atoms()] == [atom.name for atom in reference.topology.atoms]
    assert found.notes == ()


def test_of_many_models_the_first_is_taken(tmp_path: Path) -> None:
    body = "\n".join(line for line in C5.splitlines() if line.startswith(ATOM))
    other = "\n".join(line for line in C7AX.splitlines() if line.startswith(ATOM))
    models = "".join(f"MODEL     {k:4d}\n{body if k == 1 else other}\nENDMDL\n" for k in range(1, 301))
    found = structure(tmp_path, models + "END\n")
    assert found.positions == pytest.approx(structure(tmp_path, C5).positions)
    assert "300 models" in found.notes[0]


def test_of_alternate_locations_the_likelier_is_taken(tmp_path: Path) -> None:
    """Chain A has CB at two places, 0.3 and 0.7; the second is 1 angstrom off."""

    def two_places(_: int, line: str) -> str:
        if line[12:16].strip() != "CB":
            return line
        a = line[:16] + "A" + line[17:54] + "  0.30" + line[60:]
        b = line[:16] + "B" + line[17:30] + f"{float(line[30:38]) + 1:8.3f}" + line[38:54] + "  0.70" + line[60:]
        return f"{a}\n{b}"

    found = structure(tmp_path, each_atom(C5, two_places))
    moved = found.positions - structure(tmp_path, C5).positions
    cb = next(atom.index for atom in found.topology.atoms() if atom.name == "CB")
    assert moved[cb] == pytest.approx([0.1, 0, 0], abs=1e-6)
    assert np.delete(moved, cb, axis=0) == pytest.approx(0)
    assert "alternate" in found.notes[0]


def test_water_ions_and_the_box_are_left_out(tmp_path: Path) -> None:
    line = "HETATM{:5d}  {:<3s} {:>3s} W{:4d}    {:8.3f}  50.000  50.000  1.00  0.00          {:>2s}\n"
    kinds = [("O", "HOH", "O"), ("O", "HOH", "O"), ("NA", "NA", "NA")]
    solvent = "".join(line.format(100 + k, name, residue, k, 5.0 * k, e) for k, (name, residue, e) in enumerate(kinds))
    box = "CRYST1   50.000   50.000   50.000  90.00  90.00  90.00 P 1           1\n"
    found = structure(tmp_path, box + C5.replace("END\n", solvent + "END\n"))
    assert found.topology.getNumAtoms() == 22
    assert found.topology.getPeriodicBoxVectors() is None
    assert "box" in found.notes[0]
    assert "3 waters and ions" in found.notes[1]


def test_mmcif_is_read_like_pdb(tmp_path: Path) -> None:
    pdb = app.PDBFile(str(systems_folder() / "alanine_dipeptide/c5.pdb"))
    with (tmp_path / "c5.cif").open("w") as handle:
        app.PDBxFile.writeFile(pdb.topology, pdb.positions, handle)
    found = read_structure_file(tmp_path / "c5.cif")
    assert found.positions == pytest.approx(structure(tmp_path, C5).positions, abs=1e-4)


def test_bonds_of_atoms_that_were_taken_out_are_left_out(tmp_path: Path) -> None:
    """MDTraj numbers the atoms in CONECT records anew, but not the atoms themselves."""
    whole = mdtraj.load(str(ENDS[0]))
    whole.atom_slice(whole.topology.select("element != H")).save(str(tmp_path / "sliced.pdb"))
    found = read_structure_file(tmp_path / "sliced.pdb")
    assert "CONECT" in found.notes[-1]
    assert repaired(found, FORCEFIELD, 7.0).topology.getNumAtoms() == 22
    assert structure(tmp_path, C5.replace("CONECT    1    2", "CONECT    1   17")).notes == found.notes
    assert structure(tmp_path, C5).notes == ()


def test_an_alternate_location_without_an_alternative_stays(tmp_path: Path) -> None:
    labelled = each_atom(C5, lambda k, line: line[:16] + "AB"[k % 2] + line[17:54] + "  0.50" + line[60:])
    found = structure(tmp_path, labelled)
    assert found.topology.getNumAtoms() == 22
    assert found.notes == ()


# --- repair ---------------------------------------------------------------------------------------


def test_hydrogens_are_added_and_heavy_atoms_stay(tmp_path: Path) -> None:
    bare = structure(tmp_path, without_hydrogens(C5))
    assert bare.topology.getNumAtoms() == 10
    found = repaired(bare, FORCEFIELD, 7.0)
    assert found.topology.getNumAtoms() == 22
    heavy = [atom.index for atom in found.topology.atoms() if atom.element.symbol != "H"]
    assert found.positions[heavy] == pytest.approx(bare.positions)
    assert "12 hydrogens added" in found.notes[-1]
    assert repaired(structure(tmp_path, C5), FORCEFIELD, 7.0).notes == ()


VARIANTS = {
    "HID": ({"HD1"}, {"HE2"}),
    "HSE": ({"HE2"}, {"HD1"}),
    "HSP": ({"HD1", "HE2"}, set()),
    "ASP": (set(), {"HD1", "HD2"}),
    "ASH": ({"HD2"}, {"HD1"}),
    "GLH": ({"HE2"}, {"HE1"}),
    "LYN": ({"HZ1", "HZ2"}, {"HZ3"}),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_names_that_say_where_protons_are_hold(name: str, tmp_path: Path) -> None:
    found = repaired(structure(tmp_path, renamed(without_hydrogens(C5), "ALA", name)), FORCEFIELD, 7.0)
    residue = list(found.topology.residues())[1]
    assert VARIANTS[name][0] <= {atom.name for atom in residue.atoms()}
    assert not VARIANTS[name][1] & {atom.name for atom in residue.atoms()}


def test_a_proton_that_the_name_denies_is_refused_and_one_it_asks_for_added(tmp_path: Path) -> None:
    found = repaired(structure(tmp_path, renamed(without_hydrogens(C5), "ALA", "HID")), FORCEFIELD, 7.0)
    text = renamed(pdb_text(found.topology, found.positions), "HIS", "HIE")
    with pytest.raises(UserError, match="HIS 2 is called HIE but has the proton HD1"):
        repaired(structure(tmp_path, text), FORCEFIELD, 7.0)
    doubly = repaired(structure(tmp_path, renamed(text, "HIE", "HIP")), FORCEFIELD, 7.0)
    assert "1 hydrogen added" in doubly.notes[-1]
    with pytest.raises(UserError, match="protonated differently: HIS 2 has HE2 only in"):
        matched(found, doubly)


def test_hydrogens_in_one_plane_have_no_hand(tmp_path: Path) -> None:
    planar = {"H1": (-0.5, 1.0, 0.0), "H2": (1.0, 0.0, 0.0), "H3": (-0.5, -1.0, 0.0)}
    methyl = next(place_of(line) for line in C7AX.splitlines() if line[12:20] == " CH3 ACE")

    def flat(_: int, line: str) -> str:
        offset = planar.get(line[12:16].strip()) if line[17:20] == "ACE" else None
        return line if offset is None else at(line, *(np.array(methyl) + offset))

    found = matched(structure(tmp_path, C5), structure(tmp_path, each_atom(C7AX, flat), "flat.pdb"))
    assert found.positions.shape == (22, 3)


def test_missing_side_chains_are_added_and_told(tmp_path: Path) -> None:
    cut = each_atom(without_hydrogens(PROLINE), lambda _, line: None if line[12:16].strip() in {"CG", "CD"} else line)
    found = repaired(structure(tmp_path, cut), FORCEFIELD, 7.0)
    assert found.topology.getNumAtoms() == structure(tmp_path, PROLINE).topology.getNumAtoms()
    assert any("CG" in note and "PRO 2" in note for note in found.notes)


# --- matching -------------------------------------------------------------------------------------


def test_atoms_in_another_order_are_put_in_order(tmp_path: Path) -> None:
    first, second = structure(tmp_path, C5, "a.pdb"), structure(tmp_path, C7AX, "b.pdb")
    atoms = [line for line in C7AX.splitlines() if line.startswith(ATOM)]
    by_residue = [[line for line in atoms if line[22:26].strip() == str(k)][::-1] for k in (1, 2, 3)]
    shuffled = structure(tmp_path, "\n".join(line for part in by_residue for line in part) + "\nEND\n", "c.pdb")
    found = matched(first, shuffled)
    assert found.positions == pytest.approx(matched(first, second).positions)
    assert "order" in found.notes[0]


def test_chains_in_another_order_are_put_in_order(tmp_path: Path) -> None:
    together = two_chains(C5, PROLINE)
    first = structure(tmp_path, together, "a.pdb")
    lines = together.splitlines()
    cut = lines.index("TER")
    swapped = "\n".join([*lines[cut + 1 : -2], "TER", *lines[:cut], "TER", "END"]) + "\n"
    found = matched(first, structure(tmp_path, swapped, "b.pdb"))
    assert found.positions == pytest.approx(first.positions)


def test_a_chain_that_is_asked_for_is_taken_alone(tmp_path: Path) -> None:
    both, alone = structure(tmp_path, two_chains(C5, PROLINE)), structure(tmp_path, C5, "alone.pdb")
    first = only_chains(both, ("A",))
    assert [a.name for a in first.topology.atoms()] == [a.name for a in alone.topology.atoms()]
    assert first.positions == pytest.approx(alone.positions)
    assert first.notes[-1] == "chain B left out"
    assert only_chains(both, ()) is both
    assert only_chains(both, ("B", "A")) is both


def test_equivalent_hydrogens_do_not_trade_places(tmp_path: Path) -> None:
    """HA2 and HA3 exchanged by name, the methyl's hydrogens turned by one place: the same molecule, and it shows."""
    glycine = (systems_folder() / "glycine_dipeptide/c7_left.pdb").read_text()
    first = structure(tmp_path, glycine, "a.pdb")
    other = exchanged(glycine, "2", "HA2", "HA3")
    other = exchanged(exchanged(other, "1", "H1", "H2"), "1", "H2", "H3")
    assert other != glycine
    found = matched(first, structure(tmp_path, other, "b.pdb"))
    assert found.positions == pytest.approx(first.positions)


def test_a_methyl_group_is_never_mirrored(tmp_path: Path) -> None:
    """One exchange of two hydrogens alone would need a reflection; turned by a third it can be reached."""
    first = structure(tmp_path, C5, "a.pdb")
    found = matched(first, structure(tmp_path, exchanged(C5, "2", "HB1", "HB2"), "b.pdb"))
    index = {atom.name: atom.index for atom in first.topology.atoms() if atom.residue.name == "ALA"}

    def hand(frame: np.ndarray) -> float:
        a, b, c = (frame[index[h]] - frame[index["CB"]] for h in ("HB1", "HB2", "HB3"))
        return float(np.sign(np.dot(np.cross(a, b), c)))

    assert hand(found.positions) == hand(first.positions)
    assert found.positions == pytest.approx(first.positions)


@pytest.mark.parametrize("degrees", range(-50, 60, 10))
def test_a_methyl_group_turned_by_less_than_half_a_place_keeps_its_labels(degrees: int, tmp_path: Path) -> None:
    """On whichever side of 180 degrees its hydrogens come to lie."""
    first = structure(tmp_path, C5, "a.pdb")
    index = {atom.name: atom.index for atom in first.topology.atoms() if atom.residue.name == "ALA"}
    hydrogens = [index[name] for name in ("HB1", "HB2", "HB3")]
    turned = rotated(first.positions, index["CA"], index["CB"], hydrogens, np.deg2rad(degrees))
    found = matched(first, Structure("b.pdb", first.topology, turned))
    assert found.positions == pytest.approx(turned)


def peptide(tmp_path: Path, sequence: str, name: str) -> Structure:
    """A capped peptide of two residues with everything PDBFixer adds."""
    build_peptide.build(sequence, [(-75.0, 60.0)] * 2, None, tmp_path / name)
    return read_structure_file(tmp_path / name)


@pytest.mark.parametrize(
    ("residue", "groups"),
    [
        ("VAL", [("CG1", "CG2"), *((f"HG1{k}", f"HG2{k}") for k in (1, 2, 3))]),
        ("LEU", [("CD1", "CD2"), *((f"HD1{k}", f"HD2{k}") for k in (1, 2, 3))]),
        ("PHE", [("CD1", "CD2"), ("CE1", "CE2"), ("HD1", "HD2"), ("HE1", "HE2")]),
        ("ASP", [("OD1", "OD2")]),
    ],
)
def test_equivalent_sides_do_not_trade_places(residue: str, groups: list[tuple[str, str]], tmp_path: Path) -> None:
    first = peptide(tmp_path, f"ACE-{residue}-GLY-NME", "a.pdb")
    index = {atom.name: atom.index for atom in first.topology.atoms() if atom.residue.name == residue}
    other = first.positions.copy()
    for a, b in groups:
        other[[index[a], index[b]]] = other[[index[b], index[a]]]
    found = matched(first, Structure("b.pdb", first.topology, other))
    assert found.positions == pytest.approx(first.positions)


def test_any_inverted_centre_is_refused(tmp_path: Path) -> None:
    """CB of isoleucine: its hydrogen reflected in the plane of its three carbons."""
    first = peptide(tmp_path, "ACE-ILE-GLY-NME", "a.pdb")
    index = {atom.name: atom.index for atom in first.topology.atoms() if atom.residue.name == "ILE"}
    other, (a, b, c) = first.positions.copy(), (first.positions[index[n]] for n in ("CA", "CG1", "CG2"))
    normal = np.cross(b - a, c - a)
    normal /= np.linalg.norm(normal)
    for name in ("CB", "HB"):
        other[index[name]] -= 2 * np.dot(other[index[name]] - a, normal) * normal
    with pytest.raises(UserError, match="mirror images at CB of ILE 2"):
        matched(first, Structure("b.pdb", first.topology, other))


def test_a_forgotten_proton_is_added_and_told(tmp_path: Path) -> None:
    whole = peptide(tmp_path, "ACE-CYS-GLY-NME", "whole.pdb")
    cut = each_atom((tmp_path / "whole.pdb").read_text(), lambda _, line: None if line[12:16].strip() == "HG" else line)
    found = repaired(structure(tmp_path, cut), FORCEFIELD, 7.0)
    assert found.topology.getNumAtoms() == whole.topology.getNumAtoms()
    assert "1 hydrogen added" in found.notes[-1]


@pytest.mark.parametrize(("proton", "variant"), [("HD1", "HID"), ("HE2", "HIE")])
def test_the_protons_of_a_histidine_stay_what_they_are(proton: str, variant: str, tmp_path: Path) -> None:
    """With one proton on its ring and another hydrogen missing, no second proton is added."""
    peptide(tmp_path, "ACE-HIS-GLY-NME", "whole.pdb")
    text = (tmp_path / "whole.pdb").read_text()
    has = "HD1" if " HD1 " in text else "HE2"
    drop = {"HB2", "HD1", "HE2"}
    bare = each_atom(text, lambda _, line: None if line[12:16].strip() in drop else line)
    modeller = app.Modeller(structure(tmp_path, bare).topology, structure(tmp_path, bare).positions * unit.nanometer)
    modeller.addHydrogens(FORCEFIELD, variants=[None, variant, None, None])
    positions = np.array(modeller.positions.value_in_unit(unit.nanometer))
    chosen = Structure("his.pdb", modeller.topology, positions)
    text = pdb_text(chosen.topology, chosen.positions)
    cut = each_atom(text, lambda _, line: None if line[12:16].strip() == "HB2" else line)
    found = repaired(structure(tmp_path, cut), FORCEFIELD, 7.0)
    names = {atom.name for atom in found.topology.atoms() if atom.residue.name == "HIS"}
    assert names & {"HD1", "HE2"} == {proton}
    assert "HB2" in names
    assert has in {"HD1", "HE2"}


# --- torsions and decisions -------------------------------------------------------------------------


def test_torsions_are_those_of_mdtraj(tmp_path: Path) -> None:
    found = candidates(structure(tmp_path, TETRA).topology)
    trajectory = mdtraj.load(str(systems_folder() / "alanine_tetrapeptide/c7ax.pdb"))
    for kind, compute in (("phi", mdtraj.compute_phi), ("psi", mdtraj.compute_psi)):
        own = [candidate for candidate in found if candidate.kind == kind]
        assert [candidate.name for candidate in own] == [f"{kind}_{k}" for k in (2, 3, 4)]
        assert quadruples_of(own).tolist() == compute(trajectory)[0].tolist()
    assert [c.name for c in found if c.kind == "omega"] == [f"omega_{k}" for k in (2, 3, 4, 5)]


def test_decisions_on_runs_that_are_known(tmp_path: Path) -> None:
    """phi_3 differs by 100 degrees, psi_2 moves over 200, omega_2 turns; all others stay."""
    found = candidates(structure(tmp_path, TETRA).topology)
    rng = np.random.default_rng(0)
    angles = np.deg2rad(rng.normal(0, 8, (2, 8, 200, len(found))))
    column = {candidate.name: k for k, candidate in enumerate(found)}
    angles[1, ..., column["phi_3"]] += np.deg2rad(100)
    angles[..., column["psi_2"]] = np.deg2rad(rng.uniform(-100, 100, angles.shape[:-1]))
    angles[1, ..., column["omega_2"]] += np.pi
    decision = decide(found, angles, with_chi=False, wanted=("phi_4",))
    assert [torsion.name for torsion in decision.torsions] == ["omega_2", "psi_2", "phi_3", "phi_4"]
    assert set(decision.bounds[0]) == set(decision.bounds[1]) == {"phi_3", "omega_2"}
    low, width = np.rad2deg(decision.bounds[1]["phi_3"])
    assert (low, low + width) == pytest.approx((100 - 13 - 15, 100 + 13 + 15), abs=2)
    assert min(decision.inside) > 0.98


# --- the whole --------------------------------------------------------------------------------------


def test_two_files_without_hydrogens_become_a_system(tmp_path: Path) -> None:
    for name, text in (("a.pdb", C5), ("b.pdb", C7AX)):
        (tmp_path / name).write_text(without_hydrogens(text))
    with WorkerPool(1) as pool:
        words = prepare(tmp_path / "a.pdb", tmp_path / "b.pdb", tmp_path / "mine", Wishes(minutes=1), False, pool)
    assert any("12 hydrogens" in sentence for sentence in words)
    file = find_system_file(str(tmp_path / "mine"))
    system = load_system(load_config(file), file.parent)
    assert set(system.representation.block_names) >= {"phi_2", "psi_2"}
    values = dict(zip(system.variables.names, np.rad2deg(system.variables(system.structures)).T, strict=True))
    assert values["phi_2"][1] == pytest.approx(61, abs=3)
    assert system.config.paths.count == 16


HARD_NAMES = ["a: b", "#x", "null", "1e3", "- x", "{a}", "yes", 'say "hi"', "tab\tname", "größe"]


@pytest.mark.parametrize("name", HARD_NAMES)
def test_any_folder_name_is_read_back(name: str) -> None:
    assert yaml.safe_load(f"name: {quoted(name)}") == {"name": name}


def test_what_is_in_the_way_is_kept(tmp_path: Path) -> None:
    """Inputs in the folder, files of the user's own, and an earlier system when the new one is refused."""
    pool, mine = WorkerPool(1), tmp_path / "mine"
    mine.mkdir()
    for name, text in (("a.pdb", C5), ("b.pdb", C7AX)):
        (mine / name).write_text(text)
    with pytest.raises(UserError, match="lies in"):
        prepare(mine / "a.pdb", mine / "b.pdb", mine, Wishes(), True, pool)
    with pytest.raises(UserError, match="did not write"):
        prepare(*ENDS, mine, Wishes(), True, pool)
    assert (mine / "a.pdb").read_text() == C5
    made = tmp_path / "made"
    prepare(*ENDS, made, Wishes(minutes=0.2), False, pool)
    before = {file.name: file.read_bytes() for file in made.iterdir()}
    with pytest.raises(UserError, match="--overwrite"):
        prepare(*ENDS, made, Wishes(), False, pool)
    with pytest.raises(UserError):
        prepare(ENDS[0], ENDS[0], made, Wishes(), True, pool)
    assert {file.name: file.read_bytes() for file in made.iterdir()} == before
    (made / "forcefield_1.xml").write_text("a name that init uses, in a folder where it wrote no such file")
    with pytest.raises(UserError, match=r"did not write \(forcefield_1.xml\)"):
        prepare(*ENDS, made, Wishes(), True, pool)
    assert (made / "forcefield_1.xml").exists()
    assert [file.name for file in tmp_path.iterdir() if file.name.startswith(".")] == []


def test_an_interrupted_init_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("spacetime_tps.preparation.system_folder.load_system", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepare(*ENDS, tmp_path / "made", Wishes(minutes=0.2), False, WorkerPool(1))
    assert list(tmp_path.iterdir()) == []


def test_the_command_says_what_it_decided_and_what_comes_next(tmp_path: Path) -> None:
    files = [systems_folder() / "proline_dipeptide" / name for name in ("cis.pdb", "trans.pdb")]
    done = run_cli("init", *files, "-o", tmp_path / "pro", "--minutes", "0.1")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "omega_2" in done.stdout
    assert f"spacetime-tps run {tmp_path / 'pro'}" in done.stdout
    again = run_cli("init", *files, "-o", tmp_path / "pro", "--minutes", "0.05", "--overwrite")
    assert again.returncode == 0
