"""How consistent a denoiser is, and how good where it matters: at the ridge."""

from __future__ import annotations

import time

import numpy as np
import torch
from torch import Tensor

from spacetime_tps.diffusion.denoiser import Denoiser
from spacetime_tps.diffusion.targets import draw_queries
from spacetime_tps.representations import Representation

_QUERIES = 1000
_RIDGE_SHARE = 0.1
_JACOBIANS = 50
_CHORD = 0.05


def health(
    denoiser: Denoiser,
    exact: Denoiser,
    representation: Representation,
    features: np.ndarray,
    log_snr: float,
    rng: torch.Generator,
) -> dict[str, float]:
    """Figures that tell whether the posteriors are those of one density.

    Args:
        denoiser: what is looked at.
        exact: the posterior it should have.
        representation: of both.
        features: of biased samples, shape (n, n_features); queries are these plus noise.
        log_snr: level of the queries.
        rng: draws them.

    Returns:
        ``ridge_variance_error``: rms of log(variance / exact variance) over the tenth of the queries with the highest
        smoothed free energy; ``ridge_variance_worst``: its largest absolute value; ``negative_chord_fraction`` of short
        random chords; ``jacobian_asymmetry``: |J - J^T| / |J + J^T| (Frobenius norms) of mu(eta), root mean square.
    """
    queries = draw_queries(representation, features, _QUERIES, (log_snr, log_snr), rng)
    with torch.no_grad():
        truth, model = exact(queries), denoiser(queries)
        assert truth.log_partition is not None
        height = representation.profile(queries, truth.log_partition)
        ridge = height.topk(max(1, int(_RIDGE_SHARE * len(queries)))).indices
        ratio = (model.block_variance[ridge].clamp_min(1e-12) / truth.block_variance[ridge].clamp_min(1e-12)).log()
        moved = queries + _CHORD * (queries.roll(1, 0) - queries)
        chord = ((moved - queries) * (denoiser(moved).mean - model.mean)).sum(-1)
    return {
        "log_snr": log_snr,
        "ridge_variance_error": ratio.square().mean().sqrt().item(),
        "ridge_variance_worst": ratio.abs().max().item(),
        "negative_chord_fraction": (chord < 0).double().mean().item(),
        "jacobian_asymmetry": jacobian_asymmetry(denoiser, queries[:_JACOBIANS]),
    }


def jacobian_asymmetry(denoiser: Denoiser, natural: Tensor) -> float:
    """Root mean square of |J - J^T| / |J + J^T| of J = d mu / d eta at points, shape (n, n_parameters)."""
    with torch.enable_grad():
        natural = natural.detach().requires_grad_(True)
        mean = denoiser(natural).mean
        rows = [torch.autograd.grad(column.sum(), natural, retain_graph=True)[0] for column in mean.unbind(-1)]
    jacobian = torch.stack(rows, dim=-2)
    odd, even = (jacobian - jacobian.mT).flatten(1).norm(dim=1), (jacobian + jacobian.mT).flatten(1).norm(dim=1)
    return (odd / even.clamp_min(1e-300)).square().mean().sqrt().item()


def seconds_per_step(denoiser: Denoiser, natural: Tensor, repeats: int = 5) -> float:
    """Median wall time of mu and one gradient through it at points, shape (n, n_parameters)."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        with torch.enable_grad():
            point = natural.detach().requires_grad_(True)
            torch.autograd.grad(denoiser(point).mean.square().sum(), point)
        times.append(time.perf_counter() - started)
    return float(np.median(times))
