"""spacetime-tps doctor: what this machine has and how fast it is."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

import click
import torch

from spacetime_tps.dynamics import available_platforms, time_platforms
from spacetime_tps.parallel import available_cores
from spacetime_tps.systems import find_system_file, load_config, load_system


@click.command("doctor")
def command() -> None:
    """Print versions, OpenMM platforms with their measured speed, and torch devices."""
    for package in ("spacetime-tps", "torch", "openmm", "mdtraj", "MDAnalysis", "numpy", "pymbar"):
        try:
            click.echo(f"{package:16s}{version(package)}")
        except PackageNotFoundError:
            click.echo(f"{package:16s}not installed")
    click.echo(f"{'cores':16s}{available_cores()}")
    file = find_system_file("alanine_dipeptide")
    system = load_system(load_config(file), file.parent)
    assert system.molecule is not None
    speeds = time_platforms(system.molecule.dynamics, system.structures[0])
    click.echo("OpenMM platforms (alanine dipeptide, 22 atoms, vacuum, one thread):")
    for name in available_platforms():
        speed = f"{speeds[name]:>12,.0f} steps/s" if name in speeds else "   does not run here"
        click.echo(f"  {name:14s}{speed}")
    devices = ["cpu"] + [f"cuda:{k} ({torch.cuda.get_device_name(k)})" for k in range(torch.cuda.device_count())]
    click.echo(f"{'torch devices':16s}{', '.join(devices)}")
