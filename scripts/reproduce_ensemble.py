"""The true transition path ensemble from refined annealed paths: what shooting makes of them.

Takes finished runs, such as those of ``reproduce_refinement.py``, and shoots in those that do not end with it already
(``tps`` in the configuration): eight chains of 12,000 steps, 2000 of them burn-in. Prints for each: acceptance,
decorrelation, lengths, whether the chains have mixed, committors of the annealed paths where the free energy along
their curve is highest, and what was exported. Of every two runs of one system the lengths are compared by a
Kolmogorov-Smirnov test over paths of the chains that lie an autocorrelation time of the length apart and share no
frame: all that the chains are worth.

    python scripts/reproduce_ensemble.py runs/refinement/seed_0 runs/refinement/seed_1 runs/tetrapeptide
"""

from __future__ import annotations

import argparse
import csv
import itertools
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import MDAnalysis
import numpy as np
from scipy.stats import ks_2samp

from spacetime_tps.errors import plain_errors
from spacetime_tps.files import read_json

COMMAND = [sys.executable, "-c", "from spacetime_tps.cli.main import main; main()"]
LONG = [
    word
    for change in ("chains=8", "steps=12000", "burn_in=2000", "keep_every=50", "trajectories=200")
    for word in ("--set", f"shooting.{change}")
]


@dataclass(frozen=True)
class Ensemble:
    """Paths of a run that count as independent.

    Attributes:
        folder: of the run.
        system: its name.
        lengths: in frames, shape (n,).
        highest: MaxFreeEnergy [kJ/mol], shape (n,); NaN without a reference.
    """

    folder: Path
    system: str
    lengths: np.ndarray
    highest: np.ndarray


def independent(folder: Path, summary: dict) -> Ensemble:
    """Paths of the chains an autocorrelation time apart, behind the burn-in, without a common frame."""
    rows = list(csv.DictReader((folder / "shooting/trials.csv").open()))
    apart = int(np.ceil(summary["length_frames"]["autocorrelation_steps"]))
    chosen, last, chain = [], 0, None
    for row in rows:
        step, oldest = int(row["step"]), int(row["oldest_frame_of_step"])
        if row["chain"] != chain:
            chain, last = row["chain"], summary["burn_in"]
        if step >= last + apart and oldest > last:
            chosen.append(row)
            last = step
    heights = [float(row["max_free_energy_kj_mol"] or "nan") for row in chosen]
    return Ensemble(folder, summary["system"], np.array([float(row["length"]) for row in chosen]), np.array(heights))


def report(folder: Path) -> Ensemble:
    if not (folder / "shooting/summary.json").is_file():
        subprocess.run([*COMMAND, "shoot", str(folder), "--resume", *LONG], check=True, capture_output=True)
    summary = read_json(folder / "shooting/summary.json")
    found = independent(folder, summary)
    acceptance, length = summary["acceptance"]["all"], summary["length"]
    print(f"{folder} ({summary['system']}):")
    print(
        f"  acceptance {acceptance['share']:.1%} +- {acceptance['error']:.1%}; {summary['chains']} chains of "
        f"{summary['steps']} steps; {summary['decorrelated_paths']} paths without a common frame, first after "
        f"{summary['first_decorrelation_steps']} steps; length {length['mean']:.3f} +- {length['error']:.3f} ps, "
        f"autocorrelation {length['autocorrelation_steps']:.0f} steps, {len(found.lengths)} independent paths"
    )
    highest = summary.get("max_free_energy_kj_mol")
    if highest is not None:
        print(
            f"  MaxFreeEnergy {highest['mean']:.2f} +- {highest['error']:.2f} kJ/mol, Gelman-Rubin "
            f"{highest['gelman_rubin']:.2f}, below the bound {highest['fraction_below_bound']:.1%}"
        )
    if not (folder / "committor/committor.json").is_file():
        subprocess.run([*COMMAND, "committor", str(folder), "--overwrite"], check=True, capture_output=True)
    committor = read_json(folder / "committor/committor.json")
    spread = committor["spread_beyond_binomial"]
    print(
        f"  committor of {committor['count']} frames at the top: {spread['mean']:.2f} +- {spread['mean_error']:.2f}, "
        f"spread {spread['spread']:.2f}, histogram {committor['histogram']['counts']}"
    )
    files = sorted((folder / "shooting").glob("path_*.dcd"))
    frames = [MDAnalysis.Universe(folder / "shooting/topology.pdb", file).trajectory.n_frames for file in files]
    print(f"  {len(files)} DCD files of true paths, {min(frames)} to {max(frames)} frames")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+", help="folders of finished runs")
    ensembles = [report(folder) for folder in parser.parse_args().runs]
    for one, other in itertools.combinations(ensembles, 2):
        if one.system != other.system:
            continue
        length = ks_2samp(one.lengths, other.lengths).pvalue
        text = f"{one.folder} and {other.folder}: lengths of {len(one.lengths)} and {len(other.lengths)} paths, "
        text += f"Kolmogorov-Smirnov p = {length:.2f}"
        if np.isfinite(one.highest).all() and np.isfinite(other.highest).all():
            text += f"; MaxFreeEnergy p = {ks_2samp(one.highest, other.highest).pvalue:.2f}"
        print(text)


if __name__ == "__main__":
    with plain_errors():
        main()
