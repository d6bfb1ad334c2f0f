"""Folders as a stranger could send them: alanine dipeptide with a file that holds a program."""

from __future__ import annotations

import pickle
import re
import shutil
from functools import cache
from pathlib import Path

import openmm
from openmm import app

from spacetime_tps.systems import systems_folder

ALANINE = systems_folder() / "alanine_dipeptide"
ENDS = ALANINE / "c5.pdb", ALANINE / "c7ax.pdb"
OWN = "own.xml"


def program(marker: Path) -> str:
    """Python that leaves a file when it runs; an expression, and without what XML would have to escape."""
    return f"__import__('pathlib').Path('{marker}').write_text('it ran')"


class Runs:
    """Pickled, it runs a program when it is unpickled."""

    def __init__(self, code: str):
        self.code = code

    def __reduce__(self) -> tuple:
        return exec, (self.code,)


def section(name: str, content: str = "", **attributes: str) -> str:
    shown = "".join(f' {key}="{value}"' for key, value in attributes.items())
    return f"<ForceField><{name}{shown}>{content}</{name}></ForceField>"


@cache
def system_xml() -> str:
    """The System of alanine dipeptide, serialised."""
    pdb = app.PDBFile(str(ENDS[0]))
    system = app.ForceField("amber14/protein.ff14SB.xml").createSystem(
        pdb.topology, constraints=app.HBonds, removeCMMotion=False
    )
    return openmm.XmlSerializer.serialize(system)


def with_force(force: str) -> str:
    return system_xml().replace("</Forces>", f"{force}</Forces>")


def python_force(code: str) -> str:
    """An element that unpickles and runs code when OpenMM reads it."""
    system = openmm.System()
    system.addForce(openmm.PythonForce(len, {}))
    text = openmm.XmlSerializer.serialize(system)
    (element,) = re.findall(r"<Force .*</Force>", text, re.S)
    return re.sub(r'function="\w+"', f'function="{pickle.dumps(Runs(code), 0).hex()}"', element)


def inside_a_collective_variable(code: str) -> str:
    outer = openmm.CustomCVForce("a")
    outer.addCollectiveVariable("a", openmm.CustomExternalForce("x"))
    system = openmm.System()
    system.addForce(outer)
    (element,) = re.findall(r"<Force .*</Force>", openmm.XmlSerializer.serialize(system), re.S)
    return re.sub(r"<Force [^>]*CustomExternalForce.*?</Force>", lambda _: python_force(code), element, flags=re.S)


def proofs(marker: Path) -> dict[str, str]:
    """Files that run a program when OpenMM reads or uses them."""
    code = program(marker)
    scales = {"coulomb14scale": "0.8333333333333334", "lj14scale": "0.5"}
    return {
        "Script": section("Script", code),
        "InitializationScript": section("InitializationScript", code),
        "an evaluated attribute": section("NonbondedForce", **scales, useDispersionCorrection=code),
        "an evaluated attribute of another force": section(
            "LennardJonesForce", lj14scale="1", useDispersionCorrection=code
        ),
        "PythonForce": with_force(python_force(code)),
        "PythonForce in a collective variable": with_force(inside_a_collective_variable(code)),
    }


def is_system(text: str) -> bool:
    return "<System" in text


def plant(folder: Path, text: str) -> Path:
    """A system folder whose force field or System is this text; returns its YAML file."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in ENDS:
        shutil.copy(file, folder)
    settings = (ALANINE / "system.yaml").read_text(encoding="utf-8").replace("reference: reference.npz", "")
    line = "  forcefield: [amber14/protein.ff14SB.xml]"
    assert line in settings
    own = f"  openmm_system: {OWN}" if is_system(text) else f"  forcefield: [amber14/protein.ff14SB.xml, {OWN}]"
    (folder / "system.yaml").write_text(settings.replace(line, own), encoding="utf-8")
    (folder / OWN).write_text(text, encoding="utf-8")
    return folder / "system.yaml"
