"""From settings to a configuration, or to one sentence on what is wrong; and back to YAML."""

from __future__ import annotations

import re
from typing import Any

import yaml
from pydantic import ValidationError

from spacetime_tps.config.run import RunConfig
from spacetime_tps.config.suggestions import suggestion
from spacetime_tps.errors import UserError, shortened, shown_value


def validate(settings: dict[str, Any], source: str) -> RunConfig:
    """Build the configuration or say in one sentence what is wrong with it.

    Raises:
        UserError: a key is unknown or missing, or a value is not what it should be.
    """
    try:
        return RunConfig.model_validate(settings)
    except ValidationError as error:
        raise UserError(f"{source}: {_first_problem(error, settings)}.") from error
    except RecursionError as error:
        raise UserError(f"{source}: its sections lie too deep in each other.") from error


def _first_problem(error: ValidationError, settings: dict[str, Any]) -> str:
    problems = error.errors(include_url=False)
    # An unknown key explains the missing ones around it, so it is told first.
    unknown = [p for p in problems if p["type"] == "extra_forbidden"]
    # Of the branches of a union the one that wants text says least.
    problem = (unknown or [p for p in problems if p["type"] != "string_type"] or problems)[0]
    place = _place(problem["loc"])
    shown = shortened(".".join(place), _LONGEST_PLACE)
    if problem["type"] == "extra_forbidden":
        shown = shortened(".".join([*_place(problem["loc"][:-1]), str(problem["loc"][-1])]), _LONGEST_PLACE)
        hint = suggestion(problem["loc"], settings)
        return f"unknown key '{shown}'" + (f" (did you mean {hint}?)" if hint else "")
    if problem["type"] == "missing":
        return f"the key '{shown}' is missing"
    if problem["type"] == "union_tag_not_found":
        return f"the key '{shown}.kind' is missing"
    if problem["type"] in ("unknown_kind", "union_tag_invalid"):
        given = problem["input"]
        kind = given.get("kind") if isinstance(given, dict) else given
        return f"'{shown}': {_words(problem)}, not {shown_value(kind)}"
    # Every branch of a union says what it expects.
    alike = [p for p in problems if _place(p["loc"]) == place and p["type"] != "string_type"] or [problem]
    message = _joined(list(dict.fromkeys(map(_words, alike))))
    found = shown_value(problem["input"])
    counted = problem["type"] in ("too_short", "too_long")
    of_section = isinstance(problem["input"], dict) and problem["type"] == "value_error"
    told = counted or of_section or (isinstance(problem["input"], str) and found in message)
    return (f"'{shown}': {message}" if shown else message) + ("" if told else f", not {found}")


_LONGEST_PLACE = 120
_BRANCH = re.compile(r"(constrained-)?(str|int|float|list|dict)|\[key\]|(function-|nullable|literal\[).*")
_TAGS = {
    *("ball", "box", "molecule", "potential", "torsions", "cartesian", "tica", "pca", "identity", "metadynamics"),
    *("replica_exchange", "trajectories", "adaptive", "langevin"),
}


def _place(location: tuple[int | str, ...]) -> list[str]:
    """Where a value stands, without the branches of unions that it was taken for."""
    place = [str(part) for part in location if not _BRANCH.fullmatch(str(part))]
    if place[:1] == ["collective_variables"] and len(place) > 2:
        del place[2]  # which kind of variable it was taken for
    return [p for i, p in enumerate(place) if not (p in _TAGS and (i == 1 or place[i - 1].isdecimal()))]


_PLAIN = {
    "model_type": "expected a section of settings",
    "model_attributes_type": "expected a section of settings",
    "dict_type": "expected a section of settings",
    "list_type": "expected a list",
    "tuple_type": "expected a list",
    "string_type": "expected text",
    "int_type": "expected a whole number",
    "int_parsing": "expected a whole number",
    "int_parsing_size": "expected a whole number",
    "int_from_float": "expected a whole number",
    "float_type": "expected a number",
    "float_parsing": "expected a number",
    "finite_number": "expected a finite number",
    "invalid_key": "expected keys that are text",
}
"""What pydantic says in the words of Python, by the type of its error."""


def _words(problem: Any) -> str:
    """What is expected, without a word of Python."""
    kind, about = problem["type"], problem.get("ctx", {})
    if kind in _PLAIN:
        return _PLAIN[kind]
    if kind == "literal_error":
        return f"expected {about['expected']}"
    if kind == "union_tag_invalid":
        return f"expected the kind {' or '.join(about['expected_tags'].rsplit(', ', 1))}"
    if kind in ("too_short", "too_long"):
        bound = f"at least {about['min_length']}" if kind == "too_short" else f"at most {about['max_length']:,}"
        return f"expected {bound} of them, not {about['actual_length'] or 0:,}"
    if kind == "string_too_long":
        return f"expected up to {about['max_length']} characters"
    return str(problem["msg"]).removeprefix("Value error, ").rstrip(".")


def _joined(messages: list[str]) -> str:
    if all(message.startswith("expected ") for message in messages):
        return "expected " + " or ".join(message.removeprefix("expected ") for message in messages)
    return messages[0]


def dump(config: RunConfig) -> str:
    """The resolved configuration as YAML, units in the values."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=100)
