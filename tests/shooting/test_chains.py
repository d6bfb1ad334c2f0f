"""Chains in blocks: resuming, workers, records; and first paths."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spacetime_tps.analysis.shooting import Chains
from spacetime_tps.config import ShootingConfig
from spacetime_tps.errors import UserError
from spacetime_tps.parallel import WorkerPool
from spacetime_tps.shooting.chains import EngineRecipe, Observables, build_move, run_chains
from spacetime_tps.shooting.first import energy_problem, first_path, hot_paths
from spacetime_tps.shooting.moves import GaussianSelector
from spacetime_tps.shooting.path import ShotPath, joined, pack, unpack
from spacetime_tps.shooting.record import Block
from spacetime_tps.states import Axes
from spacetime_tps.systems import System, find_system_file, load_config, load_system

CONFIG = ShootingConfig(chains=2, steps=12, burn_in=3, keep_every=4, block_steps=5)


@pytest.fixture(scope="module")
def molecule() -> System:
    file = find_system_file("alanine_dipeptide")
    return load_system(load_config(file), file.parent)


@pytest.fixture(scope="module")
def first(molecule: System) -> list[ShotPath]:
    assert molecule.molecule is not None
    recipe = EngineRecipe.of(molecule, molecule.molecule.dynamics, 5)
    paths, _ = hot_paths(recipe, 3.0, molecule.structures[0], 1, 2_000_000, 11, np.random.default_rng(0))
    return paths * 2


def run(system: System, first: list[ShotPath], pool: WorkerPool, folder: Path | None = None) -> list[Block]:
    assert system.molecule is not None
    return run_chains(system, system.molecule.dynamics, first, CONFIG, 5, pool, folder=folder)


def same(a: list[Block], b: list[Block]) -> bool:
    ours, theirs = (Chains.of(blocks, 3, 4) for blocks in (a, b))
    kept = zip((p for row in ours.kept for p in row), (p for row in theirs.kept for p in row), strict=True)
    return (
        all(np.array_equal(getattr(ours.steps, n), getattr(theirs.steps, n)) for n in vars(ours.steps))
        and all(np.array_equal(p.positions, q.positions) and np.array_equal(p.born, q.born) for p, q in kept)
        and ours.force_evaluations == theirs.force_evaluations
    )


def test_workers_and_interruptions_do_not_change_a_chain(
    molecule: System, first: list[ShotPath], tmp_path: Path
) -> None:
    whole = run(molecule, first, WorkerPool(1))
    assert [block.states[0].steps for block in whole] == [5, 10, 12]
    with WorkerPool(2) as pool:
        assert same(run(molecule, first, pool), whole)
    run(molecule, first, WorkerPool(1), tmp_path)
    (tmp_path / "block_0002.npz").unlink()
    (tmp_path / "block_0001.npz").unlink()
    assert same(run(molecule, first, WorkerPool(1), tmp_path), whole)


def test_what_a_chain_records(molecule: System, first: list[ShotPath]) -> None:
    blocks = run(molecule, first, WorkerPool(1))
    chains, observables = Chains.of(blocks, 3, 4), Observables.of(molecule)
    steps = chains.steps
    assert steps.accepted.shape == steps.length.shape == (2, 12)
    assert [[p.born.max() <= 4 * (k + 1) for k, p in enumerate(row)] for row in chains.kept] == [[True] * 3] * 2
    assert len(chains.paths) == 2 * 3  # after steps 4, 8 and 12; the burn-in is 3
    for row, kept in enumerate(chains.kept):
        for k, path in enumerate(kept):
            at = 4 * (k + 1) - 1
            assert steps.length[row, at] == len(path)
            assert steps.oldest[row, at] == path.born.min()
            assert steps.max_free_energy[row, at] == observables.max_free_energy(path.variables)
            assert steps.displacement[row, at] == pytest.approx(observables.displacement(path.variables))
    changed = np.diff(steps.max_free_energy, axis=1) != 0
    assert not np.any(changed & ~steps.accepted[:, 1:])  # a rejected step keeps its path


def test_paths_are_packed(first: list[ShotPath]) -> None:
    paths = [first[0], first[0].part(0, 3), joined([first[0].reversed(), first[0]])]
    again = unpack(pack(paths))
    for ours, theirs in zip(paths, again, strict=True):
        assert all(np.array_equal(getattr(ours, n), getattr(theirs, n)) for n in vars(ours))


def test_a_damaged_block_is_named(molecule: System, first: list[ShotPath], tmp_path: Path) -> None:
    blocks = run(molecule, first, WorkerPool(1), tmp_path)
    assert len(blocks) == 3
    np.savez(tmp_path / "block_0001.npz", nothing=np.zeros(1))
    with pytest.raises(UserError, match=r"block_0001\.npz is damaged"):
        run(molecule, first, WorkerPool(1), tmp_path)


def test_selectors_are_built_from_the_configuration() -> None:
    config = ShootingConfig(selector={"variable": "psi", "center": "90 deg", "width": "10 deg"})
    selector = build_move(config, Axes.alike(["phi", "psi"], "angle")).selector
    assert selector == GaussianSelector(1, np.pi / 2, np.deg2rad(10), 2 * np.pi)
    for broken, match in (
        ({"variable": "chi", "center": "0 deg", "width": "1 deg"}, "no collective variable"),
        ({"variable": "phi", "center": "0", "width": "1 deg"}, r"shooting\.selector"),
        ({"variable": "phi", "center": "0 deg", "width": "0 deg"}, "at least 1e-06"),
    ):
        with pytest.raises(UserError, match=match):
            build_move(ShootingConfig(selector=broken), Axes.alike(["phi", "psi"], "angle"))


def test_a_periodic_selector_sees_across_the_seam() -> None:
    selector = GaussianSelector(0, np.pi, 0.1, 2 * np.pi)
    weights = selector.weights(np.array([[np.pi - 0.1], [-np.pi + 0.1], [0.0]]))
    assert weights[0] == pytest.approx(weights[1]) == pytest.approx(np.exp(-0.5), rel=1e-6)
    assert 0 < weights[2] < 1e-10


def test_frames_with_atoms_too_close_are_refused(molecule: System, first: list[ShotPath]) -> None:
    assert molecule.molecule is not None
    good = first[0].positions
    assert energy_problem(good, molecule.structures, molecule.molecule.dynamics) is None
    broken = good.copy()
    broken[4, 0] = broken[4, 10] + 0.02
    problem = energy_problem(broken, molecule.structures, molecule.molecule.dynamics)
    assert problem is not None
    assert problem.startswith("frame 4 has a potential energy of")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 1, 1, 2], "no frame lies in state 'C5"),
        ([-1, 0, 0], "lies in state 'C7ax'"),
        ([-1, 5, -1], "lies in state 'C7ax'"),
        ([-1, 9], "no frame lies between"),
    ],
)
def test_trajectories_without_a_transition_are_refused(molecule: System, values: list[int], expected: str) -> None:
    places = {-1: (-150, 160), 9: (61, -41)}
    variables = np.deg2rad([places.get(v, (0.0, 10.0 * v)) for v in values])
    with pytest.raises(ValueError, match=expected):
        first_path(np.zeros((len(values), 22, 3)), variables, molecule.states)
