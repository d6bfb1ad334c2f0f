"""spacetime-tps run: the whole chain."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from spacetime_tps.cli.options import (
    configuration_options,
    folder_options,
    output_option,
    read_configuration,
    refuse_both,
    say,
    system_argument,
)
from spacetime_tps.cli.summary import print_summary
from spacetime_tps.config import RunConfig
from spacetime_tps.errors import UserError
from spacetime_tps.stages import (
    STAGES,
    RunFolder,
    check_beforehand,
    conclude,
    end_with_paths_of_the_ensemble,
    recorded_columns,
    run_stages,
    stages_to_run,
    with_torsions,
    write_report,
)
from spacetime_tps.systems import load_system


@click.command("run")
@system_argument
@output_option
@configuration_options
@click.option("--stop-after", type=click.Choice(STAGES), help="End after this stage.")
@click.option(
    "--add-torsion",
    multiple=True,
    metavar="auto|NAME",
    help="With --resume: go on with another torsion in the representation; auto: those that lag or are slow.",
)
@folder_options
def command(
    system: str,
    output: Path,
    stop_after: str | None,
    add_torsion: tuple[str, ...],
    resume: bool,
    overwrite: bool,
    **configuration: Any,
) -> None:
    """Generate transition paths for SYSTEM: a name, a folder or a YAML file."""
    if add_torsion:
        _extend(RunFolder(output), add_torsion, stop_after or STAGES[-1], resume, configuration)
        return
    start(system, output, stop_after or STAGES[-1], resume, overwrite, configuration)


def _extend(folder: RunFolder, wanted: tuple[str, ...], last: str, resume: bool, configuration: dict[str, Any]) -> None:
    """Go on with a run after more torsions have entered its representation."""
    if not resume:
        raise UserError("--add-torsion goes on with a run that exists; give it with --resume.")
    if configuration["overrides"]:
        raise UserError("--add-torsion and --set change a run in two ways; give one of them.")
    with folder.locked(existing=True):
        config, added = with_torsions(folder, wanted)
        if not added and folder.finished(last):
            click.echo("No torsion lags or is slow, or it is represented already: the run stays as it is.", err=True)
            return
        system = load_system(config, folder.path)
        check_beforehand(config, system)
        if added:
            recorded_columns(folder, system.torsions)
            folder.make_room("train", config)
            click.echo(f"added {', '.join(added)}", err=True)
        stages = stages_to_run(config, first="train", last=last)
        run_stages(folder, config, stages, conclude=conclude, say=say)
    if last == STAGES[-1]:
        print_summary(folder)


def _go_further(folder: RunFolder, config: RunConfig, last: str) -> None:
    """Go on with a run to another accuracy or budget: from its rounds on, of which those that are there are kept."""
    if folder.finished("refine"):
        stages = stages_to_run(config, first="refine", last=last)
        run_stages(folder, config, stages, conclude=conclude, say=say, again=True)
        return
    folder.make_room("refine", config)
    run_stages(folder, config, stages_to_run(config, last=last), conclude=conclude, say=say)


def start(system: str, output: Path, last: str, resume: bool, overwrite: bool, configuration: dict[str, Any]) -> None:
    """Run the stages up to ``last`` in a new, resumed or overwritten folder."""
    refuse_both(resume, overwrite)
    config, source = read_configuration(system, **configuration)
    check_beforehand(config, load_system(config, source))
    folder = RunFolder(output)
    stages = stages_to_run(config, last=last)
    with folder.locked():
        stored = folder.begin(config, source, resume, overwrite, until=f"stages/{STAGES[0]}.json")
        going_on = folder.with_goals_of(config)
        if going_on == stored:
            run_stages(folder, stored, stages, conclude=conclude, say=say)
        else:
            _go_further(folder, going_on, last)
            stored = going_on
        if last == STAGES[-1] and end_with_paths_of_the_ensemble(folder, stored, say):
            write_report(folder)
    if last == STAGES[-1]:
        print_summary(folder)
