"""Draw faults at random from all that cosmic-ray can put into the package, and write them as YAML beside this script.

    pip install cosmic-ray pyyaml
    python scripts/faults/draw.py drawn --seed 28 --count 30

``drawn.yaml`` (seed 28) was drawn before tests were changed, and they were changed for what they had not caught;
``drawn_again.yaml`` (seed 29) was drawn afterwards, and tells what these tests catch of faults that nobody had in mind.

A fault is drawn uniformly from all mutations of all files. Left out is what changes annotations or docstrings alone:
Python never evaluates these annotations.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import random
from pathlib import Path

import yaml
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

ROOT = Path(__file__).parents[2]
OPERATORS = sorted(name for name in operator_names() if not get_operator(name).arguments())
"""Those that need no names of variables to be told."""


class _Bare(ast.NodeTransformer):
    """Takes annotations away."""

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        node.annotation = ast.Constant(None)
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)


def _meaning(source: str) -> str:
    return ast.dump(_Bare().visit(ast.parse(source)))


def places(source: str) -> list[tuple[str, int]]:
    """(operator, occurrence) of every mutation of a file."""
    nodes, found = list(ast_nodes(get_ast(source))), []
    for name in OPERATORS:
        operator = get_operator(name)()
        count = sum(1 for node in nodes for _ in operator.mutation_positions(node))
        found += [(name, k) for k in range(count)]
    return found


def difference(source: str, changed: str) -> tuple[str, str]:
    """The lines that differ, with as many around them as make them stand once in the file."""
    before, after = source.splitlines(keepends=True), changed.splitlines(keepends=True)
    blocks = [b for b in difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes() if b[0] != "equal"]
    first, last = blocks[0][1], blocks[-1][2]
    grown = len(after) - len(before)
    for around in range(50):
        low, high = max(0, first - around), min(len(before), last + around)
        old = "".join(before[low:high])
        if old and source.count(old) == 1:
            return old, "".join(after[low : high + grown])
    raise ValueError("no context makes it unique")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", help="of the file, without .yaml")
    parser.add_argument("--seed", type=int, default=28)
    parser.add_argument("--count", type=int, default=30)
    given = parser.parse_args()
    files = sorted((ROOT / "spacetime_tps").rglob("*.py"))
    everything = [(file, *place) for file in files for place in places(file.read_text(encoding="utf-8"))]
    chance, faults = random.Random(given.seed), []
    while len(faults) < given.count:
        file, name, occurrence = chance.choice(everything)
        source = file.read_text(encoding="utf-8")
        changed = mutate_code(source, get_operator(name)(), occurrence)
        if changed is None or changed == source or _meaning(changed) == _meaning(source):
            continue
        old, new = difference(source, changed)
        where = file.relative_to(ROOT).as_posix()
        faults.append(
            {"area": where.split("/")[1], "file": where, "old": old, "new": new, "fault": f"{name} {occurrence}"}
        )
    print(f"{len(everything):,} mutations of {len(files)} files")
    target = Path(__file__).parent / f"{given.name}.yaml"
    target.write_text(yaml.safe_dump(faults, sort_keys=False, allow_unicode=True, width=1000), encoding="utf-8")


if __name__ == "__main__":
    main()
