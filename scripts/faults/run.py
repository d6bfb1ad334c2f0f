"""Put faults into a copy of the package one at a time, and see whether a test fails that covers the changed lines.

    pip install coverage pytest-cov pyyaml                            # in the environment of the tests
    python scripts/faults/run.py OUT --cover                          # once: which test runs which line, and how long
    python scripts/faults/run.py OUT scripts/faults/chosen.yaml       # one to ten minutes for each fault
    python scripts/faults/run.py OUT scripts/faults/drawn.yaml --only boltzmann

``OUT/covered.json`` holds the lines of every test. A fault is caught if one of the tests that run its lines fails, the
quickest first; tests that fail without the fault do not count. ``OUT/NAME.json`` gets a row for each fault; delete it
to run them again.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter

ROOT = Path(__file__).parents[2]
_SLOWER, _STARTING = 10, 120
"""Times as long as without the fault, and seconds besides, that the tests of one may take before they count as hung."""
_COVER = "write it with --cover, which runs all tests once"
_KEYS = {"file", "old", "new", "fault"}
_SETTINGS = """[run]
source = spacetime_tps
concurrency = multiprocessing,thread
parallel = True
sigterm = True
"""


class Row(BaseModel):
    """What is kept of a fault that was tried, and more."""

    model_config = ConfigDict(extra="allow")
    number: int
    result: str
    by: str | None = None


class _Shared:
    """Told by pytest when it collects: the fixtures of every test that other tests share."""

    def __init__(self) -> None:
        self.fixtures: dict[str, list[str]] = {}

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        for item in session.items:
            found = item._fixtureinfo.name2fixturedefs  # type: ignore[attr-defined]
            self.fixtures[item.nodeid] = [
                name
                for name, made in found.items()
                if made[-1].scope != "function" and made[-1].func.__module__.startswith("tests.")
            ]


def shared_fixtures() -> dict[str, list[str]]:
    """By test, what is made for several tests at once."""
    shared = _Shared()
    with contextlib.chdir(ROOT), contextlib.redirect_stdout(io.StringIO()):
        pytest.main(["--collect-only", "-q", "-p", "no:cacheprovider"], plugins=[shared])
    return shared.fixtures


def cover(out: Path) -> None:
    """Run all tests, and write which lines each of them runs and how long it takes."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "coveragerc").write_text(_SETTINGS)
    environment = {**os.environ, "COVERAGE_FILE": str(out / "coverage")}
    words = ["-n", "2", "--dist", "loadfile", "--cov", f"--cov-config={out / 'coveragerc'}", "--cov-context=test"]
    words += ["--cov-report=", "-q", f"--junitxml={out / 'times.xml'}", "-o", "junit_family=xunit1"]
    subprocess.run([sys.executable, "-m", "pytest", *words], cwd=ROOT, env=environment, check=False)
    write_lines(out)


def write_lines(out: Path) -> None:
    """Write ``covered.json`` from what coverage found; the name of no test stands for the import of a file.

    What a shared fixture runs, coverage tells of the first test that asks for it; it is a line of all that do.
    """
    if not (out / "coverage").is_file():
        sys.exit(f"There is no {out / 'coverage'}; {_COVER}.")
    from coverage.numbits import numbits_to_nums

    own: dict[str, dict[str, set[int]]] = defaultdict(lambda: defaultdict(set))
    made: dict[str, dict[str, set[int]]] = defaultdict(lambda: defaultdict(set))
    fixtures = shared_fixtures()
    with sqlite3.connect(out / "coverage") as data:
        try:
            found = data.execute(
                "select context.context, file.path, numbits from line_bits "
                "join context on context_id = context.id join file on file_id = file.id"
            )
        except sqlite3.DatabaseError:
            sys.exit(f"{out / 'coverage'} is not what coverage writes; {_COVER}.")
        for context, path, bits in found:
            test, _, phase = context.partition("|")
            if not Path(path).is_relative_to(ROOT):
                sys.exit(f"{out / 'coverage'} is of another checkout ({path}); {_COVER}.")
            name, lines = Path(path).relative_to(ROOT).as_posix(), numbits_to_nums(bits)
            own[name][test].update(lines)
            if phase == "setup":
                for fixture in fixtures.get(test, []):
                    made[name][fixture].update(lines)
    for name, by_fixture in made.items():
        for test, names in fixtures.items():
            for fixture in names:
                own[name][test].update(by_fixture.get(fixture, ()))
    lines_of = {
        name: {test: sorted(lines) for test, lines in tests.items() if ("::" in test or not test) and lines}
        for name, tests in own.items()
    }
    write(out / "covered.json", json.dumps(lines_of))
    print(f"{len({test for tests in lines_of.values() for test in tests})} tests run lines of {len(lines_of)} files")


def write(file: Path, text: str) -> None:
    """The whole file, or none of it."""
    half = file.with_suffix(".half")
    half.write_text(text, encoding="utf-8")
    half.replace(file)


def read(file: Path, kind: Any, advice: str) -> Any:
    """What a JSON file of a kind holds, or the end of the program in one sentence."""
    try:
        return TypeAdapter(kind).validate_python(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError):
        sys.exit(f"{file} is missing or not what this script writes; {advice}.")


