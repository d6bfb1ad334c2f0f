"""Analytic energies in torch, in reduced units, and tabulated free-energy surfaces."""

from spacetime_tps.potentials.base import Potential
from spacetime_tps.potentials.double_well import DoubleWell
from spacetime_tps.potentials.mueller_brown import MuellerBrown
from spacetime_tps.potentials.surface import FreeEnergySurface
from spacetime_tps.potentials.table import TablePotential

POTENTIALS: dict[str, type[Potential]] = {"mueller_brown": MuellerBrown, "double_well": DoubleWell}

__all__ = ["POTENTIALS", "DoubleWell", "FreeEnergySurface", "MuellerBrown", "Potential", "TablePotential"]
