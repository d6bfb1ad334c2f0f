"""spacetime-tps train | geodesic | paths | export: one stage of a run that exists."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from spacetime_tps.cli.options import geometry_option, refuse_both, say, set_option, stage_options, trust_option
from spacetime_tps.cli.summary import print_summary
from spacetime_tps.errors import UserError
from spacetime_tps.stages import (
    STAGE_FUNCTIONS,
    STAGES,
    RunFolder,
    check_beforehand,
    conclude,
    run_stages,
)
from spacetime_tps.systems import load_system

_HELP = {
    "train": "Train the denoiser on the samples in the run folder OUT.",
    "geodesic": "Find the geodesics of all channels in the run folder OUT.",
    "refine": "Let restrained windows correct the denoiser and the geodesic in the run folder OUT, round by round.",
    "paths": "Anneal all-atom paths along the chosen geodesic in the run folder OUT.",
    "windows": "Measure the posteriors along the geodesic in the run folder OUT by restrained simulations.",
    "transitions": "Shoot across the ridge in the run folder OUT: unguided transition paths and rate constants.",
    "export": "Write trajectories, tables, figures and the summary of the run folder OUT.",
}


def command(name: str) -> click.Command:
    """The command of one stage."""

    @click.command(name, help=_HELP[name])
    @click.argument("out", type=click.Path(path_type=Path))
    @stage_options
    @set_option
    @trust_option
    @_geometry_of(name)
    def run_one(
        out: Path, resume: bool, overwrite: bool, overrides: tuple[str, ...], geometry: str | None = None
    ) -> None:
        refuse_both(resume, overwrite)
        if geometry is not None:
            overrides = (*overrides, f"geodesic.geometry={geometry}")
        folder = RunFolder(out)
        with folder.locked(existing=True):
            if folder.reached(name) and not (resume or overwrite):
                raise UserError(
                    f"The stage {name!r} of {out} or one behind it is finished; --overwrite runs it and drops what "
                    "came after."
                )
            if overrides and resume:
                raise UserError("--resume goes on with the settings as they are; leave out --set and --geometry.")
            config = folder.changed(name, overrides)
            check_beforehand(config, load_system(config, out))
            run_stages(folder, config, {name: STAGE_FUNCTIONS[name]}, conclude=conclude, say=say, again=overwrite)
        if name == STAGES[-1]:
            print_summary(folder)

    return run_one


def _geometry_of(name: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The option of the one stage that has it."""
    return geometry_option if name == "geodesic" else lambda run: run
