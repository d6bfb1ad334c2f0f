"""How configurations are described."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from spacetime_tps.config.base import Interval, Model, TorsionNames
from spacetime_tps.config.bounds import Within


class NamedTorsionsConfig(Model):
    """What every representation of a molecule names: the torsions that channels wind and barriers are read in."""

    torsions: TorsionNames


class TorsionsConfig(NamedTorsionsConfig):
    """(cos, sin) of named torsions."""

    kind: Literal["torsions"]


class CartesianConfig(NamedTorsionsConfig):
    """Positions [A] of atoms, the molecule superposed."""

    kind: Literal["cartesian"]
    atoms: Literal["heavy", "ca", "all"] = "heavy"


class ComponentsConfig(NamedTorsionsConfig):
    """Linear combinations of (cos, sin) of the named torsions: the slowest (tica) or the widest (pca)."""

    kind: Literal["tica", "pca"]
    components: Annotated[int, Within(1, 1000)] | None = None
    """None: all there are, two a torsion. With fewer, different torsions may lie at the same place."""
    lag: Interval = 2.0
    """Between the configurations that are correlated, for tica."""

    @property
    def count(self) -> int:
        """How many components there are."""
        return self.components or 2 * len(self.torsions)

    @model_validator(mode="after")
    def _there_are_so_many(self) -> ComponentsConfig:
        if self.count > 2 * len(self.torsions):
            raise ValueError(f"components should be at most {2 * len(self.torsions)}, twice the torsions")
        return self


class IdentityConfig(Model):
    """The coordinates of an analytic potential themselves."""

    kind: Literal["identity"]


RepresentationConfig = Annotated[
    TorsionsConfig | CartesianConfig | ComponentsConfig | IdentityConfig, Field(discriminator="kind")
]
