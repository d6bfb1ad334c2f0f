"""Files that try to run code, to read other files, or to use up the memory."""

from __future__ import annotations

import io
import pickle
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openmm
import yaml
from builders import INIT, SAMPLE, Touch, base, run_of, system_xml
from family_inputs import of_out
from harness import MARKER, Case, Must
from masters import copy_run

# --- code ---------------------------------------------------------------------------------------

_RUN = f"__import__('os').system('touch {MARKER}')"
_ATOMS = "<AtomTypes><Type name='x' class='x' element='C' mass='12.0'/></AtomTypes>"
FORCEFIELDS = {
    "Script": f"<ForceField><Script>{_RUN}</Script></ForceField>",
    "InitializationScript": f"<ForceField><InitializationScript>{_RUN}</InitializationScript></ForceField>",
    "an evaluated attribute": "<ForceField><NonbondedForce coulomb14scale='0.8333333333333334' "
    f'lj14scale="0.5" useDispersionCorrection="{_RUN}"></NonbondedForce></ForceField>',
    "an evaluated attribute of LennardJonesForce": "<ForceField><LennardJonesForce lj14scale='0.5' "
    f'useDispersionCorrection="{_RUN}"></LennardJonesForce></ForceField>',
    "a Script by an include": "<ForceField><Include file='part.xml'/></ForceField>",
    "a Script by an entity": '<!DOCTYPE x [<!ENTITY e SYSTEM "part.xml">]><ForceField>&e;</ForceField>',
    "a Script in a namespace": f"<ForceField xmlns:a='b'><Script>{_RUN}</Script></ForceField>",
    "a Script behind a comment": f"<!-- --><ForceField><!-- x --><Script><![CDATA[{_RUN}]]></Script></ForceField>",
    "a patch": f"<ForceField><Patches><Patch name='p'></Patch></Patches><Script>{_RUN}</Script></ForceField>",
}
BOMBS = {
    "a billion laughs": "<!DOCTYPE x [<!ENTITY a0 'ha'>"
    + "".join(f"<!ENTITY a{k} '{f'&a{k - 1};' * 10}'>" for k in range(1, 12))
    + "]><ForceField>&a11;</ForceField>",
    "a quadratic blowup": f"<!DOCTYPE x [<!ENTITY a '{'x' * 50_000}'>]><ForceField>{'&a;' * 20_000}</ForceField>",
    "an external entity": '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><ForceField>&e;</ForceField>',
    "an include of itself": "<ForceField><Include file='m.xml'/></ForceField>",
    "an include from elsewhere": "<ForceField><Include file='/etc/passwd'/></ForceField>",
    "an include of /dev/zero": "<ForceField><Include file='/dev/zero'/></ForceField>",
    "an include of the web": "<ForceField><Include file='http://127.0.0.1:9/x.xml'/></ForceField>",
    "deep nesting": "<ForceField>" + "<a>" * 100_000 + "</a>" * 100_000 + "</ForceField>",
    "a deep expression": f'<ForceField>{_ATOMS}<CustomBondForce energy="{"(" * 20000}r{")" * 20000}"/></ForceField>',
    "another root": "<System/>",
}
"""Refused, but for a file that includes itself: it is read once."""


def _hostile_system(place: str = "Force") -> str:
    """A serialised System whose PythonForce unpickles our mark."""
    payload = pickle.dumps(Touch()).hex()
    force = (
        f'<Force forceGroup="0" function="{payload}" name="PythonForce" type="PythonForce" usesPeriodic="0" '
        'version="2">'
        "<GlobalParameters/><Particles/></Force>"
    )
    if place == "nested":  # in a force that holds others
        force = (
            '<Force forceGroup="0" name="CustomCVForce" type="CustomCVForce" version="1" energy="c"><GlobalParameters/>'
            f'<EnergyParameterDerivatives/><CollectiveVariables><CollectiveVariable name="c">{force}'
            "</CollectiveVariable></CollectiveVariables><TabulatedFunctions/></Force>"
        )
    return system_xml().replace("<Forces>", f"<Forces>{force}", 1)


def _hostile() -> Iterator[tuple[str, str, str, str, Must]]:
    """(name, file, content, what else lies there, expectation)."""
    part = f"<ForceField><Script>{_RUN}</Script></ForceField>"
    for name, text in {**FORCEFIELDS, **BOMBS}.items():
        must: Must = "either" if name == "an include of itself" else "refuse"
        yield name, "forcefield", text, part, must
    for place in ("Force", "nested"):
        yield f"a PythonForce, {place},", "openmm_system", _hostile_system(place), "", "refuse"
    yield "a System with a billion laughs", "openmm_system", BOMBS["a billion laughs"], "", "refuse"
    yield "an Integrator", "openmm_system", openmm.XmlSerializer.serialize(openmm.VerletIntegrator(1e-3)), "", "refuse"


