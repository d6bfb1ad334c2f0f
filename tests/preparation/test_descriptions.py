"""Molecules that an Amber topology or a serialised OpenMM System describes.

The files in data/ were made with ParmEd from c5.pdb, c7ax.pdb and ff14SB.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import openmm
import pytest
from openmm import app

from spacetime_tps.config import MoleculeConfig
from spacetime_tps.errors import UserError
from spacetime_tps.parallel import WorkerPool
from spacetime_tps.preparation.init import Wishes, prepare
from spacetime_tps.shooting.chains import EngineRecipe
from spacetime_tps.stages.folder import RunFolder
from spacetime_tps.systems import System, find_system_file, load_config, load_system
from tests.conftest import TINY_ALANINE, refusal, run_cli, settings
from tests.oracles import is_one_sentence
from tests.preparation.files import C5, ENDS, at, each_atom

DATA = Path(__file__).parent / "data"
PRMTOP, INPCRD = DATA / "alanine_dipeptide.prmtop", (DATA / "c5.inpcrd", DATA / "c7ax.inpcrd")


def loaded(folder: Path) -> System:
    file = find_system_file(str(folder))
    return load_system(load_config(file), file.parent)


def energy(system: System, positions: np.ndarray) -> float:
    assert system.molecule is not None
    context = system.molecule.dynamics.context(1)
    context.setPositions(positions)
    return context.getState(energy=True).getPotentialEnergy()._value


def forcefield_energy(positions: np.ndarray, constraints: bool = True) -> float:
    pdb = app.PDBFile(str(ENDS[0]))
    kind = app.HBonds if constraints else None
    system = app.ForceField("amber14/protein.ff14SB.xml").createSystem(pdb.topology, constraints=kind)
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(positions)
    return context.getState(energy=True).getPotentialEnergy()._value


@pytest.fixture
def xml(tmp_path: Path) -> Path:
    pdb = app.PDBFile(str(ENDS[0]))
    system = app.ForceField("amber14/protein.ff14SB.xml").createSystem(pdb.topology, constraints=app.HBonds)
    file = tmp_path / "described.xml"
    file.write_text(openmm.XmlSerializer.serialize(system))
    return file


def test_amber_files_become_a_system_with_their_energy(tmp_path: Path) -> None:
    with WorkerPool(1) as pool:
        prepare(*INPCRD, tmp_path / "mine", Wishes(prmtop=PRMTOP, minutes=0.2), False, pool)
    system = loaded(tmp_path / "mine")
    assert "prmtop: molecule.prmtop" in (tmp_path / "mine/system.yaml").read_text()
    assert energy(system, system.structures[0]) == pytest.approx(forcefield_energy(system.structures[0]), abs=1e-3)
    assert np.rad2deg(system.variables(system.structures))[1, 0] == pytest.approx(61, abs=3)
    out = tmp_path / "run"
    tiny = settings(TINY_ALANINE)
    done = run_cli("run", tmp_path / "mine", "-o", out, "--stop-after", "sample", *tiny)
    assert done.returncode == 0, done.stderr
    assert (out / "inputs/molecule.prmtop").read_bytes() == PRMTOP.read_bytes()


def test_an_openmm_system_becomes_one(xml: Path, tmp_path: Path) -> None:
    with WorkerPool(1) as pool:
        words = prepare(*ENDS, tmp_path / "mine", Wishes(openmm_system=xml, minutes=0.2), False, pool)
    assert any("described.xml" in sentence for sentence in words)
    system = loaded(tmp_path / "mine")
    assert energy(system, system.structures[1]) == pytest.approx(forcefield_energy(system.structures[1]), abs=1e-3)


def test_a_force_field_of_ones_own_goes_with_the_system_and_the_run(tmp_path: Path) -> None:
    own = tmp_path / "mine, mended.xml"
    own.write_bytes((Path(app.__file__).parent / "data/amber14/protein.ff14SB.xml").read_bytes())
    with WorkerPool(1) as pool:
        prepare(*ENDS, tmp_path / "mine", Wishes(forcefield=(str(own),), minutes=0.2), False, pool)
    own.unlink()
    system = loaded(tmp_path / "mine")
    assert energy(system, system.structures[0]) == pytest.approx(forcefield_energy(system.structures[0]), abs=1e-3)
    config = load_config(tmp_path / "mine/system.yaml")
    folder = RunFolder(tmp_path / "run")
    with folder.locked():
        stored = folder.begin(config, tmp_path / "mine", resume=False, overwrite=False)
    assert isinstance(stored.system, MoleculeConfig)
    assert stored.system.forcefield == ["inputs/forcefield_1.xml"]
    (tmp_path / "mine").rename(tmp_path / "elsewhere")
    run = load_system(stored, tmp_path / "run")
    assert energy(run, run.structures[0]) == pytest.approx(energy(system, run.structures[0]), abs=1e-6)


def test_repartitioned_masses_do_not_shoot(xml: Path, tmp_path: Path) -> None:
    with WorkerPool(1) as pool:
        prepare(*ENDS, tmp_path / "mine", Wishes(openmm_system=xml, minutes=0.2), False, pool)
    system = loaded(tmp_path / "mine")
    assert system.molecule is not None
    EngineRecipe.of(system, system.molecule.dynamics, 5)
    file = tmp_path / "mine/molecule.xml"
    heavy = openmm.XmlSerializer.deserialize(file.read_text())
    for atom in system.molecule.topology.atoms():
        if atom.element is app.element.hydrogen:
            heavy.setParticleMass(atom.index, 3.0)
    file.write_text(openmm.XmlSerializer.serialize(heavy))
    system = loaded(tmp_path / "mine")
    assert system.molecule is not None
    with pytest.raises(UserError, match=r"hydrogens of 3\.00 u"):
        EngineRecipe.of(system, system.molecule.dynamics, 5)


def spoil(change: Callable[[openmm.System], None]) -> Callable[[Path], None]:
    def write(file: Path) -> None:
        system = openmm.XmlSerializer.deserialize(file.read_text())
        change(system)
        file.write_text(openmm.XmlSerializer.serialize(system))

    return write


BAD: dict[str, tuple[Callable[[Path], None], str]] = {
    "a barostat": (spoil(lambda s: s.addForce(openmm.MonteCarloBarostat(1.0, 300.0))), "MonteCarloBarostat"),
    "a thermostat": (spoil(lambda s: s.addForce(openmm.AndersenThermostat(300.0, 1.0))), "AndersenThermostat"),
    "one particle more": (spoil(lambda s: s.addParticle(1.0)), "23 particles and 22 atoms"),
    "no XML": (lambda file: file.write_text("hello"), "cannot be read as an OpenMM System"),
    "an integrator": (
        lambda file: file.write_text(openmm.XmlSerializer.serialize(openmm.VerletIntegrator(0.001))),
        "not a System",
    ),
    "no file": (lambda file: file.unlink(), "is not there"),
}


@pytest.mark.parametrize("case", BAD)
def test_systems_that_cannot_be_used(case: str, xml: Path, tmp_path: Path) -> None:
    BAD[case][0](xml)
    with pytest.raises(UserError) as error:
        prepare(*ENDS, tmp_path / "mine", Wishes(openmm_system=xml), False, WorkerPool(1))
    assert BAD[case][1] in str(error.value)
    assert is_one_sentence(str(error.value)), str(error.value)
    assert not (tmp_path / "mine").exists()


def test_amber_files_that_cannot_be_used(tmp_path: Path) -> None:
    broken, short = tmp_path / "broken.prmtop", tmp_path / "short.inpcrd"
    broken.write_text(PRMTOP.read_text()[:2000])
    short.write_text("two\n    2\n" + "".join(f"{x:12.7f}" for x in range(6)) + "\n")
    cases = [
        (Wishes(prmtop=broken), INPCRD, "cannot be read as an Amber topology"),
        (Wishes(prmtop=tmp_path / "none.prmtop"), INPCRD, "is not there"),
        (Wishes(prmtop=PRMTOP), (short, short), "holds 2 atoms"),
        (Wishes(prmtop=PRMTOP), (broken, broken), "holds no atoms"),
        (Wishes(prmtop=PRMTOP, openmm_system=broken), INPCRD, "give one of them"),
        (Wishes(prmtop=PRMTOP, forcefield=("amber14-all.xml",)), INPCRD, "give one of them"),
    ]
    for wishes, files, words in cases:
        with pytest.raises(UserError) as error:
            prepare(*files, tmp_path / "mine", wishes, False, WorkerPool(1))
        assert words in str(error.value)
        assert is_one_sentence(str(error.value)), str(error.value)


def test_coordinates_upon_each_other_are_refused(xml: Path, tmp_path: Path) -> None:
    inpcrd, pdb = tmp_path / "zero.inpcrd", tmp_path / "zero.pdb"
    lines = INPCRD[0].read_text().splitlines()
    inpcrd.write_text("\n".join(lines[:2] + ["".join([f"{0.0:12.7f}"] * 6)] * 11) + "\n")
    pdb.write_text(each_atom(C5, lambda _, line: at(line, 0.0, 0.0, 0.0)))
    assert "clash" in refusal("init", inpcrd, INPCRD[1], "-o", tmp_path / "new", "--prmtop", PRMTOP)
    assert "clash" in refusal("init", ENDS[0], pdb, "-o", tmp_path / "new", "--system", xml)
    assert not (tmp_path / "new").exists()


def test_a_system_file_gives_one_description(tmp_path: Path) -> None:
    for changes in ("system.prmtop=x.prmtop", "system.forcefield=null"):
        assert "give one of" in refusal("config", "alanine_dipeptide", "--set", changes)
    assert "goes with prmtop" in refusal("config", "alanine_dipeptide", "--set", "system.implicit_solvent=gbn2")
