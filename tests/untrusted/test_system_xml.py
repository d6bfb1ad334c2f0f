"""Serialised Systems: every class of OpenMM that is data, and no other."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import openmm
import pytest

from spacetime_tps.errors import UserError
from spacetime_tps.molecules import read_openmm_system
from spacetime_tps.systems import load_config, load_system, systems_folder
from spacetime_tps.untrusted.expressions import check_expression, extent
from spacetime_tps.untrusted.system_xml import FORCES, read_system_xml
from tests.oracles import is_one_sentence
from tests.untrusted.strangers import system_xml, with_force

MOLECULES = ["alanine_dipeptide", "alanine_tetrapeptide", "chignolin", "glycine_dipeptide", "proline_dipeptide"]


@pytest.mark.parametrize("name", MOLECULES)
def test_systems_are_read_as_they_were_written(name: str, tmp_path: Path) -> None:
    folder = systems_folder() / name
    system = load_system(load_config(folder / "system.yaml"), folder)
    assert system.molecule is not None
    (tmp_path / "own.xml").write_text(system.molecule.dynamics.system_xml)
    read = read_openmm_system(tmp_path / "own.xml")
    assert openmm.XmlSerializer.serialize(read) == system.molecule.dynamics.system_xml


def test_forces_within_forces_and_tables_are_read(tmp_path: Path) -> None:
    system = openmm.System()
    for _ in range(4):
        system.addParticle(1.0)
    variable = openmm.CustomCVForce("a+f(a)")
    variable.addCollectiveVariable("a", openmm.RMSDForce([(0, 0, 0)] * 4))
    variable.addTabulatedFunction("f", openmm.Continuous1DFunction([0.0, 1.0, 2.0, 3.0], 0.0, 1.0))
    alchemical = openmm.ATMForce("u0+u1")
    alchemical.addForce(openmm.HarmonicBondForce())
    for _ in range(4):
        alchemical.addParticle(openmm.Vec3(0, 0, 0))
    born = openmm.CustomGBForce()
    born.addComputedValue("B", "1/r", openmm.CustomGBForce.ParticlePair)
    born.addEnergyTerm("B", openmm.CustomGBForce.SingleParticle)
    for _ in range(4):
        born.addParticle([])
    for force in (variable, alchemical, born, openmm.CustomVolumeForce("v")):
        system.addForce(force)
    text = openmm.XmlSerializer.serialize(system)
    (tmp_path / "own.xml").write_text(text)
    assert openmm.XmlSerializer.serialize(read_system_xml(tmp_path / "own.xml")) == text


def test_of_openmm_s_own_classes_only_python_is_left_out() -> None:
    there = {name for name, kind in vars(openmm).items() if isinstance(kind, type) and issubclass(kind, openmm.Force)}
    assert there - FORCES == {"Force", "PythonForce"}
    assert there >= FORCES


@pytest.mark.parametrize("kind", ["TorchForce", "PlumedForce", "PythonForce", "pythonforce", "VerletIntegrator", ""])
def test_other_classes_are_refused_wherever_they_stand(kind: str, tmp_path: Path) -> None:
    custom = '<Force type="CustomBondForce" energy="r"><Functions><Function type="{}"/></Functions></Force>'
    for force in (f'<Force type="{kind}"/>', custom.format(kind)):
        (tmp_path / "own.xml").write_text(with_force(force))
        with pytest.raises(UserError, match=f"of the class '{kind}'") as error:
            read_openmm_system(tmp_path / "own.xml")
        assert is_one_sentence(str(error.value)), str(error.value)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.999])
def test_a_system_cut_short_is_refused(share: float, tmp_path: Path) -> None:
    """OpenMM reads what is there, and leaves out angles, torsions or charges."""
    text = system_xml()
    (tmp_path / "own.xml").write_text(text[: int(share * len(text))])
    with pytest.raises(UserError, match="it is not a complete XML document") as error:
        read_openmm_system(tmp_path / "own.xml")
    assert is_one_sentence(str(error.value)), str(error.value)


# --- expressions --------------------------------------------------------------------------------

ENDLESS = {
    "brackets": 100_000 * "(" + "r" + 100_000 * ")",
    "few brackets": 500 * "(" + "r" + 500 * ")",
    "signs": 500 * "-" + "r",
    "powers": "^".join(["r"] * 500),
    "functions": 500 * "sin(" + "r" + 500 * ")",
    "a sum": "+".join(["r"] * 500),
    "definitions": "a0;" + ";".join(f"a{k}=a{k + 1}+1" for k in range(500)) + ";a500=r",
    "definitions that double": "a0;" + ";".join(f"a{k}=a{k + 1}*a{k + 1}" for k in range(60)) + ";a60=r",
}


@pytest.mark.parametrize("case", ENDLESS)
def test_expressions_without_end_are_refused(case: str, tmp_path: Path) -> None:
    force = openmm.CustomBondForce(ENDLESS[case])
    system = openmm.System()
    system.addForce(force)
    (tmp_path / "own.xml").write_text(openmm.XmlSerializer.serialize(system))
    with pytest.raises(UserError, match="expression") as error:
        read_openmm_system(tmp_path / "own.xml")
    assert is_one_sentence(str(error.value)), str(error.value)


def test_brackets_end_a_process_where_nobody_counts_them() -> None:
    """What the bound is for."""
    code = f"""
import openmm
system = openmm.System()
system.addParticle(1), system.addParticle(1)
force = openmm.CustomBondForce({ENDLESS["brackets"]!r})
force.addBond(0, 1)
system.addForce(force)
openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
"""
    done = subprocess.run([sys.executable], input=code, text=True, capture_output=True, check=False)
    assert done.returncode < 0


def test_extents_are_those_of_the_tree() -> None:
    assert extent("1", {}) == (0, 1)
    assert extent("a+b", {}) == (1, 2)
    assert extent("f(a, b+c)", {}) == (2, 4)
    assert extent("-(a*b)", {}) == (3, 2)
    assert extent("1.5e-3*r", {}) == (1, 2)
    assert extent("d*d+1", {"d": (3, 10)}) == (5, 21)
    check_expression("a*a; a=b*b; b=c*c; c=r")


def test_settings_nest_as_deep_as_they_need(tmp_path: Path) -> None:
    from spacetime_tps.settings import apply_override, read_yaml

    (tmp_path / "deep.yaml").write_text("a: " + 20 * "[" + 20 * "]")
    assert json.dumps(read_yaml(tmp_path / "deep.yaml")).count("[") == 20
    for depth in (40, 100_000):
        (tmp_path / "deep.yaml").write_text("a: " + depth * "[" + depth * "]")
        with pytest.raises(UserError, match="nest up to 32 levels deep") as error:
            read_yaml(tmp_path / "deep.yaml")
        assert is_one_sentence(str(error.value)), str(error.value)
        with pytest.raises(UserError, match="the value is not YAML"):
            apply_override({}, f"a={depth * '['}{depth * ']'}")