def faults_in(file: Path) -> list[dict[str, str]]:
    """The faults of a list, or the end of the program in one sentence."""
    if not file.is_file():
        sys.exit(f"There is no list of faults {file}; give one such as scripts/faults/chosen.yaml.")
    try:
        found = TypeAdapter(list[dict[str, str]]).validate_python(yaml.safe_load(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        found = [{}]
    if not all(set(each) >= _KEYS for each in found):
        sys.exit(
            f"{file} is no list of faults: expected YAML with {', '.join(sorted(_KEYS))} in each, as in chosen.yaml."
        )
    return found


def times_in(out: Path) -> dict[str, float]:
    """Seconds of each test, by its name."""
    try:
        cases = list(ElementTree.parse(out / "times.xml").iter("testcase"))
        return {f"{case.get('file')}::{case.get('name')}": float(case.get("time", 0)) for case in cases}
    except (OSError, ValueError, ElementTree.ParseError):
        sys.exit(f"{out / 'times.xml'} is missing or not what pytest writes; {_COVER}.")


def tests_of(fault: dict[str, Any], covered: dict[str, dict[str, list[int]]], times: dict[str, float]) -> list[str]:
    """Tests that run a changed line, the quickest first, whole runs last; a deletion changes the line before it, too.

    Of a line that runs when its file is imported, and in no test, all tests that run anything of the file; of a file
    that holds nothing else, all tests.
    """
    source = (ROOT / fault["file"]).read_text(encoding="utf-8")
    before = source[: source.index(fault["old"])].count("\n") + 1
    after = before + fault["old"].rstrip("\n").count("\n")
    changed = set(range(before, after + 1))
    by_test = covered.get(fault["file"], {})
    found = [test for test, lines in by_test.items() if test and changed & set(lines)]
    if not found and changed & set(by_test.get("", ())):
        found = [test for test in by_test if test] or list(times)
    return sorted(found, key=lambda test: ("stages" in test.split("::")[0], times.get(test, 1.0)))


def outcome_of(fault: dict[str, Any], tests: list[str], longest: float) -> dict[str, Any]:
    """Whether one of the tests fails, or is not through after ``longest`` seconds, with the fault in place.

    A test that fails without the fault, too, is left out.
    """
    begun, left_out = time.monotonic(), list[str]()
    while True:
        told = {"tests": len(tests), **({"left out": left_out} if left_out else {})}
        try:
            failed = failure_of([test for test in tests if test not in left_out], fault, longest)
            if failed is None:
                return {"result": "not caught", "seconds": round(time.monotonic() - begun), **told}
            if failed in tests and failure_of([failed], None, longest) is not None:
                left_out.append(failed)
                continue
        except subprocess.TimeoutExpired:
            failed = "a hang"
        return {"result": "caught", "by": failed, "seconds": round(time.monotonic() - begun), **told}


def failure_of(tests: list[str], fault: dict[str, Any] | None, longest: float) -> str | None:
    """The first of the tests that fails in a copy of the package, with the fault or without one."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "repository"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".git", ".venv", "runs", "_build", "*.pyc"))
        if fault is not None:
            file = copy / fault["file"]
            file.write_text(file.read_text(encoding="utf-8").replace(fault["old"], fault["new"]), encoding="utf-8")
        environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
        words = ["-x", "-q", "-p", "no:cacheprovider", "--no-header", *tests]
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *words],
            cwd=copy, env=environment, capture_output=True, text=True, timeout=longest, check=False,
        )  # fmt: skip
    if done.returncode == 0:
        return None
    failed = [line.split(" - ")[0] for line in done.stdout.splitlines() if line.startswith(("FAILED ", "ERROR "))]
    return failed[0].split(" ", 1)[1] if failed else f"exit code {done.returncode}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("faults", type=Path, nargs="?")
    parser.add_argument("--cover", action="store_true")
    parser.add_argument("--lines", action="store_true", help="write covered.json again from what coverage found")
    parser.add_argument("--first", type=Path, help="what another run found: the tests that caught a fault come first")
    parser.add_argument("--only", default="", help="faults whose file or sentence holds this text")
    given = parser.parse_args()
    out = given.out.resolve()
    if given.cover:
        cover(out)
    elif given.lines:
        write_lines(out)
    if given.faults is None:
        return
    covered, times = read(out / "covered.json", dict[str, dict[str, list[int]]], _COVER), times_in(out)
    kept = out / f"{given.faults.stem}.json"
    if kept.name == "covered.json":
        sys.exit(f"The list {given.faults} would be kept as {kept}, which is taken; rename it.")
    before = read(kept, list[Row], "delete it to begin anew") if kept.is_file() else []
    rows = [row.model_dump(exclude_unset=True) for row in before]
    earlier = read(given.first, list[Row], "give what an earlier run wrote") if given.first else []
    caught_by = {row.number: row.by for row in earlier}
    for number, fault in enumerate(faults_in(given.faults), 1):
        if given.only not in f"{fault['file']} {fault['fault']}" or number in [row["number"] for row in rows]:
            continue
        file = ROOT / fault["file"]
        if not file.is_file() or file.read_text(encoding="utf-8").count(fault["old"]) != 1:
            row: dict[str, Any] = {"result": "the place is not there any more"}
        else:
            tests = sorted(tests_of(fault, covered, times), key=lambda test: test != caught_by.get(number))
            longest = _STARTING + _SLOWER * sum(times.get(test, 1.0) for test in tests)
            row = outcome_of(fault, tests, longest) if tests else {"result": "no test runs this line"}
        rows.append({"number": number, "file": fault["file"], "fault": fault["fault"], **row})
        print(f"{number:2d} {row['result']:12s} {fault['file']}: {row.get('by', '')}", flush=True)
        write(kept, json.dumps(rows, indent=1))
    print(f"{sum(row['result'] == 'caught' for row in rows)} of {len(rows)} caught")


if __name__ == "__main__":
    main()
