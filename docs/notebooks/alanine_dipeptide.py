# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
# ---

# %% [markdown]
# # Alanine dipeptide: from PDB to DCD
#
# Seven to eight minutes on two cores. With the preset `quick` it takes one, and its numbers mean nothing.

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
# Unguided paths in physical time: shot both ways from the ridge, and drawn by their weights, they are samples of the
# transition path ensemble.

# %%
unguided = run.transition_paths("ensemble")
print(len(unguided), "paths, mean length", np.mean([each.times_ps[-1] for each in unguided]).round(2), "ps")
print(run.summary["answer"]["rate_a_to_b"])

# %% [markdown]
# Monte Carlo chains of shooting moves sample the same ensemble, with a memory of the path that they began from. The
# committor of frames at the top of the annealed paths says whether they divide the states.

# %%
run.shoot(["shooting.first=ensemble"])
sampled = run.transition_paths("sampled")
print(len(sampled), "paths, mean length", np.mean([each.times_ps[-1] for each in sampled]).round(2), "ps")
print(run.committor()["spread_beyond_binomial"])
print("the report has all of it:", run.report())
