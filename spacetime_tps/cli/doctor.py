"""spacetime-tps doctor: what this machine has and how fast it is."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

import click
import torch

from spacetime_tps.cli.options import trust_option
from spacetime_tps.errors import UserError
from spacetime_tps.parallel import available_cores
from spacetime_tps.stages.hardware import TOGETHER, survey_hardware
from spacetime_tps.systems import find_system_file, load_config, load_system


@click.command("doctor")
@click.argument("system", default="alanine_dipeptide")
@trust_option
def command(system: str) -> None:
    """Print versions, OpenMM platforms with their measured speed on SYSTEM (a name, a folder or a YAML file), torch
    devices, and what a run would use."""
    file = find_system_file(system)
    loaded = load_system(load_config(file), file.parent)
    if loaded.molecule is None:
        raise UserError(f"{loaded.config.name} is an analytic potential, and OpenMM simulates molecules; name one.")
    for package in ("spacetime-tps", "torch", "openmm", "mdtraj", "MDAnalysis", "numpy", "pymbar"):
        try:
            click.echo(f"{package:16s}{version(package)}")
        except PackageNotFoundError:
            click.echo(f"{package:16s}not installed")
    click.echo(f"{'cores':16s}{available_cores()}")
    devices = ["cpu"] + [f"cuda:{k} ({torch.cuda.get_device_name(k)})" for k in range(torch.cuda.device_count())]
    click.echo(f"{'torch devices':16s}{', '.join(devices)}")
    found = survey_hardware(loaded)
    click.echo(f"OpenMM platforms ({loaded.config.name}, {len(loaded.structures[0])} atoms), steps/s:")
    click.echo(f"  {'':14s}{'devices':>8s}{'alone':>12s}{f'{TOGETHER} copies':>12s}")
    for platform in found.platforms:
        alone, together = ("-" if speed is None else f"{speed:,.0f}" for speed in (platform.alone, platform.together))
        told = "does not run here" if platform.alone is None else f"{alone:>12s}{together:>12s}"
        click.echo(f"  {platform.name:14s}{platform.devices or '-':>8}{told}")
    click.echo(
        f"{'a run uses':16s}{found.platform}, {found.workers} workers, "
        + (f"up to {found.copies} copies in a Context" if found.copies > 1 else "one molecule in a Context")
        + f"; torch on {found.device}"
    )
