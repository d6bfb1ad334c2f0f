# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
# ---

# %% [markdown]
# # Müller-Brown: everything is known
#
# A surface with two deep minima and kT = 15, where quadrature gives the exact posterior.

# %%
import numpy as np
import torch

from spacetime_tps import Run
from spacetime_tps.diffusion.exact import GridDenoiser
from spacetime_tps.stages.context import opened
from spacetime_tps.stages.train import load_denoiser

run = Run.new("mueller_brown", "runs/notebook_mueller_brown", preset="standard")
run.sample()
run.train()
run.geodesic()

# %% [markdown]
# ## The denoiser against the exact posterior
#
# A point of spacetime is a restraint: where it pulls to, and how strongly. The exact posterior is a sum over the grid
# of the reference surface.

# %%
system = run.system
exact = GridDenoiser.from_surface(system.representation, system.reference)
with opened(run.folder, run.folder.config()) as context:
    denoiser = load_denoiser(context)
points = torch.from_numpy(np.random.default_rng(0).uniform([-1.2, -0.3], [1.0, 1.8], (200, 2)))
for log_snr in (1.0, 3.0, 5.0):
    natural = system.representation.natural(torch.cat([points, torch.full((200, 1), log_snr)], dim=-1))
    off = (denoiser(natural).mean - exact(natural).mean)[:, :2].norm(dim=-1)
    print(f"log-SNR {log_snr:g}: rms error of the posterior mean {off.square().mean().sqrt():.3f}")

# %% [markdown]
# ## The geodesic and the paths along it

# %%
run.paths()
run.windows()
run.transitions()
run.export()
channel = run.summary["geodesic"]["channels"][0]
print(f"barrier {channel['barrier_kt']:.2f} kT, least possible {run.summary['reference']['minimax_barrier_kt']:.2f}")
print(f"arrived {run.summary['paths']['arrived_fraction']:.0%}")
print("look at", run.report(), "and the figures beside it")
