"""Free energies by windows on Müller-Brown, where quadrature knows them: do intervals cover, and which spacing is best?

Restrained windows along the geodesic of the exact posterior and free walkers in both states give the free-energy
difference of the states by MBAR, many times over with seeds fixed beforehand. Coverage counts how often the truth lies
within one and within 1.96 standard errors (68.3 and 95 %). The same number of windows, of the same length, is then put
at equal steps of Fisher-Rao length, of position, and of log-SNR; ratios of squared errors come with 95 % intervals by
bootstrap over repetitions.

    python scripts/bench_free_energies.py           # five minutes
"""

from __future__ import annotations

import argparse

import numpy as np
import torch

from spacetime_tps.analysis.free_energies import difference_of_states, least_overlap
from spacetime_tps.boltzmann.pool import WITHIN_A, WITHIN_B, Pool, Seen, solve
from spacetime_tps.boltzmann.windows import WindowSteps, sample_windows_of_potential
from spacetime_tps.diffusion.exact import GridDenoiser, SampleDenoiser
from spacetime_tps.errors import plain_errors
from spacetime_tps.geometry.constraints import LowVariance
from spacetime_tps.geometry.curve import FineCurve, evaluate
from spacetime_tps.geometry.geodesic import optimise_geodesics
from spacetime_tps.progress import progress_bar
from spacetime_tps.representations import Identity
from spacetime_tps.systems import System, find_system_file, load_config, load_system

STEPS = WindowSteps(equilibration=400, sampled=2000, every=20, time_step=1e-4)
WALKERS = 2
ROUGH = {"points": 48, "fine_factor": 8, "starts": 1, "steps": 100, "polish_rounds": 8, "polish_steps": 20}
"""The posterior of a grid is exact and slow; any curve near the geodesic will do."""
GRID = 2000


def exact_difference(system: System) -> float:
    """F(B) - F(A) [kT] by quadrature."""
    assert system.potential is not None
    (x0, x1), (y0, y1) = system.config.system.box
    x, y = np.linspace(x0, x1, GRID), np.linspace(y0, y1, GRID)
    points = np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1).reshape(-1, 2)
    energy = system.potential.energy(torch.from_numpy(points)).numpy() / system.potential_kt
    weights = np.exp(-energy + energy.min())
    in_a, in_b = (weights[state.contains(points)].sum() for state in system.states)
    return float(np.log(in_a / in_b))


def geodesic_of(system: System, denoiser: SampleDenoiser) -> FineCurve:
    """Of the exact posterior, low variance held."""
    config, space = system.config.geodesic.model_copy(update=ROUGH), system.representation
    channels = space.channels(*space.features(system.structures), config.log_snr_end)
    held = [LowVariance(space.max_block_variance(config.low_variance))]
    return optimise_geodesics(denoiser, space, channels, config, held)[0].curve


def spaced(curve: FineCurve, count: int, how: str) -> np.ndarray:
    """Natural parameters of windows, shape (count, 3)."""
    chart = curve.coordinates
    steps = {
        "Fisher-Rao": np.sqrt(np.maximum(curve.chords, 0.0)),
        "position": np.linalg.norm(np.diff(chart[:, :-1], axis=0), axis=-1),
        "log-SNR": np.abs(np.diff(chart[:, -1])),
    }[how]
    travelled = np.concatenate([[0.0], np.cumsum(steps + 1e-9 * steps.max())])
    wanted = np.linspace(0.0, travelled[-1], count)
    coordinates = np.stack([np.interp(wanted, travelled, column) for column in chart.T], axis=-1)
    return Identity(2).natural(torch.from_numpy(coordinates)).numpy()


def repetitions(
    system: System, denoiser: SampleDenoiser, natural: np.ndarray, count: int, seed: int
) -> tuple[np.ndarray, np.ndarray, float]:
    """Differences and their errors, shape (count,), and the median of the least overlaps; all walkers in one batch."""
    assert isinstance(system.representation, Identity)
    assert system.potential is not None
    etas = np.concatenate([np.zeros((1, 3)), natural, np.zeros((1, 3))])
    means = evaluate(denoiser, torch.from_numpy(natural)).mean.numpy()[:, :2]
    starts = np.concatenate([system.structures[:1], means, system.structures[1:]])
    walkers = np.repeat(starts[:, None], count * WALKERS, axis=1)
    potential, kt, space = system.potential, system.potential_kt, system.representation
    points, _ = sample_windows_of_potential(potential, kt, space, etas, walkers, STEPS, seed)
    seen = Seen(points, np.stack([state.contains(points) for state in system.states], axis=-1), points)
    found = []
    with progress_bar(count, "MBAR", "repetition") as bar:
        for k in range(count):
            mine = slice(k * WALKERS, (k + 1) * WALKERS)
            ends = [Pool.of_state(s, seen[e, mine], 3) for s, e in ((WITHIN_A, 0), (WITHIN_B, -1))]
            windows = Pool.of_windows(natural, seen[1:-1, mine])
            solution = solve(ends[0].joined(windows).joined(ends[1]), space)
            found.append((*difference_of_states(solution), least_overlap(solution)))
            bar.update()
    values, errors, overlaps = np.array(found).T
    return values, errors, float(np.median(overlaps))


def ratio_interval(of: np.ndarray, to: np.ndarray, rng: np.random.Generator) -> tuple[float, float, float]:
    """Mean squared errors' ratio, with a 95 % interval."""
    drawn = [rng.choice(of, len(of)).mean() / rng.choice(to, len(to)).mean() for _ in range(10_000)]
    return float(of.mean() / to.mean()), *np.percentile(drawn, [2.5, 97.5])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=200)
    parser.add_argument("--windows", type=int, default=12)
    given = parser.parse_args()
    torch.set_num_threads(1)
    file = find_system_file("mueller_brown")
    system = load_system(load_config(file), file.parent)
    assert system.reference is not None
    denoiser = GridDenoiser.from_surface(system.representation, system.reference)
    curve, truth = geodesic_of(system, denoiser), exact_difference(system)
    each = WALKERS * (STEPS.equilibration + STEPS.sampled)
    print(
        f"B - A by quadrature {truth:.4f} kT; geodesic of length {curve.length:.1f}, {given.windows} windows and both"
    )
    print(f"states, {each} steps each, {given.repetitions} repetitions")
    squares = {}
    for k, how in enumerate(("Fisher-Rao", "position", "log-SNR")):
        natural = spaced(curve, given.windows, how)
        values, errors, overlap = repetitions(system, denoiser, natural, given.repetitions, seed=k)
        off = values - truth
        squares[how] = np.square(off)
        one, two = (int(np.count_nonzero(np.abs(off) <= z * errors)) for z in (1.0, 1.96))
        told = np.sqrt(np.mean(errors**2))
        print(
            f"{how:11s} bias {off.mean():+.3f}, scatter {off.std(ddof=1):.3f}, told {told:.3f} kT; "
            f"{one} and {two} of {len(off)} within 1 and 1.96 errors; least overlap {overlap:.3f}"
        )
    rng = np.random.default_rng(0)
    for how in ("position", "log-SNR"):
        ratio, low, high = ratio_interval(squares[how], squares["Fisher-Rao"], rng)
        print(f"squared error, {how} over Fisher-Rao: {ratio:.2f} [{low:.2f}, {high:.2f}]")


if __name__ == "__main__":
    with plain_errors():
        main()
