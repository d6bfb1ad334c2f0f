"""The denoiser, the geodesic and its constraints, and their refinement."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from spacetime_tps import plugins
from spacetime_tps.config.base import LogSNR, Model
from spacetime_tps.config.states import BallConfig, RegionConfig
from spacetime_tps.units import Angle, parse_quantity

BUILT_IN_DENOISERS = ("potential", "exact")


class DenoiserConfig(Model):
    """Posterior targets and the network that learns them."""

    kind: str = "potential"
    """``exact`` trains nothing: the posterior of the reference grid where there is one, else of the run's samples. Or
    the name of a denoiser that another package brings."""
    options: dict[str, Any] = Field(default_factory=dict)
    """What that one wants to know."""
    log_snr_range: tuple[LogSNR, LogSNR] = (-1.0, 7.0)
    schedule: Literal["log_snr", "fisher"] = "log_snr"
    """Levels of the queries: uniform in log-SNR, or at constant Fisher-Rao speed of the corruption process."""
    reference_samples: int = Field(50_000, ge=16, le=10**8)
    """At most this many weighted samples enter each posterior target."""
    queries: int = Field(60_000, ge=64, le=10**8)
    validation_queries: int = Field(4_000, ge=16, le=10**8)
    steps: int = Field(2000, ge=1)
    batch_size: int = Field(512, ge=1, le=10**6)
    learning_rate: float = Field(0.05, gt=0)
    ema_decay: float = Field(0.998, ge=0, lt=1)
    factors: int = Field(48, ge=2, le=4096)
    """One-dimensional densities in the dictionary of each coordinate."""
    components: int = Field(256, ge=1, le=65_536)
    """Mixture components of each group."""
    groups: Annotated[int, Field(ge=1, le=1024)] | Literal["auto"] = "auto"
    """Mixtures that are multiplied; ``auto``: one of up to three torsions, else eight; of other coordinates one."""

    @model_validator(mode="after")
    def _kind_is_known(self) -> DenoiserConfig:
        brought = plugins.known(plugins.DENOISERS)
        if self.kind not in (*BUILT_IN_DENOISERS, *brought):
            raise ValueError(f"kind should be one of {', '.join((*BUILT_IN_DENOISERS, *brought))}, not {self.kind!r}")
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
    weight: float = Field(1.0, gt=0, le=1e4)
    softness_kt: float = Field(0.3, ge=0.01, le=100)


class GeodesicConfig(Model):
    """The geodesic and its constraints."""

    geometry: Literal["spacetime", "score", "pullback", "linear"] = "spacetime"
    """The other three are for comparison; they get a tent in log-SNR and hold no constraint but low_variance."""
    score_weight: float = Field(1.0, gt=0, le=1e6)
    """Multiple of the score's outer product in the score metric."""
    tent_log_snr: LogSNR | None = None
    """Middle of that tent; by default the lowest level that keeps the constraints."""
    log_snr_end: LogSNR = 4.0
    points: int = Field(128, ge=4, le=10_000)
    nodes: int = Field(24, ge=2, le=1000)
    """Interior nodes of the natural cubic spline."""
    fine_factor: int = Field(16, ge=1, le=256)
    surface_log_snr: LogSNR = 5.0
    """Level at which the free energy of the run's own samples is smoothed, to rank channels and to keep them low."""
    channel: str | None = None
    """The one channel to take, such as ``phi+ psi-``; by default the most promising ones are tried."""
    max_channels: int = Field(8, ge=1, le=256)
    """So many of them at most."""
    polished_channels: int = Field(4, ge=1, le=256)
    """Of more, so many with the lowest barriers after the steps of Adam go on to the rounds of L-BFGS."""
    arch_depth: float = Field(1.0, ge=-20, le=20)
    """Drop of the log-SNR in the middle of the initial curve."""
    low_variance: str | float | None = None
    """Largest posterior standard deviation of a feature block: an angle ("10 deg") for torsions, else a number."""
    low_barrier: LowBarrierConfig | None = None
    avoid: list[RegionConfig] = Field(default_factory=list)
    """Regions the paths shall keep out of."""
    avoid_share: float = Field(1e-3, gt=0, lt=1)
    """Share of the steps of a path that may lie in them."""
    waypoints: list[BallConfig] = Field(default_factory=list)
    """Balls that the posterior mean shall pass through."""
    starts: int = Field(8, ge=1, le=1000)
    """Initial curves of each channel, all but the first bent; the best after a rough search goes on."""
    scout_steps: int = Field(150, ge=1)
    """Steps of that search."""
    bend: float = Field(0.3, gt=0, le=10)
    """Size of these bends as a share of the distance between the ends."""
    steps: int = Field(200, ge=0)
    """Steps of Adam."""
    learning_rate: float = Field(0.05, gt=0)
    polish_rounds: int = Field(24, ge=0)
    """Rounds of L-BFGS at most; after each the multipliers are updated and the points spaced evenly."""
    polish_steps: int = Field(40, ge=1)
    penalty: float = Field(30.0, gt=0, le=1e6)
    tolerance: float = Field(5e-3, gt=0)
    """Relative change of the fine-grid energy in a round below which a channel has converged."""
    violation_tolerance: float = Field(0.02, ge=0)
    """Largest relative violation of a constraint on the fine grid with which a channel may count as converged."""
    merge_distance: float = Field(0.1, gt=0)
    """Channels whose posterior means differ by less (root mean square) are one."""

    @model_validator(mode="after")
    def _constraints_are_kept(self) -> GeodesicConfig:
        if self.geometry != "spacetime" and (self.avoid or self.waypoints):
            raise ValueError(f"avoid and waypoints need the geometry spacetime; {self.geometry} does not hold them")
        return self


class RefineConfig(Model):
    """Rounds of windows along the geodesic, whose samples correct the denoiser, and it the geodesic."""

    rounds: int = Field(0, ge=0, le=100)
    """At most; 0: the denoiser of the samples alone is followed."""
    channels: int = Field(4, ge=1)
    """So many channels at most are simulated in a round,"""
    within_kt: float = Field(4.0, ge=0)
    """those whose barrier is the lowest so far, or not more than that above it."""
    curve_points: int = Field(2000, ge=10)
    """Points of the two quick paths along each of them, from whose frames the windows start."""
    steps_per_point: int = Field(10, ge=1)
    exchange_every: int = Field(5, ge=0)
    """Samples of a window between attempts to exchange configurations with its neighbours; 0: none."""
    training_steps: int = Field(1000, ge=1)
    """With which the denoiser goes on from its last state."""
    learning_rate: float = Field(0.02, gt=0)
    barrier_tolerance_kt: float = Field(0.3, gt=0)
    """Done once the barrier changes by less from round to round,"""
    variance_tolerance: float = Field(0.15, gt=0)
    """every measured posterior variance is as predicted within this share and two standard errors,"""
    curve_tolerance: Angle = Field(parse_quantity("5 deg", "angle"), gt=0)
    """and the posterior means of the curve move by less (root mean square)."""
