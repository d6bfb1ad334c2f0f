"""Our geodesic optimiser against the published procedure, and how its cost grows.

Both get the same denoiser: a network defined and trained below, of the kind and size of the published one, on the
alanine dipeptide surface taken as a plane and on Mueller-Brown. The published procedure (arXiv 2505.17517, appendix) is
written here from its description: cubic spline through ten nodes, start at zero displacement, E|x|^2 by the divergence
of the network in reverse mode, each product of differences cut off at zero, Adam at 0.1 for 10,000 steps through a
double backward pass, single precision, network weights not frozen. Ours runs until its energy on a 16 times finer grid
is no higher than the published procedure's final one. Runs alternate; medians are printed.

    python scripts/bench_geodesic.py                # twenty minutes
    python scripts/bench_geodesic.py --repeats 1 --steps 1000
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.interpolate import CubicSpline
from torch import Tensor, nn

from spacetime_tps.config import GeodesicConfig
from spacetime_tps.diffusion.adaptor import NetworkDenoiser, variance_preserving
from spacetime_tps.diffusion.exact import GaussianMixtureDenoiser, GridDenoiser
from spacetime_tps.geometry.constraints import TrainedRange
from spacetime_tps.geometry.curve import chords, curve_energy
from spacetime_tps.geometry.geodesic import optimise_geodesics
from spacetime_tps.representations import Channel, Identity
from spacetime_tps.systems import find_system_file, load_config, load_system

POINTS, FINE_FACTOR, LOG_SNR_END = 128, 16, 4.0
NODES = 10
TRAINED = (-2.0, 8.0)
TRAINING_STEPS, TRAINING_QUERIES = 3000, 40_000
PLANE = Identity(2)


class MeanNetwork(nn.Module):
    """E[x | x_t] from sinusoidal embeddings of x_t and log-SNR, as large as the published network."""

    def __init__(self, width: int = 128, blocks: int = 3, embedding: int = 128):
        super().__init__()
        self.register_buffer("frequencies", torch.logspace(-1.0, 1.0, embedding // 2))
        self.first = nn.Linear(3 * embedding, width)
        self.blocks = nn.ModuleList(nn.Linear(width, width) for _ in range(blocks))
        self.last = nn.Linear(width, 2)

    def forward(self, noisy: Tensor, log_snr: Tensor) -> Tensor:
        """Shapes (..., 2) and (..., 1) to (..., 2)."""
        phases = torch.cat([noisy, 0.25 * log_snr], dim=-1).unsqueeze(-1) * self.frequencies
        h = nn.functional.gelu(self.first(torch.cat([phases.sin(), phases.cos()], dim=-1).flatten(-2)))
        for block in self.blocks:
            h = h + nn.functional.gelu(block(h))
        # What a Gaussian of unit variance would give, and a correction that fades with the noise.
        alpha = variance_preserving(log_snr)
        return alpha * noisy + (1.0 - alpha.square()).sqrt() * self.last(h)


@dataclass(frozen=True)
class Problem:
    """A denoiser and two ends."""

    name: str
    network: MeanNetwork
    start: np.ndarray
    end: np.ndarray


def problem_of(name: str, steps: int) -> Problem:
    """Train the network on the exact posteriors of a reference surface."""
    file = find_system_file(name)
    system = load_system(load_config(file), file.parent)
    surface = system.reference
    assert surface is not None
    exact = GridDenoiser.from_surface(PLANE, surface)
    rng = torch.Generator().manual_seed(0)
    density = torch.softmax(0.25 * torch.from_numpy(surface.log_density()), dim=0)
    points = torch.from_numpy(surface.points())[torch.multinomial(density, TRAINING_QUERIES, True, generator=rng)]
    level = TRAINED[0] + (TRAINED[1] - TRAINED[0]) * torch.rand(len(points), 1, generator=rng, dtype=torch.float64)
    queries = PLANE.noised(points, level, torch.randn(points.shape, generator=rng, dtype=torch.float64))
    with torch.no_grad():
        targets = torch.cat([exact(chunk).mean[:, :2] for chunk in queries.split(500)]).float()
    y, level = (queries[:, :2] / level.exp()).float(), level.float()
    torch.manual_seed(0)
    network = MeanNetwork()
    optimiser = torch.optim.Adam(network.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        rows = torch.randint(len(y), (512,), generator=rng)
        mean = network(variance_preserving(level[rows]) * y[rows], level[rows])
        loss = ((1 + level[rows].exp()) * (mean - targets[rows]).square()).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    ends = system.variables(system.structures)
    print(f"{name}: network trained, mean squared error {loss.item():.1e} in units of the noise", flush=True)
    return Problem(name, network, *(np.append(end, LOG_SNR_END) for end in ends))


def fine_energy(network: MeanNetwork, coordinates: Tensor) -> float:
    """Energy of a curve on the fine grid, in double precision, by the common definition."""
    natural = PLANE.natural(coordinates.double())
    double = MeanNetwork().double()
    double.load_state_dict(network.state_dict())
    with torch.no_grad():
        mean = NetworkDenoiser(double.requires_grad_(False), 2)(natural).mean
    return float(curve_energy(chords(natural, mean)))


def published(problem: Problem, steps: int) -> tuple[float, float]:
    """Final fine-grid energy and seconds of the published procedure."""
    knots = np.linspace(0.0, 1.0, NODES)
    spline = CubicSpline(knots, np.eye(NODES)[:, 1:-1])
    coarse = np.linspace(0.0, 1.0, POINTS)
    basis = torch.tensor(spline(coarse), dtype=torch.float32)
    ends = [torch.tensor(x, dtype=torch.float32) for x in (problem.start, problem.end)]
    s = torch.tensor(coarse, dtype=torch.float32)[:, None]
    line = (1 - s) * scaled(ends[0]) + s * scaled(ends[1])
    nodes = torch.zeros(NODES - 2, 3, requires_grad=True)
    optimiser = torch.optim.Adam([nodes], lr=0.1)
    network = problem.network
    started = time.perf_counter()
    for _ in range(steps):
        optimiser.zero_grad()
        curve = line + basis @ nodes
        noisy, log_snr = curve[:, :2], curve[:, 2:]
        mean = network(noisy, log_snr)
        divergence = sum(
            torch.autograd.grad(mean[:, k].sum(), noisy, create_graph=True)[0][:, k : k + 1] for k in range(2)
        )
        alpha, noise = variance_preserving(log_snr), torch.sigmoid(-log_snr)
        mu = torch.cat([mean, mean.square().sum(-1, keepdim=True) + noise / alpha * divergence], dim=-1)
        eta = torch.cat([alpha / noise * noisy, -0.5 * log_snr.exp()], dim=-1)
        loss = torch.relu(eta.diff(dim=0) * mu.diff(dim=0)).sum()
        loss.backward()
        optimiser.step()
    seconds = time.perf_counter() - started
    fine = np.linspace(0.0, 1.0, (POINTS - 1) * FINE_FACTOR + 1)
    t = torch.tensor(fine)[:, None]
    curve = (1 - t) * scaled(ends[0]) + t * scaled(ends[1]) + torch.tensor(spline(fine)) @ nodes.detach().double()
    return fine_energy(network, unscaled(curve)), seconds


def scaled(coordinates: Tensor) -> Tensor:
    """(y, log-SNR) to (x_t, log-SNR)."""
    return torch.cat([variance_preserving(coordinates[..., -1:]) * coordinates[..., :-1], coordinates[..., -1:]], -1)


def unscaled(coordinates: Tensor) -> Tensor:
    """(x_t, log-SNR) to (y, log-SNR)."""
    return torch.cat([coordinates[..., :-1] / variance_preserving(coordinates[..., -1:]), coordinates[..., -1:]], -1)


def ours(problem: Problem, target: float | None) -> tuple[float, float, int]:
    """Fine-grid energy, seconds and gradient evaluations until the target is met, or to convergence without one."""
    frozen = MeanNetwork()
    frozen.load_state_dict(problem.network.state_dict())
    denoiser = NetworkDenoiser(frozen.requires_grad_(False), 2, dtype=torch.float32)
    rounds = 200 if target is not None else 40
    config = GeodesicConfig(
        points=POINTS, nodes=24, fine_factor=FINE_FACTOR, log_snr_end=LOG_SNR_END, starts=1, steps=0,
        polish_rounds=rounds, polish_steps=10 if target is not None else 40, tolerance=1e-4,
    )  # fmt: skip
    channel = Channel("direct", problem.start, problem.end)
    started = time.perf_counter()
    held = [TrainedRange(PLANE, *TRAINED)]
    geodesic = optimise_geodesics(denoiser, PLANE, [channel], config, held, target_energy=target)[0]
    seconds = time.perf_counter() - started
    return fine_energy(problem.network, torch.from_numpy(geodesic.curve.coordinates)), seconds, geodesic.iterations


def compare(repeats: int, steps: int) -> None:
    """Print the table of both procedures."""
    names = ("problem", "published energy", "published [s]", "our energy then", "ours [s]", "evaluations", "ratio")
    print("| " + " | ".join([*names, "at convergence"]) + " |\n" + "|---" * 8 + "|")
    ratios = []
    for name in ("alanine_dipeptide", "mueller_brown"):
        problem = problem_of(name, TRAINING_STEPS)
        ours(problem, 1e9)  # first call: libraries warm up
        runs = []
        for _ in range(repeats):
            reference, slow = published(problem, steps)
            energy, fast, evaluations = ours(problem, reference)
            runs.append((reference, slow, energy, fast, evaluations))
        reference, slow, energy, fast, evaluations = (float(np.median(column)) for column in zip(*runs, strict=True))
        final, seconds, _ = ours(problem, None)
        ratios.append(slow / fast)
        row = [name, f"{reference:.3f}", f"{slow:.1f}", f"{energy:.3f}", f"{fast:.3f}", f"{evaluations:.0f}"]
        print("| " + " | ".join([*row, f"{slow / fast:.0f}", f"{final:.3f} in {seconds:.2f} s"]) + " |", flush=True)
    print(f"geometric mean of the ratios: {math.exp(np.mean(np.log(ratios))):.0f}\n")


def cost(points: int, dimension: int, curves: int) -> tuple[float, float]:
    """Milliseconds of a gradient evaluation and peak memory [MiB] of an optimisation; in a process of its own."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    denoiser = GaussianMixtureDenoiser(rng.normal(size=(32, dimension)), np.full(32, 0.5), np.ones(32))
    ends = [np.append(rng.normal(size=dimension), LOG_SNR_END) for _ in range(2)]
    channels = [Channel(str(k), *ends) for k in range(curves)]

    def optimise(steps: int) -> float:
        config = GeodesicConfig(points=points, starts=1, steps=steps, polish_rounds=0, fine_factor=1)
        started = time.perf_counter()
        optimise_geodesics(denoiser, Identity(dimension), channels, config)
        return time.perf_counter() - started

    optimise(10)
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far (Linux)
    before = peak_mebibytes()
    short, long = optimise(20), optimise(120)
    return 1e3 * (long - short) / 100, peak_mebibytes() - before


def peak_mebibytes() -> float:
    """Peak resident memory of this process."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def growth() -> None:
    """Print how time and memory grow."""
    print("| points | dimension | curves | ms an evaluation | memory [MiB] |\n|---|---|---|---|---|")
    cases = [(n, 2, 1) for n in (64, 128, 256, 512, 1024)] + [(128, d, 1) for d in (10, 50, 200)]
    cases += [(128, 2, k) for k in (4, 16, 64)]
    for case in cases:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            milliseconds, memory = pool.submit(cost, *case).result()
        print(f"| {case[0]} | {case[1]} | {case[2]} | {milliseconds:.2f} | {memory:.0f} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10_000, help="of the published procedure")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    compare(arguments.repeats, arguments.steps)
    growth()
