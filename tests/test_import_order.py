"""Data flows one way: every module imports only from those above it (DESIGN.md, section 4)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import spacetime_tps

PACKAGE = "spacetime_tps"
ORDER = [
    *(
        "errors",
        "interruption",
        "plugins",
        "units",
        "seeds",
        "progress",
        "ownership",
        "files",
        "inputs",
        "shapes",
        "untrusted",
        "parallel",
        "run_log",
        "trajectories",
        "settings",
        "reporting",
        "config",
    ),
    *(
        "potentials",
        "representations",
        "topology",
        "structures",
        "bonded",
        "copies",
        "dynamics",
        "states",
        "collective_variables",
        "molecules",
        "systems",
    ),
    *(
        "boltzmann",
        "preparation",
        "diffusion",
        "geometry",
        "paths",
        "shooting",
        "baselines",
        "analysis",
        "export",
        "stages",
        "cli",
    ),
]
ROOT = Path(spacetime_tps.__file__).parent
FILES = sorted(path.relative_to(ROOT) for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def part_of(file: Path) -> str:
    return file.parts[0].removesuffix(".py")


def imported_parts(tree: ast.AST, package: list[str]) -> Iterator[tuple[int, str]]:
    """(line, part of the package) of every import in a module, those inside functions too.

    Args:
        tree: the module.
        package: dotted name of the package it lies in, for relative imports.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = base + (node.module.split(".") if node.module else [])
            names = [[*base, alias.name] for alias in node.names]
        else:
            continue
        for name in names:
            if name[0] == PACKAGE and len(name) > 1:
                yield node.lineno, name[1]


def parts_of_file(file: Path) -> list[tuple[int, str]]:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    return list(imported_parts(tree, [PACKAGE, *file.parts[:-1]]))


def test_every_part_of_the_package_has_its_place() -> None:
    assert {part_of(file) for file in FILES} == set(ORDER)


@pytest.mark.parametrize("file", FILES, ids=str)
def test_imports_only_from_above(file: Path) -> None:
    own = part_of(file)
    wrong = [
        f"{file}:{line} imports {part}"
        for line, part in parts_of_file(file)
        if part != own and (part not in ORDER or ORDER.index(part) > ORDER.index(own))
    ]
    assert not wrong


def test_the_reader_of_imports_sees_all_kinds() -> None:
    source = """
import spacetime_tps.stages.folder as folder
import numpy
from spacetime_tps import cli
from spacetime_tps.config import RunConfig
def late():
    from ..export import figures
    from .base import Channel
"""
    found = [part for _, part in imported_parts(ast.parse(source), [PACKAGE, "representations"])]
    assert sorted(found) == ["cli", "config", "export", "representations", "stages"]
    assert {"config", "systems", "errors"} <= {part for _, part in parts_of_file(Path("cli/options.py"))}
