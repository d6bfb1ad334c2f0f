"""The denoiser, the geodesic and its constraints, and their refinement."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from spacetime_tps import plugins
from spacetime_tps.config.base import LearningRate, LogSNR, Model, Options, PlainNumber, Quantity
from spacetime_tps.config.bounds import Within
from spacetime_tps.config.states import BallConfig, RegionConfig
from spacetime_tps.errors import shown_value
from spacetime_tps.units import Angle, parse_quantity

BUILT_IN_DENOISERS = ("potential", "exact")


class DenoiserConfig(Model):
    """Posterior targets and the network that learns them."""

    kind: str = "potential"
    """``exact`` trains nothing: the posterior of the reference grid where there is one, else of the run's samples. Or
    the name of a denoiser that another package brings."""
    options: Options = Field(default_factory=dict)
    """What that one wants to know."""
    log_snr_range: tuple[LogSNR, LogSNR] = (-1.0, 7.0)
    schedule: Literal["log_snr", "fisher"] = "log_snr"
    """Levels of the queries: uniform in log-SNR, or at constant Fisher-Rao speed of the corruption process."""
    reference_samples: Annotated[int, Within(16, 10**8)] = 50_000
    """At most this many weighted samples enter each posterior target."""
    queries: Annotated[int, Within(64, 10**8)] = 30_000
    validation_queries: Annotated[int, Within(16, 10**8)] = 4_000
    steps: Annotated[int, Within(1, 10**8)] = 2000
    """At most, in spells of 125, 250, 500, ... steps,"""
    improvement: Annotated[float, Within(0, 0.999)] = 0.05
    """until one has lowered the held-out error by less than this share of it; 0: until it grows."""
    batch_size: Annotated[int, Within(1, 10**6)] = 256
    learning_rate: LearningRate = 0.05
    ema_decay: Annotated[float, Within(0, 0.999999)] = 0.998
    factors: Annotated[int, Within(2, 4096)] = 48
    """One-dimensional densities in the dictionary of each coordinate."""
    components: Annotated[int, Within(1, 65_536)] = 256
    """Mixture components of each group."""
    groups: Annotated[int, Within(1, 1024)] | Literal["auto"] = "auto"
    """Mixtures that are multiplied; ``auto``: one of up to three torsions, else eight; of other coordinates one."""

    @model_validator(mode="after")
    def _kind_is_known(self) -> DenoiserConfig:
        brought = plugins.known(plugins.DENOISERS)
        if self.kind not in (*BUILT_IN_DENOISERS, *brought):
            raise ValueError(
                f"kind should be one of {', '.join((*BUILT_IN_DENOISERS, *brought))}, not {shown_value(self.kind)}"
            )
        if self.options and self.kind in BUILT_IN_DENOISERS:
            raise ValueError(f"options are for denoisers of other packages, and {self.kind} is none")
        return self

    @model_validator(mode="after")
    def _range_is_ordered(self) -> DenoiserConfig:
        if self.log_snr_range[0] >= self.log_snr_range[1]:
            raise ValueError("log_snr_range should be (low, high)")
        return self


class LowBarrierConfig(Model):
    """Soft maximum of the free energy of the posterior mean, added to the objective."""

    free_energy: Literal["auto", "samples", "model"] = "auto"
    """From a grid of the run's own samples (up to two variables), or the denoiser's log density (any number)."""
    weight: Annotated[float, Within(1e-6, 1e4)] = 1.0
    softness_kt: Annotated[float, Within(0.01, 100)] = 0.3


class GeodesicConfig(Model):
    """The geodesic and its constraints."""

    geometry: Literal["spacetime", "score", "pullback", "linear"] = "spacetime"
    """The other three are for comparison; they get a tent in log-SNR and hold no constraint but low_variance."""
    score_weight: Annotated[float, Within(1e-6, 1e6)] = 1.0
    """Multiple of the score's outer product in the score metric."""
    tent_log_snr: LogSNR | None = None
    """Middle of that tent; by default the lowest level that keeps the constraints."""
    log_snr_end: LogSNR = 4.0
    points: Annotated[int, Within(4, 10_000)] = 128
    nodes: Annotated[int, Within(2, 1000)] = 24
    """Interior nodes of the natural cubic spline."""
    fine_factor: Annotated[int, Within(1, 256)] = 16
    surface_log_snr: LogSNR = 5.0
    """Level at which the free energy of the run's own samples is smoothed, to rank channels and to keep them low."""
    channel: str | None = None
    """The one channel to take, such as ``phi+ psi-``; by default the most promising ones are tried."""
    max_channels: Annotated[int, Within(1, 256)] = 8
    """So many of them at most."""
    polished_channels: Annotated[int, Within(1, 256)] = 4
    """Of more, so many with the lowest barriers after the steps of Adam go on to the rounds of L-BFGS."""
    arch_depth: Annotated[float, Within(-20, 20)] = 1.0
    """Drop of the log-SNR in the middle of the initial curve."""
    low_variance: Quantity | PlainNumber | None = None
    """Largest posterior standard deviation of a feature block: an angle ("10 deg") for torsions, else a number."""
    low_barrier: LowBarrierConfig | None = None
    avoid: list[RegionConfig] = Field(default_factory=list, max_length=1000)
    """Regions the paths shall keep out of."""
    avoid_share: Annotated[float, Within(1e-9, 0.999)] = 1e-3
    """Share of the steps of a path that may lie in them."""
    waypoints: list[BallConfig] = Field(default_factory=list, max_length=1000)
    """Balls that the posterior mean shall pass through."""
    starts: Annotated[int, Within(1, 1000)] = 8
    """Initial curves of each channel, all but the first bent; the best after a rough search goes on."""
    scout_steps: Annotated[int, Within(1, 10**6)] = 150
    """Steps of that search."""
    bend: Annotated[float, Within(1e-6, 10)] = 0.3
    """Size of these bends as a share of the distance between the ends."""
    steps: Annotated[int, Within(0, 10**6)] = 200
    """Steps of Adam."""
    learning_rate: LearningRate = 0.05
    polish_rounds: Annotated[int, Within(0, 10**5)] = 24
    """Rounds of L-BFGS at most; after each the multipliers are updated and the points spaced evenly."""
    polish_steps: Annotated[int, Within(1, 10**5)] = 40
    penalty: Annotated[float, Within(1e-6, 1e6)] = 30.0
    tolerance: Annotated[float, Within(1e-12, 1)] = 5e-3
    """Relative change of the fine-grid energy in a round below which a channel has converged."""
    violation_tolerance: Annotated[float, Within(0, 10)] = 0.02
    """Largest relative violation of a constraint on the fine grid with which a channel may count as converged."""
    merge_distance: Annotated[float, Within(1e-9, 100)] = 0.1
    """Channels whose posterior means differ by less (root mean square) are one."""

    @model_validator(mode="after")
    def _constraints_are_kept(self) -> GeodesicConfig:
        if self.geometry != "spacetime" and (self.avoid or self.waypoints):
            raise ValueError(f"avoid and waypoints need the geometry spacetime; {self.geometry} does not hold them")
        return self


