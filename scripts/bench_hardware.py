"""How fast systems run on the OpenMM platforms of this machine, alone and several side by side.

Steps per second of all processes together, positions read every 50 steps. A CPU gains with processes until its cores
are busy; on a GPU small systems leave room that further processes fill, or take turns.

    python scripts/bench_hardware.py alanine_dipeptide systems/mine --processes 1 4 8
"""

from __future__ import annotations

import argparse

from spacetime_tps.dynamics import available_platforms, time_platforms
from spacetime_tps.errors import plain_errors
from spacetime_tps.parallel import WorkerPool
from spacetime_tps.preparation.plan import throughput
from spacetime_tps.systems import find_system_file, load_config, load_system


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("systems", nargs="+", help="names or folders")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--platforms", nargs="+", default=available_platforms())
    args = parser.parse_args()
    print(
        f"{'system':30s} {'atoms':>6s} {'platform':10s}" + "".join(f"{f'{n} processes':>16s}" for n in args.processes)
    )
    with WorkerPool(max(args.processes)) as pool:
        for name in args.systems:
            file = find_system_file(name)
            system = load_system(load_config(file), file.parent)
            assert system.molecule is not None
            dynamics, positions = system.molecule.dynamics, system.structures[0]
            for platform in [p for p in time_platforms(dynamics, positions, 0.0) if p in args.platforms]:
                speeds = [throughput(dynamics.on(platform), positions, n, pool) for n in args.processes]
                row = "".join(f"{speed:16,.0f}" for speed in speeds)
                print(f"{name:30s} {len(positions):6d} {platform:10s}{row}", flush=True)


if __name__ == "__main__":
    with plain_errors():
        main()
