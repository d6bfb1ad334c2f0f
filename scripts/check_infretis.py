"""Does infRETIS take our paths? ``Run.to_infretis`` against infRETIS's own readers.

Sampled paths of a run become a load folder. In an environment that holds nothing but infRETIS, its own code loads every
path and says on which side of the interfaces it begins and ends; its own TRR reader gives the frames, whose torsion,
worked out there, has to be the order parameter of the tables, and whose velocities may not be zero.

    python scripts/check_infretis.py runs/alanine_dipeptide phi -40 -20 0 36    # after spacetime-tps shoot
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

VERSION = "2026.1.1"


def check(load: Path, atoms: list[int], interfaces: list[float]) -> None:
    """Within that environment; ``atoms`` make the torsion."""
    import numpy as np
    from infretis.classes.engines.gromacs import read_trr_data, read_trr_header
    from infretis.classes.path import load_path

    def frames_of(file: str) -> list[dict[str, np.ndarray]]:
        frames = []
        with open(file, "rb") as handle:
            while True:
                try:
                    header, _ = read_trr_header(handle)
                except EOFError:
                    return frames
                frames.append(read_trr_data(handle, header))

    def torsion(x: np.ndarray) -> float:
        first, middle, last = np.diff(x[atoms], axis=0)
        one, other = np.cross(first, middle), np.cross(middle, last)
        return np.degrees(np.arctan2(first @ other * np.linalg.norm(middle), one @ other))

    sign = 1.0 if interfaces[-1] > interfaces[0] else -1.0
    walls = [sign * wall for wall in interfaces]
    for number in range(len(interfaces)):
        path = load_path(str(load / str(number)))
        around = [walls[0], walls[number - 1], walls[-1]] if number else [-np.inf, walls[0], walls[0]]
        start, end, _, crossed = path.check_interfaces(around)
        off, slowest = 0.0, np.inf
        frames = frames_of(path.phasepoints[0].config[0])
        for point in path.phasepoints:
            frame = frames[point.config[1]]
            away = sign * torsion(frame["x"]) - point.order[0]
            off = max(off, abs((away + 180.0) % 360.0 - 180.0))
            slowest = min(slowest, np.abs(frame["v"]).max())
        name = f"[{number - 1}+]" if number else "[0-]"
        print(f"{name:5s} {path.length:6d} frames, {start} -> {end}, order parameter off by {off:.1e} deg at most")
        assert (start, end) == (("L", "R") if number else ("R", "R"))
        assert crossed[1] or not number
        assert off < 0.01
        assert slowest > 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="folder of a run with sampled paths")
    parser.add_argument("variable", help="the collective variable that is the order parameter")
    parser.add_argument("interfaces", type=float, nargs="+", help="[deg]")
    parser.add_argument("--environment", type=Path, default=Path(".venv-infretis"))
    given = parser.parse_args()

    from own_environment import own_environment

    from spacetime_tps import Run
    from spacetime_tps.errors import UserError

    with tempfile.TemporaryDirectory() as scratch:
        load = Path(scratch) / "load"
        try:
            run = Run(given.run)
            run.to_infretis(load, given.variable, given.interfaces)
        except UserError as error:
            sys.exit(str(error))
        variables = run.system.variables
        atoms = variables.quadruples[variables.names.index(given.variable)].tolist()
        code = "import json, sys; from pathlib import Path; from check_infretis import check; "
        code += "check(Path(sys.argv[1]), *json.loads(sys.argv[2]))"
        arguments = [str(load), json.dumps([atoms, given.interfaces])]
        python = own_environment(given.environment, [f"infretis=={VERSION}"])
        done = subprocess.run([python, "-c", code, *arguments], cwd=Path(__file__).parent, check=False)
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
