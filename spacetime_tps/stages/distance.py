"""Distances between configurations under the denoiser of a run; no stage of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from spacetime_tps.errors import UserError
from spacetime_tps.geometry.distance import edit_distances
from spacetime_tps.parallel import WorkerPool
from spacetime_tps.representations import undefined_torsions
from spacetime_tps.stages.context import Context
from spacetime_tps.stages.folder import RunFolder
from spacetime_tps.stages.train import load_denoiser
from spacetime_tps.systems import load_system, read_structure


def distances_between(folder: RunFolder, files: list[Path], log_snr_end: float) -> np.ndarray:
    """Matrix of diffusion edit distances between PDB files, shape (n, n).

    Raises:
        UserError: the run has no denoiser or is of no molecule, a file does not fit it, or the level lies outside of
            what the denoiser was trained on.
    """
    config = folder.config()
    low, high = config.denoiser.log_snr_range
    if not low < log_snr_end <= high:
        raise UserError(
            f"--log-snr-end {log_snr_end:g} lies outside of {low:g} to {high:g}, where this denoiser was trained."
        )
    system = load_system(config, folder.path)
    if not folder.finished("train"):
        raise UserError(f"The stage 'train' of {folder.path} is not finished; run it first.")
    folder.check()
    frames = np.stack([read_structure(file, system) for file in files])
    for file, frame in zip(files, frames, strict=True):
        if system.molecule is not None and (bad := undefined_torsions(frame, system.torsions)):
            raise UserError(f"The torsion {bad[0]!r} is undefined in {file}: three of its atoms lie on one line.")
    torch.set_num_threads(config.hardware.torch_threads)
    denoiser = load_denoiser(Context(folder, system, WorkerPool(1)).refined())
    features = system.representation.features(frames)
    return edit_distances(
        denoiser, system.representation, features, log_snr_end, config.denoiser.log_snr_range, config.geodesic
    )
