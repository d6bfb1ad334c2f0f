"""The configuration: one pydantic model per stage, unknown keys refused, units in the values."""

from __future__ import annotations

import difflib
import itertools
import math
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError, model_validator

from spacetime_tps import plugins
from spacetime_tps.errors import UserError
from spacetime_tps.units import Angle, Length, Mass, Rate, Temperature, Time, parse_quantity

Preset = Literal["quick", "standard"]
LogSNR = Annotated[float, Field(ge=-30, le=30)]


def _holds_boolean(value: Any) -> bool:
    if isinstance(value, dict | list | tuple):
        return any(_holds_boolean(item) for item in (value.values() if isinstance(value, dict) else value))
    return isinstance(value, bool)


class Model(BaseModel):
    """Base of all configuration models: frozen, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _no_booleans(cls, values: Any) -> Any:
        """No setting is a yes or no, and pydantic would read ``true`` as 1."""
        wrong = [key for key, value in values.items() if _holds_boolean(value)] if isinstance(values, dict) else []
        if wrong:
            raise ValueError(f"{wrong[0]} should be no true or false")
        return values


# --- what is simulated --------------------------------------------------------------------------


class MolecularDynamicsConfig(Model):
    """Dynamics of a molecule; part of the definition of every result."""

    integrator: Literal["langevin_middle"] = "langevin_middle"
    time_step: Time = Field(gt=0, le=0.1)
    """Beyond 100 fs not even a coarse-grained model holds."""
    friction: Rate = Field(gt=0)


class MoleculeConfig(Model):
    """A molecule of the states' PDB files, and what describes it: one of force field, Amber topology, OpenMM System."""

    kind: Literal["molecule"]
    temperature: Temperature = Field(gt=0)
    forcefield: Annotated[list[str], Field(min_length=1)] | None = None
    """OpenMM force field files: its own by their names, others relative to the system file."""
    prmtop: str | None = None
    """An Amber parameter-topology file."""
    openmm_system: str | None = None
    """A serialised OpenMM System; its own constraints hold."""
    implicit_solvent: Literal["hct", "obc1", "obc2", "gbn", "gbn2"] | None = None
    """With an Amber topology; a force field has files such as implicit/gbn2.xml."""
    nonbonded: Literal["no_cutoff", "pme"] = "no_cutoff"
    """``pme``: periodic, in the box of the states' PDB files, at constant volume; water and ions lie in these files."""
    cutoff: Length = Field(0.9, gt=0)
    """Of PME in real space."""
    constraints: Literal["none", "hbonds"] = "hbonds"
    hydrogen_mass: Mass | None = Field(None, gt=0)
    """Taken from the neighbours of hydrogens, so that longer time steps hold; shooting and committors refuse it."""
    dynamics: MolecularDynamicsConfig

    @model_validator(mode="after")
    def _one_description(self) -> MoleculeConfig:
        given = [self.forcefield, self.prmtop, self.openmm_system]
        if sum(each is not None for each in given) != 1:
            raise ValueError("give one of forcefield, prmtop and openmm_system")
        if self.implicit_solvent is not None and self.prmtop is None:
            raise ValueError("implicit_solvent goes with prmtop; a forcefield has files such as implicit/gbn2.xml")
        if self.nonbonded == "pme" and self.implicit_solvent is not None:
            raise ValueError("implicit_solvent is no solvent for a periodic box; leave out one of them")
        if self.hydrogen_mass is not None and self.openmm_system is not None:
            raise ValueError("an openmm_system has its own masses; leave out hydrogen_mass")
        return self


class OverdampedConfig(Model):
    """Overdamped Langevin dynamics in reduced units: dx = -grad U dt + sqrt(2 kT dt) xi."""

    integrator: Literal["overdamped"] = "overdamped"
    time_step: float = Field(gt=0)


class ToyConfig(Model):
    """An analytic potential in reduced units."""

    kind: str
    """``mueller_brown``, ``double_well``, or the name of a potential that another package brings."""
    kt: float = Field(gt=0)
    box: list[tuple[float, float]] = Field(min_length=1)
    """Region of the reference surface, one (low, high) pair a coordinate."""
    dynamics: OverdampedConfig

    @model_validator(mode="after")
    def _box_is_ordered(self) -> ToyConfig:
        if any(low >= high for low, high in self.box):
            raise ValueError("box should hold (low, high) pairs")
        return self


