"""Short free simulations in both states, and a flat background where they saw nothing.

What such a simulation sees within its state are Boltzmann samples of that state; how the states weigh against each
other they do not tell, nor what lies between. Refinement finds out: until it does, both states weigh alike, and what
nobody has seen is taken for a plain at an assumed free energy, so that a geodesic can cross it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial import KDTree
from scipy.special import i0e, logsumexp

from spacetime_tps.boltzmann.recording import Recorder
from spacetime_tps.boltzmann.samples import WeightedSamples
from spacetime_tps.boltzmann.transitions import TransitionRecorder, Transitions, Watched
from spacetime_tps.config import AdaptiveConfig
from spacetime_tps.dynamics import MolecularDynamics, advance, positions_of, thermalise
from spacetime_tps.parallel import WorkerPool
from spacetime_tps.progress import progress_bar
from spacetime_tps.representations import Channel, Torsions
from spacetime_tps.seeds import openmm_seed

_LOOK_AT_ONCE = 500
_SEEN = np.deg2rad(30.0)
"""What lies nearer to a sample in every torsion taken together is no unknown land: four widths of a usual kernel."""
MOST_COVERED = 3
"""Torsions whose whole torus can be covered with points."""
_PROBES = 500
"""Likely samples among which the bottom is looked for."""


@dataclass(frozen=True)
class FreeSamples:
    """What walkers in either state saw within their state.

    Attributes:
        seen: what was recorded of each sample (see ``Recorder``), shape (n, n_recorded).
        log_weights: that make both states weigh alike, shape (n,).
        walker: number of the walker that each sample comes from, shape (n,).
        frames: some positions [nm], shape (m, n_atoms, 3).
        transitions: that a walker made by itself.
        force_evaluations: total.
        left: share of the looks of the walkers of A and of B that lay outside their state.
    """

    seen: np.ndarray
    log_weights: np.ndarray
    walker: np.ndarray
    frames: np.ndarray
    transitions: Transitions
    force_evaluations: int
    left: list[float]


@dataclass(frozen=True)
class _Walk:
    dynamics: MolecularDynamics
    start_nm: np.ndarray
    state: int
    watched: Watched
    recorded: Recorder
    config: AdaptiveConfig
    seed: int


def sample_free_runs(
    dynamics: MolecularDynamics,
    structures: np.ndarray,
    watched: Watched,
    recorded: Recorder,
    config: AdaptiveConfig,
    seed: int,
    pool: WorkerPool,
) -> FreeSamples:
    """Simulate both states.

    Args:
        dynamics: of the molecule.
        structures: in A and in B [nm], shape (2, n_atoms, 3).
        watched: the states.
        recorded: what is kept of each sample.
        config: number of walkers, lengths and intervals.
        seed: of the run.
        pool: where walkers run.
    """
    tasks = [
        _Walk(dynamics, structures[k], k, watched, recorded, config, openmm_seed(seed, "free runs", k, w))
        for k in range(2)
        for w in range(config.walkers)
    ]
    with progress_bar(len(tasks), "free simulations", "walker") as bar:
        found = pool.map(_walk, [(task,) for task in tasks], bar)
    recorded_of, frames, transitions = zip(*found, strict=True)
    counts = [sum(map(len, recorded_of[k * config.walkers : (k + 1) * config.walkers])) for k in range(2)]
    discard, looks, every = _lengths(dynamics, config)
    return FreeSamples(
        seen=np.concatenate(recorded_of),
        log_weights=np.concatenate([np.full(n, -np.log(max(1, n))) for n in counts]),
        walker=np.repeat(np.arange(len(tasks)), [len(rows) for rows in recorded_of]),
        frames=np.concatenate(frames),
        transitions=Transitions.joined(transitions),
        force_evaluations=len(tasks) * (discard + looks * every),
        left=[1.0 - n / (config.walkers * looks) for n in counts],
    )


def _lengths(dynamics: MolecularDynamics, config: AdaptiveConfig) -> tuple[int, int, int]:
    """Of every walker: integration steps before it is looked at, looks, and steps from look to look."""
    every = dynamics.steps(config.sample_interval)
    looks = max(1, dynamics.steps(config.time) // config.walkers // every)
    return dynamics.steps(config.discard_time), looks, every


def _walk(task: _Walk) -> tuple[np.ndarray, np.ndarray, Transitions]:
    """What is recorded of the looks within the state, some frames, and transitions."""
    config, dynamics, watched = task.config, task.dynamics, task.watched
    context = dynamics.context(task.seed)
    context.setPositions(task.start_nm)
    thermalise(context, dynamics.temperature_k, task.seed)
    discard, looks, every = _lengths(dynamics, config)
    advance(context, discard)
    keep = max(1, dynamics.steps(config.frame_interval) // every)
    recorder = TransitionRecorder(watched.states)
    kept, frames = [], []
    for begin in range(0, looks, _LOOK_AT_ONCE):
        seen = []
        for _ in range(min(_LOOK_AT_ONCE, looks - begin)):
            context.getIntegrator().step(every)
            seen.append(positions_of(context))
        positions = np.array(seen)
        variables = watched.variables(positions)
        recorder.look(variables, positions)
        inside = watched.states[task.state].contains(variables)
        kept.append(task.recorded(positions)[inside])
        frames.append(positions[::keep].astype(np.float32))
    return np.concatenate(kept), np.concatenate(frames), recorder.transitions()


def with_background(
    samples: WeightedSamples,
    torsions: Torsions,
    ends: np.ndarray,
    log_snr: float,
    config: AdaptiveConfig,
    rng: np.random.Generator,
) -> WeightedSamples:
    """The samples, and a plain of equal points at ``config.background_kt`` above the bottom where there are none.

    Of up to three torsions the plain is the whole torus. More of them leave too much of it: there the points lie about
    the straight ways between the ends, one for every channel.

    Args:
        samples: of the states and of what else was seen.
        torsions: of the representation.
        ends: features of the end structures, shape (2, n_features).
        log_snr: level at which densities are compared, and how sharply points lie about a way.
        config: height of the plain, and how many points make up the whole of it.
        rng: scatters them and draws the samples among which the bottom is looked for.
    """
    n, radius = torsions.n_torsions, float(np.exp(log_snr))
    whole = n <= MOST_COVERED
    points = (
        rng.uniform(-np.pi, np.pi, (config.background_points, n))
        if whole
        else _about_ways(torsions.channels(ends[0], ends[1], log_snr), config.background_points, radius, rng)
    )
    features = torsions.features_of_angles(points)
    # Two draws of one kernel are the farther apart the more torsions there are.
    reach = _SEEN * np.sqrt(max(1.0, n / MOST_COVERED))
    tree = KDTree(samples.features)
    unseen = tree.query(features, distance_upper_bound=2.0 * np.sin(min(0.5 * reach, 0.5 * np.pi)))[0] == np.inf
    log_weights = samples.log_weights - np.logaddexp.reduce(samples.log_weights)

    def smoothed(at: np.ndarray, of: np.ndarray, logs: np.ndarray) -> np.ndarray:
        return logsumexp(radius * (at @ of.T - n) + logs, axis=1)

    likely = rng.choice(len(log_weights), _PROBES, p=np.exp(log_weights))
    highest = smoothed(samples.features[likely], samples.features, log_weights).max()
    if whole:
        level = n * np.log(i0e(radius)) + np.log(config.background_points)
    else:
        probes = features[rng.choice(len(features), _PROBES)]
        level = float(np.median(smoothed(probes, features, np.zeros(len(features)))))
    return replace(
        samples,
        features=np.concatenate([samples.features, features[unseen]]),
        log_weights=np.concatenate([log_weights, np.full(int(unseen.sum()), highest - config.background_kt - level)]),
    )


def _about_ways(channels: list[Channel], count: int, radius: float, rng: np.random.Generator) -> np.ndarray:
    """Angles [rad], shape (count, n_torsions), scattered about the straight lines of channels, each as often."""
    first, last = (np.array([getattr(channel, end)[1::2] for channel in channels]) for end in ("start", "end"))
    which, share = rng.integers(len(channels), size=count), rng.uniform(size=(count, 1))
    return first[which] + share * (last - first)[which] + rng.normal(0.0, radius**-0.5, (count, first.shape[1]))
