"""Print, as constraints for pip, the lowest version of every dependency that pyproject.toml allows.

    python scripts/lowest_versions.py > lowest.txt

torch is that of constraints.txt: its builds for old versions come for other machines.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent


def main() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    optional = project["optional-dependencies"]
    wanted = [
        *project["dependencies"],
        *optional["test"],
        *optional["hdf5"],
        *optional["tica"],
        *optional["tensorboard"],
    ]
    for requirement in wanted:
        if found := re.match(r"([\w.-]+)>=([\w.]+)", requirement):
            name, lowest = found.groups()
            if name != "torch":
                print(f"{name}=={lowest}")
    tested = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    print(next(line for line in tested.splitlines() if line.startswith("torch==")))


if __name__ == "__main__":
    main()
