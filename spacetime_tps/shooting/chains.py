"""Chains of shooting moves, in blocks.

A block has its own engine and its own random streams, so a chain that is interrupted and resumed after a block is the
same chain, bit for bit, whatever the number of workers. Chains of a molecule are independent tasks; on an analytic
potential all chains are integrated as one batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openmm

from spacetime_tps.collective_variables import CollectiveVariables
from spacetime_tps.config import OverdampedConfig, SelectorConfig, ShootingConfig
from spacetime_tps.dynamics import MolecularDynamics
from spacetime_tps.errors import DamagedFileError, UserError
from spacetime_tps.molecules import heaviest_hydrogen
from spacetime_tps.parallel import WorkerPool
from spacetime_tps.paths.molecular import LINE_SUBDIVISIONS
from spacetime_tps.potentials import FreeEnergySurface, Potential
from spacetime_tps.progress import progress_bar
from spacetime_tps.seeds import generator, openmm_seed, torch_seed
from spacetime_tps.shooting.engine import Engine
from spacetime_tps.shooting.molecular import MolecularEngine
from spacetime_tps.shooting.moves import GaussianSelector, Move, Selector, ShootingState, UniformSelector, init, walk
from spacetime_tps.shooting.overdamped import OverdampedEngine
from spacetime_tps.shooting.path import ShotPath
from spacetime_tps.shooting.record import Block, Steps
from spacetime_tps.states import Axes, State
from spacetime_tps.systems import System

_HYDROGEN = 1.1
"""Mass [u] that no hydrogen has by nature."""
_NARROWEST = 1e-6
"""Width of a selector [radian, or unit of the variable] below which its weights mean nothing."""


@dataclass(frozen=True)
class EngineRecipe:
    """What an engine is made of, picklable.

    Attributes:
        variables, states: of the system.
        frame_every: integration steps a frame.
        dynamics: of a molecule, on its platform.
        potential, kt, time_step: of an analytic system.
    """

    variables: CollectiveVariables
    states: tuple[State, State]
    frame_every: int
    dynamics: MolecularDynamics | None = None
    potential: Potential | None = None
    kt: float = 1.0
    time_step: float = 0.0

    @classmethod
    def of(cls, system: System, dynamics: MolecularDynamics | None, frame_every: int) -> EngineRecipe:
        """The unguided dynamics of a system; ``dynamics`` names the platform of a molecule.

        Raises:
            UserError: hydrogens have repartitioned masses: their dynamics are no physical ones.
        """
        if system.potential is None:
            assert system.molecule is not None
            described = openmm.XmlSerializer.deserialize(system.molecule.dynamics.system_xml)
            heaviest = heaviest_hydrogen(system.molecule.topology, described)
            if heaviest > _HYDROGEN:
                raise UserError(
                    f"{system.config.name} has hydrogens of {heaviest:.2f} u: with repartitioned masses shooting and "
                    "committors would measure dynamics that are none; describe it with physical masses."
                )
            return cls(system.variables, system.states, frame_every, dynamics)
        assert isinstance(system.config.system.dynamics, OverdampedConfig)
        dt = system.config.system.dynamics.time_step
        return cls(system.variables, system.states, frame_every, None, system.potential, system.potential_kt, dt)

    def build(self, seed: int) -> Engine:
        """An engine whose noise has the seed ``seed``."""
        if self.potential is not None:
            return OverdampedEngine(self.potential, self.kt, self.time_step, self.states, self.frame_every, seed)
        assert self.dynamics is not None
        return MolecularEngine(self.dynamics, self.variables, self.states, self.frame_every, seed)


@dataclass(frozen=True)
class Observables:
    """What is read off every path of a chain.

    Attributes:
        surface: the reference free energy, if there is one.
        columns: of the collective variables that the surface is over.
        variables: the collective variables.
    """

    surface: FreeEnergySurface | None
    columns: tuple[int, ...]
    variables: CollectiveVariables

    @classmethod
    def of(cls, system: System) -> Observables:
        """Those of a system."""
        names = system.variables.names
        columns = tuple(names.index(name) for name in system.reference.names) if system.reference is not None else ()
        return cls(system.reference, columns, system.variables)

    def max_free_energy(self, variables: np.ndarray) -> float:
        """MaxFreeEnergy of a path with ``variables`` of shape (T, n_cv); NaN without a reference."""
        if self.surface is None:
            return float("nan")
        return self.surface.maximum_along(variables[:, list(self.columns)], self.subdivisions)

    @property
    def subdivisions(self) -> int:
        """Of the lines between frames; an overdamped path is what it is at its steps, a molecule moves in between."""
        return LINE_SUBDIVISIONS if self.variables.n_angles else 1

    def displacement(self, variables: np.ndarray) -> np.ndarray:
        """From the first frame to the last, angles followed along the path, shape (n_cv,)."""
        lifted = self.variables.unwrapped(variables)
        return lifted[-1] - lifted[0]


def build_move(config: ShootingConfig, axes: Axes) -> Move:
    """The move that a configuration asks for.

    Raises:
        UserError: the selector's variable or a quantity of it is unfit.
    """
    chosen: Selector = UniformSelector()
    if config.selector is not None:
        chosen = build_selector(config.selector, "shooting.selector", axes)
    return Move(
        two_way=config.move == "two_way",
        selector=chosen,
        mixing=config.velocity_mixing,
        fixed_length=config.fixed_frames is not None,
        max_frames=config.max_frames,
    )


def build_selector(given: SelectorConfig, where: str, axes: Axes) -> GaussianSelector:
    """The weight that the section ``where`` of a configuration asks for.

    Raises:
        UserError: the variable is unknown or a quantity unfit.
    """
    column = axes.column(given.variable, f"{where}.variable")
    center, width = (axes.value(column, getattr(given, key), f"{where}.{key}") for key in ("center", "width"))
    if width < _NARROWEST:
        raise UserError(f"{where}.width is {given.width!r}; it should be at least {_NARROWEST:g}.")
    return GaussianSelector(column, center, width, axes.period(column))


@dataclass(frozen=True)
class _Task:
    """A block of some chains, picklable; ``seeds`` are those of the dynamics and of the moves."""

    recipe: EngineRecipe
    move: Move
    observables: Observables
    states: list[ShootingState]
    size: int
    keep_every: int
    seeds: tuple[int, np.random.Generator]


def run_block(
    engine: Engine,
    move: Move,
    observables: Observables,
    states: list[ShootingState],
    size: int,
    keep_every: int,
    rng: np.random.Generator,
) -> Block:
    """``size`` steps of some chains; every ``keep_every`` steps their paths are kept."""
    before = engine.force_evaluations
    rows: list[list[tuple]] = [[] for _ in states]
    kept: list[list[ShotPath]] = [[] for _ in states]
    seen = [_read(state, observables) for state in states]
    states = list(states)
    for k, state, info in walk(states, engine, move, rng, size):
        states[k] = state
        if info.accepted:
            seen[k] = _read(state, observables)
        rows[k].append((info.accepted, info.move, info.reason, info.new_frames, *seen[k]))
        if state.steps % keep_every == 0:
            kept[k].append(state.path)
    columns = zip(*(tuple(zip(*row, strict=True)) for row in rows), strict=True)
    steps = Steps(*(np.array(column) for column in columns))
    return Block(states, steps, kept, engine.force_evaluations - before)


def _read(state: ShootingState, observables: Observables) -> tuple[int, int, float, np.ndarray]:
    path = state.path
    top, moved = observables.max_free_energy(path.variables), observables.displacement(path.variables)
    return len(path), int(path.born.min()), top, moved


def _run(task: _Task) -> Block:
    noise, rng = task.seeds
    return run_block(
        task.recipe.build(noise), task.move, task.observables, task.states, task.size, task.keep_every, rng
    )


def _stored(file: Path, chains: int, size: int, steps: int) -> Block:
    """A block of an earlier call.

    Raises:
        DamagedFileError: it is damaged, or another block than the one that comes next.
    """
    block = Block.load(file)
    if block.steps.accepted.shape != (chains, size) or {state.steps for state in block.states} != {steps}:
        raise DamagedFileError(
            f"{file} is not the block of {size} steps of {chains} chains that ends at step {steps}; "
            "run 'shoot' again with --overwrite."
        )
    return block


def run_chains(
    system: System,
    dynamics: MolecularDynamics | None,
    first: list[ShotPath],
    config: ShootingConfig,
    seed: int,
    pool: WorkerPool,
    name: str = "shoot",
    folder: Path | None = None,
) -> list[Block]:
    """Run a chain from each first path.

    Args:
        system: whose states and dynamics.
        dynamics: of a molecule, on its platform.
        first: a path for every chain.
        config: of the chains.
        seed: of the run.
        pool: where chains of a molecule run.
        name: of the random streams.
        folder: where finished blocks are stored and found again.
    """
    recipe, observables = EngineRecipe.of(system, dynamics, config.frame_every), Observables.of(system)
    move = build_move(config, system.variables.axes)
    states, blocks = [init(path) for path in first], []
    sizes = [min(config.block_steps, config.steps - done) for done in range(0, config.steps, config.block_steps)]

    def tasks(number: int, size: int) -> list[_Task]:
        batches = [states] if recipe.potential is not None else [[state] for state in states]
        noise = torch_seed if recipe.potential is not None else openmm_seed
        return [
            _Task(
                recipe, move, observables, batch, size, config.keep_every,
                (noise(seed, name, "dynamics", number, k), generator(seed, name, "moves", number, k)),
            )
            for k, batch in enumerate(batches)
        ]  # fmt: skip

    with progress_bar(config.steps, f"shooting, {len(states)} chains", "step") as bar:
        for number, size in enumerate(sizes):
            file = None if folder is None else folder / f"block_{number:04d}.npz"
            if file is not None and file.is_file():
                block = _stored(file, len(states), size, states[0].steps + size)
            else:
                todo = tasks(number, size)
                done = [_run(todo[0])] if len(todo) == 1 else pool.map(_run, [(task,) for task in todo])
                block = Block.joined(done)
                if file is not None:
                    block.save(file)
            states = block.states
            blocks.append(block)
            bar.update(size)
    return blocks
