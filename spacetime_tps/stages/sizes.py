"""What a run will hold in memory, by its settings alone, so that the impossible is refused before hours of sampling."""

from __future__ import annotations

import os
from collections.abc import Iterator

from spacetime_tps.config import (
    AdaptiveConfig,
    HillsConfig,
    LangevinConfig,
    MetadynamicsConfig,
    NamedTorsionsConfig,
    ReplicaExchangeConfig,
    RunConfig,
)
from spacetime_tps.errors import UserError
from spacetime_tps.systems import System

_FLOAT, _POSITION = 8, 12
_OBJECT = 1000
"""Bytes of a configuration with velocities as a Python object, at least."""
_LISTED = 40
"""Bytes of a number in a list, as which OpenMM takes a table."""
_GB = 1e9


def check_sizes(config: RunConfig, system: System) -> None:
    """Refuse settings whose arrays alone exceed the memory of this machine; sizes that take long are not an error.

    Raises:
        UserError: with the estimate and the key to lower.
    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for key, what, size in sizes(config, system):
        if size > memory:
            raise UserError(
                f"{what} would take about {size / _GB:,.0f} GB, and this machine has {memory / _GB:,.0f} GB of memory; "
                f"lower {key}."
            )


def sizes(config: RunConfig, system: System) -> Iterator[tuple[str, str, float]]:
    """(key to lower, what is held, bytes), lower bounds of what the stages need."""
    atoms = system.structures.shape[1]
    coordinates = 2 * len(system.center_names)
    yield from _sampling(config, atoms)
    denoiser, geodesic, windows = config.denoiser, config.geodesic, config.windows
    queries = (denoiser.queries + denoiser.validation_queries) * 4 * coordinates * _FLOAT
    yield "denoiser.queries", "The queries of the denoiser", queries
    yield "denoiser.reference_samples", "Its reference samples", denoiser.reference_samples * coordinates * _FLOAT
    yield "denoiser.batch_size", "A batch of the training", denoiser.batch_size * denoiser.components * _FLOAT
    channels = min(geodesic.max_channels, 2 ** min(len(system.center_names), 20))
    curves = geodesic.starts * channels * geodesic.points * coordinates * _FLOAT
    yield "geodesic.starts or geodesic.points", "The curves of the geodesic", 4 * curves
    positions = atoms * (_POSITION if system.molecule is not None else 4)
    paths = config.paths.count * config.paths.frames
    yield "paths.count or paths.frames", "The frames of the paths", paths * positions
    if system.molecule is not None:
        looks = 2 * windows.most * (windows.steps // windows.sample_every)
        yield "windows.steps or windows.most", "The samples of the windows", looks * atoms * _FLOAT
        looks = 2 * windows.free_walkers * (windows.free_steps // windows.sample_every)
        yield "windows.free_steps", "The samples of the free simulations", looks * atoms * _FLOAT
    shots = config.committor.shots * (1 if system.molecule is not None else config.committor.frames)
    yield "committor.shots", "The trajectories of a committor", shots * _OBJECT


def _sampling(config: RunConfig, atoms: int) -> Iterator[tuple[str, str, float]]:
    given = config.sampling
    if isinstance(given, LangevinConfig):
        samples = given.walkers * (given.steps // given.sample_every)
        yield "sampling.walkers or sampling.steps", "The samples", samples * atoms * _FLOAT
        return
    hills = given.flatten if isinstance(given, ReplicaExchangeConfig) else given
    if isinstance(hills, HillsConfig):
        section = "sampling" if hills is given else "sampling.flatten"
        assert isinstance(config.representation, NamedTorsionsConfig)
        torsions = len(hills.bias or config.representation.torsions) if hills is given else len(hills.bias or "ab")
        table = hills.grid_points**torsions * (4**torsions * _FLOAT + _LISTED)
        yield f"{section}.grid_points", f"The grid of the bias, {hills.grid_points}^{torsions} points,", table
    if isinstance(given, MetadynamicsConfig):
        time, simulations, key = given.frozen_time, given.walkers, "frozen_time"
    elif isinstance(given, ReplicaExchangeConfig):
        replicas = 2 if given.replicas == "auto" else given.replicas
        time, simulations, key = given.time, given.walkers * replicas, "time"
    elif isinstance(given, AdaptiveConfig):
        time, simulations, key = given.time, 2, "time"
    else:
        return
    for interval, size in (("sample_interval", _FLOAT), ("frame_interval", _POSITION)):
        step = max(getattr(given, interval), given.sample_interval)
        what = "The samples" if interval == "sample_interval" else "The frames of the samples"
        keys = f"sampling.{key}, or raise sampling.{interval}"
        yield keys, what, time / step * simulations * atoms * size
