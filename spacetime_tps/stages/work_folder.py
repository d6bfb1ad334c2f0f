"""Finished parts of an unfinished stage. If the stage is interrupted, the next attempt uses them."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

from spacetime_tps.config import RunConfig, dump
from spacetime_tps.errors import DamagedFileError
from spacetime_tps.files import digest_of_file, read_json, write_json, write_text
from spacetime_tps.stages.owned_folder import OwnedFolder

logger = logging.getLogger(__name__)

_SETTINGS = "settings.txt"
"""Holds the digest of the settings that the parts were made with."""


class WorkFolder:
    """A folder within a run's, empty if what it held was made with other settings.

    A part is a file, or a folder, and counts once it is kept. One that is not as it was kept is made again.
    """

    def __init__(self, run: OwnedFolder, name: str, config: RunConfig) -> None:
        self.run, self.name, self.path = run, name, run / name
        settings, stamp = hashlib.sha256(dump(config).encode()).hexdigest(), self.path / _SETTINGS
        if not stamp.is_file() or stamp.read_text(encoding="utf-8", errors="replace").strip() != settings:
            self.drop()
            write_text(stamp, settings + "\n")

    def __truediv__(self, part: str) -> Path:
        return self.path / part

    def keep(self, part: str) -> None:
        """Mark a part as finished, with digests of its files."""
        names = self.run.own(f"{self.name}/{part}")
        write_json(self._mark(part), {name: digest_of_file(self.run / name) for name in names})

    def kept(self, part: str) -> bool:
        """Whether a part is finished and as it was kept; if it is not, it is deleted."""
        mark = self._mark(part)
        try:
            digests = read_json(mark) if mark.is_file() else {}
            if isinstance(digests, dict) and digests and all(self._is_as_kept(*each) for each in digests.items()):
                return True
        except DamagedFileError:
            digests = None
        if digests != {}:
            logger.warning("%s is not as it was left, and is made again", self / part)
        self.run.drop(f"{self.name}/{part}", f"{self.name}/{mark.name}")
        return False

    def drop(self) -> None:
        """Delete all of it."""
        self.run.drop(self.name)

    def _mark(self, part: str) -> Path:
        return self.path / f"{part}.kept.json"

    def _is_as_kept(self, name: str, digest: str) -> bool:
        return (self.run / name).is_file() and digest_of_file(self.run / name) == digest
