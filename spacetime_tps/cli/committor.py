"""spacetime-tps committor: which state fresh trajectories from frames reach first."""

from __future__ import annotations

from pathlib import Path

import click

from spacetime_tps.cli.options import say, set_option, trust_option
from spacetime_tps.stages import RunFolder, check_beforehand, committor_in
from spacetime_tps.systems import load_system


@click.command("committor")
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--frames", type=click.Path(path_type=Path), help="Trajectory of frames; default: the annealed paths at the top."
)
@click.option("--along", is_flag=True, help="Of the annealed paths frames between the states, along the whole curve.")
@click.option("--shots", type=click.IntRange(2, 10**6), help="Trajectories from each frame; default 50.")
@click.option("--overwrite", is_flag=True, help="Drop earlier committors.")
@set_option
@trust_option
def command(
    out: Path, frames: Path | None, along: bool, shots: int | None, overwrite: bool, overrides: tuple[str, ...]
) -> None:
    """Shoot from frames with fresh velocities and count which state is reached first, in the run folder OUT."""
    if along and frames is not None:
        raise click.UsageError("--along takes frames of the annealed paths; give either it or --frames.")
    if shots is not None:
        overrides = (*overrides, f"committor.shots={shots}")
    folder = RunFolder(out)
    with folder.locked(existing=True):
        config = folder.changed("export", overrides)
        check_beforehand(config, load_system(config, out))
        committor_in(folder, config, frames, overwrite, say, along)
    click.echo(f"Everything: {out / 'committor/committor.json'}")
