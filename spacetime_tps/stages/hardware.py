"""What a machine has, how fast it is for a system, and what a run of this system would use."""

from __future__ import annotations

from dataclasses import dataclass

import openmm

from spacetime_tps.dynamics import available_platforms, devices_of, speed_of_copies, time_platforms
from spacetime_tps.errors import UserError
from spacetime_tps.parallel import available_cores
from spacetime_tps.stages.context import choose_device, copies_on
from spacetime_tps.systems import System

TOGETHER = 64
"""Copies in one Context whose speed is measured."""
_SECONDS = 0.3


@dataclass(frozen=True)
class PlatformSpeed:
    """An OpenMM platform on a system.

    Attributes:
        name: of the platform.
        devices: that it can choose from; 0 where it has no such choice.
        alone: one simulation in one thread or on one device [steps/s]; None if the platform does not run here.
        together: ``TOGETHER`` copies in one Context, all of them [steps/s]; None if the molecule cannot be repeated.
    """

    name: str
    devices: int
    alone: float | None
    together: float | None


@dataclass(frozen=True)
class Hardware:
    """See the module.

    Attributes:
        platforms: all that OpenMM has here.
        platform, copies, workers, device: what a run with ``hardware`` left on ``auto`` takes.
    """

    platforms: list[PlatformSpeed]
    platform: str
    copies: int
    workers: int
    device: str


def survey_hardware(system: System) -> Hardware:
    """Measure every platform on a system with a molecule."""
    assert system.molecule is not None
    dynamics, positions = system.molecule.dynamics, system.structures[0]
    speeds, found = time_platforms(dynamics, positions), []
    for name in available_platforms():
        together = None
        if name in speeds:
            try:
                together = speed_of_copies(dynamics.on(name), positions, TOGETHER, _SECONDS)
            except (UserError, openmm.OpenMMException):
                together = None
        found.append(PlatformSpeed(name, len(devices_of(name)), speeds.get(name), together))
    fastest = max(speeds, key=lambda name: speeds[name])
    copies = copies_on(dynamics.on(fastest), system, "auto")
    return Hardware(found, fastest, copies, available_cores(), choose_device("auto"))
