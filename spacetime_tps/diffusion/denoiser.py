"""The contract of a denoiser: natural parameters in, expectation parameters of the denoising posterior out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from spacetime_tps.boltzmann.samples import WeightedSamples
from spacetime_tps.representations import Representation


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


class DenoiserPlugin(Protocol):
    """What an entry point of the group ``spacetime_tps.denoisers`` names: a module or object with these functions."""

    def fit(
        self, representation: Representation, samples: WeightedSamples, options: dict[str, Any], seed: int
    ) -> dict[str, Tensor]:
        """Learn from weighted samples; what is returned is kept in ``denoiser.npz`` and given to ``build``."""
        ...

    def build(self, representation: Representation, options: dict[str, Any], tensors: dict[str, Tensor]) -> Denoiser:
        """The denoiser; picklable, since every channel is optimised in a process of its own."""
        ...


class Denoiser(Protocol):
    """Anything callable like this can be handed to the geodesic optimiser."""

    def __call__(self, natural: Tensor) -> Posterior:
        """Posteriors at natural parameters, shape (..., n_parameters); differentiable."""
        ...
