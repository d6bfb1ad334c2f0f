"""Samples of many restrained and confined ensembles as one weighted set, and the free energies between them.

Every ensemble is Boltzmann's under a restraint -kT eta . T(x), or confined to a state: a free simulation, of which
only what lies within the state counts, samples that state's own ensemble. Neither needs a global sample. The biased
samples of a sampler are one more. MBAR gives all of them their weights in the unrestrained ensemble.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial import KDTree
from scipy.special import logsumexp

from spacetime_tps.boltzmann.reweighting import Estimate, Reweighted, SampleSum, estimated, solved
from spacetime_tps.errors import DamagedFileError
from spacetime_tps.files import read_arrays, write_arrays
from spacetime_tps.representations import Identity, Molecular
from spacetime_tps.shapes import check_finite, check_shapes

RIDGE, SAMPLER, EVERYWHERE, WITHIN_A, WITHIN_B = -3, -2, -1, 0, 1
_IMPOSSIBLE_KT = 1e4
"""Potential outside the state that an ensemble is confined to."""
_NEIGHBOURS, _REACH = 16, 2.0 * np.sin(0.5 * np.deg2rad(15.0))
"""Samples that a sampler's bias is averaged over, and how far away they may be."""
_ARRAYS = ("natural", "confined", "features", "in_states", "variables", "ensemble", "walker")


@dataclass(frozen=True)
class Seen:
    """Samples as a pool wants them.

    Attributes:
        features: shape (..., n_features).
        in_states: whether they lie in A and in B, shape (..., 2).
        variables: collective variables, shape (..., n_cv).
    """

    features: np.ndarray
    in_states: np.ndarray
    variables: np.ndarray

    @property
    def flat(self) -> Seen:
        """With one leading axis."""
        return Seen(*(part.reshape(-1, part.shape[-1]) for part in (self.features, self.in_states, self.variables)))

    def __getitem__(self, rows: Any) -> Seen:
        """Some of them."""
        return Seen(self.features[rows], self.in_states[rows], self.variables[rows])


@dataclass(frozen=True)
class Pool:
    """Samples and the ensembles they were drawn in.

    Attributes:
        natural: eta of each ensemble's restraint, zero where there is none, shape (n_ensembles, n_parameters).
        confined: EVERYWHERE, WITHIN_A, WITHIN_B or SAMPLER for each ensemble, shape (n_ensembles,).
        features: of the samples, shape (n, n_features).
        in_states: whether a sample lies in A and in B, shape (n, 2).
        variables: collective variables, shape (n, n_cv).
        ensemble: number of the ensemble that each sample was drawn in, shape (n,).
        walker: number of the independent simulation that each comes from, shape (n,); in the order of time within an
            ensemble.
        sampler: features of a sampler's biased samples, and their log-weights; see ``sampler_bias``.
    """

    natural: np.ndarray
    confined: np.ndarray
    features: np.ndarray
    in_states: np.ndarray
    variables: np.ndarray
    ensemble: np.ndarray
    walker: np.ndarray
    sampler: tuple[np.ndarray, np.ndarray] | None = None

    @classmethod
    def of_windows(
        cls, natural: np.ndarray, seen: Seen, walker: np.ndarray | None = None, kept: np.ndarray | None = None
    ) -> Pool:
        """Samples of restrained windows.

        Args:
            natural: shape (n_windows, n_parameters).
            seen: of leading shape (n_windows, n_starts, n).
            walker: number of the simulation behind each window and start, shape (n_windows, n_starts): one number
                for all whose configurations were exchanged. None: each is one of its own.
            kept: windows whose samples count, shape (n_windows,); the others' free energies follow from these.
        """
        windows, starts, each = seen.features.shape[:3]
        walker = np.arange(windows * starts) if walker is None else walker
        rows = np.repeat(np.ones(windows, dtype=bool) if kept is None else kept, starts * each)
        ensemble = np.repeat(np.arange(windows), starts * each)
        simulation = np.repeat(walker.ravel(), each)
        return cls._of(natural, np.full(windows, EVERYWHERE), seen.flat[rows], ensemble[rows], simulation[rows])

    @classmethod
    def of_state(cls, state: int, seen: Seen, n_parameters: int) -> Pool:
        """Samples of free simulations that started in a state; what lies outside it is left out.

        Args:
            state: WITHIN_A or WITHIN_B.
            seen: of leading shape (n_walkers, n).
            n_parameters: of the representation.
        """
        walkers, each = seen.features.shape[:2]
        return cls.of_walkers(state, seen.flat, np.repeat(np.arange(walkers), each), n_parameters)

    @classmethod
    def of_walkers(cls, state: int, seen: Seen, walker: np.ndarray, n_parameters: int) -> Pool:
        """The same of walkers that have as many samples as they like, leading shape (n,), and their numbers."""
        kept = seen.in_states[:, state]
        ensemble = np.zeros(int(kept.sum()), dtype=int)
        return cls._of(np.zeros((1, n_parameters)), np.array([state]), seen[kept], ensemble, walker[kept])

    @classmethod
    def of_sampler(cls, seen: Seen, log_weights: np.ndarray, walker: np.ndarray, n_parameters: int) -> Pool:
        """Biased samples with log-weights, of whatever sampler.

        Args:
            seen: of leading shape (n,).
            log_weights: shape (n,).
            walker: shape (n,).
            n_parameters: of the representation.
        """
        ensemble = np.zeros(len(walker), dtype=int)
        found = cls._of(np.zeros((1, n_parameters)), np.array([SAMPLER]), seen, ensemble, walker)
        return replace(found, sampler=(seen.features, log_weights))

    @classmethod
    def of_ridges(cls, seen: Seen, window: np.ndarray, walker: np.ndarray, n_parameters: int) -> Pool:
        """Samples of ridge windows, whose restraint the pool does not know: see ``solve``.

        Args:
            seen: of leading shape (n,), those of window 0 first, then those of window 1, and so on.
            window: shape (n,).
            walker: shape (n,).
            n_parameters: of the representation.
        """
        count = int(window.max()) + 1
        return cls._of(np.zeros((count, n_parameters)), np.full(count, RIDGE), seen, window, walker)

    @classmethod
    def _of(
        cls, natural: np.ndarray, confined: np.ndarray, seen: Seen, ensemble: np.ndarray, walker: np.ndarray
    ) -> Pool:
        return cls(natural, confined, seen.features, seen.in_states, seen.variables, ensemble, walker)

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
            variables=np.concatenate([self.variables, other.variables]),
            ensemble=np.concatenate([self.ensemble, other.ensemble + len(self.natural)]),
            walker=np.concatenate([self.walker, other.walker + walkers]),
            sampler=self.sampler or other.sampler,
        )

    def of_ensembles(self, kept: np.ndarray) -> Pool:
        """Some of its ensembles with their samples; which, shape (n_ensembles,)."""
        rows, number = kept[self.ensemble], np.cumsum(kept) - 1
        return replace(
            self,
            natural=self.natural[kept],
            confined=self.confined[kept],
            features=self.features[rows],
            in_states=self.in_states[rows],
            variables=self.variables[rows],
            ensemble=number[self.ensemble[rows]],
            walker=self.walker[rows],
        )

    def save(self, file: Path) -> None:
        """Write to an ``.npz`` file."""
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        if self.sampler is not None:
            arrays |= {"sampler_features": self.sampler[0], "sampler_log_weights": self.sampler[1]}
        write_arrays(file, **arrays)

    @classmethod
    def load(cls, file: Path, stage: str = "refine") -> Pool:
        """Read a file that a stage has written by ``save``.

        Raises:
            DamagedFileError: it is missing, or its arrays are not those of a pool.
        """
        data = read_arrays(file, _ARRAYS)
        again = f"run {stage!r} again with --overwrite"
        check_shapes(
            file,
            data,
            again,
            natural=("ensembles", "parameters"),
            confined=("ensembles",),
            features=("N", "features"),
            in_states=("N", 2),
            variables=("N", "variables"),
            ensemble=("N",),
            walker=("N",),
        )
        check_finite(file, data, again, *_ARRAYS)
        if not 0 <= data["ensemble"].min() <= data["ensemble"].max() < len(data["natural"]):
            raise DamagedFileError(f"{file} is damaged: it holds samples of ensembles that it does not name; {again}.")
        whole = "sampler_features" in data
        sampler = (data["sampler_features"], data["sampler_log_weights"]) if whole else None
        return cls(**{name: data[name] for name in _ARRAYS}, sampler=sampler)