class RefineConfig(Model):
    """Rounds of windows along the geodesic, whose samples correct the denoiser, and it the geodesic."""

    rounds: Annotated[int, Within(0, 100)] = 0
    """At most; 0: the denoiser of the samples alone is followed."""
    channels: Annotated[int, Within(1, 256)] = 4
    """So many channels at most are simulated in a round,"""
    within_kt: Annotated[float, Within(0, 1e4)] = 4.0
    """those whose barrier is the lowest so far, or not more than that above it."""
    curve_points: Annotated[int, Within(10, 10**6)] = 2000
    """Points of the two quick paths along each of them, from whose frames the windows start."""
    steps_per_point: Annotated[int, Within(1, 10**6)] = 10
    exchange_every: Annotated[int, Within(0, 10**6)] = 5
    """Samples of a window between attempts to exchange configurations with its neighbours; 0: none."""
    training_steps: Annotated[int, Within(1, 10**8)] = 1000
    """With which the denoiser goes on from its last state."""
    learning_rate: LearningRate = 0.02
    barrier_tolerance_kt: Annotated[float, Within(1e-6, 1e4)] = 0.3
    """Done once the barrier changes by less from round to round,"""
    variance_tolerance: Annotated[float, Within(1e-6, 100)] = 0.15
    """every measured posterior variance is as predicted within this share and two standard errors,"""
    curve_tolerance: Annotated[Angle, Within("0.001 deg", "180 deg")] = parse_quantity("5 deg", "angle")
    """and the posterior means of the curve move by less (root mean square)."""
