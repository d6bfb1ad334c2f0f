"""Both end structures in one periodic box of water, with the same water molecules and ions, at constant volume.

The box fits the wider structure. Each is surrounded by water of its own, so that neither keeps a hole in the shape of
the other; surplus water is taken away, and both take the volume that they have at the pressure asked for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import openmm
from openmm import app, unit
from scipy.spatial import cKDTree

from spacetime_tps.dynamics import MolecularDynamics, advance, positions_of, thermalise
from spacetime_tps.errors import explained
from spacetime_tps.molecules import box_of
from spacetime_tps.preparation.reading import Structure
from spacetime_tps.progress import progress_bar
from spacetime_tps.seeds import generator, openmm_seed
from spacetime_tps.topology import heavy_atoms, is_solvent, neighbours_of, solute_atoms

PRESSURE_BAR, PRESS_PS = 1.0, 20.0
_BAROSTAT_INTERVAL, _LOOKS = 25, 20
_HOLD = 1000.0
"""Of each heavy atom of the solute while water settles [kJ/mol/nm^2]."""
_ION_DISTANCE_NM = 0.5
"""From the solute, of the water molecules that become ions."""


@dataclass(frozen=True)
class WaterBox:
    """What is asked for.

    Attributes:
        padding: least distance of a structure from its own image [nm].
        ionic_strength: of salt beside what makes the box neutral [mol/l].
        cutoff: of PME [nm]; the box is at least a little more than twice as wide.
    """

    padding: float
    ionic_strength: float
    cutoff: float


def solvated(
    first: Structure, second: Structure, forcefield: app.ForceField, box: WaterBox, seed: int
) -> tuple[Structure, Structure]:
    """Both structures in boxes of the same shape with the same water molecules and ions.

    Args:
        first, second: of one molecule, atoms in the same order.
        forcefield: with parameters for TIP3P water and ions.
        box: its size and salt.
        seed: chooses the molecules that are taken away or become ions.

    Raises:
        UserError: the force field has no water or ions.
    """
    rng = generator(seed, "solvation")
    centred = [replace(s, positions=s.positions - _middle(s.positions)) for s in (first, second)]
    radius = max(float(np.linalg.norm(s.positions, axis=1).max()) for s in centred)
    width = max(2 * radius + box.padding, 2 * box.padding, np.sqrt(2) * 2.1 * box.cutoff)
    vectors = width * np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.5, 0.5, np.sqrt(0.5)]])
    with explained(f"{first.source} cannot be put in water", "name a --forcefield with water and ions"):
        filled = _filled(centred[0], forcefield, vectors, box.ionic_strength)
        other = _filled(centred[1], forcefield, vectors, None)
    n_ions = sum(len(list(r.atoms())) == 1 for r in filled.topology.residues() if is_solvent(r))
    spare = _waters(other.topology)
    n_waters = min(len(_waters(filled.topology)), len(spare) - n_ions)
    filled = _without_some_water(filled, n_waters, rng)
    return filled, _placed_like(filled, other, n_ions, rng)


def _middle(positions: np.ndarray) -> np.ndarray:
    return (positions.max(axis=0) + positions.min(axis=0)) / 2


def _filled(
    structure: Structure, forcefield: app.ForceField, vectors: np.ndarray, ionic_strength: float | None
) -> Structure:
    modeller = app.Modeller(structure.topology, structure.positions * unit.nanometer)
    modeller.addSolvent(
        forcefield,
        boxVectors=[openmm.Vec3(*row) for row in vectors] * unit.nanometer,
        neutralize=ionic_strength is not None,
        ionicStrength=(ionic_strength or 0.0) * unit.molar,
    )
    positions = np.array(modeller.positions.value_in_unit(unit.nanometer), dtype=float)
    return replace(structure, topology=modeller.topology, positions=positions)


def _waters(topology: app.Topology) -> list[list[int]]:
    """Atoms of every water molecule."""
    found = [[atom.index for atom in residue.atoms()] for residue in topology.residues() if is_solvent(residue)]
    return [atoms for atoms in found if len(atoms) > 1]


def _without_some_water(structure: Structure, count: int, rng: np.random.Generator) -> Structure:
    waters = [r for r in structure.topology.residues() if is_solvent(r) and len(list(r.atoms())) > 1]
    surplus = rng.choice(len(waters), len(waters) - count, replace=False)
    modeller = app.Modeller(structure.topology, structure.positions * unit.nanometer)
    modeller.delete([waters[k] for k in sorted(surplus)])
    positions = np.array(modeller.positions.value_in_unit(unit.nanometer), dtype=float)
    return replace(structure, topology=modeller.topology, positions=positions)


def _placed_like(filled: Structure, other: Structure, n_ions: int, rng: np.random.Generator) -> Structure:
    """The other structure and its water in the topology of the first; some water becomes the ions."""
    solute = other.positions[solute_atoms(other.topology)]
    waters = np.array([other.positions[atoms] for atoms in _waters(other.topology)])
    waters = waters[rng.permutation(len(waters))]
    box = box_of(other.topology)
    assert box is not None
    far = _distance(waters[:, 0], solute, box) > _ION_DISTANCE_NM
    ions, rest = waters[far][:n_ions, 0], np.concatenate([waters[far][n_ions:], waters[~far]])
    positions, next_ion, next_water = np.empty_like(filled.positions), iter(ions), iter(rest)
    own = iter(solute)
    for residue in filled.topology.residues():
        atoms = [atom.index for atom in residue.atoms()]
        if not is_solvent(residue):
            for k in atoms:
                positions[k] = next(own)
        elif len(atoms) == 1:
            positions[atoms[0]] = next(next_ion)
        else:
            positions[atoms] = next(next_water)
    return replace(other, topology=filled.topology, positions=positions)


def _distance(points: np.ndarray, from_: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Least distance [nm] of points, shape (n, 3), from other points or their images, shape (n,)."""
    shifts = np.array([[i, j, k] for i in (-1, 0, 1) for j in (-1, 0, 1) for k in (-1, 0, 1)]) @ box
    images = (from_[None] + shifts[:, None]).reshape(-1, 3)
    return cKDTree(images).query(points)[0]


