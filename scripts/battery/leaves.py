"""The configuration's keys, found by walking its models, so that new keys are tried without a change here."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from spacetime_tps.config import RunConfig, validate
from spacetime_tps.config.base import Model
from spacetime_tps.systems import load_config, systems_folder

_SELECTOR = {"variable": "x", "center": 0.0, "width": 0.1}
_TOY = {
    "reference": None,
    "geodesic.avoid": [{"ball": {"x": 0.0, "y": 1.0}, "radius": 0.1}, {"x": [1.0, 1.2], "y": [1.0, 1.2]}],
    "geodesic.waypoints": [{"ball": {"x": 0.0, "y": 0.5}, "radius": 0.2}],
    "geodesic.low_barrier": {"weight": 1.0},
    "geodesic.tent_log_snr": 2.0,
    "shooting.selector": _SELECTOR,
}
_TORSIONS = {"torsions": ["phi", "psi"]}
_MOLECULE: dict[str, Any] = {"reference": None}
BASES: dict[str, tuple[str, dict[str, Any]]] = {
    "toy": ("mueller_brown", _TOY),
    "metadynamics": (
        "alanine_dipeptide",
        {
            **_MOLECULE,
            "system.hydrogen_mass": "1.5 Da",
            "collective_variables.far": {"kind": "rmsd", "pdb": "c5.pdb", "atoms": "heavy"},
            "collective_variables.near": {"kind": "native_contacts", "pdb": "c5.pdb", "apart": 1},
        },
    ),
    "replica_exchange": (
        "alanine_dipeptide",
        {**_MOLECULE, "sampling": {"kind": "replica_exchange", "highest_temperature": "600 K", "time": "100 ps"}},
    ),
    "trajectories": (
        "alanine_dipeptide",
        {**_MOLECULE, "sampling": {"kind": "trajectories", "files": ["a.xtc"], "weights": ["a.dat"], "column": 1}},
    ),
    "adaptive": (
        "alanine_dipeptide",
        {**_MOLECULE, "sampling": {"kind": "adaptive", "time": "100 ps"}, "refine.rounds": 2},
    ),
    "cartesian": (
        "alanine_dipeptide",
        {
            **_MOLECULE,
            "representation": {"kind": "cartesian", "atoms": "heavy", **_TORSIONS},
            "geodesic.low_variance": None,
        },
    ),
    "pca": (
        "alanine_dipeptide",
        {**_MOLECULE, "representation": {"kind": "pca", "components": 2, **_TORSIONS}, "geodesic.low_variance": None},
    ),
}
"""Configurations that between them hold every model: a system of the package, and settings laid over it."""


@dataclass(frozen=True)
class Leaf:
    """A key whose value is not a section.

    Attributes:
        base: configuration that it is tried in.
        place: of the key.
        model: that the key belongs to.
        kinds: of "number", "whole", "quantity", "text", "choice", "list", "mapping".
        optional: whether null is a value.
        unit: of a quantity.
    """

    base: str
    place: tuple[Any, ...]
    model: str
    kinds: frozenset[str]
    optional: bool
    unit: str = ""

    @property
    def shown(self) -> str:
        """Dotted, with its base."""
        return f"{self.base}:{'.'.join(map(str, self.place))}"


def resolved(base: str) -> tuple[RunConfig, dict[str, Any]]:
    """A base as a configuration and as plain settings."""
    system, changes = BASES[base]
    config = load_config(systems_folder() / system / "system.yaml")
    settings = config.model_dump(mode="json")
    for key, value in changes.items():
        put(settings, tuple(key.split(".")), value)
    valid = validate(settings, base)
    return valid, valid.model_dump(mode="json")


def put(settings: Any, place: tuple[Any, ...], value: Any) -> None:
    """Set a value in nested settings."""
    for part in place[:-1]:
        settings = settings[part] if isinstance(settings, list) else settings.setdefault(part, {})
    settings[place[-1]] = value


def leaves(base: str, instance: Model, dumped: Any, place: tuple[Any, ...] = ()) -> Iterator[Leaf | type]:
    """Every leaf below a model, and the types of all models met."""
    yield type(instance)
    for name, info in type(instance).model_fields.items():
        value, here = getattr(instance, name), (*place, name)
        below = list(_models(value, here))
        for where, model in below:
            inner = dumped
            for part in where[len(place) :]:
                inner = inner[part]
            yield from leaves(base, model, inner, where)
        if not below:
            yield _leaf(base, here, type(instance).__name__, info, dumped[name])


def _models(value: Any, place: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], Model]]:
    if isinstance(value, Model):
        yield place, value
    elif isinstance(value, list | tuple):
        for k, item in enumerate(value):
            yield from _models(item, (*place, k))
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _models(item, (*place, key))


def _leaf(base: str, place: tuple[Any, ...], model: str, info: Any, dumped: Any) -> Leaf:
    kind = re.sub(r"Literal\[[^\]]*\]", "Choice", repr(info.annotation) + repr(info.metadata))
    optional = "None" in kind or "Optional" in kind
    if "PlainSerializer" in kind:
        unit = dumped.split(" ", 1)[1] if isinstance(dumped, str) else "Da"
        return Leaf(base, place, model, frozenset({"quantity"}), optional, unit)
    words = {
        "int": "whole",
        "float": "number",
        "str": "text",
        "Choice": "choice",
        "list": "list",
        "tuple": "list",
        "dict": "mapping",
        "Any": "any",
    }
    found = {mine for theirs, mine in words.items() if re.search(rf"\b{theirs}\b", kind)}
    if found & {"list", "mapping"}:
        found &= {"list", "mapping"}
    return Leaf(base, place, model, frozenset(found), optional)


def all_leaves() -> tuple[list[Leaf], set[str]]:
    """Each key of each model once for every place it stands at, and the models that were met."""
    found: dict[tuple[str, tuple[Any, ...]], Leaf] = {}
    met: set[str] = set()
    for base in BASES:
        config, settings = resolved(base)
        for item in leaves(base, config, settings):
            if isinstance(item, Leaf):
                found.setdefault((item.model, item.place), item)
            else:
                met.add(item.__name__)
    return list(found.values()), met


def uncovered() -> list[str]:
    """Models that no base holds and that are not just parents of others."""

    def below(model: type) -> Iterator[type]:
        for child in model.__subclasses__():
            yield child
            yield from below(child)

    _, met = all_leaves()
    return sorted(
        {model.__name__ for model in below(Model) if model.__name__ not in met and not model.__subclasses__()}
    )


_RESOLVED: dict[str, tuple[RunConfig, dict[str, Any]]] = {}


def resolved_once(base: str) -> tuple[RunConfig, dict[str, Any]]:
    """``resolved``, remembered."""
    if base not in _RESOLVED:
        _RESOLVED[base] = resolved(base)
    return _RESOLVED[base]


def sections(base: str) -> Iterator[tuple[tuple[Any, ...], str]]:
    """Place and model of every section."""
    config, _ = resolved_once(base)

    def walk(instance: Model, place: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], str]]:
        yield place, type(instance).__name__
        for name in type(instance).model_fields:
            for where, model in _models(getattr(instance, name), (*place, name)):
                yield from walk(model, where)

    yield from walk(config, ())
