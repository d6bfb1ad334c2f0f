"""Two end structures in one box of water."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openmm
import pytest
from openmm import app
from scipy.spatial import cKDTree

from spacetime_tps.config import MoleculeConfig
from spacetime_tps.dynamics import MolecularDynamics
from spacetime_tps.errors import UserError
from spacetime_tps.molecules import box_of, check_whole, openmm_system, pdb_text
from spacetime_tps.preparation import solvation
from spacetime_tps.preparation.init import SOLVENTS, Wishes, prepare
from spacetime_tps.preparation.matching import matched
from spacetime_tps.preparation.reading import Structure, read_structure_file
from spacetime_tps.preparation.solvation import WaterBox, at_pressure, scaled, solvated
from spacetime_tps.preparation.survey import relaxed
from spacetime_tps.topology import is_solvent, solute_atoms
from tests.oracles import is_one_sentence
from tests.preparation.files import ENDS

BOX = WaterBox(padding=0.6, ionic_strength=0.5, cutoff=0.8)
FILES = ["amber14/protein.ff14SB.xml", *SOLVENTS["water"]]
DESCRIPTION = MoleculeConfig.model_validate(
    {
        "kind": "molecule",
        "temperature": "300 K",
        "forcefield": FILES,
        "nonbonded": "pme",
        "cutoff": "0.8 nm",
        "dynamics": {"time_step": "2 fs", "friction": "1 /ps"},
    }
)


@pytest.fixture(scope="module")
def dry() -> tuple[Structure, Structure]:
    first, second = (read_structure_file(file) for file in ENDS)
    return first, matched(first, second)


@pytest.fixture(scope="module")
def wet(dry: tuple[Structure, Structure]) -> tuple[Structure, Structure]:
    return solvated(*dry, app.ForceField(*FILES), BOX, seed=0)


def distances(positions: np.ndarray) -> np.ndarray:
    return np.linalg.norm(positions[:, None] - positions[None], axis=-1)


def test_both_hold_the_same_molecules_and_the_solute_as_it_was(
    dry: tuple[Structure, Structure], wet: tuple[Structure, Structure]
) -> None:
    first, second = wet
    assert first.topology is second.topology
    assert first.positions.shape == second.positions.shape
    names = [residue.name for residue in first.topology.residues()]
    # 0.5 mol/l among 278 waters, where pure water has 55.4 mol/l: 2.5 pairs, rounded
    assert names.count("NA") == names.count("CL") == 3
    assert 200 < names.count("HOH") < 320
    solute = solute_atoms(first.topology)
    for before, after in zip(dry, wet, strict=True):
        assert np.abs(distances(after.positions[solute]) - distances(before.positions)).max() < 1e-6
    waters = [[a.index for a in r.atoms()] for r in first.topology.residues() if r.name == "HOH"]
    for structure in wet:
        oh = [np.linalg.norm(structure.positions[w[k]] - structure.positions[w[0]]) for w in waters for k in (1, 2)]
        assert np.ptp(oh) < 1e-3
        assert oh[0] == pytest.approx(0.0957, abs=1e-3)


def test_nothing_overlaps_over_the_box_and_images_keep_their_distance(wet: tuple[Structure, Structure]) -> None:
    box = box_of(wet[0].topology)
    assert box is not None
    shifts = np.array([[i, j, k] for i in (-1, 0, 1) for j in (-1, 0, 1) for k in (-1, 0, 1)]) @ box
    heavy = np.array([atom.element.symbol != "H" for atom in wet[0].topology.atoms()])
    solute = solute_atoms(wet[0].topology)
    for structure in wet:
        points = structure.positions[heavy]
        images = (points + shifts[:, None]).reshape(-1, 3)
        assert cKDTree(images).query(points, k=2)[0][:, 1].min() > 0.12
        own = structure.positions[solute]
        away = shifts[np.linalg.norm(shifts, axis=1) > 0]
        assert cKDTree((own + away[:, None]).reshape(-1, 3)).query(own)[0].min() > BOX.padding
    assert np.diag(box).min() > 2 * BOX.cutoff


def test_every_molecule_moves_whole_with_its_centre(wet: tuple[Structure, Structure]) -> None:
    old = box_of(wet[0].topology)
    assert old is not None
    moved = scaled(wet[0].positions, old, 1.1 * old, wet[0].topology)
    for residue in list(wet[0].topology.residues())[-40:]:
        atoms = [atom.index for atom in residue.atoms()]
        before, after = wet[0].positions[atoms], moved[atoms]
        assert after.mean(axis=0) == pytest.approx(1.1 * before.mean(axis=0))
        assert np.abs(distances(after) - distances(before)).max() < 1e-9
    solute = solute_atoms(wet[0].topology)
    assert np.abs(distances(moved[solute]) - distances(wet[0].positions[solute])).max() < 1e-9


def test_water_settles_at_pressure_around_a_solute_that_stays(
    wet: tuple[Structure, Structure], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Water beside an empty layer shrinks; two picoseconds are enough to see it and too few for the density."""
    monkeypatch.setattr(solvation, "PRESS_PS", 2.0)
    topology = app.PDBFile(_file(wet[0])).topology
    system = openmm_system(DESCRIPTION, topology, Path(), "c5.pdb")
    dynamics = MolecularDynamics(openmm.XmlSerializer.serialize(system), 300.0, 0.002, 1.0, "CPU")
    minimal = np.stack([relaxed(dynamics, s.positions, s.source) for s in wet])
    structures, box = at_pressure(dynamics, minimal, topology, seed=1)
    before = box_of(wet[0].topology)
    assert before is not None
    assert 0.85 < np.linalg.det(box) / np.linalg.det(before) < 1.0
    solute = [a for a in solute_atoms(topology) if list(topology.atoms())[a].element.symbol != "H"]
    for earlier, after in zip(minimal, structures, strict=True):
        off = distances(after[solute]) - distances(earlier[solute])
        assert np.abs(off).max() < 0.1
    assert np.linalg.det(_in(dynamics, box)) == pytest.approx(np.linalg.det(box))


