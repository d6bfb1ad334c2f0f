"""Free-energy difference of two states from windows along a curve between them and free simulations in both."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spacetime_tps.boltzmann.pool import WITHIN_A, WITHIN_B, Pool, solve
from spacetime_tps.representations import Representation


@dataclass(frozen=True)
class FreeEnergies:
    """What a pool of windows and of free simulations says, everything in kT.

    Attributes:
        delta_f: free energy of state B minus that of state A.
        error: its standard error by the bootstrap over blocks of time.
        mbar_error: the same by MBAR's asymptotic covariance of independent samples.
        overlap: see ``Solution``, shape (n_ensembles, n_ensembles).
        independent: samples that count, by the correlation times of the simulations.
    """

    delta_f: float
    error: float
    mbar_error: float
    overlap: np.ndarray
    independent: int

    @property
    def least_overlap(self) -> float:
        """Between neighbours, of which the pool holds its ensembles in the order: below 0.03 nothing is certain."""
        return float(np.diagonal(self.overlap, offset=1).min())


def free_energies_of(
    pool: Pool, representation: Representation, rng: np.random.Generator, resamples: int = 50, blocks: int = 4
) -> FreeEnergies:
    """Solve a pool whose ensembles are state A, the windows from A to B, state B.

    Args:
        pool: of them.
        representation: of its features.
        rng: of the bootstrap.
        resamples: of the bootstrap.
        blocks: of every simulation that are drawn anew.
    """
    assert pool.confined[0] == WITHIN_A
    assert pool.confined[-1] == WITHIN_B
    independent = pool.uncorrelated(representation)
    whole = solve(independent, representation, with_errors=True)
    assert whole.errors is not None
    assert whole.overlap is not None
    again = [
        solve(independent.resampled(rng, blocks), representation, whole.free_energies).free_energies
        for _ in range(resamples)
    ]
    differences = np.array([f[-1] - f[0] for f in again])
    return FreeEnergies(
        delta_f=float(whole.free_energies[-1] - whole.free_energies[0]),
        error=float(differences.std(ddof=1)),
        mbar_error=float(whole.errors[0, -1]),
        overlap=whole.overlap,
        independent=len(independent),
    )
