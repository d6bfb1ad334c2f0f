"""Numbers known without the package: closed forms, and averages by plain summation on fine grids (NumPy only)."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import numpy as np

# --- 1-D Gaussian data: spacetime is the hyperbolic half-plane ------------------------------------------------------


def gaussian_posterior(data_mean: float, data_std: float, y: float, log_snr: float) -> tuple[float, float]:
    """Mean and standard deviation of p(x | y, lambda) ~ N(x; data_mean, data_std^2) exp(-SNR/2 (x - y)^2)."""
    precision, snr = data_std**-2, math.exp(log_snr)
    return (precision * data_mean + snr * y) / (precision + snr), (precision + snr) ** -0.5


def gaussian_query(data_mean: float, data_std: float, mean: float, std: float) -> tuple[float, float]:
    """The (y, log-SNR) whose posterior is N(mean, std^2); inverse of ``gaussian_posterior``, needs std < data_std."""
    snr = std**-2 - data_std**-2
    return (mean / std**2 - data_mean / data_std**2) / snr, math.log(snr)


def half_plane_distance(m1: float, s1: float, m2: float, s2: float) -> float:
    """Fisher-Rao distance between N(m1, s1^2) and N(m2, s2^2)."""
    return math.sqrt(2) * math.acosh(1 + ((m1 - m2) ** 2 / 2 + (s1 - s2) ** 2) / (2 * s1 * s2))


def gaussian_log_partition(data_mean: np.ndarray, data_std: float, eta: np.ndarray) -> float:
    """psi = log E[exp(eta . (x, |x|^2))] for x ~ N(data_mean, data_std^2), coordinate by coordinate on a grid."""
    x = np.linspace(-12, 12, 200_001) * data_std
    psi = 0.0
    for mean, linear in zip(data_mean, eta[:-1], strict=True):
        exponent = linear * (mean + x) + eta[-1] * (mean + x) ** 2 - 0.5 * (x / data_std) ** 2
        top = exponent.max()
        psi += top + math.log(np.exp(exponent - top).sum() * (x[1] - x[0]) / (data_std * math.sqrt(2 * math.pi)))
    return psi


# --- von Mises ------------------------------------------------------------------------------------------------------


def circle(size: int = 20_000) -> np.ndarray:
    """Angles of a fine grid of the circle, end point left out (the sum over them is exponentially accurate)."""
    return -np.pi + 2 * np.pi * np.arange(size) / size


def log_bessel_i0(concentration: float) -> float:
    """log I0(k) = log of the mean of exp(k cos t) over the circle."""
    return concentration + math.log(np.exp(concentration * (np.cos(circle()) - 1)).mean())


def von_mises_mean_length(concentration: float) -> float:
    """A(k) = I1(k) / I0(k): the mean resultant length, the mean of cos t under exp(k cos t)."""
    t = circle()
    weights = np.exp(concentration * (np.cos(t) - 1))
    return float((weights * np.cos(t)).sum() / weights.sum())


# --- one-dimensional averages ---------------------------------------------------------------------------------------


def boltzmann_average(
    quantity: Callable[[np.ndarray], np.ndarray], energy: Callable[[np.ndarray], np.ndarray], kt: float, reach: float
) -> float:
    """Average of ``quantity`` under exp(-energy / kt) over [-reach, reach]."""
    x = np.linspace(-reach, reach, 200_001)
    u = energy(x)
    weights = np.exp(-(u - u.min()) / kt)
    return float((weights * quantity(x)).sum() / weights.sum())


# --- geometry of atoms ----------------------------------------------------------------------------------------------


def four_atoms(torsion: float, bond: float = 0.15, angle: float = math.radians(110)) -> np.ndarray:
    """A chain of four atoms, shape (4, 3), with the given dihedral angle (IUPAC sign: clockwise is positive)."""
    # Looking from atom 2 to atom 3 (along +x), atom 1 points to +y; clockwise turns +y towards +z.
    along, aside = -bond * math.cos(angle), bond * math.sin(angle)
    return np.array(
        [
            [-along, aside, 0.0],
            [0.0, 0.0, 0.0],
            [bond, 0.0, 0.0],
            [bond + along, aside * math.cos(torsion), aside * math.sin(torsion)],
        ]
    )


# --- statistics -----------------------------------------------------------------------------------------------------


def ratio_with_error(numerators: np.ndarray, denominators: np.ndarray) -> tuple[float, float]:
    """sum(numerators) / sum(denominators) over independent blocks, and its standard error (delta method)."""
    ratio = numerators.sum() / denominators.sum()
    residuals = numerators - ratio * denominators
    n = len(numerators)
    return float(ratio), float(math.sqrt(np.square(residuals).sum() * n / (n - 1)) / denominators.sum())


# --- messages -------------------------------------------------------------------------------------------------------


def is_one_sentence(message: str) -> bool:
    """One line that ends in a full stop and holds no other end of a sentence."""
    return "\n" not in message and message.endswith(".") and not re.search(r"[.!?]\s+[A-Z]", message)


# --- rates of a discretised overdamped chain ------------------------------------------------------------------------


def euler_maruyama_rates(
    drift: Callable[[np.ndarray], np.ndarray], kt: float, dt: float, a: float, b: float, grid: np.ndarray
) -> tuple[float, float, float]:
    """k_AB and k_BA per unit of time, and p_A, of x -> x + dt drift + sqrt(2 kT dt) xi, A below ``a``, B above ``b``.

    The chain as it is run, looked at after every step: its own stationary distribution, its committor, and that of the
    reversed chain for where it came from, by solving linear equations on a grid.
    """
    mean = grid + dt * drift(grid)
    forward = np.exp(-((grid[None, :] - mean[:, None]) ** 2) / (4 * kt * dt))
    forward /= forward.sum(axis=1, keepdims=True)
    balance = forward.T - np.eye(len(grid))
    balance[-1] = 1.0
    stationary = np.linalg.solve(balance, np.eye(len(grid))[-1])
    reversed_chain = forward.T * stationary[None, :] / stationary[:, None]
    in_a, in_b = grid <= a, grid >= b

    def first(chain: np.ndarray, target: np.ndarray, other: np.ndarray) -> np.ndarray:
        between, found = ~(target | other), target.astype(float)
        inner = np.eye(int(between.sum())) - chain[np.ix_(between, between)]
        found[between] = np.linalg.solve(inner, chain[np.ix_(between, target)].sum(axis=1))
        return found

    to_b, from_a = first(forward, in_b, in_a), first(reversed_chain, in_a, in_b)
    flux = float((stationary * in_a) @ (forward @ to_b)) / dt
    p_a = float(stationary @ from_a)
    return flux / p_a, flux / (1.0 - p_a), p_a
