"""Paths of many methods measured alike, and the table that comes of it."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from spacetime_tps.analysis.path_metrics import channel_labels, density_overlap, wasserstein_with_error

METHODS = (
    "geodesic", "line", "line_tent", "line_geodesic_schedule", "steered", "string", "training_transitions", "ratchet",
    "tps_one_way", "tps_two_way", "tps_fixed", "transitions", "unbiased",
)  # fmt: skip
EXACT = ("tps_one_way", "tps_two_way", "tps_fixed", "transitions", "unbiased")
"""Methods whose paths are samples of the transition path ensemble; the others are generators."""
_BEST = {"unbiased": "unbiased dynamics", "transitions": "shots from windows across the ridge"}
_TRUTH = ("tps_one_way", "tps_two_way")
_ARRAYS = ("max_free_energy", "arrived", "displacement", "density", "length")
COLUMNS = {
    "w1": "W1 to the true ensemble",
    "w1_noise_floor": "its noise floor",
    "max_free_energy": "MaxFreeEnergy",
    "max_free_energy_std": "its std over paths",
    "above_bound": "above the bound",
    "arrived": "arrived",
    "stays": "stays",
    "channels_visited": "channels",
    "density_overlap": "density overlap",
    "force_evaluations": "force evaluations",
    "decorrelated_per_million": "decorrelated per million",
    "wall_seconds": "wall seconds",
}
"""Columns of the printed table, in order; ``compare.json`` holds more."""


@dataclass(frozen=True)
class MethodPaths:
    """What one method made of one seed; paths that run from B to A are turned round.

    Attributes:
        max_free_energy: of each path, shape (n,) [unit of the system]; NaN without a reference.
        arrived: which paths lie in their target at the end and are whole, shape (n,); the rest counts nowhere else.
        displacement: of the collective variables along each, shape (n, n_cv).
        density: path density on a grid of the collective variables; empty where there is none.
        length: duration of each in physical time, shape (n,); NaN for annealed paths.
        scalars: further figures of this method and seed.
    """

    max_free_energy: np.ndarray
    arrived: np.ndarray
    displacement: np.ndarray
    density: np.ndarray
    length: np.ndarray
    scalars: dict[str, float] = field(default_factory=dict)

    def arrays(self) -> dict[str, np.ndarray]:
        """To be saved."""
        names, values = np.array(list(self.scalars)), np.array(list(self.scalars.values()), dtype=float)
        plain = {name: getattr(self, name) for name in _ARRAYS}
        return plain | {"scalar_names": names, "scalar_values": values}

    @classmethod
    def of(cls, arrays: dict[str, np.ndarray]) -> MethodPaths:
        """The inverse of ``arrays``.

        Raises:
            KeyError: an array is missing.
        """
        names, values = arrays["scalar_names"].tolist(), arrays["scalar_values"].tolist()
        plain = {name: arrays[name] for name in _ARRAYS}
        return cls(**plain, scalars=dict(zip(names, values, strict=True)))


@dataclass(frozen=True)
class Truth:
    """MaxFreeEnergy and path density of the true ensemble, and what they come from."""

    source: str
    max_free_energy: np.ndarray
    density: np.ndarray
    independent: int


def truth_for(method: str, seeds: Sequence[dict[str, MethodPaths]]) -> Truth | None:
    """The true ensemble as seen without ``method`` itself, from all seeds.

    Brute force where it was run, else shots from windows across the ridge, else chains of shooting moves.
    """
    for best, source in _BEST.items():
        if method != best and all(best in row and _known(row[best]) for row in seeds):
            return _pooled(source, [row[best] for row in seeds])
    others = [name for name in _TRUTH if name != method]
    chosen = [row[name] for row in seeds for name in others if name in row and _known(row[name])]
    return _pooled(" and ".join(others), chosen) if chosen else None


def _known(paths: MethodPaths) -> bool:
    """Whether there are paths and a reference surface to measure them on."""
    return bool(paths.arrived.any() and np.isfinite(paths.max_free_energy[paths.arrived]).all())


def _pooled(source: str, parts: list[MethodPaths]) -> Truth:
    values = np.concatenate([part.max_free_energy[part.arrived] for part in parts])
    counts = [part.arrived.sum() for part in parts]
    independent = sum(
        int(part.scalars.get("independent_paths", count)) for part, count in zip(parts, counts, strict=True)
    )
    density = np.average([part.density for part in parts], axis=0, weights=counts)
    return Truth(source, values, density, max(2, independent))


def row_of(
    paths: MethodPaths,
    truth: Truth | None,
    bound: float | None,
    turning: Mapping[int, str],
    rng: np.random.Generator,
) -> dict[str, Any]:
    """The figures of one method and one seed.

    Args:
        paths: what the method made.
        truth: the true ensemble.
        bound: the minimax bound.
        turning: as in ``channel_labels``.
        rng: of the resampling.
    """
    arrived = paths.arrived
    values = paths.max_free_energy[arrived]
    row: dict[str, Any] = {"paths": len(arrived), "arrived": float(arrived.mean()) if len(arrived) else 0.0}
    row |= paths.scalars
    if not len(values):
        return row
    labels = Counter(channel_labels(paths.displacement[arrived], turning))
    row["channels_visited"] = len(labels)
    if np.isfinite(lengths := paths.length[arrived]).all():
        row |= {"path_length": float(lengths.mean()), "path_length_std": float(lengths.std())}
    row |= {f"share of {label}": count / arrived.sum() for label, count in sorted(labels.items())}
    if not np.isfinite(values).all():
        return row
    row |= {"max_free_energy": float(values.mean()), "max_free_energy_std": float(values.std())}
    if bound is not None:
        row |= {"above_bound": float(values.mean() - bound), "below_bound": float((values < bound).mean())}
    if truth is not None:
        independent = (max(2, int(paths.scalars.get("independent_paths", len(values)))), truth.independent)
        found = wasserstein_with_error(values, truth.max_free_energy, rng, independent=independent)
        row |= {"w1": found["value"], "w1_error": found["error"], "w1_noise_floor": found["noise_floor"]}
        if paths.density.size and truth.density.size:
            row["density_overlap"] = density_overlap(paths.density, truth.density)
    return row


def spread(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Mean, standard deviation and number over seeds of every figure; seeds without it are left out."""
    keys = list(dict.fromkeys(key for row in rows for key in row))
    table = {}
    for key in keys:
        values = np.array([row[key] for row in rows if key in row and np.isfinite(row[key])], dtype=float)
        if len(values):
            std = float(values.std(ddof=1)) if len(values) > 1 else float("nan")
            table[key] = {"mean": float(values.mean()), "std": std, "n": len(values)}
    return table


