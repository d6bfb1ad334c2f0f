"""Rates by shots out of ridge windows on Müller-Brown: do their intervals cover what the discretised dynamics has?

The reference solves the backward equation of the chain as it is run, u(x) = E[u(x - dt grad U + noise)] outside the
states, on a grid, by Krylov iterations; it is printed on two grids. Denoiser (the tabulated posterior) and curve are
frozen; windows along the curve, free walkers and all rounds of shots are repeated with seeds fixed beforehand, all
repetitions in one batch. Or whole runs, each with samples, denoiser and curve of its own.

    python scripts/bench_rates.py --repetitions 20 --shots 320      # five minutes
    python scripts/bench_rates.py                                   # 200 repetitions of 1200 shots: an hour, 16 GB
    for seed in $(seq 20); do spacetime-tps run mueller_brown -o runs/mb_$seed --seed $seed; done
    python scripts/bench_rates.py --runs runs/mb_*
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from bench_free_energies import geodesic_of, spaced
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.sparse.linalg import LinearOperator, bicgstab

from spacetime_tps.analysis.rates import Stay, pareto_k, rates_of, shot_ensemble
from spacetime_tps.boltzmann.pool import WITHIN_A, WITHIN_B, Pool, Seen, solve
from spacetime_tps.boltzmann.windows import WindowSteps, sample_windows_of_potential
from spacetime_tps.config import TransitionsConfig
from spacetime_tps.diffusion.exact import GridDenoiser
from spacetime_tps.errors import plain_errors
from spacetime_tps.geometry.curve import evaluate
from spacetime_tps.parallel import WorkerPool
from spacetime_tps.representations import Identity
from spacetime_tps.shooting.chains import EngineRecipe
from spacetime_tps.shooting.engine import Phase
from spacetime_tps.shooting.overdamped import OverdampedEngine
from spacetime_tps.stages.ridge_rounds import Shooter, Tube, ridge_by_samples, ridge_space, rounds_of_shots
from spacetime_tps.systems import System, find_system_file, load_config, load_system

WINDOWS, WALKERS, FREE = 24, 2, 8
STEPS = WindowSteps(equilibration=400, sampled=4000, every=20, time_step=1e-4)
FREE_STEPS, LOOK = 60_000, 20
SEED = 20261130


def reference(system: System, spacing: float, dt: float, every: int) -> tuple[np.ndarray, float]:
    """log k_AB and log k_BA of the chain, shape (2,), and by how much both ways of counting the flux differ.

    States are looked for every so many steps of ``dt``.
    """
    assert system.potential is not None
    kt = system.potential_kt
    (x0, x1), (y0, y1) = system.config.system.box
    x, y = np.arange(x0, x1, spacing), np.arange(y0, y1, spacing)
    points = np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1)
    flat = torch.from_numpy(points.reshape(-1, 2))
    energy = system.potential.energy(flat).numpy().reshape(points.shape[:2]) / kt
    drift = -dt * system.potential.gradient(flat).numpy().reshape(points.shape)
    to = np.moveaxis((points + np.clip(drift, -0.2, 0.2) - [x0, y0]) / spacing, -1, 0)
    sigma = np.sqrt(2 * kt * dt) / spacing
    in_a, in_b = (state.contains(points) for state in system.states)
    between = ~(in_a | in_b)

    def step(u: np.ndarray) -> np.ndarray:
        """E[u] at the next look, on the grid."""
        for _ in range(every):
            u = map_coordinates(gaussian_filter(u, sigma, mode="nearest", truncate=6.0), to, order=3, mode="nearest")
        return u

    def left(inside: np.ndarray) -> np.ndarray:
        u = np.zeros(points.shape[:2])
        u[between] = inside
        return inside - step(u)[between]

    size = int(between.sum())
    operator = LinearOperator((size, size), matvec=left)
    found, failed = bicgstab(operator, step(in_b.astype(float))[between], rtol=1e-8, maxiter=4000)
    assert not failed, f"the committor has not converged ({failed})"
    q = in_b.astype(float)
    q[between] = found
    boltzmann = np.exp(-(energy - energy.min()))
    boltzmann /= boltzmann.sum()
    out_of_a = float((boltzmann * in_a * step(q)).sum()) / (every * dt)
    out_of_b = float((boltzmann * in_b * step(1.0 - q)).sum()) / (every * dt)
    p_b = float((boltzmann * q).sum())
    flux = np.sqrt(out_of_a * out_of_b)
    return np.log([flux / (1.0 - p_b), flux / p_b]), float(np.log(out_of_a / out_of_b))


def repetitions(system: System, count: int, config: TransitionsConfig, dt: float) -> np.ndarray:
    """Rows (log k_AB, its error, log k_BA, its error, effective paths, Pareto k, share that connects)."""
    assert system.potential is not None
    assert isinstance(system.representation, Identity)
    potential, kt, space = system.potential, system.potential_kt, system.representation
    denoiser = GridDenoiser.from_surface(space, system.reference)
    curve = geodesic_of(system, denoiser)
    natural = spaced(curve, WINDOWS, "Fisher-Rao")
    means = evaluate(denoiser, torch.from_numpy(natural)).mean.numpy()[:, :2]
    many = np.repeat(means[:, None], count * WALKERS, axis=1)
    points, _ = sample_windows_of_potential(potential, kt, space, natural, many, STEPS, SEED)
    seen = Seen(points, system.in_states(points), points)
    engine = OverdampedEngine(potential, kt, dt, system.states, LOOK, SEED + 1)
    ends = np.repeat(system.structures, count * FREE, axis=0)
    walked = engine.integrate(Phase(ends, np.zeros((len(ends), 0))), np.full(len(ends), FREE_STEPS // LOOK), stop=False)
    free = np.array([walk.variables for walk in walked]).reshape(2, count, FREE, -1, 2)
    pools, stays = [], []
    for k in range(count):
        own = Seen(free[:, k], system.in_states(free[:, k]), free[:, k])
        pool = Pool.of_state(WITHIN_A, own[0], 3).joined(Pool.of_state(WITHIN_B, own[1], 3))
        pools.append(pool.joined(Pool.of_windows(natural, seen[:, k * WALKERS : (k + 1) * WALKERS])))
        inside = own.in_states
        stays.append((Stay.of(inside[0, ..., 0], inside[0, ..., 1]), Stay.of(inside[1, ..., 1], inside[1, ..., 0])))
    solutions = [solve(pool, space) for pool in pools]
    ridges = [ridge_by_samples(Tube.along(curve, solution, system), system) for solution in solutions]
    recipe = EngineRecipe.of(system, None, config.frame_every)
    shooter = Shooter(system, recipe, config, SEED + 2, WorkerPool(1))
    found = rounds_of_shots(shooter, list(zip(ridges, solutions, strict=True)), means, print)
    rows = []
    for k in range(count):
        windows = np.flatnonzero(found.channel == k)
        shots = found.shots.of_windows(windows)
        points_of = Seen(shots.variables, system.in_states(shots.variables), shots.variables)
        ensemble = shot_ensemble(pools[k], space, found.windows[windows], ridge_space(system), shots, points_of)
        rates = rates_of(ensemble, stays[k], dt * config.frame_every)
        (ab, ba), (error_ab, error_ba) = rates.log_constants, rates.errors
        share = len(shots.paths) / len(shots)
        rows.append([ab, error_ab, ba, error_ba, ensemble.effective, pareto_k(ensemble.weights), share])
    return np.array(rows)


def of_runs(folders: list[Path]) -> np.ndarray:
    """The same rows of whole runs; those without rates are left out, and said."""
    rows = []
    for folder in folders:
        found = json.loads((folder / "summary.json").read_text())["transitions"]
        if "rate_a_to_b" not in found:
            print(f"{folder}: no rates: {found['no_rates_because']}")
            continue
        rates = [found["rate_a_to_b"], found["rate_b_to_a"]]
        (ab, ba), (error_ab, error_ba) = ([np.log(r["value"]) for r in rates], [r["error_of_log"] for r in rates])
        rows.append([ab, error_ab, ba, error_ba, found["effective_paths"], found["pareto_k"], found["connected_share"]])
    return np.array(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=200)
    parser.add_argument("--shots", type=int, default=1200)
    parser.add_argument("--spacings", type=float, nargs="+", default=[0.006, 0.004])
    parser.add_argument("--finer", type=int, default=1, help="divides the time step")
    parser.add_argument("--every", type=int, default=1, help="steps between looks at the states")
    parser.add_argument("--runs", type=Path, nargs="+", help="finished runs, in place of repetitions")
    given = parser.parse_args()
    torch.set_num_threads(1)
    file = find_system_file("mueller_brown")
    system = load_system(load_config(file), file.parent)
    dt = system.config.system.dynamics.time_step / given.finer
    every = given.every if given.runs is None else system.config.transitions.frame_every
    exact = np.zeros(2)
    for spacing in given.spacings:
        exact, differ = reference(system, spacing, dt, every)
        print(f"reference, grid of {spacing}, looks every {every} steps:", end=" ")
        print(f"log k_AB {exact[0]:.4f}, log k_BA {exact[1]:.4f};", end=" ")
        print(f"flux out of A over that out of B {np.exp(differ):.4f}", flush=True)
    if given.runs is not None:
        told(of_runs(given.runs), exact)
    if given.runs is not None or not given.repetitions:
        return
    config = TransitionsConfig(
        shots=given.shots * given.repetitions,
        equilibration_steps=2000 * given.finer,
        spacing_steps=200 * given.finer,
        max_steps=200_000 * given.finer,
        frame_every=given.every,
    )
    started = time.perf_counter()
    rows = repetitions(system, given.repetitions, config, dt)
    print(f"{given.repetitions} repetitions in {time.perf_counter() - started:.0f} s")
    told(rows, exact)


def told(rows: np.ndarray, exact: np.ndarray) -> None:
    """Print what rows of repetitions say, beside the exact rate constants."""
    for name, k, truth in (("k_AB", 0, exact[0]), ("k_BA", 2, exact[1])):
        off, errors = rows[:, k] - truth, rows[:, k + 1]
        one, two = ((np.abs(off) < z * errors).sum() for z in (1.0, 1.96))
        scatter, expected = off.std(ddof=1), np.sqrt(np.square(errors).mean())
        print(
            f"log {name}: bias {off.mean():+.3f} +- {scatter / np.sqrt(len(off)):.3f}, scatter {scatter:.3f},", end=" "
        )
        print(f"told {expected:.3f}; {one} and {two} of {len(off)} within 1 and 1.96 errors")
    print(
        f"effective paths {rows[:, 4].mean():.0f}, Pareto k at most {np.nanmax(rows[:, 5]):.2f}, "
        f"shots that connect {rows[:, 6].mean():.0%}"
    )


if __name__ == "__main__":
    with plain_errors():
        main()
