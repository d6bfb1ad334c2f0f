"""Write requirements.lock: every package of the development environment with its version and the digests of its files.

    python scripts/lock_versions.py

torch is left out with what its CUDA build alone needs: which build is right depends on the machine, and constraints.txt
names the version. Needs uv (``pip install uv``).
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
OF_TORCH = re.compile(r"(torch|triton|nvidia-|cuda-)")
HEAD = """# All packages of the development environment with the digests of their files, for Python 3.11 and later.
# Made by scripts/lock_versions.py from pyproject.toml and constraints.txt; torch comes first, see CONTRIBUTING.md.
"""


def main() -> None:
    uv = ("uv", "pip", "compile", "pyproject.toml", "--extra", "dev", "--extra", "docs", "--universal")
    how = ("--constraint", "constraints.txt", "--generate-hashes", "--no-header", "--no-annotate", "--quiet")
    done = subprocess.run(
        [sys.executable, "-m", *uv, *how, "--python-version", "3.11"], cwd=ROOT, capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(done.stderr.strip() or "uv is missing: pip install uv")
    packages = re.split(r"\n(?=\S)", done.stdout.strip())
    kept = [package for package in packages if not OF_TORCH.match(package)]
    (ROOT / "requirements.lock").write_text(HEAD + "\n".join(kept) + "\n", encoding="utf-8")
    print(f"{len(kept)} packages")


if __name__ == "__main__":
    main()
