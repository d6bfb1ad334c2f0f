"""Files that are given to a command: spoilt, strange, or made to run code."""

from __future__ import annotations

import io
import pickle
import random
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import damage
import mdtraj
import numpy as np
import openmm
import yaml
from harness import MARKER, Case, Must
from masters import ALANINE, copy_run
from openmm import app

from spacetime_tps.systems import System, load_config, load_system, systems_folder

HERE = systems_folder() / "alanine_dipeptide"
_AMBER = Path(__file__).resolve().parents[2] / "tests/preparation/data"
SAMPLE = ("sample", "sys", "-o", "out")
INIT = ("init", "sys/c5.pdb", "sys/c7ax.pdb", "-o", "new", "--workers", "1")
Edit = Callable[[Path], None]


@cache
def _system() -> System:
    return load_system(load_config(HERE / "system.yaml"), HERE)


@cache
def _xml() -> str:
    molecule = _system().molecule
    assert molecule is not None
    return molecule.dynamics.system_xml


@cache
def _settings() -> str:
    config = load_config(HERE / "system.yaml", seed=0, overrides=ALANINE)
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


@cache
def _frames() -> np.ndarray:
    """Frames about either end, shape (2, 30, 22, 3) [nm]."""
    noise = np.random.default_rng(1).normal(0, 0.003, (2, 30, 22, 3))
    return (_system().structures[:, None] + noise).astype(np.float32)


def _topology() -> mdtraj.Topology:
    molecule = _system().molecule
    assert molecule is not None
    return mdtraj.Topology.from_openmm(molecule.topology)


def save(path: Path, frames: np.ndarray) -> None:
    """A trajectory in the format of its name."""
    topology = _topology()
    if frames.shape[1] != topology.n_atoms:
        topology = topology.subset(range(frames.shape[1]))
    mdtraj.Trajectory(frames.astype(np.float32), topology).save(str(path))


