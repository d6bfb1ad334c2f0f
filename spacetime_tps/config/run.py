"""Everything a run depends on, and what of it fits together."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, model_validator

from spacetime_tps.config.base import FileName, Label, Model, Preset
from spacetime_tps.config.bounds import Within
from spacetime_tps.config.geodesic import DenoiserConfig, GeodesicConfig, RefineConfig
from spacetime_tps.config.paths import PathsConfig, WindowsConfig
from spacetime_tps.config.representations import (
    ComponentsConfig,
    IdentityConfig,
    NamedTorsionsConfig,
    RepresentationConfig,
    TorsionsConfig,
)
from spacetime_tps.config.sampling import (
    AdaptiveConfig,
    LangevinConfig,
    MetadynamicsConfig,
    ReplicaExchangeConfig,
    SamplingConfig,
)
from spacetime_tps.config.shooting import CommittorConfig, ComparisonConfig, ShootingConfig, TransitionsConfig
from spacetime_tps.config.states import StatesConfig, VariableConfig
from spacetime_tps.config.systems import MoleculeConfig, SystemKind
from spacetime_tps.units import Energy, WallTime, parse_quantity


class HardwareConfig(Model):
    """Where things run. ``workers`` and their devices never change a result; the platform may, within rounding, and
    ``copies`` draw their noise together, so that another number of them gives other paths of the same ensemble."""

    platform: str = "auto"
    device: str = "auto"
    workers: Annotated[int, Within(1, 1024)] | Literal["auto"] = "auto"
    copies: Annotated[int, Within(1, 4096)] | Literal["auto"] = "auto"
    """Molecules in one OpenMM Context, along paths and in windows; ``auto``: as many as there are to simulate, on a GPU
    and where a molecule can be repeated, else one."""
    torch_threads: Annotated[int, Within(1, 1024)] = 1
    """More pay on an idle machine only: beside other work they wait for each other."""


GOALS = ("accuracy", "max_evaluations", "max_time")
"""Settings that say how far a run goes, and not what it does: they may change from one command to the next."""
_MOST_STEPS = 10**9
_SPREADS = {"torsions": "angle", "cartesian": "length"}
"""Dimension of a posterior spread by kind of representation; a plain number elsewhere."""


class RunConfig(Model):
    """Everything a run depends on."""

    name: Label
    seed: Annotated[int, Within(0, 9 * 10**18)] = 0
    preset: Preset = "standard"
    system: SystemKind
    collective_variables: dict[Label, VariableConfig] = Field(default_factory=dict, max_length=1000)
    states: StatesConfig
    representation: RepresentationConfig
    reference: FileName | None = None
    sampling: SamplingConfig
    accuracy: Annotated[Energy, Within("0.001 kJ/mol", "1000 kJ/mol")] | None = None
    """Standard error of the barrier and of B - A at which rounds of windows end; null: ``refine`` says when."""
    max_evaluations: Annotated[int, Within(1, 10**15)] | None = None
    """Force evaluations of the whole run, roughly: no round begins that would exceed them."""
    max_time: Annotated[WallTime, Within("1 s", "10000 h")] | None = None
    """Time after which no round begins; paths, windows and shots still follow."""
    denoiser: DenoiserConfig
    geodesic: GeodesicConfig
    refine: RefineConfig = RefineConfig()
    paths: PathsConfig
    windows: WindowsConfig = WindowsConfig()
    transitions: TransitionsConfig = TransitionsConfig()
    tps: Annotated[int, Within(0, 10_000)] = 0
    """Paths of the true ensemble with which ``run`` ends, by shooting from its annealed ones; 0: none."""
    shooting: ShootingConfig = ShootingConfig()
    committor: CommittorConfig = CommittorConfig()
    comparison: ComparisonConfig = ComparisonConfig()
    hardware: HardwareConfig = HardwareConfig()
    reporter: Literal["none", "tensorboard"] = "none"
    """Where losses, energies and work are shown while stages run, beside the files."""

    @property
    def torsions(self) -> dict[str, list[str]]:
        """The collective variables that are torsions, by their atoms."""
        return {name: given for name, given in self.collective_variables.items() if isinstance(given, list)}

    @property
    def low_variance(self) -> float | None:
        """``geodesic.low_variance`` in internal units: radians for torsions, nm for positions."""
        given, dimension = self.geodesic.low_variance, _SPREADS.get(self.representation.kind)
        if given is None:
            return None
        return float(given) if dimension is None else parse_quantity(given, dimension)

    @model_validator(mode="after")
    def _fits_together(self) -> RunConfig:
        molecule = isinstance(self.system, MoleculeConfig)
        if molecule != isinstance(self.representation, NamedTorsionsConfig):
            kinds = "'torsions', 'cartesian', 'tica' or 'pca' for a molecule and 'identity' for a potential"
            raise ValueError(f"representation.kind must be {kinds}")
        if molecule == isinstance(self.sampling, LangevinConfig):
            kinds = (
                "'metadynamics', 'replica_exchange', 'trajectories' or 'adaptive' for a molecule, "
                "'langevin' for a potential"
            )
            raise ValueError(f"sampling.kind must be {kinds}")
        if (
            isinstance(self.system, MoleculeConfig)
            and isinstance(self.sampling, ReplicaExchangeConfig)
            and self.sampling.highest_temperature <= self.system.temperature
        ):
            raise ValueError("sampling.highest_temperature should be above system.temperature")
        for label, state in (("a", self.states.a), ("b", self.states.b)):
            if molecule != (state.pdb is not None):
                raise ValueError(f"states.{label} needs {'a pdb file' if molecule else 'a point'}")
        if isinstance(self.representation, NamedTorsionsConfig):
            if unknown := [name for name in self.representation.torsions if name not in self.torsions]:
                raise ValueError(
                    f"representation.torsions names {unknown[0]!r}, which is no torsion among the collective variables"
                )
            if len(set(self.representation.torsions)) < len(self.representation.torsions):
                raise ValueError("representation.torsions names a torsion twice")
            self._check_bias(self.representation)
        if self.accuracy is not None and not self.refine.rounds:
            raise ValueError(
                "accuracy is reached by rounds: it needs sampling.kind adaptive, or refine.rounds of one or more"
            )
        if self.accuracy is None and (self.max_evaluations or self.max_time):
            raise ValueError("max_evaluations and max_time end the rounds that accuracy asks for; give that, too")
        if self.refine.rounds and not molecule:
            raise ValueError("refine.rounds is for molecules: the posteriors of an analytic potential are known")
        if not isinstance(self.representation, TorsionsConfig | IdentityConfig):
            self._check_fitted()
        self._check_spread()
        self._check_levels()
        self._check_intervals()
        return self

    def _check_bias(self, representation: NamedTorsionsConfig) -> None:
        sampling = self.sampling
        if isinstance(sampling, MetadynamicsConfig):
            biased, where = sampling.bias or representation.torsions, "sampling.bias"
        elif isinstance(sampling, ReplicaExchangeConfig) and sampling.flatten is not None:
            biased, where = sampling.flatten.bias or [], "sampling.flatten.bias"
        else:
            return
        if len(biased) > 3:
            raise ValueError(f"metadynamics takes at most three torsions; name them in {where}")
        if unknown := [name for name in biased if name not in self.torsions]:
            raise ValueError(f"{where} names {unknown[0]!r}, which is no torsion among the collective variables")
        if len(set(biased)) < len(biased):
            raise ValueError(f"{where} names a torsion twice")

    def _check_fitted(self) -> None:
        """What representations that are fitted to samples cannot do yet."""
        kind = self.representation.kind
        if self.refine.rounds or isinstance(self.sampling, AdaptiveConfig):
            raise ValueError(
                f"refine.rounds and sampling.kind 'adaptive' need representation.kind 'torsions', not {kind!r}"
            )
        if self.geodesic.geometry != "spacetime" or self.geodesic.avoid:
            raise ValueError(
                f"geodesic.geometry and geodesic.avoid need representation.kind 'torsions' or 'identity', not {kind!r}"
            )
        if isinstance(self.representation, ComponentsConfig) and kind == "tica":
            self._check_lag(self.representation.lag)
        if kind == "cartesian" and isinstance(self.system, MoleculeConfig) and self.system.nonbonded == "pme":
            raise ValueError("representation.kind 'cartesian' holds a molecule in space, which a periodic box forbids")

    def _check_lag(self, lag: float) -> None:
        sampling = self.sampling
        if not isinstance(sampling, MetadynamicsConfig | ReplicaExchangeConfig):
            raise ValueError(
                "representation.kind 'tica' needs samples at equal times, which sampling.kind "
                f"{sampling.kind!r} does not promise; take 'pca'"
            )
        if lag < sampling.sample_interval:
            raise ValueError(f"representation.lag is {lag:g} ps, shorter than sampling.sample_interval")
        whole = sampling.frozen_time if isinstance(sampling, MetadynamicsConfig) else sampling.time
        if lag >= whole / 2:
            raise ValueError(
                f"representation.lag is {lag:g} ps, and walkers are sampled for {whole:g} ps; take less than half"
            )

    def _check_spread(self) -> None:
        dimension = _SPREADS.get(self.representation.kind)
        wanted, low, high, shown = {
            "angle": ('an angle such as "10 deg"', 1e-4, math.pi, "0.006 to 180 deg"),
            "length": ('a length such as "0.3 A"', 1e-5, 10.0, "0.0001 to 100 A"),
            None: ("a plain number", 1e-6, 1e6, "1e-06 to 1e+06"),
        }[dimension]
        try:
            spread = self.low_variance
        except (ValueError, TypeError) as error:
            raise ValueError(f"geodesic.low_variance is {self.geodesic.low_variance!r}, expected {wanted}") from error
        if spread is not None and not low <= spread <= high:
            raise ValueError(f"geodesic.low_variance is {self.geodesic.low_variance!r}, expected {shown}")

    def _check_levels(self) -> None:
        low, high = self.denoiser.log_snr_range
        for name in ("log_snr_end", "tent_log_snr"):
            level = getattr(self.geodesic, name)
            if level is not None and not low <= level <= high:
                raise ValueError(f"geodesic.{name} is {level:g}, expected {low:g} to {high:g}: denoiser.log_snr_range")

    def _check_intervals(self) -> None:
        """Steps from look to look are counted one by one."""
        if not isinstance(self.system, MoleculeConfig):
            return
        step = self.system.dynamics.time_step
        for name in ("hill_interval", "exchange_interval", "sample_interval", "frame_interval"):
            interval = getattr(self.sampling, name, 0.0)
            if interval > _MOST_STEPS * step:
                raise ValueError(
                    f"sampling.{name} is {interval:g} ps, expected at most {_MOST_STEPS:,} steps of "
                    f"system.dynamics.time_step, {step:g} ps"
                )
