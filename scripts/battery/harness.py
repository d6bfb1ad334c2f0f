"""One case: a command in a sandbox of its own, and what it did there.

A case runs in a forked child of a process that has imported the package already, so that a crash, a hang or a kill of
one case reaches no other, and thousands of cases take minutes.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import resource
import shutil
import signal
import socket
import stat
import sys
import time
import traceback
import unicodedata
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

MARKER, NETWORK = "EXECUTED", "NETWORK"
_MEMORY_BYTES = 12 * 2**30
_LONGEST_SENTENCE = 1000
_PYTHON_WORDS = re.compile(
    r"instance of|NoneType|<class |\bobject at 0x|\bdtype\b|Errno|\bself\b|__\w+__|\b[A-Z]\w+Config\b"
    r"|\b(?:Key|Value|Type|Index|Attribute|Recursion|Runtime|Overflow|ZeroDivision|Unicode\w+|Memory)Error\b|array\("
)
_NOT_A_NUMBER = re.compile(r"\bnan\b", re.IGNORECASE)
NOISE = (".lock", "run.log")
"""Files of a run folder that a refused command may touch."""

VOLATILE = {
    "wall_seconds", "timings", "versions", "platform", "created", "run", "run_id", "identity", "sha256", "digest",
    "hardware", "steps_per_second", "written", "finished", "folder", "files",
}  # fmt: skip
"""What may differ between two runs of one command (digests of files: a DCD holds the time at which it was written);
everything else has to be the same."""

Must = Literal["refuse", "accept", "either"]
Judge = Callable[["Outcome", Path], str]


@dataclass(frozen=True)
class Case:
    """A command line, the sandbox it runs in, and what is expected of it.

    Attributes:
        family: that it belongs to.
        name: unique within the family; says what is tried.
        words: of the command line, file names relative to the sandbox.
        prepare: fills the sandbox, which holds the user's files already.
        must: whether the command has to refuse.
        own: whether a file, by its name relative to the sandbox, may change or vanish when the command succeeds.
        judge: looks at the sandbox afterwards and says what is wrong with it, or nothing.
        seconds: after which the case counts as hung.
        act: what is done instead of running ``words`` once, filling in the outcome.
    """

    family: str
    name: str
    words: tuple[str, ...]
    prepare: Callable[[Path], None] = lambda box: None
    must: Must = "either"
    own: Callable[[str], bool] = lambda name: False
    judge: Judge | None = None
    seconds: float = 60.0
    act: Callable[[Path, Outcome], None] | None = None


@dataclass
class Outcome:
    """What a case did."""

    family: str
    name: str
    words: list[str]
    code: int = 0
    seconds: float = 0.0
    stdout: str = ""
    stderr: str = ""
    traceback: bool = False
    hung: bool = False
    crashed: bool = False
    executed: bool = False
    lost: list[str] = field(default_factory=list)
    accepted: str = ""
    """Why the command should have refused."""
    refused: bool = False
    """The command refused what it has to take."""
    line: str = ""
    """What is wrong with the line in which the command refuses."""
    left: list[str] = field(default_factory=list)
    """New files of a command that refused."""
    equal: bool | None = None
    """Of a kill: whether the resumed run gives the same numbers."""

    @property
    def failed(self) -> bool:
        """Whether any count that has to be zero is not."""
        return bool(
            self.traceback or self.hung or self.crashed or self.executed or self.lost or self.accepted
            or self.refused or self.line or self.equal is False
        )  # fmt: skip

    def row(self) -> dict[str, Any]:
        """For a JSON file."""
        return {**asdict(self), "failed": self.failed}


def digests(root: Path) -> dict[str, str]:
    """Kind and digest of everything below a folder, by its name relative to it."""
    found = {}
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(folder) / name
            found[str(path.relative_to(root))] = digest_of(path)
    return found


def digest_of(path: Path) -> str:
    """What a file is and holds."""
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        return "link " + os.readlink(path)
    if stat.S_ISDIR(mode):
        return "folder"
    if not stat.S_ISREG(mode):
        return f"special {stat.S_IFMT(mode)}"
    content = path.read_bytes()
    if path.suffix == ".json":
        with suppress(ValueError, RecursionError):  # what is not JSON is compared as it is
            content = json.dumps(stable(json.loads(content))).encode()
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def stable(value: Any) -> Any:
    """Without what differs from one call to the next."""
    if isinstance(value, dict):
        return {key: stable(item) for key, item in value.items() if key not in VOLATILE}
    return [stable(item) for item in value] if isinstance(value, list) else value


def plant(box: Path) -> None:
    """The user's own files in and around the place where the command works."""
    for name in ("home/thesis.tex", "home/.partial-letter.txt", "notes.txt", "results/.partial-mine.dat",
                 "results/old/.partial-3.npz", "results/table.csv"):  # fmt: skip
        (box / name).parent.mkdir(parents=True, exist_ok=True)
        (box / name).write_text(f"{name}, a file of the user\n")
    (box / "tmp").mkdir()


def run_case(case: Case, box: Path) -> Outcome:
    """Run a case in an empty folder ``box``, which is removed afterwards."""
    shutil.rmtree(box, ignore_errors=True)
    box.mkdir(parents=True)
    outcome = Outcome(case.family, case.name, [str(word)[:200] for word in case.words])
    try:
        plant(box)
        case.prepare(box)
        before = digests(box)
        if case.act is None:
            execute(case.words, box, outcome, case.seconds)
        else:
            case.act(box, outcome)
        after = digests(box)
        judge(case, outcome, before, after, box)
    finally:
        shutil.rmtree(box, ignore_errors=True)
    return outcome


