"""Does OpenPathSampling take our paths? ``TransitionPath.to_openpathsampling`` end to end.

Makes an environment with OpenPathSampling (constraints-ops.txt) and this package, then in it: every annealed path of a
run is trimmed, gets thermal velocities and is handed over, paths that ran from B to A turned round; it has to lie in
the transition path ensemble by OpenPathSampling's own check, with the run's states as volumes; and from the first one
a chain of two-way shooting moves of OpenPathSampling's own OpenMM engine runs.

    python scripts/check_openpathsampling.py runs/alanine_dipeptide        # a few minutes, most of them for installing
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STEPS = 200


def engine_of(dynamics, topology):
    """OpenPathSampling's OpenMM engine with the run's dynamics."""
    import openmm
    from openpathsampling.engines.openmm import Engine
    from openpathsampling.engines.openmm.topology import MDTrajTopology

    integrator = openmm.LangevinMiddleIntegrator(
        dynamics.temperature_k, dynamics.friction_per_ps, dynamics.time_step_ps
    )
    engine = Engine(
        MDTrajTopology(topology),
        openmm.XmlSerializer.deserialize(dynamics.system_xml),
        integrator,
        options={"n_steps_per_frame": 5, "n_frames_max": 5000},
    )
    engine.initialize("Reference")
    return engine


def volumes_of(system):
    """The run's states A and B."""
    import numpy as np
    import openpathsampling as paths

    def inside(snapshot, state: int) -> float:
        return float(system.states[state].contains(system.variables(np.asarray(snapshot.xyz)[None]))[0])

    cvs = [paths.FunctionCV(f"in_{name}", inside, state=state) for state, name in enumerate("ab")]
    return [paths.CVDefinedVolume(cv, 0.5, 1.5) for cv in cvs]


def accepted_moves(network, engine, temperature_k: float, start) -> tuple[int, object]:
    """How many of ``STEPS`` two-way shooting moves were accepted, and the last path."""
    import openmm
    import openpathsampling as paths
    from openpathsampling import strategies

    scheme = paths.MoveScheme(network)
    beta = 1 / (temperature_k * openmm.unit.kelvin * openmm.unit.BOLTZMANN_CONSTANT_kB)
    modifier = paths.RandomVelocities(beta=beta, engine=engine)
    scheme.append(strategies.TwoWayShootingStrategy(modifier=modifier, selector=paths.UniformSelector(), engine=engine))
    scheme.append(strategies.OrganizeByMoveGroupStrategy())
    conditions = scheme.initial_conditions_from_trajectories(start)
    scheme.assert_initial_conditions(conditions)
    sampler = paths.PathSampling(storage=None, move_scheme=scheme, sample_set=conditions)
    sampler.output_stream = io.StringIO()
    taken = 0
    for _ in range(STEPS):
        before = sampler.sample_set[0].trajectory
        sampler.run(1)
        taken += sampler.sample_set[0].trajectory is not before
    return taken, sampler.sample_set[0].trajectory


def check(out: Path) -> None:
    """Within that environment."""
    import openpathsampling as paths

    from spacetime_tps import load_paths
    from spacetime_tps.stages import RunFolder
    from spacetime_tps.systems import load_system

    system = load_system(RunFolder(out).config(), out)
    assert system.molecule is not None
    dynamics, annealed = system.molecule.dynamics, load_paths(out)
    engine = engine_of(dynamics, annealed[0].to_mdtraj().topology)
    a, b = volumes_of(system)
    network = paths.TPSNetwork(a, b)
    (ensemble,) = network.sampling_ensembles
    handed = []
    for k, path in enumerate(annealed):
        trajectory = path.thermalised(dynamics, seed=1000 * (k + 1)).to_openpathsampling(engine)
        handed.append(trajectory if a(trajectory[0]) else trajectory.reversed)
    fit = [bool(ensemble(trajectory)) for trajectory in handed]
    lengths = [len(trajectory) for trajectory in handed]
    print(f"{sum(fit)} of {len(handed)} paths lie in the ensemble; {min(lengths)} to {max(lengths)} frames")
    taken, last = accepted_moves(network, engine, dynamics.temperature_k, handed[fit.index(True)])
    print(f"{STEPS} two-way shooting moves: {taken} accepted, {len(last)} frames in the end")
    assert all(fit)
    assert ensemble(last)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="folder of a finished run")
    parser.add_argument("--environment", type=Path, default=Path(".venv-ops-bridge"))
    parser.add_argument("--inside", action="store_true", help="this already is that environment")
    given = parser.parse_args()
    if given.inside:
        check(given.run)
        return
    from own_environment import own_environment

    together = ["-c", ROOT / "constraints-ops.txt"]
    torch = next(line for line in (ROOT / "constraints.txt").read_text().splitlines() if line.startswith("torch=="))
    installs = (["-r", ROOT / "constraints-ops.txt"], [torch, *together], [*together, ROOT])
    python = own_environment(given.environment, *installs)
    sys.exit(subprocess.run([python, __file__, given.run, "--inside"], check=False).returncode)


if __name__ == "__main__":
    main()
