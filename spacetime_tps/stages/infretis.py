"""Sampled paths of a run as initial paths of an infRETIS simulation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from spacetime_tps.dynamics import MolecularDynamics, phase_of
from spacetime_tps.errors import UserError
from spacetime_tps.export.infretis import between_interfaces, over_the_cut, write_load_folder
from spacetime_tps.export.transition_path import TransitionPath
from spacetime_tps.seeds import generator, openmm_seed
from spacetime_tps.stages.context import opened
from spacetime_tps.stages.folder import RunFolder
from spacetime_tps.stages.loading import load_paths

_LONGEST = 100_000
"""Frames that a path within A may have."""


def write_infretis(out: Path, folder: Path, variable: str, interfaces: Sequence[float]) -> None:
    """Write ``folder``, the ``load`` of an infRETIS simulation whose order parameter is a collective variable [deg].

    [0+], [1+], ... get sampled paths of ``shoot``, cut to what lies between the first and the last interface; [0-]
    gets a short simulation that begins where the first of them left A, backward in time, until it comes out again.
    What goes round the other side of the circle, where no interface lies, is left out.

    Args:
        out: run folder.
        folder: that must not be there yet.
        variable: low in A and high in B, or the other way round, then with descending interfaces. Its circle is cut
            half-way between the structures of A and B, where the interfaces are not.
        interfaces: of infRETIS; where they descend, the order parameter is minus the variable.

    Raises:
        UserError: there are no sampled paths, none crosses all interfaces, or the variable is not known.
    """
    run = RunFolder(out)
    paths = load_paths(out, "sampled")
    with opened(run, run.config()) as context:
        system, seed = context.system, context.config.seed
        if system.molecule is not None and system.molecule.solvated:
            raise UserError("infRETIS needs all atoms of a frame, and paths are kept without water and ions.")
        if variable not in system.variables.names:
            raise UserError(f"{variable!r} is no collective variable; there are {', '.join(system.variables.names)}.")
        steps = np.diff(interfaces)
        if len(interfaces) < 2 or not (np.all(steps > 0) or np.all(steps < 0)):
            raise UserError("infRETIS wants at least two interfaces in ascending or descending order.")
        sign = 1.0 if steps[0] > 0 else -1.0
        walls = sign * np.asarray(interfaces, dtype=float)

        column = system.variables.names.index(variable)
        if column >= system.variables.n_angles:
            raise UserError(f"{variable!r} is no torsion, and the hand-over to infRETIS knows torsions only.")
        low, high = sign * np.rad2deg(system.variables(system.structures)[:, column])
        middle = 0.5 * (walls[0] - (walls[0] - low) % 360.0 + walls[-1] + (high - walls[-1]) % 360.0)

        def order_of(positions_nm: np.ndarray) -> np.ndarray:
            values = sign * np.rad2deg(system.variables(positions_nm)[:, column])
            return middle + (values - middle + 180.0) % 360.0 - 180.0

        fit = []
        for path in paths:
            try:
                part = path.frames(between_interfaces(order_of(path.positions_nm), walls[0], walls[-1]))
            except ValueError:
                continue
            fit.append(part)
        if not fit:
            raise UserError(f"None of {len(paths)} sampled paths crosses all interfaces in {variable} one by one.")
        rng = generator(seed, "infretis")
        chosen = [fit[k] for k in rng.permutation(len(fit))[: len(walls) - 1]]
        chosen += [fit[0]] * (len(walls) - 1 - len(chosen))
        every = round(chosen[0].interval_ps / context.dynamics().time_step_ps)
        minus = _within_a(chosen[0], context.dynamics(), every, order_of, walls[0], openmm_seed(seed, "infretis"))
        written = [minus, *chosen]
        write_load_folder(folder, written, [order_of(path.positions_nm) for path in written])


def _within_a(
    path: TransitionPath,
    dynamics: MolecularDynamics,
    every: int,
    order_of: Callable[[np.ndarray], np.ndarray],
    wall: float,
    seed: int,
) -> TransitionPath:
    """Backward in time from the second frame of a path, which lies outside A, until A is left again past ``wall``.

    Where A is left by the other side of the circle, it begins anew.

    Raises:
        UserError: that takes too long.
    """
    assert path.velocities_nm_ps is not None
    context = dynamics.context(seed)
    positions: list[np.ndarray] = []
    velocities: list[np.ndarray] = []
    for _ in range(_LONGEST):
        if not positions:
            positions, velocities = list(path.positions_nm[1::-1]), list(-path.velocities_nm_ps[1::-1])
            context.setPositions(positions[-1].astype(float))
            context.setVelocities(velocities[-1].astype(float))
        context.getIntegrator().step(every)
        here, moving = phase_of(context)
        positions.append(here)
        velocities.append(moving)
        order = order_of(np.array(positions[-2:]))
        if over_the_cut(order):
            positions = []
        elif order[-1] > wall:
            inside = np.zeros((len(positions), 2), dtype=bool)
            inside[1:-1, 0] = True
            nature = "Unguided dynamics within A, backward in time from where a path left it."
            made = replace(path, positions_nm=np.array(positions), in_states=inside, nature=nature)
            return replace(made, velocities_nm_ps=np.array(velocities))
    raise UserError(f"A was not left again in {_LONGEST * path.interval_ps:.0f} ps; choose a lower first interface.")
