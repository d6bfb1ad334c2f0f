"""Kills at random times of the processor: the resumed command must give the numbers of one that ran through."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

from harness import Case, Outcome, cpu_seconds, execute, start
from masters import fill, measured, numbers, run_words, verbs_of

COUNT = 100
_SECONDS = 240.0
_KINDS = ("toy", "alanine")
_APART = ("committor", "shoot")
"""Verbs that leave their numbers in files of their own; after another, the run goes on to its end."""
_VERBS = (
    "run",
    "run",
    "run",
    "run",
    "train",
    "geodesic",
    "paths",
    "windows",
    "transitions",
    "export",
    "committor",
    "shoot",
)


def killed_after(child: int, seconds: float) -> bool:
    """Kill a command, and nothing else, once it has used so much of the processor; False if it ended before."""
    end = time.monotonic() + _SECONDS
    while time.monotonic() < end:
        if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            return False
        if cpu_seconds(child) >= seconds:
            break
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    return True


def orphans(session: int, seconds: float = 8.0) -> list[str]:
    """Processes of a session that live on after its leader, and what they are."""
    end = time.monotonic() + seconds
    while True:
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                fields = (folder / "stat").read_text().rsplit(")", 1)[1].split()
                if int(fields[3]) == session and fields[0] != "Z":
                    found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")[:80])
            except OSError:
                continue
        if not found or time.monotonic() > end:
            return found
        time.sleep(0.2)


def _act(masters: Path, kind: str, verb: str, share: float, twice: bool) -> Callable[[Path, Outcome], None]:
    expected = measured(masters, kind)

    def act(box: Path, outcome: Outcome) -> None:
        words = run_words(kind) if verb == "run" else verbs_of(kind)[verb]
        again = resumed(words, verb)
        for k, each in enumerate((words, again) if twice else (words,)):
            child = start(each, box)
            killed_after(child, share * expected[verb]["cpu"] * (0.5 if k else 1.0))
            os.waitpid(child, 0)
            if left := orphans(child):
                outcome.accepted = f"processes live on: {left[0]}"
        execute(again, box, outcome, _SECONDS)
        if outcome.code == 0 and verb not in _APART:
            execute((*run_words(kind), "--resume"), box, outcome, _SECONDS)
        found = verb if verb in _APART else "run"
        outcome.equal = outcome.code == 0 and numbers(found, box) == expected[found]["numbers"]
        stale = [str(path.relative_to(box)) for path in (box / "run").rglob(".partial-*")]
        if stale and outcome.equal:
            outcome.accepted = f"{stale[0]} is left"

    return act


def resumed(words: tuple[str, ...], verb: str) -> tuple[str, ...]:
    """The command that goes on after a kill."""
    if verb == "run":
        return (*words, "--resume")
    return (*words[:-1], "--resume") if verb == "shoot" else words


def cases(masters: Path, chance: random.Random) -> list[Case]:
    """All of the family."""
    found = []
    for k in range(COUNT):
        kind, verb = _KINDS[k % 2], _VERBS[k % len(_VERBS)]
        if verb == "shoot":
            kind = "toy"
        share, twice = chance.uniform(0.0, 1.0), k % 10 == 0

        def prepare(box: Path, kind: str = kind, verb: str = verb) -> None:
            fill(masters, kind, box, finished=verb != "run")

        found.append(Case("kills", f"{k}: {kind}: {verb} at {share:.0%}{', twice' if twice else ''}",
                          (verb,), prepare, "either", lambda name: name.startswith("run"),
                          seconds=_SECONDS, act=_act(masters, kind, verb, share, twice)))  # fmt: skip
    return found
