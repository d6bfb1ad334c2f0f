"""Finished parts of an unfinished stage. If the stage is interrupted, the next attempt uses them."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

from spacetime_tps.config import GOALS, RunConfig, dump
from spacetime_tps.errors import DamagedFileError
from spacetime_tps.files import digest_of_file, read_json, replacing, write_json, write_text
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
        without_goals = config.model_copy(update=dict.fromkeys(GOALS))
        settings, stamp = hashlib.sha256(dump(without_goals).encode()).hexdigest(), self.path / _SETTINGS
        if _text_of(stamp) != settings:
            self.drop()
            write_text(stamp, settings + "\n")

    def __truediv__(self, part: str) -> Path:
        return self.path / part

    def take_from(self, finished: str) -> None:
        """Begin with copies of the parts that a finished stage left in another folder, if its settings were the same.

        They stay there, too: this attempt may fail.
        """
        folder = self.run / finished
        if any(self.path.glob("*.kept.json")) or _text_of(folder / _SETTINGS) != _text_of(self.path / _SETTINGS):
            return
        names = self.run.own(finished)
        for name in sorted(names, key=lambda each: each.endswith(".kept.json")):
            target = self.run / f"{self.name}{name.removeprefix(finished)}"
            target.parent.mkdir(parents=True, exist_ok=True)
            with replacing(target) as temporary:
                temporary.write_bytes((self.run / name).read_bytes())

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


def _text_of(file: Path) -> str | None:
    return file.read_text(encoding="utf-8", errors="replace").strip() if file.is_file() else None
