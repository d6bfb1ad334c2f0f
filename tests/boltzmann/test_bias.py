"""The metadynamics bias: hills on a grid, and the grid as an OpenMM force."""

from __future__ import annotations

import numpy as np
import openmm
import pytest

from spacetime_tps.boltzmann.bias import TabulatedBias, hill
from spacetime_tps.dynamics import RESTRAINT_GROUP, MolecularDynamics, restraint_energy_of
from tests.oracles import four_atoms


def free_chains(n: int) -> tuple[MolecularDynamics, np.ndarray]:
    """n chains of four free particles and the quadruples of their torsions."""
    system = openmm.System()
    for _ in range(4 * n):
        system.addParticle(12.0)
    dynamics = MolecularDynamics(openmm.XmlSerializer.serialize(system), 300.0, 0.001, 1.0)
    return dynamics, np.arange(4 * n).reshape(n, 4)


def positions(angles: np.ndarray) -> np.ndarray:
    return np.concatenate([four_atoms(angle) + [0.0, 0.0, 1.0 * k] for k, angle in enumerate(angles)])


def grid(size: int) -> np.ndarray:
    return -np.pi + 2 * np.pi * np.arange(size) / size


@pytest.mark.parametrize("form", ["CPU", "CUDA"])
@pytest.mark.parametrize(("torsions", "size"), [(1, 24), (2, 12), (3, 8)])
def test_energy_at_grid_points_is_the_table(torsions: int, size: int, form: str) -> None:
    """The table has no symmetry, so exchanged or shifted axes would show."""
    rng = np.random.default_rng(torsions)
    tables = rng.uniform(0, 20, (2,) + (size,) * torsions)
    dynamics, quadruples = free_chains(torsions)
    bias = TabulatedBias(quadruples, tables[0], form)
    context = dynamics.context(1, [bias.force])
    cells = [(0,) * torsions, (size - 1,) * torsions, *map(tuple, rng.integers(0, size, (40, torsions)))]
    for table in tables:  # the second one by way of an update
        if table is not tables[0]:
            bias.table = table
            bias.update(context)
        for cell in cells:
            context.setPositions(positions(grid(size)[list(cell)]))
            assert restraint_energy_of(context) == pytest.approx(table[cell], abs=1e-6), cell


@pytest.mark.parametrize("form", ["CPU", "CUDA"])
def test_between_grid_points_and_over_the_seam(form: str) -> None:
    """A smooth periodic table is met by the splines everywhere, their slope by the force."""
    size = 72

    def v(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return 5 * np.cos(a - 0.4) + 3 * np.sin(2 * b) * np.cos(a)

    dynamics, quadruples = free_chains(2)
    bias = TabulatedBias(quadruples, v(grid(size)[:, None], grid(size)[None, :]), form)
    context = dynamics.context(1, [bias.force])
    rng = np.random.default_rng(0)
    angles = np.concatenate([rng.uniform(-np.pi, np.pi, (20, 2)), [[3.13, -3.13], [-3.14, 3.14]]])
    for a, b in angles:
        context.setPositions(positions(np.array([a, b])))
        assert restraint_energy_of(context) == pytest.approx(v(a, b), abs=2e-4)
        # The last atom of the first chain lies 0.15 sin(110 deg) off the axis, so torque = -dV/da.
        force = context.getState(forces=True, groups={RESTRAINT_GROUP}).getForces(asNumpy=True)._value[3]
        arm = 0.15 * np.sin(np.radians(110))
        tangent = np.array([0.0, -np.sin(a), np.cos(a)])
        slope = -5 * np.sin(a - 0.4) - 3 * np.sin(2 * b) * np.sin(a)
        assert force @ tangent * arm == pytest.approx(-slope, abs=5e-3)


def test_hill_is_a_gaussian_of_the_periodic_distance() -> None:
    size, width = 60, 0.4
    x = grid(size)
    for center in (0.3, 3.1, -3.1):
        images = np.abs(x[:, None] - center + 2 * np.pi * np.array([-1, 0, 1])).min(axis=1)
        assert hill(np.array([center]), size, width) == pytest.approx(np.exp(-0.5 * (images / width) ** 2))


def test_hill_is_the_same_at_every_grid_point() -> None:
    size = 36
    at_zero = hill(np.array([grid(size)[0]]), size, 0.35)
    assert at_zero[0] == 1.0
    assert at_zero[1:] == pytest.approx(at_zero[:0:-1])  # symmetric over the seam
    for k in range(size):
        assert hill(np.array([grid(size)[k]]), size, 0.35) == pytest.approx(np.roll(at_zero, k), abs=1e-12)
    turned = hill(np.array([1.0 + 2 * np.pi]), size, 0.35)
    assert turned == pytest.approx(hill(np.array([1.0]), size, 0.35), abs=1e-12)


def test_hill_in_three_torsions_keeps_their_order() -> None:
    angles = np.array([-2.0, 0.5, 3.0])
    one = [hill(angle[None], 12, 0.5) for angle in angles]
    assert hill(angles, 12, 0.5) == pytest.approx(np.einsum("i,j,k->ijk", *one))
