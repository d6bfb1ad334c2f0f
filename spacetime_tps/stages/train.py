"""Stage 2: the denoiser."""

from __future__ import annotations

import io

import numpy as np
import torch

from spacetime_tps.boltzmann.samples import WeightedSamples
from spacetime_tps.diffusion.exact import SampleDenoiser
from spacetime_tps.diffusion.learned import LearnedDenoiser, build_network, state_to_save
from spacetime_tps.diffusion.training import rms_errors, train_denoiser
from spacetime_tps.errors import UserError
from spacetime_tps.files import replacing, require_finite
from spacetime_tps.seeds import torch_seed
from spacetime_tps.stages.context import Context, StageResult


def train(context: Context) -> StageResult:
    """Train the denoiser on the samples and write ``denoiser.pt`` (a state dict)."""
    system, config = context.system, context.config
    samples = WeightedSamples.load(context.folder / "samples.npz")
    seed = torch_seed(config.seed, "train")
    result = train_denoiser(system.representation, samples, config.denoiser, seed, context.device())
    errors = [row["rms_error"] for row in result.validation.values()]
    require_finite("The denoiser's errors are", "lower denoiser.learning_rate or narrow denoiser.log_snr_range", errors)
    buffer = io.BytesIO()
    torch.save(state_to_save(result.denoiser.network.float()), buffer)
    with replacing(context.folder / "denoiser.pt") as temporary:
        temporary.write_bytes(buffer.getvalue())
    summary: dict = {
        "rms_error_by_log_snr": {level: row["rms_error"] for level, row in result.validation.items()},
        "posterior_std_by_log_snr": {level: row["posterior_std"] for level, row in result.validation.items()},
        "loss": result.loss,
    }
    if system.reference is not None:
        exact = SampleDenoiser.from_surface(system.representation, system.reference)
        inside = _inside(samples.features, context)
        rng = torch.Generator().manual_seed(torch_seed(config.seed, "validate"))
        table = rms_errors(load_denoiser(context), exact, system.representation, inside, rng, count=500)
        summary["rms_error_to_reference_by_log_snr"] = {level: row["rms_error"] for level, row in table.items()}
        summary["reference_posterior_std_by_log_snr"] = {level: row["posterior_std"] for level, row in table.items()}
    return StageResult(summary)


def _inside(features: np.ndarray, context: Context) -> np.ndarray:
    """Features within the box of the reference grid; all of them where the grid is periodic."""
    surface = context.system.reference
    assert surface is not None
    if surface.periodic.all():
        return features
    last = surface.origin + surface.spacing * (np.array(surface.free_energy.shape) - 1)
    return features[((features > surface.origin) & (features < last)).all(axis=1)]


def load_denoiser(context: Context) -> LearnedDenoiser:
    """The trained denoiser of a run, in float64.

    Raises:
        UserError: the file is damaged or of another architecture.
    """
    file = context.folder / "denoiser.pt"
    network = build_network(context.system.representation, context.config.denoiser)
    try:
        network.load_state_dict(torch.load(file, weights_only=True))
    except Exception as error:  # torch raises pickle, zip and runtime errors alike
        raise UserError(f"{file} cannot be loaded as this run's denoiser; run 'train' again.") from error
    return LearnedDenoiser(context.system.representation, network).double()
