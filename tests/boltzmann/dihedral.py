"""Four atoms whose one dihedral has a known distribution.

Bonds and angles are harmonic and unconstrained, so that it is exp(-U(theta)/kT) exactly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import openmm

from spacetime_tps.dynamics import MolecularDynamics
from spacetime_tps.units import GAS_CONSTANT
from tests.oracles import four_atoms, ratio_with_error

STRUCTURES = np.array([four_atoms(math.pi / 2), four_atoms(-math.pi / 2)])
"""In the two wells."""


def energy_kt(theta: np.ndarray) -> np.ndarray:
    """Barriers of 8 kT between two wells, 1.4 kT apart."""
    return 4 * (1 + np.cos(2 * theta)) + 0.7 * np.sin(theta)


def dihedral(energy: str = f"{GAS_CONSTANT * 300.0}*(4*(1+cos(2*theta))+0.7*sin(theta))") -> MolecularDynamics:
    """The molecule at 300 K; ``energy`` [kJ/mol] is that of its dihedral theta, by default ``energy_kt``."""
    system = openmm.System()
    for _ in range(4):
        system.addParticle(12.0)
    bonds, angles = openmm.HarmonicBondForce(), openmm.HarmonicAngleForce()
    for i in range(3):
        bonds.addBond(i, i + 1, 0.15, 5e4)
    for i in range(2):
        angles.addAngle(i, i + 1, i + 2, math.radians(110), 500.0)
    torsion = openmm.CustomTorsionForce(energy)
    torsion.addTorsion(0, 1, 2, 3, [])
    for force in (bonds, angles, torsion):
        system.addForce(force)
    return MolecularDynamics(openmm.XmlSerializer.serialize(system), 300.0, 0.004, 5.0)


def histogram_sigmas(
    theta: np.ndarray, log_weights: np.ndarray, parts: Sequence[np.ndarray], energy: Callable[[np.ndarray], np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A weighted histogram of 12 bins against the Boltzmann distribution of ``energy`` [kT].

    Args:
        theta: dihedrals, shape (n,).
        log_weights: shape (n,).
        parts: indices of independent blocks, for the errors.
        energy: of a dihedral.

    Returns:
        deviations in standard errors and deviations of the free energy [kT], both of shape (12,), and which samples lie
        in which bin, shape (n, 12).
    """
    bins = 12
    edges = np.linspace(-np.pi, np.pi, bins + 1)
    fine = np.linspace(-np.pi, np.pi, bins * 500, endpoint=False) + np.pi / (bins * 500)
    exact = np.exp(-energy(fine)).reshape(bins, -1).sum(axis=1)
    exact /= exact.sum()
    weights = np.exp(log_weights - log_weights.max())
    inside = (np.digitize(theta, edges) - 1)[:, None] == np.arange(bins)
    numerators = np.array([(weights[part, None] * inside[part]).sum(axis=0) for part in parts])
    denominators = np.array([weights[part].sum() for part in parts])
    found = np.array([ratio_with_error(numerators[:, k], denominators) for k in range(bins)])
    return (found[:, 0] - exact) / found[:, 1], np.log(found[:, 0] / exact), inside
