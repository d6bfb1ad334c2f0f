"""OpenPathSampling as referee: are our paths accepted as first trajectories, how soon are they forgotten, do we agree?

    spacetime-tps run alanine_dipeptide -o runs/alanine_dipeptide
    python scripts/referee_ops.py runs/alanine_dipeptide           # about half an hour on two cores

An environment of its own is made for OpenPathSampling (constraints-ops.txt). First trajectories of three kinds, ten of
each: annealed along the geodesic of the run, annealed along a straight line at the level of its ends, and cut out of
runs at 500 K. From each, one-way and two-way shooting of flexible length by OpenPathSampling and by this package.

* steps to decorrelation: the first at which the path shares no frame with the first one;
* acceptance, length and MaxFreeEnergy behind the burn-in, and of OpenPathSampling's chains the share of paths that
  cross phi = 0 at psi > 0 (alanine dipeptide's upper tube), each with its error from the scatter between chains;
* steps to typical: the first at which path length and MaxFreeEnergy both lie between the 5 % and 95 % quantiles of the
  equilibrated ensemble (all chains of this package behind their burn-in) and the channel is one that holds at least
  5 % of it.

Intervals are of 68 %, by bootstrap over the first trajectories; a chain that does not get there in time counts with all
of its steps, and the number of those that did is shown.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from own_environment import own_environment
from reproduce_transitions import crossing

from spacetime_tps.analysis.path_metrics import channel_labels
from spacetime_tps.analysis.shooting import Chains
from spacetime_tps.config import BallConfig, ShootingConfig
from spacetime_tps.errors import plain_errors
from spacetime_tps.export.trajectory import MoleculeWriter
from spacetime_tps.files import write_json
from spacetime_tps.paths.ensemble import PathEnsemble
from spacetime_tps.seeds import generator, openmm_seed
from spacetime_tps.shooting.chains import Observables, run_chains
from spacetime_tps.shooting.first import first_path, hot_paths, with_velocities
from spacetime_tps.shooting.path import ShotPath
from spacetime_tps.stages import RunFolder
from spacetime_tps.stages.context import Context, opened
from spacetime_tps.stages.measure import recipe_of
from spacetime_tps.stages.methods import Generators
from spacetime_tps.units import parse_quantity

ROOT = Path(__file__).resolve().parent.parent
HOT_KELVIN = 500.0
MOVERS = ("one_way", "two_way")
KINDS = ("geodesic", "line", "hot")


@dataclass(frozen=True)
class Chain:
    """One chain of either program, behind its first path."""

    accepted: np.ndarray
    length: np.ndarray
    max_free_energy: np.ndarray
    channel: list[str]
    first_decorrelated: int | None
    new_frames: int
    upper: np.ndarray | None = None


# --- first trajectories -------------------------------------------------------------------------


def first_trajectories(context: Context, kind: str, count: int) -> list[ShotPath]:
    """``count`` first paths of a kind with Maxwell-Boltzmann velocities; those that hold no transition are left out."""
    system, recipe, seed = context.system, recipe_of(context), context.config.seed
    found: list[ShotPath] = []
    if kind == "hot":
        assert recipe.dynamics is not None
        factor = HOT_KELVIN / recipe.dynamics.temperature_k
        tasks = [
            (
                recipe,
                factor,
                system.structures[0],
                1,
                50_000_000,
                openmm_seed(seed, "hot", k),
                generator(seed, "hot", k),
            )
            for k in range(count)
        ]
        found = [path for paths, _ in context.pool.map(hot_paths, tasks) for path in paths]
    else:
        if kind == "geodesic":
            paths = PathEnsemble.load(context.folder / "paths.npz")
            frames = list(paths.frames)
        else:
            frames = Generators.of(context).line(False, "line").frames
        for positions in frames:
            if len(found) == count:
                break
            try:
                found.append(first_path(positions, system.variables(positions.astype(float)), system.states))
            except ValueError as error:
                print(f"{kind}: {error}")
    engine = recipe.build(openmm_seed(seed, "velocities", kind))
    rng = generator(seed, "velocities", kind)
    return [with_velocities(path, engine, rng) for path in found]


# --- OpenPathSampling ---------------------------------------------------------------------------


def regions(context: Context) -> dict[str, list[dict[str, Any]]]:
    """The states as plain degrees."""

    def degrees(value: str | float) -> float:
        return float(np.rad2deg(parse_quantity(value, "angle")))

    states = {}
    for key in ("a", "b"):
        rows: list[dict[str, Any]] = []
        for region in getattr(context.config.states, key).any_of:
            if isinstance(region, BallConfig):
                center = {name: degrees(value) for name, value in region.ball.items()}
                rows.append({"ball": center, "radius": degrees(region.radius)})
            else:
                rows.append({name: [degrees(low), degrees(high)] for name, (low, high) in region.items()})
        states[key] = rows
    return states


def ask(python: Path, work: Path, name: str, request: dict[str, Any], path: ShotPath) -> dict[str, Any]:
    """Run one chain of OpenPathSampling."""
    trajectory = work / f"{name}.first.npz"
    np.savez(trajectory, positions=path.positions, velocities=path.velocities, backward=path.backward)
    write_json(work / f"{name}.in.json", request | {"trajectory": str(trajectory)})
    command = [python, ROOT / "scripts/referee_ops_inner.py", work / f"{name}.in.json", work / f"{name}.out.json"]
    quiet = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, env=quiet, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{name}: {done.stderr.strip().splitlines()[-1] if done.stderr.strip() else 'failed'}")
    return json.loads((work / f"{name}.out.json").read_text())


def their_chain(answer: dict[str, Any], work: Path, observables: Observables, turning: dict[int, str]) -> Chain:
    """What OpenPathSampling's chain did."""
    trials = answer["trials"]
    file = Path(answer["paths"])
    with np.load(file if file.is_absolute() else work / file) as data:
        torsions, offsets = data["torsions"], data["offsets"]
    active = [torsions[offsets[k] : offsets[k + 1]] for k in range(len(trials))]
    return Chain(
        accepted=np.array([trial["accepted"] for trial in trials]),
        length=np.array([trial["length"] for trial in trials]),
        max_free_energy=np.array([observables.max_free_energy(v) for v in active]),
        channel=channel_labels(np.array([observables.displacement(v) for v in active]), turning),
        first_decorrelated=answer["first_decorrelated"],
        new_frames=answer["frames_integrated"],
        upper=np.array([crossing(v) > 0.0 for v in active]),
    )


