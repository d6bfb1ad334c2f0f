"""Whether an OpenMM System holds the bonds of its structure together.

OpenMM reads a serialised System that was cut in the middle without a word: what was lost is a molecule without angles.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from xml.parsers import expat

import openmm
from openmm import app

from spacetime_tps.errors import UserError
from spacetime_tps.topology import is_solvent, neighbours_of

_ORGANIC = {"H", "B", "C", "N", "O", "F", "Si", "P", "S", "Cl", "Br", "I"}
"""Metals may be bonded in a PDB file and held by charges alone."""
_ALONE = 0.5
"""Share of the bonds within a chain about which a torsion should be defined; many force fields leave some out."""
_FEWEST_CHAINS = 3
_UNDERSTOOD = (
    *("HarmonicBond", "CustomBond", "HarmonicAngle", "CustomAngle", "PeriodicTorsion", "RBTorsion", "CustomTorsion"),
    *("CMAPTorsion", "CustomCompoundBond", "Nonbonded", "CustomNonbonded", "GBSAOBC", "CustomGB", "CustomExternal"),
    *("CustomHbond", "LCPO", "Gayberne", "GayBerne", "AmoebaVdw", "AmoebaMultipole", "AmoebaGeneralizedKirkwood"),
    *("AmoebaTorsionTorsion", "AmoebaWcaDispersion", "HippoNonbonded", "Drude", "RMSD", "CMMotionRemover"),
)
"""Classes of forces without their ending; any other, such as a neural network, may hold every bond by itself."""


def check_complete_xml(text: str, file: Path) -> None:
    """Refuse XML that ends before it is complete.

    Raises:
        UserError: it is no whole XML document.
    """
    parser = expat.ParserCreate()
    try:
        parser.Parse(text, True)
    except expat.ExpatError as error:
        reason = f"line {error.lineno}: {expat.errors.messages[error.code]}"
        raise UserError(
            f"{file} cannot be read as an OpenMM System: it is not a complete XML document ({reason}); it was cut or "
            "damaged, so write it anew."
        ) from error


def check_bonded(system: openmm.System, topology: app.Topology, file: str, source: str) -> None:
    """Refuse a System that lacks what holds the bonds of a structure together.

    Args:
        system: as deserialised.
        topology: of the structure, with its bonds; without any there is nothing to check.
        file: of the System, for messages.
        source: of the structure.

    Raises:
        UserError: a bond is held by no force and no constraint, a chain of bonds has no angle, hardly any torsion is
            defined, or bonded atoms repel each other as if they were not.
    """
    forces = list(system.getForces())
    if any(not _is_understood(force) for force in forces):
        return
    atoms = list(topology.atoms())
    organic = {atom.index for atom in atoms if atom.element is not None and atom.element.symbol in _ORGANIC}
    bonds = [tuple(sorted((a.index, b.index))) for a, b in topology.bonds() if {a.index, b.index} <= organic]
    held = _Held.of(system, forces)
    free = [bond for bond in bonds if bond not in held.pairs]
    if free:
        names = _named(atoms, free[0])
        raise UserError(
            f"{file} holds neither a bond nor a constraint for {len(free)} of the {len(bonds)} bonds of {source}, such "
            f"as {names}; it is incomplete, or of another molecule."
        )
    if loose := _without_angle(topology, organic, held):
        raise UserError(
            f"{file} holds no angle at {len(loose)} atoms of {source} that have two bonds or more, such as "
            f"{_named(atoms, loose[:1])}; it is incomplete."
        )
    chains = list(_chains(topology, organic))
    turned = sum(bond in held.turned for bond in chains)
    if len(chains) >= _FEWEST_CHAINS and turned < _ALONE * len(chains):
        raise UserError(
            f"{file} defines torsions about {turned} of the {len(chains)} bonds within chains of {source}; "
            "it is incomplete."
        )
    if bare := _not_excepted(forces, bonds):
        raise UserError(
            f"{file}: its NonbondedForce has no exception for {len(bare)} of the {len(bonds)} bonds of {source}, such "
            f"as {_named(atoms, bare[0])}; it is incomplete."
        )


class _Held:
    """Pairs, centres of angles and middles of torsions that a System defines, by sorted atom indices."""

    def __init__(self) -> None:
        self.pairs: set[tuple[int, ...]] = set()
        self.centers: set[int] = set()
        self.turned: set[tuple[int, ...]] = set()

    @classmethod
    def of(cls, system: openmm.System, forces: list[openmm.Force]) -> _Held:
        """Of all forces and constraints."""
        held = cls()
        for k in range(system.getNumConstraints()):
            a, b, _ = system.getConstraintParameters(k)
            held.pairs.add(tuple(sorted((a, b))))
        for force in forces:
            held._add(force)
        return held

    def _add(self, force: openmm.Force) -> None:
        if isinstance(force, openmm.HarmonicBondForce | openmm.CustomBondForce):
            for k in range(force.getNumBonds()):
                self.pairs.add(tuple(sorted(force.getBondParameters(k)[:2])))
        elif isinstance(force, openmm.HarmonicAngleForce | openmm.CustomAngleForce):
            self.centers.update(force.getAngleParameters(k)[1] for k in range(force.getNumAngles()))
        elif isinstance(force, openmm.PeriodicTorsionForce | openmm.RBTorsionForce | openmm.CustomTorsionForce):
            for k in range(force.getNumTorsions()):
                self.turned.add(tuple(sorted(force.getTorsionParameters(k)[1:3])))
        elif isinstance(force, openmm.CustomCompoundBondForce):
            for k in range(force.getNumBonds()):
                among = force.getBondParameters(k)[0]
                self.pairs.update(tuple(sorted(pair)) for pair in combinations(among, 2))
                self.centers.update(among if len(among) > 2 else ())
                self.turned.update(tuple(sorted(pair)) for pair in combinations(among if len(among) > 3 else (), 2))


def _is_understood(force: openmm.Force) -> bool:
    name = type(force).__name__.removesuffix("Force")
    return name in _UNDERSTOOD or name.endswith(("Barostat", "Thermostat"))


def _without_angle(topology: app.Topology, organic: set[int], held: _Held) -> list[int]:
    """Atoms with two organic neighbours or more, at which neither an angle nor the distance of neighbours is held."""
    found = []
    for center, around in enumerate(neighbours_of(topology)):
        near = [n for n in around if n in organic]
        if center not in organic or len(near) < 2 or center in held.centers:
            continue
        if not any(tuple(sorted(pair)) in held.pairs for pair in combinations(near, 2)):
            found.append(center)
    return found


def _chains(topology: app.Topology, organic: set[int]) -> Iterator[tuple[int, ...]]:
    """Bonds of the solute both of whose atoms have another neighbour."""
    neighbours = neighbours_of(topology)
    for a, b in topology.bonds():
        inner = min(len(neighbours[a.index]), len(neighbours[b.index])) > 1
        if inner and {a.index, b.index} <= organic and not is_solvent(a.residue):
            yield tuple(sorted((a.index, b.index)))


def _not_excepted(forces: list[openmm.Force], bonds: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Bonds whose atoms interact by a NonbondedForce like strangers."""
    found = []
    for force in forces:
        if not isinstance(force, openmm.NonbondedForce):
            continue
        excepted = {tuple(sorted(force.getExceptionParameters(k)[:2])) for k in range(force.getNumExceptions())}
        found += [bond for bond in bonds if bond not in excepted and _interact(force, bond)]
    return found


def _interact(force: openmm.NonbondedForce, pair: tuple[int, ...]) -> bool:
    (q1, _, e1), (q2, _, e2) = (force.getParticleParameters(k) for k in pair)
    return bool(q1._value * q2._value or e1._value * e2._value)


def _named(atoms: list[app.topology.Atom], indices: tuple[int, ...] | list[int]) -> str:
    return " and ".join(f"{atoms[k].name} of {atoms[k].residue.name} {atoms[k].residue.id}" for k in indices)
