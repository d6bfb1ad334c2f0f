"""The run folder: its configuration, which stages are finished, and whether what they left is as they left it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Any

from spacetime_tps.config import GOALS, RunConfig, TrajectoriesConfig, dump, validate
from spacetime_tps.errors import DamagedFileError, UserError
from spacetime_tps.files import digest_of, digest_of_file, plain, read_json, replacing, write_json, write_text
from spacetime_tps.ownership import FORMAT, IDENTITY, LEDGER, LOCK, LOG, open_home
from spacetime_tps.settings import apply_override, read_yaml
from spacetime_tps.stages.inputs import contents_of, with_inputs
from spacetime_tps.stages.owned_folder import OwnedFolder

STAGES = ("sample", "train", "geodesic", "refine", "paths", "windows", "transitions", "export")
CONFIG, SUMMARY, REPORT = "config.yaml", "summary.json", "report.html"
_UNTOUCHED = (IDENTITY, LEDGER, LOCK, LOG)
"""What stays when a run is deleted for a new one."""
_FIRST_USED = {
    "accuracy": "refine",
    "max_evaluations": "refine",
    "max_time": "refine",
    "denoiser": "train",
    "geodesic": "geodesic",
    "refine": "refine",
    "paths": "paths",
    "windows": "windows",
    "transitions": "transitions",
    "tps": "export",
    "shooting": "export",
    "committor": "export",
    "comparison": "export",
    "hardware": "export",
    "reporter": "export",
}
"""The stage that reads a section of the settings first; what is not named here, sampling has read."""
_OUTPUT = {
    "sample": "samples.npz",
    "train": "denoiser.npz",
    "geodesic": "geodesic.npz",
    "refine": "refinement.npz",
    "paths": "paths.npz",
    "windows": "windows.npz",
    "transitions": "shots.npz",
    "export": "paths.csv",
}
"""The file of each stage that later ones need."""
_MORE_OUTPUT = {
    "sample": ("transitions.npz", "torsions.npz", "representation.npz", "ends.npz"),
    "geodesic": ("surface.npz",),
    "refine": ("refined/*",),
    "windows": ("window_samples.npz",),
    "transitions": ("ensemble/*",),
    "export": (
        "colvar.csv",
        "profiles.csv",
        "plumed.dat",
        REPORT,
        "topology.pdb",
        "paths/path_*.dcd",
        "figures/*.png",
    ),
}


def stages_of(config: RunConfig) -> tuple[str, ...]:
    """The stages that a configuration asks for, in their order."""
    return tuple(name for name in STAGES if name != "refine" or config.refine.rounds)


class RunFolder(OwnedFolder):
    """Files of one run. ``summary.json`` and the report come last."""

    # --- beginning -------------------------------------------------------------------------------

    def begin(
        self, config: RunConfig, source: Path, resume: bool, overwrite: bool, until: str | None = None
    ) -> RunConfig:
        """Make the folder, whose lock the caller holds, ready for ``config``, and return this as it is stored there.

        Args:
            config: file names in it are relative to ``source``.
            source: folder of the system file.
            resume: go on where an earlier run of the same configuration and seed stopped.
            overwrite: delete an earlier run.
            until: the file of the new run until which the earlier one is kept, and comes back if that never appears;
                None: it goes at once.

        Raises:
            UserError: there is a run already, or another configuration or seed is to be resumed.
        """
        begun = self.identity() is not None
        if begun and not resume and not overwrite:
            raise UserError(f"The output folder {self.path} is not empty; use --resume to go on or --overwrite.")
        stored = with_inputs(config, source)
        if begun and not overwrite and (self / CONFIG).is_file():
            self._check_same(stored)
            return self.config()
        self._check_spares(stored)
        inputs = contents_of(config, source)
        self.refuse_strangers([*inputs, *_fixed_names()])
        done = [CONFIG, until] if until is not None and self._has_results() else [CONFIG]
        if begun:
            earlier = [name for name in self.own() if name not in _UNTOUCHED]
            identity = {IDENTITY: (self / IDENTITY).read_text(encoding="utf-8")}
            self.previous.set_aside(earlier, done, texts=identity)
        self.begin_identity({name: hashlib.sha256(content).hexdigest() for name, content in inputs.items()})
        for copy, content in inputs.items():
            with replacing(self / copy) as temporary:
                temporary.write_bytes(content)
        self._store(stored)
        if until not in done:
            self.previous.settle()
        return self.config()

    def _has_results(self) -> bool:
        """Whether a stage, or ``shoot``, has left something that would be missed."""
        return self.reached(STAGES[0]) or bool(self.own("shooting"))

    def _check_spares(self, config: RunConfig) -> None:
        """A run that is to be deleted must not hold what the new one reads."""
        if isinstance(config.sampling, TrajectoriesConfig):
            for file in (*config.sampling.files, *config.sampling.weights):
                if Path(os.path.normpath(file)).is_relative_to(self.path.resolve()):
                    raise UserError(
                        f"'sampling' reads {file}, which --overwrite would delete with {self.path}; "
                        "choose another folder with -o."
                    )

    def _check_same(self, wanted: RunConfig) -> None:
        stored = self.config()
        if stored.seed != wanted.seed:
            raise UserError(
                f"The run in {self.path} has seed {stored.seed}, not {wanted.seed}; give the same seed to --resume."
            )
        ours, theirs = wanted.model_dump(mode="json"), stored.model_dump(mode="json")
        for settings in (ours, theirs):
            settings["hardware"].pop("workers")
            for goal in GOALS:
                settings.pop(goal)
        if wanted.preset != stored.preset:
            raise UserError(
                f"The run in {self.path} has --preset {stored.preset}, not {wanted.preset}; give the command by which "
                f"it began, which stands in {self / LOG}, and --resume."
            )
        if different := _first_difference(theirs, ours):
            raise UserError(
                f"The run in {self.path} has another configuration ({different}); give the command by which it began, "
                f"which stands in {self / LOG}, and --resume."
            )

    # --- configuration ---------------------------------------------------------------------------

    def config(self) -> RunConfig:
        """The configuration stored in the folder.

        Raises:
            UserError: this is not a run folder, or its configuration or one of its inputs was changed.
        """
        identity, file = self.identity(), self / CONFIG
        if identity is None:
            self._refuse_foreign(existing=True)
        if identity is None or not file.is_file():
            raise UserError(f"{self.path} is not a run folder: it has no {CONFIG}; start one with 'spacetime-tps run'.")
        open_home(self.path, identity["run"], writing=False)
        return _validated(file, self._check_unchanged(identity))

    def _check_unchanged(self, identity: dict[str, Any]) -> str:
        """The first line of the configuration, which fits the rest of it."""
        first, _, rest = _text_of(self / CONFIG).partition("\n")
        if first != _heading(identity["run"], rest):
            raise UserError(
                f"{self / CONFIG} was changed after it was written, or belongs to another run; undo that, and change "
                "settings with --set."
            )
        for name, digest in identity["inputs"].items():
            if not (self / name).is_file() or digest_of_file(self / name) != digest:
                raise UserError(f"{self / name} is missing or was changed since the run began; start a new run.")
        return first

    def _store(self, config: RunConfig) -> None:
        identity = self.identity()
        assert identity is not None
        text = dump(config)
        write_text(self / CONFIG, f"{_heading(identity['run'], text)}\n{text}")

    def changed(self, stage: str, assignments: Sequence[str]) -> RunConfig:
        """The stored configuration with ``KEY=VALUE`` assignments to settings of a stage or of later ones.

        Raises:
            UserError: a setting is unfit, or an earlier stage has used it.
        """
        stored = self.config()
        if not assignments:
            return stored
        settings = read_yaml(self / CONFIG)
        for assignment in assignments:
            apply_override(settings, assignment)
        wanted = validate(settings, f"{self / CONFIG} with --set")
        if wanted.hardware.platform != stored.hardware.platform:
            raise UserError(f"{self.path} has chosen its OpenMM platform already; start a new run to change it.")
        for section in type(stored).model_fields:
            if getattr(wanted, section) == getattr(stored, section):
                continue
            first = _FIRST_USED.get(section, STAGES[0])
            if STAGES.index(first) < STAGES.index(stage):
                advice = "start a new run to change them"
                if first != STAGES[0]:
                    advice = f"change them with 'spacetime-tps {first} {self.path} --overwrite --set ...'"
                raise UserError(
                    f"The settings under {section!r} were used by the stage {first!r} of {self.path}, which comes "
                    f"before {stage!r}; {advice}."
                )
        return wanted

    def with_goals_of(self, wanted: RunConfig) -> RunConfig:
        """The stored configuration, to be run as far as another one says; ``begin`` compares everything else."""
        stored = self.config()
        goals = {goal: getattr(wanted, goal) for goal in GOALS}
        return stored if goals == {goal: getattr(stored, goal) for goal in GOALS} else stored.model_copy(update=goals)

    # --- stages ----------------------------------------------------------------------------------

    def finished(self, stage: str) -> bool:
        """Whether a stage and all before it that are asked for are done and what they wrote is still there."""
        before = [name for name in stages_of(self.config()) if STAGES.index(name) < STAGES.index(stage)]
        return all(
            (self / f"stages/{name}.json").is_file() and (self / _OUTPUT[name]).is_file() for name in (*before, stage)
        )

    def reached(self, stage: str) -> bool:
        """Whether a stage or one behind it, which would be dropped, has left its record."""
        return any((self / f"stages/{name}.json").is_file() for name in STAGES[STAGES.index(stage) :])

    def record(self, stage: str) -> dict[str, Any]:
        """What a finished stage left: ``summary``, ``force_evaluations``, ``wall_seconds``, ``timings``, and ``files``,
        ``settings`` and ``after``, which ``check`` reads.

        Raises:
            DamagedFileError: the record is missing, or it is not as the stage left it.
        """
        file = self / f"stages/{stage}.json"
        try:
            record = read_json(file)
        except DamagedFileError as error:
            raise _not_as_left(file, stage) from error
        if not isinstance(record, dict) or "summary" not in record or not isinstance(record.get("files"), dict):
            raise _not_as_left(file, stage)
        return record

    def check(self, *stages: str) -> None:
        """Make sure that what finished stages left is what they left, after one another, by these settings.

        Args:
            stages: those that are looked at, in their order; default: all that have left a record.

        Raises:
            DamagedFileError: a record or a file is missing, was changed, or belongs to another run.
        """
        stages = stages or tuple(name for name in STAGES if (self / f"stages/{name}.json").is_file())
        config = self.config()
        for stage in stages:
            record, file = self.record(stage), self / f"stages/{stage}.json"
            if record.get("after") != self._digest_before(stage):
                raise DamagedFileError(
                    f"{file} followed other results than {self.path} holds now; run '{stage}' again with --overwrite."
                )
            if record.get("settings") != _settings_before(config, stage):
                raise DamagedFileError(
                    f"{self / CONFIG} has other settings than the stage {stage!r} ran with; run '{stage}' again with "
                    "--overwrite."
                )
            for name, digest in record["files"].items():
                if not (self / name).is_file() or digest_of_file(self / name) != digest:
                    raise _not_as_left(self / name, stage)

    def finish(self, stage: str, record: dict[str, Any]) -> None:
        """Mark a stage as done, with the digests of the files that it wrote."""
        config = self.config() if (self / CONFIG).is_file() else None
        record = plain(record) | {
            "files": {name: digest_of_file(self / name) for name in self._written(stage)},
            "settings": None if config is None else _settings_before(config, stage),
            "after": self._digest_before(stage),
        }
        write_json(self / f"stages/{stage}.json", record)

    def _written(self, stage: str) -> list[str]:
        """Names of the files of a stage."""
        patterns = (_OUTPUT[stage], *_MORE_OUTPUT.get(stage, ()))
        named = [name for name in self.own() if any(fnmatchcase(name, pattern) for pattern in patterns)]
        return [name for name in named if name != REPORT]

    def digests_within(self, folder: Path, *patterns: str) -> dict[str, str]:
        """Digests of the run's own files right in one of its folders, by their names there."""
        own = [Path(name) for name in self.own(folder.name)]
        names = [name.name for name in own if len(name.parts) == 2 and any(fnmatchcase(name.name, p) for p in patterns)]
        return {name: digest_of_file(folder / name) for name in names}

    def _digest_before(self, stage: str) -> str | None:
        """Of the record of the last stage before this one that has left one."""
        for name in reversed(STAGES[: STAGES.index(stage)]):
            if (self / f"stages/{name}.json").is_file():
                return digest_of(self.record(name))
        return None

    def paths_digest(self) -> str | None:
        """Of what the stage ``paths`` said of its result: tells results that start from paths whether they still do."""
        file = self / "stages/paths.json"
        if not file.is_file():
            return None
        return digest_of(self.record("paths")["summary"])[:16]

    def make_room(self, stage: str, config: RunConfig) -> None:
        """Set aside what a stage and all after it left, and store the configuration they are to have.

        It comes back unless the stage leaves its record (the last stage: the summary, too, and the report if there was
        one).
        """
        dropped = STAGES[STAGES.index(stage) :]
        self.refuse_strangers([SUMMARY, *(f"stages/{name}.json" for name in dropped)])
        patterns = [pattern for name in dropped for pattern in (_OUTPUT[name], *_MORE_OUTPUT.get(name, ()))]
        patterns += [SUMMARY, *(f"stages/{name}.json" for name in dropped)]
        patterns += ["refining/*"] if "refine" in dropped[1:] else []
        patterns += ["shooting_ridges/*"] if "transitions" in dropped[1:] else []
        names = [name for name in self.own() if any(fnmatchcase(name, pattern) for pattern in patterns)]
        done = [f"stages/{stage}.json"]
        if stage == STAGES[-1]:
            done += [SUMMARY, *(name for name in names if name == REPORT)]
        stored, texts = self.config(), {}
        if config != stored:
            texts[CONFIG] = _text_of(self / CONFIG)
        kept = [name for name in STAGES[: STAGES.index(stage)] if (self / f"stages/{name}.json").is_file()]
        resealed = [name for name in kept if _settings_before(config, name) != _settings_before(stored, name)]
        texts |= {f"stages/{name}.json": _text_of(self / f"stages/{name}.json") for name in kept if resealed}
        self.previous.set_aside(names, done, texts)
        if config != stored:
            self._store(config)
        for name in kept if resealed else ():
            changed = {"settings": _settings_before(config, name), "after": self._digest_before(name)}
            write_json(self / f"stages/{name}.json", self.record(name) | changed)


