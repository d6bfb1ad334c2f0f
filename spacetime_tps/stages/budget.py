"""What a run may still spend: force evaluations and time."""

from __future__ import annotations

import time
from dataclasses import dataclass

from spacetime_tps.config import RunConfig
from spacetime_tps.stages.context import Context

_PER_SHOT = 500
"""Steps of an unguided trajectory both ways, roughly, beside those between two points."""
_LENGTH = 30.0
"""Of a geodesic, roughly."""


@dataclass(frozen=True)
class Budget:
    """What is left for rounds of windows.

    Attributes:
        evaluations: force evaluations of the whole run; None: as many as it takes.
        others: of the sampling before the rounds, and roughly of paths, windows and shots after them.
        deadline: on the clock of ``time.monotonic`` [s], after which no round begins; None: whenever.
    """

    evaluations: int | None
    others: int
    deadline: float | None

    @classmethod
    def of(cls, context: Context) -> Budget:
        """Of a run whose rounds are about to begin."""
        config = context.config
        others = context.folder.record("sample")["force_evaluations"] + evaluations_after_rounds(config)
        deadline = None if config.max_time is None else context.began + config.max_time
        return cls(config.max_evaluations, others, deadline)

    @property
    def out_of_time(self) -> bool:
        """Whether no round may begin any more."""
        return self.deadline is not None and time.monotonic() > self.deadline

    def forbids(self, spent: int, cost: int) -> bool:
        """Whether a round of some cost is too much after what rounds have spent."""
        return self.evaluations is not None and self.others + spent + cost > self.evaluations


def evaluations_after_rounds(config: RunConfig) -> int:
    """Force evaluations that paths, windows and shots take, roughly."""
    paths, windows, shots = config.paths, config.windows, config.transitions
    annealed = paths.count * (
        paths.curve_points * paths.steps_per_point + paths.equilibration_steps + 2 * paths.release_steps
    )
    count = min(windows.most, 1 + _LENGTH / windows.spacing)
    measured = 2 * count * (windows.steps + windows.equilibration_steps)
    free = 2 * windows.free_walkers * (windows.free_steps + windows.equilibration_steps)
    return int(annealed + measured + free + shots.shots * (shots.spacing_steps + _PER_SHOT))
