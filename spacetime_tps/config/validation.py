"""From settings to a configuration, or to one sentence on what is wrong; and back to YAML."""

from __future__ import annotations

import difflib
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from spacetime_tps.config.base import Model
from spacetime_tps.config.run import RunConfig
from spacetime_tps.errors import UserError


def validate(settings: dict[str, Any], source: str) -> RunConfig:
    """Build the configuration or say in one sentence what is wrong with it.

    Raises:
        UserError: a key is unknown or missing, or a value is not what it should be.
    """
    try:
        return RunConfig.model_validate(settings)
    except ValidationError as error:
        raise UserError(f"{source}: {_first_problem(error)}.") from error


def _first_problem(error: ValidationError) -> str:
    problems = error.errors(include_url=False)
    # An unknown key explains the missing ones around it, so it is told first.
    unknown = [p for p in problems if p["type"] == "extra_forbidden"]
    # Of the branches of a union the one that wants text says least.
    problem = (unknown or [p for p in problems if p["type"] != "string_type"] or problems)[0]
    tags = {
        "ball",
        "box",
        "molecule",
        "potential",
        "torsions",
        "cartesian",
        "tica",
        "pca",
        "identity",
        "metadynamics",
        "replica_exchange",
        "trajectories",
        "basins",
        "langevin",
    }
    branches = {"str", "int", "float", "constrained-int", "constrained-float"}
    place = [str(part) for part in problem["loc"] if part not in branches and part != "[key]"]
    if place[:1] == ["collective_variables"] and len(place) > 2:
        del place[2]  # which kind of variable it was taken for
    shown = ".".join(p for i, p in enumerate(place) if not (i in (1, 4) and p in tags))
    shown = "".join(c if c.isprintable() else repr(c)[1:-1] for c in shown)
    if problem["type"] == "extra_forbidden":
        hint = difflib.get_close_matches(place[-1], _known_keys(RunConfig), n=1)
        return f"unknown key '{shown}'" + (f" (did you mean '{hint[0]}'?)" if hint and hint[0] != place[-1] else "")
    if problem["type"] == "missing":
        return f"the key '{shown}' is missing"
    if problem["type"] == "unknown_kind":
        given = problem["input"]
        return f"'{shown}': {problem['msg']}, not {given.get('kind') if isinstance(given, dict) else given!r}"
    message = problem["msg"].removeprefix("Value error, ").rstrip(".")
    counted = problem["type"] in ("too_short", "too_long")  # these messages end in ", not 0" by themselves
    told = counted or isinstance(problem["input"], dict) or repr(problem["input"]) in message
    found = "" if told else f", not {problem['input']!r}"
    return f"'{shown}': {message}{found}" if shown else message


def _known_keys(model: type[BaseModel]) -> list[str]:
    """Every key that any section knows, for the "did you mean"."""
    keys: set[str] = set()
    for candidate in [model, *Model.__subclasses__()]:
        keys.update(candidate.model_fields)
    return sorted(keys)


def dump(config: RunConfig) -> str:
    """The resolved configuration as YAML, units in the values."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=100)
