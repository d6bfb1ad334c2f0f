"""Folders after ``-o`` that are not the command's own: nothing of the user may be lost, whatever the command says."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

from harness import Case, Must
from masters import SYSTEMS, TOY, assignments, compare_words, copy_run

from spacetime_tps.systems import systems_folder

MINE = "a file of the user\n"
Fill = Callable[[Path, Path], None]
_TOY = (SYSTEMS["toy"], *assignments(TOY), "--seed", "0")


def _write(*names: str) -> Fill:
    def fill(masters: Path, box: Path) -> None:
        del masters
        for name in names:
            (box / name).parent.mkdir(parents=True, exist_ok=True)
            (box / name).write_text(MINE)

    return fill


def _run(*more: str, at: str = "out", name: str = "toy_0") -> Fill:
    """A finished run with files of the user in it."""

    def fill(masters: Path, box: Path) -> None:
        copy_run(masters, name, box / at)
        _write(*more)(masters, box)

    return fill


def _both(*fills: Fill) -> Fill:
    def fill(masters: Path, box: Path) -> None:
        for each in fills:
            each(masters, box)

    return fill


def _unfinished(masters: Path, box: Path) -> None:
    copy_run(masters, "toy_0", box / "out")
    for name in ("geodesic", "paths", "windows", "transitions", "export"):
        (box / f"out/stages/{name}.json").unlink()


def _linked(name: str) -> Fill:
    """A run one of whose entries is a link to a place of the user's."""

    def fill(masters: Path, box: Path) -> None:
        copy_run(masters, "toy_0", box / "out")
        target = box / "elsewhere"
        if (box / "out" / name).is_dir():
            (box / "out" / name).rename(target)
        else:
            target.mkdir()
            (target / "file").write_text(MINE)
            (box / "out" / name).unlink(missing_ok=True)
            target = target / "file"
        (box / "elsewhere/precious.txt").write_text(MINE)
        (box / "out" / name).symlink_to(target)

    return fill


PARTIALS = ("out/.partial-letter", "out/sub/.partial-x.npz", "out/sub/deep/.partial-y", "out/sub/.partial-dir/file")
FOLDERS: dict[str, Fill] = {
    "an empty folder": lambda masters, box: (box / "out").mkdir(),
    "a file": _write("out"),
    "foreign files": _write("out/a.txt", "out/b/c.txt"),
    "foreign partial files": _write("out/a.txt", *PARTIALS),
    "partial files alone": _write(*PARTIALS),
    "partial files at the top alone": _write("out/.partial-letter"),
    "a lock of another program": _write("out/.lock", "out/a.txt"),
    "a lock alone": _write("out/.lock"),
    "inputs alone": _write("out/inputs/a.pdb", "out/inputs/deep/b.txt"),
    "names of ours": _write("out/figures/mine.png", "out/summary.json", "out/paths/a.dcd", "out/inputs/a.pdb"),
    "a config.yaml of another program": _write("out/config.yaml", "out/figures/mine.png"),
    "an empty config.yaml": lambda masters, box: (
        _write("out/inputs/x")(masters, box) or (box / "out/config.yaml").touch()
    ),
    "a parent of runs": _both(
        _run(at="out/first"), _run("out/first/.partial-mine", at="out/second"), _write("out/a.txt")
    ),
    "a parent of runs alone": _both(_run(at="out/first"), _run("out/second/sub/.partial-mine", at="out/second")),
    "a run": _run(),
    "an unfinished run": _unfinished,
    "another run": _run(name="toy_1"),
    "a run of another system": _run(name="alanine_0"),
    "a run with a note": _run("out/notes.txt"),
    "a run with files in its folders": _run(
        "out/figures/mine.png",
        "out/inputs/mine.pdb",
        "out/paths/mine.dcd",
        "out/stages/mine.json",
        "out/shooting/mine.txt",
        "out/committor/mine.txt",
        "out/figures/deep/mine.png",
    ),
    "a run with partial files": _run(
        "out/.partial-mine", "out/figures/.partial-mine.png", "out/inputs/.partial-mine/x"
    ),
    "a run with folders of our names": _run(
        "out/refined/mine.txt", "out/refining/mine.txt", "out/compare/mine.txt", "out/tensorboard/mine.txt"
    ),
    "a run with files of our names": _run(
        "out/topology.pdb", "out/plumed.dat", "out/profiles.csv", "out/refinement.npz"
    ),
    "a run whose figures are elsewhere": _linked("figures"),
    "a run whose inputs are elsewhere": _linked("inputs"),
    "a run whose stages are elsewhere": _linked("stages"),
    "a run whose summary is elsewhere": _linked("summary.json"),
    "a run whose samples are elsewhere": _linked("samples.npz"),
    "a run in a link": lambda masters, box: _run(at="real")(masters, box) or (box / "out").symlink_to("real"),
    "a home": _write("out/.bashrc", "out/.partial-settings", "out/.config/.partial-x", "out/work/.partial-3.npz"),
    "a system folder": lambda masters, box: _system(box),
}
"""What lies at ``out``."""


