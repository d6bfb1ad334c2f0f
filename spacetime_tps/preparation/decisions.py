"""Which torsions matter, and where the two states lie, from short runs of either end structure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spacetime_tps.errors import UserError
from spacetime_tps.preparation.survey import RUN_PS, Extent, extent
from spacetime_tps.preparation.torsions import Candidate
from spacetime_tps.representations import wrap

MOST_TORSIONS = 12
_DIFFERS, _CHI_DIFFERS, _MOVES = np.deg2rad([30.0, 60.0, 25.0])
_TAILS, _MARGIN, _LEAST = 0.05, np.deg2rad(15.0), np.deg2rad(25.0)
_BRIEF = 3
"""Runs of eight that leave for the other state within 20 ps: too many for a metastable state."""

Bounds = dict[str, tuple[float, float]]
"""Of torsions by name: low end and width [rad]."""


@dataclass(frozen=True)
class Decision:
    """What a system file is made of.

    Attributes:
        torsions: of the representation.
        bounds: of the torsions that tell the states apart, by name, for either state [rad]: low end and width.
        inside: share of the frames of each state's own runs that lie in it.
        notes: why, in plain words.
    """

    torsions: list[Candidate]
    bounds: tuple[Bounds, Bounds]
    inside: tuple[float, float]
    notes: tuple[str, ...]

    @property
    def farthest(self) -> list[str]:
        """Torsions that tell the states apart, those whose intervals lie farthest from each other first."""
        middles = [{name: low + width / 2 for name, (low, width) in bounds.items()} for bounds in self.bounds]
        off = {name: abs(float(wrap(np.array(middles[1][name] - middles[0][name])))) for name in middles[0]}
        return sorted(off, key=lambda name: -off[name])


def decide(candidates: Sequence[Candidate], angles: np.ndarray, with_chi: bool, wanted: Sequence[str]) -> Decision:
    """Choose torsions and states.

    A torsion matters if it differs between the end states by more than 30 degrees, or moves by more than 25 within one
    of them; side chains count if asked for or if they differ by more than 60; peptide bonds if they turn. A state is
    the box of the torsions whose intervals in both states do not meet.

    Args:
        candidates: all torsions.
        angles: of the runs [rad], shape (2, n_runs, n, n_candidates).
        with_chi: side chains count like the backbone.
        wanted: names of torsions to take in any case.

    Raises:
        UserError: a name is unknown, the states cannot be told apart, or they do not last.
    """
    unknown = [name for name in wanted if name not in {candidate.name for candidate in candidates}]
    if unknown:
        known = ", ".join(candidate.name for candidate in candidates) or "none"
        raise UserError(f"The molecule has no torsion {unknown[0]!r}; it has {known}.")
    extents = [
        (extent(angles[0, ..., k], _TAILS, _MARGIN, _LEAST), extent(angles[1, ..., k], _TAILS, _MARGIN, _LEAST))
        for k in range(len(candidates))
    ]
    difference = np.array([abs(float(wrap(np.array(b.mean - a.mean)))) for a, b in extents]).reshape(-1)
    moves = np.array([max(a.std, b.std) for a, b in extents]).reshape(-1)
    chosen = [
        k
        for k, candidate in enumerate(candidates)
        if candidate.name in wanted or _matters(candidate, float(difference[k]), float(moves[k]), with_chi)
    ]
    notes = []
    if len(chosen) > MOST_TORSIONS:
        first = sorted(chosen, key=lambda k: (candidates[k].name not in wanted, -difference[k]))[:MOST_TORSIONS]
        notes.append(f"of {len(chosen)} torsions that move, the {MOST_TORSIONS} that differ most are taken")
        chosen = sorted(first)
    apart = [k for k in chosen if _apart(*extents[k])]
    if not apart:
        largest = f" (means differ by {np.rad2deg(difference.max()):.0f} deg at most)" if len(difference) else ""
        raise UserError(
            f"Both files lie in one state as far as torsions tell: in {RUN_PS:.0f} ps of free dynamics from either no "
            f"torsion keeps apart{largest}; give two states that differ, or name a torsion with --torsion."
        )
    bounds = _bounds(candidates, extents, apart, 0), _bounds(candidates, extents, apart, 1)
    inside = _check_lifetimes(angles[..., apart], bounds)
    for k in chosen:
        a, b = (np.rad2deg(each.mean) for each in extents[k])
        role = "tells the states apart" if k in apart else "moves"
        notes.append(f"{candidates[k].name}: {a:.0f} deg in A, {b:.0f} deg in B ({role})")
    return Decision([candidates[k] for k in chosen], bounds, inside, tuple(notes))


def _bounds(
    candidates: Sequence[Candidate], extents: Sequence[tuple[Extent, Extent]], apart: Sequence[int], which: int
) -> Bounds:
    """Low end and width [rad] of each interval of a state."""
    chosen = {candidates[k].name: extents[k][which] for k in apart}
    return {name: (each.mean + each.low, each.high - each.low) for name, each in chosen.items()}


def _matters(candidate: Candidate, difference: float, moves: float, with_chi: bool) -> bool:
    if candidate.kind == "omega":
        return difference > np.pi / 2
    if candidate.kind.startswith("chi") and not with_chi:
        return difference > _CHI_DIFFERS
    return difference > _DIFFERS or moves > _MOVES


def _apart(a: Extent, b: Extent) -> bool:
    """Whether two intervals on the circle do not meet."""
    between = float(wrap(np.array(b.mean - a.mean)))
    over = between - a.high + b.low if between > 0 else -between + a.low - b.high
    back = 2 * np.pi - abs(between) - ((-a.low + b.high) if between > 0 else (a.high - b.low))
    return over > 0 and back > 0


def _contained(angles: np.ndarray, bounds: Bounds) -> np.ndarray:
    low, width = (np.array(column) for column in zip(*bounds.values(), strict=True))
    return np.all((angles - low) % (2 * np.pi) <= width, axis=-1)


def _check_lifetimes(angles: np.ndarray, bounds: tuple[Bounds, Bounds]) -> tuple[float, float]:
    """Share of the frames of each state's runs inside it.

    Raises:
        UserError: runs from one state end in the other.
    """
    for s in range(2):
        crossed = int(_contained(angles[s], bounds[1 - s]).any(axis=-1).sum())
        if crossed >= _BRIEF:
            here, there = ("A", "B") if s == 0 else ("B", "A")
            raise UserError(
                f"State {here} does not last: {crossed} of {len(angles[s])} free runs of {RUN_PS:.0f} ps from it reach "
                f"state {there}; no transition is rare there, so choose other states or a lower temperature."
            )
    return tuple(float(_contained(angles[s], bounds[s]).mean()) for s in range(2))  # type: ignore[return-value]
