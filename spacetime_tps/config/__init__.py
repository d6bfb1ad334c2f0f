"""The configuration: one pydantic model per stage, unknown keys refused, units in the values."""

from spacetime_tps.config.base import Preset, checked_label
from spacetime_tps.config.geodesic import BUILT_IN_DENOISERS, DenoiserConfig, GeodesicConfig, LowBarrierConfig
from spacetime_tps.config.paths import PathsConfig, WindowsConfig
from spacetime_tps.config.representations import CartesianConfig, ComponentsConfig, NamedTorsionsConfig, TorsionsConfig
from spacetime_tps.config.run import GOALS, RunConfig
from spacetime_tps.config.sampling import (
    AdaptiveConfig,
    FlattenConfig,
    HillsConfig,
    LangevinConfig,
    MetadynamicsConfig,
    ReplicaExchangeConfig,
    TrajectoriesConfig,
)
from spacetime_tps.config.shooting import SelectorConfig, ShootingConfig, TransitionsConfig
from spacetime_tps.config.states import BallConfig, BoxConfig, NativeContactsConfig, RMSDConfig, StateConfig
from spacetime_tps.config.systems import MolecularDynamicsConfig, MoleculeConfig, OverdampedConfig, ToyConfig
from spacetime_tps.config.validation import dump, validate

__all__ = [
    "BUILT_IN_DENOISERS",
    "GOALS",
    "AdaptiveConfig",
    "BallConfig",
    "BoxConfig",
    "CartesianConfig",
    "ComponentsConfig",
    "DenoiserConfig",
    "FlattenConfig",
    "GeodesicConfig",
    "HillsConfig",
    "LangevinConfig",
    "LowBarrierConfig",
    "MetadynamicsConfig",
    "MolecularDynamicsConfig",
    "MoleculeConfig",
    "NamedTorsionsConfig",
    "NativeContactsConfig",
    "OverdampedConfig",
    "PathsConfig",
    "Preset",
    "RMSDConfig",
    "ReplicaExchangeConfig",
    "RunConfig",
    "SelectorConfig",
    "ShootingConfig",
    "StateConfig",
    "TorsionsConfig",
    "ToyConfig",
    "TrajectoriesConfig",
    "TransitionsConfig",
    "WindowsConfig",
    "checked_label",
    "dump",
    "validate",
]