BUILT_IN_POTENTIALS = ("mueller_brown", "double_well")


def _kind_of_system(system: Any) -> str | None:
    kind = system.get("kind") if isinstance(system, dict) else getattr(system, "kind", None)
    if kind in (*BUILT_IN_POTENTIALS, *plugins.known(plugins.POTENTIALS)):
        return "potential"
    return kind if kind == "molecule" else None


SystemKind = Annotated[
    Annotated[MoleculeConfig, Tag("molecule")] | Annotated[ToyConfig, Tag("potential")],
    Discriminator(
        _kind_of_system,
        custom_error_type="unknown_kind",
        custom_error_message="kind should be molecule, mueller_brown, double_well or a potential of another package",
    ),
]


class BallConfig(Model):
    """A ball in named collective variables; distances are periodic where the variables are."""

    ball: dict[str, str | float]
    radius: str | float


def _kind_of_region(region: Any) -> str:
    return "ball" if isinstance(region, BallConfig) or (isinstance(region, dict) and "ball" in region) else "box"


BoxConfig = dict[str, tuple[str | float, str | float]]
"""Intervals (low, high) in named collective variables."""

RegionConfig = Annotated[
    Annotated[BallConfig, Tag("ball")] | Annotated[BoxConfig, Tag("box")], Discriminator(_kind_of_region)
]


class RMSDConfig(Model):
    """Root-mean-square distance of atoms from a structure, superposed by them."""

    kind: Literal["rmsd"]
    pdb: str
    atoms: Literal["ca", "heavy", "all"] = "ca"


class NativeContactsConfig(Model):
    """Fraction of a structure's contacts between heavy atoms that a frame has (Best, Hummer and Eaton 2013)."""

    kind: Literal["native_contacts"]
    pdb: str
    cutoff: Length = Field(0.45, gt=0)
    """Distance below which two heavy atoms touch in the structure."""
    apart: int = Field(4, ge=1)
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

    name: str
    pdb: str | None = None
    point: list[float] | None = None
    any_of: list[RegionConfig] = Field(min_length=1)

    @model_validator(mode="after")
    def _one_structure(self) -> StateConfig:
        if (self.pdb is None) == (self.point is None):
            raise ValueError("give either 'pdb' (a molecule) or 'point' (a potential)")
        return self


class StatesConfig(Model):
    """The two end states."""

    a: StateConfig
    b: StateConfig


# --- how the configuration is described ---------------------------------------------------------


class NamedTorsionsConfig(Model):
    """What every representation of a molecule names: the torsions that channels wind and barriers are read in."""

    torsions: list[str] = Field(min_length=1)


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
    components: int = Field(2, ge=1)
    lag: Time = Field(2.0, gt=0)
    """Between the configurations that are correlated, for tica."""

    @model_validator(mode="after")
    def _there_are_so_many(self) -> ComponentsConfig:
        if self.components > 2 * len(self.torsions):
            raise ValueError(f"components should be at most {2 * len(self.torsions)}, twice the torsions")
        return self


class IdentityConfig(Model):
    """The coordinates of an analytic potential themselves."""

    kind: Literal["identity"]


RepresentationConfig = Annotated[
    TorsionsConfig | CartesianConfig | ComponentsConfig | IdentityConfig, Field(discriminator="kind")
]


# --- stages -------------------------------------------------------------------------------------


_M = TypeVar("_M", bound=Model)


def _in_order(model: _M, *durations: str) -> _M:
    """The model, whose named durations have to grow."""
    for short, long in itertools.pairwise(durations):
        if getattr(model, short) > getattr(model, long):
            raise ValueError(f"{short} should not be longer than {long}")
    return model


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
        return _in_order(self, "hill_interval", "exchange_interval", "build_time")


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
        return _in_order(self, "sample_interval", "frozen_time")


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
        return _in_order(self, "exchange_interval", "sample_interval", "time")


