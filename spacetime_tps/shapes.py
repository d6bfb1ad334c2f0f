"""Whether arrays read from a file can be what was written there: shapes that fit together, finite numbers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from spacetime_tps.errors import DamagedFileError


def check_shapes(file: Path, arrays: Mapping[str, np.ndarray], again: str, **shapes: tuple[int | str, ...]) -> None:
    """Refuse arrays whose shapes contradict what they should be, or each other.

    Args:
        file: they come from, for messages.
        arrays: by name.
        again: what makes the file anew, such as "run 'paths' again with --overwrite".
        shapes: of each array, numbers or letters; the same letter means the same number everywhere, and ``...`` at the
            end of a shape anything. A letter in capitals stands for two or more.

    Raises:
        DamagedFileError: an array is missing, or does not fit.
    """
    sizes: dict[str, int] = {}
    for name, wanted in shapes.items():
        if name not in arrays:
            raise DamagedFileError(f"{file} lacks the array {name!r}; {again}.")
        found = arrays[name].shape
        open_ended = wanted[-1:] == ("...",)
        axes = wanted[:-1] if open_ended else wanted
        fits = len(found) >= len(axes) if open_ended else len(found) == len(axes)
        for axis, size in zip(axes, found, strict=False):
            known = axis if isinstance(axis, int) else sizes.setdefault(axis, size)
            fits = fits and size == known and not (isinstance(axis, str) and axis.isupper() and size < 2)
        if not fits:
            shown = ", ".join(str(sizes.get(axis, axis)) if isinstance(axis, str) else str(axis) for axis in wanted)
            raise DamagedFileError(
                f"{file} is damaged: {name!r} has the shape {found}, which does not fit ({shown}); {again}."
            )


def check_finite(file: Path, arrays: Mapping[str, np.ndarray], again: str, *names: str) -> None:
    """Refuse arrays with a number that is not finite, or that are not numbers.

    Raises:
        DamagedFileError: naming the array.
    """
    for name in names:
        kind = arrays[name].dtype.kind
        if kind not in "biuf" or not np.isfinite(arrays[name]).all():
            raise DamagedFileError(f"{file} is damaged: {name!r} holds numbers that are not finite; {again}.")
