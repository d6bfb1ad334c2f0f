"""spacetime-tps sample: the first stage of a new run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from spacetime_tps.cli.options import configuration_options, folder_options, output_option, system_argument
from spacetime_tps.cli.run import start


@click.command("sample")
@system_argument
@output_option
@configuration_options
@folder_options
def command(system: str, output: Path, resume: bool, overwrite: bool, **configuration: Any) -> None:
    """Draw Boltzmann samples of SYSTEM; go on with train, geodesic, paths and export."""
    start(system, output, "sample", resume, overwrite, configuration)