class TrajectoriesConfig(Model):
    """The user's own samples: trajectories of the states' molecule, in any format that MDTraj reads."""

    kind: Literal["trajectories"]
    files: list[str] = Field(min_length=1)
    """Relative to the system file; ``*`` stands for anything."""
    weights: list[str] = []
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
        return _in_order(self, "sample_interval", "time")


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


BUILT_IN_DENOISERS = ("potential", "exact")


class DenoiserConfig(Model):
    """Posterior targets and the network that learns them."""

    kind: str = "potential"
    """``exact`` trains nothing: the posterior of the reference grid where there is one, else of the run's samples. Or
    the name of a denoiser that another package brings."""
    options: dict[str, Any] = {}
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
    avoid: list[RegionConfig] = []
    """Regions the paths shall keep out of."""
    avoid_share: float = Field(1e-3, gt=0, lt=1)
    """Share of the steps of a path that may lie in them."""
    waypoints: list[BallConfig] = []
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


class PathsConfig(Model):
    """Annealed Langevin dynamics along the geodesic; half of the paths run from B to A."""

    count: int = Field(32, ge=2)
    schedule: Literal["fisher", "log_snr"] = "fisher"
    """Curve points at equal steps of Fisher-Rao length, or of the chart (angles or y, and log-SNR)."""
    curve_points: int = Field(2000, ge=10)
    steps_per_point: int = Field(10, ge=1)
    look_every: int = Field(5, ge=1)
    frames: int = Field(500, ge=2)
    equilibration_steps: int = Field(15_000, ge=0)
    release_steps: int = Field(2500, ge=1)
    """Steps without any restraint after which an end must still lie in its state."""
    max_dissipated_work_kt: float = Field(3.0, gt=0)
    max_doublings: int = Field(2, ge=0)


class WindowsConfig(Model):
    """Short restrained simulations along the geodesic, which measure what the denoiser says of it."""

    spacing: float = Field(1.0, gt=0)
    """Fisher-Rao length between neighbours; about one lets them overlap."""
    most: int = Field(64, ge=2)
    """So many windows at most; on a longer geodesic they stand farther apart."""
    least_overlap: float = Field(0.1, ge=0, lt=0.5)
    """Between neighbours that overlap less another one is put, twice at most; a right model leaves about 0.2."""
    equilibration_steps: int = Field(5000, ge=0)
    steps: int = Field(25_000, ge=1)
    """Integration steps from each of two starts: a frame of a path from A, and of one from B."""
    free_walkers: int = Field(4, ge=0)
    """Simulations without a restraint from the structure of either state, for the states' free energies; 0: none."""
    free_steps: int = Field(50_000, ge=1)
    """Of each."""
    sample_every: int = Field(100, ge=1)
    look_every: int = Field(10, ge=1)
    """Steps between looks, by which relaxation times are measured; a divisor of ``sample_every``."""

    @model_validator(mode="after")
    def _samples_are_drawn(self) -> WindowsConfig:
        if self.sample_every % self.look_every:
            raise ValueError("look_every should divide sample_every")
        if min(self.steps, self.free_steps) < 8 * self.sample_every:
            raise ValueError("steps and free_steps should hold at least eight times sample_every")
        return self


class SelectorConfig(Model):
    """Shoot preferably where a collective variable is near ``center``: W = exp(-(s - center)^2 / (2 width^2))."""

    variable: str
    center: str | float
    width: str | float


