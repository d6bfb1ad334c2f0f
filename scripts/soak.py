"""Whether a long-lived process grows: runs, shots, committors and reports again and again, and slopes of what grows.

    python scripts/soak.py OUT                 two hours
    python scripts/soak.py OUT --minutes 5     a try
    python scripts/soak.py OUT --read          the table of what a soak has written so far

A cycle makes one tiny run of the Müller-Brown surface and one of alanine dipeptide through the Python API, with shots,
committors and a second report, and removes both. ``OUT/soak.jsonl`` gets a line after every cycle. A slope is that of a
straight line by least squares, the first fifth of the cycles left out; its standard error is by a bootstrap of blocks
of the residuals, because neighbouring cycles are not independent. ``uss_mb`` counts pages of libraries that no other
process maps at the time, so it moves when other Python processes come and go; ``anonymous_mb`` does not.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import math
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spacetime_tps import Run

sys.path.append(str(Path(__file__).parent / "battery"))
from tiny import ALANINE, TOY

WARM_UP, _REPLICATES, _SIGMAS, _ROUNDING = 0.2, 2000, 2.0, 1e-9
BOUNDS = {
    "rss_mb": 20.0, "uss_mb": 20.0, "anonymous_mb": 20.0, "open_files": 1.0, "threads": 1.0, "children": 1.0,
    "temporary_files": 1.0, "run_files": 1.0, "objects": 5000.0,
}  # fmt: skip
"""Slopes per hour below which growth is of no consequence, whatever its error."""


@dataclass(frozen=True)
class Slope:
    """Of one quantity.

    Attributes:
        per_hour: slope.
        error: its standard error.
        per_cycle: the slope over cycles instead of hours.
        bound: largest slope per hour that does not matter.
    """

    per_hour: float
    error: float
    per_cycle: float
    bound: float

    @property
    def zero(self) -> bool:
        """Whether zero lies within two standard errors."""
        return abs(self.per_hour) <= _SIGMAS * self.error + _ROUNDING

    @property
    def small(self) -> bool:
        """Whether the slope and two standard errors stay below the bound."""
        return abs(self.per_hour) + _SIGMAS * self.error <= self.bound


def slope_of(hours: np.ndarray, values: np.ndarray, bound: float, seed: int = 0) -> Slope:
    """Least squares and a moving-block bootstrap of the residuals.

    Args:
        hours: shape (n,), n > 2.
        values: shape (n,).
        bound: largest slope per hour that does not matter.
        seed: of the bootstrap.
    """
    n = len(hours)
    slope, offset = np.polyfit(hours, values, 1)
    residuals = values - (slope * hours + offset)
    residuals *= math.sqrt(n / (n - 2))
    block = max(1, round(n ** (1 / 2)))
    rng = np.random.default_rng(seed)
    starts = rng.integers(0, n - block + 1, (_REPLICATES, -(-n // block)))
    drawn = residuals[(starts[..., None] + np.arange(block)).reshape(_REPLICATES, -1)[:, :n]]
    centred = hours - hours.mean()
    error = float(((drawn - drawn.mean(axis=1, keepdims=True)) @ centred / (centred @ centred)).std())
    hours_per_cycle = (hours[-1] - hours[0]) / (n - 1)
    return Slope(float(slope), error, float(slope * hours_per_cycle), bound)


def sample(folder: Path, temporary: Path) -> dict[str, float]:
    """What a process holds, after a collection."""
    gc.collect()
    memory = dict(_memory())
    return {
        "rss_mb": memory["Rss"] / 1024,
        "uss_mb": (memory["Private_Clean"] + memory["Private_Dirty"]) / 1024,
        "anonymous_mb": memory["Anonymous"] / 1024,
        "open_files": len(os.listdir("/proc/self/fd")),
        "threads": len(os.listdir("/proc/self/task")),
        "python_threads": threading.active_count(),
        "children": _children(),
        "temporary_files": sum(len(files) + len(folders) for _, folders, files in os.walk(temporary)),
        "run_files": sum(len(files) for _, _, files in os.walk(folder)),
        "objects": len(gc.get_objects()),
    }


def _memory() -> Iterator[tuple[str, int]]:
    """Fields of the memory map in kB."""
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]:
        name, value = line.split(":")
        yield name, int(value.split()[0])


def _children() -> int:
    return sum(
        len((task / "children").read_text().split())
        for task in Path("/proc/self/task").iterdir()
        if (task / "children").exists()
    )


def cycle(folder: Path, seed: int) -> int:
    """One run of each kind with all that follows; returns the number of files that they left."""
    files = 0
    for name, system, settings in (("toy", "mueller_brown", TOY), ("alanine", "alanine_dipeptide", ALANINE)):
        out = folder / name
        run = Run.new(system, out, seed=seed, changes=settings)
        run.finish()
        if name == "toy":
            run.shoot()
        run.committor()
        run.report()
        files += sum(len(found) for _, _, found in os.walk(out))
        shutil.rmtree(out)
    return files


def table(rows: list[dict[str, Any]]) -> str:
    """Slopes as Markdown; a sentence instead if there are too few cycles."""
    kept = rows[math.ceil(WARM_UP * len(rows)) :]
    if len(kept) < 4:
        return f"{len(rows)} cycles are too few for a slope."
    hours = np.array([row["seconds"] for row in kept]) / 3600
    lines = [
        f"{len(rows)} cycles in {rows[-1]['seconds'] / 60:.0f} min; the first {len(rows) - len(kept)} are left out.",
        "",
        "| quantity | first | last | per hour | per cycle | zero within two errors | below its bound per hour |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, bound in BOUNDS.items():
        values = np.array([row[name] for row in kept], dtype=float)
        slope = slope_of(hours, values, bound)
        lines.append(
            f"| {name} | {values[0]:.6g} | {values[-1]:.6g} | {slope.per_hour:.3g} ± {slope.error:.2g} | "
            f"{slope.per_cycle:.3g} | {'yes' if slope.zero else 'NO'} | {'yes' if slope.small else 'NO'}, {bound:g} |"
        )
    return "\n".join(lines)


def grows(rows: list[dict[str, Any]]) -> bool:
    """Whether a quantity grows for certain and by more than does not matter."""
    kept = rows[math.ceil(WARM_UP * len(rows)) :]
    if len(kept) < 4:
        return False
    hours = np.array([row["seconds"] for row in kept]) / 3600
    slopes = (slope_of(hours, np.array([row[name] for row in kept], dtype=float), b) for name, b in BOUNDS.items())
    return any(not slope.zero and slope.per_hour > slope.bound for slope in slopes)


def soak(out: Path, minutes: float) -> None:
    """Cycles until the time is over, a line after each."""
    out.mkdir(parents=True, exist_ok=True)
    begun, number = time.monotonic(), 0
    with tempfile.TemporaryDirectory(prefix="soak-") as folder, (out / "soak.jsonl").open("w") as log:
        temporary = Path(folder) / "tmp"
        temporary.mkdir()
        os.environ["TMPDIR"] = tempfile.tempdir = str(temporary)
        while time.monotonic() - begun < 60 * minutes:
            files = cycle(Path(folder) / "runs", seed=number % 2)
            number += 1
            row = {"cycle": number, "seconds": round(time.monotonic() - begun, 2), "files_of_runs": files}
            row |= sample(Path(folder) / "runs", temporary)
            log.write(json.dumps(row) + "\n")
            log.flush()
            print(
                f"cycle {number}: {row['seconds']:.0f} s, {row['rss_mb']:.0f} MB, {row['open_files']} files", flush=True
            )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=120.0)
    parser.add_argument("--read", action="store_true", help="Only print the table of an earlier or interrupted soak.")
    given = parser.parse_args()
    logging.getLogger("spacetime_tps").setLevel(logging.ERROR)
    if not given.read:
        soak(given.out, given.minutes)
    rows = [json.loads(line) for line in (given.out / "soak.jsonl").read_text().splitlines()]
    print(table(rows))
    return int(grows(rows))


if __name__ == "__main__":
    sys.exit(main())