def _in(dynamics: MolecularDynamics, box: np.ndarray) -> np.ndarray:
    context = dynamics.in_box(box).context(1)
    return np.array(context.getState().getPeriodicBoxVectors(asNumpy=True)._value)


def _file(structure: Structure) -> object:
    import io

    return io.StringIO(pdb_text(structure.topology, structure.positions))


# --- refusals -----------------------------------------------------------------------------------


def test_a_box_is_asked_for_and_has_to_hold_the_cutoff(dry: tuple[Structure, Structure], wet: tuple) -> None:
    with pytest.raises(UserError, match="no periodic box") as none:
        openmm_system(DESCRIPTION, dry[0].topology, Path(), "c5.pdb")
    longer = DESCRIPTION.model_copy(update={"cutoff": 0.9})
    with pytest.raises(UserError, match="more than twice") as long:
        openmm_system(longer, wet[0].topology, Path(), "c5.pdb")
    for error in (none, long):
        assert is_one_sentence(str(error.value))


def test_a_molecule_cut_by_its_box_is_refused(wet: tuple[Structure, Structure]) -> None:
    box = box_of(wet[0].topology)
    assert box is not None
    positions = wet[0].positions.copy()
    positions[solute_atoms(wet[0].topology)[-3:]] += box[0]
    with pytest.raises(UserError, match="write the molecule whole") as error:
        check_whole(wet[0].topology, positions, "c5.pdb")
    assert is_one_sentence(str(error.value))


def test_water_that_is_kept_needs_a_box_in_both_files(wet: tuple[Structure, Structure], tmp_path: Path) -> None:
    from spacetime_tps.parallel import WorkerPool

    first, second = tmp_path / "a.pdb", tmp_path / "b.pdb"
    first.write_text(pdb_text(wet[0].topology, wet[0].positions))
    text = pdb_text(wet[1].topology, wet[1].positions)
    second.write_text("\n".join(line for line in text.splitlines() if not line.startswith("CRYST1")) + "\n")
    with WorkerPool(1) as pool, pytest.raises(UserError, match=r"b\.pdb has no periodic box") as error:
        prepare(first, second, tmp_path / "out", Wishes(solvent="kept", cutoff=0.8), False, pool)
    assert is_one_sentence(str(error.value))
    assert not (tmp_path / "out").exists()


def test_solvent_is_what_is_neither_molecule_nor_cap(wet: tuple[Structure, Structure]) -> None:
    assert {r.name for r in wet[0].topology.residues() if not is_solvent(r)} == {"ACE", "ALA", "NME"}
