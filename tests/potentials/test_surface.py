from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from scipy.interpolate import RegularGridInterpolator

from spacetime_tps.errors import UserError
from spacetime_tps.potentials import FreeEnergySurface


def surface(table: np.ndarray, origin: list[float], spacing: list[float], periodic: list[bool]) -> FreeEnergySurface:
    return FreeEnergySurface(
        names=("phi", "psi")[: table.ndim],
        origin=np.array(origin),
        spacing=np.array(spacing),
        periodic=np.array(periodic),
        free_energy=table,
        error=0.1 + 0.01 * table,
        source="a test",
        kt=2.5,
        force_evaluations=42,
    )


def random_torus(shape: tuple[int, ...] = (7, 5)) -> FreeEnergySurface:
    table = np.random.default_rng(0).uniform(0, 10, shape)
    spacing = [2 * np.pi / n for n in shape]
    return surface(table, [-np.pi] * len(shape), spacing, [True] * len(shape))


def test_exact_on_the_grid_points() -> None:
    torus = random_torus()
    assert torus(torus.points()) == pytest.approx(torus.free_energy.ravel(), abs=1e-12)
    assert torus.log_density() == pytest.approx(-torus.free_energy.ravel() / 2.5, abs=1e-12)
    assert torus.points()[1] - torus.points()[0] == pytest.approx([0.0, 2 * np.pi / 5])  # the last axis runs fastest


