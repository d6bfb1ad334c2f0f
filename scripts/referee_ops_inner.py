"""Transition path sampling by OpenPathSampling, the referee of our own: one chain of shooting moves, files in and out.

Runs in an environment of its own, which knows nothing of this package:

    python -m venv VENV && VENV/bin/pip install -r constraints-ops.txt
    VENV/bin/python scripts/referee_ops_inner.py INPUT.json OUTPUT.json

INPUT.json holds

* ``system_xml``, ``topology_pdb`` (files), ``platform``, ``temperature_k``, ``time_step_ps``, ``friction_per_ps``;
* ``trajectory``: npz file of the first path, ``positions`` [nm] and ``velocities`` [nm/ps], both (T, n_atoms, 3), and
  if wanted ``backward``, shape (T,): frames made backward in time, whose velocities have the opposite sign;
* ``torsions`` {name: four atoms} and ``states`` {"a": regions, "b": regions}, where a region is
  {"ball": {name: deg}, "radius": deg} or {name: [low_deg, high_deg], ...}, periodic;
* ``mover`` ("one_way" or "two_way"), ``steps_per_frame``, ``max_frames``, ``steps`` and ``seed``;
* if wanted, ``on_step_velocities`` (true): false gives the shooting of OpenPathSampling as it is, see below.

OUTPUT.json says whether the first path is ``accepted_as_initial``, or the ``reason`` why not. If it is, there is one
record a Monte Carlo step in ``trials``, and ``paths`` is an npz file with the torsions [rad] of the active path after
every step: ``torsions[offsets[k]:offsets[k + 1]]`` after step k + 1. ``decorrelated`` counts the first path as well, as
OpenPathSampling does.

What OpenPathSampling 1.7.0 does, where one might expect something else:

* ``max_frames`` bounds what one call of the engine makes, not the path: a one-way path may become longer by the part
  that it keeps. A trial that runs into the bound is rejected and counted, with its unfinished part as ``trial_length``.
* Only paths from A to B are in the ensemble. A two-way trial that would be one from B to A is rejected.
* The uniform deviate of the length criterion is drawn when a trial is complete, so trials that are already too long to
  be accepted are integrated to their end.
* Time is reversed by turning the sign of the velocities. Those of LangevinMiddle lag half a step behind the positions,
  so a reversed trajectory starts a whole kick, dt f/m, off. Bonded forces make that a lot of heat, and one-way shooting
  hands it on: a chain of alanine dipeptide at 300 K, 2 fs and 1/ps had 1200 K after 200 steps, another had paths of 3
  frames after 800. With new velocities at every step (two-way) it is lost again. ``OnStepEngine`` turns time exactly.
* ``RandomVelocities`` means to obey constraints, but ``apply_constraints`` hands back the snapshot as it was. No harm
  is done: the first thing that a step of LangevinMiddle does is to project the velocities, and the projection of free
  Maxwell-Boltzmann velocities is distributed as constrained ones are.
* ``initial_conditions_from_trajectories`` cuts or turns round a path that does not fit. Here it must fit as it is.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import mdtraj
import numpy as np
import openmm
import openpathsampling as paths
from openmm import unit
from openpathsampling import strategies
from openpathsampling.engines.delayedinterrupt import EmptyContext
from openpathsampling.engines.openmm import Engine, Snapshot
from openpathsampling.engines.topology import MDTrajTopology

SPEED = unit.nanometer / unit.picosecond
ROUNDING = 1e-9
"""States are closed to within this [rad], as in the package."""


def torsion(p: list[list[float]], quadruple: tuple[int, int, int, int]) -> float:
    """Dihedral angle [rad], IUPAC sign; plain floats are several times faster than numpy on four atoms."""
    (x0, y0, z0), (x1, y1, z1), (x2, y2, z2), (x3, y3, z3) = (p[i] for i in quadruple)
    ax, ay, az, bx, by, bz = x1 - x0, y1 - y0, z1 - z0, x2 - x1, y2 - y1, z2 - z1
    cx, cy, cz = x3 - x2, y3 - y2, z3 - z2
    mx, my, mz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
    nx, ny, nz = by * cz - bz * cy, bz * cx - bx * cz, bx * cy - by * cx
    sine = (ax * nx + ay * ny + az * nz) * math.sqrt(bx * bx + by * by + bz * bz)
    return math.atan2(sine, mx * nx + my * ny + mz * nz)


def region(given: dict, names: list[str]) -> Callable[[list[float]], bool]:
    """Membership of a ball, or of a box of periodic intervals, as a function of all torsions."""
    turn = 2 * math.pi
    if "ball" in given:
        centre = [(names.index(name), math.radians(deg)) for name, deg in given["ball"].items()]
        largest = math.radians(given["radius"]) + ROUNDING
        return lambda q: math.hypot(*((q[i] - c + math.pi) % turn - math.pi for i, c in centre)) <= largest
    box = [(names.index(name), *map(math.radians, ends)) for name, ends in given.items()]
    return lambda q: all((q[i] - low + ROUNDING) % turn <= high - low + 2 * ROUNDING for i, low, high in box)


class States:
    """Where a snapshot lies, from its torsions."""

    def __init__(self, torsions: dict[str, list[int]], states: dict[str, list[dict]]):
        self._quadruples = [tuple(atoms) for atoms in torsions.values()]
        self._regions = {key: [region(given, list(torsions)) for given in states[key]] for key in ("a", "b")}

    def torsions(self, snapshot: Snapshot) -> list[float]:
        """All torsions [rad]; the array is read directly, since ``snapshot.xyz`` copies it."""
        positions = snapshot.statics.coordinates._value.tolist()
        return [torsion(positions, quadruple) for quadruple in self._quadruples]

    def where(self, snapshot: Snapshot) -> str | None:
        """``a``, ``b`` or None; found once and kept with the positions, which a reversed snapshot shares."""
        statics = snapshot.statics
        if not hasattr(statics, "where"):
            q = self.torsions(snapshot)
            inside = [key for key, regions in self._regions.items() if any(contains(q) for contains in regions)]
            if len(inside) > 1:
                raise ValueError(f"The states overlap: torsions of {np.degrees(q)} degrees lie in both.")
            statics.where = inside[0] if inside else None
        return statics.where


class StateVolume(paths.Volume):
    """A state for OpenPathSampling.

    It is asked some 25 times a frame; with a ``CVDefinedVolume`` the whole chain takes a third longer.
    """

    def __init__(self, states: States, key: str):
        super().__init__()
        self._states, self._key = states, key

    def __call__(self, snapshot: Snapshot) -> bool:
        """Membership."""
        return self._states.where(snapshot) == self._key

    def __str__(self) -> str:
        return f"state {self._key}"  # OpenPathSampling tells volumes and ensembles apart by their text


class LeanEngine(Engine):
    """OpenPathSampling's OpenMM engine; it counts its frames and does not ask for an energy that nobody reads."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.frames_integrated = 0
        self.interrupter = EmptyContext  # or two signal handlers are set at every frame

    @staticmethod
    def is_valid_snapshot(snapshot: Snapshot) -> bool:
        """Neither NaN nor infinite; without the copies of the original."""
        return bool(np.isfinite(snapshot.statics.coordinates._value).all())

    def _build_current_snapshot(self) -> Snapshot:
        state = self.simulation.context.getState(positions=True, velocities=True)
        return Snapshot.construct(
            coordinates=state.getPositions(asNumpy=True),
            box_vectors=state.getPeriodicBoxVectors(asNumpy=True),
            velocities=state.getVelocities(asNumpy=True),
            engine=self,
        )

    def generate_next_frame(self) -> Snapshot:
        """Integrate to the next frame."""
        self.integrator.step(self.options["n_steps_per_frame"])
        self.frames_integrated += 1
        self._current_snapshot = None
        return self.current_snapshot


