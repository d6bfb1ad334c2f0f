"""A denoiser of few samples: drawn by their weights, each counts alike, and the posterior is theirs."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from spacetime_tps.boltzmann.samples import WeightedSamples
from spacetime_tps.diffusion.denoiser import Denoiser
from spacetime_tps.diffusion.exact import SampleDenoiser
from spacetime_tps.representations import Representation


def fit(
    representation: Representation, samples: WeightedSamples, options: dict[str, Any], seed: int
) -> dict[str, Tensor]:
    """Draw ``options["count"]`` samples (2000 unless said otherwise) by their weights."""
    weights = np.exp(samples.log_weights - samples.log_weights.max())
    rng = np.random.default_rng(seed)
    rows = rng.choice(len(weights), int(options.get("count", 2000)), p=weights / weights.sum())
    return {"statistics": torch.from_numpy(representation.statistics(samples.features[rows]))}


def build(representation: Representation, options: dict[str, Any], tensors: dict[str, Tensor]) -> Denoiser:
    """The posterior of the drawn samples."""
    statistics = tensors["statistics"]
    return SampleDenoiser(representation, statistics, torch.zeros(len(statistics), dtype=statistics.dtype))
