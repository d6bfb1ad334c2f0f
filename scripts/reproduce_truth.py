"""Methods in physical time against brute force, or against shots from the windows of the runs where there is none.

    spacetime-tps compare alanine_dipeptide_600k -o runs/truth_600k --seeds 3     # about 40 minutes on two cores
    python scripts/reproduce_truth.py runs/truth_600k

Rate constants of every seed by shots, and by the number of transitions of brute force in all seeds over the time in
which the state visited last was the one they leave.

Path length and MaxFreeEnergy of every method in physical time: mean, its distance from the truth in standard errors,
and the p-value of a Kolmogorov-Smirnov test. Paths of a chain are correlated, so that as many of them are drawn as the
autocorrelation of the chain says are independent.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from scipy.stats import ks_2samp

from spacetime_tps.analysis.comparison import MethodPaths
from spacetime_tps.errors import plain_errors
from spacetime_tps.files import read_arrays, read_json


def pooled(folder: Path, method: str, name: str) -> tuple[np.ndarray, int]:
    """One number of all arrived paths over all seeds, and how many independent ones they are worth."""
    values, independent = [], 0
    for file in sorted(folder.glob(f"seed_*/compare/{method}.npz")):
        paths = MethodPaths.of(read_arrays(file))
        own = getattr(paths, name)[paths.arrived]
        worth = min(len(own), int(paths.scalars.get("independent_paths", len(own))))
        values.append(own[:worth])  # chains are stored in random order
        independent += worth
    return (np.concatenate(values) if values else np.zeros(0)), independent


def print_rates(folder: Path) -> None:
    """By shots, and by brute force if there is any; errors are those of the logarithm."""
    shots, brute = (
        [MethodPaths.of(read_arrays(file)).scalars for file in sorted(folder.glob(f"seed_*/compare/{method}.npz"))]
        for method in ("transitions", "unbiased")
    )
    for name in ("a_to_b", "b_to_a"):
        count, time = (sum(each[f"{part}_{name}"] for each in brute) for part in ("transitions", "time_before"))
        true, its = (count / time, count**-0.5) if count else (float("nan"), float("nan"))
        print(f"rate {name}: brute force {true:.3g} ({count:.0f} transitions, error of log {its:.2f})")
        for seed, each in enumerate(shots):
            rate, error = each.get(f"rate_{name}"), each.get(f"rate_{name}_error_of_log", 0.0)
            if rate is None:
                print(f"  seed {seed}: none")
                continue
            apart = f", {abs(np.log(rate / true)) / np.hypot(error, its):.1f} joint errors apart" if count else ""
            print(f"  seed {seed}: {rate:.3g}, error of log {error:.2f}{apart}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="written by spacetime-tps compare")
    folder = parser.parse_args().folder
    summary = read_json(folder / "compare.json")
    best = next((name for name in ("unbiased", "transitions") if name in summary["methods"]), None)
    if best is None:
        parser.error(f"{folder} holds neither brute force nor shots from a window to compare with")
    print(f"{summary['system']}, seeds {summary['seeds']}, energies in {summary['unit']}; truth: {best}")
    print_rates(folder)
    print(f"{'method':24s}{'':18s}{'n':>6s}{'mean':>9s}{'std':>8s}{'error':>8s}{'sigmas':>8s}{'KS p':>9s}")
    for name in ("length", "max_free_energy"):
        truth, worth = pooled(folder, best, name)
        for method in summary["methods"]:
            found, count = pooled(folder, method, name)
            if len(found) < 2 or not np.isfinite(found).all():
                continue
            error = found.std(ddof=1) / np.sqrt(count)
            off = abs(found.mean() - truth.mean()) / np.hypot(error, truth.std(ddof=1) / np.sqrt(worth))
            p = ks_2samp(found, truth).pvalue
            print(
                f"{method:24s}{name:18s}{count:6d}{found.mean():9.3f}{found.std(ddof=1):8.3f}{error:8.3f}"
                f"{off:8.2f}{p:9.2g}"
            )


if __name__ == "__main__":
    with plain_errors():
        main()
