"""spacetime-tps compare: the geodesic against every baseline."""

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
from spacetime_tps.stages import check_beforehand, compare, stages_to_run
from spacetime_tps.systems import load_system


@click.command("compare")
@system_argument
@output_option
@click.option("--seeds", type=click.IntRange(min=1, max=100), default=3, show_default=True, help="Number of seeds.")
@configuration_options
@folder_options
def command(system: str, output: Path, seeds: int, resume: bool, overwrite: bool, **configuration: Any) -> None:
    """Run the geodesic, its baselines and transition path sampling for SYSTEM, and print the table."""
    refuse_both(resume, overwrite)
    config, source = read_configuration(system, **configuration)
    check_beforehand(config, load_system(config, source))
    compare(output, config, source, seeds, stages_to_run(config), resume, overwrite, say)
    click.echo((output / "compare.md").read_text(encoding="utf-8"), nl=False)
    click.echo(f"\nEverything: {output / 'compare.json'}")