def judge(case: Case, outcome: Outcome, before: dict[str, str], after: dict[str, str], box: Path) -> None:
    """Fill in what is wrong."""
    outcome.executed = any(Path(name).name in (MARKER, NETWORK) for name in after)
    own = case.own if outcome.code == 0 else (lambda name: Path(name).name in NOISE and case.own(name))
    changed = (name for name, was in before.items() if after.get(name) != was)
    outcome.lost += sorted(name for name in changed if not _scratch(name) and not own(name))[:20]
    if outcome.code:
        outcome.line = fault_of_line(outcome, case)
        outcome.left = sorted(name for name in after if name not in before and not _scratch(name))[:20]
    if outcome.code == 0 and case.must == "refuse":
        outcome.accepted = "it should refuse"
    if outcome.code and case.must == "accept":
        outcome.refused = True
    if case.judge is not None and not outcome.hung and not outcome.accepted:
        outcome.accepted = case.judge(outcome, box)


def _scratch(name: str) -> bool:
    return name == "tmp" or name.startswith(("tmp/", "home/.cache", "home/.config")) or name in (MARKER, NETWORK)


def fault_of_line(outcome: Outcome, case: Case) -> str:
    """What is wrong with the words of a refusal: it should be one line ``Error: ...`` of plain words, the last one."""
    if outcome.traceback or outcome.hung or outcome.crashed:
        return ""
    lines = outcome.stderr.removesuffix("\n").split("\n")
    errors = [k for k, line in enumerate(lines) if line.startswith("Error: ")]
    if len(errors) != 1:
        return f"{len(errors)} lines begin with 'Error: '"
    if errors[0] != len(lines) - 1:
        return f"the error has {len(lines) - errors[0]} lines"
    sentence = lines[-1]
    if len(sentence) > _LONGEST_SENTENCE:
        return f"the sentence has {len(sentence)} characters"
    if any(unicodedata.category(c) in ("Cc", "Zl", "Zp") for c in sentence):
        return "the sentence holds a control character"
    given = " ".join((case.name, *map(str, case.words)))
    if found := _PYTHON_WORDS.search(sentence):
        return "" if found.group() in given else f"the sentence says {found.group()!r}"
    if _NOT_A_NUMBER.search(sentence) and "nan" not in given.lower():
        return "the sentence says 'nan'"
    return ""


# --- the command in a process of its own --------------------------------------------------------


def execute(words: tuple[str, ...], box: Path, outcome: Outcome, seconds: float) -> None:
    """Run the command in a forked child and wait for it."""
    child = start(words, box)
    started = time.monotonic()
    code, outcome.hung = wait_for(child, seconds)
    outcome.seconds = round(time.monotonic() - started, 3)
    outcome.code = code
    outcome.crashed = code < 0 and not outcome.hung
    outcome.stdout, outcome.stderr = (said(box, name) for name in ("stdout", "stderr"))
    outcome.traceback = "Traceback (most recent call last)" in outcome.stderr + outcome.stdout


def said(box: Path, name: str) -> str:
    """What the command wrote, at most so much that a result stays readable."""
    text = (box / f"tmp/.{name}").read_text(encoding="utf-8", errors="replace")
    return text if len(text) < 6000 else text[:3000] + " [...] " + text[-3000:]


def start(words: tuple[str, ...], box: Path) -> int:
    """Fork; the child runs the command with ``box`` as its folder, its home and its temporary folder."""
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        os.setsid()
        _redirect(box)
        code = _command(tuple(str(word) for word in words), box)
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)


def _redirect(box: Path) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    for number, name in ((1, "stdout"), (2, "stderr")):
        handle = os.open(box / f"tmp/.{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, number)
    sys.stdout = io.TextIOWrapper(os.fdopen(1, "wb", closefd=False), encoding="utf-8", errors="replace")
    sys.stderr = io.TextIOWrapper(
        os.fdopen(2, "wb", closefd=False), encoding="utf-8", errors="backslashreplace", line_buffering=True
    )


def _command(words: tuple[str, ...], box: Path) -> int:
    os.chdir(box)
    os.environ.update(HOME=str(box / "home"), TMPDIR=str(box / "tmp"))
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for name in ("__file__", "__spec__"):  # a spawned process of the command must not start the battery
        setattr(sys.modules["__main__"], name, None)
    _watch_network(box)
    import tempfile

    tempfile.tempdir = None
    from spacetime_tps.cli.main import main

    try:
        main(list(words), prog_name="spacetime-tps")
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    return 0


def _watch_network(box: Path) -> None:
    """No command needs the network: whoever tries leaves a mark and is refused."""

    def tried(*_: Any, **__: Any) -> Any:
        (box / NETWORK).write_text("".join(traceback.format_stack()))
        raise OSError("the network is not reachable")

    socket.getaddrinfo = tried  # type: ignore[assignment]
    socket.create_connection = tried  # type: ignore[assignment]


def wait_for(child: int, seconds: float) -> tuple[int, bool]:
    """Exit code (minus the signal that ended it) and whether the child had to be killed."""
    end = time.monotonic() + seconds
    pause = 0.002
    while True:
        done, status, _ = os.wait4(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status), False
        if time.monotonic() > end:
            break
        time.sleep(pause)
        pause = min(0.05, pause * 1.3)
    end_group(child)
    return -signal.SIGKILL, True


def end_group(child: int) -> None:
    """Kill a command and what it has started, and wait for it."""
    os.killpg(child, signal.SIGKILL)
    os.wait4(child, 0)


def cpu_seconds(child: int) -> float:
    """Processor time of a running child; 0 once it has ended."""
    try:
        fields = Path(f"/proc/{child}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
