"""What is shot: transition path sampling, committors, and the methods of a comparison."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from spacetime_tps.config.base import LogSNR, Model


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
