"""The contract of a representation: features of frames, the restraint that matches them, and the chart of a curve.

Notation (arXiv 2505.17517, section 3): the denoising posteriors are the exponential family
p(x | eta) ~ q(x) exp(eta . T(x)) with statistic T, natural parameter eta and expectation parameter mu = E[T].
A *chart* gives unconstrained coordinates z of the curve, in which splines are drawn; ``natural`` maps z to eta.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import openmm
from torch import Tensor

Array = TypeVar("Array", np.ndarray, Tensor)


@dataclass(frozen=True)
class Channel:
    """A straight initial curve between the two end states, in chart coordinates.

    Attributes:
        label: what the user sees, for example ``phi+ psi-``.
        start: chart coordinates of the end in state A, shape (n_coordinates,).
        end: the same in state B; angles are lifted, so that ``end - start`` holds the winding.
        detour: what the curve that is begun with adds to the straight line at equal steps, shape (n, n_coordinates);
            None: nothing.
    """

    label: str
    start: np.ndarray
    end: np.ndarray
    detour: np.ndarray | None = None


class Restraint(Protocol):
    """-kT eta . T(x) in OpenMM."""

    force: openmm.Force

    def move_to(self, natural: np.ndarray, context: openmm.Context) -> None:
        """Set it to natural parameters, shape (n_parameters,)."""
        ...


class Representation(Protocol):
    """What the rest of the chain needs to know of the features."""

    n_features: int
    n_parameters: int
    n_coordinates: int
    block_names: list[str]
    period: float | None
    """Of the variables that ``center`` gives, where they are angles."""
    log_snr_coordinates: list[int]
    """The chart coordinates that hold a log-SNR; the initial curve is arched in them."""

    def features(self, frames: np.ndarray) -> np.ndarray:
        """Features x, shape (n, n_features), of frames."""
        ...

    def statistics(self, features: np.ndarray) -> np.ndarray:
        """T(x), shape (n, n_parameters)."""
        ...

    def natural(self, coordinates: Tensor) -> Tensor:
        """Natural parameters, shape (..., n_parameters), of chart coordinates, shape (..., n_coordinates)."""
        ...

    def noised(self, features: Tensor, log_snr: Tensor, noise: Tensor) -> Tensor:
        """Natural parameters SNR*(y, -1/2) of y = x + noise / sqrt(SNR); shapes (n, n_features), (n, n_blocks)."""
        ...

    def block_log_snr(self, natural: Tensor) -> Tensor:
        """Log-SNR that each feature block feels, shape (..., n_blocks)."""
        ...

    def block_variance(self, mean: Tensor) -> Tensor:
        """Posterior variance of each feature block, shape (..., n_blocks), from mu."""
        ...

    def max_block_variance(self, spread: float) -> float:
        """Bound on the block variance that a posterior standard deviation ``spread`` in the user's unit stands for."""
        ...

    def spread(self, block_variance: np.ndarray) -> np.ndarray:
        """Posterior standard deviation in the user's unit (degrees for torsions): inverse of ``max_block_variance``."""
        ...

    def center(self, mean: Array) -> Array:
        """Where the posterior lies in collective variables, shape (n, n_cv): angles of mu, or E[x]."""
        ...

    def location(self, mean: Array) -> Array:
        """Where the posterior lies in the chart: ``center``, or E[x] where that is read in other variables."""
        ...

    def profile(self, natural: Tensor, log_partition: Tensor) -> Tensor:
        """Smoothed free energy A/kT along a curve from the log-partition psi (DESIGN: barrier of a channel)."""
        ...

    def channels(self, start: np.ndarray, end: np.ndarray, log_snr_end: float) -> list[Channel]:
        """One straight initial curve for every channel between two feature vectors."""
        ...

    def named_channel(self, label: str, start: np.ndarray, end: np.ndarray, log_snr_end: float) -> Channel:
        """The channel of that label."""
        ...
