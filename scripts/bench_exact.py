"""Posteriors of a tabulated density: sums over all points of the grid against products of matrices.

    python scripts/bench_exact.py

Prints milliseconds per thousand queries, with and without a gradient, and the largest difference of the means.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

from spacetime_tps.diffusion.denoiser import Denoiser
from spacetime_tps.diffusion.exact import GridDenoiser, SampleDenoiser
from spacetime_tps.potentials import FreeEnergySurface
from spacetime_tps.representations import Identity, Torsions
from spacetime_tps.systems import systems_folder

_QUERIES, _REPEATS = 1000, 5
_TORSIONS = Torsions(["phi", "psi"], [(0, 1, 2, 3), (1, 2, 3, 4)])


def milliseconds(task: Callable[[], object]) -> float:
    """Median of several calls."""
    times = []
    for _ in range(_REPEATS):
        started = time.perf_counter()
        task()
        times.append(time.perf_counter() - started)
    return 1e3 * statistics.median(times)


def with_gradient(denoiser: Denoiser, natural: torch.Tensor) -> torch.Tensor:
    asked = natural.clone().requires_grad_(True)
    return torch.autograd.grad(denoiser(asked).mean.square().sum(), asked)[0]


def main() -> None:
    torch.set_num_threads(1)
    print("| grid | gradient | sums [ms] | products [ms] | ratio | largest difference |\n|---|---|---|---|---|---|")
    for name, representation in (("mueller_brown", Identity(2)), ("alanine_dipeptide", _TORSIONS)):
        surface = FreeEnergySurface.load(systems_folder() / name / "reference.npz")
        products = GridDenoiser.from_surface(representation, surface)
        sums = SampleDenoiser(representation, products.statistics, products.log_weights)
        likely = torch.multinomial(sums.log_weights.exp(), _QUERIES, replacement=True)
        features = sums.statistics[likely, : representation.n_features]
        level = torch.full((_QUERIES, len(representation.log_snr_coordinates)), 3.0, dtype=torch.float64)
        natural = representation.noised(features, level, torch.randn(features.shape, dtype=torch.float64))
        off = (sums(natural).mean - products(natural).mean).abs().max().item()
        shape = " x ".join(map(str, surface.free_energy.shape))
        for gradient in (False, True):
            task = with_gradient if gradient else lambda denoiser, at: denoiser(at)
            slow, fast = (milliseconds(lambda d=d, t=task, n=natural: t(d, n)) for d in (sums, products))
            times = f"{slow:.0f} | {fast:.1f} | {slow / fast:.0f}"
            print(f"| {name}, {shape} | {'yes' if gradient else 'no'} | {times} | {off:.0e} |")


if __name__ == "__main__":
    main()
