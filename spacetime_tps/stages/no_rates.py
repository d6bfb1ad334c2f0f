"""Why shots give no rate constants: too few paths, windows that share nothing, states that are none, intermediates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import KDTree

from spacetime_tps.analysis.rates import SOUND_K, Rates, ShotEnsemble, Stay, pareto_k
from spacetime_tps.shooting.shots import RidgeSpace, Shots
from spacetime_tps.stages.ridge_rounds import ridge_space
from spacetime_tps.systems import System
from spacetime_tps.units import shown_number

INTERMEDIATE = "ensemble/intermediate.pdb"
"""Where most of the shots stopped that reached no state."""
_GATHERED = 0.25
"""Ends of shots within this share of the distance between the states count as one place, in features."""
_REMEMBERED, _FEW = 0.5, 3
"""Correlation of where trajectories began and stopped beyond which those that stopped near there have not come to rest;
trajectories that are a gathering."""
_SLOW = 0.25
"""Transition time over the life of a state above which it has none of its own."""


def why_not(ensemble: ShotEnsemble, rates: Rates, stays: tuple[Stay, Stay], unit: str) -> str:
    """Why rates by these shots would be none, in words; empty if they are sound. ``unit`` is that of time."""
    shape = pareto_k(ensemble.weights)
    if np.isnan(shape):
        return f"only {len(ensemble.weights)} shots connect the states; raise transitions.shots"
    if shape > SOUND_K:
        return f"a few paths carry most of the weight (Pareto k {shape:.2f}); raise transitions.shots"
    if not all(stay.inside > 0.0 and np.isfinite(stay.error) for stay in stays):
        return "no free simulations stay in the states; raise windows.free_walkers"
    if not np.isfinite(rates.errors).all():
        return "ridge windows share no samples with the states; lower windows.spacing"
    if rates.transition_over_life > _SLOW:
        life = rates.transition_time / rates.transition_over_life
        return (
            f"a state is left after {shown_number(life)} {unit} and a transition takes "
            f"{shown_number(rates.transition_time)}: it is not metastable, and no rate constant describes it"
        )
    return ""


def lost_shots(system: System, shots: Shots) -> str:
    """Why too many shots reached no state for a rate, in words; empty if few did."""
    lost = int(shots.unfinished.sum())
    if lost <= len(shots.paths):
        return ""
    connected = f"{len(shots.paths)} connect the states"
    told = f"{lost} of {len(shots)} shots reached no state in transitions.max_steps and {connected}"
    found = gathering(system, shots)
    if found is None:
        return f"{told}: raise transitions.max_steps"
    steps = "name that place as a state, and take each step by itself"
    if system.molecule is not None:
        steps = f"take each step by itself, from A to {INTERMEDIATE} and from there to B"
    return f"{told}; {found.words(system)}: raise transitions.max_steps, or {steps}"


@dataclass(frozen=True)
class Gathering:
    """Where most of the trajectories that reached no state stopped.

    Attributes:
        share: of them.
        at: coordinates, or angles [deg], by their names, of the mean of their features.
        frame: positions of the one nearest to it [nm], shape (n_atoms, 3), or the point, shape (d,).
    """

    share: float
    at: dict[str, float]
    frame: np.ndarray

    def words(self, system: System) -> str:
        """As part of a sentence."""
        unit = "" if system.molecule is None else " deg"
        place = ", ".join(f"{name} {value:.3g}{unit}" for name, value in self.at.items())
        return f"{self.share:.0%} of these ends lie together near {place}"


def gathering(system: System, shots: Shots) -> Gathering | None:
    """Of shots of which at least one arrived nowhere; None where these are too few, or still near where they began."""
    space, variables = ridge_space(system), system.variables
    features, begun = (
        space.features(shots.stops[tuple(shots.losses.T)]),
        space.features(shots.variables[shots.losses[:, 0]]),
    )
    ends = space.features(variables(system.structures))
    reach = _GATHERED * float(np.linalg.norm(ends[1] - ends[0]))
    near = float(np.median(np.linalg.norm(features - begun, axis=1))) < reach
    if len(features) < _FEW or (near and _correlation(begun, features) > _REMEMBERED):
        return None
    together = max(KDTree(features).query_ball_point(features, reach), key=len)
    mean = features[together].mean(axis=0)
    nearest = int(np.square(features - mean).sum(axis=1).argmin())
    return Gathering(len(together) / len(features), place_of(system, space, mean), shots.lost[nearest])


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Of two sets of features, shape (n, n_features), over all components."""
    away, other = first - first.mean(axis=0), second - second.mean(axis=0)
    scale = float(np.sqrt(np.square(away).sum() * np.square(other).sum()))
    return float((away * other).sum()) / scale if scale > 0.0 else 0.0


def place_of(system: System, space: RidgeSpace, mean: np.ndarray) -> dict[str, float]:
    """Coordinates, or angles [deg], by their names, of mean features, shape (n_features,)."""
    names = [system.variables.names[k] for k in space.columns]
    at = mean if space.torsions is None else np.rad2deg(space.torsions.center(mean))
    return dict(zip(names, at.tolist(), strict=True))
