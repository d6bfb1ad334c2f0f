"""Collective variables, regions in them, and the two states."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from spacetime_tps.config.base import FileName, Label, Model, PlainNumber, Quantity
from spacetime_tps.config.bounds import Within
from spacetime_tps.units import Length


class BallConfig(Model):
    """A ball in named collective variables; distances are periodic where the variables are."""

    ball: dict[str, Quantity | PlainNumber]
    radius: Quantity | PlainNumber


def _kind_of_region(region: Any) -> str:
    return "ball" if isinstance(region, BallConfig) or (isinstance(region, dict) and "ball" in region) else "box"


BoxConfig = dict[str, tuple[Quantity | PlainNumber, Quantity | PlainNumber]]
"""Intervals (low, high) in named collective variables."""

RegionConfig = Annotated[
    Annotated[BallConfig, Tag("ball")] | Annotated[BoxConfig, Tag("box")], Discriminator(_kind_of_region)
]


class RMSDConfig(Model):
    """Root-mean-square distance of atoms from a structure, superposed by them."""

    kind: Literal["rmsd"]
    pdb: FileName
    atoms: Literal["ca", "heavy", "all"] = "ca"


class NativeContactsConfig(Model):
    """Fraction of a structure's contacts between heavy atoms that a frame has (Best, Hummer and Eaton 2013)."""

    kind: Literal["native_contacts"]
    pdb: FileName
    cutoff: Annotated[Length, Within("0.1 nm", "10 nm")] = 0.45
    """Distance below which two heavy atoms touch in the structure."""
    apart: Annotated[int, Within(1, 1000)] = 4
    """Residues at least from one of them to the other, along the chain."""


def _kind_of_variable(variable: Any) -> str | None:
    kind = variable.get("kind") if isinstance(variable, dict) else getattr(variable, "kind", "torsion")
    return kind if kind in ("torsion", "rmsd", "native_contacts") else None


VariableConfig = Annotated[
    Annotated[list[str], Tag("torsion")]
    | Annotated[RMSDConfig, Tag("rmsd")]
    | Annotated[NativeContactsConfig, Tag("native_contacts")],
    Discriminator(
        _kind_of_variable,
        custom_error_type="unknown_kind",
        custom_error_message="kind should be rmsd or native_contacts; a torsion is a list of four atoms",
    ),
]
"""A torsion by its four atoms, ``RESIDUE_NUMBER:ATOM`` as in the PDB file, or another function of a frame."""


class StateConfig(Model):
    """A metastable state: a structure in it and the union of regions that defines it."""

    name: Label
    pdb: FileName | None = None
    point: Annotated[list[PlainNumber], Field(max_length=100)] | None = None
    any_of: list[RegionConfig] = Field(min_length=1, max_length=1000)

    @model_validator(mode="after")
    def _one_structure(self) -> StateConfig:
        if (self.pdb is None) == (self.point is None):
            raise ValueError("give either 'pdb' (a molecule) or 'point' (a potential)")
        return self


class StatesConfig(Model):
    """The two end states."""

    a: StateConfig
    b: StateConfig
