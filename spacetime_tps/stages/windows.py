"""Stage 5: restrained windows along the chosen geodesic, which check the denoiser and measure the barrier."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import torch

from spacetime_tps.analysis.free_energies import difference_of_states, least_overlap, profile_along
from spacetime_tps.analysis.windows import CLOSE, WindowComparison, compare_windows
from spacetime_tps.boltzmann.pool import EVERYWHERE, WITHIN_A, WITHIN_B, Pool, Solution, solve
from spacetime_tps.boltzmann.windows import sample_windows
from spacetime_tps.config import WindowsConfig
from spacetime_tps.files import require_finite, write_arrays
from spacetime_tps.geometry.curve import FineCurve, evaluate
from spacetime_tps.paths.ensemble import PathEnsemble
from spacetime_tps.representations import Torsions
from spacetime_tps.stages.context import Context, StageResult
from spacetime_tps.stages.paths import chosen_curve
from spacetime_tps.stages.train import load_denoiser
from spacetime_tps.systems import System

logger = logging.getLogger(__name__)

_CENTERS = 200
"""Points of the curve at which the windows' free energy is read."""
_LEAST_OVERLAP = 0.03
"""Below, errors of free energies are not to be trusted (Klimovich, Shirts and Mobley 2015)."""


def windows(context: Context) -> StageResult:
    """Simulate windows at equal steps of the geodesic's length and write ``windows.npz``.

    They start from frames of annealed paths of either direction, so that what those drag along shows. With free
    simulations in both states they give the free-energy difference of the states. An analytic potential has no windows:
    its posteriors are known.
    """
    system, config = context.system, context.config.windows
    representation = system.representation
    if system.molecule is None or not isinstance(representation, Torsions):
        context.make_room()
        write_arrays(context.folder / "windows.npz", curve_parameter=np.zeros(0))
        return StageResult()
    curve, denoiser = chosen_curve(context), load_denoiser(context)
    share = np.linspace(0.0, 1.0, _count(curve, config))
    natural = representation.natural(torch.from_numpy(curve.at_constant_speed(len(share))))
    model = evaluate(denoiser, natural)
    starts = _starts(PathEnsemble.load(context.folder / "paths.npz"), representation, model.mean.numpy())
    variables, cost = _simulated(context, representation, natural.numpy(), starts, config, "windows")
    angles = variables[..., columns_of(system)]
    compared = compare_windows(representation, model, angles)
    pool, whole, more = _with_states(context, Pool.of_windows(natural.numpy(), *_seen(system, variables)))
    solution = solve(pool, representation)
    dense = representation.natural(torch.from_numpy(curve.at_constant_speed(_CENTERS)))
    centers = representation.center(evaluate(denoiser, dense).mean).numpy()
    level = context.config.geodesic.surface_log_snr
    smoothed = profile_along(solution, representation, centers, level)
    assert model.log_partition is not None
    predicted = representation.profile(natural, model.log_partition).numpy()
    log_partition = -solution.reweighted.free_energies[pool.confined == EVERYWHERE]
    measured = representation.profile(natural, torch.from_numpy(log_partition)).numpy()
    _warn(compared, share)
    context.make_room()
    write_arrays(
        context.folder / "windows.npz",
        curve_parameter=share,
        natural=natural.numpy(),
        angles=angles.astype(np.float32),
        predicted_variance=compared.predicted,
        measured_variance=compared.measured,
        measured_variance_error=compared.error,
        predicted_profile=system.kt * (predicted - predicted[0]),
        measured_profile=system.kt * (measured - measured[0]),
        smoothed_parameter=np.linspace(0.0, 1.0, _CENTERS),
        smoothed_free_energy=system.kt * smoothed.free_energy,
        overlap=solution.reweighted.overlap(),
    )
    barrier = {
        "value": system.kt * smoothed.barrier,
        "error": system.kt * smoothed.error,
        "of": f"density smoothed at log-SNR {level:g}, largest climb along the geodesic",
    }
    summary = {
        "count": len(share),
        "close_fraction": float(compared.close.mean()),
        "wrong": int(compared.wrong.sum()),
        "points": _points(compared, share, representation),
        f"barrier_{system.suffix}": barrier,
        f"profile_rms_difference_{system.suffix}": system.kt * float(np.std(predicted - measured)),
        "least_overlap": _checked_overlap(solution),
        f"delta_f_states_{system.suffix}": _difference(solution, system) if whole else None,
    }
    words = (
        f"variance within a factor {CLOSE:g} of the model's at {compared.close.sum()} of {len(share)} windows, "
        f"barrier {barrier['value']:.1f} +- {barrier['error']:.1f} {system.energy_unit}"
    )
    return StageResult(summary, cost + more, words=words)


