"""How a molecule is sampled in the time that there is."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np

from spacetime_tps.boltzmann.ladder import EnergyCurve, pilot_energies, temperature_ladder
from spacetime_tps.dynamics import MolecularDynamics, speed_of
from spacetime_tps.errors import UserError
from spacetime_tps.parallel import WorkerPool
from spacetime_tps.preparation.decisions import Decision

_BIASED_AT_MOST = 2
"""Torsions that metadynamics fills; more are left to replica exchange."""
_LADDERS, _WALKERS = 2, 4
"""Doubled where there are cores for it."""
_HOTTEST = 2.2
"""Of the temperature."""
_ACCEPTANCE = 0.3
_TIMED_SECONDS = 1.0


def throughput(dynamics: MolecularDynamics, positions: np.ndarray, processes: int, pool: WorkerPool) -> float:
    """Speed of so many simulations side by side, all together [steps/s]: they share memory, heat or one GPU."""
    task = (dynamics, positions, _TIMED_SECONDS)
    if processes > 1:
        pool.map(speed_of, [(dynamics, positions, 0.0)] * processes)  # their processes are up, their kernels compiled
    return sum(pool.map(speed_of, [task] * processes))


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
    decision: Decision,
    minutes: float,
    pool: WorkerPool,
) -> SamplingPlan:
    """Metadynamics for one or two torsions, replica exchange for more, as long as ``minutes`` last.

    Where replica exchange would take too many replicas, as in explicit water, metadynamics of the torsions that tell
    the states apart is left.

    Args:
        dynamics: of the molecule.
        positions: where short runs that measure the ladder start [nm].
        decision: torsions and states.
        minutes: that sampling may take here.
        pool: where these runs go.
    """
    torsions = len(decision.torsions)
    walkers, ladders = (2 * count if pool.workers >= 2 * count else count for count in (_WALKERS, _LADDERS))

    def budget(processes: int) -> tuple[float, str]:
        """Simulated time [ps] that ``minutes`` hold for so many processes, and where it comes from."""
        speed = throughput(dynamics, positions, min(processes, pool.workers), pool)
        return 60 * minutes * speed * dynamics.time_step_ps, (
            f"{minutes:g} {'minute' if minutes == 1 else 'minutes'} at {speed:,.0f} steps/s here."
        )

    if torsions <= _BIASED_AT_MOST:
        picoseconds, source = budget(walkers)
        why = f"Metadynamics of {torsions} torsion{'s' * (torsions > 1)} by {walkers} walkers: {source}"
        return SamplingPlan(_metadynamics(walkers, picoseconds, None), why)
    highest = _HOTTEST * dynamics.temperature_k
    at, energies, _ = pilot_energies(dynamics, positions, highest, 0, pool)
    try:
        ladder = temperature_ladder(dynamics.temperature_k, highest, EnergyCurve.fitted(at, energies), _ACCEPTANCE)
    except UserError:
        biased = decision.farthest[:_BIASED_AT_MOST]
        picoseconds, source = budget(walkers)
        why = (
            f"{torsions} torsions are too many to bias, and so many atoms take too many temperatures for replica "
            f"exchange: metadynamics of {' and '.join(biased)}, the other torsions as they come; {source}"
        )
        return SamplingPlan(_metadynamics(walkers, picoseconds, biased), why)
    picoseconds, source = budget(ladders)
    each = 0.9 * picoseconds / (ladders * len(ladder))
    lines = [
        "kind: replica_exchange",
        f"walkers: {ladders}",
        f"highest_temperature: {highest:.0f} K",
        f"replicas: {len(ladder)}",
        f"flatten: {{build_time: {_ps(min(500, max(50, 0.1 * picoseconds / _WALKERS)), 50)} ps}}",
        f"time: {_ps(max(100, each), 50)} ps",
        f"discard_time: {_ps(min(100, 0.1 * each), 1)} ps",
        f"sample_interval: {'1 ps' if each >= 2000 else '0.4 ps'}",
    ]
    why = (
        f"{torsions} torsions are too many to bias: {ladders} ladders of {len(ladder)} temperatures, whose exchanges "
        f"are accepted {_ACCEPTANCE:.0%} of the time; {source}"
    )
    return SamplingPlan(lines, why)


def _metadynamics(walkers: int, picoseconds: float, biased: list[str] | None) -> list[str]:
    """Settings for walkers that share so many picoseconds."""
    each = picoseconds / walkers
    return [
        "kind: metadynamics",
        f"walkers: {walkers}",
        *([] if biased is None else [f"bias: {json.dumps(biased)}"]),
        "bias_factor: 15",
        "hill_interval: 1 ps",
        f"build_time: {_ps(max(50, 0.35 * each), 50)} ps",
        "exchange_interval: 50 ps",
        f"frozen_time: {_ps(max(100, 0.65 * each), 50)} ps",
        f"discard_time: {_ps(min(50, 0.05 * each), 1)} ps",
        "sample_interval: 0.4 ps",
        "frame_interval: 20 ps",
    ]


def _ps(value: float, multiple: int) -> int:
    return max(multiple, round(value / multiple) * multiple)
