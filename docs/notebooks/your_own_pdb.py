# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
# ---

# %% [markdown]
# # Your own molecule
#
# Two structures of one molecule, one in each state. Here they are those of alanine dipeptide that come with the
# package; put your own files in their place. With `SPACETIME_TPS_FAST` in the environment the numbers mean nothing.

# %%
import os
import subprocess
import sys

from spacetime_tps import Run
from spacetime_tps.systems import systems_folder

first, second = (systems_folder() / "alanine_dipeptide" / name for name in ("c5.pdb", "c7ax.pdb"))
command = [sys.executable, "-c", "from spacetime_tps.cli.main import main; main()", "init"]  # spacetime-tps init
done = subprocess.run([*command, first, second, "-o", "systems/mine"], capture_output=True, text=True)
print(done.stdout, done.stderr)

# %% [markdown]
# `init` says what it decided, and why. All of it stands, commented, in `systems/mine/system.yaml`. Change what you know
# better. Then:

# %%
FAST = [
    "sampling.build_time=20 ps", "sampling.exchange_interval=10 ps", "sampling.frozen_time=20 ps",
    "sampling.discard_time=0 ps", "denoiser.queries=2000", "denoiser.validation_queries=200", "denoiser.steps=100",
    "denoiser.factors=16", "denoiser.components=32", "geodesic.points=24", "geodesic.nodes=12", "geodesic.steps=40",
    "geodesic.polish_rounds=1", "geodesic.starts=2", "paths.count=4", "paths.curve_points=60", "paths.max_doublings=0",
    "windows.spacing=3", "windows.steps=800", "windows.free_steps=2000",
]  # fmt: skip
run = Run.new("systems/mine", "runs/mine", changes=FAST if "SPACETIME_TPS_FAST" in os.environ else [])
run.sample()
run.train()
run.geodesic()
run.paths()
run.windows()
run.export()
print(run.summary["paths"]["arrived_fraction"], "of the paths arrived; read", run.report())
for k, path in enumerate(run.transition_paths()):
    path.save(f"path_{k}.xtc")