# --- words --------------------------------------------------------------------------------------


def _shown(entry: dict[str, float] | None, key: str) -> str:
    if entry is None:
        return "-"
    mean, std = entry["mean"], entry["std"]
    if key == "force_evaluations":
        return f"{mean / 1e6:.2f}M" + ("" if np.isnan(std) else f" ± {std / 1e6:.2f}M")
    digits = 0 if key == "wall_seconds" else 2
    return f"{mean:.{digits}f}" + ("" if np.isnan(std) else f" ± {std:.{digits}f}")


def table(methods: dict[str, dict[str, dict[str, float]]]) -> tuple[list[str], list[list[str]]]:
    """Column names, and a row of text for each method: mean ± standard deviation over seeds."""
    rows = [[name, *(_shown(row.get(key), key) for key in COLUMNS)] for name, row in methods.items()]
    return ["method", *COLUMNS.values()], rows


def markdown(methods: dict[str, dict[str, dict[str, float]]], unit: str, truth: str) -> str:
    """The table in Markdown, with what each column means and who wins."""
    text = io.StringIO()
    header, rows = table(methods)
    text.write("| " + " | ".join(header) + " |\n" + "|---" * len(header) + "|\n")
    for row in rows:
        text.write("| " + " | ".join(row) + " |\n")
    text.write(f"\nEnergies in {unit}; mean ± standard deviation over seeds. True ensemble: {truth}.\n")
    for sentence in verdicts(methods):
        text.write(f"\n{sentence}\n")
    return text.getvalue()


def verdicts(methods: dict[str, dict[str, dict[str, float]]]) -> list[str]:
    """Which generators are better than the geodesic, in words; differences within the scatter over seeds are level."""
    ours = methods.get("geodesic", {})
    said = []
    for key, what, sign in (
        ("w1", "Closer to the true ensemble (W1)", -1),
        ("arrived", "Arrives more often", 1),
        ("density_overlap", "Closer to the true path density", 1),
        ("force_evaluations", "Takes fewer force evaluations, sampling and training included", -1),
        ("decorrelated_per_million", "Better start of transition path sampling for its cost", 1),
    ):
        if key not in ours:
            continue
        better, level = [], []
        for name, row in methods.items():
            if name in EXACT or name == "geodesic" or key not in row:
                continue
            gain = sign * (row[key]["mean"] - ours[key]["mean"])
            scatter = float(np.hypot(*np.nan_to_num([row[key]["std"], ours[key]["std"]])))
            if gain > scatter:
                better.append(name)
            elif gain >= -scatter:
                level.append(name)
        said.append(
            f"{what} than the geodesic: {', '.join(better) or 'no generator'}; level: {', '.join(level) or 'none'}."
        )
    return said
