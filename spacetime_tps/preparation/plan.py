"""How a molecule is sampled in the time that there is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spacetime_tps.boltzmann.ladder import EnergyCurve, pilot_energies, temperature_ladder
from spacetime_tps.dynamics import MolecularDynamics
from spacetime_tps.parallel import WorkerPool

_BIASED_AT_MOST = 2
"""Torsions that metadynamics fills; more are left to replica exchange."""
_LADDERS, _WALKERS = 2, 4
_HOTTEST = 2.2
"""Of the temperature."""
_ACCEPTANCE = 0.3


@dataclass(frozen=True)
class SamplingPlan:
    """A section ``sampling`` of a system file.

    Attributes:
        lines: of the section.
        why: in one sentence.
    """

    lines: list[str]
    why: str


def plan_sampling(
    dynamics: MolecularDynamics,
    positions: np.ndarray,
    torsions: int,
    steps_per_second: float,
    minutes: float,
    cores: int,
    pool: WorkerPool,
) -> SamplingPlan:
    """Metadynamics for one or two torsions, replica exchange for more, as long as ``minutes`` last.

    Args:
        dynamics: of the molecule.
        positions: where short runs that measure the ladder start [nm].
        torsions: of the representation.
        steps_per_second: of one core.
        minutes: that sampling may take here.
        cores: that it has.
        pool: where these runs go.

    Raises:
        UserError: replica exchange would take too many replicas.
    """
    picoseconds = 60 * minutes * steps_per_second * cores * dynamics.time_step_ps
    if torsions <= _BIASED_AT_MOST:
        each = picoseconds / _WALKERS
        lines = [
            "kind: metadynamics",
            f"walkers: {_WALKERS}",
            "bias_factor: 15",
            "hill_interval: 1 ps",
            f"build_time: {_ps(max(50, 0.35 * each), 50)} ps",
            "exchange_interval: 50 ps",
            f"frozen_time: {_ps(max(100, 0.65 * each), 50)} ps",
            f"discard_time: {_ps(min(50, 0.05 * each), 1)} ps",
            "sample_interval: 0.4 ps",
            "frame_interval: 20 ps",
        ]
        return SamplingPlan(lines, f"Metadynamics of {torsions} torsions: {minutes:g} minutes on {cores} cores here.")
    highest = _HOTTEST * dynamics.temperature_k
    at, energies, _ = pilot_energies(dynamics, positions, highest, 0, pool)
    ladder = temperature_ladder(dynamics.temperature_k, highest, EnergyCurve.fitted(at, energies), _ACCEPTANCE)
    each = picoseconds / (_LADDERS * len(ladder))
    lines = [
        "kind: replica_exchange",
        f"walkers: {_LADDERS}",
        f"highest_temperature: {highest:.0f} K",
        f"replicas: {len(ladder)}",
        f"time: {_ps(max(100, each), 50)} ps",
        f"discard_time: {_ps(min(100, 0.1 * each), 1)} ps",
        f"sample_interval: {'1 ps' if each >= 2000 else '0.4 ps'}",
    ]
    why = (
        f"{torsions} torsions are too many to bias: {_LADDERS} ladders of {len(ladder)} temperatures, whose exchanges "
        f"are accepted {_ACCEPTANCE:.0%} of the time; {minutes:g} minutes on {cores} cores here."
    )
    return SamplingPlan(lines, why)


def _ps(value: float, multiple: int) -> int:
    return max(multiple, round(value / multiple) * multiple)
