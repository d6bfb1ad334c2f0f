"""The command ``spacetime-tps`` and how it says that something went wrong."""

from __future__ import annotations

import errno
import logging
import sys
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from importlib.metadata import version
from typing import Any, NoReturn

import click

from spacetime_tps.errors import UserError, in_short, printable, ran_out_of_memory
from spacetime_tps.interruption import EXIT_CODE, leaving_at_once, raise_if_interrupted, was_interrupted, watch
from spacetime_tps.parallel import leave_at_once

_NO_MEMORY = "Not enough memory; close other programs, or lower hardware.workers."
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class _Commands(click.Group):
    """Imports a verb's module when it is called, and turns failures into one sentence each."""

    stage_verbs = ("train", "geodesic", "refine", "paths", "windows", "transitions", "export")
    later_verbs = ("shoot", "committor", "report", "compare", "distance", "config", "doctor")
    resumable = ("run", "sample", "shoot", "compare")
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

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Read the options before the verb."""
        with _in_short():
            return super().make_context(info_name, args, parent, **extra)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Find the verb, whose module imports torch and OpenMM."""
        with leaving_at_once():
            return super().resolve_command(ctx, args)

    def main(self, *args: Any, **settings: Any) -> Any:
        """Run the command; what it prints before there is a verb can fail, too."""
        try:
            return super().main(*args, **settings)
        except OSError as error:
            _fail(self._words_of(error, ""))

    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb; whatever goes wrong is one sentence."""
        watch()
        try:
            with _in_short():
                result = super().invoke(ctx)
            raise_if_interrupted()
            _flush()
            return result
        except UserError as error:
            _fail(str(error))
        except KeyboardInterrupt:
            _fail(f"Interrupted; {self._going_on(ctx)}.", EXIT_CODE)
        except BrokenProcessPool:
            _fail("A worker process was killed (out of memory?); free some memory and use --resume to go on.")
        except BrokenPipeError:
            _fail("Standard output was closed, so the rest of the result could not be printed.")
        except OSError as error:
            _fail(self._words_of(error, ctx.invoked_subcommand or ""))
        except (MemoryError, RuntimeError) as error:  # torch has no MemoryError
            if not ran_out_of_memory(error):
                raise
            _fail(_NO_MEMORY)
        except Exception as error:
            if was_interrupted():  # a library has made another exception of it
                _fail(f"Interrupted; {self._going_on(ctx)}.", EXIT_CODE)
            if type(error).__name__ != "OpenMMException":
                raise
            _fail(f"OpenMM stopped: {str(error).rstrip('.')}; check the structures and the time step.")

    def _words_of(self, error: OSError, verb: str) -> str:
        file = error.filename or "a file or standard output"
        if error.errno in _DISK_FULL:
            again = "give the same command " + ("with --resume" if verb in self.resumable else "again")
            return f"The disk is full: {file} could not be written; free some space, then {again}."
        return f"{file} could not be read or written ({error.strerror or error}); check that it is there and allowed."

    def _going_on(self, ctx: click.Context) -> str:
        verb = ctx.invoked_subcommand or ""
        if verb in self.resumable:
            return "the same command with --resume goes on from what is finished"
        if verb in (*self.stage_verbs, "committor", "report"):
            return "earlier results are kept; the same command begins again"
        return "nothing was changed"


@contextmanager
def _in_short() -> Iterator[None]:
    """What click says of a wrong option repeats it, however long it is."""
    try:
        yield
    except click.ClickException as error:
        error.message = in_short(error.message)  # type: ignore[misc]
        raise


def _flush() -> None:
    """Write out what was printed, while an error can still be noticed."""
    if sys.stdout is not None:
        sys.stdout.flush()


def _fail(message: str, code: int = 1) -> NoReturn:
    """Say it in one line and leave at once."""
    with suppress(OSError, ValueError):
        click.echo(f"Error: {in_short(printable(message))}", err=True)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
    leave_at_once(code)


@click.command(cls=_Commands)
@click.version_option(version("spacetime-tps"), prog_name="spacetime-tps")
@click.option("-v", "--verbose", is_flag=True, help="Log what happens.")
def main(verbose: bool) -> None:
    """Molecular transition paths from the spacetime geometry of diffusion models.

    Start with: spacetime-tps run alanine_dipeptide -o runs/alanine_dipeptide
    """
    level = logging.INFO if verbose else logging.WARNING
    logging.raiseExceptions = False
    logging.basicConfig(level=level, format="%(levelname)s: %(message)s", stream=sys.stderr)
