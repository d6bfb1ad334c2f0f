"""What the next round of refinement would simulate, and whether it is worth it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from spacetime_tps.boltzmann.pool import Pool
from spacetime_tps.config import RunConfig
from spacetime_tps.errors import UserError
from spacetime_tps.geometry.curve import FineCurve, read_curves
from spacetime_tps.stages.budget import Budget
from spacetime_tps.stages.context import Context
from spacetime_tps.stages.outlook import Forecast, forecast
from spacetime_tps.stages.placement import cost_of_quick_paths, windows_along
from spacetime_tps.stages.train import load_denoiser

UNMOVED, ACCURATE, FREE, ROUNDS = "unmoved", "accuracy", "free simulations", "refine.rounds"
EVALUATIONS, TIME = "max_evaluations", "max_time"
"""Why rounds end."""
_SHORTER, _FEWEST_SAMPLES = 4, 8
"""Times that windows are shorter which show what is there, and samples that they hold at least."""


@dataclass(frozen=True)
class Along:
    """What a round would simulate along one curve.

    Attributes:
        label: of its channel.
        curve: the curve.
        first: where windows stand that show what is there, in shares of its length; None: all along it.
        more: where further ones stand, of full length.
    """

    label: str
    curve: FineCurve
    first: np.ndarray | None
    more: np.ndarray

    def windows(self, config: RunConfig) -> tuple[int, int]:
        """How many there are of either."""
        first = windows_along(self.curve, config.windows) if self.first is None else len(self.first)
        return first, len(self.more)


@dataclass(frozen=True)
class NextRound:
    """What a round would simulate.

    Attributes:
        curves: along which.
        ahead: what all samples say so far; None without an accuracy, and before the first round.
        cost: force evaluations, roughly.
        needed: those with which the accuracy would be reached, by what is known so far.
    """

    curves: list[Along]
    ahead: Forecast | None
    cost: int
    needed: int

    @classmethod
    def of(cls, here: Context, pool: Pool, before: list[dict[str, Any]]) -> NextRound:
        """For the model of ``here``, after some rounds."""
        config, ahead, none = here.config, None, np.zeros(0)
        curves = [Along(label, curve, None, none) for label, curve, _ in promising(here)]
        if config.accuracy is not None and before:
            ahead = forecast(curves_of(here), load_denoiser(here), pool, here.system)
            curves = [
                Along(found.label, found.curve, missing, ahead.more if found is ahead.chosen else none)
                for found, missing in zip(ahead.found, ahead.missing, strict=True)
            ]
            curves = [each for each in curves if sum(each.windows(config))]
        equilibration, steps = config.windows.equilibration_steps, (first_steps(config), config.windows.steps)
        cost = len(curves) * cost_of_quick_paths(config)
        for each in curves:
            counts = each.windows(config)
            cost += sum(2 * n * (equilibration + length) for n, length in zip(counts, steps, strict=True))
        beyond = 0 if ahead is None else ahead.needed - len(ahead.more)
        return cls(curves, ahead, cost, cost + 2 * beyond * (equilibration + steps[1]))

    def stopped_by(self, before: list[dict[str, Any]], budget: Budget, config: RunConfig) -> str | None:
        """Why this round is not run; None if it is.

        Raises:
            UserError: the budget is too small for the first round.
        """
        spent = sum(row["force_evaluations"] for row in before)
        if not before:
            if budget.forbids(0, self.cost):
                raise UserError(
                    f"max_evaluations is {config.max_evaluations:,}, too small for one round of windows and what "
                    f"follows: they need about {budget.others + self.cost:,}."
                )
            return None
        if self.ahead is None and before[-1]["converged"]:
            return UNMOVED
        if self.ahead is not None and self.ahead.accurate:
            return ACCURATE
        if self.ahead is not None and not self.curves:
            return FREE
        if len(before) >= config.refine.rounds:
            return ROUNDS
        if budget.forbids(spent, self.cost):
            return EVALUATIONS
        return TIME if budget.out_of_time else None


def first_steps(config: RunConfig) -> int:
    """Of windows that show what is there: with an accuracy a quarter of those that measure it."""
    windows = config.windows
    if config.accuracy is None:
        return windows.steps
    return max(windows.steps // _SHORTER, _FEWEST_SAMPLES * windows.sample_every)


def curves_of(here: Context) -> list[tuple[str, FineCurve, float]]:
    """Label, geodesic and barrier on the run's own samples [kT] of every channel, best first."""
    system = here.system
    rows = here.folder.record("geodesic")["summary"]["channels"]
    curves = read_curves(here.folder / "geodesic.npz", system.representation).items()
    key = f"own_barrier_{system.suffix}"
    heights = [np.inf if row[key] is None else row[key] / system.kt for row in rows]
    return [(*each, height) for each, height in zip(curves, heights, strict=True)]


def promising(here: Context) -> list[tuple[str, FineCurve, float]]:
    """Those whose barrier is the lowest, or not far above it, and no more than may be simulated."""
    found, config = curves_of(here), here.config.refine
    return [each for each in found if each[2] <= found[0][2] + config.within_kt][: config.channels]