def our_chains(context: Context, first: list[ShotPath], mover: str, steps: int) -> list[Chain]:
    """The same by this package."""
    config = ShootingConfig(move=mover, chains=len(first), steps=steps, burn_in=0, keep_every=steps)
    blocks = run_chains(
        context.system,
        recipe_of(context).dynamics,
        first,
        config,
        context.config.seed,
        context.pool,
        f"referee {mover}",
    )
    chains = Chains.of(blocks, 0, steps)
    done = chains.steps
    found = []
    for c, decorrelated in enumerate(chains.first_decorrelation()):
        labels = channel_labels(done.displacement[c], context.system.turning)
        found.append(
            Chain(
                done.accepted[c], done.length[c], done.max_free_energy[c], labels, decorrelated,
                int(done.new_frames[c].sum()),
            )
        )  # fmt: skip
    return found


# --- the tables ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Typical:
    """The equilibrated ensemble."""

    length: tuple[float, float]
    max_free_energy: tuple[float, float]
    channels: set[str]

    @classmethod
    def of(cls, chains: list[Chain], burn_in: int) -> Typical:
        """From chains behind their burn-in."""
        length = np.concatenate([c.length[burn_in:] for c in chains])
        height = np.concatenate([c.max_free_energy[burn_in:] for c in chains])
        labels = [label for c in chains for label in c.channel[burn_in:]]
        common = {label for label in set(labels) if labels.count(label) >= 0.05 * len(labels)}
        low, high = np.quantile(length, [0.05, 0.95]), np.quantile(height, [0.05, 0.95])
        return cls((low[0], low[1]), (high[0], high[1]), common)

    def reached(self, chain: Chain) -> int | None:
        """First step at which a chain is typical."""
        fits = (
            (chain.length >= self.length[0])
            & (chain.length <= self.length[1])
            & (chain.max_free_energy >= self.max_free_energy[0])
            & (chain.max_free_energy <= self.max_free_energy[1])
            & np.array([label in self.channels for label in chain.channel])
        )
        return int(np.argmax(fits)) + 1 if fits.any() else None


def steps_with_interval(found: list[int | None], steps: int, rng: np.random.Generator) -> str:
    """Mean steps with a bootstrap interval, and how many chains got there."""
    values = np.array([steps if step is None else step for step in found], dtype=float)
    means = rng.choice(values, (2000, len(values))).mean(axis=1)
    low, high = np.quantile(means, [0.16, 0.84])
    return f"{values.mean():6.1f} [{low:5.1f}, {high:5.1f}] {sum(s is not None for s in found):2d}/{len(found)}"


def equilibrated(chains: list[Chain], burn_in: int) -> str:
    """Acceptance, path length and MaxFreeEnergy over chains, errors from the scatter of the chains."""
    columns = (
        [c.accepted[burn_in:].mean() for c in chains],
        [c.length[burn_in:].mean() for c in chains],
        [c.max_free_energy[burn_in:].mean() for c in chains],
    )
    return "   ".join(f"{np.mean(v):7.3f} +- {np.std(v, ddof=1) / np.sqrt(len(v)):.3f}" for v in columns)


