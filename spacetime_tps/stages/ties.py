"""What ties ridge windows of an analytic potential to its states: windows along the curves, and free walkers."""

from __future__ import annotations

import numpy as np
import torch

from spacetime_tps.analysis.rates import Stay
from spacetime_tps.boltzmann.pool import WITHIN_A, WITHIN_B, Pool, Seen
from spacetime_tps.boltzmann.windows import WindowSteps, sample_windows_of_potential
from spacetime_tps.config import LangevinConfig, OverdampedConfig
from spacetime_tps.geometry.curve import FineCurve
from spacetime_tps.representations import Identity
from spacetime_tps.seeds import torch_seed
from spacetime_tps.shooting.engine import Phase
from spacetime_tps.shooting.overdamped import OverdampedEngine
from spacetime_tps.systems import System

_STARTS = 2
"""Walkers of a window."""


def windows_of_potential(system: System, curve: FineCurve, seed: int, number: int) -> tuple[Pool, int]:
    """Samples of windows at equal steps of a curve's length, and the force evaluations.

    Args:
        system: of an analytic potential.
        curve: along which they stand.
        seed: of the run.
        number: of the curve, for the random stream.
    """
    config, space = system.config.windows, system.representation
    assert system.potential is not None
    assert isinstance(space, Identity)
    assert isinstance(system.config.sampling, LangevinConfig)
    steps = WindowSteps(config.equilibration_steps, config.steps, config.sample_every, system.config.sampling.time_step)
    count = int(min(config.most, 1 + np.ceil(curve.length / config.spacing)))
    coordinates = curve.at_shares(np.linspace(0.0, 1.0, count))
    natural = space.natural(torch.from_numpy(coordinates)).numpy()
    starts = np.repeat(coordinates[:, None, :-1], _STARTS, axis=1)
    stream = torch_seed(seed, "tube windows", number)
    points, cost = sample_windows_of_potential(
        system.potential, system.potential_kt, space, natural, starts, steps, stream
    )
    return Pool.of_windows(natural, Seen(points, system.in_states(points), points)), cost


def free_walkers(system: System, seed: int) -> tuple[Pool, tuple[Stay, Stay], int]:
    """Free walkers in both states, as the dynamics has it; what lies within the state is sampled.

    Returns:
        the pool; how long walkers from A and from B stayed there; and the force evaluations.
    """
    config = system.config.windows
    assert system.potential is not None
    assert isinstance(system.config.system.dynamics, OverdampedConfig)
    time_step, stream = system.config.system.dynamics.time_step, torch_seed(seed, "free walkers")
    walkers = max(config.free_walkers, _STARTS)
    engine = OverdampedEngine(
        system.potential, system.potential_kt, time_step, system.states, config.sample_every, stream
    )
    starts = Phase(np.repeat(system.structures, walkers, axis=0), np.zeros((2 * walkers, 0)))
    frames = config.free_steps // config.sample_every
    walked = engine.integrate(starts, np.full(2 * walkers, frames), stop=False)
    points = np.array([walk.variables for walk in walked]).reshape(2, walkers, frames, -1)
    seen = Seen(points, system.in_states(points), points)
    parameters = system.representation.n_parameters
    ends = [Pool.of_state(state, seen[state], parameters) for state in (WITHIN_A, WITHIN_B)]
    inside = seen.in_states
    stays = (Stay.of(inside[0, ..., 0], inside[0, ..., 1]), Stay.of(inside[1, ..., 1], inside[1, ..., 0]))
    return ends[0].joined(ends[1]), stays, engine.force_evaluations
