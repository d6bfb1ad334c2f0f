"""MBAR by our trust-region Newton method against pymbar's (trust-exact), on chains of restrained windows.

Windows stand along a circle with two wells, six or sixty kT deep; their samples are exact. The stiffer the restraint,
the less they overlap, and the farther is the solution from where both solvers start. Both solve the same equations:
the largest difference of free energies is printed.

    python scripts/bench_mbar.py                    # ten seconds
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from pymbar import MBAR

from spacetime_tps.boltzmann.reweighting import solved
from spacetime_tps.errors import plain_errors

THETA = np.linspace(-np.pi, np.pi, 20_000, endpoint=False)


def windows(count: int, each: int, stiffness: float, depth: float, rng: np.random.Generator) -> np.ndarray:
    """Reduced potentials of samples of all windows in all windows, shape (count, count * each)."""
    centers = np.linspace(-np.pi, np.pi, count, endpoint=False)
    energy = 0.5 * depth * (1 - np.cos(2 * THETA))
    theta = []
    for center in centers:
        logits = stiffness * np.cos(THETA - center) - energy
        weights = np.exp(logits - logits.max())
        theta.append(rng.choice(THETA, each, p=weights / weights.sum()))
    return -stiffness * np.cos(np.concatenate(theta) - centers[:, None])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=200, help="of each window")
    given = parser.parse_args()
    print("windows  stiffness  depth [kT]   Newton [s]   pymbar [s]   ratio   largest difference [kT]")
    for count, stiffness, depth in ((20, 20.0, 6.0), (40, 60.0, 6.0), (40, 60.0, 60.0), (80, 120.0, 60.0)):
        reduced = windows(count, given.samples, stiffness, depth, np.random.default_rng(count))
        counts = np.full(count, given.samples)
        started = time.perf_counter()
        ours = solved(reduced, counts).free_energies
        between = time.perf_counter()
        theirs = MBAR(reduced, counts, solver_protocol=({"method": "trust-exact"},), initialize="zeros").f_k
        ended = time.perf_counter()
        mine, its = between - started, ended - between
        off = np.abs(ours - theirs).max()
        print(
            f"{count:7d}  {stiffness:9.0f}  {depth:10.0f}   {mine:10.2f}   {its:10.2f}   {its / mine:5.1f}   {off:.1e}"
        )


if __name__ == "__main__":
    with plain_errors():
        main()
