"""How configurations are described: features, matching restraints, charts of curves."""

from spacetime_tps.representations.base import Channel, Representation
from spacetime_tps.representations.identity import Identity
from spacetime_tps.representations.torsions import Torsions, dihedral_angles, undefined_torsions, wrap

__all__ = ["Channel", "Identity", "Representation", "Torsions", "dihedral_angles", "undefined_torsions", "wrap"]
