"""Alanine dipeptide refined from free simulations in both states alone, against a long metadynamics reference.

One nanosecond in C5/C7eq and one in C7ax, no metadynamics, at most five rounds; then paths and windows as usual.
For each seed: every round's channel, barrier, variances, and the states' free-energy difference, beside the least
possible barrier and the difference on the reference surface, which the run itself does not use.

    python scripts/reproduce_refinement.py runs/refinement --seeds 3         # some ten minutes a seed on two cores
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

from spacetime_tps.diffusion.exact import GridDenoiser
from spacetime_tps.errors import plain_errors
from spacetime_tps.files import read_arrays, read_json
from spacetime_tps.geometry.channels import climb
from spacetime_tps.geometry.smoothed import SmoothedDensity
from spacetime_tps.systems import System, find_system_file, load_config, load_system

TWO_STATES = "sampling={kind: adaptive, time: 1 ns}"


def reference_difference(system: System) -> float:
    """F(B) - F(A) [kJ/mol] on the reference surface."""
    surface = system.reference
    assert surface is not None
    points, log_density = surface.points(), surface.log_density()
    in_a, in_b = (np.logaddexp.reduce(log_density[state.contains(points)]) for state in system.states)
    return float(system.kt * (in_a - in_b))


def smoothed_climb(folder: Path, system: System) -> float:
    """Climb along the last geodesic of the reference density, smoothed as the windows' is [kJ/mol]."""
    assert system.reference is not None
    last = max((folder / "refined").glob("round_*/geodesic.npz"), key=_number)
    torsions, level = system.representation, system.config.geodesic.surface_log_snr
    exact = GridDenoiser.from_surface(torsions, system.reference)
    centers = torsions.center(torch.from_numpy(read_arrays(last)["mean"][0]))
    return float(system.kt * climb(SmoothedDensity(exact, torsions).free_energy(centers, level).numpy()))


def _number(file: Path) -> int:
    return int(file.parent.name.split("_")[1])


def report(folder: Path, system: System) -> None:
    for k, row in enumerate(read_json(folder / "stages/refine.json")["summary"]["rounds"], 1):
        barrier, states = row["barrier_kj_mol"], row["delta_f_states_kj_mol"]
        others = ", ".join(f"{label} {value['value']:.1f}" for label, value in row["barriers_kj_mol"].items())
        moved = "another channel" if row["curve_moved_deg"] is None else f"moved {row['curve_moved_deg']:.1f} deg"
        print(
            f"  round {k}: {row['chosen']}, barrier {barrier['value']:.1f} +- {barrier['error']:.1f} ({others}); "
            f"variance ratios {min(row['ratios']):.2f} to {max(row['ratios']):.2f}, {row['wrong']} wrong, "
            f"{row['stuck']} stuck; B-A {states['value']:.2f} +- {states['error']:.2f}; least overlap "
            f"{row['least_overlap']:.2g}, {row['exchanges_accepted']:.0%} of exchanges; {moved}; "
            f"{row['force_evaluations']:,} force evaluations; {'converged' if row['converged'] else 'not converged'}"
        )
    summary = read_json(folder / "summary.json")
    windows, channel = summary["windows"], summary["geodesic"]["channels"][0]
    ratios = [point["ratio"] for point in windows["points"]]
    barrier, states = windows["barrier_kj_mol"], windows["delta_f_states_kj_mol"]
    print(
        f"  fresh windows: barrier {barrier['value']:.1f} +- {barrier['error']:.1f}, variance ratios {min(ratios):.2f} "
        f"to {max(ratios):.2f}, B-A {states['value']:.2f} +- {states['error']:.2f}; the curve's barrier on the "
        f"reference surface {channel['barrier_kj_mol']:.2f}, {smoothed_climb(folder, system):.2f} smoothed alike"
    )
    cost = summary["force_evaluations"]
    print(
        f"  paths arrived {summary['paths']['arrived_fraction']:.0%}, dissipated "
        f"{summary['paths']['dissipated_work_kt']['forward']:.2f} and "
        f"{summary['paths']['dissipated_work_kt']['backward']:.2f} kT; force evaluations: sample {cost['sample']:,}, "
        f"refine {cost['refine']:,}, all {sum(cost.values()):,}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    given = parser.parse_args()
    file = find_system_file("alanine_dipeptide")
    system = load_system(load_config(file), file.parent)
    run = [sys.executable, "-c", "from spacetime_tps.cli.main import main; main()", "run", "alanine_dipeptide"]
    changes = [TWO_STATES, "accuracy=null", f"refine.rounds={given.rounds}", *given.set]
    for seed in range(given.seeds):
        folder = given.output / f"seed_{seed}"
        options = [word for change in changes for word in ("--set", change)]
        started = time.perf_counter()
        if not (folder / "summary.json").is_file():
            subprocess.run([*run, "-o", str(folder), "--seed", str(seed), "--resume", *options], check=True)
        bound = read_json(folder / "summary.json")["reference"]
        print(f"seed {seed}: {time.perf_counter() - started:.0f} s, of which the stages")
        print(f"  {read_json(folder / 'summary.json')['wall_seconds']}")
        print(
            f"  reference: least possible barrier {bound['minimax_barrier_kj_mol']:.2f} +- "
            f"{bound['error_kj_mol']:.2f}, B-A {reference_difference(system):.2f}"
        )
        report(folder, system)


if __name__ == "__main__":
    with plain_errors():
        main()
