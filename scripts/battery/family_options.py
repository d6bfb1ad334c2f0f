"""Every option and argument of every verb, found by walking the commands, with values that it should not have."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from harness import Case, Must
from masters import SYSTEMS, TOY, assignments, compare_words, copy_run

from spacetime_tps.cli import main as cli
from spacetime_tps.systems import systems_folder

_PDB = ("a.pdb", "b.pdb")
PLAUSIBLE: dict[str, tuple[str, ...]] = {
    "init": (*_PDB, "-o", "new", "--workers", "1"),
    "run": (SYSTEMS["toy"], "-o", "new", *assignments(TOY)),
    "sample": (SYSTEMS["toy"], "-o", "new", *assignments(TOY)),
    "shoot": ("run", "--overwrite"),
    "committor": ("run", "--overwrite"),
    "report": ("run",),
    "compare": compare_words("-o", "new")[1:],
    "distance": (*_PDB, "--run", "run"),
    "config": (SYSTEMS["toy"],),
    "doctor": ("mueller_brown",),
}
"""A command line of each verb that is right but for the option that is tried; others take a run folder."""
STRANGE = {
    "empty": "",
    "blank": " ",
    "NUL": "a\x01b",
    "a line break": "a\nb",
    "unicode": "Ångström 水",
    "long": "x" * 5000,
    "longer than a name": "y" * 300,
    "dashes": "--",
    "an option": "--help",
    "a path": "../../nowhere/at/all",
    "a device": "/dev/null",
    "mathtext": "$\\frac{$",
    "braces": "{0} %s",
}
NUMBERS = {
    "nan": "nan",
    "inf": "inf",
    "-inf": "-inf",
    "1e300": "1e300",
    "-1": "-1",
    "10**400": "1" + "0" * 400,
    "2**63": str(2**63),
    "1e30": "1" + "0" * 30,
    "hex": "0x10",
    "underscores": "0_2",
    "arabic": "٣",
}
_REFUSED_NUMBERS = {"nan", "inf", "-inf", "1e300", "10**400", "2**63", "1e30"}
_DRAWS = {"seed"}


def commands() -> dict[str, click.Command]:
    """All verbs."""
    context = click.Context(cli.main)
    return {
        name: command
        for name in cli.main.list_commands(context)
        if (command := cli.main.get_command(context, name)) is not None
    }


def plausible(verb: str) -> tuple[str, ...]:
    """Arguments of a verb."""
    return PLAUSIBLE.get(verb, ("run", "--overwrite"))


def filled(masters: Path, verb: str, box: Path) -> None:
    """The files that the arguments name."""
    for name, file in zip(_PDB, ("c5.pdb", "c7ax.pdb"), strict=True):
        (box / name).write_bytes((systems_folder() / "alanine_dipeptide" / file).read_bytes())
    if "run" in plausible(verb):
        copy_run(masters, "alanine_0" if verb == "distance" else "toy_0", box / "run")


def _values(parameter: click.Parameter) -> Iterator[tuple[str, str, Must]]:
    numeric = isinstance(parameter.type, click.types.IntParamType | click.types.FloatParamType)
    if numeric:
        for name, value in NUMBERS.items():
            must: Must = "refuse" if name in _REFUSED_NUMBERS and parameter.name not in _DRAWS else "either"
            yield name, value, must
    for name, value in STRANGE.items():
        yield name, value, "refuse" if numeric else "either"


def _tried(masters: Path, verb: str, command: click.Command) -> Iterator[Case]:
    words = plausible(verb)
    position = 0
    for parameter in command.params:
        if isinstance(parameter, click.Argument):
            place, position = position, position + 1
            for name, value in STRANGE.items():
                changed = (*words[:place], value, *words[place + 1 :])
                yield _case(masters, verb, f"{parameter.name} is {name}", changed, "either")
            continue
        assert isinstance(parameter, click.Option)
        flag = max(parameter.opts, key=len)
        if parameter.is_flag:
            yield _case(masters, verb, f"{flag}=x", (*words, f"{flag}=x"), "refuse")
            continue
        for name, value, must in _values(parameter):
            yield _case(masters, verb, f"{flag} is {name}", (*_without(words, parameter), flag, value), must)


def _without(words: tuple[str, ...], option: click.Option) -> tuple[str, ...]:
    """Arguments without an option that is given again, unless it may be repeated."""
    if option.multiple:
        return words
    for k, word in enumerate(words):
        if word in option.opts:
            return words[:k] + words[k + 2 :]
    return words


def _case(masters: Path, verb: str, name: str, words: tuple[str, ...], must: Must) -> Case:
    def own(file: str) -> bool:
        return file.split("/")[0] == "run"

    return Case(
        "options", f"{verb}: {name}", (verb, *words), lambda box: filled(masters, verb, box), must, own, None, 90
    )


def _pairs(masters: Path, verb: str, command: click.Command) -> Iterator[Case]:
    """Contradictions, and words that nothing takes."""
    flags = [max(p.opts, key=len) for p in command.params if isinstance(p, click.Option) and p.is_flag]
    if {"--resume", "--overwrite"} <= set(flags):
        words = tuple(word for word in plausible(verb) if word != "--overwrite")
        yield _case(masters, verb, "--resume and --overwrite", (*words, "--resume", "--overwrite"), "refuse")
    if verb not in ("refine", "doctor"):  # of an analytic potential nothing is refined, and it has no speed
        yield _case(masters, verb, "as it is", plausible(verb), "accept")
    yield _case(masters, verb, "an unknown option", (*plausible(verb), "--xyzzy"), "refuse")
    yield _case(masters, verb, "no arguments", (), "refuse" if verb != "doctor" else "either")
    if verb != "distance":
        yield _case(masters, verb, "a word too many", (*plausible(verb), "more"), "refuse")


def cases(masters: Path, chance: random.Random) -> list[Case]:
    """All of the family."""
    del chance
    found: list[Case] = []
    for verb, command in commands().items():
        found += [*_tried(masters, verb, command), *_pairs(masters, verb, command)]
    top: list[Any] = ["", "xyzzy", "run\n", "--verbose", "-v", "-x", "\x01", "RUN", "x" * 5000]
    found += [Case("options", f"verb {word[:20]!r}", (word,), must="refuse") for word in top]
    return found
