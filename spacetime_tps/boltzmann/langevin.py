"""Metropolis-adjusted overdamped Langevin walkers on an analytic potential, batched in torch."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from spacetime_tps.boltzmann.samples import WeightedSamples
from spacetime_tps.boltzmann.transitions import TransitionRecorder, Transitions
from spacetime_tps.config import LangevinConfig
from spacetime_tps.potentials import Potential
from spacetime_tps.progress import progress_bar
from spacetime_tps.states import State


def mala_step(
    x: Tensor, energy: Tensor, gradient: Tensor, potential: Potential, kt: float, dt: float, rng: torch.Generator
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """One Metropolis-adjusted step of dx = -grad U dt + sqrt(2 kT dt) xi (Roberts and Tweedie 1996).

    Returns:
        new points, energies and gradients, and which walkers moved.
    """
    noise = torch.randn(x.shape, generator=rng, dtype=x.dtype)
    proposal = x - dt * gradient + math.sqrt(2 * kt * dt) * noise
    new_energy, new_gradient = potential.energy(proposal), potential.gradient(proposal)
    back = x - proposal + dt * new_gradient
    log_ratio = (energy - new_energy) / kt + 0.5 * noise.square().sum(-1) - back.square().sum(-1) / (4 * kt * dt)
    accept = torch.log(torch.rand(x.shape[:-1], generator=rng, dtype=x.dtype)) < log_ratio
    x = torch.where(accept[..., None], proposal, x)
    gradient = torch.where(accept[..., None], new_gradient, gradient)
    return x, torch.where(accept, new_energy, energy), gradient, accept


def sample_langevin(
    potential: Potential,
    kt: float,
    starts: np.ndarray,
    states: tuple[State, State],
    config: LangevinConfig,
    seed: int,
) -> tuple[WeightedSamples, Transitions, dict[str, float]]:
    """Sample exp(-U / (f kT)) with f = ``temperature_factor`` and weight the samples to kT.

    Args:
        potential: the energy.
        kt: thermal energy of the wanted ensemble, in the potential's unit.
        starts: points dealt out to the walkers in turn, shape (n_starts, d).
        states: between which transitions are looked for, at every step behind the burn-in.
        config: number of walkers, steps and intervals.
        seed: of the torch generator.
    """
    rng = torch.Generator().manual_seed(seed)
    hot = config.temperature_factor * kt
    x = torch.from_numpy(starts[np.arange(config.walkers) % len(starts)]).double()
    energy, gradient = potential.energy(x), potential.gradient(x)
    kept_x, kept_energy, seen, accepted = [], [], [], 0.0
    total = config.burn_in_steps + config.steps
    with progress_bar(total, "sampling", "step") as bar:
        for step in range(total):
            x, energy, gradient, moved = mala_step(x, energy, gradient, potential, hot, config.time_step, rng)
            accepted += moved.double().mean().item() / total
            if step >= config.burn_in_steps:
                seen.append(x.float())
            if step >= config.burn_in_steps and (step + 1) % config.sample_every == 0:
                kept_x.append(x)
                kept_energy.append(energy)
            bar.update()
    points = torch.cat(kept_x).numpy()
    log_weights = torch.cat(kept_energy).numpy() * (1 / hot - 1 / kt)
    samples = WeightedSamples(points, log_weights, points, (total + 1) * config.walkers)
    transitions = _transitions(torch.stack(seen, dim=1).numpy(), states)
    return samples, transitions, {"acceptance": accepted, "effective_samples": samples.effective_size()}


def _transitions(walks: np.ndarray, states: tuple[State, State]) -> Transitions:
    """Those of all walkers, shape (n_walkers, n_steps, d)."""
    found = []
    for walk in walks:
        recorder = TransitionRecorder(states)
        recorder.look(walk, walk)
        found.append(recorder.transitions())
    return Transitions.joined(found)
