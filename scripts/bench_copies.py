"""Throughput of many copies of a molecule in one OpenMM Context, on every platform at hand, beside plain MD.

A row is a platform; a column the number of copies; the figure is integration steps times copies in a second, positions
read every 50 steps. ``plain`` is one molecule with its own NonbondedForce.

    python scripts/bench_copies.py [alanine_dipeptide] --copies 1 8 64 512
"""

from __future__ import annotations

import argparse

import openmm

from spacetime_tps.copies import replicated
from spacetime_tps.dynamics import available_platforms, speed_of, speed_of_copies
from spacetime_tps.errors import UserError, plain_errors
from spacetime_tps.systems import find_system_file, load_config, load_system


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("system", nargs="?", default="alanine_dipeptide")
    parser.add_argument("--copies", type=int, nargs="+", default=[1, 8, 64, 512])
    parser.add_argument("--seconds", type=float, default=3.0)
    given = parser.parse_args()
    if min(given.copies) < 1 or not 0.1 <= given.seconds <= 600:
        parser.error("--copies should be 1 or more, and --seconds 0.1 to 600")
    file = find_system_file(given.system)
    loaded = load_system(load_config(file), file.parent)
    if loaded.molecule is None:
        raise UserError(f"{given.system} is an analytic potential; name a molecule.")
    replicated(openmm.XmlSerializer.deserialize(loaded.molecule.dynamics.system_xml), 1)
    dynamics, structure = loaded.molecule.dynamics, loaded.structures[0]
    print(f"{given.system}, {len(structure)} atoms; steps x copies per second")
    print(f"{'':10s} {'plain':>12s} " + " ".join(f"{copies:>12d}" for copies in given.copies))
    for platform in available_platforms():
        here = dynamics.on(platform)
        cells = [speed_of(here, structure, given.seconds)]
        cells += [speed_of_copies(here, structure, copies, given.seconds) for copies in given.copies]
        print(f"{platform:10s} " + " ".join(f"{cell:12,.0f}" for cell in cells), flush=True)


if __name__ == "__main__":
    with plain_errors():
        main()
