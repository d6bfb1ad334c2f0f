"""Settings as small as they can be: a whole run in seconds, whose results mean nothing."""

from __future__ import annotations

SMALL = (
    "denoiser.queries=400", "denoiser.validation_queries=64", "denoiser.steps=20", "denoiser.batch_size=64",
    "denoiser.factors=8", "denoiser.components=8", "denoiser.reference_samples=200", "geodesic.points=16",
    "geodesic.nodes=6", "geodesic.fine_factor=2", "geodesic.steps=10", "geodesic.polish_rounds=1",
    "geodesic.polish_steps=5", "geodesic.starts=1", "geodesic.scout_steps=2", "geodesic.max_channels=1",
    "paths.steps_per_point=20", "paths.equilibration_steps=50", "paths.release_steps=50", "paths.frames=10",
    "paths.max_doublings=0", "windows.most=3", "windows.equilibration_steps=10", "windows.steps=160",
    "windows.free_steps=160", "windows.sample_every=20", "windows.free_walkers=1", "hardware.workers=1",
    "transitions.shots=12", "transitions.walkers=2", "transitions.equilibration_steps=10", "transitions.max_steps=50",
    "transitions.spacing_steps=10", "transitions.trajectories=2",
    "committor.frames=2", "committor.shots=2", "committor.max_steps=200", "shooting.chains=1", "shooting.steps=6",
    "shooting.burn_in=2", "shooting.keep_every=2", "shooting.block_steps=3", "shooting.trajectories=2",
    "reference=null",
)  # fmt: skip
TOY = (
    *SMALL, "sampling.walkers=32", "sampling.burn_in_steps=50", "sampling.steps=200", "sampling.sample_every=20",
    "paths.count=4", "paths.curve_points=30", "shooting.max_frames=3000",
)  # fmt: skip
ALANINE = (
    *SMALL, "sampling.walkers=2", "sampling.build_time=4 ps", "sampling.exchange_interval=2 ps",
    "sampling.frozen_time=10 ps", "sampling.discard_time=0 ps", "sampling.sample_interval=0.1 ps",
    "sampling.frame_interval=2 ps", "paths.count=2", "paths.curve_points=20", "hardware.platform=Reference",
)  # fmt: skip
