"""OpenMM force fields: those that are installed by their names, those of strangers as data only."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element

from openmm import app

from spacetime_tps import plugins
from spacetime_tps.errors import UserError, explained
from spacetime_tps.untrusted.expressions import check_expression
from spacetime_tps.untrusted.trust import refused, trusted
from spacetime_tps.untrusted.xml import read_tree, shown, text_of

_FORCES = {
    *("HarmonicBondForce", "HarmonicAngleForce", "PeriodicTorsionForce", "RBTorsionForce", "CMAPTorsionForce"),
    *("NonbondedForce", "LennardJonesForce", "GBSAOBCForce", "DrudeForce", "CustomBondForce", "CustomAngleForce"),
    *("CustomTorsionForce", "CustomNonbondedForce", "CustomGBForce", "CustomHbondForce", "CustomManyParticleForce"),
}
"""Whose parsers read numbers, names and expressions; those of AMOEBA put attributes into expressions of their own."""
_SECTIONS = {"AtomTypes", "Residues", "Patches", "Include", "Info", *_FORCES}
_PARTS = {
    *("Type", "Residue", "Patch", "Atom", "Bond", "ExternalBond", "VirtualSite", "Constraint", "AllowPatch"),
    *("AddAtom", "ChangeAtom", "RemoveAtom", "AddBond", "RemoveBond", "AddExternalBond", "RemoveExternalBond"),
    *("ApplyToResidue", "Angle", "Proper", "Improper", "Torsion", "Map", "NBFixPair", "UseAttributeFromResidue"),
    *("Particle", "Donor", "Acceptor", "Function", "TypeFilter", "GlobalParameter", "PerBondParameter"),
    *("PerAngleParameter", "PerTorsionParameter", "PerParticleParameter", "PerDonorParameter"),
    *("PerAcceptorParameter", "ComputedValue", "EnergyTerm"),
}
_SCRIPTS = {"Script", "InitializationScript"}
_EVALUATED, _LITERALS = "useDispersionCorrection", {"True", "False", "0", "1"}
"""The attribute that OpenMM 8 evaluates as Python, and what may stand there."""
_MOST_FILES = 100


def data_folders() -> list[Path]:
    """Where OpenMM looks for force fields by name: its own folder, and those that installed packages register."""
    found = [Path(app.__file__).parent / "data"]
    for point in plugins.installed("openmm.forcefielddir"):
        try:
            found.append(Path(plugins.imported(point)()))
        except Exception:  # OpenMM passes over these, too
            continue
    return [folder.resolve() for folder in found if folder.is_dir()]


def read_forcefield(files: Iterable[Path | str]) -> app.ForceField:
    """Load a force field.

    Args:
        files: paths of files, or names (text) of installed ones such as ``amber14/protein.ff14SB.xml``. A name is never
            looked up in the working folder, as OpenMM does.

    Raises:
        ValueError: a file is missing or no XML.
        UserError: a file that is not an installed one holds code, something that is not known to be data, an expression
            out of bounds, or an include from elsewhere.
    """
    found = [_located(file) for file in files]
    if trusted():
        return app.ForceField(*(str(file) for file in found))
    return app.ForceField(*_sources(found))


def files_beside(file: Path) -> list[Path]:
    """The files in its own folder that a force field includes, and those that these include: a copy of it needs them.

    Raises:
        UserError: one of them is not XML, or they are too many.
    """
    folders, found = data_folders(), [file]
    for each in found:  # grows while it is gone through
        if len(found) > _MOST_FILES:
            raise UserError(f"The force field {file} includes more than {_MOST_FILES} files; join them.")
        with explained(f"{each} cannot be read as a force field"):
            root = read_tree(each)
        for include in root.findall("Include"):
            inside = _inside(each.parent, include.get("file", ""))
            if (
                inside is not None
                and not _belongs(inside, folders)
                and all(inside != other.resolve() for other in found)
            ):
                found.append(inside)
    return found[1:]


def _located(file: Path | str) -> Path:
    if isinstance(file, Path):
        return file
    for folder in data_folders():
        if (inside := _inside(folder, file)) is not None:
            return inside
    raise ValueError(f"{file} is neither a file beside the system nor a force field that OpenMM has")


def _inside(folder: Path, name: str) -> Path | None:
    """The file of that name in a folder; None if there is none, or the name or a link leads out of the folder."""
    if not name or "\0" in name or Path(name).is_absolute() or ".." in Path(name).parts:
        return None
    file = (folder / name).resolve()
    return file if file.is_file() and file.is_relative_to(folder.resolve()) else None


@dataclass(frozen=True)
class _Waiting:
    file: Path
    installed: bool


def _sources(files: list[Path]) -> Iterator[io.StringIO | str]:
    """What OpenMM gets, in the order in which it would follow the includes: text, or paths of installed files."""
    folders = data_folders()
    queue = [_Waiting(file, _belongs(file, folders)) for file in files]
    for waiting in queue:  # grows while it is gone through
        if len(queue) > _MOST_FILES:
            raise ValueError(f"it includes more than {_MOST_FILES} files")
        if waiting.installed and b"<Include" not in waiting.file.read_bytes():
            yield str(waiting.file.resolve())
            continue
        root = read_tree(waiting.file)
        if not waiting.installed:
            _check(waiting.file, root)
        for include in root.findall("Include"):
            root.remove(include)
            found = _included(waiting, include.get("file", ""), folders)
            if all(found.file.resolve() != other.file.resolve() for other in queue):
                queue.append(found)
        yield io.StringIO(text_of(root))


def _belongs(file: Path, folders: list[Path]) -> bool:
    """Whether a file is an installed one, whatever name it goes by."""
    return any(file.resolve().is_relative_to(folder) for folder in folders)


def _included(waiting: _Waiting, name: str, folders: list[Path]) -> _Waiting:
    for folder in (waiting.file.parent, *folders):
        if (found := _inside(folder, name)) is not None:
            return _Waiting(found, _belongs(found, folders))
    raise UserError(
        f"{waiting.file} includes {name[:200]!r}, which is neither a file in its own folder nor one of OpenMM's force "
        "fields; put it beside the file."
    )


def _check(file: Path, root: Element) -> None:
    """Refuse whatever is not known to be data."""
    if root.tag != "ForceField":
        raise UserError(f"{file} is not a force field: it holds <{shown(root)}>, where <ForceField> is expected.")
    for section in root:
        if section.tag == "Info":
            section.clear()  # for people, and OpenMM passes over it
        _check_element(file, section, _SECTIONS)
        for part in section.iter():
            if part is not section:
                _check_element(file, part, _PARTS)


def _check_element(file: Path, element: Element, known: set[str]) -> None:
    name = shown(element)
    if element.tag in _SCRIPTS:
        raise refused(file, f"a <{name}>, which OpenMM would run as a program")
    if element.tag not in known:
        raise refused(file, f"the element <{name}>, which is not known to be plain data")
    if (value := element.get(_EVALUATED)) is not None and value not in _LITERALS:
        raise refused(
            file, f"a {_EVALUATED} of <{name}> that is not True or False, and OpenMM would run it as a program"
        )
    inside = element.text if element.tag in ("ComputedValue", "EnergyTerm") else None
    for expression in (element.get("energy"), element.get("expression"), inside):
        if expression is not None:
            try:
                check_expression(expression)
            except ValueError as error:
                raise refused(file, f"in <{name}> {error}") from error
