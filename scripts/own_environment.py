"""Virtual environments of their own for packages that do not go with ours; imported by the scripts that need them."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path


def own_environment(folder: Path, *installs: list[str | Path]) -> Path:
    """The Python of a virtual environment, made if need be.

    Args:
        folder: of the environment; refused if it holds anything else.
        installs: arguments of ``pip install``, call by call.
    """
    folder = folder.resolve()
    python, ready = folder / "bin/python", folder / ".ready"
    if ready.is_file():
        return python
    if folder.exists() and not folder.is_dir():
        sys.exit(f"{folder} is a file; name an empty or new folder.")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "pyvenv.cfg").is_file():
        sys.exit(f"{folder} holds something that is no virtual environment; name an empty or new folder.")
    venv.create(folder, with_pip=True, clear=True)
    for arguments in installs:
        subprocess.run([python, "-m", "pip", "install", "--quiet", *arguments], check=True)
    ready.touch()
    return python
