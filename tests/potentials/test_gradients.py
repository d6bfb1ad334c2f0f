"""Every potential of the registry keeps the contract, and its gradient is that of its energy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from spacetime_tps.potentials import POTENTIALS, DoubleWell, Potential


def points(potential: Potential, *shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(1).uniform(-1.3, 1.3, (*shape, potential.dimension)))


@pytest.mark.parametrize("name", POTENTIALS)
def test_contract(name: str) -> None:
    potential = POTENTIALS[name]()
    assert isinstance(potential, Potential)
    x = points(potential, 3, 4)
    assert potential.energy(x).shape == (3, 4)
    assert potential.gradient(x).shape == x.shape
    assert torch.equal(potential.energy(x)[1, 2], potential.energy(x[1, 2]))
    assert potential.energy(x.float()).dtype == torch.float32
    assert potential.gradient(x.float()).dtype == torch.float32


@pytest.mark.parametrize("name", POTENTIALS)
def test_gradient_against_autograd(name: str) -> None:
    potential = POTENTIALS[name]()
    x = points(potential, 50).requires_grad_()
    (expected,) = torch.autograd.grad(potential.energy(x).sum(), x)
    assert torch.allclose(potential.gradient(x), expected, rtol=1e-11, atol=1e-10)


@pytest.mark.parametrize("name", POTENTIALS)
def test_gradient_against_finite_differences(name: str) -> None:
    potential = POTENTIALS[name]()
    x, h = points(potential, 50), 1e-5
    for k, step in enumerate(h * torch.eye(potential.dimension, dtype=torch.float64)):
        slope = (potential.energy(x + step) - potential.energy(x - step)) / (2 * h)
        assert torch.allclose(potential.gradient(x)[:, k], slope, rtol=1e-6, atol=1e-4)


def test_double_well_minima_barrier_and_curvatures() -> None:
    well = DoubleWell(barrier=7.0, stiffness=3.0)
    places = torch.tensor([[-1.0, 0.0], [1.0, 0.0], [0.0, 0.0]], dtype=torch.float64)
    assert well.energy(places).tolist() == [0.0, 0.0, 7.0]
    assert well.gradient(places).abs().max() == 0.0
    curvature = torch.autograd.functional.hessian(well.energy, places[1])
    assert torch.allclose(curvature, torch.tensor([[56.0, 0.0], [0.0, 3.0]], dtype=torch.float64))