class ShootingConfig(Model):
    """Transition path sampling: Monte Carlo chains of shooting moves."""

    move: Literal["one_way", "two_way"] = "one_way"
    selector: SelectorConfig | None = None
    """Which frame to shoot from; without it every frame alike."""
    velocity_mixing: float = Field(0.0, ge=0, le=1)
    """c in v' = c v + sqrt(1 - c^2) xi: 0 draws new velocities, 1 keeps them. Two-way shooting of molecules only."""
    fixed_frames: int | None = Field(None, ge=3)
    """Frames of every path; without it paths end where they reach a state."""
    frame_every: int = Field(5, ge=1)
    """Integration steps from frame to frame; states are looked for at frames only."""
    max_frames: int = Field(20_000, ge=3)
    """Longer paths are rejected and counted."""
    chains: int = Field(4, ge=1)
    steps: int = Field(2000, ge=1)
    """Monte Carlo steps of each chain."""
    burn_in: int = Field(200, ge=0)
    """Steps at the start of each chain that no average counts."""
    keep_every: int = Field(20, ge=1)
    """Every so many steps the path of a chain is kept."""
    block_steps: int = Field(200, ge=1)
    """A chain that was interrupted goes on after its last whole block."""
    first: Literal["paths", "high_temperature"] = "paths"
    """First path: an annealed path of the run, or a run at a raised temperature."""
    temperature_factor: float = Field(2.5, gt=1)
    """Of that run, times the system's temperature."""
    first_steps: int = Field(2_000_000, ge=1)
    """Integration steps after which that run is given up."""
    trajectories: int = Field(16, ge=1)
    """Sampled paths that are exported."""

    @model_validator(mode="after")
    def _fits_together(self) -> ShootingConfig:
        if self.move == "one_way" and self.velocity_mixing:
            raise ValueError("velocity_mixing needs the move two_way: one-way shooting keeps the velocities")
        if self.burn_in >= self.steps:
            raise ValueError("burn_in should be smaller than steps")
        if self.keep_every > self.steps - self.burn_in:
            raise ValueError("keep_every should not be larger than the steps after burn_in")
        return self


class UmbrellaConfig(SelectorConfig):
    """Shots from a window on the barrier: the restraint -kT log W and how much of its ensemble is sampled."""

    walkers: int = Field(8, ge=1)
    shots: int = Field(2000, ge=1)
    """Of each walker."""
    equilibration_steps: int = Field(20_000, ge=1)
    spacing_steps: int = Field(200, ge=1)
    """Integration steps between the points that are shot from."""


class CommittorConfig(Model):
    """Fresh trajectories from frames, to see which state they reach first."""

    frames: int = Field(32, ge=1)
    """Frames at most, spread over those that are given."""
    shots: int = Field(50, ge=2)
    """Trajectories from each frame."""
    max_steps: int = Field(50_000, ge=1)
    """Integration steps after which a trajectory is given up as undecided."""


class ComparisonConfig(Model):
    """What ``compare`` runs beside the paths along the geodesic."""

    shooting_steps: int = Field(2000, ge=1)
    """Monte Carlo steps of each chain of transition path sampling."""
    seeded_steps: int = Field(200, ge=1)
    """Monte Carlo steps of each chain that starts from a generator's paths."""
    steered_log_snr: LogSNR = 6.0
    """Log of the stiffness of the moving harmonic restraint in kT: 6 is 1006 kJ/mol/rad^2 at 300 K."""
    ratchet_strength_kt: float = Field(50.0, gt=0)
    """Of the ratchet's bias, for half the squared distance in features."""
    ratchet_steps: int = Field(250_000, ge=1)
    """Steps after which a ratcheted path has not arrived."""
    unbiased_steps: int = Field(0, ge=0)
    """Steps of brute force for each walker; 0 leaves it out."""
    unbiased_walkers: int = Field(8, ge=1)
    umbrella: UmbrellaConfig | None = None
    """Transition paths by shooting from a window, as the true ensemble; without it that method is left out."""
    density_bins: int = Field(36, ge=2, le=500)
    """Of the path density in each variable."""
    examined_paths: int = Field(64, ge=1)
    """Of each method, whose energies are evaluated and whose ends are released."""
    quenched_paths: int = Field(4, ge=1)


class HardwareConfig(Model):
    """Where things run. ``workers`` and their devices never change a result; the platform may, within rounding, and
    ``copies`` draw their noise together, so that another number of them gives other paths of the same ensemble."""

    platform: str = "auto"
    device: str = "auto"
    workers: Annotated[int, Field(ge=1, le=1024)] | Literal["auto"] = "auto"
    copies: Annotated[int, Field(ge=1, le=4096)] | Literal["auto"] = "auto"
    """Molecules in one OpenMM Context, along paths and in windows; ``auto``: as many as there are to simulate, on a GPU
    and where a molecule can be repeated, else one."""
    torch_threads: int = Field(1, ge=1, le=1024)
    """More pay on an idle machine only: beside other work they wait for each other."""


