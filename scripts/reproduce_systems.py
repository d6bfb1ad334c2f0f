"""What the shipped systems without a reference surface show, from finished run folders.

    spacetime-tps run glycine_dipeptide -o runs/glycine_dipeptide        # and proline_dipeptide, alanine_tetrapeptide
    python scripts/reproduce_systems.py runs/glycine_dipeptide runs/proline_dipeptide runs/alanine_tetrapeptide

For each: the free-energy difference of the states by the samples; arrival; the model against restrained windows; the
barrier by the windows beside the least possible one (minimax) on a grid of the run's own samples, both smoothed at the
same level, where the representation has at most three torsions. For glycine dipeptide, which is its own mirror image,
Kolmogorov-Smirnov tests of the paths from A at s against the mirrored paths from B at 1 - s.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import ks_2samp

from spacetime_tps.analysis.minimax import minimax_between
from spacetime_tps.boltzmann.samples import WeightedSamples
from spacetime_tps.errors import plain_errors
from spacetime_tps.files import read_json
from spacetime_tps.paths.ensemble import PathEnsemble
from spacetime_tps.potentials import FreeEnergySurface
from spacetime_tps.representations import Torsions
from spacetime_tps.stages import STAGES
from spacetime_tps.stages.context import Context, opened
from spacetime_tps.stages.folder import RunFolder
from spacetime_tps.stages.sample import load_samples

GRID = {1: 360, 2: 120, 3: 60}
"""Points an axis by the number of torsions."""


def surface_of_samples(torsions: Torsions, samples: WeightedSamples, kt: float, log_snr: float) -> FreeEnergySurface:
    """Free energy of the weighted samples, smoothed by the restraint: a product of one kernel for each torsion.

    A grid of three torsions has too many points to ask the posterior at each; the product makes it matrix products.
    """
    n_torsions = torsions.n_torsions
    points = GRID[n_torsions]
    axis = np.linspace(-np.pi, np.pi, points, endpoint=False)
    angles = torsions.center(samples.features)
    kernels = [np.exp(np.exp(log_snr) * (np.cos(axis[:, None] - column) - 1)) for column in angles.T]
    weights = np.exp(samples.log_weights - samples.log_weights.max())
    if n_torsions == 3:
        last = kernels[2].T.copy()
        density = np.stack([(kernels[1] * (weights * row)) @ last for row in kernels[0]])
    else:
        density = (kernels[0] * weights) @ (kernels[1].T if n_torsions == 2 else np.ones(len(weights)))
    with np.errstate(divide="ignore"):
        free_energy = -kt * np.log(density)
    return FreeEnergySurface(
        names=tuple(torsions.block_names),
        origin=np.full(n_torsions, -np.pi),
        spacing=np.full(n_torsions, 2 * np.pi / points),
        periodic=np.ones(n_torsions, dtype=bool),
        free_energy=free_energy - free_energy.min(),
        error=np.full(density.shape, np.nan),
        source="samples",
        kt=kt,
    )


def minimax_of_samples(context: Context, samples: WeightedSamples) -> tuple[float, np.ndarray] | None:
    """The least possible barrier between the states, above the bottom of A [kJ/mol], and its saddle [rad]."""
    system, torsions = context.system, context.system.representation
    if not isinstance(torsions, Torsions) or torsions.n_torsions not in GRID:
        return None
    surface = surface_of_samples(torsions, samples, system.kt, context.config.geodesic.surface_log_snr)
    points, shape = surface.points(), surface.free_energy.shape
    # States are asked for in the order of the collective variables.
    columns = [surface.names.index(name) if name in surface.names else -1 for name in system.variables.names]
    if -1 in columns:
        return None
    masks = [state.contains(points[:, columns]).reshape(shape) for state in system.states]
    bound = minimax_between(surface, *masks)
    return bound.barrier - surface.free_energy[masks[0]].min(), bound.saddle


def mirrored(paths: PathEnsemble, names: list[str]) -> list[str]:
    """KS tests of forward paths against mirrored backward ones, at equal shares of their own way."""
    lines = []
    for share in (0.25, 0.5, 0.75):
        at = round(share * (paths.variables.shape[1] - 1))
        for k, name in enumerate(names):
            ahead, back = paths.variables[paths.forward, at, k], -paths.variables[~paths.forward, at, k]
            middle = np.angle(np.exp(1j * np.concatenate([ahead, back])).mean())
            turned = [np.angle(np.exp(1j * (values - middle))) for values in (ahead, back)]
            p = ks_2samp(*turned).pvalue
            means = [np.rad2deg(np.angle(np.exp(1j * values).mean())) for values in (ahead, back)]
            lines.append(f"    {name} at {share:.2f} of the way: {means[0]:7.1f} and {means[1]:7.1f} deg, KS p {p:.2f}")
    p = ks_2samp(paths.work_kt[paths.forward], paths.work_kt[~paths.forward]).pvalue
    works = [paths.work_kt[side].mean() for side in (paths.forward, ~paths.forward)]
    return [*lines, f"    work {works[0]:.2f} and {works[1]:.2f} kT, KS p {p:.2f}"]


def describe(folder: Path) -> list[str]:
    run = RunFolder(folder)
    summary: dict[str, Any] = read_json(folder / "summary.json")
    sampling, windows, paths = summary["sampling"], summary["windows"], summary["paths"]
    difference, barrier = sampling["delta_f_states_kj_mol"], windows["barrier_kj_mol"]
    ratios = [point["ratio"] for point in windows["points"]]
    flags = [point["flag"] for point in windows["points"]]
    chosen = summary["geodesic"]["channels"][0]
    lines = [
        f"{summary['system']}, seed {summary['seed']}",
        f"    states, B minus A: {difference['value']:.2f} +- {difference['error']:.2f} kJ/mol; "
        f"{sampling['effective_samples']:.0f} effective of {sampling['samples']} samples, "
        f"{sampling['transitions']} transitions, connected: {sampling['connected']}",
        f"    channel {chosen['label']} of {summary['geodesic']['channels_tried']}, converged: {chosen['converged']}",
        f"    arrived {paths['arrived_fraction']:.0%} of {paths['count']}, started {paths['started_fraction']:.0%}, "
        f"dissipated {paths['dissipated_work_kt']['forward']:.2f} and {paths['dissipated_work_kt']['backward']:.2f} kT",
        f"    windows: {windows['close_fraction']:.0%} of {windows['count']} within a factor 1.5, ratios "
        f"{min(ratios):.2f} to {max(ratios):.2f}, flags {flags.count('off')} off and {flags.count('wrong')} wrong",
        f"    barrier by windows {barrier['value']:.2f} +- {barrier['error']:.2f} kJ/mol",
    ]
    with opened(run, run.config()) as context:
        bound = minimax_of_samples(context, load_samples(context))
        if bound is not None:
            saddle = ", ".join(f"{np.rad2deg(x):.0f}" for x in bound[1])
            lines.append(f"    least possible on the run's own samples {bound[0]:.2f} kJ/mol at ({saddle}) deg")
        if summary["system"] == "glycine_dipeptide":
            lines += mirrored(PathEnsemble.load(folder / "paths.npz"), context.system.variables.names)
    wall = {stage: round(seconds) for stage, seconds in summary["wall_seconds"].items() if stage in STAGES}
    return [*lines, f"    {sum(summary['force_evaluations'].values()):,} force evaluations; seconds {wall}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, help="finished run folders")
    for folder in parser.parse_args().runs:
        print("\n".join(describe(folder)), flush=True)


if __name__ == "__main__":
    with plain_errors():
        main()
