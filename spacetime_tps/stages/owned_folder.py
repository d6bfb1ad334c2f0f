"""A folder of ours: who may write in it, what in it is its own, and which run it is."""

from __future__ import annotations

import datetime
import fcntl
import json
import os
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

from spacetime_tps.errors import UserError
from spacetime_tps.files import digest_of, write_bookkeeping
from spacetime_tps.ownership import (
    FORMAT,
    IDENTITY,
    LEDGER,
    LOCK,
    LOG,
    PREVIOUS,
    TEMPORARY_PREFIX,
    Home,
    close_home,
    files_of,
    lies_within,
    note,
    open_home,
    owned,
)
from spacetime_tps.run_log import logged
from spacetime_tps.stages.previous import PreviousResults, move, prune

_PROGRAM, _DIGEST = "spacetime_tps", "sha256"


class OwnedFolder:
    """A folder with an identity, ``run.json``, and a list of its own files, ``files.txt``.

    Files are written to a temporary name and renamed. What the folder did not write is neither replaced nor deleted.
    """

    kind = "run"

    def __init__(self, path: Path):
        self.path = path
        self.previous = PreviousResults(path)
        self._while_locked: ExitStack | None = None
        self._logging = False
        self._opened = False

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    # --- identity --------------------------------------------------------------------------------

    def identity(self) -> dict[str, Any] | None:
        """What ``run.json`` says: ``run``, ``format``, ``written_by``, ``kind``, ``inputs``; None if there is none.

        Raises:
            UserError: it is damaged, or of a version that this one cannot read.
        """
        file = self / IDENTITY
        if not file.is_file():
            return None
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
            program, digest = found.pop(_PROGRAM), found.pop(_DIGEST)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise UserError(f"{file} is damaged or of another program; choose another folder with -o.") from error
        if found.get("format") != FORMAT:
            raise UserError(
                f"{self.path} was written by version {program} of spacetime_tps in the format {found.get('format')}, "
                f"and this version reads format {FORMAT}; open it with that version, or start a new run."
            )
        if digest != digest_of({_PROGRAM: program, **found}):
            raise UserError(f"{file} was changed after it was written; choose another folder with -o.")
        if not re.fullmatch("[0-9a-f]{32}", str(found.get("run"))) or not isinstance(found.get("inputs"), dict):
            raise UserError(f"{file} is damaged or of another program; choose another folder with -o.")
        if found.get("kind") != self.kind:
            raise UserError(f"{self.path} is the folder of a {found.get('kind')}, not of a {self.kind}.")
        return {**found, "written_by": program}

    def begin_identity(self, inputs: Mapping[str, str] | None = None) -> Home:
        """Give the folder a new identity.

        Args:
            inputs: digests of the files that it is given, by name.
        """
        content: dict[str, Any] = {
            _PROGRAM: version("spacetime-tps"),
            "format": FORMAT,
            "kind": self.kind,
            "run": uuid.uuid4().hex,
            "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "inputs": dict(inputs or {}),
        }
        write_bookkeeping(self / IDENTITY, json.dumps({**content, _DIGEST: digest_of(content)}, indent=2) + "\n")
        return self._begin_writing(content["run"])

    # --- opening ---------------------------------------------------------------------------------

    @contextmanager
    def locked(self, existing: bool = False) -> Iterator[None]:
        """Hold the folder for writing.

        Args:
            existing: refuse a folder that holds nothing yet.

        Raises:
            UserError: the folder cannot be written, is in use by another process, or holds what nobody of ours wrote.
        """
        there = self.path.is_dir()
        if existing or there:
            self._refuse_foreign(existing)
        try:
            with self._lock() as made, ExitStack() as while_locked:
                self._while_locked = while_locked
                while_locked.callback(self._leave, made)
                self._open()
                yield
        finally:
            if not there and self.path.is_dir() and not any(self.path.iterdir()):
                self.path.rmdir()

    def _open(self) -> None:
        """Finish what an earlier command left, if there was one; its folder is not touched before it is checked."""
        if (identity := self.identity()) is not None:
            self._refuse_links()
            self._begin_writing(identity["run"])
            self._remove_unfinished(identity["run"])
            self.previous.settle()

    def _begin_writing(self, run: str) -> Home:
        """What is written below the folder belongs to a run from now on, and is logged."""
        home, self._opened = open_home(self.path, run, writing=True), True
        if self._while_locked is not None and not self._logging:
            self._while_locked.enter_context(logged(self / LOG))
            self._logging = True
        return home

    def take_part(self) -> None:
        """What a worker writes below the folder, while another process of ours holds its lock, belongs to it, too."""
        if (identity := self.identity()) is not None:
            open_home(self.path, identity["run"], writing=True)

    def _leave(self, made: bool) -> None:
        """Settle what is unfinished; leave no trace in a folder that was refused."""
        opened, self._opened, self._logging = self._opened, False, False
        try:
            if opened:
                self.previous.settle()
            elif made and not (self / IDENTITY).is_file():
                (self / LOCK).unlink(missing_ok=True)
        finally:
            close_home(self.path)

    @contextmanager
    def _lock(self) -> Iterator[bool]:
        """Lock the folder; yields whether the file of the lock is new."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            made = not (self / LOCK).exists()
            lock: IO[str] = (self / LOCK).open("a")
        except OSError as error:
            raise UserError(
                f"The output folder {self.path} cannot be written ({error.strerror}); choose another with -o."
            ) from error
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise UserError(f"The run folder {self.path} is in use by another process; wait for it.") from error
            yield made

    def _refuse_foreign(self, existing: bool) -> None:
        """Leave a folder alone that holds files and has no identity.

        Raises:
            UserError: this is such a folder.
        """
        for name in (IDENTITY, LEDGER, LOCK, LOG, PREVIOUS):
            entry, wanted = self / name, "folder" if name == PREVIOUS else "file"
            right = entry.is_dir() if name == PREVIOUS else entry.is_file()
            if entry.is_symlink() or (entry.exists() and not right):
                raise UserError(f"{entry} is not a {wanted} that this {self.kind} wrote; remove it.")
        if self.identity() is not None:
            return
        present = sorted(entry.name for entry in self.path.iterdir()) if self.path.is_dir() else []
        foreign = [name for name in present if name not in (LOCK, f"{TEMPORARY_PREFIX}{IDENTITY}")]
        if "config.yaml" in foreign and "stages" in foreign:
            raise UserError(
                f"{self.path} was written by version 0.1 of spacetime_tps, whose folders this version does not read; "
                "open it with that version, or start a new run in another folder."
            )
        if existing:
            raise UserError(f"{self.path} is not a {self.kind} folder: it has no {IDENTITY}; start one with -o.")
        runs = [name for name in foreign if (self / name / IDENTITY).is_file()]
        if runs:
            raise UserError(
                f"The output folder {self.path} holds other runs ({runs[0]}); choose a folder of its own for this one, "
                f"such as {self / 'new'}."
            )
        if foreign:
            raise UserError(
                f"The output folder {self.path} holds files that no {self.kind} wrote ({foreign[0]}); choose another "
                "with -o."
            )

    def _refuse_links(self) -> None:
        """What is written, moved or deleted in the folder must lie in it, and all that we write is files.

        Raises:
            UserError: a link leads out of it, or a link, a pipe or a folder has the name of a file.
        """
        for name in sorted(owned(self.path)):
            entry = self / name
            if entry.is_symlink() or (entry.exists() and not entry.is_file()):
                raise UserError(f"{entry} is not a file, as this {self.kind} wrote it; move it elsewhere first.")
        for parent in sorted({os.path.dirname(name) for name in owned(self.path)}):
            if not lies_within(self.path, os.path.join(parent, "x")):
                raise UserError(
                    f"{self / parent} is a link that leads out of the {self.kind} folder; make it a folder."
                )

    def _remove_unfinished(self, run: str) -> None:
        """Delete temporary files of this run that a killed process left."""
        prefix = open_home(self.path, run, writing=True).temporary_prefix()
        own = [self / name for name in owned(self.path) if lies_within(self.path, name)]
        bookkeeping = {file.with_name(f"{TEMPORARY_PREFIX}{file.name}") for file in own if file.suffix != ".npz"}
        for folder in {file.parent for file in own if file.parent.is_dir()}:
            for entry in folder.iterdir():
                ours = entry.name.startswith(prefix) or entry in bookkeeping
                if ours and entry.is_file() and not entry.is_symlink():
                    entry.unlink()

    # --- what is its own --------------------------------------------------------------------------

    def own(self, *within: str) -> list[str]:
        """Names of its own files that are there; with ``within``, of those in these folders or with these names."""
        return [name for part in within or ("",) for name in files_of(self.path, part)]

    def drop(self, *within: str) -> None:
        """Delete its own files in folders, or with these names, and the folders that are empty then."""
        for name in self.own(*within):
            (self / name).unlink(missing_ok=True)
            prune(self.path, name)

    def promote(self, source: str, target: str) -> None:
        """Give the files of finished work their final names; what these replace must have been set aside."""
        last = set(self.previous.done())
        names = sorted(self.own(source), key=lambda name: target + name.removeprefix(source) in last)
        ahead = {name: target + name.removeprefix(source) for name in names}
        self.refuse_strangers(ahead.values())
        note(self.path, set(ahead.values()))
        self.previous.promoting(source, target)
        for name in names:
            move(self / name, self / ahead[name])
            prune(self.path, name)

    def refuse_strangers(self, names: Iterable[str]) -> None:
        """Make sure that what is to be written replaces nothing of somebody else.

        Raises:
            UserError: one of the files is there and was not written by this folder's run.
        """
        own = owned(self.path)
        for name in names:
            if not lies_within(self.path, name):
                raise UserError(
                    f"{(self / name).parent} is a link that leads out of the {self.kind} folder; make it a folder."
                )
            if name not in own and os.path.lexists(self / name):
                raise UserError(f"{self / name} was not written by this {self.kind}; move it elsewhere first.")
