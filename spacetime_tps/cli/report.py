"""spacetime-tps report: one page that says what a run is worth."""

from __future__ import annotations

from pathlib import Path

import click

from spacetime_tps.cli.options import trust_option
from spacetime_tps.stages import REPORT, RunFolder, write_report


@click.command("report")
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--compare", "comparison", type=click.Path(path_type=Path), help="Output of 'compare' to show beside the run."
)
@trust_option
def command(out: Path, comparison: Path | None) -> None:
    """Write OUT/report.html: verdict, figures and a 3-D viewer of the paths, in one file without network access."""
    folder = RunFolder(out)
    with folder.locked(existing=True):
        write_report(folder, comparison)
    click.echo(f"report            {out / REPORT}")
