"""Where the command ``spacetime-tps`` begins: signals are taken care of before anything large is imported."""

from __future__ import annotations

from spacetime_tps.interruption import leave_at_once


def main() -> None:
    """Run the command."""
    leave_at_once()
    from spacetime_tps.cli.main import main as command

    command(prog_name="spacetime-tps")
