"""Ratchet-and-pawl dynamics: a bias that does nothing while the system makes progress and keeps it from falling back.

Marchi and Ballone, J. Chem. Phys. 110, 3697 (1999). Progress is rho = |x - x*|^2 / 2, half the squared distance in
features to the structure in the target state; for torsions it is the sum of 1 - cos(theta - theta*). The bias is
k/2 (rho - rho_min)^2 where rho > rho_min, and zero elsewhere; rho_min is the least rho of all looks so far. It is
lowered only where the bias is zero, so that this does no work on the system. The dynamics is the system's own.

How fast a path gets over is a matter of k. *Measured* on alanine dipeptide, medians from A and from B: 75 ps and more
than 500 ps at 20 kT, 16 and 150 ps at 30, 7 and 35 ps at 50, 3 and 8 ps at 100; on the Müller-Brown surface 6,600 and
3,600 steps at 50 kT. A stiff ratchet takes whichever way first brings it nearer: from A over the high ridge near
phi = 120 degrees none of 8 paths at 30 kT, 4 of 24 at 50, 5 of 16 at 100; from B, where the nearest way in angle leads
over it, every path at any strength.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import openmm
import torch
from torch import Tensor

from spacetime_tps.baselines.guided import GuidedPaths, Passage
from spacetime_tps.collective_variables import CollectiveVariables
from spacetime_tps.config import OverdampedConfig
from spacetime_tps.dynamics import RESTRAINT_GROUP, MolecularDynamics, advance, look_lengths, positions_of, thermalise
from spacetime_tps.parallel import WorkerPool
from spacetime_tps.paths.overdamped import langevin_step
from spacetime_tps.progress import progress_bar
from spacetime_tps.representations import Torsions
from spacetime_tps.seeds import openmm_seed, torch_seed
from spacetime_tps.states import State
from spacetime_tps.systems import System

_CHUNK = 64
"""Looks between two checks of the states; what runs on past the target is dropped, and counted."""
_EQUILIBRATION_LOOK = 250
"""Steps between two looks while there is no bias."""
_OFF = 1e6
"""A rho_min far above every rho."""


@dataclass(frozen=True)
class Ratchet:
    """How paths are made.

    Attributes:
        strength_kt: k, in kT for a rho of one.
        look_every: steps between two looks.
        equilibration_steps: without bias in the start state.
        max_steps: under the bias, after which a path has not arrived.
    """

    strength_kt: float = 50.0
    look_every: int = 5
    equilibration_steps: int = 50_000
    max_steps: int = 250_000


# --- molecules ------------------------------------------------------------------------------------------------------


class RatchetBias:
    """The bias on torsions as an OpenMM force, off until ``engage``.

    Attributes:
        force: to be added to a System.
        least: rho_min.
    """

    def __init__(self, quadruples: np.ndarray, target: np.ndarray, stiffness: float):
        """The bias towards a structure.

        Args:
            quadruples: atoms of the torsions, shape (n_torsions, 4).
            target: their angles in the target structure [rad], shape (n_torsions,).
            stiffness: k [kJ/mol].
        """
        self.least = _OFF
        atoms = quadruples.ravel().astype(int).tolist()
        terms = [
            f"1-cos(dihedral({','.join(f'p{4 * k + j}' for j in range(1, 5))})-target{k})" for k in range(len(target))
        ]
        # The energy's derivative by the probe, which stays 0, is rho: the cheapest way to learn it.
        energy = f"k/2*max(0,rho-rho_min)^2+rho_probe*rho; rho={'+'.join(terms)}"
        self.force = openmm.CustomCompoundBondForce(len(atoms), energy)
        self.force.setName("RatchetBias")
        self.force.addGlobalParameter("rho_min", self.least)
        self.force.addGlobalParameter("rho_probe", 0.0)
        self.force.addEnergyParameterDerivative("rho_probe")
        self.force.addPerBondParameter("k")
        for k in range(len(target)):
            self.force.addPerBondParameter(f"target{k}")
        self.force.addBond(atoms, [stiffness, *map(float, target)])

    def engage(self, context: openmm.Context) -> None:
        """Begin here."""
        self.least = _OFF
        self.look(context)

    def look(self, context: openmm.Context) -> np.ndarray:
        """Positions [nm], shape (n_atoms, 3); progress since the last look is kept. Costs no force evaluation."""
        state = context.getState(positions=True, parameterDerivatives=True, groups={RESTRAINT_GROUP})
        rho = state.getEnergyParameterDerivatives()["rho_probe"]
        if rho < self.least:
            self.least = rho
            context.setParameter("rho_min", rho)
        return state.getPositions(asNumpy=True)._value


@dataclass(frozen=True)
class RatchetTask:
    """Everything one path of a molecule needs, picklable; ``states`` is (start, target)."""

    dynamics: MolecularDynamics
    torsions: Torsions
    variables: CollectiveVariables
    states: tuple[State, State]
    start_nm: np.ndarray
    target_nm: np.ndarray
    settings: Ratchet
    seed: int


def ratchet_path(task: RatchetTask) -> tuple[np.ndarray, np.ndarray, bool, int]:
    """Run one path; returns its frames, collective variables, whether it arrived, and its force evaluations."""
    settings, dynamics = task.settings, task.dynamics
    target = task.torsions.center(task.torsions.features(task.target_nm[None])[0])
    bias = RatchetBias(task.torsions.quadruples, target, settings.strength_kt * dynamics.kt)
    context = dynamics.context(task.seed, [bias.force])
    context.setPositions(task.start_nm)
    thermalise(context, dynamics.temperature_k, task.seed)
    _equilibrate(context, task)
    bias.engage(context)
    first = positions_of(context)
    passage, done = Passage(task.states, first, task.variables(first)), 0
    integrator, frames = context.getIntegrator(), np.empty((_CHUNK, *first.shape))
    looks = settings.max_steps // settings.look_every
    while not passage.arrived and done < looks:
        size = min(_CHUNK, looks - done)
        for k in range(size):
            integrator.step(settings.look_every)
            frames[k] = bias.look(context)
        passage.look(frames[:size], task.variables(frames[:size]))
        done += size
    return *passage.path(), passage.arrived, settings.equilibration_steps + done * settings.look_every


def _equilibrate(context: openmm.Context, task: RatchetTask) -> None:
    """Unbiased dynamics, of which the last look in the start state is what remains."""
    inside = context.getState(positions=True, velocities=True)
    for steps in look_lengths(task.settings.equilibration_steps, _EQUILIBRATION_LOOK):
        advance(context, steps)
        if task.states[0].contains(task.variables(positions_of(context))):
            inside = context.getState(positions=True, velocities=True)
    context.setState(inside)


def ratchet_molecule(
    system: System, dynamics: MolecularDynamics, count: int, settings: Ratchet, seed: int, pool: WorkerPool
) -> GuidedPaths:
    """Run ``count`` paths of a molecule, every other one from B to A.

    Args:
        system: whose states, structures and torsions.
        dynamics: the system's, on its platform.
        count: number of paths.
        settings: of the ratchet.
        seed: of the run.
        pool: where the paths run.
    """
    tasks = []
    for k in range(count):
        start, target = (0, 1) if k % 2 == 0 else (1, 0)
        tasks.append(
            RatchetTask(
                dynamics=dynamics,
                torsions=system.torsions,
                variables=system.variables,
                states=(system.states[start], system.states[target]),
                start_nm=system.structures[start],
                target_nm=system.structures[target],
                settings=settings,
                seed=openmm_seed(seed, "ratchet", k),
            )
        )
    with progress_bar(count, "ratchet", "path") as bar:
        results = pool.map(ratchet_path, [(task,) for task in tasks], bar)
    frames, variables, arrived, cost = (list(column) for column in zip(*results, strict=True))
    interval = settings.look_every * dynamics.time_step_ps
    return GuidedPaths(np.arange(count) % 2 == 0, frames, variables, np.array(arrived), np.array(cost), interval)


# --- analytic potentials --------------------------------------------------------------------------------------------


def progress(x: Tensor, target: Tensor) -> Tensor:
    """rho, shape (n,), of points and their targets, shape (n, d)."""
    return 0.5 * (x - target).square().sum(-1)


def ratchet_gradient(x: Tensor, target: Tensor, least: Tensor, stiffness: float) -> Tensor:
    """Gradient of the bias, shape (n, d), at points with targets, shape (n, d), and rho_min, shape (n,)."""
    return stiffness * (progress(x, target) - least).clamp_min(0.0)[:, None] * (x - target)


class _Walkers:
    """Points that move on an analytic potential, under a further force if there is one."""

    def __init__(self, system: System, seed: int):
        assert system.potential is not None
        assert isinstance(system.config.system.dynamics, OverdampedConfig)
        self.dt = system.config.system.dynamics.time_step
        self.kt = system.potential_kt
        self._potential, self._rng = system.potential, torch.Generator().manual_seed(seed)

    def step(self, x: Tensor, gradient: Tensor | float = 0.0) -> Tensor:
        return langevin_step(x, -self._potential.gradient(x) - gradient, self.kt, self.dt, self._rng)


def ratchet_toy(system: System, count: int, settings: Ratchet, seed: int) -> GuidedPaths:
    """Run ``count`` paths on an analytic potential as one batch, every other one from B to A.

    Those that have arrived are left out of the batch.
    """
    walkers, forward = _Walkers(system, torch_seed(seed, "ratchet")), np.arange(count) % 2 == 0
    stiffness = settings.strength_kt * walkers.kt
    states = [system.states if f else system.states[::-1] for f in forward]
    start, target = (torch.from_numpy(np.where(f[:, None], *system.structures)).double() for f in (forward, ~forward))
    x = _equilibrated(walkers, start, states, settings.equilibration_steps)
    passages = [Passage(pair, point, point) for pair, point in zip(states, x.numpy(), strict=True)]
    least, cost = progress(x, target), np.full(count, settings.equilibration_steps)
    active, looks, done = np.arange(count), settings.max_steps // settings.look_every, 0
    with progress_bar(count, "ratchet", "path") as bar:
        while len(active) and done < looks:
            size = min(_CHUNK, looks - done)
            frames = np.empty((size, *x.shape))
            for t in range(size):
                for _ in range(settings.look_every):
                    x = walkers.step(x, ratchet_gradient(x, target, least, stiffness))
                least = torch.minimum(least, progress(x, target))
                frames[t] = x.numpy()
            for row, k in enumerate(active):
                passages[k].look(frames[:, row], frames[:, row])
            cost[active] += size * settings.look_every
            done += size
            going = np.array([not passages[k].arrived for k in active])
            bar.update(len(going) - int(going.sum()))
            rows = torch.from_numpy(going)
            active, x, target, least = active[going], x[rows], target[rows], least[rows]
    points, variables = (list(column) for column in zip(*[p.path() for p in passages], strict=True))
    arrived = np.array([p.arrived for p in passages])
    return GuidedPaths(forward, points, variables, arrived, cost, settings.look_every * walkers.dt)


def _equilibrated(walkers: _Walkers, x: Tensor, states: list[tuple[State, State]], steps: int) -> Tensor:
    """Points of unbiased dynamics, shape (n, d): of each walker the last look in its start state."""
    inside = x
    for part in look_lengths(steps, _EQUILIBRATION_LOOK):
        for _ in range(part):
            x = walkers.step(x)
        holds = [bool(start.contains(point)) for (start, _), point in zip(states, x.numpy(), strict=True)]
        inside = torch.where(torch.tensor(holds)[:, None], x, inside)
    return inside
