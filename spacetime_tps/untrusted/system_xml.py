"""Serialised OpenMM Systems of strangers: only classes that are data."""

from __future__ import annotations

from pathlib import Path
from xml.etree.ElementTree import Element

import openmm

from spacetime_tps.errors import UserError
from spacetime_tps.untrusted.expressions import check_expression
from spacetime_tps.untrusted.trust import refused, trusted
from spacetime_tps.untrusted.xml import read_tree, text_of

_BONDED = ("HarmonicBond", "HarmonicAngle", "PeriodicTorsion", "RBTorsion", "CMAPTorsion")
_PAIRS = ("Nonbonded", "GBSAOBC", "GayBerne", "LCPO", "Drude", "HippoNonbonded", "ConstantPotential")
_AMOEBA = ("AmoebaGeneralizedKirkwood", "AmoebaMultipole", "AmoebaTorsionTorsion", "AmoebaVdw", "AmoebaWcaDispersion")
_CUSTOM = (
    *("CustomAngle", "CustomBond", "CustomCV", "CustomCentroidBond", "CustomCompoundBond", "CustomExternal"),
    *("CustomGB", "CustomHbond", "CustomManyParticle", "CustomNonbonded", "CustomTorsion", "CustomVolume", "ATM"),
)
_COLLECTIVE = ("RMSD", "RG", "OrientationRestraint")
_ENSEMBLE = (
    *("CMMotionRemover", "AndersenThermostat", "MonteCarloBarostat", "MonteCarloAnisotropicBarostat"),
    *("MonteCarloFlexibleBarostat", "MonteCarloMembraneBarostat", "RPMDMonteCarloBarostat"),
)
"""Refused or removed later, with a reason of their own."""
_TABLES = {f"{kind}{dimension}DFunction" for kind in ("Continuous", "Discrete") for dimension in (1, 2, 3)}
FORCES = {*(f"{name}Force" for name in (*_BONDED, *_PAIRS, *_AMOEBA, *_CUSTOM, *_COLLECTIVE)), *_ENSEMBLE}
_WORDS = {"fixed", "offset"}
"""Of particles in an ATMForce; no classes."""


def read_system_xml(file: Path) -> object:
    """What a file of ``openmm.XmlSerializer`` holds, a System if it is what it should be.

    OpenMM makes an object of whatever class an element names in its attribute ``type``, at any depth. ``PythonForce``
    is one of them: it unpickles a function, and unpickling runs code. Plugins bring others, which may load programs.

    Raises:
        ValueError: the file is not whole XML, or OpenMM cannot read it.
        UserError: it is not a System, or holds a class that is not known to be data, or an expression out of bounds.
    """
    if trusted():
        return openmm.XmlSerializer.deserialize(file.read_text(encoding="utf-8"))
    root = read_tree(file)
    if (kind := root.get("type")) != "System":
        raise UserError(f"{file} holds {'an OpenMM ' + kind[:60] if kind else 'no OpenMM object'}, not a System.")
    for element in root.iter():
        if element is not root:
            _check(file, element)
    return openmm.XmlSerializer.deserialize(text_of(root))


def _check(file: Path, element: Element) -> None:
    kind = element.get("type")
    if kind is not None and kind not in FORCES | _TABLES | _WORDS and not kind.lstrip("-").isdecimal():
        what = "which runs code of its own" if kind == "PythonForce" else "which is not known to be plain data"
        raise refused(file, f"a force or function of the class {kind[:60]!r}, {what}")
    for name in ("energy", "expression"):
        if name in element.attrib:
            try:
                check_expression(element.attrib[name])
            except ValueError as error:
                raise refused(file, str(error)) from error
