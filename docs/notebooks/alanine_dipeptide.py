# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
# ---

# %% [markdown]
# # Alanine dipeptide: from PDB to DCD
#
# About five minutes on two cores. With the preset `quick` it takes one, and its numbers mean nothing.

# %%
import mdtraj
import numpy as np

from spacetime_tps import Run

run = Run.new("alanine_dipeptide", "runs/notebook_alanine", seed=1, preset="standard")
run.finish()
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
