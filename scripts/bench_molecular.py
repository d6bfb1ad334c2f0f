"""What biases, looks and hills cost beside the integration of alanine dipeptide itself.

The bias of metadynamics is a CustomCVForce over torsions. The plainer choice, one CustomCompoundBondForce, is measured
beside it: OpenMM compiles its expression anew with every hill. All rows are from one process, one after the other;
quote ratios.

    python scripts/bench_molecular.py                # half a minute on one core
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable

import numpy as np
import openmm

from spacetime_tps.boltzmann.bias import TabulatedBias, build_round, start_walker
from spacetime_tps.boltzmann.metadynamics import frozen_round
from spacetime_tps.boltzmann.transitions import Watched
from spacetime_tps.config import MetadynamicsConfig
from spacetime_tps.dynamics import MolecularDynamics, phase_of, positions_of, thermalise
from spacetime_tps.systems import System, find_system_file, load_config, load_system

GRID = 36


def compound(quadruples: np.ndarray) -> openmm.CustomCompoundBondForce:
    """The same bias, all zero, as one force over all atoms of two torsions."""
    angles = [f"dihedral({','.join(f'p{4 * k + j}' for j in range(1, 5))})" for k in range(2)]
    force = openmm.CustomCompoundBondForce(8, f"bias({','.join(angles)})")
    flat, limits = [0.0] * (GRID + 1) ** 2, [-math.pi, math.pi] * 2
    force.addTabulatedFunction("bias", openmm.Continuous2DFunction(GRID + 1, GRID + 1, flat, *limits, True))
    force.addBond(quadruples.ravel().astype(int).tolist(), [])
    return force


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
    for name, force in (
        ("under a bias, CustomCVForce", TabulatedBias(quadruples, np.zeros((GRID, GRID))).force),
        ("under a bias, CustomCompoundBondForce", compound(quadruples)),
    ):
        context = started(dynamics, start, force)
        rows[name] = steps / seconds(lambda context=context: context.getIntegrator().step(steps))
    return rows


def updates(system: System, dynamics: MolecularDynamics, count: int = 50) -> dict[str, float]:
    """Milliseconds that a hill takes to reach the context."""
    quadruples, start = system.variables.quadruples, system.structures[0]
    assert quadruples is not None
    bias, plain = TabulatedBias(quadruples, np.zeros((GRID, GRID))), compound(quadruples)
    first, second = started(dynamics, start, bias.force), started(dynamics, start, plain)
    return {
        "CustomCVForce": 1000 * seconds(lambda: [bias.update(first) for _ in range(count)]) / count,
        "CustomCompoundBondForce": 1000
        * seconds(lambda: [plain.updateParametersInContext(second) for _ in range(count)])
        / count,
    }


def metadynamics(system: System, dynamics: MolecularDynamics, config: MetadynamicsConfig) -> dict[str, float]:
    """Steps a second of a walker that builds its bias, and of one under the frozen bias that looks for transitions."""
    quadruples = system.variables.quadruples
    assert quadruples is not None
    walker, table = start_walker(dynamics, system.structures[0], 1), np.zeros((config.grid_points,) * 2)
    config = config.model_copy(update={"exchange_interval": 50.0, "frozen_time": 100.0, "discard_time": 0.0})
    steps = dynamics.steps(config.exchange_interval)
    build = steps / seconds(lambda: build_round(dynamics, quadruples, walker, table, config, 1))
    watched = Watched(system.states, system.variables, 5)
    frozen = 2 * steps / seconds(lambda: frozen_round(dynamics, quadruples, walker, table, config, 1, watched))
    return {f"metadynamics, a hill every {config.hill_interval:g} ps": build, "frozen bias, looked at": frozen}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=100_000)
    steps = parser.parse_args().steps
    file = find_system_file("alanine_dipeptide")
    system = load_system(load_config(file), file.parent)
    assert system.molecule is not None
    config = system.config.sampling
    assert isinstance(config, MetadynamicsConfig)
    dynamics = system.molecule.dynamics
    rows = stepping(system, dynamics, steps) | metadynamics(system, dynamics, config)
    alone = rows["integration alone"]
    for name, rate in rows.items():
        print(f"{name:45s} {rate:8,.0f} steps/s, {rate / alone:.2f} of the integration alone")
    for name, milliseconds in updates(system, dynamics).items():
        print(f"a hill in a {name:32s} {milliseconds:8.2f} ms")


if __name__ == "__main__":
    main()
