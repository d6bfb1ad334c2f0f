"""Every geometry and constraint on both systems, from the same samples and denoiser: the table of the docs.

python scripts/reproduce_geometry.py -o runs/geometry                     # fifteen minutes on two cores
python scripts/reproduce_geometry.py -o runs/geometry --seeds 0 1 2 --only spacetime
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from spacetime_tps.config import validate
from spacetime_tps.files import read_json
from spacetime_tps.settings import read_yaml
from spacetime_tps.systems import find_system_file, load_config, load_system

AVOID = {
    "alanine_dipeptide": "geodesic.avoid=[{phi: [-15 deg, 15 deg], psi: [-90 deg, 30 deg]}]",
    "mueller_brown": "geodesic.avoid=[{ball: {x: -0.05, y: 0.467}, radius: 0.25}]",
}
VARIANTS = {
    "spacetime": [],
    "spacetime, no low barrier": ["geodesic.low_barrier=null"],
    "spacetime, low barrier by the model": ["geodesic.low_barrier.free_energy=model"],
    "spacetime, avoid": ["AVOID", "paths.count=16", "paths.look_every=1"],
    "spacetime, equal chart steps": ["paths.schedule=log_snr"],
    "score": ["geodesic.geometry=score"],
    "pullback": ["geodesic.geometry=pullback"],
    "linear": ["geodesic.geometry=linear"],
}
COLUMNS = ("variant", "seed", "channel", "barrier", "bound", "variance / bound", "exact / bound", "negative chords",
           "arrived", "MaxFreeEnergy", "W_diss [kT]", "avoided share", "deviation from straight")  # fmt: skip


def command(*arguments: str | Path) -> None:
    """Run the command line, quietly."""
    subprocess.run(["spacetime-tps", *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)


def base_run(name: str, seed: int, out: Path) -> Path:
    """Samples and denoiser of a system."""
    folder = out / f"{name}_{seed}"
    command("run", name, "-o", folder, "--seed", str(seed), "--stop-after", "train", "--resume")
    return folder


def variant_run(base: Path, variant: str, name: str) -> Path:
    """A copy of ``base`` with other settings for the later stages."""
    folder = base.with_name(f"{base.name}_{variant.replace(', ', '_').replace(' ', '_')}")
    if not (folder / "summary.json").is_file():
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(base, folder)
        changes = [AVOID[name] if change == "AVOID" else change for change in VARIANTS[variant]]
        command("geodesic", folder, *(word for change in changes for word in ("--set", change)))
        command("paths", folder)
        command("export", folder)
    return folder


def row_of(folder: Path, variant: str) -> list[str]:
    """One line of the table, for the chosen channel."""
    summary: dict[str, Any] = read_json(folder / "summary.json")
    system = load_system(validate(read_yaml(folder / "config.yaml"), str(folder)), folder)
    channel, paths, reference = summary["geodesic"]["channels"][0], summary["paths"], summary["reference"]
    suffix = system.suffix
    spread = system.config.low_variance
    limit = np.nan if spread is None else system.representation.max_block_variance(spread)
    highest = paths[f"max_free_energy_{suffix}"]
    work = paths["dissipated_work_kt"]
    return [
        variant,
        str(summary["seed"]),
        channel["label"],
        f"{channel[f'barrier_{suffix}']:.2f}",
        f"{reference.get(f'minimax_barrier_avoiding_{suffix}', reference[f'minimax_barrier_{suffix}']):.2f}",
        f"{channel['max_posterior_variance'] / limit:.2f}",
        f"{channel['max_posterior_variance_exact'] / limit:.2f}",
        f"{channel['negative_chord_fraction']:.3f}",
        f"{paths['arrived_fraction']:.2f}",
        f"{highest['mean']:.2f} ± {highest['std']:.2f}",
        f"{work['forward']:.1f}, {work['backward']:.1f}",
        f"{paths['avoided_share']['mean']:.5f}" if "avoided_share" in paths else "",
        f"{channel['deviation_from_straight']:.1e}" if "deviation_from_straight" in channel else "",
    ]


def channels_table(folder: Path) -> str:
    """Every channel of a run: barrier, constraint by the model and by the exact posterior."""
    summary = read_json(folder / "summary.json")
    system = load_system(load_config(find_system_file(summary["system"])), find_system_file(summary["system"]).parent)
    limit = system.representation.max_block_variance(system.config.low_variance or np.nan)
    rows = summary["geodesic"]["channels"]
    best = rows[0][f"barrier_{system.suffix}"]
    return "\n".join(
        f"  {row['label']}: barrier {row[f'barrier_{system.suffix}']:.2f} "
        f"(own bound {row[f'minimax_barrier_{system.suffix}']:.2f}), variance {row['max_posterior_variance']:.4f} = "
        f"{row['max_posterior_variance'] / limit:.2f} of the bound, exact {row['max_posterior_variance_exact']:.4f} = "
        f"{row['max_posterior_variance_exact'] / limit:.2f}, negative chords {row['negative_chord_fraction']:.3f}, "
        f"{'converged' if row['converged'] else 'NOT CONVERGED'}"
        f"{'' if row[f'barrier_{system.suffix}'] <= best + 20 else ', more than 20 above the best'}"
        for row in rows
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--only", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--systems", nargs="+", choices=list(AVOID), default=list(AVOID))
    arguments = parser.parse_args()
    for name in arguments.systems:
        print(f"\n{name}\n| " + " | ".join(COLUMNS) + " |\n|" + "---|" * len(COLUMNS))
        notes = []
        for seed in arguments.seeds:
            base = base_run(name, seed, arguments.output)
            for variant in arguments.only:
                folder = variant_run(base, variant, name)
                print("| " + " | ".join(row_of(folder, variant)) + " |", flush=True)
                if variant == "spacetime":
                    notes.append(f"seed {seed}, every channel:\n{channels_table(folder)}")
        print("\n" + "\n".join(notes))


if __name__ == "__main__":
    sys.exit(main())
