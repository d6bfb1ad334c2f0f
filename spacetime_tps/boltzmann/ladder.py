"""The temperatures of replica exchange: how many it takes, by short runs at some of them."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from scipy.special import log_ndtr, ndtr

from spacetime_tps.dynamics import MolecularDynamics, advance, energies_of, thermalise
from spacetime_tps.errors import UserError
from spacetime_tps.parallel import WorkerPool
from spacetime_tps.seeds import openmm_seed
from spacetime_tps.units import GAS_CONSTANT

SETTLING_STEPS = 2000
"""At its own temperature before a replica takes part: a strained start would make any exchange a certainty."""
_PILOTS, _PILOT_STEPS, _PILOT_STRIDE = 6, 10_000, 20
_MOST_REPLICAS = 32


def pilot(dynamics: MolecularDynamics, positions: np.ndarray, seed: int) -> float:
    """Mean potential energy [kJ/mol] of a short run at the temperature of ``dynamics``."""
    context = dynamics.context(seed)
    context.setPositions(positions)
    thermalise(context, dynamics.temperature_k, seed)
    advance(context, SETTLING_STEPS)
    energies = []
    for _ in range(_PILOT_STEPS // _PILOT_STRIDE):
        context.getIntegrator().step(_PILOT_STRIDE)
        energies.append(energies_of(context)[0])
    return float(np.mean(energies))


def pilot_energies(
    dynamics: MolecularDynamics, positions: np.ndarray, highest: float, seed: int, pool: WorkerPool
) -> tuple[np.ndarray, np.ndarray, int]:
    """Temperatures [K] up to ``highest``, the mean energies [kJ/mol] of short runs there, and the force evaluations."""
    at = np.geomspace(dynamics.temperature_k, highest, _PILOTS)
    tasks = [(dynamics.at(t), positions, openmm_seed(seed, "pilot", k)) for k, t in enumerate(at.tolist())]
    energies = np.array(pool.map(pilot, tasks))
    return at, energies, _PILOTS * (SETTLING_STEPS + _PILOT_STEPS + _PILOT_STEPS // _PILOT_STRIDE)


@dataclass(frozen=True)
class EnergyCurve:
    """Mean potential energy [kJ/mol] as a parabola of the temperature [K], fitted to short runs."""

    coefficients: np.ndarray

    @classmethod
    def fitted(cls, temperatures: np.ndarray, energies: np.ndarray) -> EnergyCurve:
        """Through mean energies at temperatures, both of shape (n,)."""
        return cls(np.polyfit(temperatures, energies, 2))

    def acceptance(self, cold: float, hot: float) -> float:
        """Expected acceptance of an exchange between two temperatures [K].

        Energies are taken for normal with the variance R T^2 dU/dT, so that Delta = (1/RT - 1/RT')(U - U') is normal
        with mean m and variance v, and E[min(1, exp Delta)] = Phi(m / s) + exp(m + v / 2) Phi(-(m + v) / s).
        """
        both = np.array([cold, hot])
        energy = np.polyval(self.coefficients, both)
        variance = GAS_CONSTANT * both**2 * np.maximum(np.polyval(np.polyder(self.coefficients), both), 1e-9)
        gap = (1 / cold - 1 / hot) / GAS_CONSTANT
        m, v = gap * (energy[0] - energy[1]), gap**2 * variance.sum()
        return float(ndtr(m / np.sqrt(v)) + np.exp(m + v / 2 + log_ndtr(-(m + v) / np.sqrt(v))))


def temperature_ladder(lowest: float, highest: float, curve: EnergyCurve, acceptance: float) -> np.ndarray:
    """Temperatures [K] in geometric progression, as few as keep the expected acceptance between neighbours.

    Raises:
        UserError: they would be too many.
    """
    for count in range(2, _MOST_REPLICAS + 1):
        ladder = np.geomspace(lowest, highest, count)
        if min(curve.acceptance(*pair) for pair in itertools.pairwise(ladder)) >= acceptance:
            return ladder
    raise UserError(
        f"Replica exchange up to {highest:.0f} K would take more than {_MOST_REPLICAS} replicas for this system; lower "
        "sampling.highest_temperature, give sampling.replicas, or sample by metadynamics."
    )
