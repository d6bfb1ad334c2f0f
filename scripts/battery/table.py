"""Results as a table, a list of failures, and two of them side by side."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

COLUMNS = {
    "cases": lambda row: True,
    "tracebacks": lambda row: row["traceback"] or row["crashed"],
    "hangs": lambda row: row["hung"],
    "files lost": lambda row: bool(row["lost"]),
    "executed": lambda row: row["executed"],
    "wrongly accepted": lambda row: bool(row["accepted"]),
    "wrongly refused": lambda row: row["refused"],
    "not one line": lambda row: bool(row["line"]),
    "resumed unequal": lambda row: row["equal"] is False,
    "resumed equal": lambda row: row["equal"] is True,
}


def counts(rows: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    """Of every family and of all."""
    found: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(COLUMNS, 0))
    for row in rows:
        for name, counted in COLUMNS.items():
            found[row["family"]][name] += bool(counted(row))
            found["all"][name] += bool(counted(row))
    found["all"] = found.pop("all", dict.fromkeys(COLUMNS, 0))
    return found


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown."""
    lines = ["| family | " + " | ".join(COLUMNS) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    lines += ["| " + " | ".join([name, *map(str, row.values())]) + " |" for name, row in counts(rows).items()]
    return "\n".join(lines)


def listed(rows: list[dict[str, Any]]) -> str:
    """Every failure: its case, what is wrong, and the last line that the command said."""
    lines = []
    for row in sorted((row for row in rows if row["failed"]), key=lambda row: (row["family"], row["name"])):
        wrong = [name for name, counted in COLUMNS.items() if name not in ("cases", "resumed equal") and counted(row)]
        why = "; ".join(filter(None, (row["accepted"], row["line"], ", ".join(row["lost"][:3]))))
        last = (row["stderr"].strip().splitlines() or [""])[-1][:200]
        lines.append(f"{row['family']}: {row['name']}: {', '.join(wrong)} ({why}) [{row['code']}] {last}")
    return "\n".join(lines)


def compared(old: dict[str, Any], new: dict[str, Any]) -> str:
    """Counts of two results, before and after."""
    before, after = counts(old["rows"]), counts(new["rows"])
    lines = ["| family | " + " | ".join(COLUMNS) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    for family in [*before, *(name for name in after if name not in before)]:
        cells = [
            f"{before.get(family, {}).get(name, '-')} / {after.get(family, {}).get(name, '-')}" for name in COLUMNS
        ]
        lines.append("| " + " | ".join([family, *cells]) + " |")
    return "\n".join(lines)
