"""What a stage works with, and how stages are run one after another."""

from __future__ import annotations

import importlib.util
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import openmm
import torch
from threadpoolctl import threadpool_limits

from spacetime_tps.config import MoleculeConfig, OverdampedConfig, RunConfig
from spacetime_tps.copies import MOST_COPIES, can_be_replicated, replicated
from spacetime_tps.dynamics import GPU_PLATFORMS, MolecularDynamics, available_platforms, choose_platform
from spacetime_tps.errors import DamagedFileError, UserError, ran_out_of_memory
from spacetime_tps.files import read_json, write_json
from spacetime_tps.interruption import raise_if_interrupted
from spacetime_tps.parallel import WorkerPool, available_cores
from spacetime_tps.reporting import NullReporter, Reporter, reporter_of
from spacetime_tps.representations import Components
from spacetime_tps.representations.fitting import FITTED, NEEDS_DEEPTIME
from spacetime_tps.run_log import ONLY_IN_LOG
from spacetime_tps.shooting.chains import EngineRecipe, build_move
from spacetime_tps.stages.folder import STAGES, RunFolder, stages_of
from spacetime_tps.stages.reference_grid import states_on
from spacetime_tps.stages.sizes import check_sizes
from spacetime_tps.stages.work_folder import WorkFolder
from spacetime_tps.systems import ENDS, System, load_system

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StageResult:
    """What a stage reports: its part of the summary, its force evaluations, times of parts of it [s], and words."""

    summary: dict[str, Any] = field(default_factory=dict)
    force_evaluations: int = 0
    timings: dict[str, float] = field(default_factory=dict)
    words: str = ""


@dataclass(frozen=True)
class Context:
    """The run a stage belongs to."""

    folder: RunFolder
    system: System
    pool: WorkerPool
    make_room: Callable[[], None] = lambda: None
    """Every stage calls it just before it writes its result: what the folder held of it so far is then dropped."""
    reporter: Reporter = field(default_factory=NullReporter)
    """Is told numbers while a stage runs."""
    began: float = field(default_factory=time.monotonic)
    """When the command began, on the clock of ``time.monotonic`` [s]."""

    @property
    def config(self) -> RunConfig:
        """The resolved configuration."""
        return self.system.config

    def dynamics(self) -> MolecularDynamics:
        """Molecular dynamics on the run's platform, chosen once and kept for every later stage."""
        assert self.system.molecule is not None
        file = self.folder / "stages/platform.json"
        dynamics = self.system.molecule.dynamics
        chosen, wanted = _platform_in(file), self.config.hardware.platform
        if chosen in available_platforms() and wanted.lower() in ("auto", chosen.lower()):
            return dynamics.on(chosen)
        name, speeds = choose_platform(self.config.hardware.platform, dynamics, self.system.structures[0])
        write_json(file, {"requested": self.config.hardware.platform, "name": name, "steps_per_second": speeds})
        logger.info("OpenMM platform %s (steps per second: %s)", name, speeds)
        return dynamics.on(name)

    def copies(self) -> int:
        """Molecules at most that share an OpenMM Context along paths and in windows."""
        return copies_on(self.dynamics(), self.system, self.config.hardware.copies)

    def refined(self) -> Context:
        """The context of the model that paths follow: that of the last round of ``refine``, or the run's own."""
        if not (self.folder / "stages/refine.json").is_file():
            return self
        rounds = len(self.folder.record("refine")["summary"]["rounds"])
        return replace(self, folder=RunFolder(self.folder / f"refined/round_{rounds}"))

    def work_folder(self, name: str) -> WorkFolder:
        """A folder for parts of a stage, which an interrupted one finds again."""
        return WorkFolder(self.folder, name, self.config)

    def device(self) -> str:
        """The torch device for training."""
        return choose_device(self.config.hardware.device)


