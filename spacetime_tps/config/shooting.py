"""What is shot: transition path sampling, committors, and the methods of a comparison."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import model_validator

from spacetime_tps.config.base import LogSNR, Model, PlainNumber, Quantity
from spacetime_tps.config.bounds import Within


class SelectorConfig(Model):
    """Shoot preferably where a collective variable is near ``center``: W = exp(-(s - center)^2 / (2 width^2))."""

    variable: str
    center: Quantity | PlainNumber
    width: Quantity | PlainNumber


class ShootingConfig(Model):
    """Transition path sampling: Monte Carlo chains of shooting moves."""

    move: Literal["one_way", "two_way"] = "one_way"
    selector: SelectorConfig | None = None
    """Which frame to shoot from; without it every frame alike."""
    velocity_mixing: Annotated[float, Within(0, 1)] = 0.0
    """c in v' = c v + sqrt(1 - c^2) xi: 0 draws new velocities, 1 keeps them. Two-way shooting of molecules only."""
    fixed_frames: Annotated[int, Within(3, 10**7)] | None = None
    """Frames of every path; without it paths end where they reach a state."""
    frame_every: Annotated[int, Within(1, 10**6)] = 5
    """Integration steps from frame to frame; states are looked for at frames only."""
    max_frames: Annotated[int, Within(3, 10**8)] = 20_000
    """Longer paths are rejected and counted."""
    chains: Annotated[int, Within(1, 10**4)] = 4
    steps: Annotated[int, Within(1, 10**9)] = 2000
    """Monte Carlo steps of each chain."""
    burn_in: Annotated[int, Within(0, 10**9)] = 200
    """Steps at the start of each chain that no average counts."""
    keep_every: Annotated[int, Within(1, 10**9)] = 20
    """Every so many steps the path of a chain is kept."""
    block_steps: Annotated[int, Within(1, 10**9)] = 200
    """A chain that was interrupted goes on after its last whole block."""
    first: Literal["paths", "ensemble", "high_temperature"] = "paths"
    """First path: an annealed path of the run, an unguided one, or a run at a raised temperature."""
    temperature_factor: Annotated[float, Within(1.01, 100)] = 2.5
    """Of that run, times the system's temperature."""
    first_steps: Annotated[int, Within(1, 10**9)] = 2_000_000
    """Integration steps after which that run is given up."""
    trajectories: Annotated[int, Within(1, 10**5)] = 16
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


class TransitionsConfig(Model):
    """Shots from windows on the ridge: unguided transition paths, their weights, and rate constants."""

    shots: Annotated[int, Within(0, 10**8)] = 1500
    """Points that are followed both ways, of each ridge; 0: none, and no rates."""
    walkers: Annotated[int, Within(2, 10**4)] = 4
    """Of each window; each is independent of the others."""
    equilibration_steps: Annotated[int, Within(1, 10**9)] = 2000
    spacing_steps: Annotated[int, Within(1, 10**9)] = 300
    """Integration steps between the points of a walker."""
    frame_every: Annotated[int, Within(1, 10**6)] = 5
    """Integration steps from frame to frame; states are looked for at frames only."""
    max_steps: Annotated[int, Within(1, 10**9)] = 100_000
    """Integration steps after which a trajectory is given up as undecided."""
    least_flux: Annotated[float, Within(1e-12, 1)] = 0.01
    """Channels whose barrier lets them carry less than this share of the best one's flux are left out."""
    trajectories: Annotated[int, Within(1, 10**5)] = 16
    """Paths that are exported."""

    @model_validator(mode="after")
    def _fits_together(self) -> TransitionsConfig:
        for name in ("spacing_steps", "max_steps"):
            if getattr(self, name) < self.frame_every:
                raise ValueError(f"{name} should not be smaller than frame_every")
        return self


class CommittorConfig(Model):
    """Fresh trajectories from frames, to see which state they reach first."""

    frames: Annotated[int, Within(1, 10**5)] = 32
    """Frames at most, spread over those that are given."""
    shots: Annotated[int, Within(2, 10**6)] = 50
    """Trajectories from each frame."""
    max_steps: Annotated[int, Within(1, 10**9)] = 50_000
    """Integration steps after which a trajectory is given up as undecided."""


class ComparisonConfig(Model):
    """What ``compare`` runs beside the paths along the geodesic."""

    shooting_steps: Annotated[int, Within(1, 10**9)] = 2000
    """Monte Carlo steps of each chain of transition path sampling."""
    seeded_steps: Annotated[int, Within(1, 10**9)] = 200
    """Monte Carlo steps of each chain that starts from a generator's paths."""
    steered_log_snr: LogSNR = 6.0
    """Log of the stiffness of the moving harmonic restraint in kT: 6 is 1006 kJ/mol/rad^2 at 300 K."""
    ratchet_strength_kt: Annotated[float, Within(1e-6, 1e6)] = 50.0
    """Of the ratchet's bias, for half the squared distance in features."""
    ratchet_steps: Annotated[int, Within(1, 10**9)] = 250_000
    """Steps after which a ratcheted path has not arrived."""
    unbiased_steps: Annotated[int, Within(0, 10**10)] = 0
    """Steps of brute force for each walker; 0 leaves it out."""
    unbiased_walkers: Annotated[int, Within(1, 10**6)] = 8
    density_bins: Annotated[int, Within(2, 500)] = 36
    """Of the path density in each variable."""
    examined_paths: Annotated[int, Within(1, 10**5)] = 64
    """Of each method, whose energies are evaluated and whose ends are released."""
    quenched_paths: Annotated[int, Within(1, 10**5)] = 4

    @model_validator(mode="before")
    @classmethod
    def _without_a_window(cls, settings: Any) -> Any:
        """Windows that were given by hand, in version 0.1 and before."""
        if not isinstance(settings, dict) or "umbrella" not in settings:
            return settings
        if settings["umbrella"] is not None:
            raise ValueError(
                "the method 'umbrella' has become 'transitions', whose windows the run finds itself; leave out "
                "comparison.umbrella, and set transitions.shots for more paths"
            )
        return {key: value for key, value in settings.items() if key != "umbrella"}
