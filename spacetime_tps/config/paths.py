"""Annealed paths and restrained windows."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import model_validator

from spacetime_tps.config.base import Model
from spacetime_tps.config.bounds import Within


class PathsConfig(Model):
    """Annealed Langevin dynamics along the geodesic; half of the paths run from B to A."""

    count: Annotated[int, Within(2, 10**5)] = 32
    schedule: Literal["fisher", "log_snr"] = "fisher"
    """Curve points at equal steps of Fisher-Rao length, or of the chart (angles or y, and log-SNR)."""
    curve_points: Annotated[int, Within(10, 10**6)] = 2000
    steps_per_point: Annotated[int, Within(1, 10**6)] = 10
    look_every: Annotated[int, Within(1, 10**6)] = 5
    frames: Annotated[int, Within(2, 10**6)] = 500
    equilibration_steps: Annotated[int, Within(0, 10**9)] = 15_000
    release_steps: Annotated[int, Within(1, 10**9)] = 2500
    """Steps without any restraint after which an end must still lie in its state."""
    max_dissipated_work_kt: Annotated[float, Within(1e-3, 1e6)] = 3.0
    max_doublings: Annotated[int, Within(0, 20)] = 2


class WindowsConfig(Model):
    """Short restrained simulations along the geodesic, which measure what the denoiser says of it."""

    spacing: Annotated[float, Within(0.01, 100)] = 1.0
    """Fisher-Rao length between neighbours; about one lets them overlap."""
    most: Annotated[int, Within(2, 10_000)] = 64
    """So many windows at most; on a longer geodesic they stand farther apart."""
    least_overlap: Annotated[float, Within(0, 0.499)] = 0.1
    """Between neighbours that overlap less another one is put, twice at most; a right model leaves about 0.2."""
    equilibration_steps: Annotated[int, Within(0, 10**9)] = 5000
    steps: Annotated[int, Within(1, 10**9)] = 25_000
    """Integration steps from each of two starts: a frame of a path from A, and of one from B."""
    free_walkers: Annotated[int, Within(0, 1024)] = 4
    """Simulations without a restraint from the structure of either state, for the states' free energies; 0: none."""
    free_steps: Annotated[int, Within(1, 10**9)] = 50_000
    """Of each."""
    sample_every: Annotated[int, Within(1, 10**8)] = 100
    look_every: Annotated[int, Within(1, 10**8)] = 10
    """Steps between looks, by which relaxation times are measured; a divisor of ``sample_every``."""

    @model_validator(mode="after")
    def _samples_are_drawn(self) -> WindowsConfig:
        if self.sample_every % self.look_every:
            raise ValueError("look_every should divide sample_every")
        if min(self.steps, self.free_steps) < 8 * self.sample_every:
            raise ValueError("steps and free_steps should hold at least eight times sample_every")
        return self
