"""Limited-memory BFGS for many independent problems at once (Nocedal and Wright, Numerical Optimization, alg. 7.4)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Losses = Callable[[Tensor], Tensor]
"""Loss of every problem, shape (n,), at its variables, shape (n, ...); problem k depends on row k alone."""

_ARMIJO = 1e-4
_SHRINK = 0.5


@dataclass(frozen=True)
class Minimum:
    """Where the iteration ended.

    Attributes:
        variables: shape (n, ...).
        loss: shape (n,).
        evaluations: of losses and gradients of the whole batch.
    """

    variables: Tensor
    loss: Tensor
    evaluations: int


def minimise(
    losses: Losses,
    variables: Tensor,
    iterations: int,
    tolerance: float,
    largest_step: float,
    memory: int = 12,
    line_search: int = 12,
) -> Minimum:
    """Minimise every row's loss; a row rests once an iteration lowers its loss by less than ``tolerance`` of it.

    Args:
        losses: see ``Losses``.
        variables: where to start, shape (n, ...).
        iterations: at most.
        tolerance: relative.
        largest_step: Euclidean length that no step of a row exceeds.
        memory: pairs of steps and gradient changes kept.
        line_search: at most this many halvings of a step.
    """
    shape = variables.shape
    x = variables.detach().reshape(len(variables), -1)
    loss, gradient = _differentiate(losses, x, shape)
    pairs: deque[tuple[Tensor, Tensor, Tensor]] = deque(maxlen=memory)
    resting = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    evaluations = 1
    for _ in range(iterations):
        direction = -_two_loops(gradient, pairs)
        slope = (direction * gradient).sum(1)
        uphill = slope >= 0
        direction = torch.where(uphill[:, None], -gradient, direction)
        slope = torch.where(uphill, -gradient.square().sum(1), slope)
        length = (largest_step / direction.norm(dim=1).clamp_min(1e-30)).clamp_max(1.0)
        if not pairs:
            length = torch.minimum(length, 1.0 / gradient.norm(dim=1).clamp_min(1.0))
        new_x, new_loss, new_gradient, spent = x, loss, gradient, 0
        pending = ~resting
        while pending.any() and spent <= line_search:
            trial = torch.where(pending[:, None], x + length[:, None] * direction, new_x)
            trial_loss, trial_gradient = _differentiate(losses, trial, shape)
            spent += 1
            good = pending & (trial_loss <= loss + _ARMIJO * length * slope)
            new_x = torch.where(good[:, None], trial, new_x)
            new_loss = torch.where(good, trial_loss, new_loss)
            new_gradient = torch.where(good[:, None], trial_gradient, new_gradient)
            pending = pending & ~good
            length = torch.where(pending, _SHRINK * length, length)
        evaluations += spent
        step, change = new_x - x, new_gradient - gradient
        curvature = (step * change).sum(1)
        usable = curvature > 1e-12 * change.square().sum(1)
        pairs.append((step, change, torch.where(usable, 1.0 / curvature.where(usable, torch.ones_like(loss)), 0.0)))
        resting = resting | (loss - new_loss <= tolerance * loss.abs())
        x, loss, gradient = new_x, new_loss, new_gradient
        if resting.all():
            break
    return Minimum(x.reshape(shape), loss, evaluations)


def _differentiate(losses: Losses, x: Tensor, shape: torch.Size) -> tuple[Tensor, Tensor]:
    x = x.detach().requires_grad_(True)
    with torch.enable_grad():
        loss = losses(x.reshape(shape))
        (gradient,) = torch.autograd.grad(loss.sum(), x)
    return loss.detach(), gradient


def _two_loops(gradient: Tensor, pairs: deque[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
    q, shares = gradient, []
    for step, change, rho in reversed(pairs):
        share = rho * (step * q).sum(1)
        q = q - share[:, None] * change
        shares.append(share)
    if pairs:
        step, change, rho = pairs[-1]
        scale = 1.0 / (rho * change.square().sum(1)).clamp_min(1e-30)
        q = torch.where(rho > 0, scale, torch.ones_like(scale))[:, None] * q
    for (step, change, rho), share in zip(pairs, reversed(shares), strict=True):
        q = q + (share - rho * (change * q).sum(1))[:, None] * step
    return q