def _code(masters: Path) -> Iterator[Case]:
    for name, key, text, part, must in _hostile():

        def prepare(box: Path, key: str = key, text: str = text, part: str = part) -> None:
            given = ["amber14/protein.ff14SB.xml", "m.xml"] if key == "forcefield" else "m.xml"
            base(box, system={"forcefield": None, key: given})
            for place in ("sys/m.xml", "m.xml"):
                (box / place).write_text(text)
                (box / place).with_name("part.xml").write_text(part)

        option = "--forcefield" if key == "forcefield" else "--system"
        first = ("--forcefield", "amber14/protein.ff14SB.xml") if key == "forcefield" else ()
        for words in (
            ("config", "sys"),
            SAMPLE,
            ("run", *SAMPLE[1:], "--stop-after", "sample"),
            ("doctor", "sys"),
            (*INIT, *first, option, "sys/m.xml"),
        ):
            yield Case("code", f"{words[0]}: {name} in {key}", words, prepare, must, of_out, None, 60)

        def strange_run(box: Path, key: str = key, text: str = text, part: str = part) -> None:
            run_of(masters, box)
            settings = yaml.safe_load((box / "run/config.yaml").read_text())
            given = ["amber14/protein.ff14SB.xml", "inputs/m.xml"] if key == "forcefield" else "inputs/m.xml"
            settings["system"] |= {"forcefield": None, key: given}
            (box / "run/config.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))
            (box / "run/inputs/m.xml").write_text(text)
            (box / "run/inputs/part.xml").write_text(part)

        for words in (
            ("report", "run"),
            ("distance", "sys/c5.pdb", "sys/c7ax.pdb", "--run", "run"),
            ("committor", "run", "--overwrite"),
            ("export", "run", "--overwrite"),
            ("run", "run/config.yaml", "-o", "run", "--resume"),
            ("config", "run/config.yaml"),
        ):
            yield Case(
                "code",
                f"{words[0]} of a stranger's run: {name} in {key}",
                words,
                strange_run,
                must,
                of_out,
                None,
                60,
            )
    yield from _pickles(masters)


def _pickles(masters: Path) -> Iterator[Case]:
    """Pickles in the files of a stranger's run."""
    files = (
        "samples.npz",
        "geodesic.npz",
        "paths.npz",
        "windows.npz",
        "torsions.npz",
        "transitions.npz",
        "surface.npz",
        "inputs/c5.pdb",
        "stages/train.json",
        "summary.json",
        "config.yaml",
    )
    for file in (*files, "denoiser.pt"):

        def prepare(box: Path, file: str = file) -> None:
            run_of(masters, box)
            if file.endswith(".npz"):
                out = io.BytesIO()
                np.savez(out, coordinates=np.array([Touch()], dtype=object))
                (box / "run" / file).write_bytes(out.getvalue())
            else:
                (box / "run" / file).write_bytes(pickle.dumps(Touch()))

        for words in (
            ("report", "run"),
            ("distance", "sys/c5.pdb", "sys/c7ax.pdb", "--run", "run"),
            ("committor", "run", "--overwrite"),
            ("export", "run", "--overwrite"),
        ):
            yield Case("code", f"{words[0]}: a pickle as {file}", words, prepare, "either", of_out, None, 60)
    for name in ("$\\frac{$", "$\\input{/etc/passwd}$", "${}$", "_^{", "a\\", "<script>alert(1)</script>", "{{7*7}}"):

        def named(box: Path, name: str = name) -> None:
            copy_run(masters, "alanine_0", box / "run")
            file = box / "run/config.yaml"
            settings = yaml.safe_load(file.read_text())
            settings["states"]["a"]["name"] = name
            file.write_text(yaml.safe_dump(settings, sort_keys=False))

        for words in (("export", "run", "--overwrite"), ("report", "run")):
            yield Case("code", f"{words[0]}: a state called {name}", words, named, "either", of_out, _no_script, 60)


def _no_script(outcome: Any, box: Path) -> str:
    """Names are text on the page, nothing more."""
    page = box / "run/report.html"
    held = page.read_text(errors="replace") if page.is_file() else ""
    return "the report holds a name as markup" if "<script>alert(1)" in held and outcome.code == 0 else ""


def cases(masters: Path, chance: random.Random) -> list[Case]:
    """All of the family."""
    del chance
    return list(_code(masters))