def test_exact_on_multilinear_functions() -> None:
    x, y = -1.0 + 0.25 * np.arange(9), 2.0 + 0.5 * np.arange(4)

    def f(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return 3.0 - 2.0 * x + 0.7 * y + 1.3 * x * y

    plane = surface(f(x[:, None], y[None, :]), [-1.0, 2.0], [0.25, 0.5], [False, False])
    points = np.random.default_rng(1).uniform([-1.0, 2.0], [1.0, 3.5], (200, 2))
    points = np.concatenate([points, [[-1.0, 2.0], [1.0, 3.5], [1.0, 2.3]]])  # the far rim too
    assert plane(points) == pytest.approx(f(*points.T), abs=1e-12)
    assert plane.error_at(points) == pytest.approx(0.1 + 0.01 * f(*points.T), abs=1e-12)
    assert plane(points.reshape(29, 7, 2)).shape == (29, 7)
    assert plane(points[3]) == pytest.approx(f(*points[3]))


def test_open_axes_are_constant_beyond_the_rim() -> None:
    table = np.random.default_rng(2).uniform(0, 1, (4, 3))
    plane = surface(table, [0.0, 0.0], [1.0, 1.0], [False, False])
    outside = np.array([[-5.0, 1.5], [99.0, 1.5], [1.5, -0.1], [1.5, 2.1], [-1.0, 7.0]])
    inside = np.clip(outside, 0.0, [3.0, 2.0])
    assert plane(outside) == pytest.approx(plane(inside), abs=1e-12)
    assert plane(outside)[0] == pytest.approx((table[0, 1] + table[0, 2]) / 2)


def test_one_periodic_axis_against_numpy() -> None:
    circle = random_torus((9,))
    angles = np.random.default_rng(3).uniform(-15, 15, 300)
    expected = np.interp(angles, circle.axis(0), circle.free_energy, period=2 * np.pi)
    assert circle(angles[:, None]) == pytest.approx(expected, abs=1e-10)


def test_seam() -> None:
    torus = random_torus()
    table, (dx, dy) = torus.free_energy, torus.spacing
    # Half way between the last point of each axis and its first one, met again after one period.
    assert torus(np.array([np.pi - dx / 2, -np.pi])) == pytest.approx((table[-1, 0] + table[0, 0]) / 2)
    assert torus(np.array([-np.pi, -np.pi - dy / 2])) == pytest.approx((table[0, -1] + table[0, 0]) / 2)
    corner = table[np.ix_([-1, 0], [-1, 0])].mean()
    assert torus(np.array([np.pi - dx / 2, np.pi - dy / 2])) == pytest.approx(corner)
    assert torus(np.array([[np.pi, np.pi]])) == pytest.approx(torus(np.array([[-np.pi, -np.pi]])))


def test_mixed_axes_against_scipy() -> None:
    table = np.random.default_rng(4).uniform(0, 10, (8, 5))
    mixed = surface(table, [-np.pi, 0.0], [np.pi / 4, 0.5], [True, False])
    closed = np.concatenate([table, table[:1]])
    scipy = RegularGridInterpolator((np.linspace(-np.pi, np.pi, 9), 0.5 * np.arange(5)), closed)
    points = np.random.default_rng(5).uniform([-np.pi, 0.0], [np.pi, 2.0], (200, 2))
    assert mixed(points) == pytest.approx(scipy(points), abs=1e-12)
    assert mixed(points + [4 * np.pi, 0.0]) == pytest.approx(scipy(points), abs=1e-10)


def test_save_and_load(tmp_path: Path) -> None:
    torus = random_torus()
    torus.save(tmp_path / "reference.npz")
    loaded = FreeEnergySurface.load(tmp_path / "reference.npz")
    for field in fields(torus):
        assert np.array_equal(getattr(loaded, field.name), getattr(torus, field.name)), field.name
    assert loaded.names == ("phi", "psi")
    points = np.random.default_rng(6).uniform(-4, 4, (20, 2))
    assert np.array_equal(loaded(points), torus(points))


def test_tables_of_other_precision_are_read_as_doubles(tmp_path: Path) -> None:
    torus = random_torus()
    replace(torus, free_energy=torus.free_energy.astype(np.float32)).save(tmp_path / "single.npz")
    assert FreeEnergySurface.load(tmp_path / "single.npz").free_energy.dtype == np.float64


@pytest.mark.parametrize("field", ["free_energy", "error"])
def test_complex_numbers_are_no_free_energies(field: str, tmp_path: Path) -> None:
    torus = random_torus()
    replace(torus, **{field: getattr(torus, field) + 1j}).save(tmp_path / "complex.npz")
    with pytest.raises(UserError, match="holds no free-energy surface"):
        FreeEnergySurface.load(tmp_path / "complex.npz")


def damage(whole: bytes, how: str) -> bytes:
    if how == "flipped":
        middle = len(whole) // 2
        return whole[:middle] + bytes(255 - byte for byte in whole[middle : middle + 20]) + whole[middle + 20 :]
    return {"empty": b"", "text": b"phi psi F\n0 0 1\n", "first half": whole[: len(whole) // 2], "head": whole[:10]}[
        how
    ]


@pytest.mark.parametrize("how", ["empty", "text", "first half", "head", "flipped"])
def test_damaged_file(tmp_path: Path, how: str) -> None:
    path = tmp_path / "reference.npz"
    random_torus((36, 36)).save(path)
    path.write_bytes(damage(path.read_bytes(), how))
    with pytest.raises(UserError, match=r"reference\.npz cannot be read"):
        FreeEnergySurface.load(path)


def test_missing_file_and_files_that_hold_something_else(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.npz cannot be read"):
        FreeEnergySurface.load(tmp_path / "nowhere.npz")
    np.savez(tmp_path / "other.npz", phi=np.zeros(3))
    with pytest.raises(UserError, match=r"other\.npz holds no free-energy surface"):
        FreeEnergySurface.load(tmp_path / "other.npz")


def test_single_array_under_the_wrong_name(tmp_path: Path) -> None:
    with (tmp_path / "array.npz").open("wb") as handle:
        np.save(handle, np.zeros(3))
    with pytest.raises(UserError, match=r"array\.npz cannot be read"):
        FreeEnergySurface.load(tmp_path / "array.npz")


def test_lines_between_looks_take_the_short_way_around_periodic_axes_only() -> None:
    """From 170 to -170 degrees they cross 180, where F is 0, and not 0 degrees, where it is 10."""
    theta = 2 * np.pi * np.arange(180) / 180 - np.pi
    height = 5 * (1 + np.cos(theta))
    looks = np.deg2rad([[170.0, 170.0], [-170.0, -170.0]])
    for periodic, highest in ((True, 5 * (1 + np.cos(np.deg2rad(170)))), (False, 10.0)):
        surface = FreeEnergySurface(
            names=("a", "b"), origin=np.full(2, -np.pi), spacing=np.full(2, 2 * np.pi / 180),
            periodic=np.array([periodic, True]), free_energy=np.tile(height[:, None], (1, 180)),
            error=np.zeros((180, 180)), source="test", kt=1.0,
        )  # fmt: skip
        assert surface.maximum_along(looks, 50) == pytest.approx(highest, abs=0.02)
        assert surface.maximum_along(looks) == pytest.approx(5 * (1 + np.cos(np.deg2rad(170))), abs=0.02)
