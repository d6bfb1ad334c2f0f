"""Stage 2: the denoiser."""

from __future__ import annotations

import numpy as np
import torch

from spacetime_tps import plugins
from spacetime_tps.boltzmann.samples import WeightedSamples
from spacetime_tps.config import BUILT_IN_DENOISERS
from spacetime_tps.diffusion.denoiser import Denoiser, DenoiserPlugin
from spacetime_tps.diffusion.exact import GridDenoiser, SampleDenoiser, sample_denoiser
from spacetime_tps.diffusion.health import health, seconds_per_step
from spacetime_tps.diffusion.learned import LearnedDenoiser, build_network, state_to_save
from spacetime_tps.diffusion.rigid import PlacedSampleDenoiser
from spacetime_tps.diffusion.targets import draw_queries, reference_posterior
from spacetime_tps.diffusion.training import rms_errors, train_denoiser
from spacetime_tps.errors import UserError
from spacetime_tps.files import read_arrays, require_finite, write_arrays
from spacetime_tps.representations import Identity, Torsions
from spacetime_tps.seeds import torch_seed
from spacetime_tps.stages.context import Context, StageResult
from spacetime_tps.stages.sample import load_samples

DENOISER = "denoiser.npz"
"""Its tensors, in a run folder."""


def train(context: Context, start: Denoiser | None = None) -> StageResult:
    """Train the denoiser on the samples, or tabulate an exact one, and write ``denoiser.npz`` (plain tensors).

    Args:
        context: of the run.
        start: a learned denoiser that training goes on from.
    """
    system, config = context.system, context.config
    samples = load_samples(context)
    seed = torch_seed(config.seed, "train")
    summary: dict = {"kind": config.denoiser.kind}
    if config.denoiser.kind == "exact":
        rng = torch.Generator().manual_seed(seed)
        exact_denoiser = _exact(context) or _of_samples(context, samples, rng)
        _save(context, _tensors_of(exact_denoiser))
        summary |= {"rms_error_by_log_snr": {}, "loss": []}
    elif config.denoiser.kind in plugins.known(plugins.DENOISERS):
        brought: DenoiserPlugin = plugins.load(plugins.DENOISERS, config.denoiser.kind)
        _save(context, brought.fit(system.representation, samples, dict(config.denoiser.options), seed))
        summary |= {"rms_error_by_log_snr": {}, "loss": []}
    else:
        first = start.network if isinstance(start, LearnedDenoiser) else None
        result = train_denoiser(
            system.representation, samples, config.denoiser, seed, context.device(), first, context.reporter.scalars
        )
        errors = [row["rms_error"] for row in result.validation.values()]
        advice = "lower denoiser.learning_rate or narrow denoiser.log_snr_range"
        require_finite("The denoiser's errors are", advice, errors)
        _save(context, state_to_save(result.denoiser.network.float()))
        summary |= {
            "rms_error_by_log_snr": {level: row["rms_error"] for level, row in result.validation.items()},
            "posterior_std_by_log_snr": {level: row["posterior_std"] for level, row in result.validation.items()},
            "loss": result.loss,
        }
    denoiser, rng = load_denoiser(context), torch.Generator().manual_seed(torch_seed(config.seed, "validate"))
    exact, inside = _exact(context), _inside(samples.features, context)
    if exact is not None:
        table = rms_errors(denoiser, exact, system.representation, inside, rng, count=500)
        summary["rms_error_to_reference_by_log_snr"] = {level: row["rms_error"] for level, row in table.items()}
        summary["reference_posterior_std_by_log_snr"] = {level: row["posterior_std"] for level, row in table.items()}
    level = config.geodesic.log_snr_end
    checked = exact or _of_samples(context, samples, rng)
    summary["health"] = health(denoiser, checked, system.representation, inside, level, rng)
    queries = draw_queries(system.representation, inside, 512, (level, level), rng)
    return StageResult(summary, timings={"denoiser_step_of_512_points": seconds_per_step(denoiser, queries)})


def _exact(context: Context) -> SampleDenoiser | None:
    """The posterior of the reference grid, where there is one."""
    system = context.system
    if system.reference is None or not isinstance(system.representation, Torsions | Identity):
        return None
    return GridDenoiser.from_surface(system.representation, system.reference)


def _of_samples(
    context: Context, samples: WeightedSamples, rng: torch.Generator
) -> SampleDenoiser | PlacedSampleDenoiser:
    config = context.config.denoiser
    highest = config.log_snr_range[1]
    return reference_posterior(context.system.representation, samples, config.reference_samples, rng, highest)


def _tensors_of(posterior: SampleDenoiser | PlacedSampleDenoiser) -> dict[str, torch.Tensor]:
    """What ``load_denoiser`` makes an exact denoiser of."""
    if isinstance(posterior, GridDenoiser):
        axes = {f"axis_{k}": torch.from_numpy(axis) for k, axis in enumerate(posterior.axes)}
        return axes | {"log_weights": posterior.log_weights}
    return {"statistics": posterior.statistics, "log_weights": posterior.log_weights}


def _save(context: Context, tensors: dict[str, torch.Tensor]) -> None:
    arrays = {name: tensor.detach().cpu().numpy() for name, tensor in tensors.items()}
    context.make_room()
    write_arrays(context.folder / DENOISER, **arrays)


def _inside(features: np.ndarray, context: Context) -> np.ndarray:
    """Features within the box of the reference grid; all of them where there is no grid or it is periodic."""
    surface = context.system.reference
    if surface is None or surface.periodic.all():
        return features
    last = surface.origin + surface.spacing * (np.array(surface.free_energy.shape) - 1)
    return features[((features > surface.origin) & (features < last)).all(axis=1)]


def load_denoiser(context: Context) -> Denoiser:
    """The denoiser of a run, in float64.

    Raises:
        UserError: the file is damaged or of another architecture.
    """
    file, representation = context.folder / DENOISER, context.system.representation
    tensors = {name: torch.from_numpy(array) for name, array in read_arrays(file).items()}
    try:
        if not all(bool(value.isfinite().all()) for value in tensors.values()):
            raise ValueError("numbers that are not finite")
        if context.config.denoiser.kind == "exact":
            axes = [tensors[name].numpy() for name in sorted(tensors) if name.startswith("axis_")]
            if axes and isinstance(representation, Torsions | Identity):
                return GridDenoiser(representation, axes, tensors["log_weights"])
            highest = context.config.denoiser.log_snr_range[1]
            return sample_denoiser(representation, tensors["statistics"], tensors["log_weights"], highest)
        if context.config.denoiser.kind not in BUILT_IN_DENOISERS:
            brought: DenoiserPlugin = plugins.load(plugins.DENOISERS, context.config.denoiser.kind)
            return brought.build(representation, dict(context.config.denoiser.options), tensors)
        network = build_network(representation, context.config.denoiser)
        network.load_state_dict(tensors)
    except UserError:
        raise
    except Exception as error:  # torch raises pickle, zip and runtime errors alike
        raise UserError(f"{file} cannot be loaded as this run's denoiser; run 'train' again.") from error
    return LearnedDenoiser(representation, network).double()
