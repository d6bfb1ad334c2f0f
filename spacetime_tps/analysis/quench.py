"""Quenched barrier of a molecule's path: its energy without the vibrations that drown the barrier at temperature.

Every frame is minimised with the collective torsions held at their values by stiff harmonic restraints, and the energy
without the restraints is read. What is left of the energy is a function of the torsions and of the basin of all other
coordinates in which the frame lies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import openmm

from spacetime_tps.dynamics import MolecularDynamics, energies_of, positions_of
from spacetime_tps.representations import dihedral_angles

STIFFNESS = 3e4
"""Of the restraint on each torsion [kJ/mol/rad^2]: a slope of 50 kJ/mol/rad moves it by 0.1 degrees (0.04 kJ/mol)."""
TOLERANCE = 1.0
"""Root mean square of all force components at which a minimisation ends [kJ/mol/nm]."""
MAX_ITERATIONS = 5000
"""Of L-BFGS; alanine dipeptide needs about 700."""

_HARMONIC = "0.5*stiffness*min(off, 2*pi-off)^2; off=abs(theta-center); pi=3.141592653589793"


@dataclass(frozen=True)
class Quench:
    """Minimised frames.

    Attributes:
        energies: potential energy without the restraints, shape (n,) [kJ/mol].
        frames: positions, shape (n, n_atoms, 3) [nm].
        iterations: L-BFGS iterations of each frame, shape (n,). OpenMM tells iterations, not force evaluations; an
            iteration costs at least one, more where its line search has to step back. Where bonds are constrained
            OpenMM replaces them by springs that it makes stiffer and minimises again; all of these are counted.
    """

    energies: np.ndarray
    frames: np.ndarray
    iterations: np.ndarray


class _IterationCounter(openmm.MinimizationReporter):
    """Counts what it is told of."""

    def __init__(self) -> None:
        super().__init__()
        self.iterations = 0

    def report(self, iteration: int, x: Sequence[float], grad: Sequence[float], args: Mapping[str, float]) -> bool:
        self.iterations += 1
        return False


def quench(
    dynamics: MolecularDynamics,
    quadruples: np.ndarray,
    frames: np.ndarray,
    stiffness: float = STIFFNESS,
    tolerance: float = TOLERANCE,
    max_iterations: int = MAX_ITERATIONS,
) -> Quench:
    """Minimise frames with some torsions held (``openmm.LocalEnergyMinimizer``).

    Args:
        dynamics: of the molecule; only its potential and its constraints matter.
        quadruples: atoms of the torsions, shape (n_torsions, 4).
        frames: positions, shape (n, n_atoms, 3) [nm].
        stiffness: of the restraint on each torsion [kJ/mol/rad^2].
        tolerance: root mean square of all force components at which a minimisation ends [kJ/mol/nm].
        max_iterations: of each call to L-BFGS, 0 for no limit.
    """
    force = openmm.CustomTorsionForce(_HARMONIC)
    force.addGlobalParameter("stiffness", stiffness)
    force.addPerTorsionParameter("center")
    for atoms in quadruples:
        force.addTorsion(*map(int, atoms), [0.0])
    context = dynamics.context(1, [force])
    frames = np.asarray(frames, dtype=float)
    energies, quenched, iterations = np.empty(len(frames)), np.empty_like(frames), np.zeros(len(frames), dtype=int)
    for n, frame in enumerate(frames):
        for k, (atoms, angle) in enumerate(zip(quadruples, dihedral_angles(frame, quadruples), strict=True)):
            force.setTorsionParameters(k, *map(int, atoms), [float(angle)])
        force.updateParametersInContext(context)
        context.setPositions(frame)
        counter = _IterationCounter()
        openmm.LocalEnergyMinimizer.minimize(context, tolerance, max_iterations, counter)
        energies[n], quenched[n], iterations[n] = energies_of(context)[0], positions_of(context), counter.iterations
    return Quench(energies, quenched, iterations)


def quenched_energies(dynamics: MolecularDynamics, quadruples: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """Energies of ``quench``, shape (n,) [kJ/mol], of frames, shape (n, n_atoms, 3) [nm]."""
    return quench(dynamics, quadruples, frames).energies


def quenched_barrier(energies: np.ndarray) -> dict[str, float]:
    """Highest quenched energy of a path above its first and its last frame [kJ/mol].

    Args:
        energies: of ``quenched_energies`` along a path from A to B, shape (T,). Its end frames are quenched like all
            others, torsions held, so they lie above the minima of their states by what the torsions have of heat.
    """
    top = float(np.max(energies))
    return {"from_a": top - float(energies[0]), "from_b": top - float(energies[-1])}