def upper_tube(chains: list[Chain], burn_in: int) -> str:
    """Share of paths through the upper tube, its error and its scatter over chains."""
    shares = np.array([chain.upper[burn_in:].mean() for chain in chains if chain.upper is not None])
    if len(shares) < 2:
        return ""
    return (
        f"   upper tube {shares.mean():.3f} +- {shares.std(ddof=1) / np.sqrt(len(shares)):.3f} of {len(shares)} chains"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="finished run folder of a molecule with a reference surface")
    parser.add_argument("--environment", type=Path, default=ROOT / ".venv-ops", help="where OpenPathSampling lives")
    parser.add_argument("--count", type=int, default=10, help="first trajectories of each kind")
    parser.add_argument("--steps", type=int, default=300, help="Monte Carlo steps of each chain")
    parser.add_argument("--burn-in", type=int, default=100)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), help="first trajectories")
    arguments = parser.parse_args()
    python, steps, burn_in = (
        own_environment(arguments.environment, ["-r", ROOT / "constraints-ops.txt"]),
        arguments.steps,
        arguments.burn_in,
    )
    run = RunFolder(arguments.run)
    work = arguments.run / "referee"
    work.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    ours: dict[tuple[str, str], list[Chain]] = {}
    theirs: dict[tuple[str, str], list[Chain]] = {}
    with opened(run, run.config()) as context:
        system, observables, names = context.system, Observables.of(context.system), context.system.variables.names
        assert system.molecule is not None
        assert system.variables.quadruples is not None
        dynamics = context.dynamics()
        (work / "system.xml").write_text(dynamics.system_xml)
        MoleculeWriter(system.molecule.topology, system.structures[0]).structure(work / "topology.pdb")
        request = {
            "system_xml": str(work / "system.xml"),
            "topology_pdb": str(work / "topology.pdb"),
            "temperature_k": dynamics.temperature_k,
            "time_step_ps": dynamics.time_step_ps,
            "friction_per_ps": dynamics.friction_per_ps,
            "platform": dynamics.platform,
            "steps_per_frame": context.config.shooting.frame_every,
            "max_frames": context.config.shooting.max_frames,
            "torsions": dict(zip(names, system.variables.quadruples.tolist(), strict=True)),
            "states": regions(context),
            "steps": steps,
        }
        for kind in arguments.kinds:
            first = first_trajectories(context, kind, arguments.count)
            print(
                f"{kind}: {len(first)} first trajectories of {np.mean([len(p) for p in first]):.0f} frames", flush=True
            )
            for mover in MOVERS:
                ours[kind, mover] = our_chains(context, first, mover, steps)
                jobs = [
                    (python, work, f"{kind}_{mover}_{k}", request | {"mover": mover, "seed": k}, path)
                    for k, path in enumerate(first)
                ]
                with ThreadPoolExecutor(arguments.workers) as threads:
                    answers = list(threads.map(lambda job: ask(*job), jobs))
                good = [answer for answer in answers if answer["accepted_as_initial"]]
                print(f"{kind}, {mover}: {len(good)} of {len(answers)} accepted as initial conditions", flush=True)
                for answer in answers:
                    if not answer["accepted_as_initial"]:
                        print(f"    refused: {answer['reason']}")
                theirs[kind, mover] = [their_chain(answer, work, observables, system.turning) for answer in good]
    typical = Typical.of([c for chains in ours.values() for c in chains], burn_in)
    (short, long), (low, high) = typical.length, typical.max_free_energy
    common = ", ".join(sorted(typical.channels))
    print(f"\nTypical: {short:.0f} to {long:.0f} frames, MaxFreeEnergy {low:.1f} to {high:.1f}, {common}")
    print(f"\n{'first path':12s}{'mover':9s}{'program':18s}{'steps to decorrelation':30s}steps to typical")
    for kind in arguments.kinds:
        for mover in MOVERS:
            for program, table in (("spacetime_tps", ours), ("OpenPathSampling", theirs)):
                chains = table[kind, mover]
                if not chains:
                    continue
                left = steps_with_interval([c.first_decorrelated for c in chains], steps, rng)
                there = steps_with_interval([typical.reached(c) for c in chains], steps, rng)
                print(f"{kind:12s}{mover:9s}{program:18s}{left:30s}{there}")
    print(f"\nBehind {burn_in} steps: acceptance, path length [frames], MaxFreeEnergy, errors over chains")
    for mover in MOVERS:
        for program, table in (("spacetime_tps", ours), ("OpenPathSampling", theirs)):
            chains = [chain for kind in arguments.kinds for chain in table[kind, mover]]
            frames = sum(chain.new_frames for chain in chains)
            evaluations = frames * context.config.shooting.frame_every / len(chains) / 1e6
            print(
                f"{mover:9s}{program:18s}{equilibrated(chains, burn_in)}{upper_tube(chains, burn_in)}   "
                f"{evaluations:.2f} million force evaluations a chain"
            )


if __name__ == "__main__":
    with plain_errors():
        main()
