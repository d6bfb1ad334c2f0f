"""Structural integrity: what must be found, what must not be, and hysteresis of a known size."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from openmm import app

from spacetime_tps.analysis.metrics import kinetic_temperature, mean_and_std
from spacetime_tps.analysis.structure import hysteresis, integrity_problems
from spacetime_tps.systems import systems_folder
from spacetime_tps.topology import (
    Isomers,
    NamedTorsions,
    chiral_centers,
    free_torsions,
    omega_torsions,
    planar_impropers,
)
from spacetime_tps.units import GAS_CONSTANT


@pytest.fixture(scope="module")
def alanine() -> tuple[app.Topology, np.ndarray]:
    files = [app.PDBFile(str(systems_folder() / "alanine_dipeptide" / name)) for name in ("c5.pdb", "c7ax.pdb")]
    return files[0].topology, np.stack([np.array(f.getPositions(asNumpy=True)._value, dtype=float) for f in files])


def rotated(frame: np.ndarray, origin: int, axis_end: int, atoms: list[int], angle: float) -> np.ndarray:
    """Turn ``atoms`` about a bond (Rodrigues)."""
    out, axis = frame.copy(), frame[axis_end] - frame[origin]
    axis /= np.linalg.norm(axis)
    for k in atoms:
        v = frame[k] - frame[axis_end]
        out[k] = frame[axis_end] + v * np.cos(angle) + np.cross(axis, v) * np.sin(angle)
        out[k] += axis * (axis @ v) * (1 - np.cos(angle))
    return out


def test_what_is_watched_in_alanine_dipeptide(alanine: tuple[app.Topology, np.ndarray]) -> None:
    topology, structures = alanine
    assert len(chiral_centers(topology).names) == 1
    assert len(omega_torsions(topology).names) == 2
    assert len(planar_impropers(topology, structures[0]).names) == 4
    everything = free_torsions(topology, np.zeros((0, 4), int))
    assert len(everything.names) == 2 + 2 + 4 + 2
    turned = everything.quadruples[:1]
    others = everything.about_other_bonds(turned)
    assert set(everything.names) - set(others.names) == {
        name
        for name, four in zip(everything.names, everything.quadruples, strict=True)
        if set(four[1:3]) == set(turned[0, 1:3])
    }
    assert others.names == everything.about_other_bonds(turned[:, ::-1]).names
    assert everything.about_other_bonds(everything.quadruples).names == []


def test_both_ends_and_what_lies_between_are_whole(alanine: tuple[app.Topology, np.ndarray]) -> None:
    topology, structures = alanine
    shaken = structures[0] + np.random.default_rng(0).normal(0, 0.004, (200, *structures[0].shape))
    assert integrity_problems(topology, structures, shaken) == []
    assert integrity_problems(topology, structures, np.repeat(structures[1][None], 20, 0)) == []


def test_mirror_image_flips_the_chirality(alanine: tuple[app.Topology, np.ndarray]) -> None:
    topology, structures = alanine
    frames = np.repeat(structures[0][None], 20, 0)
    frames[10:] *= np.array([1.0, 1.0, -1.0])
    assert integrity_problems(topology, structures, frames)[0].startswith("chirality")


def test_cis_peptide_bond_is_found(alanine: tuple[app.Topology, np.ndarray]) -> None:
    topology, structures = alanine
    index = {f"{a.residue.name}:{a.name}": a.index for a in topology.atoms()}
    moved = [a.index for a in topology.atoms() if a.residue.name != "ACE" and a.index != index["ALA:N"]]
    turned = rotated(structures[0], index["ACE:C"], index["ALA:N"], moved, np.pi)
    frames = np.repeat(structures[0][None], 20, 0)
    frames[12:] = turned
    problems = integrity_problems(topology, structures, frames)
    assert any(p.startswith("peptide bond") for p in problems)
    assert not any(p.startswith("chirality") for p in problems)


def test_hysteresis_of_a_known_lag() -> None:
    """One torsion that trails by 20 degrees in either direction, one that does not."""
    rng, n, t = np.random.default_rng(1), 12, 60
    forward = np.arange(n) % 2 == 0
    s = np.linspace(0, 1, t)
    parameter = np.where(forward[:, None], s, 1 - s)
    lag = np.where(forward, -1, 1)[:, None] * np.deg2rad(20.0)
    angles = np.stack([2 * parameter + lag, 2 * parameter], axis=-1) + rng.normal(0, 0.02, (n, t, 2))
    frames = np.zeros((n, t, 8, 3))
    for k in range(2):
        a = angles[..., k]
        frames[:, :, 4 * k] = [1.0, 0.0, 0.0]
        frames[:, :, 4 * k + 2] = [0.0, 0.0, 1.0]
        frames[:, :, 4 * k + 3] = np.stack([np.cos(a), np.sin(a), np.ones_like(a)], axis=-1)
    torsions = NamedTorsions(["trails", "follows"], np.arange(8).reshape(2, 4))
    rows = hysteresis(torsions, frames, parameter, forward)
    assert [row["name"] for row in rows] == ["trails", "follows"]
    assert rows[0]["difference_deg"] == pytest.approx(40.0, abs=2.0)
    assert rows[1]["difference_deg"] < 3.0
    ends = [0, -1]  # most parts of the curve hold no frame
    with warnings.catch_warnings(action="error"):
        rows = hysteresis(torsions, frames[:, ends], parameter[:, ends], forward)
    assert rows[0]["difference_deg"] == pytest.approx(40.0, abs=2.0)


def test_the_error_of_hysteresis_is_that_of_the_means_over_paths() -> None:
    """Three paths each way that differ from their mean by 0.1 and 0.2 rad: variances 0.02 / 3 and 0.08 / 3, halved."""
    forward = np.array([True] * 3 + [False] * 3)
    angle = np.array([0.4, 0.5, 0.6, -0.2, 0.0, 0.2])
    frames = np.zeros((6, 5, 4, 3))
    frames[:, :, 0], frames[:, :, 2] = [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]
    frames[:, :, 3] = np.stack([np.cos(angle), np.sin(angle), np.ones(6)], axis=-1)[:, None]
    parameter = np.full((6, 5), 0.3)
    (row,) = hysteresis(NamedTorsions(["theta"], np.arange(4)[None]), frames, parameter, forward)
    assert row["difference_deg"] == pytest.approx(np.rad2deg(0.5))
    assert row["error_deg"] == pytest.approx(np.rad2deg(np.sqrt(0.1 / 6)))
    assert row["curve_parameter"] == pytest.approx(0.325)


def test_kinetic_temperature_of_equipartition() -> None:
    dof = 54
    energy = np.random.default_rng(3).gamma(dof / 2, GAS_CONSTANT * 300.0, (20, 400))
    found = kinetic_temperature(energy, dof)
    assert abs(found["mean"] - 300.0) < 4 * found["error"]
    assert found["error"] == pytest.approx(300 * np.sqrt(2 / dof) / np.sqrt(8000), rel=0.5)


def test_mean_and_std_of_nothing_is_not_a_number() -> None:
    assert np.isnan(mean_and_std(np.zeros(0))["mean"])
    assert mean_and_std(np.array([1.0, 3.0])) == {"mean": 2.0, "std": pytest.approx(np.sqrt(2))}


def test_a_peptide_bond_that_differs_between_the_ends_may_turn() -> None:
    files = [app.PDBFile(str(systems_folder() / "proline_dipeptide" / name)) for name in ("cis.pdb", "trans.pdb")]
    ends = np.stack([np.array(f.getPositions(asNumpy=True)._value, dtype=float) for f in files])
    topology = files[0].topology
    acetyl = [atom.index for atom in topology.atoms() if atom.residue.name == "ACE"]
    index = {f"{atom.residue.name}:{atom.name}": atom.index for atom in topology.atoms()}
    turned = np.stack(
        [rotated(ends[0], index["PRO:N"], index["ACE:C"], acetyl, angle) for angle in np.linspace(0, np.pi, 40)]
    )
    assert integrity_problems(topology, ends, turned) == []
    assert "peptide bond" in " ".join(integrity_problems(topology, np.stack([ends[0]] * 2), turned))


def test_isomers_know_what_high_temperature_breaks(alanine: tuple[app.Topology, np.ndarray]) -> None:
    topology, structures = alanine
    none = np.zeros((0, 4), dtype=int)
    isomers = Isomers.of(topology, structures, none)
    assert len(isomers.names) == 1 + 2
    mirror = structures[0] * np.array([1.0, 1.0, -1.0])
    index = {f"{atom.residue.name}:{atom.name}": atom.index for atom in topology.atoms()}
    acetyl = [atom.index for atom in topology.atoms() if atom.residue.name == "ACE"]
    cis = rotated(structures[0], index["ALA:N"], index["ACE:C"], acetyl, np.pi)
    found = isomers.broken(np.stack([*structures, mirror, cis]))
    assert found.sum(axis=1).tolist() == [0, 0, 1, 1]
    assert isomers.names[int(found[2].argmax())].startswith("chirality of")
    assert isomers.names[int(found[3].argmax())].startswith("peptide bond")
    omega = np.array([[index["ACE:CH3"], index["ACE:C"], index["ALA:N"], index["ALA:CA"]]])
    assert not Isomers.of(topology, structures, omega).broken(cis[None]).any()
