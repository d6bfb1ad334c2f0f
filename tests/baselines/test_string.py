"""Minimum energy paths against known saddles, the minimax bound and the gradient of the analytic potential."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from spacetime_tps.analysis.minimax import minimax_of_channel
from spacetime_tps.baselines.string import StringPath, _tangents, string_path, string_paths
from spacetime_tps.potentials import FreeEnergySurface, MuellerBrown
from spacetime_tps.systems import systems_folder

MINIMA = np.array([[-0.55822363, 1.44172584], [0.62349941, 0.02803776]])
SADDLE_KT = (-40.66484351 + 146.69951721) / 15
C5, C7AX = np.deg2rad([-152.0, 160.0]), np.deg2rad([61.0, -41.0])
TURNS = 2 * np.pi * np.array([[0, 0], [0, 1], [-1, 0], [-1, 1]])
"""The four channels: phi + psi -, phi + psi +, phi - psi -, phi - psi +."""


def reference(name: str) -> FreeEnergySurface:
    return FreeEnergySurface.load(Path(systems_folder() / name / "reference.npz"))


@pytest.fixture(scope="module")
def mueller_brown() -> StringPath:
    return string_path(reference("mueller_brown"), *MINIMA)


@pytest.fixture(scope="module")
def alanine() -> list[StringPath]:
    return string_paths(reference("alanine_dipeptide"), np.tile(C5, (4, 1)), C7AX + TURNS)


def test_mueller_brown_saddle(mueller_brown: StringPath) -> None:
    assert mueller_brown.converged
    assert mueller_brown.barrier == pytest.approx(SADDLE_KT, abs=1e-3)
    bound = minimax_of_channel(reference("mueller_brown"), *MINIMA).barrier
    assert mueller_brown.barrier == pytest.approx(bound, abs=1e-3)
    top = reference("mueller_brown")(mueller_brown.points).argmax()
    assert mueller_brown.points[top] == pytest.approx([-0.822, 0.624], abs=0.03)


def test_gradient_lies_along_the_path(mueller_brown: StringPath) -> None:
    points = mueller_brown.points
    gradient = MuellerBrown().gradient(torch.from_numpy(points)).numpy() / 15
    tangent = np.gradient(points, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    across = np.linalg.norm(gradient - (gradient * tangent).sum(1, keepdims=True) * tangent, axis=1)
    assert across[1:-1].max() < 0.05 * np.linalg.norm(gradient, axis=1).max()
    straight = MINIMA[0] + np.linspace(0, 1, 64)[:, None] * (MINIMA[1] - MINIMA[0])
    assert (
        across[1:-1].max()
        < 0.02 * np.linalg.norm(MuellerBrown().gradient(torch.from_numpy(straight)) / 15, axis=1).max()
    )


def test_passes_through_the_minimum_in_between(mueller_brown: StringPath) -> None:
    assert np.linalg.norm(mueller_brown.points - [-0.050, 0.467], axis=1).min() < 0.02


def test_ends_are_held_and_images_equally_spaced(mueller_brown: StringPath, alanine: list[StringPath]) -> None:
    assert np.array_equal(mueller_brown.points[[0, -1]], MINIMA)
    for path, turn in zip(alanine, TURNS, strict=True):
        assert np.array_equal(path.points[[0, -1]], [C5, C7AX + turn])
    for path in (mueller_brown, *alanine):
        chords = np.linalg.norm(np.diff(path.points, axis=0), axis=1)
        assert len(chords) == 63
        assert np.median(chords) == pytest.approx(chords.max(), rel=1e-3)
        assert chords.min() > 0.7 * chords.max()  # a cusp in a minimum cuts a chord short


def test_alanine_dipeptide_channels(alanine: list[StringPath]) -> None:
    """The third channel's string rests at a higher saddle than the lowest, next to its straight line."""
    surface = reference("alanine_dipeptide")
    bounds = np.array([minimax_of_channel(surface, C5, C7AX + turn).barrier for turn in TURNS])
    barriers = np.array([path.barrier for path in alanine])
    assert all(path.converged for path in alanine)
    assert barriers[[0, 1, 3]] == pytest.approx(bounds[[0, 1, 3]], abs=0.02)
    assert barriers[2] > bounds[2]
    assert barriers[0] == pytest.approx(39.29, abs=0.02)
    top = alanine[0].points[surface(alanine[0].points).argmax()]
    assert np.rad2deg(top) == pytest.approx([0, -30], abs=3)


def test_ripples_do_not_hold_the_string() -> None:
    """Without the first approach on a smoothed table it stays on the slope of the ridge."""
    held = string_path(reference("alanine_dipeptide"), C5, C7AX, images=96, smoothing=0)
    free = string_path(reference("alanine_dipeptide"), C5, C7AX, images=96)
    assert held.converged
    assert held.barrier > free.barrier + 4
    assert free.barrier == pytest.approx(39.29, abs=0.02)


def test_a_channel_does_not_depend_on_its_neighbours(alanine: list[StringPath]) -> None:
    alone = string_path(reference("alanine_dipeptide"), C5, C7AX + TURNS[3])
    assert alone.points == pytest.approx(alanine[3].points, abs=1e-9)
    assert (alone.barrier, alone.iterations) == (pytest.approx(alanine[3].barrier), alanine[3].iterations)


def test_one_axis_has_no_choice() -> None:
    """Walls of height 3 and 7 on a circle of forty points, a quarter and three quarters around."""
    table = np.zeros(40)
    table[8:13], table[28:33] = [1, 2, 3, 2, 1], [2, 5, 7, 5, 2]
    ring = FreeEnergySurface(
        names=("t",), origin=np.zeros(1), spacing=np.ones(1), periodic=np.array([True]), free_energy=table,
        error=np.zeros(40), source="test", kt=1.0,
    )  # fmt: skip
    start = np.array([0.0])
    for end, height in ((20.0, 3.0), (-20.0, 7.0), (60.0, 7.0)):
        path = string_path(ring, start, np.array([end]), images=61)
        assert path.converged
        assert path.barrier == pytest.approx(height, abs=0.05)


def test_says_when_it_has_not_come_to_rest() -> None:
    path = string_path(reference("alanine_dipeptide"), C5, C7AX, steps=2)
    assert not path.converged
    assert path.iterations == 4
    assert path.barrier > 40


def test_it_rests_as_soon_as_no_image_moves_across_it() -> None:
    """By more than the tolerance times its length; what images do along the string does not count."""
    settings = {"images": 24, "tolerance": 1e-4, "smoothing": 0}
    rested = string_path(reference("alanine_dipeptide"), C5, C7AX, **settings)
    assert rested.converged
    count = rested.iterations
    strings = [
        string_path(reference("alanine_dipeptide"), C5, C7AX, steps=steps, **settings).points
        for steps in (count - 2, count - 1, count)
    ]
    moved = []
    for before, after in pairwise(strings):
        motion, tangents = after - before, _tangents(after[None])[0]
        across = motion - (motion * tangents).sum(-1, keepdims=True) * tangents
        length = np.linalg.norm(np.diff(after, axis=0), axis=-1).sum()
        moved.append(np.linalg.norm(across, axis=-1).max() / length)
    assert moved[0] > 1e-4 >= moved[1]
