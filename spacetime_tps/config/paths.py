"""Annealed paths and restrained windows."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from spacetime_tps.config.base import Model


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