@lru_cache(maxsize=16)
def _validated(file: Path, heading: str) -> RunConfig:
    """The configuration in a file; ``heading`` holds the digest of it, so that it is read again when it has changed."""
    return validate(read_yaml(file), str(file))


def check_files(folder: Path, digests: dict[str, str], verb: str) -> None:
    """Compare files beside a summary with the digests in it.

    Raises:
        DamagedFileError: one is missing or was changed.
    """
    for name, digest in digests.items():
        if not (folder / name).is_file() or digest_of_file(folder / name) != digest:
            raise _not_as_left(folder / name, verb)


def _fixed_names() -> Iterable[str]:
    """Names, not patterns, of what a run writes."""
    named = [*_OUTPUT.values(), *(name for more in _MORE_OUTPUT.values() for name in more)]
    return [*(name for name in named if "*" not in name), CONFIG, SUMMARY]


def _heading(run: str, text: str) -> str:
    """The first line of ``config.yaml``: by it, changes are noticed."""
    digest = hashlib.sha256(text.encode()).hexdigest()
    return f"# run {run}, format {FORMAT}, sha256 {digest}; change settings with --set, not here"


def _text_of(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file} cannot be read as UTF-8 text; start a new run.") from error


def _settings_before(config: RunConfig, stage: str) -> str:
    """Digest of the settings that a stage and those before it use."""
    settings = config.model_dump(mode="json")
    last = STAGES.index(stage)
    used = {key: value for key, value in settings.items() if STAGES.index(_FIRST_USED.get(key, STAGES[0])) <= last}
    return digest_of({key: value for key, value in used.items() if _FIRST_USED.get(key) != STAGES[-1]})


def _not_as_left(file: Path, stage: str) -> DamagedFileError:
    return DamagedFileError(f"{file} is not as the stage {stage!r} left it; run '{stage}' again with --overwrite.")


def _first_difference(stored: Any, wanted: Any, place: str = "") -> str:
    if isinstance(stored, dict) and isinstance(wanted, dict):
        for key in sorted({*stored, *wanted}):
            found = _first_difference(stored.get(key), wanted.get(key), f"{place}.{key}" if place else key)
            if found:
                return found
        return ""
    return "" if stored == wanted else f"{place} is {stored!r} there and {wanted!r} here"