class OnStepEngine(LeanEngine):
    """The same with exact reversal of time; the path sampling is OpenPathSampling's own.

    The velocity at the time of the positions is u = v + dt f/(2 m), with v what LangevinMiddle reports. It is u that
    changes sign, so the reversed trajectory starts with -u - dt f/(2 m) = -v - dt f/m. New velocities are u as well.
    """

    def start(self, snapshot: Snapshot | None = None) -> None:
        """Called with the context at the shooting point, its sign turned if it is a reversed snapshot."""
        super().start(snapshot)
        point = self.current_snapshot
        if point.is_reversed:
            self.simulation.context.setVelocities((point.velocities._value - 2 * self._half_kick()) * SPEED)

    def randomize_velocities(self, snapshot: Snapshot, beta: unit.Quantity, subset: list[int] | None) -> Snapshot:
        """The hook of ``RandomVelocities`` for engines that know better; constraints are obeyed.

        Not by OpenMM's ``setVelocitiesToTemperature``: whether its velocities lag half a step depends on the version.
        """
        self.current_snapshot = snapshot
        kick, kt = self._half_kick(), (unit.AVOGADRO_CONSTANT_NA / beta).value_in_unit(unit.kilojoule_per_mole)
        noise = paths.default_rng().standard_normal(kick.shape)
        u = self._constrained(np.sqrt(kt / self._masses()) * noise)
        self._current_snapshot = None
        return snapshot.copy_with_replacement(velocities=(u - kick) * SPEED)

    def _half_kick(self) -> np.ndarray:
        """dt f/(2 m) [nm/ps] at the positions of the context, constraints obeyed; its velocities are spoilt."""
        force = self.simulation.context.getState(forces=True).getForces(asNumpy=True)._value
        return self._constrained(0.5 * self.integrator.getStepSize()._value * force / self._masses())

    def _masses(self) -> np.ndarray:
        return np.array([[self.system.getParticleMass(i)._value] for i in range(self.system.getNumParticles())])

    def _constrained(self, velocities: np.ndarray) -> np.ndarray:
        context = self.simulation.context
        context.setVelocities(velocities * SPEED)
        context.applyVelocityConstraints(1e-8)
        return context.getState(velocities=True).getVelocities(asNumpy=True)._value


