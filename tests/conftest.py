"""Shared by all tests."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # two workers share two cores; read when NumPy is imported

import pytest
import torch
from click.testing import CliRunner
from xdist.scheduler import LoadScopeScheduling

from spacetime_tps.cli import main
from spacetime_tps.diffusion import training

torch.set_num_threads(1)


WHOLE = {"test_docs.py", "test_battery.py", "test_plugins.py", "test_proofs.py", "test_preparation.py"}
PHYSICS = {
    "analysis",
    "baselines",
    "boltzmann",
    "diffusion",
    "geometry",
    "paths",
    "potentials",
    "representations",
    "shooting",
}


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark what a test is about."""
    if "stages" in item.path.parts or item.path.name in WHOLE:
        item.add_marker("whole")
    if PHYSICS & set(item.path.parts):
        item.add_marker("physics")


@cache
def _shares(file: Path) -> bool:
    """Whether the tests of a file share what its module makes: it should be made on one worker only."""
    return 'scope="module"' in file.read_text(encoding="utf-8")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With workers the longest come first: whole runs, then what is shared."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(
            key=lambda item: (item.path.name not in WHOLE, "stages" not in item.path.parts, not _shares(item.path))
        )


class ByWhatIsShared(LoadScopeScheduling):
    """One test at a time for each worker, or all tests of a file that share something."""

    def _split_scope(self, nodeid: str) -> str:
        name = nodeid.split("::")[0]
        return name if _shares(self.config.rootpath / name) else nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByWhatIsShared | None:
    """In place of ``--dist load``, which ``-n`` means by itself."""
    if config.getvalue("dist") != "load":
        return None
    config.option.loadscopereorder = False
    return ByWhatIsShared(config, log)


TINY_ALANINE = (
    "sampling.build_time=20 ps", "sampling.exchange_interval=10 ps", "sampling.frozen_time=20 ps",
    "sampling.discard_time=0 ps", "sampling.sample_interval=0.1 ps", "sampling.frame_interval=2 ps",
    "denoiser.queries=2000", "denoiser.validation_queries=200", "denoiser.steps=100", "denoiser.batch_size=512",
    "denoiser.factors=16", "denoiser.components=32", "geodesic.points=24", "geodesic.nodes=12", "geodesic.steps=40",
    "geodesic.polish_rounds=1", "geodesic.polish_steps=10", "geodesic.starts=2", "geodesic.scout_steps=10",
    "paths.count=4", "paths.curve_points=60", "paths.steps_per_point=20", "paths.equilibration_steps=500",
    "paths.release_steps=200", "paths.frames=20", "paths.max_doublings=0", "windows.spacing=3",
    "windows.equilibration_steps=100", "windows.steps=200", "windows.sample_every=20",
    "windows.free_walkers=2", "windows.free_steps=2000", "transitions.shots=0",
    "hardware.platform=Reference", "hardware.workers=1",
)  # fmt: skip
"""Overrides that push alanine dipeptide through the whole chain in seconds; its results mean nothing."""

TINY_SHOTS = (
    "transitions.shots=200", "transitions.walkers=2", "transitions.equilibration_steps=50",
    "transitions.spacing_steps=50", "transitions.max_steps=5000", "transitions.trajectories=6",
)  # fmt: skip
"""For rounds of shots."""

TINY_TOY = (
    "sampling.walkers=128", "sampling.burn_in_steps=200", "sampling.steps=500", "sampling.sample_every=50",
    "denoiser.queries=3000", "denoiser.validation_queries=200", "denoiser.steps=150", "denoiser.batch_size=512",
    "denoiser.factors=16", "denoiser.components=32", "geodesic.points=32", "geodesic.nodes=12", "geodesic.steps=40",
    "geodesic.polish_rounds=1", "geodesic.polish_steps=10", "geodesic.starts=2", "geodesic.scout_steps=10",
    "paths.count=8", "paths.curve_points=100", "paths.steps_per_point=10", "paths.equilibration_steps=200",
    "paths.frames=20", "paths.max_doublings=0", "windows.steps=400", "windows.equilibration_steps=100",
    "windows.sample_every=20", "windows.free_walkers=2", "windows.free_steps=2000", "transitions.shots=0",
    "hardware.workers=1",
)  # fmt: skip


def command_line(*arguments: str | Path) -> list[str]:
    """The command as a user's shell would start it."""
    code = "from spacetime_tps.cli.start import main; main()"
    return [sys.executable, "-c", code, *map(str, arguments)]


def run_process(*arguments: str | Path, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, as in a pipe."""
    return subprocess.run(command_line(*arguments), capture_output=True, text=True, timeout=timeout, check=False)


def run_cli(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command in this process, since starting another takes seconds."""
    words = [str(word) for word in arguments]
    with _leaving_by_exception():
        done = CliRunner().invoke(main.main, words, prog_name="spacetime-tps")
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return subprocess.CompletedProcess(words, done.exit_code, done.stdout, done.stderr)


@contextmanager
def exploding_training() -> Iterator[None]:
    """Steps that no configuration allows, so that the network's numbers overflow."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "_cosine", lambda rate, steps: [1e30] * steps)
        yield


def settings(overrides: tuple[str, ...]) -> list[str]:
    """``--set`` options."""
    return [word for assignment in overrides for word in ("--set", assignment)]


def refusal(*arguments: str | Path) -> str:
    """What the command says in one line when it refuses."""
    done = run_cli(*arguments)
    assert done.returncode not in (0, 130)
    lines = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1, done.stderr
    return lines[0]


@contextmanager
def _leaving_by_exception() -> Iterator[None]:
    """The command ends its process at once, and takes over signals and logging: not here."""
    handlers = logging.root.handlers[:]
    signalled = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(main, "leave_at_once", sys.exit)
        logging.root.handlers[:] = []
        try:
            yield
        finally:
            logging.root.handlers[:] = handlers
            for number, handler in signalled.items():
                signal.signal(number, handler)


MADE_ONCE = {
    "alanine": ("run", "alanine_dipeptide", "--seed", "5", *settings(TINY_ALANINE)),
    "toy": ("run", "mueller_brown", "--seed", "3", *settings(TINY_TOY)),
}
"""Commands of the runs that many tests look at."""


@pytest.fixture(scope="session")
def copy_of_run(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A finished run by its name in ``MADE_ONCE``: made once for all workers of a session, copied for each."""
    base = tmp_path_factory.getbasetemp()
    store = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "made_once"
    store.mkdir(exist_ok=True)

    def copied(name: str) -> Path:
        with (store / f"{name}.lock").open("a") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            if not (store / name).exists():
                done = run_cli(*MADE_ONCE[name], "-o", store / f"{name}.unfinished")
                assert done.returncode == 0, done.stderr
                (store / f"{name}.unfinished").rename(store / name)
        return Path(shutil.copytree(store / name, tmp_path_factory.mktemp(name) / "run"))

    return copied


@pytest.fixture(scope="session")
def tiny_alanine_run(copy_of_run: Callable[[str], Path]) -> Path:
    """A finished tiny run of alanine dipeptide, seed 5, one worker; not to be changed."""
    return copy_of_run("alanine")


@pytest.fixture(scope="session")
def tiny_toy_run(copy_of_run: Callable[[str], Path]) -> Path:
    """A finished tiny run of Müller-Brown, seed 3; not to be changed."""
    return copy_of_run("toy")
