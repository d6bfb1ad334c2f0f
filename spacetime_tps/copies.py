"""Many independent copies of a small molecule in one OpenMM System, to fill a GPU that one of them leaves idle.

Copies do not see each other: bonded terms are repeated, and nonbonded interactions, of which a NonbondedForce would let
all atoms take part, become bonds between the atoms of one copy. That needs a molecule without cutoff and box, whose
pairs can be listed; implicit solvents, whose terms run over all atoms, are left out (openmm issue 2535 asks for this).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import openmm

from spacetime_tps.errors import UserError

ONE_4PI_EPS0 = 138.93545764438198
"""Coulomb's constant in nm kJ/mol/e^2, as OpenMM has it."""
MOST_COPIES = 512
"""In one Context: beyond, memory and the list of pairs grow and the speed no longer does."""


def replicated(system: openmm.System, copies: int) -> openmm.System:
    """A System of ``copies`` molecules that know nothing of each other; atom i of copy c has the index c n_atoms + i.

    Raises:
        UserError: a force cannot be repeated without its copies seeing each other.
    """
    n = system.getNumParticles()
    whole = openmm.System()
    for shift in range(0, copies * n, n):
        for atom in range(n):
            if system.isVirtualSite(atom):
                raise UserError("A molecule with virtual sites cannot be repeated in one System.")
            whole.addParticle(system.getParticleMass(atom))
        for k in range(system.getNumConstraints()):
            first, second, length = system.getConstraintParameters(k)
            whole.addConstraint(first + shift, second + shift, length)
    for force in system.getForces():
        if isinstance(force, openmm.CMMotionRemover):
            continue
        for made in _repeated(force, n, copies):
            made.setForceGroup(force.getForceGroup())
            whole.addForce(made)
    return whole


def can_be_replicated(system: openmm.System) -> bool:
    """Whether ``replicated`` takes a System."""
    try:
        replicated(system, 1)
    except UserError:
        return False
    return True


def _repeated(force: openmm.Force, n: int, copies: int) -> list[openmm.Force]:
    if isinstance(force, openmm.NonbondedForce):
        return [_pairs(force, n, copies)]
    if force.usesPeriodicBoundaryConditions():
        raise UserError(f"{force.getName()} is periodic: copies of it would be in one box.")
    if type(force) not in _TERMS:
        raise UserError(f"{force.getName()} runs over all atoms or is not known: copies of it would see each other.")
    made = openmm.XmlSerializer.clone(force)
    terms = _TERMS[type(force)]
    for shift in range(n, copies * n, n):
        terms(force, made, shift)
    return [made]


def _bonds(atoms: int) -> Callable[[openmm.Force, openmm.Force, int], None]:
    """Repeats terms of so many atoms each, whatever their parameters are."""
    kind = {2: "Bond", 3: "Angle", 4: "Torsion"}[atoms]

    def repeat(force: openmm.Force, made: openmm.Force, shift: int) -> None:
        add, get = getattr(made, f"add{kind}"), getattr(force, f"get{kind}Parameters")
        for k in range(getattr(force, f"getNum{kind}s")()):
            values = get(k)
            add(*(atom + shift for atom in values[:atoms]), *values[atoms:])

    return repeat


def _maps(force: openmm.CMAPTorsionForce, made: openmm.CMAPTorsionForce, shift: int) -> None:
    for k in range(force.getNumTorsions()):
        which, *atoms = force.getTorsionParameters(k)
        made.addTorsion(which, *(atom + shift for atom in atoms))


def _particles(force: openmm.CustomExternalForce, made: openmm.CustomExternalForce, shift: int) -> None:
    for k in range(force.getNumParticles()):
        atom, values = force.getParticleParameters(k)
        made.addParticle(atom + shift, values)


_TERMS: dict[type, Callable] = {
    openmm.HarmonicBondForce: _bonds(2),
    openmm.CustomBondForce: _bonds(2),
    openmm.HarmonicAngleForce: _bonds(3),
    openmm.CustomAngleForce: _bonds(3),
    openmm.PeriodicTorsionForce: _bonds(4),
    openmm.RBTorsionForce: _bonds(4),
    openmm.CustomTorsionForce: _bonds(4),
    openmm.CMAPTorsionForce: _maps,
    openmm.CustomExternalForce: _particles,
}


def _pairs(force: openmm.NonbondedForce, n: int, copies: int) -> openmm.CustomBondForce:
    """Coulomb and Lennard-Jones of all pairs of a molecule, exceptions as they are."""
    if force.getNonbondedMethod() != openmm.NonbondedForce.NoCutoff:
        raise UserError("Nonbonded interactions with a cutoff cannot be repeated: copies would share a list of pairs.")
    if force.getNumParticleParameterOffsets() or force.getNumExceptionParameterOffsets():
        raise UserError("Nonbonded parameters that change with global ones cannot be repeated.")
    parameters = np.array([[value._value for value in force.getParticleParameters(k)] for k in range(n)])
    exceptions = {}
    for k in range(force.getNumExceptions()):
        first, second, *values = force.getExceptionParameters(k)
        exceptions[min(first, second), max(first, second)] = [value._value for value in values]
    made = openmm.CustomBondForce("qq/r+4*epsilon*((sigma/r)^12-(sigma/r)^6)")
    made.setName("NonbondedPairs")
    for name in ("qq", "sigma", "epsilon"):
        made.addPerBondParameter(name)
    for i in range(n):
        for j in range(i + 1, n):
            (q1, s1, e1), (q2, s2, e2) = parameters[[i, j]]
            product, sigma, epsilon = exceptions.get((i, j), [q1 * q2, 0.5 * (s1 + s2), np.sqrt(e1 * e2)])
            if product == 0.0 and epsilon == 0.0:
                continue
            for shift in range(0, copies * n, n):
                made.addBond(i + shift, j + shift, [ONE_4PI_EPS0 * product, sigma, epsilon])
    return made
