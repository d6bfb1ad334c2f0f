"""Paths of any method measured alike: heights, ends, energies, cost, and what they are worth as first paths."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from spacetime_tps.analysis.comparison import EXACT, MethodPaths
from spacetime_tps.analysis.path_metrics import overdamped_log_likelihood, path_density, target_rmsd
from spacetime_tps.analysis.quench import quench, quenched_barrier
from spacetime_tps.analysis.shooting import Chains
from spacetime_tps.analysis.structure import TURNED, integrity_problems
from spacetime_tps.config import ToyConfig
from spacetime_tps.dynamics import MolecularDynamics, energies_of
from spacetime_tps.seeds import generator, openmm_seed, torch_seed
from spacetime_tps.shooting.chains import EngineRecipe, Observables, run_chains
from spacetime_tps.shooting.engine import NOWHERE
from spacetime_tps.shooting.first import first_path, still, with_velocities
from spacetime_tps.shooting.path import ShotPath
from spacetime_tps.stages.context import Context
from spacetime_tps.topology import heavy_atoms

_QUENCHED_FRAMES = 40


@dataclass(frozen=True)
class Raw:
    """Paths as a method left them, every one from A to B.

    Attributes:
        variables: collective variables, shapes (T_k, n_cv).
        frames: of the first paths, shapes (T_k, n_atoms, 3) [nm] or (T_k, d).
        arrived: whether a path ends in its target, shape (n,).
        forward: whether it was made from A to B, shape (n,).
        max_free_energy: of each, where it is known better than from ``variables``.
        cost: force evaluations of the method itself.
        uses: stages of the run whose results it needed.
        scalars: further figures.
        stays: whether its end stays in the target when released, where that is known already.
        interval: physical time between frames, for paths in physical time.
        chains: of transition path sampling.
    """

    variables: list[np.ndarray]
    frames: list[np.ndarray]
    arrived: np.ndarray
    forward: np.ndarray
    cost: int
    uses: tuple[str, ...] = ()
    max_free_energy: np.ndarray | None = None
    scalars: dict[str, float] | None = None
    stays: np.ndarray | None = None
    interval: float = float("nan")
    chains: Chains | None = None


def measured(name: str, context: Context, make: Callable[[], Raw]) -> MethodPaths:
    """Run a method and measure its paths."""
    started = time.perf_counter()
    raw = make()
    seconds = time.perf_counter() - started
    system, config = context.system, context.config.comparison
    observables = Observables.of(system)
    whole = np.ones(len(raw.arrived), dtype=bool)
    if system.molecule is not None:
        for k, frames in enumerate(raw.frames):
            positions = frames.astype(float)
            whole[k] = not integrity_problems(system.molecule.topology, system.structures, positions, TURNED)
    highest = raw.max_free_energy
    if highest is None:
        highest = np.array([observables.max_free_energy(v) for v in raw.variables])
    arrived = raw.arrived & whole
    moved = [observables.displacement(v) for v in raw.variables]
    shown = [v for v, good in zip(raw.variables, arrived, strict=True) if good]
    scalars = {"whole": float(whole[: len(raw.frames)].mean()) if raw.frames else float("nan")}
    scalars |= raw.scalars or {}
    scalars |= _examined(name, context, raw, arrived)
    if system.potential is not None and system.reference is not None and arrived.any():
        # The surface is U / kT above its least value; a path's U is looked at as often as its F.
        lowest = float(system.potential.energy(torch.from_numpy(system.reference.points())).min())
        energies = lowest + system.potential_kt * highest[arrived]
        scalars |= {"max_energy": float(energies.mean()), "max_energy_std": float(energies.std())}
    records = {stage: context.folder.record(stage) for stage in raw.uses}
    scalars["own_force_evaluations"] = raw.cost
    total = raw.cost + sum(record["force_evaluations"] for record in records.values())
    scalars["force_evaluations"] = total
    scalars["wall_seconds"] = seconds + sum(record["wall_seconds"] for record in records.values())
    if name not in EXACT and shown:
        scalars |= _as_seeds(name, context, raw, arrived, total)
    return MethodPaths(
        max_free_energy=highest,
        arrived=arrived,
        displacement=np.array(moved).reshape(len(arrived), len(system.variables.names)),
        density=_density(context, shown) if shown else np.zeros(0),
        length=np.array([(len(v) - 1) * raw.interval for v in raw.variables]),
        scalars={key: float(value) for key, value in scalars.items()} | {"density_bins": config.density_bins},
    )


def _density(context: Context, shown: list[np.ndarray]) -> np.ndarray:
    system, bins = context.system, context.config.comparison.density_bins
    if isinstance(context.config.system, ToyConfig):
        low, high = np.array(context.config.system.box).T
        return path_density(shown, low, high, bins)
    count = len(system.variables.names)
    if count > 3 or system.variables.measures:
        return np.zeros(0)
    return path_density(shown, np.full(count, -np.pi), np.full(count, np.pi), bins, 2 * np.pi)


def _examined(name: str, context: Context, raw: Raw, arrived: np.ndarray) -> dict[str, float]:
    """Figures that need frames: potential energies, the ends, the quenched barrier, RMSD, THP, ETS."""
    system, config = context.system, context.config.comparison
    chosen = [k for k in range(min(len(raw.frames), config.examined_paths)) if arrived[k]]
    hit = raw.arrived[: len(raw.frames)]
    found: dict[str, float] = {"thp": float(hit.mean())} if len(hit) else {}
    if not chosen:
        return found
    if raw.stays is not None:
        found["stays"] = float(raw.stays[chosen].mean())
    else:
        ends = [raw.frames[k][-1] if raw.forward[k] else raw.frames[k][0] for k in chosen]
        found["stays"] = _released(name, context, ends, raw.forward[chosen])
    if system.potential is not None:
        if raw.interval == recipe_of(context).time_step:
            found["log_likelihood_per_step"] = _log_likelihood(context, [raw.frames[k] for k in chosen])
        return found
    assert system.molecule is not None
    assert system.variables.quadruples is not None
    dynamics = context.dynamics()
    energies = _max_energies(dynamics, [raw.frames[k] for k in chosen])
    heavy = heavy_atoms(system.molecule.topology)
    heavy &= np.isin(np.arange(len(heavy)), system.molecule.solute)
    ends = [(raw.frames[k][-1], 1) if raw.forward[k] else (raw.frames[k][0], 0) for k in chosen]
    rmsd = [target_rmsd(frame[None], system.structures[side], heavy)[0] for frame, side in ends]
    found |= {"max_energy": float(np.mean(energies)), "max_energy_std": float(np.std(energies))}
    found |= {"ets": float(np.mean(energies)), "rmsd_nm": float(np.mean(rmsd))}
    barriers = []
    for k in chosen[: config.quenched_paths]:
        picked = raw.frames[k][np.unique(np.linspace(0, len(raw.frames[k]) - 1, _QUENCHED_FRAMES).astype(int))]
        energy = quench(dynamics, system.variables.quadruples, picked.astype(float)).energies
        barriers.append(quenched_barrier(energy)["from_a"])
    return found | {"quenched_barrier": float(np.mean(barriers))}


def _log_likelihood(context: Context, paths: list[np.ndarray]) -> float:
    """Mean over paths of which every step is stored, each by its number of steps."""
    recipe = recipe_of(context)
    assert recipe.potential is not None
    points = [torch.from_numpy(path.astype(float)) for path in paths]
    each = [overdamped_log_likelihood(x, recipe.potential, recipe.kt, recipe.time_step) / (len(x) - 1) for x in points]
    return float(torch.stack(each).mean())


def _max_energies(dynamics: MolecularDynamics, paths: list[np.ndarray]) -> list[float]:
    simulation = dynamics.context(1)

    def energy(positions: np.ndarray) -> float:
        simulation.setPositions(positions.astype(float))
        return energies_of(simulation)[0]

    return [max(map(energy, frames)) for frames in paths]


def _released(name: str, context: Context, ends: list[np.ndarray], forward: np.ndarray) -> float:
    """Share of path ends that, let go with fresh velocities, are found committed to the state that they reached."""
    steps = context.config.paths.release_steps
    recipe = recipe_of(context)
    engine = recipe.build(noise_seed(context, name, "release"))
    points = [still(np.asarray(end, dtype=float), recipe) for end in ends]
    here, _ = engine.starts(points, 0.0, generator(context.config.seed, name, "release"))
    frames = max(1, steps // recipe.frame_every)
    segments = engine.integrate(here, np.full(len(points), frames), stop=False)
    sides = [s.state for s in segments]
    lost = [k for k, side in enumerate(sides) if side == NOWHERE]
    if lost:
        last = [segments[k].as_path(False, 0).part(frames - 1, frames) for k in lost]
        onward, _ = engine.starts(last, 1.0, generator(context.config.seed, name, "release"))
        for k, segment in zip(lost, engine.integrate(onward, np.full(len(lost), 10 * frames), stop=True), strict=True):
            sides[k] = segment.state
    wanted = np.where(forward, 2, 1)
    return float(np.mean(np.array(sides) == wanted))


def recipe_of(context: Context) -> EngineRecipe:
    """The unguided dynamics of a run's system, looked at as shooting does."""
    dynamics = context.dynamics() if context.system.molecule is not None else None
    return EngineRecipe.of(context.system, dynamics, context.config.shooting.frame_every)


