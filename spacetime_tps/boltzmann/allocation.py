"""How many more samples, and where, bring standard errors down to what is wanted at the least cost.

The variance of a free energy by MBAR is a sum over independent simulations. With n_b samples in stratum b it is
sum_b sigma_b^2 / n_b, and the cheapest n_b that reach a limit are in proportion to sigma_b (Neyman, J. R. Stat. Soc.
97, 558 (1934)); what has been sampled already is not given back.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq


def samples_wanted(variance: np.ndarray, samples: np.ndarray, limit: float) -> np.ndarray:
    """Samples of each stratum, those that there are among them, with which a sum of variances is within a limit.

    Args:
        variance: what each stratum adds to the variance with the samples that there are, shape (n_strata,).
        samples: of each, shape (n_strata,).
        limit: of the sum, positive.

    Returns:
        shape (n_strata,); no whole numbers.
    """
    have = samples.astype(float)
    if variance.sum() <= limit:
        return have
    sigma = np.sqrt(variance * have)
    used = sigma > 0.0

    def beyond(log_factor: float) -> float:
        wanted = np.maximum(have, np.exp(log_factor) * sigma)
        return float(np.log((np.square(sigma[used]) / wanted[used]).sum() / limit))

    # With factor sum(sigma) / limit in every stratum the sum is the limit exactly, without regard to what there is.
    most = np.log(sigma.sum() / limit)
    least = np.log((have[used] / sigma[used]).min())
    if beyond(least) <= 0.0:
        return have
    return np.maximum(have, np.exp(brentq(beyond, least, max(most, least) + 1e-9)) * sigma)


def shares_along(strata: np.ndarray) -> np.ndarray:
    """Where on a curve that is divided into equal strata a number of windows for each go, evenly spread in it.

    Args:
        strata: windows in each, shape (n_strata,), whole numbers.

    Returns:
        shares of the curve, ascending, shape (strata.sum(),).
    """
    count = len(strata)
    return np.concatenate([(k + (np.arange(n) + 0.5) / n) / count for k, n in enumerate(strata) if n] or [np.zeros(0)])
