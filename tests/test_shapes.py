"""Arrays of a run that cannot be what a stage wrote: each is refused on loading, the file named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spacetime_tps.boltzmann.pool import EVERYWHERE, Pool
from spacetime_tps.boltzmann.samples import WeightedSamples
from spacetime_tps.boltzmann.transitions import Transitions
from spacetime_tps.errors import UserError
from spacetime_tps.files import read_arrays, write_arrays
from spacetime_tps.geometry.curve import read_curves
from spacetime_tps.paths.ensemble import PathEnsemble
from spacetime_tps.potentials import FreeEnergySurface
from spacetime_tps.representations import Torsions
from tests.oracles import is_one_sentence

Arrays = dict[str, np.ndarray]
REPRESENTATION = Torsions(["phi", "psi"], [np.array([0, 1, 2, 3]), np.array([1, 2, 3, 4])])


def geodesic(file: Path) -> None:
    curve = np.random.default_rng(0).normal(size=(2, 9, 4))
    write_arrays(
        file,
        labels=np.array(["phi+", "phi-"]),
        coordinates=curve[..., :3],
        natural=curve,
        mean=curve + 1,
        block_variance=np.ones((2, 9, 2)),
        history=np.full((2, 5), np.nan),
    )


def samples(file: Path) -> None:
    rng = np.random.default_rng(0)
    WeightedSamples(rng.normal(size=(20, 4)), rng.normal(size=20), rng.normal(size=(3, 5, 3)), 100).save(file)


def transitions(file: Path) -> None:
    parts = [np.ones((4, 2)), np.ones((6, 2))]
    Transitions(np.array([True, False]), parts, [np.ones((4, 5, 3))]).save(file)


def pool(file: Path) -> None:
    rng = np.random.default_rng(0)
    Pool(
        natural=np.zeros((2, 4)),
        confined=np.full(2, EVERYWHERE),
        features=rng.normal(size=(10, 4)),
        in_states=np.zeros((10, 2), dtype=bool),
        variables=rng.normal(size=(10, 2)),
        ensemble=np.repeat([0, 1], 5),
        walker=np.repeat([0, 1], 5),
    ).save(file)


def paths(file: Path) -> None:
    forward, at = np.array([True, False]), np.linspace(0, 1, 6)
    yes, unknown = np.ones(2, dtype=bool), np.full((2, 6), np.nan)
    PathEnsemble(
        forward, np.ones((2, 6, 5, 3)), np.stack([at, at[::-1]]), np.ones((2, 6, 2)), np.ones((2, 6)), unknown, unknown,
        np.full(2, np.nan), np.ones(2), yes, yes, yes, yes, yes, yes, np.array([10, 10]), 0.1,
    ).save(file)  # fmt: skip


def surface(file: Path) -> None:
    table = np.ones((8, 8))
    FreeEnergySurface(
        ("phi", "psi"), -np.ones(2), np.ones(2), np.ones(2, dtype=bool), table, np.full((8, 8), np.nan), "here", 2.5
    ).save(file)


LOADERS: dict[Callable[[Path], None], Callable[[Path], Any]] = {
    geodesic: lambda file: read_curves(file, REPRESENTATION),
    samples: WeightedSamples.load,
    transitions: Transitions.load,
    pool: Pool.load,
    paths: PathEnsemble.load,
    surface: FreeEnergySurface.load,
}


@pytest.mark.parametrize("make", LOADERS, ids=lambda make: make.__name__)
def test_what_was_written_is_read(make: Callable[[Path], None], tmp_path: Path) -> None:
    make(tmp_path / "it.npz")
    assert LOADERS[make](tmp_path / "it.npz") is not None


def nan(name: str) -> Callable[[Arrays], None]:
    def spoil(arrays: Arrays) -> None:
        arrays[name] = arrays[name].astype(float)
        arrays[name].ravel()[-1] = np.nan

    return spoil


def infinite(name: str) -> Callable[[Arrays], None]:
    def spoil(arrays: Arrays) -> None:
        arrays[name] = arrays[name].astype(float)
        arrays[name].ravel()[0] = np.inf

    return spoil


def single(*names: str, axis: int) -> Callable[[Arrays], None]:
    """One row along an axis is left."""

    def spoil(arrays: Arrays) -> None:
        for name in names:
            arrays[name] = arrays[name].take([0], axis)

    return spoil


def put(name: str, value: Any) -> Callable[[Arrays], None]:
    return lambda arrays: arrays.update({name: np.asarray(value)})


def dropped(name: str) -> Callable[[Arrays], None]:
    def spoil(arrays: Arrays) -> None:
        del arrays[name]

    return spoil


CURVE = ("coordinates", "natural", "mean", "block_variance")
SPOILT: list[tuple[Callable[[Path], None], Callable[[Arrays], None], str]] = [
    (geodesic, nan("mean"), "'mean' holds numbers that are not finite"),
    (geodesic, infinite("natural"), "'natural' holds numbers that are not finite"),
    (geodesic, single(*CURVE, axis=1), "'coordinates' has the shape (2, 1, 3)"),
    (geodesic, single("natural", axis=0), "'natural' has the shape (1, 9, 4)"),
    (geodesic, single("block_variance", axis=2), "does not fit (2, 9, 2)"),
    (geodesic, put("mean", [["a"]]), "'mean' has the shape"),
    (geodesic, dropped("labels"), "'labels'"),
    (samples, nan("features"), "'features' holds"),
    (samples, infinite("log_weights"), "'log_weights' holds"),
    (samples, nan("frames"), "'frames' holds"),
    (samples, single("log_weights", axis=0), "'log_weights' has the shape (1,)"),
    (samples, single("features", "log_weights", axis=0), "'features' has the shape (1, 4)"),
    (transitions, nan("variables"), "'variables' holds"),
    (transitions, put("lengths", [4, 7]), "'variables' has the shape (10, 2)"),
    (transitions, put("lengths", [4]), "'lengths' has the shape (1,)"),
    (transitions, dropped("lengths"), "lacks the array 'lengths'"),
    (pool, nan("natural"), "'natural' holds"),
    (pool, put("ensemble", np.repeat([0, 2], 5)), "samples of ensembles that it does not name"),
    (pool, single("walker", axis=0), "'walker' has the shape (1,)"),
    (paths, nan("frames"), "'frames' holds"),
    (paths, nan("work_kt"), "'work_kt' holds"),
    (paths, single("frames", axis=1), "'frames' has the shape (2, 1, 5, 3)"),
    (paths, single("forward", axis=0), "'frames' has the shape"),
    (paths, put("curve_parameter", np.zeros((2, 6)) + [0, 0.2, 0.9, 0.4, 0.8, 1]), "does not run from end to end"),
    (surface, nan("free_energy"), "holds no free-energy surface"),
    (surface, nan("origin"), "holds no free-energy surface"),
    (surface, infinite("spacing"), "holds no free-energy surface"),
    (surface, nan("kt"), "holds no free-energy surface"),
    (surface, single("free_energy", "error", axis=0), "holds no free-energy surface"),
    (surface, put("error", -np.ones((8, 8))), "holds no free-energy surface"),
    (surface, put("periodic", np.ones(2)), "holds no free-energy surface"),
]


@pytest.mark.parametrize("case", range(len(SPOILT)), ids=[f"{make.__name__}-{words}" for make, _, words in SPOILT])
def test_what_cannot_have_been_written(case: int, tmp_path: Path) -> None:
    make, spoil, words = SPOILT[case]
    file = tmp_path / "it.npz"
    make(file)
    arrays = read_arrays(file)
    spoil(arrays)
    write_arrays(file, **arrays)
    with pytest.raises(UserError) as error:
        LOADERS[make](file)
    assert words in str(error.value)
    assert "it.npz" in str(error.value)
    assert is_one_sentence(str(error.value)), str(error.value)
