"""What biases, looks and hills cost beside the integration of a molecule itself.

The bias of metadynamics is a CustomCVForce over torsions on CPUs and one CustomCompoundBondForce on GPUs; both forms
are measured: on a CPU OpenMM compiles the latter's expression anew with every hill. All rows are from one process, one
after the other; quote ratios.

    python scripts/bench_molecular.py                # half a minute on one core
    python scripts/bench_molecular.py --system systems/in_water --platform CUDA --steps 10000
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import openmm

from spacetime_tps.boltzmann.bias import TabulatedBias, build_round, start_walker
from spacetime_tps.boltzmann.metadynamics import frozen_round
from spacetime_tps.boltzmann.transitions import Watched
from spacetime_tps.config import MetadynamicsConfig
from spacetime_tps.dynamics import MolecularDynamics, phase_of, positions_of, thermalise
from spacetime_tps.errors import plain_errors
from spacetime_tps.systems import System, find_system_file, load_config, load_system

GRID = 36
FORMS = {"CustomCVForce": "CPU", "CustomCompoundBondForce": "CUDA"}
"""And a platform that each is the form for."""


def seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def started(dynamics: MolecularDynamics, positions: np.ndarray, force: openmm.Force | None = None) -> openmm.Context:
    context = dynamics.context(1, [] if force is None else [force])
    context.setPositions(positions)
    thermalise(context, dynamics.temperature_k, 1)
    context.getIntegrator().step(100)
    return context


def stepping(system: System, dynamics: MolecularDynamics, steps: int) -> dict[str, float]:
    """Steps a second of plain, looked-at and biased dynamics."""
    quadruples, start = system.variables.quadruples, system.structures[0]
    assert quadruples is not None
    plain = started(dynamics, start)
    rows = {"integration alone": steps / seconds(lambda: plain.getIntegrator().step(steps))}

    def looking(look: Callable[[openmm.Context], object]) -> None:
        for _ in range(steps // 5):
            plain.getIntegrator().step(5)
            look(plain)

    rows["positions every 5 steps"] = steps / seconds(lambda: looking(positions_of))
    rows["positions and velocities every 5 steps"] = steps / seconds(lambda: looking(phase_of))
    for name, platform in FORMS.items():
        context = started(dynamics, start, TabulatedBias(quadruples, np.zeros((GRID, GRID)), platform).force)
        rows[f"under a bias, {name}"] = steps / seconds(lambda context=context: context.getIntegrator().step(steps))
    return rows


def updates(system: System, dynamics: MolecularDynamics, count: int = 50) -> dict[str, float]:
    """Milliseconds that a hill takes to reach the context."""
    quadruples, start = system.variables.quadruples, system.structures[0]
    assert quadruples is not None
    milliseconds = {}
    for name, platform in FORMS.items():
        bias = TabulatedBias(quadruples, np.zeros((GRID, GRID)), platform)
        context = started(dynamics, start, bias.force)
        spent = seconds(lambda bias=bias, context=context: [bias.update(context) for _ in range(count)])
        milliseconds[name] = 1000 * spent / count
    return milliseconds


def metadynamics(
    system: System, dynamics: MolecularDynamics, config: MetadynamicsConfig, steps: int
) -> dict[str, float]:
    """Steps a second of a walker that builds its bias, and of one under the frozen bias that looks for transitions."""
    quadruples = system.variables.quadruples
    assert quadruples is not None
    walker, table = start_walker(dynamics, system.structures[0], 1), np.zeros((config.grid_points,) * 2)
    each = steps * dynamics.time_step_ps
    config = config.model_copy(update={"exchange_interval": each, "frozen_time": 2 * each, "discard_time": 0.0})
    build = steps / seconds(lambda: build_round(dynamics, quadruples, walker, table, config, 1))
    watched = Watched(system.states, system.variables, 5)
    frozen = 2 * steps / seconds(lambda: frozen_round(dynamics, quadruples, walker, table, config, 1, watched))
    return {f"metadynamics, a hill every {config.hill_interval:g} ps": build, "frozen bias, looked at": frozen}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--system", default="alanine_dipeptide", help="one that is sampled by metadynamics")
    parser.add_argument("--platform", default="Reference")
    args = parser.parse_args()
    file = find_system_file(args.system)
    system = load_system(load_config(file), file.parent)
    assert system.molecule is not None
    config = system.config.sampling
    assert isinstance(config, MetadynamicsConfig)
    dynamics = system.molecule.dynamics.on(args.platform)
    rows = stepping(system, dynamics, args.steps) | metadynamics(system, dynamics, config, args.steps)
    alone = rows["integration alone"]
    for name, rate in rows.items():
        print(f"{name:45s} {rate:8,.0f} steps/s, {rate / alone:.2f} of the integration alone")
    for name, milliseconds in updates(system, dynamics).items():
        print(f"a hill in a {name:32s} {milliseconds:8.2f} ms")


if __name__ == "__main__":
    with plain_errors():
        main()
