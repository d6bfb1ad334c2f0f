"""Every method on the same system, over several seeds, and the table of it.

``OUT/seed_0`` and so on are run folders; what each method made of a seed lies in their ``compare/`` as soon as it is
done, so an interrupted comparison goes on where it stopped.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from spacetime_tps.analysis.comparison import EXACT, METHODS, MethodPaths, Truth, markdown, row_of, spread, truth_for
from spacetime_tps.config import RunConfig, ToyConfig
from spacetime_tps.errors import DamagedFileError, UserError
from spacetime_tps.export import figures
from spacetime_tps.files import read_arrays, write_arrays, write_csv, write_json, write_text
from spacetime_tps.parallel import WorkerPool, available_cores
from spacetime_tps.run_log import versions
from spacetime_tps.seeds import generator
from spacetime_tps.shooting.path import ShotPath
from spacetime_tps.stages.context import Context, Stage, opened, run_stages
from spacetime_tps.stages.export import NOT_FOR_SCIENCE, SCHEMA_VERSION, finish_summary, reference_summary
from spacetime_tps.stages.folder import STAGES, RunFolder
from spacetime_tps.stages.geodesic import reference_bound
from spacetime_tps.stages.measure import Raw, measured
from spacetime_tps.stages.methods import (
    Generators,
    geodesic_paths,
    hot_starts,
    ratchet,
    shooting,
    shooting_fixed,
    training_transitions,
    transitions_of_run,
    unbiased,
)
from spacetime_tps.stages.owned_folder import OwnedFolder

logger = logging.getLogger(__name__)

_NEED_NO_RUN = (("tps_one_way", "tps_fixed"), ("tps_two_way", "unbiased"))
"""Methods that do without samples and denoiser, in groups that one worker runs one after another."""

DEFINITIONS = {
    "w1": "Wasserstein-1 distance of the MaxFreeEnergy distribution to that of the true ensemble",
    "w1_noise_floor": "mean W1 of two samples of these sizes out of one distribution",
    "force_evaluations": "all of the method, with the sampling and training that it needs",
    "wall_seconds": "alike; steered dynamics is told its channel and charged for nothing else",
    "decorrelated_per_million": (
        "paths without a common frame per million force evaluations: of the chain itself for transition path sampling, "
        "of a short one-way chain that starts from its paths for a generator, its own cost included"
    ),
    "stays": "share of the ends that are found committed to their state after release with fresh velocities",
    "density_overlap": "sum of min over sum of max of the path density and the true one",
}


def compare(
    output: Path,
    config: RunConfig,
    source: Path,
    seeds: int,
    stages: dict[str, Stage],
    resume: bool,
    overwrite: bool,
    say: Callable[[str], None] = logger.info,
) -> dict[str, Any]:
    """Run everything for ``seeds`` seeds, the first of which is the configuration's, and write the tables.

    Args:
        output: folder of the comparison.
        config: of the system; file names in it are relative to ``source``.
        source: folder of the system file.
        seeds: number of seeds.
        stages: of a run, by name.
        resume: go on where an earlier call stopped.
        overwrite: delete what an earlier call left.
        say: is told of every method that is done.

    Raises:
        UserError: the folder holds something else.
    """
    if config.representation.kind not in ("torsions", "identity"):
        raise UserError(
            f"compare needs representation.kind 'torsions' (or 'identity'), not {config.representation.kind!r}: its "
            "baselines are drawn there."
        )
    least = config.shooting.burn_in + config.shooting.keep_every
    if config.comparison.shooting_steps < least:
        raise UserError(
            f"comparison.shooting_steps is {config.comparison.shooting_steps}; it should be at least "
            f"shooting.burn_in + shooting.keep_every = {least}."
        )
    folders = [RunFolder(output / f"seed_{config.seed + k}") for k in range(seeds)]
    whole = ComparisonFolder(output)
    with ExitStack() as locks:
        locks.enter_context(whole.locked())
        whole.begin([folder.path.name for folder in folders], resume, overwrite)
        configs = []
        for k, folder in enumerate(folders):
            locks.enter_context(folder.locked())
            wanted = config.model_copy(update={"seed": config.seed + k})
            configs.append(folder.begin(wanted, source, not overwrite, overwrite, until=_FIRST_RECORD))
        if overwrite:
            whole.set_tables_aside(until=f"{folders[0].path.name}/{_FIRST_RECORD}")
            locks.callback(whole.previous.settle)  # before the seeds settle theirs
        run_seeds = _potential_seeds if isinstance(config.system, ToyConfig) else _molecule_seeds
        run_seeds(folders, configs, stages, say)
        rows = [_left_in(folder) for folder in folders]
        with opened(folders[0], folders[0].config()) as context:
            return _tables(output, context, rows)


_FIRST_RECORD = f"stages/{STAGES[0]}.json"
"""With it a seed has become another run, and what the earlier one left goes."""


class ComparisonFolder(OwnedFolder):
    """The folder of a comparison: its tables and figures, and a run folder for each seed."""

    kind = "comparison"

    def begin(self, seeds: list[str], resume: bool, overwrite: bool) -> None:
        """Make the folder, whose lock the caller holds, ready.

        Raises:
            UserError: it holds a comparison already, or seeds that are not among those asked for.
        """
        if self.identity() is None:
            self.begin_identity()
            return
        if not resume and not overwrite:
            raise UserError(f"The output folder {self.path} is not empty; use --resume to go on or --overwrite.")
        more = sorted({path.name for path in self.path.glob("seed_*")} - set(seeds))
        if more and not overwrite:
            raise UserError(
                f"{self.path} holds {more[0]}, which is not among the seeds asked for; choose another with -o."
            )

    def set_tables_aside(self, until: str) -> None:
        """Keep the earlier tables and figures until a file of the first seed says that their runs are gone."""
        self.previous.set_aside(self.own("compare.md", "compare.csv", "compare.json", "figures"), done=[until])


def _beginning_with(name: str, say: Callable[[str], None]) -> Callable[[str], None]:
    return lambda text: say(f"{name} {text}")


def _molecule_seeds(
    folders: list[RunFolder], configs: list[RunConfig], stages: dict[str, Stage], say: Callable[[str], None]
) -> None:
    """One seed after another: every stage and method spreads its paths over the workers."""
    for folder, config in zip(folders, configs, strict=True):
        tell = _beginning_with(folder.path.name, say)
        run_stages(folder, config, stages, finish_summary, tell)
        _some_methods(folder.path, config, METHODS, tell)


def _potential_seeds(
    folders: list[RunFolder], configs: list[RunConfig], stages: dict[str, Stage], say: Callable[[str], None]
) -> None:
    """All seeds at once: on an analytic potential a method is a batch on one core."""
    need_run = tuple(name for name in METHODS if not any(name in group for group in _NEED_NO_RUN))
    workers = configs[0].hardware.workers
    with WorkerPool(available_cores() if workers == "auto" else workers) as pool:

        def begin(folder: RunFolder, config: RunConfig, names: Sequence[str]) -> Future[list[str]]:
            future = pool.submit(_some_methods, folder.path, config, names)
            future.add_done_callback(partial(_tell, _beginning_with(folder.path.name, say)))
            return future

        seeds = list(zip(folders, configs, strict=True))
        begun = [begin(*seed, names) for seed in seeds for names in _NEED_NO_RUN]
        for folder, config in seeds:
            run_stages(folder, config, stages, finish_summary, _beginning_with(folder.path.name, say))
            begun.append(begin(folder, config, need_run))
        for future in begun:
            future.result()


def _tell(say: Callable[[str], None], future: Future[list[str]]) -> None:
    if not future.cancelled() and future.exception() is None:
        for text in future.result():
            say(text)


def _left_in(folder: RunFolder) -> dict[str, MethodPaths]:
    """What every method made of one seed."""
    files = {name: folder / f"compare/{name}.npz" for name in METHODS}
    return {name: _read(file) for name, file in files.items() if file.is_file()}


def _read(file: Path) -> MethodPaths:
    try:
        return MethodPaths.of(read_arrays(file))
    except KeyError as error:
        raise DamagedFileError(f"{file} lacks the array {error}; delete it and use --resume.") from error


def _some_methods(
    path: Path, config: RunConfig, names: Sequence[str], say: Callable[[str], None] = logger.info
) -> list[str]:
    """Run those methods of a seed that have left nothing yet; returns what was said of each."""
    said = []
    if isinstance(config.system, ToyConfig):
        config = config.model_copy(update={"hardware": config.hardware.model_copy(update={"workers": 1})})
    folder = RunFolder(path)
    folder.take_part()
    with opened(folder, config) as context:
        recipes = _recipes(context)
        for name in names:
            file = path / f"compare/{name}.npz"
            if name not in recipes or file.is_file():
                continue
            try:
                paths = measured(name, context, recipes[name])
            except DamagedFileError:
                raise
            except UserError as error:
                said.append(f"{name}: left out: {error}")
            else:
                write_arrays(file, **paths.arrays())
                said.append(_words(name, paths))
            say(said[-1])
    return said


def _recipes(context: Context) -> dict[str, Callable[[], Raw]]:
    """How each method makes its paths; what several of them share is made once."""

    @cache
    def shared() -> Generators:
        return Generators.of(context)

    @cache
    def hot() -> tuple[list[ShotPath], int]:
        return hot_starts(context)

    @cache
    def flexible() -> Raw:
        return shooting(context, "tps_one_way", "one_way", hot())

    recipes: dict[str, Callable[[], Raw]] = {
        "geodesic": lambda: geodesic_paths(context),
        "line": lambda: shared().line(False, "line"),
        "line_tent": lambda: shared().line(True, "line_tent"),
        "line_geodesic_schedule": lambda: shared().line_geodesic_schedule("line_geodesic_schedule"),
        "steered": lambda: shared().steered("steered"),
        "string": lambda: shared().string("string"),
        "training_transitions": lambda: training_transitions(context),
        "ratchet": lambda: ratchet(context),
        "transitions": lambda: transitions_of_run(context),
        "tps_one_way": flexible,
        "tps_two_way": lambda: shooting(context, "tps_two_way", "two_way", hot()),
        "tps_fixed": lambda: shooting_fixed(context, "tps_fixed", flexible()),
    }
    if context.config.comparison.unbiased_steps:
        recipes["unbiased"] = lambda: unbiased(context)
    return recipes


def _words(name: str, paths: MethodPaths) -> str:
    if not len(paths.arrived):
        return f"{name}: no path"
    values = paths.max_free_energy[paths.arrived]
    height = (
        f", MaxFreeEnergy {values.mean():.2f} +- {values.std():.2f}"
        if len(values) and np.isfinite(values).all()
        else ""
    )
    return f"{name}: {paths.arrived.sum()} of {len(paths.arrived)} arrived{height}"


def _tables(output: Path, context: Context, rows: list[dict[str, MethodPaths]]) -> dict[str, Any]:
    system, config = context.system, context.config
    bound = reference_bound(system)
    barrier = bound.barrier if bound else None
    methods, truths = {}, {}
    for name in METHODS:
        if not any(name in row for row in rows):
            continue
        truth = truth_for(name, rows)
        rng = generator(config.seed, "compare", name)
        figures_of = [row_of(row[name], truth, barrier, system.turning, rng) for row in rows if name in row]
        methods[name] = spread(figures_of)
        truths[name] = truth.source if truth is not None else None
    true = truth_for("geodesic", rows)
    note = NOT_FOR_SCIENCE if config.preset == "quick" else None
    kinds = {name: "exact" if name in EXACT else "generator" for name in methods}
    summary = {
        "schema_version": SCHEMA_VERSION,
        "system": config.name,
        "seeds": [config.seed + k for k in range(len(rows))],
        "for_science": config.preset != "quick",
        "unit": system.energy_unit,
        "definition": config.system.model_dump(mode="json"),
        "definitions": DEFINITIONS,
        "reference": reference_summary(system, bound),
        "truth": None if true is None else _described(true),
        "truth_of": truths,
        "kinds": kinds,
        "methods": methods,
        "versions": versions(),
    }
    described = "none"
    if true is not None:
        described = f"{true.source}, MaxFreeEnergy {true.max_free_energy.mean():.2f} ± {true.max_free_energy.std():.2f}"
    text = markdown(methods, system.energy_unit, described)
    write_text(output / "compare.md", (f"**{note}**\n\n" if note else "") + text)
    header = ["method", "kind", "metric", "mean", "std", "n"]
    lines = [
        [name, kinds[name], key, entry["mean"], entry["std"], entry["n"]]
        for name, row in methods.items()
        for key, entry in row.items()
    ]
    write_csv(output / "compare.csv", header, lines, note)
    values = {
        name: np.concatenate([row[name].max_free_energy[row[name].arrived] for row in rows if name in row])
        for name in methods
    }
    if true is not None:
        picture = figures.comparison_figure(values, true.max_free_energy, methods, system.energy_unit, barrier)
        figures.save(picture, output / "figures/comparison.png", note)
    write_json(output / "compare.json", summary)
    return summary


def _described(truth: Truth) -> dict[str, Any]:
    values = truth.max_free_energy
    moments = {"mean": float(values.mean()), "std": float(values.std())}
    return {"source": truth.source, "independent_paths": truth.independent, "max_free_energy": moments}
