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

from spacetime_tps.errors import DamagedFileError, UserError
from spacetime_tps.files import write_bookkeeping
from spacetime_tps.ownership import PREVIOUS, PROMOTED, TEMPORARY_PREFIX, is_below, lies_within, noted, owned

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

        Raises:
            UserError: a link leads out of the folder, or one of ``done`` is there already and is not moved, so that it
                could not tell when the new results are whole.
        """
        names = list(names)
        journal = self._read() if self.waiting else self._new()
        new = [name for name in names if name not in journal["names"]]
        if led_out := [name for name in new if not lies_within(self._folder, name)]:
            raise UserError(f"{(self._folder / led_out[0]).parent} is a link that leads elsewhere; remove it.")
        if strangers := [name for name in done if name not in names and os.path.lexists(self._root / name)]:
            raise UserError(f"{self._root / strangers[0]} was not written by this run; move it elsewhere first.")
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

    def done(self) -> list[str]:
        """Names of the files with which the new results are whole."""
        return list(self._read()["done"]) if self.waiting else []

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

        The files that would say that the new results are whole return last, so that this can be interrupted, too:
        after whatever changed beside them.
        """
        if not self.waiting:
            return
        journal = self._read()
        self._take_back(journal)
        unfinished = {source for source, _ in journal["renamed"]}
        for name in noted(self._root)[journal["noted"] :]:
            if name not in journal["names"] and name.split("/")[0] not in unfinished:
                (self._root / name).unlink(missing_ok=True)
                prune(self._root, name)
        done = set(journal["done"])
        self._return(name for name in journal["names"] if name not in done)
        for name, text in journal["texts"].items():
            if not _holds(self._root / name, text):  # on a full disk nothing is written that need not be
                write_bookkeeping(self._root / name, text)
        self._return(name for name in journal["names"] if name in done)
        self._forget()

    def _take_back(self, journal: dict[str, Any]) -> None:
        """Give files of unfinished work the names back that they had before they were promoted."""
        for source, target in reversed(journal["renamed"]):
            for name in noted(self._root):
                ahead = target + name.removeprefix(source)
                returned = ahead in journal["names"] and not (self._folder / ahead).exists()  # an old one lies there
                if name.startswith(f"{source}/") and (self._root / ahead).is_file() and not returned:
                    move(self._root / ahead, self._root / name)
                    prune(self._root, ahead)

    def _return(self, names: Iterable[str]) -> None:
        for name in names:
            if (self._folder / name).is_file():
                move(self._folder / name, self._root / name)

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
            self._check(journal)
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise DamagedFileError(
                f"{self._folder / _JOURNAL} is damaged; {self._folder} holds the results that were being replaced: "
                f"move its files back to {self._root}."
            ) from error
        return dict(journal)

    def _check(self, journal: dict[str, Any]) -> None:
        """Files are moved, deleted and written by what a journal says: it may name none but the folder's own.

        Raises:
            ValueError: it does, or is not a journal.
        """
        own, files = owned(self._root), [*journal["names"], *journal["texts"].keys()]
        within = all(name in own and all(lies_within(f, name) for f in (self._root, self._folder)) for name in files)
        ahead = all(PROMOTED.get(source) == target for source, target in journal["renamed"])
        texts = all(isinstance(text, str) for text in journal["texts"].values())
        counted = isinstance(journal["noted"], int) and journal["noted"] >= 0
        if not (within and ahead and texts and counted and all(is_below(name) for name in journal["done"])):
            raise ValueError("not ours")

    def _write(self, journal: dict[str, Any]) -> None:
        self._folder.mkdir(exist_ok=True)
        write_bookkeeping(self._folder / _JOURNAL, json.dumps(journal))


def _holds(file: Path, text: str) -> bool:
    return file.is_file() and file.read_bytes() == text.encode()


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
