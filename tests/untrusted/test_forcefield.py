"""Force fields: installed ones by name, a stranger's as data, includes from beside it only."""

from __future__ import annotations

import ast
import os
from collections.abc import Callable
from pathlib import Path

import openmm
import pytest
from openmm import app
from openmm.app import forcefield as openmm_forcefield

from spacetime_tps.errors import UserError
from spacetime_tps.molecules import load_forcefield
from spacetime_tps.untrusted.forcefield import data_folders
from tests.oracles import is_one_sentence
from tests.untrusted.strangers import ENDS, program, section

FF14SB = "amber14/protein.ff14SB.xml"
TOPOLOGY = app.PDBFile(str(ENDS[0])).topology
TORSION = """
<CustomTorsionForce energy="scale*k*(1-cos(theta-{center})); scale=2*half; half=0.5">
<PerTorsionParameter name="k"/><Proper class1="" class2="" class3="" class4="" k="0.25"/></CustomTorsionForce>"""
OWN = f"<ForceField><Info><Any>thing</Any></Info>{TORSION.format(center='0.5')}</ForceField>"


def serialised(forcefield: app.ForceField) -> str:
    return openmm.XmlSerializer.serialize(forcefield.createSystem(TOPOLOGY, constraints=app.HBonds))


@pytest.mark.parametrize("names", [[FF14SB], [FF14SB, "implicit/gbn2.xml"], ["amber14-all.xml", "amber14/tip3p.xml"]])
def test_installed_force_fields_are_those_of_openmm(names: list[str]) -> None:
    assert serialised(load_forcefield(names)) == serialised(app.ForceField(*names))


