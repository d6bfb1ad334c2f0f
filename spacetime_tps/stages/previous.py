"""Results that are being replaced: they wait in a folder of their own until the new ones are whole.

A journal says which files were moved there and which new ones have to be there before the old may go. Whatever ends a
command, the next one that opens the folder either removes the old results or puts them back.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from spacetime_tps.errors import DamagedFileError
from spacetime_tps.files import write_bookkeeping
from spacetime_tps.ownership import PREVIOUS, TEMPORARY_PREFIX, noted

_JOURNAL = "journal.json"


class PreviousResults:
    """The results that wait in a run folder."""

    def __init__(self, root: Path):
        self._root = root
        self._folder = root / PREVIOUS

    @property
    def waiting(self) -> bool:
        """Whether there are any."""
        return (self._folder / _JOURNAL).is_file()

    def set_aside(self, names: Iterable[str], done: Sequence[str], texts: dict[str, str] | None = None) -> None:
        """Move files away, until ``done`` are all there again.

        Args:
            names: of the files, relative to the run folder.
            done: names of the files with which the new results are whole.
            texts: contents of files that stay where they are and will be changed, by name.
        """
        journal = self._read() if self.waiting else self._new()
        new = [name for name in names if name not in journal["names"]]
        done = [*journal["done"], *done]
        new.sort(key=lambda name: name not in done)  # as long as one of them is there, nothing else has been moved
        journal |= {
            "names": [*journal["names"], *new],
            "done": list(dict.fromkeys(done)),
            "texts": {**(texts or {}), **journal["texts"]},
        }
        self._write(journal)
        try:
            for name in new:
                move(self._root / name, self._folder / name)
        except OSError:
            self.put_back()
            raise

    def promoting(self, source: str, target: str) -> None:
        """Note that the files of a folder are about to get their final names."""
        if self.waiting:
            journal = self._read()
            self._write({**journal, "renamed": [*journal["renamed"], [source, target]]})

    def remove(self) -> None:
        """The new results are whole: the old ones go."""
        if not self.waiting:
            return
        journal = self._read()
        for name in journal["names"]:
            (self._folder / name).unlink(missing_ok=True)
            prune(self._root, name)
        self._forget()

    def put_back(self) -> None:
        """The new results have not become whole: what there is of them goes, and the old ones return.

        The files that would say that the new results are whole return last, so that this can be interrupted, too.
        """
        if not self.waiting:
            return
        journal = self._read()
        unfinished = {source for source, _ in journal["renamed"]}
        for source, target in reversed(journal["renamed"]):
            for name in noted(self._root):
                ahead = target + name.removeprefix(source)
                if name.startswith(f"{source}/") and (self._root / ahead).is_file():
                    move(self._root / ahead, self._root / name)
                    prune(self._root, ahead)
        for name in noted(self._root)[journal["noted"] :]:
            if name not in journal["names"] and name.split("/")[0] not in unfinished:
                (self._root / name).unlink(missing_ok=True)
                prune(self._root, name)
        for name in sorted(journal["names"], key=lambda name: name in journal["done"]):
            if (self._folder / name).is_file():
                move(self._folder / name, self._root / name)
        for name, text in journal["texts"].items():
            write_bookkeeping(self._root / name, text)
        self._forget()

    def settle(self) -> None:
        """Finish what an interrupted command left: remove the old results, or put them back."""
        if not self.waiting:
            self._forget()
            return
        journal = self._read()
        held = any((self._folder / name).exists() for name in journal["names"])
        if not held and not journal["texts"] and not journal["renamed"]:
            self._forget()
        elif all((self._root / name).is_file() for name in journal["done"]):
            self.remove()
        else:
            self.put_back()

    def _forget(self) -> None:
        """Remove the journal and the folders that are empty now; a file that nobody knows stays."""
        for file in (self._folder / _JOURNAL, self._folder / f"{TEMPORARY_PREFIX}{_JOURNAL}"):
            file.unlink(missing_ok=True)
        for folder, _, _ in os.walk(self._folder, topdown=False):
            if not any(os.scandir(folder)):
                os.rmdir(folder)

    def _new(self) -> dict[str, Any]:
        return {"names": [], "done": [], "noted": len(noted(self._root)), "texts": {}, "renamed": []}

    def _read(self) -> dict[str, Any]:
        try:
            journal = json.loads((self._folder / _JOURNAL).read_text(encoding="utf-8"))
            if not {"names", "done", "noted", "texts", "renamed"} <= set(journal):
                raise ValueError("incomplete")
        except (OSError, ValueError, TypeError) as error:
            raise DamagedFileError(
                f"{self._folder / _JOURNAL} is damaged; {self._folder} holds the results that were being replaced: "
                f"move its files back to {self._root}."
            ) from error
        return dict(journal)

    def _write(self, journal: dict[str, Any]) -> None:
        self._folder.mkdir(exist_ok=True)
        write_bookkeeping(self._folder / _JOURNAL, json.dumps(journal))


def move(source: Path, target: Path) -> None:
    """Rename a file, into a folder that need not be there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    os.replace(source, target)


def prune(root: Path, name: str) -> None:
    """Remove the folders of a file that are empty now."""
    for parent in (root / name).parents:
        if parent == root or not parent.is_dir() or any(parent.iterdir()):
            return
        parent.rmdir()
