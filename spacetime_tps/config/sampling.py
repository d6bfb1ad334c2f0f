"""Where Boltzmann samples come from."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from spacetime_tps.config.base import Discarded, Duration, FileNames, Interval, Model, TorsionNames, in_order
from spacetime_tps.config.bounds import Within
from spacetime_tps.units import Angle, Temperature, parse_quantity


class HillsConfig(Model):
    """A bias of well-tempered metadynamics with several walkers."""

    walkers: Annotated[int, Within(1, 1024)] = 4
    bias: TorsionNames | None = None
    """Torsions that are biased, at most three."""
    bias_factor: Annotated[float, Within(1.01, 1e15)] = 15.0
    hill_height_kt: Annotated[float, Within(1e-6, 1000)] = 0.5
    hill_width: Annotated[Angle, Within("0.1 deg", "180 deg")] = parse_quantity("20 deg", "angle")
    hill_interval: Interval = 0.5
    grid_points: Annotated[int, Within(12, 360)] = 36
    """Of each torsion; every hill rebuilds the splines of the whole grid."""
    build_time: Duration
    """Simulated time of each walker while the bias grows."""
    exchange_interval: Interval
    """Walkers pool their hills after this much simulated time."""

    @model_validator(mode="after")
    def _hills_fit(self) -> HillsConfig:
        return in_order(self, "hill_interval", "exchange_interval", "build_time")


class MetadynamicsConfig(HillsConfig):
    """Well-tempered metadynamics, then sampling under the frozen bias.

    Without ``bias`` the torsions of the representation are biased.
    """

    kind: Literal["metadynamics"]
    frozen_time: Duration
    """Simulated time of each walker under the frozen bias."""
    discard_time: Discarded = 50.0
    """Frozen-bias time thrown away at the start of each walker."""
    sample_interval: Interval
    frame_interval: Interval

    @model_validator(mode="after")
    def _intervals_fit(self) -> MetadynamicsConfig:
        return in_order(self, "sample_interval", "frozen_time")


class FlattenConfig(HillsConfig):
    """A bias that is grown before replica exchange and acts on all of its replicas.

    Without ``bias`` those of the states' torsions are biased that differ most between the end structures, at most two.
    """

    hill_interval: Interval = 1.0
    build_time: Duration = 500.0
    exchange_interval: Interval = 25.0


class ReplicaExchangeConfig(Model):
    """Replica exchange in temperature, reweighted to the system's temperature by MBAR."""

    kind: Literal["replica_exchange"]
    walkers: Annotated[int, Within(1, 1024)] = 2
    """Ladders that know nothing of each other; by their difference the error of populations is told."""
    highest_temperature: Annotated[Temperature, Within("1 K", "10000 K")]
    replicas: Annotated[int, Within(2, 64)] | Literal["auto"] = "auto"
    """Of each ladder, at temperatures in geometric progression; ``auto``: as many as ``acceptance`` asks for."""
    acceptance: Annotated[float, Within(0.01, 0.99)] = 0.3
    """Least acceptance of exchanges between neighbours that ``auto`` aims at, predicted from short runs."""
    flatten: FlattenConfig | None = FlattenConfig()
    """Temperature alone leaves the ridge between the states nearly empty; null: no bias."""
    exchange_interval: Interval = 0.2
    time: Duration
    """Simulated time of each replica."""
    discard_time: Discarded = 50.0
    """Thrown away at the start of each replica, beside ``time``."""
    sample_interval: Interval = 1.0
    frame_interval: Interval = 20.0

    @model_validator(mode="after")
    def _intervals_fit(self) -> ReplicaExchangeConfig:
        return in_order(self, "exchange_interval", "sample_interval", "time")


class TrajectoriesConfig(Model):
    """The user's own samples: trajectories of the states' molecule, in any format that MDTraj reads."""

    kind: Literal["trajectories"]
    files: FileNames = Field(min_length=1)
    """Relative to the system file; ``*`` stands for anything."""
    weights: FileNames = Field(default_factory=list)
    """For each of them a text file (a COLVAR file of PLUMED, too) with a number a frame; without it all weigh alike."""
    column: str | Annotated[int, Within(1, 10_000)] | None = None
    """Of these files: its name in ``#! FIELDS``, or its number from 1; not needed where there is one only."""
    weights_are: Literal["bias", "log_weight", "weight"] = "bias"
    """A bias V weighs exp(V / kT)."""
    bias_unit: Literal["kJ/mol", "kcal/mol", "kT"] = "kJ/mol"
    skip: Annotated[int, Within(0, 10**9)] = 0
    """Frames left out at the start of each trajectory."""
    every: Annotated[int, Within(1, 10**9)] = 1
    """So many frames apart are those that are used."""


class AdaptiveConfig(Model):
    """Free simulations in either state and a plain between them; what is there, rounds of windows find out."""

    kind: Literal["adaptive"]
    walkers: Annotated[int, Within(2, 1024)] = 4
    """Of each state."""
    time: Duration = 200.0
    """Simulated time in each state, all its walkers together."""
    discard_time: Discarded = 10.0
    """Thrown away at the start of each walker, beside ``time``."""
    sample_interval: Interval = 0.2
    frame_interval: Interval = 2.0
    """Of the frames among which the bottom of either state is looked for."""
    background_kt: Annotated[float, Within(0.1, 1000)] = 12.0
    """Assumed free energy, above the bottom, of what no simulation has seen; below the barrier, so that every way is
    tried."""
    background_points: Annotated[int, Within(100, 10**7)] = 20_000
    """Points that the whole torus would be covered with; of more than three torsions, those about the straight ways."""

    @model_validator(mode="after")
    def _intervals_fit(self) -> AdaptiveConfig:
        return in_order(self, "sample_interval", "time")


class LangevinConfig(Model):
    """Metropolis-adjusted overdamped Langevin walkers at a raised temperature, reweighted to the system's."""

    kind: Literal["langevin"]
    walkers: Annotated[int, Within(1, 10**7)] = 1024
    temperature_factor: Annotated[float, Within(1, 1000)] = 1.0
    time_step: Annotated[float, Within(1e-12, 1000)]
    burn_in_steps: Annotated[int, Within(0, 10**9)]
    steps: Annotated[int, Within(1, 10**9)]
    sample_every: Annotated[int, Within(1, 10**9)]

    @model_validator(mode="after")
    def _samples_are_drawn(self) -> LangevinConfig:
        if self.sample_every > self.steps:
            raise ValueError("sample_every should not be larger than steps")
        return self


SamplingConfig = Annotated[
    MetadynamicsConfig | ReplicaExchangeConfig | TrajectoriesConfig | AdaptiveConfig | LangevinConfig,
    Field(discriminator="kind"),
]
