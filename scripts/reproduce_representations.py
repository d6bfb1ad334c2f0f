"""One molecule in every representation: what its geodesic, windows and paths are worth beside the torsions'.

Alanine dipeptide by torsions, by positions of its heavy atoms, and by slow combinations of its torsions, everything
else as the system file has it. Barriers are all of the same kind: the largest climb of the density of (phi, psi),
smoothed at one level, along the curve of posterior means, by MBAR over the run's own windows. The reference surface
(an independent, long metadynamics) is used for nothing but the last columns.

    python scripts/reproduce_representations.py OUT              # about 25 minutes on two cores
    python scripts/reproduce_representations.py OUT --only cartesian
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from spacetime_tps import Run
from spacetime_tps.errors import plain_errors

SAMPLING = ("sampling.build_time=2 ns", "sampling.frozen_time=2 ns")
SETTINGS = {
    "torsions": (),
    "cartesian": (
        "representation.kind=cartesian",
        "denoiser.log_snr_range=[-1, 5]",
        "denoiser.reference_samples=8000",
        "denoiser.queries=30000",
        "geodesic.low_variance=0.12 A",
        "geodesic.low_barrier.weight=5",
        "geodesic.log_snr_end=4",
    ),
    "tica_2": ("representation.kind=tica", "representation.components=2", "geodesic.low_variance=0.25"),
    "tica_3": ("representation.kind=tica", "representation.components=3", "geodesic.low_variance=0.25"),
    "tica_4": ("representation.kind=tica", "representation.components=4", "geodesic.low_variance=0.25"),
}


def measured(value: float | None, error: float | None) -> str:
    """A number and its error, as far as they are known."""
    return " +- ".join("unknown" if each is None else f"{each:.1f}" for each in (value, error))


def made(kind: str, out: Path, seed: int) -> dict[str, Any]:
    """The summary of a run, which goes on where it was interrupted."""
    run = Run.new("alanine_dipeptide", out / kind, seed=seed, changes=(*SAMPLING, *SETTINGS[kind]))
    run.finish()
    return run.summary


def row(kind: str, summary: dict[str, Any]) -> str:
    """A row of the table."""
    channel, paths, windows = summary["geodesic"]["channels"][0], summary["paths"], summary["windows"]
    barrier, states = windows["barrier_kj_mol"], windows["delta_f_states_kj_mol"]
    work, ends = paths["dissipated_work_kt"], paths["delta_f_kj_mol"]
    ratios = [point["ratio"] for point in windows["points"]]
    highest, seconds = paths["max_free_energy_kj_mol"], summary["wall_seconds"]
    both = windows["delta_f_ends_kj_mol"]
    stages = ", ".join(f"{stage} {seconds[stage]:.0f}" for stage in ("sample", "train", "geodesic", "paths", "windows"))
    return "\n".join(
        [
            f"{kind}: {channel['label']}, converged {channel['converged']}, arrived {paths['arrived_fraction']:.0%}",
            f"  barrier {measured(barrier['value'], barrier['error'])} by windows, "
            f"{channel['barrier_kj_mol']:.1f} on the reference surface; B-A "
            f"{measured(states['value'], states['error'])}",
            f"  windows {windows['count']}, variance {min(ratios):.2f} to {max(ratios):.2f} of the model's, "
            f"{windows['close_fraction']:.0%} within 1.5, {windows['wrong']} wrong, {windows['stuck']} stuck",
            f"  dissipated {work['forward']:.1f} and {work['backward']:.1f} kT; restrained ends "
            f"{measured(ends['crooks'], ends['error'])} by work, {measured(both['value'], both['error'])} by windows",
            "  MaxFreeEnergy "
            + measured(highest["mean"], highest["std"])
            + f", least possible {summary['reference']['minimax_barrier_kj_mol']:.1f}; "
            f"{sum(summary['force_evaluations'].values()) / 1e6:.1f} million force evaluations; seconds: {stages}",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", choices=sorted(SETTINGS), action="append")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    for kind in given.only or SETTINGS:
        print(row(kind, made(kind, given.out, given.seed)), flush=True)


if __name__ == "__main__":
    with plain_errors():
        main()
