"""The rate of alanine dipeptide at 600 K from shots at the ridge, against brute force.

Reactive flux, transitions from A to B in a nanosecond at equilibrium: <W> times what the shots from the umbrella window
W = exp(-phi^2 / 2 (10 deg)^2) say (see ``flux_over_window``). <W> comes from the run's own weighted metadynamics
samples. Brute force counts its transitions; those that do not pass through the window, which the shots cannot see, are
counted apart. Errors: of the shots by walkers, of <W> by leaving out one walker at a time, of counts by their root.

    python scripts/reproduce_rate.py runs/rate --seeds 3         # some fifteen minutes a seed on two cores
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np

from spacetime_tps.boltzmann.blocks import jackknife_error
from spacetime_tps.boltzmann.samples import WeightedSamples
from spacetime_tps.errors import plain_errors
from spacetime_tps.files import read_arrays
from spacetime_tps.shooting.chains import build_selector
from spacetime_tps.stages.context import Context, opened
from spacetime_tps.stages.folder import RunFolder
from spacetime_tps.stages.methods import umbrella, unbiased
from spacetime_tps.stages.sample import variables_of_samples

SYSTEM = "alanine_dipeptide_600k"


def mean_weight(context: Context) -> tuple[float, float]:
    """<W> at equilibrium and its error, by the samples of the run."""
    given, variables = context.config.comparison.umbrella, context.system.variables
    assert given is not None
    selector = build_selector(given, "comparison.umbrella", variables.axes)
    recorded = read_arrays(context.folder / "torsions.npz")
    logs = WeightedSamples.load(context.folder / "samples.npz").log_weights
    weights = np.exp(logs - logs.max())
    inside = selector.weights(recorded["angles"].astype(float))
    walker = recorded["walker"]

    def mean(rows: np.ndarray) -> float:
        return float(weights[rows] @ inside[rows] / weights[rows].sum())

    left = np.array([mean(walker != k) for k in np.unique(walker)])
    return mean(np.ones(len(walker), dtype=bool)), float(jackknife_error(left))


def population_of_a(context: Context) -> float:
    """Share of state A at equilibrium, by the samples of the run."""
    logs = WeightedSamples.load(context.folder / "samples.npz").log_weights
    variables = variables_of_samples(context)
    weights = np.exp(logs - logs.max())
    return float(weights @ context.system.in_states(variables)[:, 0] / weights.sum())


def brute_force(context: Context) -> tuple[int, int, float]:
    """Transitions in both directions through the window and elsewhere, and the simulated time [ns]."""
    config, found = context.config, unbiased(context)
    column = context.system.variables.names.index(config.comparison.umbrella.variable)
    near = np.array([np.abs(path[:, column]).min() < np.deg2rad(20.0) for path in found.variables])
    steps = config.comparison.unbiased_walkers * config.comparison.unbiased_steps
    return int(near.sum()), int((~near).sum()), 1e-3 * steps * config.system.dynamics.time_step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    run = [sys.executable, "-c", "from spacetime_tps.cli.main import main; main()", "run", SYSTEM]
    fluxes, errors, shares, through, elsewhere, time = [], [], [], 0, 0, 0.0
    for seed in range(given.seeds):
        folder = RunFolder(given.output / f"seed_{seed}")
        options = ["-o", str(folder.path), "--seed", str(seed), "--stop-after", "sample", "--resume"]
        subprocess.run([*run, *options], check=True)
        with opened(folder, folder.config()) as context:
            weight, its_error = mean_weight(context)
            shares.append(population_of_a(context))
            shots = umbrella(context).scalars
            near, far, spent = brute_force(context)
        flux = 1e3 * weight * shots["flux_over_window"]
        error = flux * np.hypot(its_error / weight, shots["flux_over_window_error"] / shots["flux_over_window"])
        fluxes.append(flux)
        errors.append(error)
        through, elsewhere, time = through + near, elsewhere + far, time + spent
        print(
            f"seed {seed}: <W> {weight:.2e} +- {its_error:.1e}; {shots['acceptance']:.0%} of shots connect the states; "
            f"flux {flux:.3f} +- {error:.3f} /ns; brute force {near} transitions through the window and {far} "
            f"elsewhere in {spent:.0f} ns: {near / (2 * spent):.3f} /ns"
        )
    flux, error = float(np.mean(fluxes)), float(np.sqrt(np.square(errors).sum()) / len(errors))
    if len(fluxes) > 1:
        error = max(error, float(np.std(fluxes, ddof=1) / np.sqrt(len(fluxes))))
    brute, its = through / (2 * time), np.sqrt(through) / (2 * time)
    apart = abs(flux - brute) / np.hypot(error, its)
    share = float(np.mean(shares))
    print(
        f"reactive flux {flux:.3f} +- {error:.3f} /ns, brute force {brute:.3f} +- {its:.3f} /ns: {apart:.1f} standard "
        f"errors apart; elsewhere {elsewhere / (2 * time):.3f} /ns. Share of A {share:.3f}: rate constant from A to B "
        f"{flux / share:.3f} +- {error / share:.3f} /ns"
    )


if __name__ == "__main__":
    with plain_errors():
        main()