def _platform_in(file: Path) -> str:
    """The platform recorded in a run folder, or nothing.

    Raises:
        DamagedFileError: the record cannot be read; another platform in the middle of a run would go unnoticed.
    """
    if not file.is_file():
        return ""
    try:
        return str(read_json(file)["name"])
    except (DamagedFileError, KeyError, TypeError) as error:
        raise DamagedFileError(
            f"{file} is damaged, so the OpenMM platform of this run is unknown; delete it to have the platform chosen "
            "again, or start again with --overwrite."
        ) from error


def copies_on(dynamics: MolecularDynamics, system: System, wanted: int | str) -> int:
    """Resolve ``hardware.copies`` on a platform: ``auto`` fills a GPU, which one small molecule leaves idle."""
    if wanted != "auto":
        return int(wanted)
    fit = dynamics.platform in GPU_PLATFORMS and not isinstance(system.representation, Components)
    return MOST_COPIES if fit and can_be_replicated(openmm.XmlSerializer.deserialize(dynamics.system_xml)) else 1


def check_copies(system: System) -> None:
    """Refuse copies of what cannot be repeated.

    Raises:
        UserError: several are wanted, and the molecule or its representation forbids them.
    """
    wanted = system.config.hardware.copies
    if system.molecule is None or wanted in ("auto", 1):
        return
    if system.config.representation.kind in ("tica", "pca"):
        raise UserError("hardware.copies: the restraint of representation.kind tica or pca holds one molecule.")
    try:
        replicated(openmm.XmlSerializer.deserialize(system.molecule.dynamics.system_xml), 1)
    except UserError as error:
        raise UserError(f"hardware.copies should be 1 for {system.config.name}: {error}") from error


def choose_device(wanted: str) -> str:
    """Resolve ``auto`` to a GPU where there is one, or check an explicit choice.

    Raises:
        UserError: the device is not there.
    """
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        if torch.device(wanted).type not in ("cpu", "cuda", "mps"):
            raise RuntimeError("nothing can be computed there")
        torch.zeros(1, device=wanted)
    except (RuntimeError, AssertionError) as error:
        found = ["cpu"] + [f"cuda:{k}" for k in range(torch.cuda.device_count())]
        raise UserError(f"The torch device {wanted!r} is not there; this machine has {', '.join(found)}.") from error
    return wanted


def check_selectors(config: RunConfig, system: System) -> None:
    """Refuse selectors of shooting that are over no collective variable, or out of bounds.

    Raises:
        UserError: one of them is.
    """
    build_move(config.shooting, system.variables.axes)


def check_beforehand(config: RunConfig, system: System) -> None:
    """Refuse what this machine cannot serve, or what the last steps of a run would refuse, before anything is written.

    Raises:
        UserError: the platform, the device, a package or the memory is not there, shooting could not start,
            or the reference surface does not show the states.
    """
    check_sizes(config, system)
    choose_device(config.hardware.device)
    check_copies(system)
    check_selectors(config, system)
    states_on(system.reference, system)
    if config.tps and system.molecule is not None:
        EngineRecipe.of(system, system.molecule.dynamics, frame_every=1)
    if config.representation.kind == "tica" and importlib.util.find_spec("deeptime") is None:
        raise UserError(NEEDS_DEEPTIME)
    if system.molecule is not None and config.hardware.platform != "auto":
        choose_platform(config.hardware.platform, system.molecule.dynamics, system.structures[0])


@contextmanager
def opened(folder: RunFolder, config: RunConfig) -> Iterator[Context]:
    """The context of a run, with its workers; the caller holds the folder's lock."""
    system = load_system(config, folder.path)
    workers = config.hardware.workers
    torch.set_num_threads(config.hardware.torch_threads)
    wanted = config.hardware
    settings = f"seed {config.seed}, workers {workers}, torch device {wanted.device}, platform {wanted.platform}"
    logger.info("%s, preset %s, %s", config.name, config.preset, settings)
    reporter = reporter_of(config.reporter, folder / "tensorboard")
    with (
        threadpool_limits(wanted.torch_threads, "blas"),  # threads of NumPy's would wait for cores of the workers
        WorkerPool(available_cores() if workers == "auto" else workers) as pool,
        closing(reporter),
    ):
        yield Context(folder, system, pool, reporter=reporter)


