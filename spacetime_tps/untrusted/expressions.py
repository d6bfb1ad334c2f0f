"""Expressions of custom forces, bounded before OpenMM's parser recurses over them.

The parser and the derivatives it takes recurse once for every level of an expression, and definitions behind semicolons
are put in wherever they are named: a hundred thousand brackets end the process without a word, and thirty lines can
stand for a billion terms.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

LONGEST, DEEPEST, MOST_TERMS = 20_000, 120, 20_000
_TOKEN = re.compile(r"\s*(?:(?P<operand>\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?|[A-Za-z_]\w*)|(?P<sign>\S))")
_Extent = tuple[int, int]
"""Levels and terms of an expression with its definitions put in."""


def check_expression(expression: str) -> None:
    """Refuse what would take the parser's stack or the machine's memory.

    Raises:
        ValueError: the expression is too long, nested too deeply, or has too many terms.
    """
    if len(expression) > LONGEST:
        raise ValueError(f"an expression of {len(expression)} characters, where up to {LONGEST} are read")
    first, *definitions = expression.split(";")
    known: dict[str, _Extent] = {}
    for definition in reversed(definitions):  # as OpenMM does: each may name those behind it
        name, _, body = definition.partition("=")
        known[name.strip()] = _checked(body, known)
    _checked(first, known)


def _checked(body: str, known: dict[str, _Extent]) -> _Extent:
    levels, terms = extent(body, known)
    if levels > DEEPEST:
        raise ValueError(f"an expression nested {levels} levels deep, where up to {DEEPEST} are read")
    if terms > MOST_TERMS:
        raise ValueError(
            f"an expression of {terms} terms with its definitions put in, where up to {MOST_TERMS} are read"
        )
    return levels, terms


def extent(body: str, known: dict[str, _Extent]) -> _Extent:
    """Levels and terms of one expression.

    A bracket is a level above what stands in it, and so is every operator: a sum is a tree as deep as it is long.

    Args:
        body: the expression.
        known: extents of the definitions that it may name.
    """
    open_, terms = [_Group()], 0
    for token in _TOKEN.finditer(body):
        operand, sign = token["operand"], token["sign"]
        if operand is not None:
            levels, size = known.get(operand, (0, 1))
            terms += size
            open_[-1].operand(levels)
        elif sign == "(":
            open_.append(_Group())
        elif sign == ",":
            open_[-1].end_argument()
        elif sign != ")":
            open_[-1].operators += 1
        elif len(open_) > 1:
            closed = open_.pop()
            open_[-1].operand(closed.levels() + 1)
    while len(open_) > 1:  # brackets that nothing closes, which the parser will not take
        closed = open_.pop()
        open_[-1].operand(closed.levels() + 1)
    return open_[0].levels(), terms


@dataclass
class _Group:
    """What stands between two brackets."""

    operators: int = 0
    below: int = 0
    finished: int = 0

    def operand(self, levels: int) -> None:
        self.below = max(self.below, levels)

    def levels(self) -> int:
        return max(self.finished, self.operators + self.below)

    def end_argument(self) -> None:
        self.finished, self.operators, self.below = self.levels(), 0, 0
