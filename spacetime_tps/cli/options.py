"""Options that several verbs share."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from spacetime_tps.config import Preset, RunConfig
from spacetime_tps.errors import UserError
from spacetime_tps.systems import find_system_file, load_config
from spacetime_tps.untrusted.trust import trusting

system_argument = click.argument("system", metavar="SYSTEM")
output_option = click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), help="Folder the run writes to."
)


def _trust(ctx: click.Context, _: click.Parameter, own: bool) -> None:
    """Until the command ends; the flag is not a parameter of the command, so nothing can store it."""
    ctx.with_resource(trusting(own))


trust_option = click.option(
    "--trust",
    is_flag=True,
    expose_value=False,
    callback=_trust,
    help="The files are your own: let OpenMM run the code that force fields and Systems may hold.",
)
set_option = click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change one setting (repeatable)."
)
geometry_option = click.option(
    "--geometry",
    type=click.Choice(["spacetime", "score", "pullback", "linear"]),
    help="Metric of the geodesic; all but spacetime are for comparison.",
)


def configuration_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What shapes the configuration: seed, preset, platform, device, workers, single keys."""
    for option in (
        trust_option,
        set_option,
        geometry_option,
        click.option(
            "--denoiser",
            metavar="potential|exact|NAME",
            help="exact: no network; grid or samples instead. NAME: of another package.",
        ),
        click.option(
            "--accuracy", metavar="ENERGY", help='Standard error of barrier and B - A to run for, such as "1 kJ/mol".'
        ),
        click.option("--max-evaluations", help="Force evaluations after which no round of windows begins."),
        click.option(
            "--max-time", metavar="TIME", help='Time after which no round of windows begins, such as "30 min".'
        ),
        click.option("--preset", type=click.Choice(["quick", "standard"]), help="quick is for tests, not for science."),
        click.option("--workers", type=click.IntRange(1, 1024), help="Worker processes; never changes a result."),
        click.option("--device", help="torch device for training; default: the fastest there is."),
        click.option("--platform", help="OpenMM platform; default: the fastest for this system, by measurement."),
        click.option("--seed", type=click.IntRange(0, 9 * 10**18), help="Random seed; default 0."),
    ):
        command = option(command)
    return command


def folder_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What to do with a folder that is not empty."""
    again = "Delete what an earlier call of this command left there first."
    command = click.option("--overwrite", is_flag=True, help=again)(command)
    return click.option("--resume", is_flag=True, help="Go on after the last finished stage.")(command)


def stage_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What to do with a stage that is finished."""
    again = "Run the stage anew even if it is finished; when it is done, the results of later stages are dropped."
    command = click.option("--overwrite", is_flag=True, help=again)(command)
    return click.option("--resume", is_flag=True, help="Do nothing if the stage is finished.")(command)


def read_configuration(
    system: str,
    seed: int | None = None,
    platform: str | None = None,
    device: str | None = None,
    workers: int | None = None,
    preset: Preset | None = None,
    geometry: str | None = None,
    denoiser: str | None = None,
    accuracy: str | None = None,
    max_evaluations: str | None = None,
    max_time: str | None = None,
    overrides: tuple[str, ...] = (),
) -> tuple[RunConfig, Path]:
    """The resolved configuration and the folder its file names are relative to."""
    chosen = {
        "hardware.platform": platform,
        "hardware.device": device,
        "hardware.workers": workers,
        "geodesic.geometry": geometry,
        "denoiser.kind": denoiser,
        "accuracy": accuracy,
        "max_evaluations": max_evaluations,
        "max_time": max_time,
    }
    assignments = tuple(f"{key}={value}" for key, value in chosen.items() if value is not None)
    file = find_system_file(system)
    return load_config(file, preset, seed, overrides + assignments), file.parent


def refuse_both(resume: bool, overwrite: bool) -> None:
    """--resume and --overwrite contradict each other."""
    if resume and overwrite:
        raise UserError("--resume and --overwrite contradict each other; give one of them.")


def say(text: str) -> None:
    """Tell the user how it goes, beside what is printed as a result; a run goes on if nobody listens any more."""
    with suppress(OSError, ValueError):
        click.echo(text, err=True)