# --- the volume ---------------------------------------------------------------------------------


def at_pressure(
    dynamics: MolecularDynamics, structures: np.ndarray, topology: app.Topology, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Both structures as they are at 1 bar, in one box: the mean of the volumes that they take.

    Heavy atoms of the solute are held where they are, so that a structure stays in its state while water settles.

    Args:
        dynamics: of the molecule in its present box.
        structures: relaxed, shape (2, n_atoms, 3) [nm].
        topology: of the molecule.
        seed: of thermostat and barostat.

    Returns:
        structures, shape (2, n_atoms, 3) [nm], and box vectors, shape (3, 3) [nm].
    """
    held = np.intersect1d(solute_atoms(topology), np.flatnonzero(heavy_atoms(topology)))
    settled, boxes = [], []
    with progress_bar(2 * _LOOKS, "water settles", "round") as bar:
        for k, positions in enumerate(structures):
            own = openmm_seed(seed, "pressure", k)
            context = dynamics.context(own, [_hold(positions, held), _barostat(dynamics.temperature_k, own)])
            context.setPositions(positions)
            thermalise(context, dynamics.temperature_k, own)
            for look in range(_LOOKS):
                advance(context, dynamics.steps(PRESS_PS) // _LOOKS)
                if look >= _LOOKS // 2:
                    boxes.append(_box(context))
                bar.update(1)
            settled.append((positions_of(context), _box(context)))
    box = np.mean(boxes, axis=0)
    return np.array([scaled(positions, old, box, topology) for positions, old in settled]), box


def in_box(topology: app.Topology, box: np.ndarray) -> app.Topology:
    """The topology with another box [nm], shape (3, 3)."""
    topology.setPeriodicBoxVectors([openmm.Vec3(*row) for row in box] * unit.nanometer)
    return topology


def _hold(positions: np.ndarray, held: np.ndarray) -> openmm.CustomExternalForce:
    force = openmm.CustomExternalForce(f"{_HOLD / 2}*periodicdistance(x,y,z,x0,y0,z0)^2")
    for name in ("x0", "y0", "z0"):
        force.addPerParticleParameter(name)
    for k in held.tolist():
        force.addParticle(k, positions[k])
    return force


def _barostat(temperature_k: float, seed: int) -> openmm.MonteCarloBarostat:
    barostat = openmm.MonteCarloBarostat(PRESSURE_BAR, temperature_k, _BAROSTAT_INTERVAL)
    barostat.setRandomNumberSeed(seed)
    return barostat


def _box(context: openmm.Context) -> np.ndarray:
    return np.array(context.getState().getPeriodicBoxVectors(asNumpy=True)._value)


def _molecules(topology: app.Topology) -> list[np.ndarray]:
    """Atoms of each molecule."""
    neighbours, found, seen = neighbours_of(topology), [], np.zeros(topology.getNumAtoms(), dtype=bool)
    for start in range(len(neighbours)):
        if seen[start]:
            continue
        group, edge = [], [start]
        seen[start] = True
        while edge:
            atom = edge.pop()
            group.append(atom)
            for n in neighbours[atom]:
                if not seen[n]:
                    seen[n] = True
                    edge.append(n)
        found.append(np.array(sorted(group)))
    return found


def scaled(positions: np.ndarray, old: np.ndarray, new: np.ndarray, topology: app.Topology) -> np.ndarray:
    """Positions [nm], every molecule moved with its centre from one box, shape (3, 3) [nm], to another, whole."""
    moved = positions.copy()
    transform = np.linalg.solve(old, new) - np.eye(3)
    for atoms in _molecules(topology):
        moved[atoms] += positions[atoms].mean(axis=0) @ transform
    return moved
