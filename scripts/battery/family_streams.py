"""Closed or full outputs, and strange surroundings of the command."""

from __future__ import annotations

import random
import re
import shlex
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from harness import Case, Must, Outcome, said
from masters import fill, run_words
from processes import COMMAND, environment, wait_for

_NOISE = re.compile(r"Traceback|Exception ignored|Broken ?[Pp]ipe|Bad file descriptor|lost sys\.stderr")
_UNPRINTED = re.compile(r"Standard output was closed|standard output could not be written")
SHELLS: dict[str, tuple[str, Must]] = {
    "as it is": ("{}", "accept"),
    "into head -0": ("{} | head -n 0; exit ${{PIPESTATUS[0]}}", "either"),
    "into head -1": ("{} | head -n 1; exit ${{PIPESTATUS[0]}}", "either"),
    "into true": ("{} | true; exit ${{PIPESTATUS[0]}}", "either"),
    "without stdout": ("{} >&-", "either"),
    "without stderr": ("{} 2>&-", "either"),
    "without stdin": ("{} <&-", "accept"),
    "without any": ("{} <&- >&- 2>&-", "either"),
    "stdout full": ("{} >/dev/full", "either"),
    "stderr full": ("{} 2>/dev/full", "either"),
    "without HOME": ("env -u HOME {}", "accept"),
    "HOME missing": ("HOME=/nowhere {}", "accept"),
    "HOME unwritable": ("HOME=/proc {}", "accept"),
    "caches unwritable": ("XDG_CACHE_HOME=/proc MPLCONFIGDIR=/proc/x XDG_CONFIG_HOME=/proc {}", "accept"),
    "caches a file": ("XDG_CACHE_HOME=/etc/passwd MPLCONFIGDIR=/etc/passwd {}", "accept"),
    "LANG=C": ("LANG=C LC_ALL=C {}", "accept"),
    "POSIX without UTF-8": ("LC_ALL=POSIX PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 {}", "accept"),
    "ASCII output": ("PYTHONIOENCODING=ascii {}", "accept"),
    "an unknown locale": ("LC_ALL=xx_YY.UTF-8 {}", "accept"),
    "TMPDIR missing": ("TMPDIR=/nowhere {}", "accept"),
    "TMPDIR a file": ("TMPDIR=/etc/passwd {}", "accept"),
    "few open files": ("ulimit -n 24; {}", "either"),
    "no core, little stack": ("ulimit -s 512; {}", "either"),
    "umask 777": ("umask 777; {}", "either"),
    "umask 000": ("umask 000; {}", "accept"),
    "a narrow terminal": ("COLUMNS=1 LINES=1 TERM=dumb {}", "accept"),
    "an unknown backend": ("MPLBACKEND=nonsense {}", "either"),
    "a folder that is gone": ("mkdir gone; cd gone; rmdir ../gone; {}", "either"),
    "optimised": ("PYTHONOPTIMIZE=2 {}", "accept"),
    "warnings as errors": ("PYTHONWARNINGS=error {}", "either"),
}
VERBS: dict[str, tuple[str, ...]] = {
    "version": ("--version",),
    "help": ("run", "--help"),
    "config": ("config", "alanine_dipeptide"),
    "report": ("report", "run"),
    "distance": ("distance", "c5.pdb", "c7ax.pdb", "--run", "run"),
    "run": ("run", "mueller_brown", "-o", "new", *run_words("toy")[4:], "--stop-after", "sample"),
    "a refusal": ("config", "nowhere"),
}


def _act(shell: str, words: tuple[str, ...], must: Must) -> Callable[[Path, Outcome], None]:
    def act(box: Path, outcome: Outcome) -> None:
        line = shell.format(shlex.join([*COMMAND, *words]))
        begun = time.monotonic()
        with (box / "tmp/.stdout").open("wb") as out, (box / "tmp/.stderr").open("wb") as err:
            process = subprocess.Popen(
                ["bash", "-c", line],
                cwd=box,
                env=environment(box),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
            wait_for(process, outcome, 120)
        outcome.seconds = round(time.monotonic() - begun, 3)
        outcome.stdout, outcome.stderr = said(box, "stdout"), said(box, "stderr")
        outcome.traceback = bool(_NOISE.search(outcome.stderr))
        if "head" in shell or "true" in shell or "2>" in shell or ">&-" in shell:
            if outcome.code > 128 and outcome.code != 141:
                outcome.crashed = True
            outcome.code = 0 if not outcome.stderr.startswith("Error: ") else outcome.code
        if words[0] == "report" and _UNPRINTED.search(outcome.stderr):
            outcome.code = 0  # the page is made; what could not be printed is its name
        if must == "accept" and outcome.code == 0 and words[0] == "config" and words[1] == "nowhere":
            outcome.accepted = "it should refuse"

    return act


def cases(masters: Path, chance: random.Random) -> list[Case]:
    """All of the family."""
    del chance
    found = []
    for shown, (shell, must) in SHELLS.items():
        for verb, words in VERBS.items():
            expected: Must = "either" if verb == "a refusal" else must

            def prepare(box: Path) -> None:
                fill(masters, "alanine", box)

            found.append(
                Case(
                    "streams",
                    f"{verb}: {shown}",
                    words,
                    prepare,
                    expected,
                    lambda name: name.startswith("run"),
                    seconds=120,
                    act=_act(shell, words, must),
                )
            )
    return found
