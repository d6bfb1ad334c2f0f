from __future__ import annotations

import numpy as np
import pytest

from spacetime_tps.config import StateConfig
from spacetime_tps.errors import UserError
from spacetime_tps.states import Axes, State, build_state
from tests.oracles import is_one_sentence

NAMES = ["phi", "psi"]


def torsion_state(*regions: dict) -> State:
    return build_state(StateConfig(name="s", pdb="s.pdb", any_of=list(regions)), Axes.alike(NAMES, "angle"))


def holds(state: State, *degrees: tuple[float, float]) -> list[bool]:
    return state.contains(np.deg2rad(degrees)).tolist()


def test_box_and_its_rim() -> None:
    state = torsion_state({"phi": ("-180 deg", "-40 deg"), "psi": ("20 deg", "180 deg")})
    assert holds(state, (-180, 20), (-40, 180), (-100, 100), (-40, 20)) == [True] * 4
    assert holds(state, (-39.9, 100), (-100, 19.9), (-100, -100), (100, 100)) == [False] * 4
    # The seam belongs to the interval whether it is called 180 or -180.
    assert holds(state, (180, 100), (-100, -180)) == [True, True]


def test_box_over_the_seam() -> None:
    state = torsion_state({"phi": ("150 deg", "210 deg")})
    angles = [149, 150, 179.9, 180, -180, -179.9, -150, -149, 0, 510, -570]
    expected = [False, True, True, True, True, True, True, False, False, True, True]
    assert holds(state, *[(angle, 77) for angle in angles]) == expected


def test_whole_circle_holds_everything() -> None:
    state = torsion_state({"psi": ("-180 deg", "180 deg")})
    assert all(holds(state, *[(0.0, angle) for angle in np.linspace(-360, 360, 97)]))


def test_ball_over_the_seam() -> None:
    state = torsion_state({"ball": {"phi": "175 deg", "psi": "-170 deg"}, "radius": "20 deg"})
    # Distances by hand: 10 in phi alone; 15 in psi alone, over the seam; (12, 16) -> 20 on the rim; (14, 16) -> 21.3.
    assert holds(state, (-175, -170), (175, 175), (-173, 174), (-171, 174)) == [True, True, True, False]
    assert holds(state, (175, -149), (154, -170), (-5, 10)) == [False, False, False]


def test_ball_names_its_variables_in_any_order() -> None:
    state = torsion_state({"ball": {"psi": "-41 deg", "phi": "61 deg"}, "radius": "25 deg"})
    assert holds(state, (61, -41), (80, -30), (-41, 61)) == [True, True, False]


def test_ball_in_one_of_two_variables_is_a_stripe() -> None:
    state = torsion_state({"ball": {"psi": "0 deg"}, "radius": "10 deg"})
    assert holds(state, (0, 9), (180, -9), (0, 11)) == [True, True, False]


def test_radians_and_degrees_agree() -> None:
    state = torsion_state({"ball": {"phi": "1 rad"}, "radius": "0.1 rad"})
    assert holds(state, (57.2957795 + 5.7, 0), (57.2957795 + 5.8, 0)) == [True, False]


def test_union_is_the_or_of_its_regions() -> None:
    regions = (
        {"phi": ("-180 deg", "-40 deg"), "psi": ("20 deg", "180 deg")},
        {"phi": ("-180 deg", "-40 deg"), "psi": ("-180 deg", "-150 deg")},
        {"ball": {"phi": "61 deg", "psi": "-41 deg"}, "radius": "25 deg"},
    )
    points = np.random.default_rng(0).uniform(-np.pi, np.pi, (500, 2))
    parts = [torsion_state(region).contains(points) for region in regions]
    assert all(0 < part.sum() < 500 for part in parts)
    assert np.array_equal(torsion_state(*regions).contains(points), parts[0] | parts[1] | parts[2])


def test_shapes() -> None:
    state = torsion_state({"phi": ("0 deg", "90 deg")})
    assert state.contains(np.zeros((3, 4, 2))).shape == (3, 4)
    assert bool(state.contains(np.zeros(2)))


def test_open_variables_are_not_periodic() -> None:
    config = StateConfig(name="left", point=[-1.0, 0.0], any_of=[{"x": (-1.5, -0.5)}])
    state = build_state(config, Axes.alike(["x", "y"], None))
    x = np.array([-1.5, -0.5, -0.49, -1.0 + 2 * np.pi, -1.0 - 2 * np.pi])
    assert state.contains(np.stack([x, x], axis=-1)).tolist() == [True, True, False, False, False]
    config = StateConfig(name="left", point=[-1.0, 0.0], any_of=[{"ball": {"x": -1.0, "y": 0.0}, "radius": 0.5}])
    state = build_state(config, Axes.alike(["x", "y"], None))
    points = [(-1.3, 0.4), (-1.31, 0.4), (-1.0 + 2 * np.pi, 0.0)]
    assert state.contains(np.array(points)).tolist() == [True, False, False]


@pytest.mark.parametrize(
    ("region", "mentions"),
    [
        ({"omega": ("0 deg", "1 deg")}, ["'omega' is no collective variable", "phi, psi"]),
        ({"ball": {"omega": "0 deg"}, "radius": "1 deg"}, ["'omega' is no collective variable", "phi, psi"]),
        ({"phi": ("0 deg", "10")}, ["'10'", "deg, rad"]),
        ({"phi": (0.0, 10.0)}, ["0.0", "deg, rad"]),
        ({"ball": {"phi": "0 deg"}, "radius": 3.0}, ["3.0", "deg, rad"]),
        ({"phi": ("170 deg", "-170 deg")}, ["interval of 'phi' is empty"]),
        ({"phi": ("10 deg", "10 deg")}, ["interval of 'phi' is empty"]),
        ({}, ["names no collective variable"]),
        ({"ball": {}, "radius": "1 deg"}, ["names no collective variable"]),
    ],
)
def test_errors_name_the_state_and_the_fault(region: dict, mentions: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        torsion_state(region)
    message = str(caught.value)
    assert is_one_sentence(message)
    assert all(text in message for text in ["state 's'", *mentions])


def test_text_where_a_number_belongs() -> None:
    config = StateConfig(name="left", point=[0.0, 0.0], any_of=[{"x": ("a", "b")}])
    with pytest.raises(UserError, match="state 'left'"):
        build_state(config, Axes.alike(["x", "y"], None))