def _system(box: Path) -> None:
    (box / "out").mkdir()
    for file in (systems_folder() / "alanine_dipeptide").iterdir():
        (box / "out" / file.name).write_bytes(file.read_bytes())
    (box / "out/a.pdb").write_text(MINE)


def _ends(box: Path) -> None:
    for name in ("c5.pdb", "c7ax.pdb"):
        (box / name).write_bytes((systems_folder() / "alanine_dipeptide" / name).read_bytes())


NEW: dict[str, tuple[str, ...]] = {
    "run": ("run", *_TOY, "--stop-after", "sample", "-o", "out"),
    "sample": ("sample", *_TOY, "-o", "out"),
    "compare": compare_words("--seed", "0", "-o", "out"),
    "shoot SYSTEM": ("shoot", *_TOY, "-o", "out", "--from", "high-temperature"),
    "init": ("init", "c5.pdb", "missing.pdb", "--workers", "1", "-o", "out"),
}
"""Commands that begin a folder; ``init`` with a file that is not there, for it takes long otherwise."""
HOW: dict[str, tuple[str, ...]] = {
    "": (),
    " --overwrite": ("--overwrite",),
    " --resume": ("--resume",),
    " both": ("--overwrite", "--resume"),
}
IN_RUN = {
    "train": (),
    "geodesic": (),
    "paths": (),
    "windows": (),
    "export": (),
    "refine": (),
    "shoot": (),
    "committor": (),
    "report": (),
}


def _own_of(masters: Path, folder: str) -> set[str]:
    """Files that a run wrote itself, by their names in the sandbox."""
    source = {"another run": "toy_1", "a run of another system": "alanine_0"}.get(folder, "toy_0")
    names = {str(path.relative_to(masters / source / "run")) for path in (masters / source / "run").rglob("*")}
    moved = {name.split("/", 1)[1] for name in names if "/" in name}  # into the folder that a link leads to
    places = {"out": names, "real": names, "elsewhere": moved if "elsewhere" in folder else set()}
    return {"out", *(f"{place}/{name}" for place, found in places.items() for name in found)}


def _case(masters: Path, folder: str, name: str, words: tuple[str, ...], must: Must = "either") -> Case:
    owned = _own_of(masters, folder) if "run" in folder.split() else set()

    def prepare(box: Path) -> None:
        _ends(box)
        FOLDERS[folder](masters, box)
        for file in list(owned):  # what the case has put in the place of a file of the run is the user's
            path = box / file
            if path.is_symlink() or (path.is_file() and path.read_bytes() == MINE.encode()):
                owned.discard(file)

    return Case("refusals", f"{name} in {folder}", words, prepare, must, lambda file: file in owned, seconds=120)


TAKEN = {
    *(("an empty folder", verb, how) for verb in ("run", "sample") for how in ("", " --overwrite", " --resume")),
    *(("a run", verb, how) for verb in ("run", "sample") for how in (" --overwrite", " --resume")),
    *(("a run in a link", "run", how) for how in (" --overwrite", " --resume")),
}
"""What has to work: a battery whose commands refuse everything would prove nothing."""


def _must(folder: str, verb: str, how: str) -> Must:
    if (folder, verb, how) in TAKEN:
        return "accept"
    if how == " both" or ("run" not in folder.split() and folder not in ("an empty folder", "a lock alone")):
        return "refuse"
    return "either"


def _all(masters: Path) -> Iterator[Case]:
    for folder in FOLDERS:
        for verb, words in NEW.items():
            for how, flags in HOW.items():
                if verb == "init" and "--resume" in flags:
                    continue
                must = "refuse" if verb == "init" else _must(folder, verb, how)
                yield _case(masters, folder, f"{verb}{how}", (*words, *flags), must)
        for verb in IN_RUN:
            for how, flags in HOW.items():
                if (how and verb == "report") or (verb == "committor" and "--resume" in flags):
                    continue
                must = "either" if "run" in folder.split() and how != " both" else "refuse"
                yield _case(masters, folder, f"{verb}{how}", (verb, "out", *flags), must)
    for verb, words in NEW.items():
        for place in (
            ".",
            "..",
            "results",
            "home",
            "results/old",
            "/proc",
            "/dev/null",
            "/dev/full",
            "home/thesis.tex/x",
        ):
            target = (*words[:-1], place) if words[-1] == "out" else words[: words.index("-o") + 1] + (place,)
            if words[-1] != "out":
                target = tuple(place if word == "out" else word for word in words)
            must: Must = "either" if place == "results/old" else "refuse"
            for how, flags in list(HOW.items())[:3]:
                if verb != "init" or "--resume" not in flags:
                    yield _case(masters, "an empty folder", f"{verb}{how} at {place},", (*target, *flags), must)


def cases(masters: Path, chance: random.Random) -> list[Case]:
    """All of the family."""
    del chance
    return list(_all(masters))
