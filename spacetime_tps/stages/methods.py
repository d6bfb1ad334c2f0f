"""Every way of making paths that ``compare`` knows, run on the samples and the denoiser of one run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import torch

from spacetime_tps.analysis.path_metrics import integrated_autocorrelation_time
from spacetime_tps.analysis.rates import SOUND_K, pareto_k, resampled
from spacetime_tps.analysis.shooting import Chains, mean_with_error
from spacetime_tps.baselines.lines import line_curves, steered_schedule, straightened, string_curves
from spacetime_tps.baselines.ratchet import Ratchet, ratchet_molecule, ratchet_toy
from spacetime_tps.baselines.unbiased import unbiased_transitions
from spacetime_tps.boltzmann.transitions import Transitions
from spacetime_tps.config import ShootingConfig
from spacetime_tps.errors import UserError
from spacetime_tps.files import read_arrays
from spacetime_tps.geometry.curve import FineCurve
from spacetime_tps.geometry.geodesic import Geodesic
from spacetime_tps.paths.ensemble import PathEnsemble
from spacetime_tps.paths.schedule import Schedule, schedule_along
from spacetime_tps.seeds import generator, torch_seed
from spacetime_tps.shooting.chains import Observables, run_chains
from spacetime_tps.shooting.first import stretched
from spacetime_tps.shooting.path import ShotPath, unpack
from spacetime_tps.stages.context import Context, frame_interval
from spacetime_tps.stages.first_paths import first_paths
from spacetime_tps.stages.folder import STAGES, stages_of
from spacetime_tps.stages.ground import Ground, ground_of, ranked
from spacetime_tps.stages.measure import Raw, noise_seed, recipe_of
from spacetime_tps.stages.paths import anneal, chosen_curve
from spacetime_tps.stages.shot_files import ENSEMBLE_PATHS
from spacetime_tps.stages.train import load_denoiser

_FIXED_FACTOR = 3.0
"""Length of paths of fixed length over the mean flexible one."""


# --- generators ---------------------------------------------------------------------------------


def _from_a_to_b(forward: np.ndarray, paths: Iterable[np.ndarray]) -> list[np.ndarray]:
    """Arrays over frames, those of paths from B to A turned round; there may be fewer of them than paths."""
    return [path if ahead else path[::-1] for ahead, path in zip(forward, paths, strict=False)]


def _turned(ensemble: PathEnsemble) -> Raw:
    """Annealed paths as they are compared."""
    return Raw(
        variables=_from_a_to_b(ensemble.forward, ensemble.variables),
        frames=_from_a_to_b(ensemble.forward, ensemble.frames),
        arrived=ensemble.ends_in_state,
        forward=ensemble.forward,
        cost=int(ensemble.force_evaluations.sum()),
        max_free_energy=ensemble.max_free_energy,
        stays=ensemble.end_stays,
    )


def geodesic_paths(context: Context) -> Raw:
    """The paths of the run itself; their cost includes every round of doubling."""
    raw = _turned(PathEnsemble.load(context.folder / "paths.npz"))
    return replace(raw, cost=0, uses=("sample", "train", "geodesic", "paths"))


@dataclass(frozen=True)
class Generators:
    """The annealed baselines of one run: what they share is read once; ``model`` is what its paths follow."""

    context: Context
    model: Context
    ground: Ground

    @classmethod
    def of(cls, context: Context) -> Generators:
        """Read the samples."""
        rng = torch.Generator().manual_seed(torch_seed(context.config.seed, "geodesic"))
        model = context.refined()
        return cls(context, model, ground_of(model, load_denoiser(model), rng))

    def _curve(self, found: list[Geodesic]) -> FineCurve:
        return ranked(found, self.ground, self.context.system)[0][0].curve

    def _along(self, curve: FineCurve, name: str, uses: tuple[str, ...] = ("sample", "train")) -> Raw:
        config = self.context.config.paths
        denoiser = load_denoiser(self.model)
        schedule = schedule_along(
            curve, self.context.system.representation, denoiser, config.curve_points, config.schedule
        )
        return self._anneal(schedule, name, uses)

    def _anneal(self, schedule: Schedule, name: str, uses: tuple[str, ...]) -> Raw:
        steps = int(self.context.folder.record("paths")["summary"]["rounds"][-1]["steps_per_point"])
        return replace(_turned(anneal(self.context, schedule, steps, name)), uses=uses)

    def _lines(self, tent: bool) -> list[Geodesic]:
        context = self.context
        return line_curves(
            load_denoiser(self.model), context.system.representation, self.ground.channels, context.config.geodesic,
            self.ground.constraints, context.config.denoiser.log_snr_range, tent,
        )  # fmt: skip

    def line(self, tent: bool, name: str) -> Raw:
        """The best straight line, with or without a tent."""
        return self._along(self._curve(self._lines(tent)), name)

    def line_geodesic_schedule(self, name: str) -> Raw:
        """A straight line with the log-SNR of the geodesic."""
        curve = straightened(chosen_curve(self.model), load_denoiser(self.model), self.context.system.representation)
        return self._along(curve, name, ("sample", "train", "geodesic"))

    def string(self, name: str) -> Raw:
        """The best minimum energy path on the run's own surface.

        Raises:
            UserError: the representation has more than two variables, so that there is no surface.
        """
        context = self.context
        if self.ground.surface is None:
            raise UserError("the string method needs a surface, which more than two variables do not have")
        found = string_curves(
            self.ground.surface, load_denoiser(self.model), context.system.representation, self.ground.channels,
            context.config.geodesic, self.ground.constraints, context.config.denoiser.log_snr_range,
        )  # fmt: skip
        return self._along(self._curve(found), name)

    def steered(self, name: str) -> Raw:
        """A moving harmonic restraint, in the channel of the best straight line."""
        context, denoiser = self.context, load_denoiser(self.model)
        chosen = ranked(self._lines(False), self.ground, context.system)[0][0].channel
        level, points = context.config.comparison.steered_log_snr, context.config.paths.curve_points
        schedule = steered_schedule(context.system.representation, denoiser, chosen, level, points)
        return self._anneal(schedule, name, ())


def _of_segments(found: Transitions, cost: int, uses: tuple[str, ...]) -> Raw:
    """Transitions in both directions of time, those from B to A turned round."""
    return Raw(
        variables=_from_a_to_b(found.forward, found.variables),
        frames=_from_a_to_b(found.forward, found.frames),
        arrived=np.ones(len(found), dtype=bool),
        forward=found.forward,
        cost=cost,
        uses=uses,
    )


def training_transitions(context: Context) -> Raw:
    """What the sampling run crossed by itself."""
    return _of_segments(Transitions.load(context.folder / "transitions.npz"), 0, ("sample",))


def ratchet(context: Context) -> Raw:
    """Ratchet-and-pawl dynamics on the features of the representation."""
    config, system = context.config.comparison, context.system
    settings = Ratchet(
        strength_kt=config.ratchet_strength_kt,
        look_every=context.config.shooting.frame_every,
        equilibration_steps=context.config.paths.equilibration_steps,
        max_steps=config.ratchet_steps,
    )
    count, seed = context.config.paths.count, context.config.seed
    if system.molecule is None:
        found = ratchet_toy(system, count, settings, seed)
    else:
        found = ratchet_molecule(system, context.dynamics(), count, settings, seed, context.pool)
    return Raw(
        variables=_from_a_to_b(found.forward, found.variables),
        frames=_from_a_to_b(found.forward, found.frames),
        arrived=found.arrived,
        forward=found.forward,
        cost=int(found.force_evaluations.sum()),
        interval=found.interval,
    )


# --- exact methods ------------------------------------------------------------------------------


def hot_starts(context: Context) -> tuple[list[ShotPath], int]:
    """First paths from a raised temperature, and their cost."""
    config = context.config.shooting.model_copy(update={"first": "high_temperature", "fixed_frames": None})
    first, cost, _ = first_paths(context, config, None)
    return first, cost


def shooting(context: Context, name: str, move: str, starts: tuple[list[ShotPath], int]) -> Raw:
    """Flexible-length transition path sampling from high-temperature paths."""
    update = {"move": move, "steps": context.config.comparison.shooting_steps}
    config = context.config.shooting.model_copy(update=update | {"fixed_frames": None, "velocity_mixing": 0.0})
    return _sampled(context, name, config, *starts)


def shooting_fixed(context: Context, name: str, flexible: Raw) -> Raw:
    """Paths of fixed length, three times the mean flexible one, from the last paths of one-way shooting.

    As their steps cost three times as much, they are a third as many.
    """
    assert flexible.chains is not None
    config = context.config.shooting
    frames = int(np.ceil(_FIXED_FACTOR * flexible.chains.length.mean()))
    steps = max(config.keep_every, int(context.config.comparison.shooting_steps / _FIXED_FACTOR))
    burn_in = min(int(config.burn_in / _FIXED_FACTOR), steps - config.keep_every)
    update = {"move": "one_way", "fixed_frames": frames, "steps": steps, "burn_in": burn_in}
    config = config.model_copy(update=update)
    recipe = recipe_of(context)
    engine = recipe.build(noise_seed(context, name, "first"))
    rng = generator(context.config.seed, name, "first")
    last = [row[-1] for row in flexible.chains.kept]
    try:
        longer = stretched(last, frames, context.system.states, engine, rng)
    except ValueError as error:
        raise UserError(f"no path of one-way shooting can be made {frames} frames long: {error}") from error
    first = [replace(path, born=np.zeros(len(path), dtype=int)) for path in longer]
    return _sampled(context, name, config, first, flexible.cost + engine.force_evaluations)


def _sampled(context: Context, name: str, config: ShootingConfig, first: list[ShotPath], cost_of_first: int) -> Raw:
    system = context.system
    dynamics = context.dynamics() if system.molecule is not None else None
    blocks = run_chains(system, dynamics, first, config, context.config.seed, context.pool, name=name)
    chains = Chains.of(blocks, config.burn_in, config.keep_every)
    interval = frame_interval(context.config, config.frame_every)
    paths = chains.paths
    cost = chains.force_evaluations + cost_of_first
    series = mean_with_error(chains.steps.length[:, config.burn_in :] * interval)
    scalars = {
        "path_length_error": series["error"],
        "acceptance": float(chains.steps.accepted[:, config.burn_in :].mean()),
        "decorrelated": float(chains.decorrelated()),
        "decorrelated_per_million": 1e6 * chains.decorrelated() / cost,
        "independent_paths": chains.independent(),
    }
    left = [step for step in chains.first_decorrelation() if step is not None]
    scalars["steps_to_first_decorrelation"] = float(np.mean(left)) if left else float("nan")
    examined = context.config.comparison.examined_paths
    order = np.random.default_rng(0).permutation(len(paths))
    paths = [paths[k] for k in order]
    return Raw(
        variables=[path.variables for path in paths],
        frames=[path.positions for path in paths[:examined]],
        arrived=np.ones(len(paths), dtype=bool),
        forward=np.ones(len(paths), dtype=bool),
        cost=cost,
        scalars=scalars,
        chains=chains,
        interval=interval,
    )


def transitions_of_run(context: Context) -> Raw:
    """The unguided paths of the run itself, as often as their weights say; those whose frames were kept come first.

    Raises:
        UserError: it has none, or too few to be samples of anything.
    """
    summary = context.folder.record("transitions")["summary"]
    stored = read_arrays(context.folder / "shots.npz")
    weights = stored["weights"]
    if not len(weights):
        raise UserError(summary.get("no_rates_because") or "the run has shot no paths (transitions.shots)")
    if not pareto_k(weights) <= SOUND_K:
        raise UserError(f"{len(weights)} paths with these weights are no sample; raise transitions.shots")
    variables = np.split(stored["path_variables"], np.cumsum(stored["lengths"])[:-1])
    kept = dict(zip(stored["exported"].tolist(), unpack(read_arrays(context.folder / ENSEMBLE_PATHS)), strict=True))
    effective = float(1.0 / np.square(weights).sum())
    chosen = resampled(weights, max(2, int(effective)), generator(context.config.seed, "transitions", "resampling"))
    chosen = np.array(sorted(chosen.tolist(), key=lambda k: k not in kept))
    system, shots = context.system, len(stored["window"])
    highest = np.array([Observables.of(system).max_free_energy(each) for each in variables])
    walker = stored["walker"][stored["shot"]]
    series = [highest[walker == k] for k in np.unique(walker)]
    correlation = max(1.0, float(np.mean([integrated_autocorrelation_time(row) for row in series])))
    independent = max(2.0, effective / correlation)
    frames = [kept[k].positions for k in chosen.tolist() if k in kept]
    if system.molecule is not None and frames and frames[0].shape[1] < system.molecule.topology.getNumAtoms():
        frames = []  # without their water
    last = STAGES.index("transitions")
    uses = tuple(stage for stage in stages_of(context.config) if STAGES.index(stage) <= last)
    total = sum(context.folder.record(stage)["force_evaluations"] for stage in uses)
    rates = {
        f"{name}{part}": summary[name][key]
        for name in ("rate_a_to_b", "rate_b_to_a")
        if name in summary
        for part, key in (("", "value"), ("_error_of_log", "error_of_log"))
    }
    return Raw(
        variables=[variables[k] for k in chosen],
        frames=frames[: context.config.comparison.examined_paths],
        arrived=np.ones(len(chosen), dtype=bool),
        forward=np.ones(len(chosen), dtype=bool),
        max_free_energy=highest[chosen],
        cost=0,
        uses=uses,
        scalars={
            "acceptance": len(weights) / shots,
            "effective_paths": effective,
            "independent_paths": independent,
            "decorrelated_per_million": 1e6 * independent / total,
            **rates,
        },
        interval=frame_interval(context.config, context.config.transitions.frame_every),
    )


def unbiased(context: Context) -> Raw:
    """Brute force: paths, and rate constants by their number in the time that is spent on their side."""
    config, recipe = context.config.comparison, recipe_of(context)
    frames = max(1, config.unbiased_steps // recipe.frame_every)
    found, spent, cost = unbiased_transitions(
        recipe, context.system.structures, config.unbiased_walkers, frames, context.config.seed, context.pool
    )
    interval = frame_interval(context.config, recipe.frame_every)
    unit = 1e-3 if context.system.molecule is not None else 1.0  # ns
    scalars: dict[str, float] = {}
    counts, times = (found.forward.sum(), (~found.forward).sum()), unit * interval * spent.sum(axis=0)
    for name, count, time in zip(("a_to_b", "b_to_a"), counts, times, strict=True):
        scalars |= {f"transitions_{name}": float(count), f"time_before_{name}": float(time)}
        if count:
            scalars |= {f"rate_{name}": float(count / time), f"rate_{name}_error_of_log": float(count**-0.5)}
    return replace(_of_segments(found, cost, ()), interval=interval, scalars=scalars)
