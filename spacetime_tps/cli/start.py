"""Where the command ``spacetime-tps`` begins: signals and surroundings, before anything large is imported."""

from __future__ import annotations

import os
import sys

from spacetime_tps.interruption import leave_at_once


def main() -> None:
    """Run the command."""
    leave_at_once()
    try:
        os.getcwd()
    except FileNotFoundError:  # libraries could not be loaded
        sys.exit("Error: The working folder has been deleted; change to one that exists.")
    os.environ["MPLBACKEND"] = "agg"  # figures are written to files, whatever else a shell may be set up for
    from spacetime_tps.cli.main import main as command

    command(prog_name="spacetime-tps")
