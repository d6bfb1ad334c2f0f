"""Rates and unguided paths of finished runs of one molecule, beside each other and beside its reference surface.

    for seed in 0 1 2; do spacetime-tps run alanine_dipeptide -o runs/rates_$seed --seed $seed; done
    python scripts/reproduce_transitions.py runs/rates_0 runs/rates_1 runs/rates_2
    spacetime-tps run glycine_dipeptide -o runs/glycine && python scripts/reproduce_transitions.py runs/glycine

For each: both rate constants and the errors of their logarithms, effective paths, shots that connect the states, what
the stage and the whole run cost; MaxFreeEnergy, and over alanine dipeptide's ridge the share of paths with psi above
zero where phi crosses zero. Where there is a reference surface over the torsions of the representation, free energies
of the ridge windows and of the states follow from it by quadrature, and with them the rate constants of the same shots
by free energies that no simulation of the run has touched. Of a molecule that is its own mirror image, both rates
should be equal, and the ensemble its own mirror image: Kolmogorov-Smirnov tests of the torsions halfway.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import numpy as np
from scipy.special import logsumexp
from scipy.stats import ks_2samp, wasserstein_distance

from spacetime_tps.analysis.rates import resampled
from spacetime_tps.errors import plain_errors
from spacetime_tps.files import read_arrays
from spacetime_tps.representations.ridge import RidgeWindows
from spacetime_tps.shooting.chains import Observables
from spacetime_tps.stages import RunFolder
from spacetime_tps.stages.ridge_rounds import ridge_space
from spacetime_tps.systems import System, load_system

MIRRORED = ("glycine_dipeptide",)


def reference_rates(system: System, stored: dict[str, np.ndarray], stays: np.ndarray, interval: float) -> np.ndarray:
    """log k of both directions in 1/ns by free energies from the reference surface, shape (2,)."""
    assert system.reference is not None
    space = ridge_space(system)
    points = system.reference.points()
    log_density = -system.reference.free_energy.ravel() / system.kt
    log_density -= logsumexp(log_density)
    windows = RidgeWindows(*(stored[name] for name in ("direction", "center", "stiffness", "tilt", "curb")))
    free = -logsumexp(log_density[:, None] + windows.log_weights(space.features(points)), axis=0)
    drawn = np.bincount(stored["window"], minlength=len(windows))
    offset = free + np.log(drawn / drawn.sum())
    paths = np.split(stored["path_variables"], np.cumsum(stored["lengths"])[:-1])
    sums = [logsumexp(offset + windows.log_weights(space.features(path[1:-1]))) for path in paths]
    log_flux = logsumexp(-np.array(sums)) - np.log(2.0 * interval * drawn.sum())
    inside = system.in_states(points)
    populations = [logsumexp(log_density[inside[:, side]]) - np.log(stays[side]) for side in (0, 1)]
    return log_flux - np.array(populations) + np.log(1000.0)


def crossing(path: np.ndarray) -> float:
    """psi [rad] where phi first crosses zero; NaN if it does not."""
    k = np.flatnonzero((np.diff(np.sign(path[:, 0])) != 0) & (np.abs(np.diff(path[:, 0])) < np.pi))
    return float(path[k[0], 1]) if len(k) else float("nan")


def shown(folder: RunFolder) -> tuple[np.ndarray, np.ndarray]:
    """Print what a run has; MaxFreeEnergy of paths that count alike, and log k."""
    system = load_system(folder.config(), folder.path)
    record = folder.record("transitions")
    summary, stored = record["summary"], read_arrays(folder / "shots.npz")
    total = sum(folder.record(stage)["force_evaluations"] for stage in ("sample", "paths", "windows", "transitions"))
    print(f"\n{folder.path}: {system.config.name}, seed {system.config.seed}")
    if not len(stored["weights"]) or "shots" not in summary:
        print(f"  no paths: {summary.get('no_rates_because')}")
        return np.zeros(0), np.full(2, np.nan)
    rng, weights = np.random.default_rng(0), stored["weights"]
    paths = np.split(stored["path_variables"], np.cumsum(stored["lengths"])[:-1])
    print(
        f"  {summary['paths']} of {summary['shots']} shots connect the states, {summary['effective_paths']:.0f} "
        f"effective paths, Pareto k {summary['pareto_k']:.2f}; {record['force_evaluations'] / 1e6:.2f} million force "
        f"evaluations of {total / 1e6:.2f}"
    )
    logs = np.full(2, np.nan)
    for side, name in enumerate(("rate_a_to_b", "rate_b_to_a")):
        if name in summary:
            rate = summary[name]
            logs[side] = np.log(rate["value"])
            print(f"  {name}: {rate['value']:.3g} {rate['unit']}, error of log {rate['error_of_log']:.2f}")
    if np.isnan(logs).any():
        print(f"  no rates: {summary['no_rates_because']}")
    observables = Observables.of(system)
    highest = np.array([observables.max_free_energy(path) for path in paths])
    picked = resampled(weights, max(2, int(summary["effective_paths"])), rng)
    if np.isfinite(highest).all():
        mean = weights @ highest
        spread = np.sqrt(weights @ (highest - mean) ** 2)
        print(f"  MaxFreeEnergy {mean:.2f} +- {spread / np.sqrt(summary['effective_paths']):.2f}, std {spread:.2f}")
    if system.config.name.startswith("alanine_dipeptide"):
        upper = np.array([crossing(path) > 0.0 for path in paths])
        print(f"  upper tube {weights @ upper:.0%}")
    represented = [system.variables.names[k] for k in system.represented]
    if system.reference is not None and represented == ["phi", "psi"] and np.isfinite(logs).all():
        dynamics = system.config.system.dynamics
        interval = dynamics.time_step * system.config.transitions.frame_every
        stays = read_arrays(folder / "windows.npz", ("stays",))["stays"][:, 0]
        by_reference = reference_rates(system, stored, stays, interval)
        print(
            f"  by the reference surface: A to B {np.exp(by_reference[0]):.3g}, B to A {np.exp(by_reference[1]):.3g} "
            f"1/ns; log of ours over these {logs[0] - by_reference[0]:+.2f}, {logs[1] - by_reference[1]:+.2f}"
        )
    if system.config.name in MIRRORED:
        halfway = np.array([paths[k][len(paths[k]) // 2] for k in picked])
        half = len(halfway) // 2
        for k, name in enumerate(system.variables.names):
            p = ks_2samp(halfway[:half, k], -halfway[half:, k]).pvalue
            print(f"  {name} halfway against its mirror image: KS p {p:.2g}")
    return highest[picked], logs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+", help="finished run folders of one system")
    found = {path: shown(RunFolder(path)) for path in parser.parse_args().runs}
    for (one, (first, _)), (two, (second, _)) in itertools.combinations(found.items(), 2):
        if len(first) and len(second) and np.isfinite(np.concatenate([first, second])).all():
            apart = wasserstein_distance(first, second)
            print(
                f"{one.name} and {two.name}: W1 of MaxFreeEnergy {apart:.2f}, KS p {ks_2samp(first, second).pvalue:.2g}"
            )
    logs = np.array([each for _, each in found.values()])
    logs = logs[np.isfinite(logs).all(axis=1)]
    if len(logs) > 1:
        print(
            f"scatter of log k between runs: A to B {logs[:, 0].std(ddof=1):.2f}, B to A {logs[:, 1].std(ddof=1):.2f}"
        )


if __name__ == "__main__":
    with plain_errors():
        main()
