"""The denoiser contract around a trained potential network."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from spacetime_tps.config import DenoiserConfig
from spacetime_tps.diffusion.denoiser import Posterior
from spacetime_tps.diffusion.potential import GaussianFactors, PotentialNetwork, VonMisesFactors
from spacetime_tps.diffusion.rigid import with_rigid_body
from spacetime_tps.representations import Identity, Molecular, Torsions

_ONE_GROUP_UP_TO = 3
_GROUPS = 8


class LearnedDenoiser:
    """A potential network, evaluated in its own precision, that answers in the precision of the question."""

    def __init__(self, representation: Molecular | Identity, network: PotentialNetwork):
        self.representation = representation
        self.network = network.eval().requires_grad_(False)
        self._weights = network.weights()

    def double(self) -> LearnedDenoiser:
        """The same model in float64."""
        self.network.double()
        self._weights = self.network.weights()
        return self

    def __call__(self, natural: Tensor) -> Posterior:
        """Posteriors at natural parameters, shape (..., n_parameters)."""
        answer = self.network(natural.to(self.network.offset.dtype), self._weights)
        psi, mean = (value.to(natural.dtype) for value in answer)
        variance = self.representation.block_variance(mean)
        psi, mean = with_rigid_body(natural, psi, mean, self.representation.rigid_modes)
        return Posterior(mean, variance, psi)


def build_network(representation: Molecular | Identity, config: DenoiserConfig) -> PotentialNetwork:
    """An untrained network that fits a representation."""
    torsions = isinstance(representation, Torsions)
    count = representation.n_torsions if isinstance(representation, Torsions) else representation.n_features
    groups = config.groups
    if groups == "auto":
        groups = 1 if count <= _ONE_GROUP_UP_TO or not torsions else _GROUPS
    factors = (VonMisesFactors if torsions else GaussianFactors)(count, config.factors)
    return PotentialNetwork(factors, config.components, groups)


def state_to_save(network: PotentialNetwork) -> dict[str, Any]:
    """State dict on the CPU, readable with ``torch.load(weights_only=True)``."""
    return {name: value.detach().cpu() for name, value in network.state_dict().items()}
