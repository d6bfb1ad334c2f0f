"""Throughput of many copies of a molecule in one OpenMM Context, on every platform at hand, beside plain MD.

A row is a platform; a column the number of copies; the figure is integration steps times copies in a second, restraint
and a look at the positions every 10 steps included, as along an annealed path. ``plain`` is one molecule with its own
NonbondedForce.

    python scripts/bench_copies.py [alanine_dipeptide] --copies 1 8 64 512
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import openmm

from spacetime_tps.copies import replicated
from spacetime_tps.dynamics import available_platforms, positions_of
from spacetime_tps.systems import find_system_file, load_config, load_system

LOOK_EVERY = 10
PROPERTIES = {"CUDA": {"Precision": "mixed"}, "HIP": {"Precision": "mixed"}, "OpenCL": {"Precision": "mixed"}}


def speed(system: openmm.System, positions: np.ndarray, platform: str, seconds: float) -> float:
    """Steps in a second."""
    integrator = openmm.LangevinMiddleIntegrator(300.0, 1.0, 0.002)
    integrator.setRandomNumberSeed(1)
    chosen = openmm.Platform.getPlatformByName(platform)
    context = openmm.Context(system, integrator, chosen, PROPERTIES.get(platform, {}))
    context.setPositions(positions)
    context.applyConstraints(1e-6)
    context.setVelocitiesToTemperature(300.0, 1)
    integrator.step(2 * LOOK_EVERY)
    positions_of(context)
    done, started = 0, time.perf_counter()
    while (passed := time.perf_counter() - started) < seconds:
        integrator.step(LOOK_EVERY)
        positions_of(context)
        done += LOOK_EVERY
    return done / passed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("system", nargs="?", default="alanine_dipeptide")
    parser.add_argument("--copies", type=int, nargs="+", default=[1, 8, 64, 512])
    parser.add_argument("--seconds", type=float, default=3.0)
    given = parser.parse_args()
    file = find_system_file(given.system)
    loaded = load_system(load_config(file), file.parent)
    assert loaded.molecule is not None
    single = openmm.XmlSerializer.deserialize(loaded.molecule.dynamics.system_xml)
    structure = loaded.structures[0]
    print(f"{given.system}, {len(structure)} atoms; steps x copies per second")
    print(f"{'':10s} {'plain':>12s} " + " ".join(f"{copies:>12d}" for copies in given.copies))
    for platform in available_platforms():
        cells = [speed(single, structure, platform, given.seconds)]
        for copies in given.copies:
            together = np.tile(structure, (copies, 1))
            cells.append(copies * speed(replicated(single, copies), together, platform, given.seconds))
        print(f"{platform:10s} " + " ".join(f"{cell:12,.0f}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()
