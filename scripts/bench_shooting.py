"""Chains of shooting moves on Müller-Brown: waiting for one another after every step, or not.

Lengths of trial paths scatter as widely as their mean, so that a batch whose chains wait for the longest trial of each
step is mostly empty. Both do the same Monte Carlo steps from the same first paths; runs alternate, medians are printed.

    python scripts/bench_shooting.py                # two minutes
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch

from spacetime_tps.errors import plain_errors
from spacetime_tps.shooting import Move, OverdampedEngine, ShootingState, init, step, walk
from spacetime_tps.shooting.chains import EngineRecipe
from spacetime_tps.shooting.first import hot_paths
from spacetime_tps.systems import find_system_file, load_config, load_system

Way = Callable[[list[ShootingState], OverdampedEngine, Move, np.random.Generator, int], None]


def waiting(
    states: list[ShootingState], engine: OverdampedEngine, move: Move, rng: np.random.Generator, size: int
) -> None:
    for _ in range(size):
        states, _ = step(states, engine, move, rng)


def alone(
    states: list[ShootingState], engine: OverdampedEngine, move: Move, rng: np.random.Generator, size: int
) -> None:
    for _ in walk(states, engine, move, rng, size):
        pass


WAYS: dict[str, Way] = {"waiting": waiting, "not waiting": alone}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chains", type=int, default=256)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    file = find_system_file("mueller_brown")
    system = load_system(load_config(file), file.parent)
    recipe = EngineRecipe.of(system, None, 1)
    hot, _ = hot_paths(recipe, 1.5, system.structures[0], given.chains, 1_000_000, 1, np.random.default_rng(1))
    states = [init(hot[k % len(hot)]) for k in range(given.chains)]
    for two_way in (False, True):
        move = Move(two_way=two_way, max_frames=30_000)
        seconds: dict[str, list[float]] = {name: [] for name in WAYS}
        for repeat in range(given.repeats):
            for name, run in WAYS.items():
                engine = recipe.build(repeat)
                assert isinstance(engine, OverdampedEngine)
                began = time.perf_counter()
                run(states, engine, move, np.random.default_rng(repeat), given.steps)
                seconds[name].append(1e6 * (time.perf_counter() - began) / engine.force_evaluations)
        medians = {name: float(np.median(values)) for name, values in seconds.items()}
        label = "two-way" if two_way else "one-way"
        for name, value in medians.items():
            print(f"{label}, {given.chains} chains, {name}: {value:.3f} microseconds per force evaluation")
        print(f"{label}: {medians['waiting'] / medians['not waiting']:.1f} times faster")


if __name__ == "__main__":
    with plain_errors():
        main()
