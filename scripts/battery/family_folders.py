"""Every file of a finished run, spoilt or exchanged, under the verbs that read the folder.

What is wrong has to be noticed: the command refuses, or its numbers are those of the unspoilt run. ``run --resume`` has
to notice in addition that a file is not the one that the run wrote, unless nothing depends on the file.
"""

from __future__ import annotations

import fnmatch
import io
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import damage
import numpy as np
import yaml
from harness import Case, Outcome, stable
from masters import copy_run, fill, measured, numbers, verbs_of

NO_CONSEQUENCE = (".lock", "run.log", "report.html", "tensorboard/*", "committor/*", "shooting/*")
"""Files that ``run --resume`` makes anew or never reads: the page, and results of other verbs."""
_SHARE = {"run --resume": 1.0, "report": 0.5, "distance": 0.5, "committor": 0.25}
_RARELY = 0.12
Spoil = Callable[[Path, Path], None]


def _only(spoil: damage.Spoil) -> Spoil:
    return lambda masters, path: spoil(path)


def _from(run: str, file: str) -> Spoil:
    """The same file of another run."""

    def swap(masters: Path, path: Path) -> None:
        other = masters / run / "run" / file
        if other.is_file():
            path.write_bytes(other.read_bytes())

    return swap


def _linked(run: str, file: str) -> Spoil:
    def link(masters: Path, path: Path) -> None:
        path.unlink()
        path.symlink_to(masters / run / "run" / file)

    return link


def _changed(change: Callable[[np.ndarray], np.ndarray]) -> Spoil:
    """Every array of numbers in an archive changed, without a digest of it."""

    def edit(masters: Path, path: Path) -> None:
        with np.load(path) as archive:
            held = {name: archive[name] for name in archive.files if name not in ("sha256", "digest")}
        np.savez(path, **{name: change(a) if a.ndim and a.dtype.kind == "f" else a for name, a in held.items()})

    return edit


def _edited_json(change: Callable[[float], float]) -> Spoil:
    """Every number of a JSON file changed; digests in it stay."""

    def walk(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: walk(item) for key, item in value.items()}
        if isinstance(value, list):
            return [walk(item) for item in value]
        return change(value) if isinstance(value, float) else value

    def edit(masters: Path, path: Path) -> None:
        path.write_text(json.dumps(walk(json.loads(path.read_text())), indent=2))

    return edit


def ways(kind: str, file: str, chance: random.Random) -> Iterator[tuple[str, Spoil, float]]:
    """(name, way, seconds)."""
    for name, spoil, _, seconds in damage.replacements():
        if name in ("is missing", "is a folder", "is a FIFO", "links to itself", "links to /dev/null"):
            yield name, _only(spoil), seconds
    for name, content, _ in damage.contents(chance, 3):
        if file == "files.txt" and name.startswith("lacks its last"):
            continue  # a kill leaves it so while a name is noted, and no file belongs to that name yet
        if name in ("is empty", "is cut at 50%", "lacks its last 1 bytes", "is noise") or "flipped" in name:
            yield name, _only(content), 60
    yield "is that of another seed", _from(f"{kind}_1", file), 60
    yield "is that of an earlier denoiser", _from(f"{kind}_old", file), 60
    yield "is a link to that of another seed", _linked(f"{kind}_1", file), 60
    if file.endswith(".npz"):
        yield "holds NaN", _changed(lambda a: np.nan * a), 60
        yield "holds single rows", _changed(lambda a: a[:1]), 60
        yield "is multiplied by 1.01", _changed(lambda a: a * 1.01), 60
        yield (
            "claims a shape of 10^20",
            lambda masters, path: _write(path, damage.npz_with_shape("(10**20,)", "<f8", "x")),
            60,
        )
        yield (
            "claims 80 GB",
            lambda masters, path: _write(path, damage.npz_with_shape("(10000000000,)", "<f8", "x")),
            60,
        )
    if file.endswith(".json"):
        yield "has its numbers multiplied by 1.01", _edited_json(lambda x: x * 1.01), 60
        yield "is deeply nested", lambda masters, path: _write(path, b"[" * 100_000), 60


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def content_of(path: Path) -> Any:
    """What a file says, whatever its bytes are; None if it cannot be read."""
    if not path.is_file():  # a FIFO would be read for ever
        return None
    try:
        data = path.read_bytes()
        if path.suffix == ".npz":
            with np.load(io.BytesIO(data)) as archive:
                return {
                    name: (archive[name].dtype.str, archive[name].shape, archive[name].tobytes())
                    for name in archive.files
                    if name not in ("sha256", "digest")
                }
        if path.suffix == ".json":
            return stable(json.loads(data))
        if path.suffix == ".yaml":
            return yaml.safe_load(data)
        return data
    except Exception:
        return None