def build_engine(given: dict, seed: int) -> LeanEngine:
    """LangevinMiddle dynamics of the serialised System."""
    integrator = openmm.LangevinMiddleIntegrator(
        given["temperature_k"], given["friction_per_ps"], given["time_step_ps"]
    )
    integrator.setRandomNumberSeed(seed)
    kind = OnStepEngine if given.get("on_step_velocities", True) else LeanEngine
    engine = kind(
        MDTrajTopology(mdtraj.load(given["topology_pdb"]).topology),
        openmm.XmlSerializer.deserialize(Path(given["system_xml"]).read_text()),
        integrator,
        options={"n_steps_per_frame": given["steps_per_frame"], "n_frames_max": given["max_frames"]},
    )
    engine.initialize(given["platform"])
    return engine


def first_path(given: dict, engine: LeanEngine) -> paths.Trajectory:
    """The given path as snapshots of the engine.

    ``trajectory_from_mdtraj`` would round to single precision, leave the box out and give the snapshots another engine.
    """
    box = np.array([row.value_in_unit(unit.nanometer) for row in engine.system.getDefaultPeriodicBoxVectors()])
    with np.load(given["trajectory"]) as data:
        positions, velocities = data["positions"].astype(float), data["velocities"].astype(float)
        backward = data["backward"] if "backward" in data else np.zeros(len(positions), dtype=bool)
    snapshots = [
        Snapshot.construct(x * unit.nanometer, box * unit.nanometer, v * SPEED, engine=engine)
        for x, v in zip(positions, velocities, strict=True)
    ]
    return paths.Trajectory(s.reversed if turned else s for s, turned in zip(snapshots, backward, strict=True))


def build_scheme(given: dict, network: paths.TPSNetwork, engine: LeanEngine) -> paths.MoveScheme:
    """Shooting moves of one kind, the shooting point uniform among all frames but both ends."""
    selector = paths.UniformSelector()
    if given["mover"] == "one_way":
        return paths.OneWayShootingMoveScheme(network, selector=selector, engine=engine)
    if given["mover"] != "two_way":
        raise ValueError(f"mover is {given['mover']!r}; it should be 'one_way' or 'two_way'.")
    beta = 1 / (given["temperature_k"] * unit.kelvin * unit.BOLTZMANN_CONSTANT_kB)
    modifier = paths.RandomVelocities(beta=beta, engine=engine)
    scheme = paths.MoveScheme(network)
    scheme.append(strategies.TwoWayShootingStrategy(modifier=modifier, selector=selector, engine=engine))
    scheme.append(strategies.OrganizeByMoveGroupStrategy())
    return scheme


def initial_conditions(scheme: paths.MoveScheme, path: paths.Trajectory) -> paths.SampleSet:
    """The path as the state of the chain, neither cut nor turned round.

    Raises:
        AssertionError: it is not in the ensemble.
    """
    samples = scheme.initial_conditions_from_trajectories(path, strategies=["get"], preconditions=[])
    scheme.assert_initial_conditions(samples)
    samples.sanity_check()
    return samples


