"""spacetime-tps distance: diffusion edit distances between configurations."""

from __future__ import annotations

from pathlib import Path

import click

from spacetime_tps.cli.options import trust_option
from spacetime_tps.errors import UserError
from spacetime_tps.files import read_json, write_json
from spacetime_tps.inputs import regular_file
from spacetime_tps.stages import RunFolder, distances_between

_KEYS = {"labels", "distance", "log_snr_end"}


@click.command("distance")
@click.argument("files", metavar="A.pdb B.pdb [MORE.pdb]...", nargs=-1, type=click.Path(path_type=Path))
@click.option("--run", "run", required=True, type=click.Path(path_type=Path), help="Run folder with a denoiser.")
@click.option("--log-snr-end", type=float, default=5.0, show_default=True, help="Level of the configurations.")
@click.option("--json", "output", type=click.Path(path_type=Path), help="Also write the matrix to this file.")
@trust_option
def command(files: tuple[Path, ...], run: Path, log_snr_end: float, output: Path | None) -> None:
    """Print the matrix of spacetime distances between PDB files under the denoiser of a run."""
    if len(files) < 2:
        raise UserError("distance compares two PDB files or more; give at least two.")
    if output is not None:
        _check_output(output)
    labels = [file.stem for file in files]
    if len(set(labels)) < len(labels):
        labels = [str(file) for file in files]
    if len(set(labels)) < len(labels):
        raise UserError("A file is given twice; name each once.")
    matrix = distances_between(RunFolder(run), list(files), log_snr_end)
    width = max(10, *(len(label) + 2 for label in labels))
    click.echo(" " * width + "".join(f"{label:>{width}s}" for label in labels))
    for label, row in zip(labels, matrix, strict=True):
        click.echo(f"{label:<{width}s}" + "".join(f"{value:>{width}.3f}" for value in row))
    click.echo(f"Fisher-Rao length at log-SNR {log_snr_end:g}")
    if output is not None:
        write_json(output, {"labels": labels, "distance": matrix, "log_snr_end": log_snr_end})


def _check_output(file: Path) -> None:
    """Refuse to write where there is no folder, or over anything but an earlier matrix."""
    if not file.parent.is_dir():
        raise UserError(f"The folder {file.parent} of --json is not there; make it first.")
    if not file.exists():
        return
    try:
        content = read_json(regular_file(file))
    except UserError:
        content = None
    if not isinstance(content, dict) or set(content) != _KEYS:
        raise UserError(f"--json {file} is there and no matrix of distances; give another name.")
