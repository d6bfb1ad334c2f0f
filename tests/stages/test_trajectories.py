"""The samples of a run, written to files and read back as a user's own, lead to the same geodesic."""

from __future__ import annotations

import json
from pathlib import Path

import mdtraj
import numpy as np
import pytest
import torch

from spacetime_tps.stages.context import opened
from spacetime_tps.stages.folder import RunFolder
from spacetime_tps.stages.train import load_denoiser
from spacetime_tps.systems import systems_folder
from tests.conftest import run_cli, settings

SAMPLING = (
    "sampling.build_time=120 ps", "sampling.frozen_time=120 ps", "sampling.discard_time=20 ps",
    "sampling.sample_interval=0.5 ps", "sampling.frame_interval=0.5 ps",
)  # fmt: skip
"""Enough to cross the barrier, with a frame for every sample."""
GEODESIC = (
    "hardware.workers=1",
    "reference=null", "hardware.platform=Reference", "denoiser.kind=exact", "geodesic.points=40", "geodesic.nodes=5",
    "geodesic.starts=1", "geodesic.steps=80", "geodesic.polish_rounds=40", "geodesic.polish_steps=20",
    "geodesic.tolerance=1e-6", "geodesic.log_snr_end=3", "geodesic.channel=phi+ psi-",
    "geodesic.low_variance=30 deg", "geodesic.low_barrier=null",
)  # fmt: skip
"""The posterior of the samples themselves, and one channel on which the optimiser spends all its rounds."""


def posterior_means(folder: Path, natural: np.ndarray) -> np.ndarray:
    """The means of the folder's denoiser at ``natural``, both of shape (n_points, n_parameters)."""
    run = RunFolder(folder)
    with opened(run, run.config()) as context:
        return load_denoiser(context)(torch.from_numpy(natural)).mean.numpy()


def test_the_same_samples_give_the_same_posterior_and_a_geodesic_as_short(tmp_path: Path) -> None:
    ours, theirs, source = tmp_path / "ours", tmp_path / "theirs", systems_folder() / "alanine_dipeptide"
    upto = ("--seed", "3", "--stop-after", "geodesic")
    done = run_cli("run", "alanine_dipeptide", "-o", ours, *upto, *settings(SAMPLING + GEODESIC))
    assert done.returncode == 0, done.stderr
    samples = np.load(ours / "samples.npz")
    topology = mdtraj.load(str(source / "c5.pdb")).topology
    mine = tmp_path / "mine"
    mine.mkdir()
    text = (source / "system.yaml").read_text()
    begin, end = text.index("sampling:"), text.index("denoiser:")
    own = "kind: trajectories\n  files: [walker_*.dcd]\n  weights: [bias_*.txt]\n  weights_are: log_weight\n\n"
    (mine / "system.yaml").write_text(text[:begin] + "sampling:\n  " + own + text[end:])
    for name in ("c5.pdb", "c7ax.pdb"):
        (mine / name).write_bytes((source / name).read_bytes())
    for k, chosen in enumerate(np.array_split(np.arange(len(samples["frames"])), 4)):
        mdtraj.Trajectory(samples["frames"][chosen], topology).save(str(mine / f"walker_{k}.dcd"))
        np.savetxt(mine / f"bias_{k}.txt", samples["log_weights"][chosen], fmt="%.17g")
    done = run_cli("run", mine, "-o", theirs, *upto, *settings(GEODESIC))
    assert done.returncode == 0, done.stderr
    curve = np.load(ours / "geodesic.npz")
    assert np.abs(posterior_means(theirs, curve["natural"][0]) - curve["mean"][0]).max() < 1e-4  # the same space
    lengths = [
        json.loads((folder / "stages/geodesic.json").read_text())["summary"]["channels"][0]["length"]
        for folder in (ours, theirs)
    ]
    assert lengths[1] == pytest.approx(lengths[0], rel=0.15)  # rounding decides which of many near minima it ends in
