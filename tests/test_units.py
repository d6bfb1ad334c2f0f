from __future__ import annotations

import math

import pytest
from pydantic import BaseModel, ValidationError

from spacetime_tps.units import GAS_CONSTANT, UNITS, Temperature, Time, format_quantity, parse_quantity


def test_gas_constant_is_avogadro_times_boltzmann() -> None:
    assert pytest.approx(6.02214076e23 * 1.380649e-23 / 1000, rel=1e-14) == GAS_CONSTANT


@pytest.mark.parametrize(
    ("text", "dimension", "expected"),
    [
        ("300 K", "temperature", 300.0),
        ("2 fs", "time", 0.002),
        ("1.5ns", "time", 1500.0),
        ("1 us", "time", 1e6),
        ("  7 ps ", "time", 7.0),
        ("1 /fs", "rate", 1000.0),
        ("2 /ns", "rate", 0.002),
        ("1 kcal/mol", "energy", 4.184),
        ("-2e-1 kJ/mol", "energy", -0.2),
        ("180 deg", "angle", math.pi),
        (".5 rad", "angle", 0.5),
        ("1 A", "length", 0.1),
        ("10 Å", "length", 1.0),
        ("12 amu", "mass", 12.0),
    ],
)
def test_parse(text: str, dimension: str, expected: float) -> None:
    assert parse_quantity(text, dimension) == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize(
    ("value", "dimension"),
    [
        (300, "temperature"),
        (300.0, "temperature"),
        (True, "temperature"),
        (None, "time"),
        ("300", "temperature"),
        ("K", "temperature"),
        ("300 k", "temperature"),
        ("300 ps", "temperature"),
        ("2 fs 3", "time"),
        ("1,5 ps", "time"),
        ("nan ps", "time"),
        ("inf ps", "time"),
        ("1 kJ", "energy"),
    ],
)
def test_refused_with_the_accepted_units_named(value: object, dimension: str) -> None:
    with pytest.raises(ValueError, match="expected a number and one of the units") as caught:
        parse_quantity(value, dimension)
    assert ("null" if value is None else repr(value)) in str(caught.value)
    assert all(unit in str(caught.value) for unit in UNITS[dimension])


def test_overflow_is_refused() -> None:
    with pytest.raises(ValueError, match="no finite time"):
        parse_quantity("1e400 ps", "time")


def test_format_in_customary_units() -> None:
    assert format_quantity(math.pi, "angle") == "180 deg"
    assert format_quantity(0.002, "time") == "0.002 ps"
    assert format_quantity(300.0, "temperature") == "300 K"


@pytest.mark.parametrize("dimension", list(UNITS))
def test_format_is_read_back(dimension: str) -> None:
    for number in (1.0, -0.37, 1.25e-7, 6.5e8):
        assert parse_quantity(format_quantity(number, dimension), dimension) == pytest.approx(number, rel=1e-11)


def test_in_a_model() -> None:
    class Settings(BaseModel):
        temperature: Temperature
        time_step: Time

    settings = Settings.model_validate({"temperature": "310 K", "time_step": "4 fs"})
    assert (settings.temperature, settings.time_step) == (310.0, 0.004)
    assert settings.model_dump() == {"temperature": "310 K", "time_step": "0.004 ps"}
    with pytest.raises(ValidationError, match="310 is no temperature"):
        Settings.model_validate({"temperature": 310, "time_step": "4 fs"})
