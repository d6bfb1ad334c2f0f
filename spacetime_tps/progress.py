"""Progress bars: on a terminal a bar, in a pipe nothing."""

from __future__ import annotations

import multiprocessing
import sys

from tqdm import tqdm


def progress_bar(total: float, description: str, unit: str = "it") -> tqdm:
    """A tqdm bar on standard error, silent unless that is a terminal; a worker process leaves it to its parent."""
    silent = not sys.stderr.isatty() or multiprocessing.parent_process() is not None
    return tqdm(total=total, desc=description, unit=unit, unit_scale=True, leave=False, disable=silent)
