"""Four atoms whose one dihedral has a known distribution.

Bonds and angles are harmonic and unconstrained, so that it is exp(-U(theta)/kT) exactly.
"""

from __future__ import annotations

import math

import numpy as np
import openmm

from spacetime_tps.dynamics import MolecularDynamics
from spacetime_tps.units import GAS_CONSTANT
from tests.oracles import four_atoms

STRUCTURES = np.array([four_atoms(math.pi / 2), four_atoms(-math.pi / 2)])
"""In the two wells."""


def energy_kt(theta: np.ndarray) -> np.ndarray:
    """Barriers of 8 kT between two wells, 1.4 kT apart."""
    return 4 * (1 + np.cos(2 * theta)) + 0.7 * np.sin(theta)


def dihedral() -> MolecularDynamics:
    """The molecule at 300 K."""
    system = openmm.System()
    for _ in range(4):
        system.addParticle(12.0)
    bonds, angles = openmm.HarmonicBondForce(), openmm.HarmonicAngleForce()
    for i in range(3):
        bonds.addBond(i, i + 1, 0.15, 5e4)
    for i in range(2):
        angles.addAngle(i, i + 1, i + 2, math.radians(110), 500.0)
    torsion = openmm.CustomTorsionForce(f"{GAS_CONSTANT * 300.0}*(4*(1+cos(2*theta))+0.7*sin(theta))")
    torsion.addTorsion(0, 1, 2, 3, [])
    for force in (bonds, angles, torsion):
        system.addForce(force)
    return MolecularDynamics(openmm.XmlSerializer.serialize(system), 300.0, 0.004, 5.0)
