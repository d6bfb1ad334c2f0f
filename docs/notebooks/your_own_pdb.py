# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
# ---

# %% [markdown]
# # Your own molecule
#
# Two structures of one molecule, one in each state. Here they are those of alanine dipeptide that come with the
# package; put your own files in their place.

# %%
import subprocess
import sys

from spacetime_tps import Run
from spacetime_tps.systems import systems_folder

first, second = (systems_folder() / "alanine_dipeptide" / name for name in ("c5.pdb", "c7ax.pdb"))
command = [sys.executable, "-c", "from spacetime_tps.cli.main import main; main()", "init"]  # spacetime-tps init
done = subprocess.run([*command, first, second, "-o", "systems/mine", "--minutes", "2"], capture_output=True, text=True)
print(done.stdout, done.stderr)

# %% [markdown]
# `init` says what it decided, and why. All of it stands, commented, in `systems/mine/system.yaml`. Change what you know
# better. Then:

# %%
run = Run.new("systems/mine", "runs/mine", preset="standard")
run.finish()
print(run.summary["paths"]["arrived_fraction"], "of the paths arrived; read", run.report())
for k, path in enumerate(run.transition_paths()):
    path.save(f"path_{k}.xtc")
