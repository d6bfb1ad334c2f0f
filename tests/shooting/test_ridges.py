"""Where ridge windows stand: across a top, and where a committor is one half."""

from __future__ import annotations

import numpy as np
import pytest

from spacetime_tps.analysis.committor import logistic_committor
from spacetime_tps.representations import Torsions
from spacetime_tps.shooting.ridges import Ridge, around_top, ridge_through
from spacetime_tps.shooting.shots import RidgeSpace


def ridge_at_top(curve: np.ndarray, height: np.ndarray, space: RidgeSpace) -> Ridge:
    return ridge_through(*curve[list(around_top(height))], space, hold=90.0)


def test_a_ridge_lies_across_the_top_of_a_curve_in_the_plane() -> None:
    s = np.linspace(-1, 1, 401)
    along = np.array([0.6, 0.8])
    curve = np.array([0.3, -0.2]) + s[:, None] * along
    ridge = ridge_at_top(curve, 6.0 - 24.0 * s**2, RidgeSpace((0, 1)))
    assert ridge.direction == pytest.approx(along, abs=1e-9)
    assert ridge.center == pytest.approx(np.array([0.3, -0.2]) @ along, abs=1e-9)
    assert ridge.reach == pytest.approx(0.25, abs=0.01)  # 24 s^2 = 1.5
    assert not ridge.toward.any()


def test_the_top_is_that_of_the_largest_climb_not_the_highest_point() -> None:
    s = np.linspace(0, 1, 501)
    height = 5.0 * np.exp(-(((s - 0.7) / 0.05) ** 2)) + 7.0 * np.exp(-((s / 0.05) ** 2))
    ridge = ridge_at_top(np.stack([s, 0 * s], axis=-1), height, RidgeSpace((0, 1)))
    assert ridge.center == pytest.approx(0.7, abs=0.003)


def test_of_angles_it_is_tilted_toward_the_one_that_turns_most() -> None:
    torsions = Torsions(["phi", "psi"], [(0, 1, 2, 3), (1, 2, 3, 4)])
    s = np.linspace(-1, 1, 401)
    curve = np.stack([np.pi + 0.05 + 0.8 * s, 0.4 - 0.6 * s], axis=-1)  # phi passes the seam
    curve = (curve + np.pi) % (2 * np.pi) - np.pi
    space = RidgeSpace((0, 1), torsions)
    ridge = ridge_at_top(curve, -10.0 * s**2, space)
    features = torsions.features_of_angles(curve)
    at_top = features[200]
    assert features @ ridge.direction == pytest.approx(0.8 * np.sin(0.8 * s) + 0.6 * np.sin(0.6 * s), abs=1e-6)
    assert at_top @ ridge.toward == pytest.approx(1.0)
    opposite = torsions.features_of_angles(curve[200] + np.array([np.pi, 0.0]))
    assert opposite @ ridge.direction == pytest.approx(0.0, abs=1e-9)
    windows = ridge.windows(tilt=6.0)
    logs = windows.log_weights(np.stack([at_top, opposite]))
    open_ones = windows.curb == 0
    assert (logs[0] - logs[1])[open_ones] == pytest.approx(np.full(4, 12.0))
    assert ((logs[0] - logs[1])[~open_ones] > 12.0).all()


def test_windows_reach_as_far_as_the_ridge() -> None:
    anchor = np.array([0.5, -1.0])
    ridge = Ridge(np.array([1.0, 0.0]), 0.5, 0.2, np.zeros(2), anchor, hold=270.0)
    windows = ridge.windows(stiffer=2.0)
    assert windows.center == pytest.approx([0.4, 0.5, 0.6, 0.5, 0.5, 0.5, 0.5])
    assert windows.stiffness == pytest.approx(2.0 * np.array([8.0, 8.0, 8.0, 5.0, 5.0, 5.0, 5.0]) / 0.04)
    assert windows.curb == pytest.approx([0, 0, 0, 0, 90, 30, 10])
    x = np.array([[0.5, -0.8]])  # beside the anchor, within the ridge
    at_anchor, beside = windows.log_weights(anchor[None])[0], windows.log_weights(x)[0]
    assert at_anchor - beside == pytest.approx(0.5 * windows.curb * 0.04, abs=1e-9)


def test_tangents_are_the_derivatives_of_the_features_of_angles() -> None:
    space, angles, step = (
        RidgeSpace((0, 1), Torsions(["phi", "psi"], [(0, 1, 2, 3), (1, 2, 3, 4)])),
        np.array([0.7, -2.0]),
        1e-6,
    )
    moved = space.features(angles + step * np.eye(2)) - space.features(angles - step * np.eye(2))
    assert space.tangents(space.features(angles)) == pytest.approx(moved / (2 * step), abs=1e-9)
    assert RidgeSpace((0, 1, 2)).tangents(np.ones(3)).tolist() == np.eye(3).tolist()


def test_a_fitted_committor_is_found_again_and_moves_the_ridge() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(0, 1, (4000, 3)) * np.array([1.0, 0.1, 2.0])
    offset, slopes = 0.4, np.array([1.5, -8.0, 0.0])
    p_b = 1 / (1 + np.exp(-(offset + x @ slopes)))
    tried = rng.integers(1, 3, 4000)
    fit = logistic_committor(x, rng.binomial(tried, p_b), tried, penalty=1e-3)
    assert fit.offset == pytest.approx(offset, abs=0.12)
    assert fit.slopes == pytest.approx(slopes, abs=0.6)
    assert np.abs(fit.slopes - slopes)[[0, 2]].max() < 0.15
    assert fit(x) == pytest.approx(p_b, abs=0.06)
    first = Ridge(np.array([1.0, 0.0, 0.0]), 0.0, 0.2, np.zeros(3), np.ones(3), 50.0)
    ridge = first.along_committor(fit.offset, fit.slopes)
    assert ridge.windows().curb[-1] == pytest.approx(50.0 / 27.0)
    on_it = ridge.direction * ridge.center
    assert fit(on_it) == pytest.approx(0.5)
    assert fit(on_it + ridge.reach * ridge.direction) == pytest.approx(1 / (1 + np.exp(-2.0)))


def test_a_flat_committor_does_not_make_a_ridge_wide() -> None:
    first = Ridge(np.array([1.0, 0.0]), 0.0, 0.2, np.zeros(2), np.ones(2), 50.0)
    assert first.along_committor(0.0, np.array([0.0, 0.5])).reach == pytest.approx(0.6)
    assert first.along_committor(0.0, np.array([0.0, 5.0])).reach == pytest.approx(0.4)


def test_outcomes_that_are_apart_have_finite_slopes() -> None:
    x = np.linspace(-1, 1, 50)[:, None]
    fit = logistic_committor(x, (x[:, 0] > 0).astype(int), np.ones(50, dtype=int), penalty=1.0)
    assert 1.0 < fit.slopes[0] < 20.0
    assert fit.offset == pytest.approx(0.0, abs=1e-3)
