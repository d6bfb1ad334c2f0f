"""Finished runs that cases copy: made once with settings as small as they can be, and kept in the output folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path

from harness import Outcome, execute

_SMALL = (
    "denoiser.queries=400", "denoiser.validation_queries=64", "denoiser.steps=20", "denoiser.batch_size=64",
    "denoiser.factors=8", "denoiser.components=8", "denoiser.reference_samples=200", "geodesic.points=16",
    "geodesic.nodes=6", "geodesic.fine_factor=2", "geodesic.steps=10", "geodesic.polish_rounds=1",
    "geodesic.polish_steps=5", "geodesic.starts=1", "geodesic.scout_steps=2", "geodesic.max_channels=1",
    "paths.steps_per_point=5", "paths.equilibration_steps=50", "paths.release_steps=50", "paths.frames=10",
    "paths.max_doublings=0", "windows.most=3", "windows.equilibration_steps=10", "windows.steps=160",
    "windows.free_steps=160", "windows.sample_every=20", "windows.free_walkers=1", "hardware.workers=1",
    "committor.frames=2", "committor.shots=2", "committor.max_steps=200", "shooting.chains=1", "shooting.steps=6",
    "shooting.burn_in=2", "shooting.keep_every=2", "shooting.block_steps=3", "shooting.trajectories=2",
    "reference=null",
)  # fmt: skip
TOY = (
    *_SMALL, "sampling.walkers=32", "sampling.burn_in_steps=50", "sampling.steps=200", "sampling.sample_every=20",
    "paths.count=4", "paths.curve_points=30", "shooting.max_frames=3000",
)  # fmt: skip
ALANINE = (
    *_SMALL, "sampling.walkers=2", "sampling.build_time=4 ps", "sampling.exchange_interval=2 ps",
    "sampling.frozen_time=10 ps", "sampling.discard_time=0 ps", "sampling.sample_interval=0.1 ps",
    "sampling.frame_interval=2 ps", "paths.count=2", "paths.curve_points=20", "shooting.max_frames=400",
    "hardware.platform=Reference",
)  # fmt: skip
SYSTEMS = {"toy": "mueller_brown", "alanine": "alanine_dipeptide"}
SETTINGS = {"toy": TOY, "alanine": ALANINE}
LATER = {"toy": ("shoot", "committor"), "alanine": ("committor",)}
"""Verbs that a master run has seen after ``run``; a tiny run of alanine dipeptide has no path to shoot from."""


def assignments(settings: Iterable[str]) -> tuple[str, ...]:
    """``--set`` options."""
    return tuple(word for assignment in settings for word in ("--set", assignment))


def make_masters(folder: Path) -> Path:
    """Runs ``toy_0`` and ``toy_1`` (another seed), ``alanine_0`` and ``alanine_1``."""
    for kind in SYSTEMS:
        for seed in (0, 1):
            out = folder / f"{kind}_{seed}"
            if not (out / "made").is_file():
                shutil.rmtree(out, ignore_errors=True)
                _make(kind, seed, out)
    return folder


def _make(kind: str, seed: int, out: Path) -> None:
    """One run in ``out/run``."""
    (out / "tmp").mkdir(parents=True)
    run = ("run", SYSTEMS[kind], "-o", "run", "--seed", str(seed), *assignments(SETTINGS[kind]))
    for words in (run, *((verb, "run") for verb in LATER[kind])):
        done = Outcome("masters", kind, list(words))
        execute(words, out, done, 600)
        if done.code:
            raise SystemExit(f"The battery cannot make its run {out}: {words[0]}: {done.stderr[-1000:]}")
        print(f"{out.name}: {words[0]}, {done.seconds:.0f} s", flush=True)
    (out / "made").write_text(json.dumps({"seconds": done.seconds}))


def copy_run(masters: Path, name: str, target: Path) -> None:
    """A copy of a finished run."""
    shutil.copytree(masters / name / "run", target, symlinks=True)
