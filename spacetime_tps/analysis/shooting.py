"""What chains of shooting moves tell: acceptance, lengths, channels, and how many paths are independent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from spacetime_tps.analysis.path_metrics import (
    acceptance_table,
    channel_labels,
    decorrelated_steps,
    integrated_autocorrelation_time,
)
from spacetime_tps.shooting.path import ShotPath
from spacetime_tps.shooting.record import Block, Steps


@dataclass(frozen=True)
class Chains:
    """All blocks of some chains put together.

    Attributes:
        steps: of shape (n_chains, n_steps).
        kept: paths kept at regular steps, chain by chain.
        kept_at: their steps, alike.
        burn_in: steps at the start that no average counts.
        force_evaluations: of the moves.
    """

    steps: Steps
    kept: list[list[ShotPath]]
    kept_at: list[list[int]]
    burn_in: int
    force_evaluations: int

    @classmethod
    def of(cls, blocks: list[Block], burn_in: int, keep_every: int) -> Chains:
        """Put the blocks of a run in a row."""
        kept = [[path for block in blocks for path in block.kept[c]] for c in range(len(blocks[0].kept))]
        at = [[(k + 1) * keep_every for k in range(len(row))] for row in kept]
        steps = Steps.joined([block.steps for block in blocks], axis=1)
        return cls(steps, kept, at, burn_in, sum(block.force_evaluations for block in blocks))

    @property
    def paths(self) -> list[ShotPath]:
        """The kept paths behind the burn-in of all chains."""
        rows = zip(self.kept, self.kept_at, strict=True)
        return [path for row, at in rows for path, step in zip(row, at, strict=True) if step > self.burn_in]

    @property
    def max_free_energy(self) -> np.ndarray:
        """MaxFreeEnergy of the current path at every step behind the burn-in, rejections repeated, shape (n,)."""
        return self.steps.max_free_energy[:, self.burn_in :].ravel()

    @property
    def length(self) -> np.ndarray:
        """Frames of the current path at every step behind the burn-in, shape (n,)."""
        return self.steps.length[:, self.burn_in :].ravel()

    def decorrelated(self) -> int:
        """Paths that share no frame with the decorrelated one before them, over all chains and all steps."""
        return sum(len(decorrelated_steps(row)) for row in self.steps.oldest)

    def independent(self) -> float:
        """How many independent values of MaxFreeEnergy the steps behind the burn-in are worth, at least two.

        As many as have a mean with the error that ``mean_with_error`` finds, by the autocorrelation time or, where a
        time longer than the chains hides in them, by the scatter between them; and no more than one for each chain and
        one for each decorrelated path.
        """
        series = self.steps.max_free_energy[:, self.burn_in :]
        decorrelated = sum(int((decorrelated_steps(row) > self.burn_in).sum()) for row in self.steps.oldest)
        found = mean_with_error(series)
        by_error = (found["std"] / found["error"]) ** 2 if found["error"] > 0 else float(series.size)
        return max(2.0, min(by_error, len(series) + decorrelated))

    def first_decorrelation(self) -> list[int | None]:
        """Step at which the path of each chain shares no frame with the first path any more."""
        found = [np.flatnonzero(row > 0) for row in self.steps.oldest]
        return [int(steps[0]) + 1 if len(steps) else None for steps in found]

    def independent_paths(self) -> list[ShotPath]:
        """Kept paths behind the burn-in none of which shares a frame with the one before it in its chain."""
        chosen = []
        for row, at in zip(self.kept, self.kept_at, strict=True):
            last = self.burn_in
            for path, step in zip(row, at, strict=True):
                if step > self.burn_in and path.born.min() > last:
                    chosen.append(path)
                    last = step
        return chosen

    def channels(self, turning: Mapping[int, str]) -> dict[str, float]:
        """Share of the steps behind the burn-in that each channel holds, see ``channel_labels``."""
        moved = self.steps.displacement[:, self.burn_in :]
        moved = moved.reshape(-1, moved.shape[-1])
        counts = Counter(channel_labels(moved, turning))
        return {label: count / len(moved) for label, count in sorted(counts.items())}


def mean_with_error(series: np.ndarray) -> dict[str, float]:
    """Mean, standard deviation and error of the mean of correlated chains, shape (n_chains, n_steps).

    The error takes the chains' integrated autocorrelation time tau into account: std sqrt(tau / n), tau being the mean
    over chains, and is not less than what the scatter of the chains' means says.
    """
    tau = float(np.mean([integrated_autocorrelation_time(row) for row in series]))
    std = float(series.std())
    error = std * np.sqrt(tau / series.size)
    if len(series) > 1:
        error = max(error, float(series.mean(axis=1).std(ddof=1) / np.sqrt(len(series))))
    return {"mean": float(series.mean()), "std": std, "error": float(error), "autocorrelation_steps": tau}


def gelman_rubin(series: np.ndarray) -> float:
    """Potential scale reduction of chains, shape (n_chains, n_steps): 1 where they have mixed, above 1.1 hardly.

    The root of (W (n - 1) / n + B) / W with W the mean variance within chains and B that of their means (Gelman and
    Rubin, Stat. Sci. 7, 457 (1992)). NaN for a single chain. Chains that all sit in one tube look mixed.
    """
    if len(series) < 2 or not (within := float(series.var(axis=1, ddof=1).mean())) > 0:
        return float("nan")
    size = series.shape[1]
    between = float(series.mean(axis=1).var(ddof=1))
    return float(np.sqrt((within * (size - 1) / size + between) / within))


def summarise_chains(
    chains: Chains, turning: Mapping[int, str], frame_interval: float, cost_of_first: int
) -> dict[str, Any]:
    """Everything reported of chains but energies.

    Args:
        chains: of a run.
        turning: as in ``channel_labels``.
        frame_interval: time between frames.
        cost_of_first: force evaluations of the first paths.
    """
    steps, used = chains.steps, slice(chains.burn_in, None)
    cost = chains.force_evaluations + cost_of_first
    reasons = Counter(steps.reason[:, used].ravel().tolist())
    moves = steps.move[:, used].ravel()
    accepted = steps.accepted[:, used].ravel()
    decorrelated = chains.decorrelated()
    length = steps.length[:, used].astype(float)
    return {
        "chains": len(steps.accepted),
        "steps": int(steps.accepted.shape[1]),
        "burn_in": chains.burn_in,
        "acceptance": acceptance_table(accepted, np.full(len(accepted), "all")) | acceptance_table(accepted, moves),
        "rejections": {reason: count for reason, count in sorted(reasons.items()) if reason != "accepted"},
        "length_frames": mean_with_error(length),
        "length": mean_with_error(length * frame_interval) | {"gelman_rubin": gelman_rubin(length)},
        "channels": chains.channels(turning),
        "decorrelated_paths": decorrelated,
        "first_decorrelation_steps": chains.first_decorrelation(),
        "decorrelated_per_million_force_evaluations": 1e6 * decorrelated / cost,
        "force_evaluations": {"first": cost_of_first, "shooting": chains.force_evaluations},
    }