def base(box: Path, **changes: Any) -> None:
    """The system folder ``sys`` of a tiny run of alanine dipeptide; ``changes`` are sections."""
    folder = box / "sys"
    folder.mkdir()
    for file in ("c5.pdb", "c7ax.pdb"):
        (folder / file).write_bytes((HERE / file).read_bytes())
    settings = yaml.safe_load(_settings())
    for key, value in changes.items():
        settings[key] = value if not isinstance(value, dict) or "kind" in value else {**settings[key], **value}
    (folder / "system.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))


def amber(box: Path) -> None:
    """Described by an Amber topology."""
    base(box, system={"forcefield": None, "prmtop": "m.prmtop"})
    (box / "sys/m.prmtop").write_bytes((_AMBER / "alanine_dipeptide.prmtop").read_bytes())


def serialised(box: Path) -> None:
    """Described by a serialised System."""
    base(box, system={"forcefield": None, "openmm_system": "m.xml", "hydrogen_mass": None})
    (box / "sys/m.xml").write_text(_xml())


def own_forcefield(box: Path) -> None:
    """Described by a force field file of one's own."""
    base(box, system={"forcefield": ["m.xml"]})
    source = Path(app.__file__).parent / "data/amber14/protein.ff14SB.xml"
    (box / "sys/m.xml").write_bytes(source.read_bytes())


def referenced(box: Path) -> None:
    """With a reference surface."""
    base(box, reference="reference.npz")
    (box / "sys/reference.npz").write_bytes((HERE / "reference.npz").read_bytes())


def trajectories(box: Path, suffix: str = "dcd", weights: bool = True) -> None:
    """Samples from two trajectories with weights."""
    sampling: dict[str, Any] = {"kind": "trajectories", "files": [f"t0.{suffix}", f"t1.{suffix}"]}
    if weights:
        sampling |= {"weights": ["w0.dat", "w1.dat"], "weights_are": "log_weight"}
    base(box, sampling=sampling)
    for k, frames in enumerate(_frames()):
        save(box / f"sys/t{k}.{suffix}", frames)
        (box / f"sys/w{k}.dat").write_text("".join(f"{0.01 * j}\n" for j in range(len(frames))))


def _run_of(masters: Path, box: Path) -> None:
    base(box)
    copy_run(masters, "alanine_0", box / "run")
    save(box / "frames.dcd", _frames()[0][:3])
    save(box / "path.dcd", np.concatenate([_frames()[0][:3], _frames()[1][:3]]))


def _spoilt(masters: Path, chance: random.Random) -> Iterator[Case]:
    """Every kind of file by every way, under every verb that reads it."""
    within = ("run",)
    kinds: list[tuple[str, str, Edit, tuple[tuple[str, ...], ...]]] = [
        ("structure", "sys/c5.pdb", base, (("config", "sys"), INIT, ("distance", "sys/c5.pdb", "sys/c7ax.pdb", "--run", "run"))),
        ("second structure", "sys/c7ax.pdb", base, (SAMPLE, INIT)),
        ("mmCIF", "sys/c5.cif", _with_cif, (("init", "sys/c5.cif", *INIT[2:]),)),
        ("Amber topology", "sys/m.prmtop", amber, (("config", "sys"), (*INIT, "--prmtop", "sys/m.prmtop"))),
        ("System", "sys/m.xml", serialised, (("config", "sys"), (*INIT, "--system", "sys/m.xml"))),
        ("force field", "sys/m.xml", own_forcefield, (("config", "sys"), (*INIT, "--forcefield", "sys/m.xml"))),
        ("reference", "sys/reference.npz", referenced, (("config", "sys"), SAMPLE)),
        ("DCD", "sys/t0.dcd", trajectories, (SAMPLE,)),
        ("XTC", "sys/t0.xtc", lambda box: trajectories(box, "xtc"), (SAMPLE,)),
        ("weights", "sys/w0.dat", trajectories, (SAMPLE,)),
        ("system file", "sys/system.yaml", base, (("config", "sys"), SAMPLE, ("doctor", "sys"))),
        ("frames", "frames.dcd", base, (("committor", *within, "--frames", "frames.dcd", "--overwrite"),)),
        ("first path", "path.dcd", base, (("shoot", *within, "--from", "path.dcd", "--overwrite"),)),
    ]  # fmt: skip
    for kind, file, fill, verbs in kinds:
        for words in verbs:
            ways = [*damage.replacements(), *((*way, 60.0) for way in damage.contents(chance, 6))]
            for name, spoil, must, seconds in ways:
                if kind in ("XTC", "weights", "first path", "frames") and name.startswith(("is cut", "is UTF")):
                    must = "either"  # what is left may be a shorter file of its own right
                if words[0] == "init":
                    seconds = max(seconds, 20)
                yield Case("inputs", f"{words[0]}: the {kind} {name}", words,
                           _prepared(masters, fill, file, spoil, words), must, _of_out, None, seconds + 60 * (seconds > 30))  # fmt: skip


def _of_out(name: str) -> bool:
    return name.split("/")[0] in ("out", "new", "run")


def _prepared(masters: Path, fill: Edit, file: str, spoil: Edit, words: tuple[str, ...]) -> Edit:
    def prepare(box: Path) -> None:
        if "run" in words:
            _run_of(masters, box)
        else:
            fill(box)
        spoil(box / file)

    return prepare


def _with_cif(box: Path) -> None:
    base(box)
    pdb = app.PDBFile(str(HERE / "c5.pdb"))
    with (box / "sys/c5.cif").open("w") as handle:
        app.PDBxFile.writeFile(pdb.topology, pdb.positions, handle, keepIds=True)


# --- structures ---------------------------------------------------------------------------------


def _coordinates(change: Callable[[np.ndarray], np.ndarray]) -> Edit:
    def edit(file: Path) -> None:
        lines = file.read_text().splitlines()
        rows = [k for k, line in enumerate(lines) if line.startswith(("ATOM", "HETATM"))]
        places = np.array([[float(lines[k][a : a + 8]) for a in (30, 38, 46)] for k in rows])
        for k, place in zip(rows, change(places), strict=True):
            lines[k] = lines[k][:30] + "".join(f"{x:8.3f}"[:8] for x in place) + lines[k][54:]
        file.write_text("\n".join(lines) + "\n")

    return edit


def _lines(change: Callable[[list[str]], list[str]]) -> Edit:
    def edit(file: Path) -> None:
        lines = file.read_text().splitlines()
        atoms = [line for line in lines if line.startswith(("ATOM", "HETATM"))]
        others = [line for line in lines if line.startswith("CONECT")]
        file.write_text("\n".join([*change(atoms), *others, "END"]) + "\n")

    return edit


def _at(rows: slice | int, value: Any) -> Callable[[np.ndarray], np.ndarray]:
    def change(places: np.ndarray) -> np.ndarray:
        changed = places.copy()
        changed[rows] = value
        return changed

    return change


STRUCTURES: dict[str, tuple[Edit, Must]] = {
    "scaled by ten": (_coordinates(lambda x: 10 * x), "refuse"),
    "scaled by a tenth": (_coordinates(lambda x: x / 10), "refuse"),
    "scaled by two": (_coordinates(lambda x: 2 * x), "refuse"),
    "flattened": (_coordinates(lambda x: x * [1, 1, 0]), "refuse"),
    "on a line": (_coordinates(lambda x: x * [1, 0, 0]), "refuse"),
    "all in one place": (_coordinates(lambda x: 0 * x), "refuse"),
    "with two atoms in one place": (_coordinates(lambda x: _at(7, x[4])(x)), "refuse"),
    "with two atoms that nearly overlap": (_coordinates(lambda x: _at(7, x[4] + 0.02)(x)), "refuse"),
    "with one atom far away": (_coordinates(_at(7, [90.0, 90.0, 90.0])), "refuse"),
    "with NaN": (_coordinates(_at(3, np.nan)), "refuse"),
    "with infinity": (_coordinates(_at(3, np.inf)), "refuse"),
    "with huge numbers": (_coordinates(_at(3, 9_999_999.0)), "refuse"),
    "of noise": (_coordinates(lambda x: np.random.default_rng(0).normal(0, 3, x.shape)), "refuse"),
    "mirrored": (_coordinates(lambda x: x * [1, 1, -1]), "refuse"),
    "moved": (_coordinates(lambda x: x + 50), "either"),
    "in reverse order": (_lines(lambda atoms: atoms[::-1]), "refuse"),
    "without an atom": (_lines(lambda atoms: atoms[:5] + atoms[6:]), "refuse"),
    "with an atom twice": (_lines(lambda atoms: [*atoms, atoms[5]]), "refuse"),
    "with one atom": (_lines(lambda atoms: atoms[:1]), "refuse"),
    "without atoms": (_lines(lambda atoms: []), "refuse"),
    "with two models": (lambda f: f.write_text(f"MODEL 1\n{f.read_text()}ENDMDL\nMODEL 2\n{f.read_text()}ENDMDL\n"), "either"),
    "with an unknown element": (_lines(lambda atoms: [a[:76] + "Xx" + a[78:] for a in atoms]), "either"),
    "with an unknown residue": (_lines(lambda atoms: [a.replace("ALA", "QQQ") for a in atoms]), "refuse"),
    "with names of thousands": (_lines(lambda atoms: [a.replace(" CH3", "CCCC") for a in atoms]), "refuse"),
    "with an alternative": (_lines(lambda atoms: [a[:16] + "B" + a[17:] for a in atoms]), "either"),
    "in a tiny box": (lambda f: f.write_text("CRYST1    1.000    1.000    1.000  90.00  90.00  90.00 P 1\n" + f.read_text()), "either"),
    "in a box of zero": (lambda f: f.write_text("CRYST1    0.000    0.000    0.000   0.00   0.00   0.00 P 1\n" + f.read_text()), "either"),
}  # fmt: skip


def _structures() -> Iterator[Case]:
    for name, (edit, must) in STRUCTURES.items():
        for words in (SAMPLE, INIT):
            for which in ("c5", "c7ax", "both"):
                expected: Must = "either" if which == "both" and must == "refuse" and name in _SAME_TWICE else must
                if (words is INIT and name in ("mirrored", "in reverse order")) or (name in _MENDED and words is INIT):
                    expected = "either"

                def prepare(box: Path, which: str = which, edit: Edit = edit) -> None:
                    base(box)
                    for end in ("c5", "c7ax") if which == "both" else (which,):
                        edit(box / f"sys/{end}.pdb")

                yield Case(
                    "inputs", f"{words[0]}: structure {name}, {which}", words, prepare, expected, _of_out, None, 120
                )


_SAME_TWICE = {"mirrored", "in reverse order"}
_MENDED = {"without an atom", "with two atoms that nearly overlap"}


# --- trajectories -------------------------------------------------------------------------------


def _frame(k: int, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    def edit(frames: np.ndarray) -> np.ndarray:
        changed = frames.copy()
        changed[k] = change(frames[k])
        return changed

    return edit


_MIRROR = np.array([1, 1, -1], dtype=np.float32)
TRAJECTORIES: dict[str, tuple[Callable[[np.ndarray], np.ndarray], Must]] = {
    **{f"with frame {k} {what}": (_frame(k, change), "refuse") for k in (0, 7, 29) for what, change in {
        "exploded": lambda x: 10 * x,
        "of noise": lambda x: np.random.default_rng(0).normal(0, 0.5, x.shape),
        "zeroed": lambda x: 0 * x,
        "in reverse order": lambda x: x[::-1],
        "with two atoms exchanged": lambda x: x[[1, 4, 2, 3, 0, *range(5, len(x))]],
        "mirrored": lambda x: x * _MIRROR,
        "flattened": lambda x: x * [1, 1, 0],
        "NaN": lambda x: np.nan * x,
        "infinite": lambda x: np.inf + x,
        "with one atom away": lambda x: x + 5.0 * (np.arange(len(x)) == 9)[:, None],
        "with one hydrogen away": lambda x: x + 1.0 * (np.arange(len(x)) == len(x) - 1)[:, None],
        "with atoms in one place": lambda x: np.concatenate([x[:1], x[:1], x[2:]]),
    }.items()},
    "mirrored": (lambda x: x * _MIRROR, "refuse"),
    "in angstroms": (lambda x: 10 * x, "refuse"),
    "scaled down": (lambda x: x / 10, "refuse"),
    "in reverse order": (lambda x: x[:, ::-1], "refuse"),
    "of one frame": (lambda x: x[:1], "either"),
    "of one frame again and again": (lambda x: np.repeat(x[:1], 30, axis=0), "either"),
    "without an atom": (lambda x: x[:, :-1], "refuse"),
    "of zeros": (lambda x: 0 * x, "refuse"),
}  # fmt: skip


def _trajectories() -> Iterator[Case]:
    for suffix in ("dcd", "xtc"):
        for name, (edit, must) in TRAJECTORIES.items():
            if suffix == "xtc" and ("NaN" in name or "infinite" in name):
                continue  # the format holds whole numbers

            def prepare(box: Path, suffix: str = suffix, edit: Any = edit) -> None:
                trajectories(box, suffix)
                save(box / f"sys/t0.{suffix}", edit(_frames()[0]))
                if len(edit(_frames()[0])) == 1:
                    (box / "sys/w0.dat").write_text("0.0\n")

            yield Case("inputs", f"sample: {suffix} {name}", SAMPLE, prepare, must, _of_out, None, 120)
    lists: dict[str, tuple[list[str], Must]] = {
        "as it is": (["t0.dcd", "t1.dcd"], "either"), "a file twice": (["t0.dcd", "t0.dcd"], "refuse"),
        "a file by two names": (["t0.dcd", "./t0.dcd"], "refuse"), "a pattern and a file": (["t*.dcd", "t1.dcd"], "refuse"),
        "a link to a file": (["t0.dcd", "link.dcd"], "refuse"), "a copy of a file": (["t0.dcd", "copy.dcd"], "refuse"),
        "no such file": (["no.dcd"], "refuse"), "a pattern of nothing": (["no*.dcd"], "refuse"),
        "another extension": (["t0.txt", "t1.dcd"], "refuse"), "a wrong extension": (["t0.xtc", "t1.dcd"], "refuse"),
        "a folder": (["."], "refuse"), "a NUL": (["a\0b"], "refuse"), "an absolute pattern": (["/dev/ze*"], "refuse"),
        "every file": (["*"], "refuse"), "everything below": (["**"], "refuse"),
    }  # fmt: skip
    for name, (files, must) in lists.items():

        def prepare(box: Path, files: list[str] = files) -> None:
            trajectories(box, weights=False)
            for copy in ("copy.dcd", "t0.txt", "t0.xtc"):
                (box / "sys" / copy).write_bytes((box / "sys/t0.dcd").read_bytes())
            (box / "sys/link.dcd").symlink_to("t0.dcd")
            settings = yaml.safe_load((box / "sys/system.yaml").read_text())
            settings["sampling"]["files"] = files
            (box / "sys/system.yaml").write_text(yaml.safe_dump(settings))

        yield Case("inputs", f"sample: trajectories: {name}", SAMPLE, prepare, must, _of_out, None, 120)


# --- numbers in files ---------------------------------------------------------------------------


def _arrays(**changes: Any) -> Edit:
    def edit(file: Path) -> None:
        with np.load(file) as archive:
            held = {name: archive[name] for name in archive.files if name != "sha256"}
        for name, change in changes.items():
            if change is None:
                held.pop(name)
            else:
                held[name] = change(held[name]) if callable(change) else change
        np.savez(file, **held)

    return edit


class Touch:
    """Unpickled, it leaves a mark."""

    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.system, (f"touch {MARKER}",)


REFERENCES: dict[str, tuple[Edit, Must]] = {
    **{f"without {name}": (_arrays(**{name: None}), "either") for name in ("free_energy", "origin", "spacing", "names", "kt")},
    "of NaN": (_arrays(free_energy=lambda f: np.nan * f), "refuse"),
    "of infinity": (_arrays(free_energy=lambda f: np.inf + f), "refuse"),
    "of 1e300": (_arrays(free_energy=lambda f: 1e300 + f), "refuse"),
    "of zeros": (_arrays(free_energy=lambda f: 0 * f), "either"),
    "of text": (_arrays(free_energy=np.full((36, 36), "x")), "refuse"),
    "of complex numbers": (_arrays(free_energy=lambda f: f + 1j), "refuse"),
    "of one number": (_arrays(free_energy=np.array(1.0)), "refuse"),
    "of one row": (_arrays(free_energy=lambda f: f[:1]), "refuse"),
    "of nothing": (_arrays(free_energy=np.zeros((0, 36))), "refuse"),
    "of five dimensions": (_arrays(free_energy=np.zeros((2, 2, 2, 2, 2))), "refuse"),
    "of objects": (_arrays(free_energy=np.array([Touch()], dtype=object)), "refuse"),
    "with kT zero": (_arrays(kt=np.array(0.0)), "refuse"),
    "with kT NaN": (_arrays(kt=np.array(np.nan)), "refuse"),
    "with a spacing of zero": (_arrays(spacing=lambda s: 0 * s), "refuse"),
    "with other names": (_arrays(names=np.array(["a", "b"])), "refuse"),
    **{f"of declared shape {shape} {kind}": (
        lambda file, shape=shape, kind=kind: file.write_bytes(damage.npz_with_shape(shape, kind)), "refuse")
       for shape in ("(10**20,)", "(100000000000000000000,)", "(100000000000,)", "(-1,)", "(1000000, 1000000)", "(0,)", "()",
                     "(2147483648, 2147483648, 4)", "'x'", "None")
       for kind in ("<f8", "|O", "<U1000000000")},
}  # fmt: skip
WEIGHTS: dict[str, tuple[str, Must]] = {
    "NaN": ("nan\n" * 30, "refuse"), "infinity": ("inf\n" * 30, "refuse"), "1e300": ("1e300\n" * 30, "refuse"),
    "one of 1e300": ("0\n" * 29 + "1e300\n", "refuse"), "one of 1e6": ("0\n" * 29 + "1e6\n", "either"),
    "too few": ("0\n" * 29, "refuse"), "too many": ("0\n" * 31, "refuse"), "text": ("x\n" * 30, "refuse"),
    "two columns": ("0 1\n" * 30, "refuse"), "comments": ("# 0\n" * 30, "refuse"), "commas": ("0,5\n" * 30, "refuse"),
    "hex": ("0x1p3\n" * 30, "refuse"), "underscores": ("1_0\n" * 30, "either"), "long": ("9" * 5000 + "\n" * 30, "refuse"),
}  # fmt: skip


def _numbers() -> Iterator[Case]:
    for name, (edit, must) in REFERENCES.items():

        def prepare(box: Path, edit: Edit = edit) -> None:
            referenced(box)
            edit(box / "sys/reference.npz")

        yield Case("inputs", f"config: reference {name}", ("config", "sys"), prepare, must, seconds=40)
    for name, (text, must) in WEIGHTS.items():

        def weigh(box: Path, text: str = text) -> None:
            trajectories(box)
            (box / "sys/w0.dat").write_text(text)

        yield Case("inputs", f"sample: weights: {name}", SAMPLE, weigh, must, _of_out, None, 120)


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
}  # fmt: skip
BOMBS = {
    "a billion laughs": "<!DOCTYPE x [<!ENTITY a0 'ha'>"
    + "".join(f"<!ENTITY a{k} '{f'&a{k - 1};' * 10}'>" for k in range(1, 12)) + "]><ForceField>&a11;</ForceField>",
    "a quadratic blowup": f"<!DOCTYPE x [<!ENTITY a '{'x' * 50_000}'>]><ForceField>{'&a;' * 20_000}</ForceField>",
    "an external entity": '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><ForceField>&e;</ForceField>',
    "an include of itself": "<ForceField><Include file='m.xml'/></ForceField>",
    "an include from elsewhere": "<ForceField><Include file='/etc/passwd'/></ForceField>",
    "an include of /dev/zero": "<ForceField><Include file='/dev/zero'/></ForceField>",
    "an include of the web": "<ForceField><Include file='http://127.0.0.1:9/x.xml'/></ForceField>",
    "deep nesting": "<ForceField>" + "<a>" * 100_000 + "</a>" * 100_000 + "</ForceField>",
    "a deep expression": f"<ForceField>{_ATOMS}<CustomBondForce energy=\"{'(' * 20000}r{')' * 20000}\"/></ForceField>",
    "another root": "<System/>",
}  # fmt: skip
"""Refused, whatever they are."""


def _hostile_system(place: str = "Force") -> str:
    """A serialised System whose PythonForce unpickles our mark."""
    payload = pickle.dumps(Touch()).hex()
    force = (
        f'<Force forceGroup="0" function="{payload}" name="PythonForce" type="PythonForce" usesPeriodic="0" version="2">'
        "<GlobalParameters/><Particles/></Force>"
    )
    if place == "nested":  # in a force that holds others
        force = (
            '<Force forceGroup="0" name="CustomCVForce" type="CustomCVForce" version="1" energy="c"><GlobalParameters/>'
            f'<EnergyParameterDerivatives/><CollectiveVariables><CollectiveVariable name="c">{force}'
            "</CollectiveVariable></CollectiveVariables><TabulatedFunctions/></Force>"
        )
    return _xml().replace("<Forces>", f"<Forces>{force}", 1)


def _hostile() -> Iterator[tuple[str, str, str, str, Must]]:
    """(name, file, content, what else lies there, expectation)."""
    part = f"<ForceField><Script>{_RUN}</Script></ForceField>"
    for name, text in {**FORCEFIELDS, **BOMBS}.items():
        yield name, "forcefield", text, part, "refuse"
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
        for words in (("config", "sys"), SAMPLE, ("run", *SAMPLE[1:], "--stop-after", "sample"), ("doctor", "sys"),
                      (*INIT, *first, option, "sys/m.xml")):  # fmt: skip
            yield Case("inputs", f"{words[0]}: {name} in {key}", words, prepare, must, _of_out, None, 60)

        def strange_run(box: Path, key: str = key, text: str = text, part: str = part) -> None:
            _run_of(masters, box)
            settings = yaml.safe_load((box / "run/config.yaml").read_text())
            given = ["amber14/protein.ff14SB.xml", "inputs/m.xml"] if key == "forcefield" else "inputs/m.xml"
            settings["system"] |= {"forcefield": None, key: given}
            (box / "run/config.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))
            (box / "run/inputs/m.xml").write_text(text)
            (box / "run/inputs/part.xml").write_text(part)

        for words in (("report", "run"), ("distance", "sys/c5.pdb", "sys/c7ax.pdb", "--run", "run"), ("committor", "run", "--overwrite"),
                      ("export", "run", "--overwrite"), ("run", "run/config.yaml", "-o", "run", "--resume"), ("config", "run/config.yaml")):  # fmt: skip
            yield Case(
                "inputs",
                f"{words[0]} of a stranger's run: {name} in {key}",
                words,
                strange_run,
                must,
                _of_out,
                None,
                60,
            )
    yield from _pickles(masters)


def _pickles(masters: Path) -> Iterator[Case]:
    """Pickles in the files of a stranger's run."""
    files = ("samples.npz", "geodesic.npz", "paths.npz", "windows.npz", "torsions.npz", "transitions.npz", "surface.npz",
             "inputs/c5.pdb", "stages/train.json", "summary.json", "config.yaml")  # fmt: skip
    for file in (*files, "denoiser.pt"):

        def prepare(box: Path, file: str = file) -> None:
            _run_of(masters, box)
            if file.endswith(".npz"):
                out = io.BytesIO()
                np.savez(out, coordinates=np.array([Touch()], dtype=object))
                (box / "run" / file).write_bytes(out.getvalue())
            else:
                (box / "run" / file).write_bytes(pickle.dumps(Touch()))

        for words in (("report", "run"), ("distance", "sys/c5.pdb", "sys/c7ax.pdb", "--run", "run"),
                      ("committor", "run", "--overwrite"), ("export", "run", "--overwrite")):  # fmt: skip
            yield Case("inputs", f"{words[0]}: a pickle as {file}", words, prepare, "either", _of_out, None, 60)
    for name in ("$\\frac{$", "$\\input{/etc/passwd}$", "${}$", "_^{", "a\\", "<script>alert(1)</script>", "{{7*7}}"):

        def named(box: Path, name: str = name) -> None:
            copy_run(masters, "alanine_0", box / "run")
            file = box / "run/config.yaml"
            settings = yaml.safe_load(file.read_text())
            settings["states"]["a"]["name"] = name
            file.write_text(yaml.safe_dump(settings, sort_keys=False))

        for words in (("export", "run", "--overwrite"), ("report", "run")):
            yield Case("inputs", f"{words[0]}: a state called {name}", words, named, "either", _of_out, _no_script, 60)


def _no_script(outcome: Any, box: Path) -> str:
    """Names are text on the page, nothing more."""
    page = box / "run/report.html"
    held = page.read_text(errors="replace") if page.is_file() else ""
    return "the report holds a name as markup" if "<script>alert(1)" in held and outcome.code == 0 else ""


def cases(masters: Path, chance: random.Random) -> list[Case]:
    """All of the family."""
    return [*_spoilt(masters, chance), *_structures(), *_trajectories(), *_numbers(), *_code(masters)]
