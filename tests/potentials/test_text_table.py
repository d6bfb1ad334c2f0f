"""Surfaces from text files: what is read, and what is refused in one sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spacetime_tps.errors import UserError
from spacetime_tps.potentials.text_table import read_text_table


def rows(n: int = 9, m: int = 12, repeated: bool = False) -> np.ndarray:
    """phi psi energy of a grid of n x m points, of which one may be repeated at the end of every axis."""
    axes = [-np.pi + 2 * np.pi / size * np.arange(size + repeated) for size in (n, m)]
    phi, psi = (mesh.ravel() for mesh in np.meshgrid(*axes, indexing="ij"))
    return np.stack([phi, psi, 7 * np.sin(phi) + np.cos(2 * psi + phi)], axis=-1)


def written(path: Path, table: np.ndarray, header: str = "", form: str = "%.6f", separator: str = " ") -> Path:
    np.savetxt(path, table, fmt=form, delimiter=separator, header=header, comments="")
    return path


def expected(n: int = 9, m: int = 12) -> np.ndarray:
    return rows(n, m)[:, 2].reshape(n, m)


@pytest.mark.parametrize(
    ("header", "separator", "repeated"),
    [("", " ", False), ("phi psi F/kJ", " ", True), ("# made\nphi,psi,U", ",", True)],
)
def test_grid_in_any_order(tmp_path: Path, header: str, separator: str, repeated: bool) -> None:
    shuffled = np.random.default_rng(0).permutation(rows(repeated=repeated))
    surface = read_text_table(written(tmp_path / "u.txt", shuffled, header, separator=separator), kt=1.5)
    assert surface.free_energy == pytest.approx(expected(), abs=1e-5)
    assert surface.axis(1) == pytest.approx(-np.pi + 2 * np.pi / 12 * np.arange(12), abs=1e-5)
    assert surface.periodic.all()
    assert (surface.names, surface.kt) == (("phi", "psi"), 1.5)


def test_rounded_angles(tmp_path: Path) -> None:
    surface = read_text_table(written(tmp_path / "u.txt", rows(36, 36, True), form="%.3f"), kt=1.0)
    assert surface.free_energy.shape == (36, 36)
    assert surface.free_energy == pytest.approx(expected(36, 36), abs=1e-3)


def clashing() -> np.ndarray:
    table = rows(repeated=True)
    table[-1, 2] += 1.0
    return table


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (rows()[:-1], "1 of 108 points are missing, for example phi 2.443, psi 2.618"),
        (np.rad2deg(rows()), "phi reaches -180; expected radians"),
        (rows()[rows()[:, 0] < 2.0], "values of phi, -3.142 to 1.745, do not divide a whole circle"),
        (rows()[np.abs(rows()[:, 1]) > 0.1], "do not divide a whole circle"),
        (rows(4, 12), "has 4 different values of phi; expected a grid of at least 8"),
        (clashing(), "gives two energies"),
        (np.zeros((0, 3)), "holds no numbers"),
        (rows()[:, :2], "line 1: expected three finite numbers"),
        (np.where(rows() > 7.5, np.nan, rows()), "expected three finite numbers"),
    ],
)
def test_anything_else_is_refused(tmp_path: Path, table: np.ndarray, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        read_text_table(written(tmp_path / "u.txt", table), kt=1.0)
    assert "u.txt" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_second_header_binary_and_missing_files(tmp_path: Path) -> None:
    path = tmp_path / "u.txt"
    path.write_text("phi psi F\nrad rad kJ/mol\n0 0 1\n")
    with pytest.raises(UserError, match=r"line 2: expected three finite numbers, phi psi energy, not 'rad rad kJ/mol'"):
        read_text_table(path, kt=1.0)
    path.write_bytes(bytes(range(256)))
    for other in (path, tmp_path / "nowhere.txt", tmp_path):
        with pytest.raises(UserError, match=r"cannot be read as UTF-8 text|is not there|is a folder"):
            read_text_table(other, kt=1.0)
