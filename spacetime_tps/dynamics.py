"""Molecular dynamics in OpenMM: the dynamics of a molecule as a picklable value, its contexts, and its platform."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import openmm
from openmm import unit

from spacetime_tps.copies import replicated
from spacetime_tps.errors import UserError
from spacetime_tps.parallel import worker_number
from spacetime_tps.units import GAS_CONSTANT

logger = logging.getLogger(__name__)

PHYSICAL_GROUP = 0
RESTRAINT_GROUP = 1
GPU_PLATFORMS = ("CUDA", "HIP", "OpenCL")
_DETERMINISTIC = {
    "CPU": {"Threads": "1", "DeterministicForces": "true"},
    "CUDA": {"Precision": "mixed", "DeterministicForces": "true"},
    "HIP": {"Precision": "mixed", "DeterministicForces": "true"},
    "OpenCL": {"Precision": "mixed"},
}

_CHOOSING = ("DeviceIndex", "OpenCLPlatformIndex")


@dataclass(frozen=True)
class MolecularDynamics:
    """Langevin dynamics (LangevinMiddle) of a serialised OpenMM System on a named platform.

    Attributes:
        system_xml: the System, without thermostat or bias.
        temperature_k: temperature [K].
        time_step_ps: integration step [ps].
        friction_per_ps: collision rate [1/ps].
        platform: OpenMM platform name.
        copies: molecules in the System that do not see each other.
    """

    system_xml: str
    temperature_k: float
    time_step_ps: float
    friction_per_ps: float
    platform: str = "Reference"
    copies: int = 1

    @property
    def kt(self) -> float:
        """Thermal energy [kJ/mol]."""
        return GAS_CONSTANT * self.temperature_k

    def on(self, platform: str) -> MolecularDynamics:
        """The same dynamics on another platform."""
        return replace(self, platform=platform)

    def at(self, temperature_k: float) -> MolecularDynamics:
        """The same dynamics at another temperature [K]."""
        return replace(self, temperature_k=temperature_k)

    def copied(self, copies: int) -> MolecularDynamics:
        """The same dynamics of so many molecules in one System, that do not see each other.

        Raises:
            UserError: the System holds what they would see each other by.
        """
        return self if copies == 1 else self.repeated(copies)

    def repeated(self, copies: int) -> MolecularDynamics:
        """The same, with a single molecule written like several."""
        single = openmm.XmlSerializer.deserialize(self.system_xml)
        return replace(self, system_xml=openmm.XmlSerializer.serialize(replicated(single, copies)), copies=copies)

    def in_box(self, box: np.ndarray) -> MolecularDynamics:
        """The same dynamics in another periodic box [nm], shape (3, 3)."""
        system = openmm.XmlSerializer.deserialize(self.system_xml)
        system.setDefaultPeriodicBoxVectors(*box)
        return replace(self, system_xml=openmm.XmlSerializer.serialize(system))

    def steps(self, duration_ps: float) -> int:
        """Integration steps in ``duration_ps``, at least one unless it is zero."""
        return max(1, round(duration_ps / self.time_step_ps)) if duration_ps else 0

    def degrees_of_freedom(self) -> int:
        """3N minus constraints; Langevin dynamics keeps the centre of mass in motion."""
        system = openmm.XmlSerializer.deserialize(self.system_xml)
        massive = sum(system.getParticleMass(i)._value > 0 for i in range(system.getNumParticles()))
        return 3 * massive - system.getNumConstraints()

    def context(self, seed: int, forces: Sequence[openmm.Force] = ()) -> openmm.Context:
        """A fresh context; ``forces`` (restraints, biases) are added in their own force group.

        The forces belong to the context's System afterwards, but stay valid for ``updateParametersInContext``.
        """
        system = openmm.XmlSerializer.deserialize(self.system_xml)
        for force in system.getForces():
            force.setForceGroup(PHYSICAL_GROUP)
        for force in forces:
            force.setForceGroup(RESTRAINT_GROUP)
            system.addForce(force)
        integrator = openmm.LangevinMiddleIntegrator(self.temperature_k, self.friction_per_ps, self.time_step_ps)
        integrator.setRandomNumberSeed(seed)
        platform = openmm.Platform.getPlatformByName(self.platform)
        properties = _DETERMINISTIC.get(self.platform, {}) | device_of(self.platform, worker_number())
        return openmm.Context(system, integrator, platform, properties)


def devices_of(platform: str) -> list[dict[str, str]]:
    """The devices of a platform, each as the properties that choose it; none for platforms without any."""
    if platform not in GPU_PLATFORMS:
        return []
    return [dict(found) for found in openmm.Platform.getPlatformByName(platform).getDevices()]


def device_of(platform: str, worker: int) -> dict[str, str]:
    """Where a worker simulates: of several devices each gets as many workers as the others."""
    devices = devices_of(platform)
    if len(devices) < 2:
        return {}
    return {key: value for key, value in devices[worker % len(devices)].items() if key in _CHOOSING}


def thermalise(context: openmm.Context, temperature_k: float, seed: int) -> None:
    """Draw Maxwell-Boltzmann velocities, constraints obeyed."""
    context.applyConstraints(1e-8)
    context.setVelocitiesToTemperature(temperature_k * unit.kelvin, seed)


def advance(context: openmm.Context, steps: int, chunk: int = 1000) -> None:
    """Integrate in chunks, between which Python sees signals."""
    for done in range(0, steps, chunk):
        context.getIntegrator().step(min(chunk, steps - done))


def look_lengths(steps: int, every: int) -> list[int]:
    """``steps`` in parts of ``every`` and a rest."""
    full, rest = divmod(steps, every)
    return [every] * full + ([rest] if rest else [])


def positions_of(context: openmm.Context) -> np.ndarray:
    """Positions [nm], shape (n_atoms, 3), float64."""
    return _vectors(context.getState(positions=True), openmm.State.Positions)


def phase_of(context: openmm.Context) -> tuple[np.ndarray, np.ndarray]:
    """Positions [nm] and velocities [nm/ps], shape (n_atoms, 3), float64."""
    state = context.getState(positions=True, velocities=True)
    return _vectors(state, openmm.State.Positions), _vectors(state, openmm.State.Velocities)


def _vectors(state: openmm.State, kind: int) -> np.ndarray:
    """What ``getPositions`` and its like give a unit, which for a small molecule takes as long as integrating it."""
    values = np.empty((state._getNumParticles(), 3))
    state._getVectorAsNumpy(kind, values)
    return values


def energies_of(context: openmm.Context) -> tuple[float, float]:
    """Potential energy without restraint, and kinetic energy [kJ/mol]; costs one force evaluation."""
    state = context.getState(energy=True, groups={PHYSICAL_GROUP})
    return state.getPotentialEnergy()._value, state.getKineticEnergy()._value


def copies_of(vectors: np.ndarray, copies: int) -> np.ndarray:
    """Positions or velocities of each molecule, shape (copies, n_atoms, 3), of those of all atoms."""
    return vectors.reshape(copies, -1, 3)


def copy_energies(context: openmm.Context, single: MolecularDynamics, copies: int) -> Callable[[], np.ndarray]:
    """A function that reads potential energies without restraint and kinetic ones [kJ/mol], shape (2, copies).

    A Context tells the energy of all its molecules together, so those of each are evaluated one by one, on the
    Reference platform, which is the fastest for a single evaluation of a small molecule.
    """
    if copies == 1:
        return lambda: np.array(energies_of(context))[:, None]
    one = single.on("Reference").context(seed=1)
    masses = np.array([one.getSystem().getParticleMass(k)._value for k in range(one.getSystem().getNumParticles())])

    def energies() -> np.ndarray:
        positions, velocities = (copies_of(part, copies) for part in phase_of(context))
        potential = []
        for each in positions:
            one.setPositions(each)
            potential.append(energies_of(one)[0])
        return np.stack([potential, 0.5 * (masses[:, None] * np.square(velocities)).sum(axis=(1, 2))])

    return energies


def restraint_energy_of(context: openmm.Context) -> float:
    """Energy of the restraints and biases alone [kJ/mol]; the force field is not evaluated."""
    return context.getState(energy=True, groups={RESTRAINT_GROUP}).getPotentialEnergy()._value


def available_platforms() -> list[str]:
    """Names of the OpenMM platforms in this process."""
    return [openmm.Platform.getPlatform(i).getName() for i in range(openmm.Platform.getNumPlatforms())]


def speed_of(dynamics: MolecularDynamics, positions: np.ndarray, seconds: float) -> float:
    """Speed of one simulation, its positions read now and then [steps/s], measured for that long after its start."""
    context = dynamics.context(seed=1)
    context.setPositions(positions)
    thermalise(context, dynamics.temperature_k, 1)
    context.getIntegrator().step(10)
    steps, started = 0, time.perf_counter()
    while (passed := time.perf_counter() - started) < seconds:
        context.getIntegrator().step(50)
        positions_of(context)
        steps += 50
    return steps / passed


def speed_of_copies(dynamics: MolecularDynamics, positions: np.ndarray, copies: int, seconds: float) -> float:
    """Speed of so many molecules in one Context, all together [steps/s]; a single one is written like them."""
    return copies * speed_of(dynamics.repeated(copies), np.tile(positions, (copies, 1)), seconds)


def time_platforms(dynamics: MolecularDynamics, positions: np.ndarray, seconds: float = 0.3) -> dict[str, float]:
    """Speed of every usable platform on this very system [steps/s]; platforms that fail are left out."""
    speeds = {}
    for name in available_platforms():
        try:
            speeds[name] = speed_of(dynamics.on(name), positions, seconds)
        except openmm.OpenMMException as error:
            logger.info("platform %s does not run here: %s", name, error)
    return speeds


def choose_platform(requested: str, dynamics: MolecularDynamics, positions: np.ndarray) -> tuple[str, dict[str, float]]:
    """Resolve ``auto`` to the fastest platform for this system, or check an explicit choice.

    Returns:
        the platform's name and the measured speeds [steps/s] (empty for an explicit choice).

    Raises:
        UserError: the platform is not there or does not run.
    """
    present = available_platforms()
    if requested == "auto":
        speeds = time_platforms(dynamics, positions)
        if not speeds:
            raise UserError(f"No OpenMM platform runs this system; tried {', '.join(present)}.")
        return max(speeds, key=lambda name: speeds[name]), speeds
    match = next((name for name in present if name.lower() == requested.lower()), None)
    if match is None:
        raise UserError(
            f"The OpenMM platform {requested!r} is not there; this machine has {', '.join(present)}, "
            "and 'auto' takes the fastest."
        )
    try:
        dynamics.on(match).context(seed=1)
    except openmm.OpenMMException as error:
        raise UserError(
            f"The OpenMM platform {match!r} does not run here ({error}); this machine has {', '.join(present)}."
        ) from error
    return match, {}
