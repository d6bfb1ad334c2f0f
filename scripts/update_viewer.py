"""Refresh the report's 3-D viewer, the one third-party file of the repository, from its npm package.

Takes ``3Dmol-min.js`` and the licence of the newest release, or of the one that is named, and puts them into the
package's data. Look at the report afterwards: ``tests/stages/test_report.py`` does in headless Chromium.

    python scripts/update_viewer.py            # needs npm
    python scripts/update_viewer.py 2.5.5
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

ASSETS = Path(__file__).resolve().parents[1] / "spacetime_tps/export/assets"
FILES = {"package/build/3Dmol-min.js": "3Dmol-min.js", "package/LICENSE": "3Dmol-LICENSE.txt"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("version", nargs="?", default="latest")
    given = parser.parse_args()
    npm = shutil.which("npm")
    if npm is None:
        parser.error("npm is not installed; it comes with Node.js")
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([npm, "pack", "--silent", f"3dmol@{given.version}"], cwd=folder, check=True)
        (archive,) = Path(folder).glob("*.tgz")
        with tarfile.open(archive) as packed:
            for name, target in FILES.items():
                source = packed.extractfile(name)
                assert source is not None
                (ASSETS / target).write_bytes(source.read())
        print(f"{archive.name}: {(ASSETS / '3Dmol-min.js').stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
