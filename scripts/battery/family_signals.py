"""SIGTERM and SIGINT at random times, most of them while modules are imported."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

from family_kills import orphans
from harness import Case, Outcome, cpu_seconds, said
from masters import fill, run_words
from processes import started, wait_for

COUNT = 150
_BEFORE_OURS = 0.12
"""Seconds of the processor in which Python itself starts and nothing of ours can run."""
_IMPORTS, _RUN = 4.0, 9.0
"""Seconds of the processor that imports take, and a whole tiny run with them, roughly."""


def _act(which: signal.Signals, seconds: float) -> Callable[[Path, Outcome], None]:
    def act(box: Path, outcome: Outcome) -> None:
        process = started(run_words("toy"), box)
        begun = time.monotonic()
        while process.poll() is None and cpu_seconds(process.pid) < seconds:
            time.sleep(0.002)
        used = cpu_seconds(process.pid)
        ended = process.poll() is not None
        if not ended:
            os.kill(process.pid, which)
        wait_for(process, outcome, 60)
        outcome.seconds = round(time.monotonic() - begun, 3)
        outcome.stdout, outcome.stderr = said(box, "stdout"), said(box, "stderr")
        early = used < _BEFORE_OURS
        outcome.traceback = "Traceback" in outcome.stderr and not early
        if ended or early:
            outcome.stderr = outcome.stderr if ended else f"before the command began\n{outcome.stderr}"
            outcome.code = 0
        elif outcome.code != 130:
            outcome.accepted = f"{which.name} after {used:.2f} s of the processor ends it with {outcome.code}, not 130"
        if left := orphans(process.pid):
            outcome.accepted = f"processes live on: {left[0]}"

    return act


def cases(masters: Path, chance: random.Random) -> list[Case]:
    """All of the family."""
    found = []
    for k in range(COUNT):
        which = (signal.SIGTERM, signal.SIGINT)[k % 2]
        seconds = chance.uniform(0.0, _IMPORTS) if k % 5 else chance.uniform(_IMPORTS, _RUN)
        found.append(Case("signals", f"{k}: {which.name} after {seconds:.2f} s of the processor", ("run",),
                          lambda box: fill(masters, "toy", box, finished=False), "either",
                          lambda name: name.startswith("run"), act=_act(which, seconds)))  # fmt: skip
    return found
