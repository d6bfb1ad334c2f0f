"""The contract of a denoiser: natural parameters in, expectation parameters of the denoising posterior out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


@dataclass(frozen=True)
class Posterior:
    """Moments of the posteriors p(x | eta) ~ q(x) exp(eta . T(x)).

    Attributes:
        mean: expectation parameters mu = E[T(x)], shape (..., n_parameters).
        block_variance: posterior variance of each feature block, shape (..., n_blocks).
        log_partition: psi(eta) with grad psi = mu, shape (...), where the denoiser knows it.
    """

    mean: Tensor
    block_variance: Tensor
    log_partition: Tensor | None = None


class Denoiser(Protocol):
    """Anything callable like this can be handed to the geodesic optimiser."""

    def __call__(self, natural: Tensor) -> Posterior:
        """Posteriors at natural parameters, shape (..., n_parameters); differentiable."""
        ...
