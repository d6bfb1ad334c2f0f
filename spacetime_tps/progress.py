"""Progress bars: on a terminal a bar, in a pipe nothing."""

from __future__ import annotations

import sys

from tqdm import tqdm


def progress_bar(total: float, description: str, unit: str = "it") -> tqdm:
    """A tqdm bar on standard error, silent unless that is a terminal."""
    return tqdm(total=total, desc=description, unit=unit, unit_scale=True, leave=False, disable=not sys.stderr.isatty())
