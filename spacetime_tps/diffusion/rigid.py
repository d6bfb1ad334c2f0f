"""A molecule under a Cartesian restraint also trembles as a rigid body; what that adds, and the posterior of samples.

The six modes of a rigid body feel the restraint alone. To leading order each has the variance 1 / SNR, whatever the
shape, and is left out of posterior variances; what remains is a posterior of shapes. A sample comes to a restraint in
the placement that brings it nearest: to first order its displacement from the restraint's centre loses what a rigid
motion of that centre would give.
"""

from __future__ import annotations

import torch
from torch import Tensor

from spacetime_tps.diffusion.denoiser import Posterior
from spacetime_tps.representations import Cartesian

_CHUNK_ELEMENTS = 2**22


def with_rigid_body(natural: Tensor, psi: Tensor, mean: Tensor, modes: int) -> tuple[Tensor, Tensor]:
    """psi and mu of shapes, shapes (...) and (..., n_parameters), with ``modes`` of a rigid body in the last entry."""
    if not modes:
        return psi, mean
    snr = -2.0 * natural[..., -1]
    square = (mean[..., -1] + modes / snr).unsqueeze(-1)
    return psi - 0.5 * modes * snr.log(), torch.cat([mean[..., :-1], square], dim=-1)


class PlacedSampleDenoiser:
    """Posterior of weighted samples of a molecule whose placement is free; the Cartesian ``SampleDenoiser``."""

    def __init__(self, representation: Cartesian, statistics: Tensor, log_weights: Tensor):
        """``statistics`` are those of superposed samples, shape (n, n_parameters), ``log_weights`` has shape (n,)."""
        self.representation, self.statistics = representation, statistics
        self.log_weights = log_weights - torch.logsumexp(log_weights, 0)
        self._axes, self._reference = (
            torch.from_numpy(part).double() for part in (representation.fit.axes, representation.fit.reference)
        )
        self._displacements = statistics[:, :-1] @ self._axes.T

    def __call__(self, natural: Tensor) -> Posterior:
        """Posteriors at ``natural``, shape (..., n_parameters), evaluated in chunks."""
        flat = natural.reshape(-1, natural.shape[-1])
        rows = max(1, _CHUNK_ELEMENTS // (8 * len(self.statistics)))
        parts = [self._chunk(chunk) for chunk in flat.split(rows)]
        psi, mean = (torch.cat([part[k] for part in parts]) for k in (0, 1))
        variance = self.representation.block_variance(mean).reshape(*natural.shape[:-1], 1)
        psi, mean = with_rigid_body(flat, psi, mean, self.representation.rigid_modes)
        return Posterior(mean.reshape(natural.shape), variance, psi.reshape(natural.shape[:-1]))

    def _chunk(self, natural: Tensor) -> tuple[Tensor, Tensor]:
        snr = -2.0 * natural[:, -1:]
        away = natural[:, :-1] / snr @ self._axes.T
        target = away.unflatten(-1, self._reference.shape) + self._reference
        modes, spread = _rigid_modes(target)
        along = self._displacements @ modes - (away.unsqueeze(1) @ modes)
        square = along.square().sum(-1)
        logits = self.log_weights + natural @ self.statistics.T + 0.5 * snr * square
        psi = torch.logsumexp(logits, dim=-1)
        share = (logits - psi.unsqueeze(-1)).exp()
        taken = (share.unsqueeze(1) @ along).squeeze(1)
        moved = (modes @ taken.unsqueeze(-1)).squeeze(-1)
        mean = share @ self.statistics
        back = (away.unsqueeze(1) @ modes).squeeze(1)
        norm = mean[:, -1] - (share * square).sum(-1) - 2.0 * (taken * back).sum(-1)
        position = mean[:, :-1] - moved @ self._axes
        return psi - 0.5 * spread, torch.cat([position, norm.unsqueeze(-1)], dim=-1)


def _rigid_modes(positions: Tensor) -> tuple[Tensor, Tensor]:
    """Orthonormal rigid motions of centred positions, shape (n, 3 n_atoms, 6), and log of what turning spans, (n,)."""
    n, atoms = positions.shape[:2]
    identity = torch.eye(3, dtype=positions.dtype)
    shifts = (identity.repeat(atoms, 1) / atoms**0.5).expand(n, -1, -1)
    turns = torch.linalg.cross(identity.expand(n, atoms, 3, 3), positions.unsqueeze(2).expand(n, atoms, 3, 3))
    turns = turns.transpose(-1, -2).reshape(n, 3 * atoms, 3)
    overlap = turns.mT @ turns
    lower = torch.linalg.cholesky(overlap)
    orthonormal = torch.linalg.solve_triangular(lower, turns.mT, upper=False).mT
    return torch.cat([shifts, orthonormal], dim=-1), torch.logdet(overlap)