def _simulated(
    context: Context,
    torsions: Torsions,
    natural: np.ndarray,
    starts: np.ndarray,
    config: WindowsConfig,
    name: str,
) -> tuple[np.ndarray, int]:
    """Collective variables, shape (n_windows, n_starts, n, n_cv), of restrained simulations, and their cost."""
    four, seed = context.system.variables.quadruples, context.config.seed
    found, cost = sample_windows(
        context.dynamics(), torsions, natural, starts, config, seed, context.pool, recorded=four, name=name
    )
    require_finite("The windows are", "lower the time step or geodesic.log_snr_end", found)
    return found, cost


def columns_of(system: System) -> list[int]:
    """Which of the collective variables are those of the representation."""
    return [system.variables.names.index(name) for name in system.representation.block_names]


def _seen(system: System, variables: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Features, and whether they lie in A and in B, of collective variables, shape (..., n_cv)."""
    assert isinstance(system.representation, Torsions)
    inside = np.stack([state.contains(variables) for state in system.states], axis=-1)
    return system.representation.features_of_angles(variables[..., columns_of(system)]), inside


def _with_states(context: Context, windows: Pool) -> tuple[Pool, bool, int]:
    """The windows between free simulations in A and in B, whether both states have samples, and their cost."""
    system, config = context.system, context.config.windows
    torsions = system.representation
    assert isinstance(torsions, Torsions)
    if not config.free_walkers:
        return windows, False, 0
    free = np.zeros((2, torsions.n_parameters))
    starts = np.repeat(system.structures[:, None], config.free_walkers, axis=1)
    longer = config.model_copy(update={"steps": config.free_steps})
    found, cost = _simulated(context, torsions, free, starts, longer, "free simulations")
    ends = [Pool.of_state(k, *_seen(system, found[k]), torsions.n_parameters) for k in (WITHIN_A, WITHIN_B)]
    if not all(map(len, ends)):
        return windows, False, cost
    return ends[0].joined(windows).joined(ends[1]), True, cost


def _checked_overlap(solution: Solution) -> float:
    least = least_overlap(solution)
    if least < _LEAST_OVERLAP:
        logger.warning(
            "neighbouring windows share %.1g of their samples: free energies by windows are uncertain; "
            "lower windows.spacing",
            least,
        )
    return least


def _difference(solution: Solution, system: System) -> dict[str, Any]:
    value, error = difference_of_states(solution)
    return {"value": system.kt * value, "error": system.kt * error, "of": "states, B minus A"}


def _count(curve: FineCurve, config: WindowsConfig) -> int:
    return int(min(config.most, 1 + np.ceil(curve.length / config.spacing)))


def _starts(paths: PathEnsemble, torsions: Torsions, means: np.ndarray) -> np.ndarray:
    """For each window the frame nearest to its posterior mean of one path from A and of one from B, in turn."""
    found = []
    for w, mean in enumerate(means):
        pair = []
        for side in (np.flatnonzero(paths.forward), np.flatnonzero(~paths.forward)):
            frames = paths.frames[side[w % len(side)]].astype(float)
            pair.append(frames[np.square(torsions.features(frames) - mean).sum(axis=-1).argmin()])
        found.append(pair)
    return np.array(found)


def _points(compared: WindowComparison, share: np.ndarray, torsions: Torsions) -> list[dict[str, Any]]:
    off = np.abs(np.log(compared.by_torsion))
    return [
        {
            "curve_parameter": float(share[w]),
            "predicted_variance": float(compared.predicted[w]),
            "measured_variance": float(compared.measured[w]),
            "error": float(compared.error[w]),
            "ratio": float(compared.ratio[w]),
            "worst_torsion": torsions.block_names[int(off[w].argmax())],
            "worst_torsion_ratio": float(compared.by_torsion[w, off[w].argmax()]),
            "center_off_deg": float(np.rad2deg(np.abs(compared.center_off[w]).max())),
            "starts_apart_deg": float(np.rad2deg(compared.starts_apart[w])),
            "flag": "wrong" if compared.wrong[w] else "" if compared.close[w] else "off",
        }
        for w in range(len(share))
    ]


def _warn(compared: WindowComparison, share: np.ndarray) -> None:
    if compared.wrong.any():
        where = ", ".join(f"{s:.2f}" for s in share[compared.wrong])
        logger.warning(
            "the denoiser is wrong at %d of %d windows (curve parameter %s): sample longer, or train longer",
            compared.wrong.sum(),
            len(share),
            where,
        )
