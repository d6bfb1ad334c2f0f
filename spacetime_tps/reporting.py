"""Where numbers go while a stage runs, beside its files: nowhere, or to TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from spacetime_tps.errors import UserError
from spacetime_tps.ownership import note_new

KINDS = ("none", "tensorboard")


class Reporter(Protocol):
    """Takes named numbers."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Numbers at a step, named ``stage/what``."""
        ...

    def close(self) -> None:
        """No more will come."""
        ...


class NullReporter:
    """Takes them and does nothing."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class TensorBoardReporter:
    """Writes event files that ``tensorboard --logdir`` shows."""

    def __init__(self, folder: Path):
        """``folder`` is made when the first numbers come.

        Raises:
            UserError: TensorBoard is not installed.
        """
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise UserError(
                "reporter: tensorboard needs TensorBoard; pip install 'spacetime-tps[tensorboard]'."
            ) from error
        self._make, self._folder = SummaryWriter, folder
        self._writer: SummaryWriter | None = None

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Write them."""
        if self._writer is None:
            before = set(self._folder.glob("*"))
            self._writer = self._make(str(self._folder))
            for file in set(self._folder.glob("*")) - before:
                note_new(file)
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Flush and close the file."""
        if self._writer is not None:
            self._writer.close()


def reporter_of(kind: str, folder: Path) -> Reporter:
    """The reporter of that kind; files go to ``folder``."""
    return TensorBoardReporter(folder) if kind == "tensorboard" else NullReporter()
