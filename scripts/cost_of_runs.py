"""What each stage of finished runs cost: wall time, force evaluations, and how fast they went.

    python scripts/cost_of_runs.py runs/alanine_dipeptide runs/alanine_tetrapeptide runs/chignolin

A row of the table is a run: atoms, torsions, and for every stage seconds (force evaluations in thousands). Behind it
what can be compared between runs of different budgets: steps a second of one worker as the platform was measured, the
denoiser's time for 512 points, and the geodesic's time a channel.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import openmm

from spacetime_tps import Run
from spacetime_tps.errors import UserError, plain_errors

STAGES = ("sample", "train", "geodesic", "refine", "paths", "windows", "transitions", "export")


def row(folder: Path) -> list[str]:
    """Of the table."""
    run = Run(folder)
    summary, system = run.summary, run.system
    if system.molecule is None:
        raise UserError(f"{folder} is a run on an analytic potential; name runs of molecules.")
    described = openmm.XmlSerializer.deserialize(system.molecule.dynamics.system_xml)
    seconds, evaluations = summary["wall_seconds"], summary["force_evaluations"]
    platform = summary["platform"]["openmm"]
    speed = platform.get("steps_per_second", {}).get(platform["name"])
    return [
        summary["system"],
        str(described.getNumParticles()),
        str(system.torsions.n_torsions),
        *(cell(seconds, evaluations, stage) for stage in STAGES),
        ("-" if speed is None else f"{speed:,.0f}") + f" ({platform['name']})",
        f"{1e3 * seconds['denoiser_step_of_512_points']:.0f} ms",
        f"{seconds['geodesic'] / summary['geodesic']['channels_tried']:.1f} s",
        f"{sum(evaluations.values()) / 1e6:.1f}M, {sum(seconds.get(stage, 0.0) for stage in STAGES) / 60:.0f} min",
    ]


def cell(seconds: dict[str, float], evaluations: dict[str, int], stage: str) -> str:
    """Seconds, and thousands of force evaluations."""
    if stage not in seconds:
        return "-"
    return f"{seconds[stage]:.0f}" + (f" ({evaluations[stage] / 1e3:,.0f}k)" if evaluations.get(stage) else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+")
    titles = ["system", "atoms", "torsions", *(f"{stage} [s]" for stage in STAGES)]
    titles += ["steps/s of a worker", "denoiser", "geodesic a channel", "whole"]
    print("| " + " | ".join(titles) + " |\n" + "|---" * len(titles) + "|")
    for folder in parser.parse_args().runs:
        print("| " + " | ".join(row(folder)) + " |", flush=True)


if __name__ == "__main__":
    with plain_errors():
        main()