def _judge(masters: Path, kind: str, verb: str, file: str, way: str) -> Callable[[Outcome, Path], str]:
    def judge(outcome: Outcome, box: Path) -> str:
        if outcome.code:
            return ""
        baseline = measured(masters, kind)[verb]["numbers"]
        try:
            found = numbers(verb, box, outcome.stdout)
        except (OSError, ValueError) as error:
            return f"it succeeds and leaves nothing readable: {error}"
        if found != baseline:
            return "it succeeds with other numbers"
        unread = any(fnmatch.fnmatch(file, pattern) for pattern in NO_CONSEQUENCE)
        if verb != "run --resume" or unread:
            return ""
        if file == "files.txt" and ("flipped" in way or way.endswith("of another seed")):
            # names alone: a file whose name it lacks is kept as a stranger's
            master = masters / f"{kind}_0/run"
            lost = [each for each in master.rglob("*") if not (box / "run" / each.relative_to(master)).exists()]
            return f"{lost[0].name} is lost" if lost else ""
        kept = content_of(box / "run" / file)
        same = kept is not None and kept == content_of(masters / f"{kind}_0/run" / file)
        return "" if same else "it does not notice the file"

    return judge


def _case(masters: Path, kind: str, verb: str, file: str, way: str, spoil: Spoil, seconds: float) -> Case:
    def prepare(box: Path) -> None:
        fill(masters, kind, box)
        spoil(masters, box / "run" / file)

    return Case(
        "folders",
        f"{kind}: {verb}: {file} {way}",
        verbs_of(kind)[verb],
        prepare,
        "either",
        lambda name: name.startswith("run"),
        _judge(masters, kind, verb, file, way),
        max(seconds, 45.0) * 2,
    )


def _whole(masters: Path, kind: str) -> Iterator[Case]:
    """Spoilt as a whole: several files exchanged together, records of one run with the arrays of another."""
    groups = {
        "all records": ("stages/*.json",),
        "all arrays": ("*.npz",),
        "the denoiser and its record": ("denoiser.npz", "stages/train.json"),
        "the geodesic and its record": ("geodesic.npz", "surface.npz", "stages/geodesic.json"),
        "the paths and their record": ("paths.npz", "stages/paths.json", "paths/*", "paths.csv"),
        "the samples and their record": ("samples.npz", "transitions.npz", "torsions.npz", "stages/sample.json"),
        "everything but the configuration": ("*.npz", "stages/*.json", "summary.json"),
        "the configuration": ("config.yaml",),
    }
    for name, patterns in groups.items():
        for other in (f"{kind}_1", f"{kind}_old"):
            for verb in verbs_of(kind):

                def prepare(box: Path, patterns: tuple[str, ...] = patterns, other: str = other) -> None:
                    fill(masters, kind, box)
                    for pattern in patterns:
                        for file in (masters / other / "run").glob(pattern):
                            (box / "run" / file.relative_to(masters / other / "run")).write_bytes(file.read_bytes())

                yield Case(
                    "folders",
                    f"{kind}: {verb}: {name} of {other}",
                    verbs_of(kind)[verb],
                    prepare,
                    "either",
                    lambda name: name.startswith("run"),
                    _judge(masters, kind, verb, "stages/train.json", ""),
                    90,
                )


def _versions(masters: Path) -> Iterator[Case]:
    """Another system's run, and formats from the future."""
    for verb in ("run --resume", "report", "export"):

        def foreign(box: Path) -> None:
            copy_run(masters, "alanine_0", box / "run")

        def later(box: Path) -> None:
            fill(masters, "toy", box)
            for file in (*(box / "run").glob("stages/*.json"), box / "run/summary.json"):
                held = json.loads(file.read_text())
                for key in ("schema_version", "format", "format_version", "version"):
                    if key in held:
                        held[key] = 999
                file.write_text(json.dumps(held))

        words = verbs_of("toy")[verb]
        yield Case(
            "folders",
            f"{verb}: a run of another system",
            words,
            foreign,
            "refuse" if "resume" in verb else "either",
            lambda name: name.startswith("run"),
            None,
            90,
        )
        yield Case(
            "folders",
            f"{verb}: a format of the future",
            words,
            later,
            "either",
            lambda name: name.startswith("run"),
            None,
            90,
        )


def cases(masters: Path, chance: random.Random) -> list[Case]:
    """All of the family: every file in every way under ``run --resume``, and a share of them under each other verb."""
    found = [*_versions(masters)]
    for kind in ("toy", "alanine"):
        verbs = list(verbs_of(kind))
        found += _whole(masters, kind)
        for verb in verbs:
            found.append(_case(masters, kind, verb, "config.yaml", "is as it was", lambda masters, path: None, 60))
        root = masters / f"{kind}_0/run"  # not there if only quick cases are wanted
        for file in sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()):
            for way, spoil, seconds in ways(kind, file, chance):
                for verb in verbs:
                    share = _SHARE.get(verb, _RARELY) * (0.3 if file.startswith("figures/") else 1.0)
                    if chance.random() < share:
                        found.append(_case(masters, kind, verb, file, way, spoil, seconds))
    return found
