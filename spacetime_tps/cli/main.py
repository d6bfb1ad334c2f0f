"""The command ``spacetime-tps`` and how it says that something went wrong."""

from __future__ import annotations

import logging
import re
import signal
import sys
from concurrent.futures.process import BrokenProcessPool
from importlib.metadata import version
from typing import Any, NoReturn

import click

from spacetime_tps.errors import UserError
from spacetime_tps.parallel import leave_at_once

_INTERRUPTED = 130
_NO_MEMORY = (
    "Not enough memory; lower what is largest of hardware.workers, denoiser.reference_samples, denoiser.batch_size, "
    "geodesic.points, geodesic.starts and geodesic.fine_factor."
)


class _Commands(click.Group):
    """Imports a verb's module when it is called, and turns failures into one sentence each."""

    stage_verbs = ("train", "geodesic", "refine", "paths", "windows", "export")
    later_verbs = ("shoot", "committor", "report", "compare", "distance", "config", "doctor")
    verbs = ("init", "run", "sample", *stage_verbs, *later_verbs)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.verbs)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in self.verbs:
            return None
        if name in self.stage_verbs:
            from spacetime_tps.cli import stage

            return stage.command(name)
        import importlib

        return importlib.import_module(f"spacetime_tps.cli.{name}").command

    def invoke(self, ctx: click.Context) -> Any:
        signal.signal(signal.SIGTERM, _terminate)
        try:
            return super().invoke(ctx)
        except UserError as error:
            _fail(str(error))
        except KeyboardInterrupt:
            _fail(f"Interrupted; {self._going_on(ctx)}.", _INTERRUPTED)
        except BrokenProcessPool:
            _fail("A worker process was killed (out of memory?); free some memory and use --resume to go on.")
        except MemoryError:
            _fail(_NO_MEMORY)
        except OSError as error:
            _fail(f"{error.filename or 'A file'} could not be read or written: {error.strerror or error}.")
        except RuntimeError as error:  # torch has no MemoryError
            if not re.search("allocate memory|out of memory", str(error)):
                raise
            _fail(_NO_MEMORY)
        except Exception as error:
            if type(error).__name__ != "OpenMMException":
                raise
            _fail(f"OpenMM stopped: {' '.join(str(error).split())}; check the structures and the time step.")

    def _going_on(self, ctx: click.Context) -> str:
        command = self.get_command(ctx, ctx.invoked_subcommand or "")
        if command is None or all(option.name != "resume" for option in command.params):
            return "nothing of it was kept"
        return "the same command with --resume goes on from what is finished"


def _terminate(*_: Any) -> NoReturn:
    raise KeyboardInterrupt


def _fail(message: str, code: int = 1) -> NoReturn:
    """Say it and leave at once."""
    click.echo(f"Error: {message}", err=True)
    sys.stdout.flush()
    sys.stderr.flush()
    leave_at_once(code)


@click.command(cls=_Commands)
@click.version_option(version("spacetime-tps"), prog_name="spacetime-tps")
@click.option("-v", "--verbose", is_flag=True, help="Log what happens.")
def main(verbose: bool) -> None:
    """Molecular transition paths from the spacetime geometry of diffusion models.

    Start with: spacetime-tps run alanine_dipeptide -o runs/alanine_dipeptide
    """
    level = logging.INFO if verbose else logging.WARNING
    logging.basicConfig(level=level, format="%(levelname)s: %(message)s", stream=sys.stderr)
