"""An example of a package that brings spacetime_tps a system, a potential and a denoiser."""

from pathlib import Path

FOLDER = Path(__file__).parent / "three_wells"
"""Of the system: its system.yaml, and the files that it names."""
