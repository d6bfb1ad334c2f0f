# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
# ---

# %% [markdown]
# # Alanine dipeptide: from PDB to DCD
#
# About five minutes on two cores; with `SPACETIME_TPS_FAST` in the environment half a minute, and its numbers mean
# nothing.

# %%
import os

import mdtraj
import numpy as np

from spacetime_tps import Run

FAST = [
    "sampling.build_time=20 ps", "sampling.exchange_interval=10 ps", "sampling.frozen_time=20 ps",
    "sampling.discard_time=0 ps", "denoiser.queries=2000", "denoiser.validation_queries=200", "denoiser.steps=100",
    "denoiser.factors=16", "denoiser.components=32", "geodesic.points=24", "geodesic.nodes=12", "geodesic.steps=40",
    "geodesic.polish_rounds=1", "geodesic.starts=2", "paths.count=4", "paths.curve_points=60", "paths.max_doublings=0",
    "windows.spacing=3", "windows.steps=800", "windows.free_steps=2000", "shooting.chains=2", "shooting.steps=30",
    "shooting.burn_in=5", "shooting.keep_every=5", "committor.frames=4", "committor.shots=5",
]  # fmt: skip
fast = "SPACETIME_TPS_FAST" in os.environ
run = Run.new("alanine_dipeptide", "runs/notebook_alanine", seed=1, changes=FAST if fast else [])
run.sample()
run.train()
run.geodesic()
run.paths()
run.windows()
run.export()
print(run.summary["geodesic"]["chosen"], run.summary["paths"]["arrived_fraction"])

# %% [markdown]
# ## A path in MDTraj
#
# Annealed paths are guided: seeds and mechanisms to look at, no statistics.

# %%
path = run.transition_paths()[0].to_mdtraj()
_, phi = mdtraj.compute_phi(path)
_, psi = mdtraj.compute_psi(path)
print(np.rad2deg(np.column_stack([phi, psi])[:: max(1, len(path) // 5)]).round())

# %% [markdown]
# ## What has the last word
#
# Shooting samples the transition path ensemble, unguided, in physical time. The committor of frames at the top of the
# annealed paths says whether they divide the states.

# %%
run.shoot()
sampled = run.transition_paths("sampled")
print(len(sampled), "paths, mean length", np.mean([each.times_ps[-1] for each in sampled]).round(2), "ps")
print(run.committor()["spread_beyond_binomial"])
print("the report has all of it:", run.report())