def noise_seed(context: Context, *keys: str | int) -> int:
    """For the dynamics of a named piece of work."""
    return (torch_seed if context.system.potential is not None else openmm_seed)(context.config.seed, *keys)


def _as_seeds(name: str, context: Context, raw: Raw, arrived: np.ndarray, total: int) -> dict[str, float]:
    """How good a method's paths are as first paths of transition path sampling, its own cost included."""
    config = context.config.shooting
    config = config.model_copy(update={"steps": context.config.comparison.seeded_steps, "burn_in": 0})
    found: list[ShotPath] = []
    for k, frames in enumerate(raw.frames):
        if arrived[k] and len(found) < config.chains:
            try:
                found.append(first_path(frames, context.system.variables(frames.astype(float)), context.system.states))
            except ValueError:
                continue
    if not found:
        return {}
    recipe = recipe_of(context)
    engine = recipe.build(noise_seed(context, name, "seeds"))
    rng = generator(context.config.seed, name, "seeds")
    first = [with_velocities(path, engine, rng) for path in found]
    blocks = run_chains(
        context.system, recipe.dynamics, first, config, context.config.seed, context.pool, name=f"seeded by {name}"
    )
    chains = Chains.of(blocks, 0, config.keep_every)
    cost = total + chains.force_evaluations + engine.force_evaluations
    left = [step for step in chains.first_decorrelation() if step is not None]
    return {
        "decorrelated_per_million": 1e6 * chains.decorrelated() / cost,
        "seeded_acceptance": float(chains.steps.accepted.mean()),
        "steps_to_first_decorrelation": float(np.mean(left)) if left else float("nan"),
    }
