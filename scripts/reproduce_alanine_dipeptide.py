"""Alanine dipeptide over several seeds: the figures of the README, and a check of every trajectory.

Runs (or resumes) the standard preset for each seed, prints one Markdown row a seed, compares the denoiser with the
exact posterior on the reference grid, and reads every DCD back with MDTraj and with MDAnalysis.

    python scripts/reproduce_alanine_dipeptide.py --seeds 0 1 2 -o runs/reproduce     # about five minutes a seed
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
import warnings
from pathlib import Path

import MDAnalysis
import mdtraj
import numpy as np

from spacetime_tps.errors import plain_errors
from spacetime_tps.files import read_json
from spacetime_tps.systems import System, find_system_file, load_config, load_system

COLUMNS = ("seed", "channel", "barrier", "channel's bound", "paths", "arrived", "started", "max F forward",
           "max F backward", "below bound", "bound", "W_diss forward [kT]", "W_diss backward [kT]", "dF by work",
           "dF reference", "worst hysteresis [deg]", "force evaluations [M]", "wall [s]")  # fmt: skip


def row_of(summary: dict) -> list[str]:
    """One row of the table; energies in kJ/mol unless said otherwise."""
    channel, paths, reference = summary["geodesic"]["channels"][0], summary["paths"], summary["reference"]
    highest, work, delta_f = paths["max_free_energy_kj_mol"], paths["dissipated_work_kt"], paths["delta_f_kj_mol"]
    return [
        str(summary["seed"]),
        channel["label"],
        f"{channel['barrier_kj_mol']:.2f}",
        f"{channel['minimax_barrier_kj_mol']:.2f}",
        str(paths["count"]),
        f"{paths['arrived_fraction']:.2f}",
        f"{paths['started_fraction']:.2f}",
        f"{highest['forward']['mean']:.2f} ± {highest['forward']['std']:.2f}",
        f"{highest['backward']['mean']:.2f} ± {highest['backward']['std']:.2f}",
        f"{highest['fraction_below_bound']:.2f}",
        f"{reference['minimax_barrier_kj_mol']:.2f} ± {reference['error_kj_mol']:.2f}",
        f"{work['forward']:.2f} ± {work['forward_error']:.2f}",
        f"{work['backward']:.2f} ± {work['backward_error']:.2f}",
        f"{delta_f['crooks']:.2f} ± {delta_f['error']:.2f}",
        f"{delta_f['reference']:.2f}",
        f"{paths['hysteresis'][0]['difference_deg']:.1f} ({paths['hysteresis'][0]['name']})",
        f"{sum(summary['force_evaluations'].values()) / 1e6:.1f}",
        f"{sum(summary['wall_seconds'].values()):.0f}",
    ]


def denoiser_table(summary: dict) -> str:
    """Error of the denoiser against the exact grid posterior by log-SNR."""
    model = summary["denoiser"]
    rows = []
    for level, error in model["rms_error_to_reference_by_log_snr"].items():
        spread = model["reference_posterior_std_by_log_snr"][level]
        rows.append(f"log-SNR {level}: rms error {error:.4f}, {error / spread:.3f} of the posterior std {spread:.4f}")
    return "\n".join(rows)


def check_trajectories(run: Path, system: System) -> str:
    """Read every arrived path with both libraries and check coordinates, interval, ends and jumps."""
    top = str(run / "topology.pdb")
    interval = read_json(run / "summary.json")["paths"]["frame_interval_ps"]
    worst_coordinate = worst_interval = worst_jump = 0.0
    ends_right, count = 0, 0
    with (run / "paths.csv").open() as handle:
        rows = [row for row in csv.DictReader(handle) if row["arrived"] == "1"]
    for row in rows:
        file = str(run / f"paths/path_{int(row['path']):04d}.dcd")
        xyz = mdtraj.load(file, top=top).xyz
        universe = MDAnalysis.Universe(top, file)
        other = np.array([step.positions.copy() for step in universe.trajectory]) / 10
        worst_coordinate = max(worst_coordinate, float(np.abs(xyz - other).max()))
        worst_interval = max(worst_interval, abs(universe.trajectory.dt / interval - 1))
        angles = system.variables(xyz.astype(float))
        worst_jump = max(worst_jump, float(np.abs(np.angle(np.exp(1j * np.diff(angles, axis=0)))).max()))
        first, last = system.states if row["direction"] == "A->B" else system.states[::-1]
        ends_right += bool(first.contains(angles[0]) and last.contains(angles[-1]))
        count += 1
    return (
        f"{count} arrived paths: coordinates of MDTraj and MDAnalysis differ by at most {worst_coordinate:.1e} nm, "
        f"interval by {worst_interval:.1e} of {interval:.4f} ps, {ends_right} of {count} end where they should, "
        f"largest torsion jump between frames {worst_jump:.2f} rad"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/reproduce"))
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    file = find_system_file("alanine_dipeptide")
    system = load_system(load_config(file), file.parent)
    command = "from spacetime_tps.cli.main import main; main(prog_name='spacetime-tps')"
    runs = [arguments.output / f"seed_{seed}" for seed in arguments.seeds]
    for seed, run in zip(arguments.seeds, runs, strict=True):
        options = ["run", "alanine_dipeptide", "-o", str(run), "--seed", str(seed), "--resume"]
        subprocess.run([sys.executable, "-c", command, *options], check=True, stdout=subprocess.DEVNULL)
    print("| " + " | ".join(COLUMNS) + " |\n|" + "---|" * len(COLUMNS))
    summaries = [read_json(run / "summary.json") for run in runs]
    for summary in summaries:
        print("| " + " | ".join(row_of(summary)) + " |")
    for run, summary in zip(runs, summaries, strict=True):
        print(f"\nseed {summary['seed']}\n{denoiser_table(summary)}\n{check_trajectories(run, system)}")


if __name__ == "__main__":
    with plain_errors():
        main()
