"""PLUMED input: its grammar as documented, and what it computes against the restraint itself."""

from __future__ import annotations

import re

import numpy as np
import pytest

from spacetime_tps.export.plumed import plumed_input
from spacetime_tps.representations import Torsions

TORSIONS = Torsions(["phi", "psi"], [(4, 6, 8, 14), (6, 8, 14, 16)])
KT, STEPS = 2.4943, 20_000
RNG = np.random.default_rng(0)
RADIUS, ANGLE = np.exp(RNG.uniform(0, 3, (30, 2))), RNG.uniform(-np.pi, np.pi, (30, 2))
NATURAL = (RADIUS[..., None] * np.stack([np.cos(ANGLE), np.sin(ANGLE)], axis=-1)).reshape(30, 4)
CENTERS = np.linspace([-1.4, 1.2], [1.0, -0.7], 9)
TEXT = plumed_input(TORSIONS, NATURAL, STEPS, CENTERS, KT, np.arange(1, 23))
KEYWORDS = {  # of the actions' pages in the manual, as far as they are used; a hash stands for a number
    "TORSION": {"ATOMS"},
    "CUSTOM": {"ARG", "VAR", "FUNC", "PERIODIC"},
    "MOVINGRESTRAINT": {"ARG", "STEP#", "AT#", "KAPPA#"},
    "FUNCPATHMSD": {"ARG", "LAMBDA"},
    "PRINT": {"ARG", "FILE", "STRIDE"},
}


def parsed(text: str) -> list[tuple[str, str, dict[str, str]]]:
    """(label, action, keywords) of an input: comments go, ``...`` continues an action until the next ``...``."""
    lines = [line.split("#")[0].strip() for line in text.splitlines()]
    joined = "\n".join(lines)
    text = re.sub(r"\s\.\.\.\n(.*?)\n\.\.\.(?=\n|$)", lambda m: " " + m[1].replace("\n", " "), joined, flags=re.S)
    found = []
    for line in filter(None, text.splitlines()):
        label, rest = re.fullmatch(r"(?:(\w+):\s+)?(.*)", line).groups()
        action, *words = rest.split()
        assert all("=" in word for word in words), line
        found.append((label or "", action, dict(word.split("=", 1) for word in words)))
    return found


def values(angles: np.ndarray) -> dict[str, float]:
    """Of all labels of functions at a configuration."""
    known: dict[str, float] = dict(zip(["t1", "t2"], angles, strict=True))
    for label, action, words in parsed(TEXT):
        if action == "CUSTOM":
            arguments = [known[name] for name in words["ARG"].split(",")]
            names = words.get("VAR", "x").split(",")
            scope = dict(zip(names, arguments, strict=True)) | {"cos": np.cos, "sin": np.sin}
            known[label] = float(eval(words["FUNC"].replace("^", "**"), {"__builtins__": {}}, scope))
    return known


def test_every_action_has_the_keywords_of_its_manual_page_and_known_labels() -> None:
    labels: set[str] = set()
    for label, action, words in parsed(TEXT):
        assert {re.sub(r"\d+$", "#", word) for word in words} <= KEYWORDS[action]
        for name in words.get("ARG", "").split(","):
            assert not name or name.split(".")[0] in labels
        assert label not in labels
        labels |= {label} if label else set()
    assert {"t1", "t2", "moving", "path"} <= labels
    torsions = [words["ATOMS"] for _, action, words in parsed(TEXT) if action == "TORSION"]
    assert torsions == ["5,7,9,15", "7,9,15,17"]  # counted from one


def test_the_moving_restraint_is_that_of_the_paths() -> None:
    """Energy differences between configurations at each point, and halfway between two."""
    ((_, _, words),) = [row for row in parsed(TEXT) if row[1] == "MOVINGRESTRAINT"]
    numbers = [int(words[f"STEP{k}"]) for k in range(30)]
    assert (numbers[0], numbers[-1]) == (0, STEPS)
    assert numbers == sorted(numbers)
    at = np.array([[float(x) for x in words[f"AT{k}"].split(",")] for k in range(30)])
    kappa = np.array([[float(x) for x in words[f"KAPPA{k}"].split(",")] for k in range(30)])
    assert np.ptp(kappa) == 0
    points = RNG.uniform(-np.pi, np.pi, (20, 2))
    features = TORSIONS.features_of_angles(points)
    seen = np.array([[values(point)[name] for name in words["ARG"].split(",")] for point in points])
    assert seen == pytest.approx(features)
    for a, eta in [(at[7], NATURAL[7]), (0.5 * (at[3] + at[4]), 0.5 * (NATURAL[3] + NATURAL[4]))]:
        bias = 0.5 * (kappa[0] * np.square(seen - a)).sum(axis=1)
        wanted = -KT * features @ eta
        assert bias - bias[0] == pytest.approx(wanted - wanted[0], abs=1e-3)


def test_the_path_variable_counts_the_nodes() -> None:
    """s = sum i exp(-lambda d_i) / sum exp(-lambda d_i) is about i at node i, and z about zero."""
    ((_, _, words),) = [row for row in parsed(TEXT) if row[1] == "FUNCPATHMSD"]
    lam = float(words["LAMBDA"])
    for k, center in enumerate(CENTERS[1:-1], start=2):
        known = values(center)
        d = np.array([known[name] for name in words["ARG"].split(",")])
        weights = np.exp(-lam * d)
        assert (weights @ np.arange(1, 10)) / weights.sum() == pytest.approx(k, abs=0.05)
        assert d[k - 1] == pytest.approx(0.0, abs=1e-6)


def test_neighbouring_nodes_are_told_apart_as_plumed_recommends() -> None:
    """Lambda is 2.3 over the mean square distance of neighbours."""
    ((_, _, words),) = [row for row in parsed(TEXT) if row[1] == "FUNCPATHMSD"]
    following = [values(center)[words["ARG"].split(",")[k]] for k, center in enumerate(CENTERS[:-1], start=1)]
    assert float(words["LAMBDA"]) * np.mean(following) == pytest.approx(2.3, rel=1e-3)