@dataclass(frozen=True)
class Solution:
    """What MBAR makes of a pool.

    Attributes:
        pool: what was solved.
        reweighted: free energies of its ensembles, and the mixture of all.
    """

    pool: Pool
    reweighted: Reweighted

    @property
    def log_weights(self) -> np.ndarray:
        """Of the samples in the unrestrained ensemble, shape (n,)."""
        return -self.reweighted.log_mixture

    def estimate(self, log_targets: np.ndarray, sums: Sequence[SampleSum] = ()) -> Estimate:
        """Free energies -log <h> of functions whose log h(x_n) are given, shape (n, n_targets), and other sums."""
        return estimated(self.reweighted, log_targets, self.pool.ensemble, self.pool.walker, sums)


def solve(pool: Pool, representation: Molecular | Identity, ridges: np.ndarray | None = None) -> Solution:
    """Weights of all samples and free energies of all ensembles.

    Args:
        pool: samples, those of ensemble 0 first, then those of ensemble 1, and so on.
        representation: of its features.
        ridges: log-weights of all samples in the pool's ridge windows, shape (n_ridges, n).
    """
    reduced = _reduced(pool, representation)
    if ridges is not None:
        reduced[pool.confined == RIDGE] = -ridges
    return Solution(pool, solved(reduced, pool.counts))


def _reduced(pool: Pool, representation: Molecular | Identity) -> np.ndarray:
    """Potential of every sample in every ensemble, above the physical one [kT], shape (n_ensembles, n)."""
    reduced = representation.reduced(pool.natural, pool.features)
    for state in (WITHIN_A, WITHIN_B):
        reduced[np.ix_(pool.confined == state, ~pool.in_states[:, state])] = _IMPOSSIBLE_KT
    if pool.sampler is not None:
        reduced[pool.confined == SAMPLER] = sampler_bias(*pool.sampler, pool.features)
    return reduced


def sampler_bias(features: np.ndarray, log_weights: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Potential [kT] that made a sampler's samples what they are, as a function of the features, shape (m,).

    If samples of a density g weigh w to be Boltzmann's, then g(phi) <w>_phi = q(phi) for the densities of any features
    phi. The mean over the samples at phi is taken over the nearest ones; where there are none, nothing can be sampled.

    Args:
        features: of the sampler's samples, shape (n, n_features).
        log_weights: shape (n,).
        at: features at which the bias is wanted, shape (m, n_features).
    """
    count = min(_NEIGHBOURS, len(features))
    distance, near = KDTree(features).query(at, count, distance_upper_bound=_REACH)
    distance, near = distance.reshape(len(at), -1), near.reshape(len(at), -1)
    logs = np.append(log_weights, -np.inf)[near]
    found = np.isfinite(distance).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        bias = logsumexp(logs, axis=1) - np.log(found)
    return np.where(found > 0, bias, _IMPOSSIBLE_KT)