Stage = Callable[[Context], StageResult]

_LARGE = {
    "sample": "sampling.walkers, sampling.grid_points, the sampling time over sampling.sample_interval",
    "train": "denoiser.reference_samples, denoiser.queries, denoiser.batch_size, denoiser.components",
    "geodesic": "geodesic.points, geodesic.fine_factor, geodesic.starts, geodesic.max_channels",
    "refine": "refine.channels, refine.curve_points, windows.most, denoiser.reference_samples",
    "paths": "paths.count, paths.frames, paths.curve_points, hardware.copies",
    "windows": "windows.most, windows.steps (over windows.sample_every), windows.free_steps, hardware.copies",
    "transitions": "transitions.shots, transitions.max_steps",
    "export": "paths.count, paths.frames",
}
"""Settings by which the memory of each stage grows."""


def run_stages(
    folder: RunFolder,
    config: RunConfig,
    stages: dict[str, Stage],
    conclude: Callable[[Context], Any] | None = None,
    say: Callable[[str], None] = logger.info,
    again: bool = False,
) -> None:
    """Run the given stages in order, skipping those that are finished. The caller holds the folder's lock.

    Args:
        folder: of the run.
        config: as stored in it, or with changed settings for these stages and later ones.
        stages: by name, in order.
        conclude: called when the last of all stages is finished, before what it replaces is deleted.
        say: is told of every stage as it ends.
        again: run stages that are finished anew. What they and later ones left is kept until a new result is there.

    Raises:
        UserError: a stage that must come first is missing, or a file or record is not as its stage left it.
    """

    def tell(text: str) -> None:
        logger.info("%s", text, extra=ONLY_IN_LOG if say is not logger.info else None)
        if say is not logger.info:
            say(text)

    with opened(folder, config) as context:
        context.device()
        first = next(iter(stages), STAGES[0])
        before = [name for name in stages_of(config) if STAGES.index(name) < STAGES.index(first)]
        if before and not folder.finished(before[-1]):
            raise UserError(f"The stage {before[-1]!r} of {folder.path} is not finished; run it first.")
        folder.check(*before)
        if context.system.molecule is not None:
            context.dynamics()
        for name, stage in stages.items():
            raise_if_interrupted()
            last = conclude if name == STAGES[-1] else None
            if folder.finished(name) and not again:
                folder.check(name)
                tell(f"{name}: finished before")
                if last is not None:
                    last(context)
                continue
            make_room = partial(folder.make_room, name, config)
            tell(f"{name}: {run_stage(folder, name, stage, replace(context, make_room=make_room), last)}")
            folder.previous.settle()
            if any((folder / name).is_file() for name in (FITTED, ENDS)):
                context = replace(context, system=load_system(config, folder.path))


def run_stage(
    folder: RunFolder, name: str, stage: Stage, context: Context, conclude: Callable[[Context], Any] | None = None
) -> str:
    """Run a stage, record in a folder that it is done, conclude what follows from that, and say so."""
    started = time.perf_counter()
    try:
        result = stage(context)
    except (MemoryError, RuntimeError) as error:
        if not ran_out_of_memory(error):
            raise
        raise UserError(
            f"The stage {name!r} needs more memory than there is; lower {_LARGE[name]} or hardware.workers."
        ) from error
    seconds = time.perf_counter() - started
    folder.finish(
        name,
        {
            "summary": result.summary,
            "force_evaluations": result.force_evaluations,
            "wall_seconds": round(seconds, 2),
            "timings": result.timings,
        },
    )
    if conclude is not None:
        conclude(context)
    words = f"; {result.words}" if result.words else ""
    return f"{seconds:.0f} s, {result.force_evaluations:,} force evaluations{words}"


def frame_interval(config: RunConfig, frame_every: int) -> float:
    """Time between the frames of a path [ps, or reduced]."""
    assert isinstance(config.system, MoleculeConfig) or isinstance(config.system.dynamics, OverdampedConfig)
    return config.system.dynamics.time_step * frame_every
