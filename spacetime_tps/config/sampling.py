"""Where Boltzmann samples come from."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from spacetime_tps.config.base import Model, in_order
from spacetime_tps.units import Angle, Temperature, Time, parse_quantity


class HillsConfig(Model):
    """A bias of well-tempered metadynamics with several walkers."""

    walkers: int = Field(4, ge=1)
    bias: list[str] | None = Field(None, min_length=1)
    """Torsions that are biased, at most three."""
    bias_factor: float = Field(15.0, gt=1)
    hill_height_kt: float = Field(0.5, gt=0)
    hill_width: Angle = Field(parse_quantity("20 deg", "angle"), gt=0)
    hill_interval: Time = Field(0.5, gt=0)
    grid_points: int = Field(36, ge=12)
    """Of each torsion; every hill rebuilds the splines of the whole grid."""
    build_time: Time = Field(gt=0)
    """Simulated time of each walker while the bias grows."""
    exchange_interval: Time = Field(gt=0)
    """Walkers pool their hills after this much simulated time."""

    @model_validator(mode="after")
    def _hills_fit(self) -> HillsConfig:
        return in_order(self, "hill_interval", "exchange_interval", "build_time")


class MetadynamicsConfig(HillsConfig):
    """Well-tempered metadynamics, then sampling under the frozen bias.

    Without ``bias`` the torsions of the representation are biased.
    """

    kind: Literal["metadynamics"]
    frozen_time: Time = Field(gt=0)
    """Simulated time of each walker under the frozen bias."""
    discard_time: Time = Field(50.0, ge=0)
    """Frozen-bias time thrown away at the start of each walker."""
    sample_interval: Time = Field(gt=0)
    frame_interval: Time = Field(gt=0)

    @model_validator(mode="after")
    def _intervals_fit(self) -> MetadynamicsConfig:
        return in_order(self, "sample_interval", "frozen_time")


class FlattenConfig(HillsConfig):
    """A bias that is grown before replica exchange and acts on all of its replicas.

    Without ``bias`` those of the states' torsions are biased that differ most between the end structures, at most two.
    """

    hill_interval: Time = Field(1.0, gt=0)
    build_time: Time = Field(500.0, gt=0)
    exchange_interval: Time = Field(25.0, gt=0)


class ReplicaExchangeConfig(Model):
    """Replica exchange in temperature, reweighted to the system's temperature by MBAR."""

    kind: Literal["replica_exchange"]
    walkers: int = Field(2, ge=1)
    """Ladders that know nothing of each other; by their difference the error of populations is told."""
    highest_temperature: Temperature = Field(gt=0)
    replicas: Annotated[int, Field(ge=2, le=64)] | Literal["auto"] = "auto"
    """Of each ladder, at temperatures in geometric progression; ``auto``: as many as ``acceptance`` asks for."""
    acceptance: float = Field(0.3, gt=0, lt=1)
    """Least acceptance of exchanges between neighbours that ``auto`` aims at, predicted from short runs."""
    flatten: FlattenConfig | None = FlattenConfig()
    """Temperature alone leaves the ridge between the states nearly empty; null: no bias."""
    exchange_interval: Time = Field(0.2, gt=0)
    time: Time = Field(gt=0)
    """Simulated time of each replica."""
    discard_time: Time = Field(50.0, ge=0)
    """Thrown away at the start of each replica, beside ``time``."""
    sample_interval: Time = Field(1.0, gt=0)
    frame_interval: Time = Field(20.0, gt=0)

    @model_validator(mode="after")
    def _intervals_fit(self) -> ReplicaExchangeConfig:
        return in_order(self, "exchange_interval", "sample_interval", "time")


class TrajectoriesConfig(Model):
    """The user's own samples: trajectories of the states' molecule, in any format that MDTraj reads."""

    kind: Literal["trajectories"]
    files: list[str] = Field(min_length=1)
    """Relative to the system file; ``*`` stands for anything."""
    weights: list[str] = Field(default_factory=list)
    """For each of them a text file (a COLVAR file of PLUMED, too) with a number a frame; without it all weigh alike."""
    column: str | Annotated[int, Field(ge=1)] | None = None
    """Of these files: its name in ``#! FIELDS``, or its number from 1; not needed where there is one only."""
    weights_are: Literal["bias", "log_weight", "weight"] = "bias"
    """A bias V weighs exp(V / kT)."""
    bias_unit: Literal["kJ/mol", "kcal/mol", "kT"] = "kJ/mol"
    skip: int = Field(0, ge=0)
    """Frames left out at the start of each trajectory."""
    every: int = Field(1, ge=1)
    """So many frames apart are those that are used."""


class BasinsConfig(Model):
    """Free simulations in either state and a plain between them, for ``refine`` to find out what is there."""

    kind: Literal["basins"]
    walkers: int = Field(4, ge=2)
    """Of each state."""
    time: Time = Field(gt=0)
    """Simulated time in each state, all its walkers together."""
    discard_time: Time = Field(10.0, ge=0)
    """Thrown away at the start of each walker, beside ``time``."""
    sample_interval: Time = Field(0.2, gt=0)
    frame_interval: Time = Field(20.0, gt=0)
    background_kt: float = Field(12.0, gt=0)
    """Assumed free energy, above the bottom, of what no simulation has seen; below the barrier, so that every way is
    tried."""
    background_points: int = Field(20_000, ge=100, le=10**7)
    """Points that the whole torus would be covered with; of more than three torsions, those about the straight ways."""

    @model_validator(mode="after")
    def _intervals_fit(self) -> BasinsConfig:
        return in_order(self, "sample_interval", "time")


class LangevinConfig(Model):
    """Metropolis-adjusted overdamped Langevin walkers at a raised temperature, reweighted to the system's."""

    kind: Literal["langevin"]
    walkers: int = Field(1024, ge=1)
    temperature_factor: float = Field(1.0, ge=1)
    time_step: float = Field(gt=0)
    burn_in_steps: int = Field(ge=0)
    steps: int = Field(ge=1)
    sample_every: int = Field(ge=1)

    @model_validator(mode="after")
    def _samples_are_drawn(self) -> LangevinConfig:
        if self.sample_every > self.steps:
            raise ValueError("sample_every should not be larger than steps")
        return self


SamplingConfig = Annotated[
    MetadynamicsConfig | ReplicaExchangeConfig | TrajectoriesConfig | BasinsConfig | LangevinConfig,
    Field(discriminator="kind"),
]
