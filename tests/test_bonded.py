"""Systems that lack what holds a molecule together, and those that only look like it."""

from __future__ import annotations

import re
from pathlib import Path

import openmm
import pytest
from openmm import app

from spacetime_tps.bonded import check_bonded
from spacetime_tps.config import MoleculeConfig
from spacetime_tps.errors import UserError
from spacetime_tps.molecules import openmm_system, read_amber_topology, read_openmm_system, read_pdb_file
from spacetime_tps.systems import systems_folder
from tests.oracles import is_one_sentence

DATA = Path(__file__).parent / "preparation/data"
TOPOLOGY, _ = read_pdb_file(systems_folder() / "alanine_dipeptide/c5.pdb", "c5.pdb")
FORCEFIELD = app.ForceField("amber14/protein.ff14SB.xml")
TEXT = openmm.XmlSerializer.serialize(FORCEFIELD.createSystem(TOPOLOGY, constraints=app.HBonds))


def described(text: str, folder: Path) -> openmm.System:
    """The System of a system file that names an XML file with this text."""
    (folder / "mine.xml").write_text(text, encoding="utf-8")
    dynamics = {"time_step": "2 fs", "friction": "1 /ps"}
    given = {"kind": "molecule", "temperature": "300 K", "openmm_system": "mine.xml", "dynamics": dynamics}
    return openmm_system(MoleculeConfig.model_validate(given), TOPOLOGY, folder, "c5.pdb")


def test_openmm_reads_a_cut_system_and_we_do_not(tmp_path: Path) -> None:
    """Cut behind the bond forces, after which OpenMM itself finds a molecule without angles."""
    cut = TEXT[: TEXT.index("<Force", TEXT.index('type="PeriodicTorsionForce"'))]
    silently = openmm.XmlSerializer.deserialize(cut)
    assert not any(isinstance(force, openmm.HarmonicAngleForce) for force in silently.getForces())
    with pytest.raises(UserError, match="is not a complete XML document") as error:
        described(cut, tmp_path)
    assert is_one_sentence(str(error.value)), str(error.value)
    assert described(TEXT, tmp_path).getNumParticles() == 22


@pytest.mark.parametrize("share", [k / 20 for k in range(20)])
def test_no_part_of_a_document_is_complete(share: float, tmp_path: Path) -> None:
    file = tmp_path / "mine.xml"
    file.write_text(TEXT[: int(share * len(TEXT))])
    with pytest.raises(UserError, match="is not a complete XML document"):
        read_openmm_system(file)


def without(force: type[openmm.Force]) -> openmm.System:
    system = openmm.XmlSerializer.deserialize(TEXT)
    for k in reversed(range(system.getNumForces())):
        if isinstance(system.getForce(k), force):
            system.removeForce(k)
    return system


LACKING = {
    openmm.HarmonicBondForce: "neither a bond nor a constraint for 9 of the 21 bonds",
    openmm.HarmonicAngleForce: "holds no angle at 8 atoms",
    openmm.PeriodicTorsionForce: "defines torsions about 0 of the 7 bonds",
}


@pytest.mark.parametrize("force", LACKING)
def test_a_system_without_a_bonded_force_is_refused(force: type[openmm.Force]) -> None:
    with pytest.raises(UserError, match=LACKING[force]) as error:
        check_bonded(without(force), TOPOLOGY, "mine.xml", "c5.pdb")
    assert is_one_sentence(str(error.value)), str(error.value)


def test_bonded_atoms_that_repel_each_other_are_refused() -> None:
    text = re.sub(r"<Exceptions>.*?</Exceptions>", "<Exceptions/>", TEXT, flags=re.DOTALL)
    with pytest.raises(UserError, match="no exception for 21 of the 21 bonds"):
        check_bonded(openmm.XmlSerializer.deserialize(text), TOPOLOGY, "mine.xml", "c5.pdb")


def complaint(system: openmm.System, topology: app.Topology, file: str, source: str) -> str:
    """What is said against a System; nothing if it passes."""
    try:
        check_bonded(system, topology, file, source)
    except UserError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("constraints", [None, app.HBonds, app.AllBonds, app.HAngles])
def test_whole_systems_pass(constraints: object) -> None:
    assert complaint(FORCEFIELD.createSystem(TOPOLOGY, constraints=constraints), TOPOLOGY, "mine.xml", "c5.pdb") == ""


def test_other_ways_to_hold_a_molecule_pass() -> None:
    """An elastic network by CustomBondForce, a force of an unknown kind, and beads without bonds in the PDB file."""
    network = without(openmm.HarmonicBondForce)
    springs = openmm.CustomBondForce("k * r^2")
    springs.addGlobalParameter("k", 1.0)
    for a, b in TOPOLOGY.bonds():
        springs.addBond(a.index, b.index, [])
    network.addForce(springs)
    assert complaint(network, TOPOLOGY, "mine.xml", "c5.pdb") == ""
    learned = openmm.System()
    for _ in range(22):
        learned.addParticle(12.0)
    learned.addForce(openmm.CustomCVForce("0"))
    assert complaint(learned, TOPOLOGY, "mine.xml", "c5.pdb") == ""
    beads = app.Topology()
    chain = beads.addChain()
    for _ in range(4):
        beads.addAtom("CA", app.element.carbon, beads.addResidue("ALA", chain))
    assert complaint(openmm.System(), beads, "mine.xml", "beads.pdb") == ""


@pytest.mark.parametrize(
    "section", ["MASS", "EXCLUDED_ATOMS_LIST", "ANGLES_INC_HYDROGEN", "DIHEDRALS_WITHOUT_HYDROGEN"]
)
def test_an_amber_topology_cut_in_a_section(section: str, tmp_path: Path) -> None:
    """OpenMM takes the numbers that are there for all there are."""
    lines = (DATA / "alanine_dipeptide.prmtop").read_text().splitlines(keepends=True)
    begin = next(k for k, line in enumerate(lines) if line.split() == ["%FLAG", section])
    del lines[begin + 2]
    (tmp_path / "cut.prmtop").write_text("".join(lines))
    with pytest.raises(UserError, match=rf"not a complete Amber topology: its section {section} holds") as error:
        read_amber_topology(tmp_path / "cut.prmtop")
    assert is_one_sentence(str(error.value)), str(error.value)