_SPREADS = {"torsions": "angle", "cartesian": "length"}
"""Dimension of a posterior spread by kind of representation; a plain number elsewhere."""


class RunConfig(Model):
    """Everything a run depends on."""

    name: str
    seed: int = Field(0, ge=0)
    preset: Preset = "standard"
    system: SystemKind
    collective_variables: dict[str, VariableConfig] = {}
    states: StatesConfig
    representation: RepresentationConfig
    reference: str | None = None
    sampling: SamplingConfig
    denoiser: DenoiserConfig
    geodesic: GeodesicConfig
    refine: RefineConfig = RefineConfig()
    paths: PathsConfig
    windows: WindowsConfig = WindowsConfig()
    tps: int = Field(0, ge=0, le=10_000)
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
                "'metadynamics', 'replica_exchange', 'trajectories' or 'basins' for a molecule, "
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
        if self.refine.rounds and not molecule:
            raise ValueError("refine.rounds is for molecules: the posteriors of an analytic potential are known")
        if not isinstance(self.representation, TorsionsConfig | IdentityConfig):
            self._check_fitted()
        self._check_spread()
        self._check_levels()
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
        if self.refine.rounds or isinstance(self.sampling, BasinsConfig):
            raise ValueError(
                f"refine.rounds and sampling.kind 'basins' need representation.kind 'torsions', not {kind!r}"
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


# --- validation ---------------------------------------------------------------------------------


def validate(settings: dict[str, Any], source: str) -> RunConfig:
    """Build the configuration or say in one sentence what is wrong with it.

    Raises:
        UserError: a key is unknown or missing, or a value is not what it should be.
    """
    try:
        return RunConfig.model_validate(settings)
    except ValidationError as error:
        raise UserError(f"{source}: {_first_problem(error)}.") from error


def _first_problem(error: ValidationError) -> str:
    problems = error.errors(include_url=False)
    # An unknown key explains the missing ones around it, so it is told first.
    unknown = [p for p in problems if p["type"] == "extra_forbidden"]
    # Of the branches of a union the one that wants text says least.
    problem = (unknown or [p for p in problems if p["type"] != "string_type"] or problems)[0]
    tags = {
        "ball",
        "box",
        "molecule",
        "potential",
        "torsions",
        "cartesian",
        "tica",
        "pca",
        "identity",
        "metadynamics",
        "replica_exchange",
        "trajectories",
        "basins",
        "langevin",
    }
    branches = {"str", "int", "float", "constrained-int", "constrained-float"}
    place = [str(part) for part in problem["loc"] if part not in branches and part != "[key]"]
    shown = ".".join(p for i, p in enumerate(place) if not (i in (1, 4) and p in tags))
    if problem["type"] == "extra_forbidden":
        hint = difflib.get_close_matches(place[-1], _known_keys(RunConfig), n=1)
        return f"unknown key '{shown}'" + (f" (did you mean '{hint[0]}'?)" if hint and hint[0] != place[-1] else "")
    if problem["type"] == "missing":
        return f"the key '{shown}' is missing"
    if problem["type"] == "unknown_kind":
        return f"'{shown}': {problem['msg']}, not {problem['input'].get('kind')!r}"
    message = problem["msg"].removeprefix("Value error, ").rstrip(".")
    found = (
        "" if isinstance(problem["input"], dict) or repr(problem["input"]) in message else f", not {problem['input']!r}"
    )
    return f"'{shown}': {message}{found}" if shown else message


def _known_keys(model: type[BaseModel]) -> list[str]:
    """Every key that any section knows, for the "did you mean"."""
    keys: set[str] = set()
    for candidate in [model, *Model.__subclasses__()]:
        keys.update(candidate.model_fields)
    return sorted(keys)


def dump(config: RunConfig) -> str:
    """The resolved configuration as YAML, units in the values."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=100)
