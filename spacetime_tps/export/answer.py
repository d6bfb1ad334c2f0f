"""What a run was asked for, in five lines: the barrier, the difference of the states, both rates, and the paths."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from spacetime_tps.export.rate_doubts import doubt_on_rates
from spacetime_tps.units import shown_number


def answer_lines(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A name and a sentence each, from ``summary.json``."""
    return list(_lines(summary))


def _lines(summary: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    answer, shots = summary["answer"], summary["transitions"]
    chosen = summary["geodesic"]["chosen"]
    yield "barrier", f"{_energy(answer['barrier'])}, along {chosen}"
    yield "states", f"B - A {_energy(answer['delta_f_states'])}"
    doubt = doubt_on_rates(summary) if shots.get("rate_a_to_b") else None
    doubted = f"; doubtful: {doubt.words}" if doubt else ""
    for name, key in (("rate A to B", "rate_a_to_b"), ("rate B to A", "rate_b_to_a")):
        yield name, f"{_rate(shots[key])}{doubted}" if shots.get(key) else f"unknown: {_why(shots)}"
    yield "true ensemble", _paths(shots)


def _energy(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return "unknown"
    error = found["error"]
    known = f"{error:.2g}" if error is not None and math.isfinite(error) else "unknown"
    return f"{shown_number(found['value'], 1)} +- {known} {found['unit']}"


def rate_in_words(found: Mapping[str, Any]) -> str:
    """A rate constant with its error, a factor."""
    return f"{found['value']:.2g} {found['unit']}, within a factor {math.exp(found['error_of_log']):.2f}"


def _rate(found: Mapping[str, Any]) -> str:
    words = rate_in_words(found)
    if "eyring_barrier_kj_mol" not in found:
        return words
    kj, kcal = found["eyring_barrier_kj_mol"], found["eyring_barrier_kcal_mol"]
    return f"{words}; by Eyring's equation {kj:.1f} kJ/mol ({kcal:.1f} kcal/mol)"


def _paths(shots: Mapping[str, Any]) -> str:
    if not shots.get("paths"):
        return f"no unguided path: {_why(shots)}"
    shares = sorted(((each["share"], label) for label, each in shots["channels"].items()), reverse=True)
    through = ", ".join(f"{share:.0%} {label}" for share, label in shares[:2])
    words = f"{shots['paths']} unguided paths, worth {shots['effective_paths']:.0f} of equal weight; {through}"
    most = [each for each in shots["tubes"] if each["channel"] == shares[0][1]]
    return f"{words} in {len(most)} tubes" if len(most) > 1 else words


def _why(shots: Mapping[str, Any]) -> str:
    return str(shots.get("no_rates_because") or "transitions.shots is 0")


def model_in_words(definition: Mapping[str, Any]) -> str:
    """What rates depend on beside the energy: friction, masses, solvent."""
    if definition["kind"] != "molecule":
        return "Rates are those of overdamped dynamics in reduced units."
    dynamics = definition["dynamics"]
    solvent = "water and ions" if definition.get("nonbonded") == "pme" else "no explicit solvent"
    if definition.get("implicit_solvent"):
        solvent = f"implicit solvent {definition['implicit_solvent']}"
    masses = f"hydrogens of {definition['hydrogen_mass']}" if definition.get("hydrogen_mass") else "physical masses"
    return (
        f"Rates are those of this model: Langevin dynamics at {definition['temperature']}, friction "
        f"{dynamics['friction']}, {masses}, {solvent}."
    )
