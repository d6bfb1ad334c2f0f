"""Finished runs that cases copy: made once with settings as small as they can be, and kept in the output folder."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import tiny
from harness import Outcome, execute, stable
from tiny import TOY

ALANINE = (*tiny.ALANINE, "shooting.max_frames=400")
COMPARISON = (
    *TOY, "comparison.shooting_steps=6", "comparison.seeded_steps=4", "comparison.ratchet_steps=200",
    "comparison.unbiased_steps=0", "comparison.examined_paths=2", "comparison.quenched_paths=1",
)  # fmt: skip
SYSTEMS = {"toy": "mueller_brown", "alanine": "alanine_dipeptide"}
SETTINGS = {"toy": TOY, "alanine": ALANINE}
LATER = {"toy": ("shoot", "committor"), "alanine": ("committor",)}
"""Verbs that a master run has seen after ``run``; a tiny run of alanine dipeptide has no path to shoot from."""


def assignments(settings: Iterable[str]) -> tuple[str, ...]:
    """``--set`` options."""
    return tuple(word for assignment in settings for word in ("--set", assignment))


def run_words(kind: str, seed: int = 0) -> tuple[str, ...]:
    """The command that made a master run."""
    return ("run", SYSTEMS[kind], "-o", "run", "--seed", str(seed), *assignments(SETTINGS[kind]))


def compare_words(*more: str) -> tuple[str, ...]:
    """A comparison that takes seconds."""
    return ("compare", SYSTEMS["toy"], "--seeds", "1", "--preset", "quick", *assignments(COMPARISON), *more)


def verbs_of(kind: str) -> dict[str, tuple[str, ...]]:
    """Commands that read a run folder."""
    verbs: dict[str, tuple[str, ...]] = {
        "run --resume": (*run_words(kind), "--resume"),
        "report": ("report", "run"),
        "committor": ("committor", "run", "--overwrite"),
        **{
            name: (name, "run", "--overwrite")
            for name in ("train", "geodesic", "paths", "windows", "transitions", "export")
        },
    }
    if kind == "toy":
        return {**verbs, "shoot": ("shoot", "run", "--overwrite")}
    return {**verbs, "distance": ("distance", "c5.pdb", "c7ax.pdb", "--run", "run")}


def make_masters(folder: Path, quick: bool = False) -> Path:
    """Runs ``toy_0``, ``toy_1`` (another seed), ``toy_old`` (before its denoiser was trained anew), and of alanine.

    Args:
        folder: for them; what is there is kept.
        quick: the first two and the quickest verbs only.
    """
    for kind in ("toy",) if quick else SYSTEMS:
        for name in ("0", "1") if quick else ("0", "1", "old"):
            out = folder / f"{kind}_{name}"
            if not (out / "made").is_file():
                shutil.rmtree(out, ignore_errors=True)
                _make(kind, name, out)
        verbs = {"run": run_words(kind), **verbs_of(kind)}
        wanted = {name: words for name, words in verbs.items() if not quick or name in ("run --resume", "report")}
        if not (folder / f"{kind}.json").is_file():
            (folder / f"{kind}.json").write_text(json.dumps(_measure(kind, folder, wanted)))
    return folder


def _make(kind: str, name: str, out: Path) -> None:
    """One run in ``out/run``."""
    (out / "tmp").mkdir(parents=True)
    run = run_words(kind, int(name == "1"))
    if name == "old":
        run += ("--set", "denoiser.steps=19")
    for words in (run, *((verb, "run") for verb in LATER[kind])):
        done = Outcome("masters", kind, list(words))
        execute(words, out, done, 600)
        if done.code:
            raise SystemExit(f"The battery cannot make its run {out}: {words[0]}: {done.stderr[-1000:]}")
        print(f"{out.name}: {words[0]}, {done.seconds:.0f} s", flush=True)
    (out / "made").touch()


def _measure(kind: str, folder: Path, verbs: dict[str, tuple[str, ...]]) -> dict[str, Any]:
    """Processor time and numbers of verbs on an unspoilt run."""
    found: dict[str, Any] = {}
    for name, words in verbs.items():
        box = folder / "measured"
        shutil.rmtree(box, ignore_errors=True)
        (box / "tmp").mkdir(parents=True)
        fill(folder, kind, box, finished=name != "run")
        before, done = os.times(), Outcome("masters", name, list(words))
        execute(words, box, done, 600)
        after = os.times()
        spent = after.children_user + after.children_system - before.children_user - before.children_system
        found[name] = {"cpu": spent, "numbers": numbers(name, box, done.stdout), "code": done.code}
        if done.code:
            raise SystemExit(f"The battery cannot run {kind}: {name}: {done.stderr[-1000:]}")
        print(f"{kind}: {name}, {spent:.1f} s of the processor", flush=True)
        shutil.rmtree(box)
    return found


@cache
def measured(masters: Path, kind: str) -> dict[str, Any]:
    """What ``_measure`` found."""
    return dict(json.loads((masters / f"{kind}.json").read_text()))


def fill(masters: Path, kind: str, box: Path, finished: bool = True) -> None:
    """A copy of the first master run, and the files that verbs read beside it."""
    from spacetime_tps.systems import systems_folder

    if finished:
        copy_run(masters, f"{kind}_0", box / "run")
    if kind == "alanine":
        for file in ("c5.pdb", "c7ax.pdb"):
            (box / file).write_bytes((systems_folder() / "alanine_dipeptide" / file).read_bytes())


def copy_run(masters: Path, name: str, target: Path) -> None:
    """A copy of a finished run."""
    shutil.copytree(masters / name / "run", target, symlinks=True)


# --- what a command found -----------------------------------------------------------------------


def numbers(verb: str, box: Path, said: str = "") -> Any:
    """Everything that a verb leaves and that has to be the same whenever it runs on the same run."""
    files = {"committor": "committor/committor.json", "shoot": "shooting/summary.json"}
    files |= {stage: f"stages/{stage}.json" for stage in ("train", "geodesic", "paths", "windows")}
    if verb == "distance":
        return said
    if verb == "report":
        file = box / "run/report.html"
        page = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
        return sorted(
            set(re.findall(r"-?\d+\.\d+", re.sub(r"<script.*?</script>|base64,[^\"']*", "", page, flags=re.S)))
        )
    file = box / "run" / files.get(verb, "summary.json")
    return stable(json.loads(file.read_text())) if file.is_file() else None
