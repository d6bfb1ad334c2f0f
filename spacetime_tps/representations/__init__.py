"""How configurations are described: features, matching restraints, charts of curves."""

from spacetime_tps.representations.base import Channel, Representation, Restraint
from spacetime_tps.representations.cartesian import AtomAxes, Cartesian
from spacetime_tps.representations.components import Components, TorsionAxes
from spacetime_tps.representations.identity import Identity
from spacetime_tps.representations.molecular import Molecular, held_in
from spacetime_tps.representations.superposition import centered, superposed
from spacetime_tps.representations.torsions import Torsions, dihedral_angles, undefined_torsions, wrap

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
    "centered",
    "dihedral_angles",
    "held_in",
    "superposed",
    "undefined_torsions",
    "wrap",
]
