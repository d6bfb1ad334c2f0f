"""First paths of chains: cut out of a trajectory, which may be guided, hot or somebody else's.

A first path need not be likely, only possible: its frames are left behind step by step. It is cut from the last exit
of A to the first entry of B and gets Maxwell-Boltzmann velocities.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from spacetime_tps.dynamics import MolecularDynamics, energies_of
from spacetime_tps.shooting.chains import EngineRecipe
from spacetime_tps.shooting.engine import Engine, Phase
from spacetime_tps.shooting.path import ShotPath, joined
from spacetime_tps.states import State

_LARGEST_EXCESS = 5.0
"""Potential energy of a frame above the higher end structure, in units of half the thermal energy of all its modes."""
_STRIDE = 2000
_EXTENSIONS = 200


def transition_in(variables: np.ndarray, states: tuple[State, State]) -> tuple[int, int]:
    """First and last frame of the first transition from A to B in a trajectory, shape (T, n_cv).

    Raises:
        ValueError: there is none, or no frame lies between A and B.
    """
    in_a, in_b = (state.contains(variables) for state in states)
    if not in_a.any():
        raise ValueError(f"no frame lies in state {states[0].name!r}")
    entries = np.flatnonzero(in_b & (np.cumsum(in_a) > 0))
    if not len(entries):
        raise ValueError(f"no frame after one in state {states[0].name!r} lies in state {states[1].name!r}")
    last = int(entries[0])
    first = int(np.flatnonzero(in_a[:last])[-1])
    if last - first < 2:
        raise ValueError("no frame lies between the states")
    return first, last


def first_path(frames: np.ndarray, variables: np.ndarray, states: tuple[State, State]) -> ShotPath:
    """The first transition in a trajectory in either direction of time, from A to B, without velocities.

    Args:
        frames: positions [nm], shape (T, n_atoms, 3), or points, shape (T, d).
        variables: collective variables, shape (T, n_cv).
        states: A and B.

    Raises:
        ValueError: there is no transition, or a number is not finite.
    """
    if not np.isfinite(frames).all():
        raise ValueError("a coordinate is not finite")
    try:
        first, last = transition_in(variables, states)
    except ValueError as forward:
        frames, variables = frames[::-1], variables[::-1]
        try:
            first, last = transition_in(variables, states)
        except ValueError:
            raise forward from None
    kept = slice(first, last + 1)
    size = last - first + 1
    positions = np.ascontiguousarray(frames[kept], dtype=float)
    velocities = np.zeros(positions.shape if positions.ndim == 3 else (size, 0))
    return ShotPath(
        positions, velocities, np.zeros(size, dtype=bool), variables[kept].copy(), np.zeros(size, dtype=int)
    )


def with_velocities(path: ShotPath, engine: Engine, rng: np.random.Generator) -> ShotPath:
    """The path with Maxwell-Boltzmann velocities, constraints obeyed."""
    frames = [path.part(k, k + 1) for k in range(len(path))]
    forward, _ = engine.starts(frames, 0.0, rng)
    return replace(path, velocities=forward.velocities, backward=np.zeros(len(path), dtype=bool))


def energy_problem(frames: np.ndarray, structures: np.ndarray, dynamics: MolecularDynamics) -> str | None:
    """What is wrong with the energies of some frames, if anything.

    Args:
        frames: shape (T, n_atoms, 3) [nm].
        structures: of both states.
        dynamics: of the molecule.
    """
    context = dynamics.context(1)

    def energy(positions: np.ndarray) -> float:
        context.setPositions(positions)
        return energies_of(context)[0]

    allowed = max(map(energy, structures)) + _LARGEST_EXCESS * 0.5 * dynamics.kt * dynamics.degrees_of_freedom()
    for k, positions in enumerate(frames):
        if not (found := energy(positions)) <= allowed:
            return f"frame {k} has a potential energy of {found:.0f} kJ/mol where at most {allowed:.0f} is credible"
    return None


def hot_paths(
    recipe: EngineRecipe,
    factor: float,
    structure: np.ndarray,
    count: int,
    limit: int,
    seed: int,
    rng: np.random.Generator,
) -> tuple[list[ShotPath], int]:
    """The first transitions of runs from state A at a raised temperature, and the force evaluations they took.

    Args:
        recipe: of the dynamics at the system's temperature.
        factor: of the temperature.
        structure: in state A, shape (n_atoms, 3) [nm] or (d,).
        count: number of runs, integrated as one batch until half of them have found a path.
        limit: integration steps of each run after which it is given up.
        seed: of the noise.
        rng: of the first velocities.
    """
    dynamics = recipe.dynamics
    if dynamics is not None:
        dynamics = replace(dynamics, temperature_k=factor * dynamics.temperature_k)
    engine = replace(recipe, dynamics=dynamics, kt=factor * recipe.kt).build(seed)
    here, _ = engine.starts([still(structure, recipe)] * count, 0.0, rng)
    seen = [(structure[None], recipe.variables(structure[None])) for _ in range(count)]
    found: dict[int, ShotPath] = {}
    for _ in range(0, limit, _STRIDE * recipe.frame_every):
        going = [k for k in range(count) if k not in found]
        if 2 * len(found) >= count:
            break
        segments = engine.integrate(here, np.full(len(going), _STRIDE), stop=False)
        ends = []
        for k, segment in zip(going, segments, strict=True):
            frames, variables = (
                np.concatenate(parts) for parts in zip(seen[k], (segment.positions, segment.variables), strict=True)
            )
            try:
                transition_in(variables, recipe.states)
                found[k] = first_path(frames, variables, recipe.states)
            except ValueError:
                last = np.flatnonzero(recipe.states[0].contains(variables))[-1]
                seen[k] = frames[last:], variables[last:]
                ends.append(segment)
        here = Phase(
            np.array([segment.positions[-1] for segment in ends]),
            np.array([segment.velocities[-1] for segment in ends]),
        )
    return [found[k] for k in sorted(found)], engine.force_evaluations


def still(point: np.ndarray, recipe: EngineRecipe) -> ShotPath:
    """One frame, shape (n_atoms, 3) [nm] or (d,), without velocities."""
    frame = point[None]
    velocities = np.zeros(frame.shape if frame.ndim == 3 else (1, 0))
    return ShotPath(frame, velocities, np.zeros(1, dtype=bool), recipe.variables(frame), np.zeros(1, dtype=int))


def stretched(
    paths: list[ShotPath], frames: int, states: tuple[State, State], engine: Engine, rng: np.random.Generator
) -> list[ShotPath]:
    """Paths of flexible length continued on both sides to ``frames`` frames, still from A to B.

    Returns:
        those with which it worked, at least one.

    Raises:
        ValueError: all are longer than that already, or no path's ends stay in their states.
    """
    todo = {k: path for k, path in enumerate(paths) if len(path) <= frames}
    if not todo:
        raise ValueError(f"the shortest first path has {min(map(len, paths))} frames, more than {frames}")
    done: dict[int, ShotPath] = {}
    for _ in range(_EXTENSIONS):
        if not todo:
            break
        missing = np.array([frames - len(path) for path in todo.values()])
        before = rng.integers(missing + 1)
        _, back = engine.starts([path.part(0, 1) for path in todo.values()], 1.0, rng)
        ahead, _ = engine.starts([path.part(len(path) - 1, len(path)) for path in todo.values()], 1.0, rng)
        heads = engine.integrate(back, before, stop=False)
        tails = engine.integrate(ahead, missing - before, stop=False)
        for (k, path), head, tail in zip(list(todo.items()), heads, tails, strict=True):
            longer = joined([head.as_path(True, 0), path, tail.as_path(False, 0)])
            if states[0].contains(longer.variables[0]) and states[1].contains(longer.variables[-1]):
                done[k] = longer
                del todo[k]
    if not done:
        raise ValueError(f"the ends of no path stay in their states when it is continued to {frames} frames")
    return [done[k] for k in sorted(done)]