def test_data_of_one_s_own_is_what_openmm_makes_of_it(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    include = '<ForceField><Include file="inner/more.xml"/><Include file="amber14/protein.ff14SB.xml"/>'
    (tmp_path / "own.xml").write_text(OWN.replace("<ForceField>", include))
    (tmp_path / "inner/more.xml").write_text(f"<ForceField>{TORSION.format(center='1.5')}</ForceField>")
    expected = serialised(app.ForceField(str(tmp_path / "own.xml")))
    assert serialised(load_forcefield([tmp_path / "own.xml"])) == expected
    assert expected.count("CustomTorsionForce") == 4


def test_what_openmm_evaluates_is_known() -> None:
    """Another version may evaluate more: then read its parsers again, and extend the checks."""
    tree = ast.parse(Path(openmm_forcefield.__file__).read_text(encoding="utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    found = sorted(ast.unparse(call) for call in calls if call.func.id in ("eval", "exec", "compile", "__import__"))
    assert found == [
        "eval(element.attrib.get('useDispersionCorrection'))",
        "eval(element.attrib.get('useDispersionCorrection'))",
        "exec(node.text, locals())",
        "exec(script, locals())",
    ]


def test_the_working_folder_is_no_place_of_force_fields(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenMM looks there first."""
    marker = tmp_path / "marker"
    (tmp_path / "amber14").mkdir()
    (tmp_path / FF14SB).write_text(section("InitializationScript", program(marker)))
    expected = serialised(load_forcefield([FF14SB]))
    monkeypatch.chdir(tmp_path)
    assert serialised(load_forcefield([FF14SB])) == expected
    assert not marker.exists()
    app.ForceField(FF14SB)
    assert marker.exists()


def link(folder: Path) -> None:
    (folder.parent / "outside.xml").write_text("<ForceField/>")
    os.symlink("../outside.xml", folder / "link.xml")


def script(folder: Path) -> None:
    (folder / "more.xml").write_text(section("Script", "1"))


REFUSED: dict[str, tuple[Callable[[Path], None] | None, str, str]] = {
    "an absolute include": (None, '<Include file="/etc/hosts"/>', "includes '/etc/hosts'"),
    "an include from above": (None, '<Include file="../outside.xml"/>', "includes '../outside.xml'"),
    "an include by a link": (link, '<Include file="link.xml"/>', "includes 'link.xml'"),
    "an include that is not there": (None, '<Include file="none.xml"/>', "includes 'none.xml'"),
    "a script in an include": (script, '<Include file="more.xml"/>', "more.xml holds a <Script>"),
    "an include by a name of OpenMM's that leads out": (None, '<Include file="amber14/../../x"/>', "includes"),
    "an unknown element": (None, "<MPIDForce/>", "holds the element <MPIDForce>"),
    "an unknown part": (None, "<AtomTypes><Script>1</Script></AtomTypes>", "holds a <Script>"),
    "AMOEBA": (None, '<AmoebaBondForce bond-cubic="1" bond-quartic="1"/>', "<AmoebaBondForce>"),
    "an endless expression": (
        None,
        '<CustomBondForce energy="' + 200 * "(" + "r" + 200 * ")" + '"/>',
        "in <CustomBondForce> an expression nested",
    ),
    "an endless energy term": (
        None,
        f"<CustomGBForce><EnergyTerm>{200 * 'sin('}q{200 * ')'}</EnergyTerm></CustomGBForce>",
        "in <EnergyTerm> an expression nested",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_data_is_refused(case: str, tmp_path: Path) -> None:
    make, content, words = REFUSED[case]
    folder = tmp_path / "theirs"
    folder.mkdir()
    if make is not None:
        make(folder)
    (folder / "own.xml").write_text(f"<ForceField>{content}</ForceField>")
    with pytest.raises(UserError) as error:
        load_forcefield([FF14SB, folder / "own.xml"])
    assert words in str(error.value)
    assert is_one_sentence(str(error.value)), str(error.value)


@pytest.mark.parametrize("content", ["<System/>", "<ForceFields/>", "<Script/>"])
def test_another_document_is_no_force_field(content: str, tmp_path: Path) -> None:
    """OpenMM looks for sections alone, and takes a document without any for an empty force field."""
    (tmp_path / "own.xml").write_text(content)
    with pytest.raises(UserError, match="where <ForceField> is expected") as error:
        load_forcefield([FF14SB, tmp_path / "own.xml"])
    assert is_one_sentence(str(error.value))


BOMB = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>'
NO_XML: dict[str, tuple[bytes, str]] = {
    "an entity": (f"{BOMB}<ForceField>&b;</ForceField>".encode(), "declares a document type"),
    "an entity in another encoding": (f"{BOMB}<ForceField>&b;</ForceField>".encode("utf-16"), "is not UTF-8"),
    "a file from elsewhere": (b'<!DOCTYPE x SYSTEM "file:///etc/hosts"><ForceField/>', "declares a document type"),
    "cut in the middle": (b"<ForceField><AtomTypes/>", "is not a complete XML document"),
    "nested without end": (b"<ForceField>" + b"<a>" * 100_000 + b"</a>" * 100_000 + b"</ForceField>", "nested deeper"),
}


@pytest.mark.parametrize("case", NO_XML)
def test_what_is_no_plain_xml_is_refused(case: str, tmp_path: Path) -> None:
    content, words = NO_XML[case]
    (tmp_path / "own.xml").write_bytes(content)
    with pytest.raises(UserError, match="cannot be loaded") as error:
        load_forcefield([tmp_path / "own.xml"])
    assert words in str(error.value)
    assert is_one_sentence(str(error.value)), str(error.value)


def test_an_installed_file_stays_one_whatever_its_name(tmp_path: Path) -> None:
    """A link to OpenMM's own implicit solvent, which is a script, or its whole path."""
    installed = data_folders()[0] / "implicit/gbn2.xml"
    os.symlink(installed, tmp_path / "solvent.xml")
    expected = serialised(app.ForceField(FF14SB, "implicit/gbn2.xml"))
    for file in (tmp_path / "solvent.xml", installed):
        assert serialised(load_forcefield([FF14SB, file])) == expected
    (tmp_path / "copy.xml").write_bytes(installed.read_bytes())
    with pytest.raises(UserError, match="holds a <Script>"):
        load_forcefield([FF14SB, tmp_path / "copy.xml"])
