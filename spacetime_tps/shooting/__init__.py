"""Transition path sampling by shooting: Monte Carlo in the space of unguided trajectories between the two states.

Dellago, Bolhuis, Csajka and Chandler, J. Chem. Phys. 108, 1964 (1998); flexible lengths: van Erp, Moroni and Bolhuis,
J. Chem. Phys. 118, 7762 (2003); one-way shooting: Bolhuis, J. Phys. Condens. Matter 15, S113 (2003).
"""

from spacetime_tps.shooting.engine import Engine, Phase, Segment
from spacetime_tps.shooting.molecular import MolecularEngine
from spacetime_tps.shooting.moves import GaussianSelector, Info, Move, ShootingState, UniformSelector, init, step, walk
from spacetime_tps.shooting.overdamped import OverdampedEngine
from spacetime_tps.shooting.path import ShotPath

__all__ = [
    "Engine",
    "GaussianSelector",
    "Info",
    "MolecularEngine",
    "Move",
    "OverdampedEngine",
    "Phase",
    "Segment",
    "ShootingState",
    "ShotPath",
    "UniformSelector",
    "init",
    "step",
    "walk",
]
