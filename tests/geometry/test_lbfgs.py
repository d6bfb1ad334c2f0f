"""Batched L-BFGS on problems with known minima."""

from __future__ import annotations

import torch

from spacetime_tps.geometry.lbfgs import minimise


def rosenbrock(x: torch.Tensor) -> torch.Tensor:
    """Minimum 1 at (scale, scale^2), one scale a row."""
    scale = torch.tensor([1.0, 0.5, -0.7], dtype=torch.float64)
    return 1.0 + (scale - x[:, 0, 0]).square() + 100 * (x[:, 0, 1] - x[:, 0, 0].square()).square()


def test_every_row_finds_its_own_minimum() -> None:
    start = torch.tensor([[[-1.2, 1.0]], [[2.0, -1.0]], [[0.0, 3.0]]], dtype=torch.float64)
    found = minimise(rosenbrock, start, 200, 1e-14, largest_step=1.0)
    assert torch.allclose(found.loss, torch.ones(3, dtype=torch.float64), atol=1e-9)
    expected = torch.tensor([[[1.0, 1.0]], [[0.5, 0.25]], [[-0.7, 0.49]]], dtype=torch.float64)
    assert torch.allclose(found.variables, expected, atol=1e-4)


def test_rows_do_not_feel_each_other() -> None:
    start = torch.tensor([[[-1.2, 1.0]], [[2.0, -1.0]], [[0.0, 3.0]]], dtype=torch.float64)
    moved = start.clone()
    moved[1] = 5.0
    one, two = (minimise(rosenbrock, x, 12, 0.0, largest_step=1.0).variables for x in (start, moved))
    assert torch.allclose(one[[0, 2]], two[[0, 2]], atol=1e-12)


def test_quadratic_in_as_many_steps_as_dimensions() -> None:
    rng = torch.Generator().manual_seed(0)
    root = torch.randn(4, 6, 6, generator=rng, dtype=torch.float64)
    hessian = root @ root.mT + torch.eye(6, dtype=torch.float64)

    def losses(x: torch.Tensor) -> torch.Tensor:
        return 1.0 + 0.5 * torch.einsum("ni,nij,nj->n", x, hessian, x)

    found = minimise(losses, torch.ones(4, 6, dtype=torch.float64), 60, 1e-15, largest_step=100.0)
    assert found.variables.abs().max() < 1e-5


def test_no_step_is_longer_than_allowed() -> None:
    found = minimise(lambda x: -x[:, 0], torch.zeros(2, 1, dtype=torch.float64), 3, 0.0, largest_step=0.25)
    assert torch.allclose(found.variables, torch.full((2, 1), 0.75, dtype=torch.float64))
