"""spacetime-tps shoot: transition path sampling."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from spacetime_tps.cli.options import configuration_options, folder_options, read_configuration, refuse_both, say
from spacetime_tps.errors import UserError, shown_value
from spacetime_tps.stages import FIRST_PATHS, RunFolder, check_beforehand, path_from_file, shoot_in
from spacetime_tps.systems import load_system

_SOURCES = {"paths": "paths", "ensemble": "ensemble", "high-temperature": "high_temperature"}


@click.command("shoot")
@click.argument("target", metavar="OUT | SYSTEM -o OUT")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="New folder, if there is no run of SYSTEM yet.")
@click.option(
    "--from",
    "source",
    metavar="SOURCE",
    help="First paths: 'paths' (the run's annealed ones), 'ensemble' (its unguided ones), 'high-temperature', or a "
    "trajectory file.",
)
@configuration_options
@folder_options
def command(
    target: str, output: Path | None, source: str | None, resume: bool, overwrite: bool, **configuration: Any
) -> None:
    """Sample the transition path ensemble by shooting, in the run folder OUT or in a new one for SYSTEM."""
    refuse_both(resume, overwrite)
    overrides = configuration.pop("overrides")
    trajectory = Path(source) if source is not None and source not in _SOURCES else None
    if trajectory is not None and not trajectory.exists() and not trajectory.suffix:
        raise UserError(f"--from {shown_value(source)} is neither {', '.join(_SOURCES)} nor a trajectory file.")
    if source in _SOURCES:
        overrides = (*overrides, f"shooting.first={_SOURCES[source]}")
    if output is None:
        given = [name for name, value in configuration.items() if value is not None]
        if given:
            raise UserError(f"--{given[0]} belongs to a new run (SYSTEM -o OUT); the run in {target} has its own.")
        if not Path(target).is_dir():
            raise UserError(f"{target} is not a run folder; to begin one for a system, give it as SYSTEM -o OUT.")
        folder = RunFolder(Path(target))
        with folder.locked(existing=True):
            config = folder.changed("export", overrides)
            check_beforehand(config, load_system(config, folder.path))
            as_before = not overrides and source is None
            shoot_in(folder, config, trajectory, resume, overwrite, say, as_before)
        _done(folder)
        return
    config, source_folder = read_configuration(target, overrides=overrides, **configuration)
    system = load_system(config, source_folder)
    check_beforehand(config, system)
    if trajectory is not None:
        path_from_file(trajectory, system)
    elif config.shooting.first != "high_temperature":
        raise UserError("A new run has no paths yet; give --from high-temperature or --from a trajectory.")
    folder = RunFolder(output)
    with folder.locked():
        stored = folder.begin(config, source_folder, resume, overwrite, until=FIRST_PATHS)
        shoot_in(folder, stored, trajectory, resume, False, say)
    _done(folder)


def _done(folder: RunFolder) -> None:
    click.echo(f"Everything: {folder / 'shooting/summary.json'}")
