"""Annealed overdamped Langevin dynamics on an analytic potential, batched over paths in torch."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from spacetime_tps.config import OverdampedConfig, PathsConfig
from spacetime_tps.paths.ensemble import PathEnsemble
from spacetime_tps.paths.molecular import COMMITMENT_FACTOR, frame_points
from spacetime_tps.paths.schedule import Schedule, restraint_work
from spacetime_tps.progress import progress_bar
from spacetime_tps.representations import Identity
from spacetime_tps.systems import System


def langevin_step(x: Tensor, force: Tensor, kt: float, dt: float, rng: torch.Generator) -> Tensor:
    """One Euler-Maruyama step of dx = F dt + sqrt(2 kT dt) xi."""
    noise = torch.randn(x.shape, generator=rng, dtype=x.dtype)
    return x + dt * force + math.sqrt(2 * kt * dt) * noise


class _Walkers:
    """A batch of restrained points; ``natural`` has shape (n, n_parameters)."""

    def __init__(self, system: System, dt: float, seed: int):
        assert system.potential is not None
        assert isinstance(system.representation, Identity)
        self._potential, self._kt = system.potential, system.potential_kt
        self._representation, self._dt = system.representation, dt
        self._rng = torch.Generator().manual_seed(seed)

    def step(self, x: Tensor, natural: Tensor) -> Tensor:
        pull = self._representation.restraint_gradient(x, natural)
        return langevin_step(x, -self._potential.gradient(x) - self._kt * pull, self._kt, self._dt, self._rng)

    def energy(self, x: Tensor) -> np.ndarray:
        """U / kT."""
        return (self._potential.energy(x) / self._kt).numpy()


def anneal_toy(
    system: System, schedule: Schedule, config: PathsConfig, steps_per_point: int, seed: int
) -> PathEnsemble:
    """Run ``config.count`` paths at once, every other one from B to A."""
    assert isinstance(system.config.system.dynamics, OverdampedConfig)
    dt = system.config.system.dynamics.time_step
    walkers = _Walkers(system, dt, seed)
    forward = np.arange(config.count) % 2 == 0
    protocol = np.where(forward[:, None, None], schedule.natural[None], schedule.natural[None, ::-1])
    etas = torch.from_numpy(protocol).transpose(0, 1)
    x = torch.from_numpy(np.where(forward[:, None], *system.structures)).double()
    for _ in range(config.equilibration_steps):
        x = walkers.step(x, etas[0])
    start_stays, start_inside, start_cost = _release(walkers, x, system, config, forward)
    recorded, x = _follow(walkers, x, etas, system, config, steps_per_point)
    end_stays, end_inside, end_cost = _release(walkers, x, system, config, ~forward)
    variables = recorded["frames"]
    points = recorded.pop("points") / (len(etas) - 1)
    saved = variables.shape[1]
    cost = config.equilibration_steps + len(etas) * steps_per_point + saved + start_cost + end_cost
    return PathEnsemble(
        forward=forward,
        curve_parameter=np.where(forward[:, None], points, 1.0 - points),
        variables=variables,
        kinetic_energy=np.full(variables.shape[:2], np.nan),
        starts_in_state=_in_state(system, variables[:, 0], forward),
        ends_in_state=_in_state(system, variables[:, -1], ~forward),
        start_stays=start_stays,
        end_stays=end_stays,
        start_inside=start_inside,
        end_inside=end_inside,
        force_evaluations=np.full(config.count, cost),
        interval=(len(etas) - 1) / max(1, saved - 1) * steps_per_point * dt,
        **recorded,
    )


def _follow(
    walkers: _Walkers, x: Tensor, etas: Tensor, system: System, config: PathsConfig, steps_per_point: int
) -> tuple[dict[str, np.ndarray], Tensor]:
    saved_points = frame_points(len(etas), config.frames)
    saved = set(saved_points.tolist())
    work, inside, looks = np.zeros(config.count), np.zeros(config.count), 0
    frames, energies, free_energies, highest = [], [], [], np.full(config.count, -np.inf)
    with progress_bar(len(etas), f"paths, {len(etas) * steps_per_point} steps each", "point") as bar:
        for n, eta in enumerate(etas):
            if n:
                statistics = system.representation.statistics(x.numpy())
                work += restraint_work((eta - etas[n - 1]).numpy(), statistics)
            looked = []
            for step in range(steps_per_point):
                x = walkers.step(x, eta)
                if (step + 1) % config.look_every == 0 or step + 1 == steps_per_point:
                    looked.append(x)
            if system.reference is not None:
                highest = np.maximum(highest, system.reference(torch.stack(looked).numpy()).max(0))
            if system.avoided is not None:
                inside += system.avoided.contains(torch.stack(looked).numpy()).sum(0)
                looks += len(looked)
            if n in saved:
                frames.append(x.numpy())
                energies.append(walkers.energy(x))
                free_energies.append(highest if system.reference is not None else np.full(config.count, np.nan))
                highest = np.full(config.count, -np.inf)
            bar.update()
    recorded = {
        "frames": np.stack(frames, axis=1),
        "potential_energy": np.stack(energies, axis=1),
        "free_energy": np.stack(free_energies, axis=1),
        "avoided_share": inside / looks if looks else np.full(config.count, np.nan),
        "work_kt": work,
        "points": saved_points,
    }
    return recorded, x


def _in_state(system: System, points: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Whether each point lies in state A (where ``first``) or B (elsewhere)."""
    a, b = (state.contains(points) for state in system.states)
    return np.where(first, a, b)


def _release(
    walkers: _Walkers, x: Tensor, system: System, config: PathsConfig, first: np.ndarray
) -> tuple[np.ndarray, np.ndarray, int]:
    """Let go of copies of ``x``; see ``paths.molecular`` for what counts as staying."""
    free = torch.zeros(len(x), system.representation.n_parameters, dtype=x.dtype)
    for _ in range(config.release_steps):
        x = walkers.step(x, free)
    inside = _in_state(system, x.numpy(), first)
    stays, undecided, steps = inside.copy(), ~inside & ~_in_state(system, x.numpy(), ~first), config.release_steps
    while undecided.any() and steps < COMMITMENT_FACTOR * config.release_steps:
        x = walkers.step(x, free)
        steps += 1
        here, there = (_in_state(system, x.numpy(), side) for side in (first, ~first))
        stays |= undecided & here
        undecided &= ~here & ~there
    return stays, inside, steps
