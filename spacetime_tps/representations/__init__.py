"""How configurations are described: features, matching restraints, charts of curves."""

from spacetime_tps.representations.base import Channel, Representation, Restraint
from spacetime_tps.representations.identity import Identity
from spacetime_tps.representations.linear import AtomAxes, Cartesian, Components, TorsionAxes
from spacetime_tps.representations.torsions import Torsions, dihedral_angles, undefined_torsions, wrap

Molecular = Torsions | Components | Cartesian
"""The representations of a molecule."""

__all__ = [
    "AtomAxes",
    "Cartesian",
    "Channel",
    "Components",
    "Identity",
    "Molecular",
    "Representation",
    "Restraint",
    "TorsionAxes",
    "Torsions",
    "dihedral_angles",
    "undefined_torsions",
    "wrap",
]
