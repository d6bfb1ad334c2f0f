"""spacetime-tps config: the configuration as it would be used."""

from __future__ import annotations

from typing import Any

import click

from spacetime_tps.cli.options import configuration_options, read_configuration, system_argument
from spacetime_tps.config import dump
from spacetime_tps.stages import check_selectors
from spacetime_tps.systems import load_system


@click.command("config")
@system_argument
@configuration_options
def command(system: str, **configuration: Any) -> None:
    """Print the resolved configuration of SYSTEM as YAML."""
    config, folder = read_configuration(system, **configuration)
    check_selectors(config, load_system(config, folder))
    click.echo(dump(config), nl=False)
