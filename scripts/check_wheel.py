"""Build the wheel, install it outside of the checkout, and use it there: what a release has to pass.

    python scripts/check_wheel.py [FOLDER]         # about five minutes with the installation; FOLDER keeps the wheel

TORCH_INDEX, if set, is the wheel index that torch comes from.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import tomllib
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
_USE = """
import spacetime_tps
assert "site-packages" in spacetime_tps.__file__, spacetime_tps.__file__
print(spacetime_tps.Run("run").summary["paths"]["count"], "paths")
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", help="keeps the wheel")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (given.folder or Path(temporary)).resolve()
        wheel = built(folder)
        check_contents(wheel)
        use(wheel, Path(temporary) / "elsewhere")
        print(f"{wheel.name} works outside of the checkout." + (f" It is in {folder}." if given.folder else ""))


def built(folder: Path) -> Path:
    """The wheel of this checkout."""
    _call(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return folder / f"{project['name'].replace('-', '_')}-{project['version']}-py3-none-any.whl"


def check_contents(wheel: Path) -> None:
    """All files of the package and of the systems, and nothing else."""
    with zipfile.ZipFile(wheel) as archive:
        inside = {name for name in archive.namelist() if ".dist-info/" not in name}
    tracked = subprocess.run(
        ["git", "ls-files", "spacetime_tps", "systems"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\n")[:-1]
    wanted = {name if name.startswith("spacetime_tps/") else f"spacetime_tps/shipped_{name}" for name in tracked}
    if missing := sorted(wanted - inside):
        sys.exit(f"The wheel lacks {missing[0]}.")
    if more := sorted(inside - wanted):
        sys.exit(f"The wheel holds {more[0]}, which is not in the repository.")


def use(wheel: Path, folder: Path) -> None:
    """Install it in a new environment, run a system, and read the run by Python."""
    folder.mkdir()
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv/bin/python"
    pip = (python, "-m", "pip", "install", "--quiet", "--constraint", ROOT / "constraints.txt")
    index = ("--index-url", os.environ["TORCH_INDEX"]) if os.environ.get("TORCH_INDEX") else ()
    _call(*pip, *index, "torch", folder=folder)
    _call(*pip, wheel, folder=folder)
    command = folder / "venv/bin/spacetime-tps"
    for words in (("--version",), ("config", "alanine_dipeptide"), ("doctor",)):
        _call(command, *words, folder=folder)
    _call(command, "run", "mueller_brown", "--preset", "quick", "-o", "run", folder=folder)
    _call(python, "-c", _USE, folder=folder)


def _call(*words: str | Path, folder: Path = ROOT) -> None:
    print("$", " ".join(map(str, words[:8])).replace("\n", " ")[:150], flush=True)
    if subprocess.run([*map(str, words)], cwd=folder, check=False).returncode:
        sys.exit("It failed.")


if __name__ == "__main__":
    main()
