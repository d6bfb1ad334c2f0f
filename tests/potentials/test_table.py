"""A surface as a potential: interpolation, gradient, periodicity and smoothness of the spline."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.interpolate import CubicSpline

from spacetime_tps.potentials import FreeEnergySurface, Potential, TablePotential


def surface(table: np.ndarray, periodic: list[bool]) -> FreeEnergySurface:
    """Spacing 2 pi / n on periodic axes, 0.25 on open ones; the origin is nowhere special."""
    spacing = [2 * np.pi / n if p else 0.25 for n, p in zip(table.shape, periodic, strict=True)]
    return FreeEnergySurface(
        names=("phi", "psi")[: table.ndim],
        origin=np.linspace(-2.9, 0.4, 2)[: table.ndim],
        spacing=np.array(spacing),
        periodic=np.array(periodic),
        free_energy=table,
        error=np.zeros_like(table),
        source="a test",
        kt=1.0,
    )


def rough(periodic: list[bool], seed: int = 0) -> FreeEnergySurface:
    return surface(np.random.default_rng(seed).uniform(0, 10, (7, 5)[: len(periodic)]), periodic)


def points(n: int, dimension: int, low: float = -9.0, high: float = 9.0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(1).uniform(low, high, (n, dimension)))


KINDS = pytest.mark.parametrize("periodic", [[True, True], [False, False], [True, False], [True], [False]], ids=str)


@KINDS
def test_goes_through_the_grid_points(periodic: list[bool]) -> None:
    table = rough(periodic)
    x = torch.from_numpy(table.points())
    assert TablePotential(table).energy(x).numpy() == pytest.approx(table.free_energy.ravel(), abs=1e-11)


@KINDS
def test_gradient_against_finite_differences_and_autograd(periodic: list[bool]) -> None:
    potential, h = TablePotential(rough(periodic)), 1e-5
    assert isinstance(potential, Potential)
    x = points(200, len(periodic)).requires_grad_()
    energy, gradient = potential.energy_and_gradient(x)
    assert torch.equal(energy, potential.energy(x))
    assert torch.equal(gradient, potential.gradient(x))
    (by_autograd,) = torch.autograd.grad(energy.sum(), x)
    assert torch.allclose(gradient, by_autograd, rtol=1e-10, atol=1e-10)
    for k, step in enumerate(h * torch.eye(len(periodic), dtype=torch.float64)):
        slope = (potential.energy(x + step) - potential.energy(x - step)) / (2 * h)
        assert torch.allclose(gradient[:, k], slope, rtol=1e-6, atol=1e-5)


def test_periodic() -> None:
    potential, x = TablePotential(rough([True, True])), points(100, 2)
    for turns in ([1, 0], [0, -1], [3, 2]):
        moved = x + 2 * np.pi * torch.tensor(turns, dtype=torch.float64)
        assert torch.allclose(potential.energy(moved), potential.energy(x), atol=1e-10)
        assert torch.allclose(potential.gradient(moved), potential.gradient(x), atol=1e-9)


def test_energy_slope_and_curvature_are_continuous_across_cells() -> None:
    table = rough([True, True])
    potential, eps = TablePotential(table), 1e-9
    for axis in range(2):
        x = points(50, 2)
        wall = table.origin[axis] + table.spacing[axis] * torch.arange(50)  # the seam is among them
        x[:, axis] = wall
        step = eps * torch.eye(2, dtype=torch.float64)[axis]
        sides = [(x + sign * step).requires_grad_() for sign in (-1, 1)]
        gradients = [torch.autograd.grad(potential.energy(s).sum(), s, create_graph=True)[0] for s in sides]
        curvatures = [
            torch.autograd.grad(g[:, axis].sum(), s)[0][:, axis] for g, s in zip(gradients, sides, strict=True)
        ]
        assert torch.allclose(potential.energy(sides[0]), potential.energy(sides[1]), atol=1e-6)
        assert torch.allclose(*gradients, atol=1e-6)
        assert torch.allclose(*curvatures, atol=1e-5)


def test_one_axis_against_scipy() -> None:
    table = rough([True])
    at, values = table.axis(0), table.free_energy
    expected = CubicSpline(np.append(at, at[0] + 2 * np.pi), np.append(values, values[0]), bc_type="periodic")
    x = points(300, 1)
    assert TablePotential(table).energy(x).numpy() == pytest.approx(expected(x[:, 0].numpy()), abs=1e-10)


def test_fourth_order_in_the_spacing() -> None:
    """Halving the spacing of a smooth function divides the error by sixteen."""

    def error(n: int) -> float:
        def f(x: np.ndarray, y: np.ndarray) -> np.ndarray:
            return np.sin(x) * np.exp(np.cos(y + 0.3))

        plain = surface(np.zeros((n, n)), [True, True])
        potential = TablePotential(surface(f(plain.axis(0)[:, None], plain.axis(1)), [True, True]))
        x = points(2000, 2)
        return float(np.abs(potential.energy(x).numpy() - f(*x.numpy().T)).max())

    assert error(16) / error(32) == pytest.approx(16, rel=0.25)


def test_constant_beyond_open_rims() -> None:
    potential = TablePotential(rough([False, False]))
    rim = torch.tensor([[-2.9, 0.9], [-2.9 + 6 * 0.25, 0.9]], dtype=torch.float64)
    outside = rim + torch.tensor([[-5.0, 0.0], [7.0, 0.0]])
    assert torch.allclose(potential.energy(outside), potential.energy(rim), atol=1e-12)
    assert torch.allclose(potential.gradient(outside), potential.gradient(rim), atol=1e-10)
    assert potential.gradient(outside)[:, 0].abs().max() < 1e-10


def test_shapes_and_precision() -> None:
    potential, x = TablePotential(rough([True, True])), points(12, 2).view(3, 4, 2)
    assert potential.energy(x).shape == (3, 4)
    assert potential.gradient(x).shape == (3, 4, 2)
    assert torch.equal(potential.energy(x)[1, 2], potential.energy(x[1, 2]))
    assert potential.energy(x.float()).dtype == potential.gradient(x.float()).dtype == torch.float32