class Recorder:
    """What every Monte Carlo step did."""

    _MOVERS = {paths.ForwardShootMover: "forward", paths.BackwardShootMover: "backward"}  # noqa: RUF012

    def __init__(self, path: paths.Trajectory, states: States):
        self.trials: list[dict] = []
        self.changes: list[int] = []
        self._states, self._last = states, path
        self._torsions, self._lengths, self._active = [], [], None

    def add(self, step: int, change: paths.MoveChange, active: paths.Trajectory) -> None:
        """One step; decorrelation as in ``run_until_decorrelated`` and ``ReplicaEvolution.decorrelated``."""
        if self._active is None or change.accepted:
            self._active = [self._states.torsions(snapshot) for snapshot in active]
        self._torsions += self._active
        self._lengths.append(len(active))
        if change.accepted and not self._last.is_correlated(active, time_reversal=True):
            self.changes.append(step)
            self._last = active
        self.trials.append(
            {
                "accepted": change.accepted,
                "mover": self._MOVERS.get(type(change.mover), "two_way"),
                "reason": self._reason(change),
                "length": len(active),
                "trial_length": len(change.trials[0].trajectory),
            }
        )

    @staticmethod
    def _reason(change: paths.MoveChange) -> str:
        if change.accepted:
            return "accepted"
        if isinstance(change, paths.RejectedMaxLengthSampleMoveChange):
            return "max_length"
        return "selection" if change.details.metropolis_acceptance > 0 else "not_in_ensemble"

    def save(self, file: Path, names: list[str]) -> None:
        """The torsions of every active path."""
        torsions = np.array(self._torsions).reshape(-1, len(names))
        np.savez_compressed(file, torsions=torsions, offsets=np.cumsum([0, *self._lengths]), names=np.array(names))


def seed_everything(seed: int) -> int:
    """Seed all the generators that OpenPathSampling draws from, and return a seed for the thermostat."""
    children = np.random.SeedSequence(seed).spawn(3)
    paths.default_rng().bit_generator.state = np.random.default_rng(children[0]).bit_generator.state
    np.random.seed(children[1].generate_state(1)[0])  # noqa: NPY002 (RandomVelocities draws from it)
    random.seed(seed)
    return int(np.random.default_rng(children[2]).integers(1, 2**31 - 1))


def run(given: dict, output: Path) -> dict:
    """The chain of INPUT.json; returns what OUTPUT.json shall hold."""
    engine = build_engine(given, seed_everything(given["seed"]))
    states = States(given["torsions"], given["states"])
    a, b = (StateVolume(states, key) for key in ("a", "b"))
    scheme = build_scheme(given, paths.TPSNetwork(a, b), engine)
    path = first_path(given, engine)
    try:
        samples = initial_conditions(scheme, path)
    except AssertionError as error:
        visited = path.summarize_by_volumes({"A": a, "B": b})
        frames = ", ".join(f"{count} in {name}" if name else f"{count} between" for name, count in visited)
        return {"accepted_as_initial": False, "reason": f"{str(error).strip()}\nFrames in order: {frames}."}

    simulation = paths.PathSampling(storage=None, move_scheme=scheme, sample_set=samples)
    simulation.hooks = simulation.empty_hooks()  # progress to stdout, and a check of what the move has checked already
    recorder = Recorder(path, states)
    started = time.perf_counter()
    for number in range(given["steps"]):
        _, step = simulation.run_one_step((number, given["steps"]))
        recorder.add(number + 1, step.change.canonical, step.active[0].trajectory)
        step.active[0].parent = None  # or all paths there ever were stay in memory
    seconds = time.perf_counter() - started

    arrays = output.resolve().with_suffix(".npz")
    recorder.save(arrays, list(given["torsions"]))
    return {
        "accepted_as_initial": True,
        "trials": recorder.trials,
        "first_decorrelated": recorder.changes[0] if recorder.changes else None,
        "decorrelated": 1 + len(recorder.changes),
        "acceptance": float(np.mean([trial["accepted"] for trial in recorder.trials])),
        "paths": str(arrays),
        "frames_integrated": engine.frames_integrated,
        "seconds": seconds,
        "versions": {name: version(name) for name in ("openpathsampling", "openmm", "mdtraj", "numpy")},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("input", type=Path)
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    result = run(json.loads(arguments.input.read_text()), arguments.output)
    partial = arguments.output.with_name(arguments.output.name + ".partial")
    partial.write_text(json.dumps(result, indent=1))
    os.replace(partial, arguments.output)


if __name__ == "__main__":
    main()
