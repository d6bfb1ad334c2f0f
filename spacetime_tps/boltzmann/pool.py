"""Samples of many restrained and confined ensembles as one weighted set, and the free energies between them.

Every ensemble is Boltzmann's under a restraint -kT eta . T(x), or confined to a state: a free simulation, of which
only what lies within the state counts, samples that state's own ensemble. Neither needs a global sample. MBAR gives
all samples their weights in the unrestrained ensemble.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from spacetime_tps.boltzmann.blocks import blocks_of_time
from spacetime_tps.boltzmann.reweighting import solved, statistical_inefficiency
from spacetime_tps.representations import Representation

EVERYWHERE, WITHIN_A, WITHIN_B = -1, 0, 1
_IMPOSSIBLE_KT = 1e4
"""Potential outside the state that an ensemble is confined to."""


@dataclass(frozen=True)
class Pool:
    """Samples and the ensembles they were drawn in.

    Attributes:
        natural: eta of each ensemble's restraint, zero where there is none, shape (n_ensembles, n_parameters).
        confined: EVERYWHERE, WITHIN_A or WITHIN_B for each ensemble, shape (n_ensembles,).
        features: of the samples, shape (n, n_features).
        in_states: whether a sample lies in A and in B, shape (n, 2).
        ensemble: number of the ensemble that each sample was drawn in, shape (n,).
        walker: number of the independent simulation that each comes from, in the order of time, shape (n,).
    """

    natural: np.ndarray
    confined: np.ndarray
    features: np.ndarray
    in_states: np.ndarray
    ensemble: np.ndarray
    walker: np.ndarray

    @classmethod
    def of_windows(cls, natural: np.ndarray, features: np.ndarray, in_states: np.ndarray) -> Pool:
        """Samples of restrained windows.

        Args:
            natural: shape (n_windows, n_parameters).
            features: shape (n_windows, n_starts, n, n_features).
            in_states: shape (n_windows, n_starts, n, 2).
        """
        windows, starts, each = features.shape[:3]
        walker = np.repeat(np.arange(windows * starts), each)
        return cls(
            natural=natural,
            confined=np.full(windows, EVERYWHERE),
            features=features.reshape(-1, features.shape[-1]),
            in_states=in_states.reshape(-1, 2),
            ensemble=walker // starts,
            walker=walker,
        )

    @classmethod
    def of_state(cls, state: int, features: np.ndarray, in_states: np.ndarray, n_parameters: int) -> Pool:
        """Samples of free simulations that started in a state; what lies outside it is left out.

        Args:
            state: WITHIN_A or WITHIN_B.
            features: shape (n_walkers, n, n_features).
            in_states: shape (n_walkers, n, 2).
            n_parameters: of the representation.
        """
        walkers, each = features.shape[:2]
        kept = in_states.reshape(-1, 2)[:, state]
        return cls(
            natural=np.zeros((1, n_parameters)),
            confined=np.array([state]),
            features=features.reshape(-1, features.shape[-1])[kept],
            in_states=in_states.reshape(-1, 2)[kept],
            ensemble=np.zeros(int(kept.sum()), dtype=int),
            walker=np.repeat(np.arange(walkers), each)[kept],
        )

    def __len__(self) -> int:
        return len(self.features)

    @property
    def counts(self) -> np.ndarray:
        """Samples of each ensemble, shape (n_ensembles,)."""
        return np.bincount(self.ensemble, minlength=len(self.natural))

    def joined(self, other: Pool) -> Pool:
        """Both."""
        walkers = 0 if not len(self) else int(self.walker.max()) + 1
        return Pool(
            natural=np.concatenate([self.natural, other.natural]),
            confined=np.concatenate([self.confined, other.confined]),
            features=np.concatenate([self.features, other.features]),
            in_states=np.concatenate([self.in_states, other.in_states]),
            ensemble=np.concatenate([self.ensemble, other.ensemble + len(self.natural)]),
            walker=np.concatenate([self.walker, other.walker + walkers]),
        )

    def chosen(self, rows: np.ndarray) -> Pool:
        """Some of the samples, a sample perhaps several times."""
        named = ("features", "in_states", "ensemble", "walker")
        return replace(self, **{name: getattr(self, name)[rows] for name in named})

    def uncorrelated(self, representation: Representation) -> Pool:
        """Of every simulation as many samples, evenly in time, as it has independent ones by its slowest statistic."""
        kept = []
        for walker in np.unique(self.walker):
            rows = np.flatnonzero(self.walker == walker)
            seen = representation.statistics(self.features[rows])
            inefficiency = max(statistical_inefficiency(column) for column in seen.T)
            count = max(1, round(len(rows) / inefficiency))
            kept.append(rows[np.linspace(0, len(rows) - 1, count).round().astype(int)])
        return self.chosen(np.concatenate(kept))

    def resampled(self, rng: np.random.Generator, blocks: int) -> Pool:
        """Bootstrap: of every ensemble as many blocks of time as it has, drawn with replacement.

        Args:
            rng: draws them.
            blocks: of every simulation.
        """
        block = blocks_of_time(self.walker, blocks)
        rows = []
        for k in np.unique(self.ensemble):
            mine = np.unique(block[self.ensemble == k])
            rows += [np.flatnonzero(block == b) for b in rng.choice(mine, len(mine))]
        return self.chosen(np.concatenate(rows))


@dataclass(frozen=True)
class Solution:
    """What MBAR makes of a pool.

    Attributes:
        free_energies: of the ensembles [kT], the first zero, shape (n_ensembles,).
        log_weights: of the samples in the unrestrained ensemble, shape (n,).
        errors: standard errors of the differences of free energies by MBAR's asymptotic covariance [kT], and
        overlap: probability that a sample of ensemble i could as well be one of j, both of shape (n_ensembles,
            n_ensembles); None unless asked for.
    """

    free_energies: np.ndarray
    log_weights: np.ndarray
    errors: np.ndarray | None = None
    overlap: np.ndarray | None = None


def solve(
    pool: Pool, representation: Representation, first: np.ndarray | None = None, with_errors: bool = False
) -> Solution:
    """Weights of all samples and free energies of all ensembles; samples count as independent.

    Args:
        pool: samples.
        representation: of its features.
        first: a guess of the free energies, shape (n_ensembles,).
        with_errors: errors and overlap, too.
    """
    order = np.argsort(pool.ensemble, kind="stable")
    found = solved(_reduced(pool, representation)[:, order], pool.counts, first, with_errors)
    log_weights = np.empty(len(pool))
    log_weights[order] = -found.log_mixture
    return Solution(found.free_energies, log_weights, found.errors, found.overlap)


def _reduced(pool: Pool, representation: Representation) -> np.ndarray:
    """Potential of every sample in every ensemble, above the physical one [kT], shape (n_ensembles, n)."""
    reduced = -pool.natural @ representation.statistics(pool.features).T
    for state in (WITHIN_A, WITHIN_B):
        reduced[np.ix_(pool.confined == state, ~pool.in_states[:, state])] = _IMPOSSIBLE_KT
    return reduced
