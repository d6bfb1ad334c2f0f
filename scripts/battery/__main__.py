"""An adversarial battery: everything that may go wrong with a command, and what the command did about it.

    python scripts/battery -o OUT                        all families
    python scripts/battery -o OUT --family keys folders  some
    python scripts/battery -o OUT --limit 200 --seed 3   a sample of each
    python scripts/battery --compare OLD/results.json NEW/results.json

The installed package is tried, or that of PYTHONPATH. Linux; the family ``disks`` mounts small file systems and needs
root. OUT holds ``results.json`` and, while it goes on, ``results-*.jsonl``. The exit code is 1 if a count that has to
be zero is not.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"  # before any import: a process with threads must not fork

from harness import Case, Outcome, run_case  # noqa: E402
from table import compared, listed, table  # noqa: E402

FAMILIES = (
    "keys",
    "options",
    "inputs",
    "numbers",
    "code",
    "folders",
    "refusals",
    "kills",
    "signals",
    "disks",
    "streams",
)


def cases_of(family: str, masters: Path, seed: int) -> list[Case]:
    """All cases of a family."""
    import importlib

    return importlib.import_module(f"family_{family}").cases(masters, random.Random(f"{seed} {family}"))


def quick(case: Case) -> bool:
    """Whether a case takes a second or so and needs runs of the Müller-Brown surface only."""
    if case.family == "folders":
        return case.name.startswith(("toy: run --resume:", "toy: report:")) and "toy_old" not in case.name
    if case.family in ("inputs", "numbers", "code"):
        return case.words[0] in ("config", "sample") and "run" not in " ".join(case.words) and case.seconds > 15
    if case.family == "refusals":
        return case.words[0] not in ("compare", "init") and "another system" not in case.name
    return case.family == "keys"


def chosen(cases: list[Case], limit: int | None, seed: int) -> list[Case]:
    """All, or a sample of them; in an order that spreads slow ones."""
    names = [case.name for case in cases]
    assert len(set(names)) == len(names), sorted(name for name in set(names) if names.count(name) > 1)[:3]
    mixed = random.Random(f"order {seed}")
    mixed.shuffle(cases)
    return cases[:limit]


def run_all(cases: list[Case], output: Path, boxes: Path, jobs: int) -> list[dict]:
    """Run cases in ``jobs`` forked processes; every result is written as soon as it is there."""
    files = [output / f"results-{cases[0].family}-{k}.jsonl" for k in range(jobs)]
    workers = []
    for k, file in enumerate(files):
        worker = os.fork()
        if not worker:
            _work(cases[k::jobs], file, boxes / f"{k}/box")  # nobody else's box lies beside it
        workers.append(worker)
    for worker in workers:
        os.waitpid(worker, 0)
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def _work(cases: list[Case], file: Path, box: Path) -> None:
    code = 1
    try:
        with file.open("w") as handle:
            for case in cases:
                try:
                    outcome = run_case(case, box)
                except Exception as error:  # a fault of the battery itself must not hide
                    outcome = Outcome(case.family, case.name, [], crashed=True, stderr=f"battery: {error!r}")
                handle.write(json.dumps(outcome.row()) + "\n")
                handle.flush()
        code = 0
    finally:
        os._exit(code)


def preload() -> None:
    """Import what commands import, so that forked cases need not."""
    import importlib

    for name in ("init", "run", "sample", "stage", "shoot", "committor", "report", "compare", "distance", "config",
                 "doctor"):  # fmt: skip
        importlib.import_module(f"spacetime_tps.cli.{name}")
    for name in ("torch._dynamo", "matplotlib.pyplot", "mpl_toolkits.mplot3d", "pdbfixer", "pymbar", "jinja2"):
        importlib.import_module(name)
    import torch

    torch.set_num_threads(1)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="battery", description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, help="Folder of the results.")
    parser.add_argument("--family", nargs="+", choices=FAMILIES, default=FAMILIES)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=max(1, len(os.sched_getaffinity(0)) // 2))
    parser.add_argument("--limit", type=int, help="Cases of each family at most.")
    parser.add_argument("--only", default="", help="Cases whose names hold this text.")
    parser.add_argument("--quick", action="store_true", help="Quick cases of keys, inputs, folders and refusals only.")
    parser.add_argument("--list", action="store_true", help="Print every failure.")
    parser.add_argument("--compare", type=Path, nargs=2, metavar=("OLD", "NEW"), help="Print two results as one table.")
    given = parser.parse_args()
    if given.compare is None and given.output is None:
        parser.error("give -o OUT, or --compare OLD NEW")
    return given


def main() -> int:
    given = arguments()
    if given.compare:
        print(compared(*(json.loads(file.read_text()) for file in given.compare)))
        return 0
    preload()
    from masters import make_masters

    import spacetime_tps

    given.output.mkdir(parents=True, exist_ok=True)
    started, rows, uncovered = time.time(), [], []
    masters = make_masters(given.output.resolve() / "masters", given.quick)
    with tempfile.TemporaryDirectory(prefix="battery-") as boxes:
        for family in given.family:
            cases = [case for case in cases_of(family, masters, given.seed) if given.only in case.name]
            if given.quick:
                cases = [case for case in cases if quick(case)]
            if family == "keys":
                import leaves

                uncovered = leaves.uncovered()
            begun = time.time()
            new = (
                run_all(chosen(cases, given.limit, given.seed), given.output, Path(boxes), given.jobs) if cases else []
            )
            rows += new
            print(f"{family}: {len(new)} of {len(cases)} cases, {time.time() - begun:.0f} s", flush=True)
    result = {
        "package": spacetime_tps.__file__,
        "seed": given.seed,
        "seconds": round(time.time() - started),
        "uncovered": uncovered,
        "rows": rows,
    }
    (given.output / "results.json").write_text(json.dumps(result, indent=1))
    print(table(rows))
    if given.list:
        print(listed(rows))
    if uncovered:
        print(f"Models of the configuration that no case covers: {', '.join(uncovered)}")
    return int(any(row["failed"] for row in rows) or bool(uncovered))


if __name__ == "__main__":
    sys.exit(main())
