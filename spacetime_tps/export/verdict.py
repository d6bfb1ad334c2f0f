"""What a run is worth, in words: one finding for each question a careful reader asks of its summary."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from spacetime_tps.analysis.windows import remembered
from spacetime_tps.export.rate_doubts import by_torsions, doubt_on_rates
from spacetime_tps.geometry.channels import FAR_OFF, HIGH_KT
from spacetime_tps.units import GAS_CONSTANT, parse_quantity, shown_number

GOOD, DOUBT, BAD, OPEN = "good", "doubt", "bad", "open"
"""Levels of a finding: as it should be; look closer; wrong; not asked yet."""
_CLOSE_SIGMAS = 2.0
_DISSIPATION_KT = (3.0, 10.0)
_ARRIVED = (0.9, 0.5)
_VARIANCE = (1.5, 2.5)
_HYSTERESIS_DEG = 30.0
_MIXED = 1.1
_DIVIDES, _SHARP = (0.2, 0.8), 0.2
"""Mean committor of frames at the top, and its spread beyond counting, of a path whose coordinates suffice."""
_VAGUE_KT = 2.0
"""Error of a free-energy difference beyond which it agrees with anything."""
_MISSED = 0.1
"""Share of the committor's variance by which a torsion has to explain more to be named."""
_ENOUGH_PATHS = 50.0
"""Effective paths from which on an ensemble is worth something."""
_ASIDE = ("Is there a true path ensemble?", "Are there rates?", "Have the chains of shooting mixed?")
"""Questions that say nothing of the annealed paths."""


@dataclass(frozen=True)
class Finding:
    """Question, answer, how good that is, and what to do about it."""

    question: str
    answer: str
    level: str
    advice: str = ""


def verdict(
    summary: Mapping[str, Any],
    shooting: Mapping[str, Any] | None,
    committor: Mapping[str, Any] | None,
    paths: str | None = None,
) -> list[Finding]:
    """Findings on a run, in the order in which its stages come.

    Args:
        summary: of the run, ``summary.json``.
        shooting: ``shooting/summary.json``, if there is one.
        committor: ``committor/committor.json``, if there is one.
        paths: digest of the run's paths as they are now, see ``RunFolder.paths_digest``.
    """
    askers: list[Callable[[Mapping[str, Any]], Finding | None]] = [
        _samples, _ends, _model, _geodesic, _arrival, _structure, _slowness, _free_energy, _states, _forgotten,
        _hysteresis, _height, _temperature,
    ]  # fmt: skip
    found = [ask(summary) for ask in askers]
    found += [_top(committor, paths), _rates(summary), _ensemble(summary, shooting), _chains(shooting, paths)]
    return [finding for finding in found if finding is not None]


def _earlier(found: Mapping[str, Any], paths: str | None) -> bool:
    """Whether it began from paths that have been replaced since."""
    return paths is not None and found.get("paths") not in (None, paths)


def overall(findings: list[Finding], for_science: bool) -> tuple[str, str]:
    """The level of the whole and one sentence."""
    if not for_science:
        return BAD, "Not for science: this run used the preset quick, whose numbers mean nothing."
    asked = [finding for finding in findings if finding.question not in _ASIDE]
    bad = [finding.question for finding in asked if finding.level == BAD]
    doubtful = [finding.question for finding in asked if finding.level == DOUBT]
    if bad:
        return BAD, f"Do not trust these paths: {_listed(bad)}"
    if doubtful:
        return DOUBT, f"Use these paths with care: {_listed(doubtful)}"
    return GOOD, "Nothing speaks against these paths, for what they are: guided ways over the barrier, no statistics."


def _listed(questions: list[str]) -> str:
    return f"the answer to “{'”, “'.join(questions)}” is not what it should be."


def suffix_and_unit(summary: Mapping[str, Any]) -> tuple[str, str]:
    """Ending of energy keys, and the unit."""
    molecular = summary["definition"]["kind"] == "molecule"
    return ("kj_mol", "kJ/mol") if molecular else ("kt", "kT")


def _level(value: float, good: float, bad: float) -> str:
    """By limits that a value should stay below."""
    return GOOD if value <= good else DOUBT if value <= bad else BAD


def _better_model(summary: Mapping[str, Any]) -> str:
    if by_torsions(summary):
        return "Refine the model: refine.rounds=5."
    return "Sample longer, or train longer (denoiser.steps)."


def _temperature_of(summary: Mapping[str, Any]) -> float:
    """Of a molecule [K]."""
    return parse_quantity(str(summary["definition"]["temperature"]), "temperature")


def _kt(summary: Mapping[str, Any]) -> float:
    """In the unit of the summary's energies."""
    if summary["definition"]["kind"] != "molecule":
        return 1.0
    return GAS_CONSTANT * _temperature_of(summary)


def _samples(summary: Mapping[str, Any]) -> Finding:
    question, sampling, refined = "Did the samples see both states and what lies between?", summary["sampling"], False
    if summary["refinement"] is not None:
        refined = bool(summary["refinement"]["rounds"])
    effective = f"{sampling['effective_samples']:,.0f} effective samples"
    if not (sampling["visited_a"] and sampling["visited_b"]):
        return Finding(
            question, f"{effective}, but not in both states.", BAD, "Sample longer, or start in both states."
        )
    if sampling.get("connected") or sampling["transitions"]:
        return Finding(question, f"{effective}, {sampling['transitions']:,} transitions between the states.", GOOD)
    if refined:
        answer = f"{effective} within the states; what lies between comes from windows, round by round"
        windows = summary["windows"]
        if windows and 2 * windows["stuck"] >= windows["count"]:
            answer += ", and in most of these runs from either start do not meet."
            return Finding(question, answer, DOUBT, "Longer windows (windows.steps), or more rounds (refine.rounds).")
        return Finding(question, f"{answer}.", GOOD)
    advice = "Sample longer, or raise the temperature or the bias."
    if by_torsions(summary):
        advice = "Let windows fill the gap (refine.rounds), sample longer, or raise the temperature or the bias."
    return Finding(question, f"{effective}, but nothing joins the states.", BAD, advice)


def _ends(summary: Mapping[str, Any]) -> Finding | None:
    suffix, unit = suffix_and_unit(summary)
    heights = summary["geodesic"].get(f"ends_above_bottom_{suffix}")
    if not heights:
        return None
    question = "Do the paths begin and end at the bottom of their states?"
    told = ["unknown" if height is None else f"{height:.1f} {unit}" for height in heights]
    answer = f"By the samples A's structure lies above it by {told[0]}, B's by {told[1]}."
    if None in heights:
        return Finding(question, answer, DOUBT, "Sample longer: too few samples lie near the end structures.")
    if not _high_ends(summary):
        return Finding(question, answer, GOOD)
    answer += " Barriers and free energies by model and windows are those of the wells that the paths join."
    return Finding(question, answer, DOUBT, "Give a structure from the bottom of the state.")


def _high_ends(summary: Mapping[str, Any]) -> bool:
    """Whether an end structure lies far above the bottom of its state."""
    heights = summary["geodesic"].get(f"ends_above_bottom_{suffix_and_unit(summary)[0]}") or []
    return any(height is not None and height > HIGH_KT * _kt(summary) for height in heights)


def _model(summary: Mapping[str, Any]) -> Finding:
    question, windows = "Is the model right along the path?", summary["windows"]
    if windows:
        ratios = [point["ratio"] for point in windows["points"] if point["ratio"] is not None] or [float("nan")]
        answer = (
            f"In {windows['count']} restrained windows the posterior variance is {_known(min(ratios))} to "
            f"{_known(max(ratios))} times the model's; within a factor 1.5 at {windows['close_fraction']:.0%}."
        )
        stuck = windows["stuck"]
        answer += f" In {stuck} of them runs from either start do not meet." if stuck else ""
        level = BAD if windows["wrong"] else GOOD if windows["close_fraction"] == 1 and not stuck else DOUBT
        return Finding(question, answer, level, "" if level == GOOD else _better_model(summary))
    health = summary["health"]
    model, exact = health["chosen_max_posterior_variance"], health["chosen_max_posterior_variance_exact"]
    factor = max(model / exact, exact / model)
    answer = f"Its largest posterior variance is {model:.3g}, that of the {health['exact_posterior']} {exact:.3g}."
    level = _level(factor, *_VARIANCE)
    return Finding(question, answer, level, "" if level == GOOD else "Train longer (denoiser.steps).")


def _geodesic(summary: Mapping[str, Any]) -> Finding:
    channel = summary["geodesic"]["channels"][0]
    exceeded = [name for name, g in channel["constraint_violations"].items() if g > 0]
    negative = channel["negative_chord_fraction"]
    words = f"{channel['label']}, length {channel['length']:.1f}"
    words += ", converged" if channel["converged"] else ", not converged"
    words += f"; exceeded: {', '.join(exceeded)}" if exceeded else "; all constraints held"
    if negative:
        words += f"; {negative:.1%} of its chords are negative, so the model contradicts itself there"
    level = GOOD if channel["converged"] and not exceeded and not negative else DOUBT
    advice = "" if level == GOOD else "More geodesic.polish_rounds, or a higher geodesic.penalty."
    if (off := channel.get("off_samples", 0.0)) > FAR_OFF:
        words += f"; but its posterior mean leaves the samples by {off:.1f} standard deviations"
        level, advice = BAD, "Sample longer, raise geodesic.low_barrier.weight, or name another geodesic.channel."
    return Finding("Is the geodesic found, and within its constraints?", f"{words}.", level, advice)


def _arrival(summary: Mapping[str, Any]) -> Finding:
    paths = summary["paths"]
    arrived, started = paths["arrived_fraction"], paths["started_fraction"]
    least = min(arrived, started)
    level = GOOD if least >= _ARRIVED[0] else DOUBT if least >= _ARRIVED[1] else BAD
    answer = f"Of {paths['count']} paths {arrived:.0%} arrived and stayed when released; {started:.0%} had started so."
    advice = "" if level == GOOD else "Longer paths (paths.steps_per_point), or states that are truly metastable."
    return Finding("Do the paths arrive, and stay?", answer, level, advice)


def _structure(summary: Mapping[str, Any]) -> Finding | None:
    if summary["definition"]["kind"] != "molecule":
        return None
    broken = summary["paths"]["integrity"]["broken"]
    question = "Do stereocentres, peptide bonds and rings stay as they are?"
    if not broken:
        return Finding(question, "In all paths.", GOOD)
    reasons = sorted({reason for row in summary["paths"]["integrity"]["reasons"].values() for reason in row})
    level = DOUBT if broken < summary["paths"]["count"] / 2 else BAD
    return Finding(
        question, f"Not in {broken} paths: {'; '.join(reasons[:3])}.", level, "These do not count as arrived."
    )


def _slowness(summary: Mapping[str, Any]) -> Finding:
    work, question = summary["paths"]["dissipated_work_kt"], "Was the restraint moved slowly enough?"
    if work["forward"] is None or work["backward"] is None:
        return Finding(question, "The dissipated work is unknown.", DOUBT, "More paths (paths.count).")
    worst = max(work["forward"], work["backward"])
    answer = (
        f"{work['forward']:.2f} ± {_known(work['forward_error'])} kT dissipated from A to B, {work['backward']:.2f} ± "
        f"{_known(work['backward_error'])} from B to A; {_known(work['lag'])} times what a system always at rest loses."
    )
    level = _level(worst, *_DISSIPATION_KT)
    advice = "" if level == GOOD else "Slower paths (paths.max_doublings, steps_per_point), or represent what lags."
    return Finding(question, answer, level, advice)


def _free_energy(summary: Mapping[str, Any]) -> Finding:
    suffix, unit = suffix_and_unit(summary)
    work, windows = summary["paths"][f"delta_f_{suffix}"], summary["windows"].get(f"delta_f_ends_{suffix}")
    answer = f"Restrained ends, B minus A: {_known(work['crooks'])} ± {_known(work['error'])} {unit} by work"
    others = []
    if windows and windows["value"] is not None:
        answer += f", {windows['value']:.2f} ± {_known(windows['error'])} by windows"
        others.append((windows["value"], windows["error"]))
    if work["reference"] is not None:
        answer += f", {work['reference']:.2f} by the reference"
        others.append((work["reference"], 0.0))
    question = "Do work, windows and reference agree on the free energy?"
    if not others or work["crooks"] is None:
        return Finding(question, f"{answer}; nothing to compare with.", OPEN)
    apart = max(_sigmas(work["crooks"] - value, work["error"], error) for value, error in others)
    level = _level(apart, _CLOSE_SIGMAS, 2 * _CLOSE_SIGMAS)
    advice = "" if level == GOOD else "More paths, slower, or longer windows: something has not relaxed."
    if level == GOOD and _vague(summary, work["error"], *(error for _, error in others)):
        answer += ", which is too uncertain to tell"
        level, advice = DOUBT, "More paths, slower, or longer windows."
    return Finding(question, f"{answer}.", level, advice)


def _states(summary: Mapping[str, Any]) -> Finding | None:
    suffix, unit = suffix_and_unit(summary)
    windows, samples = (summary[part].get(f"delta_f_states_{suffix}") for part in ("windows", "sampling"))
    if (
        not windows
        or not samples
        or None in (samples["value"], windows["value"])
        or not summary["sampling"].get("connected")
    ):
        return None
    answer = (
        f"B minus A: {samples['value']:.2f} ± {_known(samples['error'])} {unit} by the samples, "
        f"{windows['value']:.2f} ± {_known(windows['error'])} by windows"
    )
    question = "Do samples and windows agree on the states?"
    if _sigmas(samples["value"] - windows["value"], samples["error"], windows["error"]) > _CLOSE_SIGMAS:
        return Finding(question, f"{answer}.", DOUBT, _relaxed(summary))
    if _vague(summary, samples["error"], windows["error"]):
        advice = "Longer windows (windows.steps), or sample longer."
        return Finding(question, f"{answer}, which is too uncertain to tell.", DOUBT, advice)
    return Finding(question, f"{answer}.", GOOD)


def _vague(summary: Mapping[str, Any], *errors: float | None) -> bool:
    """Whether one of the errors of free energies is unknown, or so large that it agrees with anything."""
    return any(error is None or error > _VAGUE_KT * _kt(summary) for error in errors)


def _forgotten(summary: Mapping[str, Any]) -> Finding | None:
    windows = summary["windows"]
    if "slow_torsions" not in windows:
        return None
    question, count = "Have the windows forgotten how they began?", windows["count"]
    if not windows["slow_torsions"]:
        return Finding(question, f"In all {count} no torsion tells the runs from either start apart.", GOOD)
    slowest = windows["slow_torsions"][0]
    answer = f"By {slowest['name']} the runs from either start lie apart in {slowest['windows']} of {count}"
    if not remembered(windows):
        return Finding(question, f"{answer}.", GOOD)
    return Finding(question, f"{answer}: where they began decides what they measure.", DOUBT, _relaxed(summary))


def _relaxed(summary: Mapping[str, Any]) -> str:
    """What helps where windows have not seen all that samples have."""
    if remembered(summary["windows"]) and by_torsions(summary):
        return "Take what is slow into the representation: run SYSTEM -o OUT --resume --add-torsion auto."
    if _high_ends(summary):
        return "Give a structure from the bottom of the state: windows see the wells that the paths join."
    return "Longer windows (windows.steps), or sample longer: something has not relaxed."


def _hysteresis(summary: Mapping[str, Any]) -> Finding | None:
    rows = summary["paths"].get("hysteresis")
    if not rows:
        return None
    worst = rows[0]
    error = worst["error_deg"] or 0.0
    told = shown_number(worst["error_deg"], 0)
    answer = f"{worst['name']} differs most between directions: {worst['difference_deg']:.0f} ± {told} degrees."
    beyond = worst["difference_deg"] - _CLOSE_SIGMAS * error
    level = _level(beyond, _HYSTERESIS_DEG, 2 * _HYSTERESIS_DEG)
    advice = "Take it into the representation: run SYSTEM -o OUT --resume --add-torsion auto."
    if not by_torsions(summary):
        advice = "Slower paths (paths.steps_per_point), or a representation that holds it."
    advice = "" if level == GOOD else advice
    return Finding("Do both directions take the same way?", answer, level, advice)


def _height(summary: Mapping[str, Any]) -> Finding | None:
    suffix, unit = suffix_and_unit(summary)
    highest, bound = summary["paths"].get(f"max_free_energy_{suffix}"), summary["reference"]
    windows, channel = summary["windows"].get(f"barrier_{suffix}"), summary["geodesic"]["channels"][0]
    question = "How high do the paths go?"
    if highest is not None and highest["mean"] is not None:
        least, error = bound[f"minimax_barrier_{suffix}"], bound[f"error_{suffix}"]
        answer = (
            f"MaxFreeEnergy {highest['mean']:.2f} ± {_known(highest['std'])} {unit}, least possible {_known(least)}"
            f"{f' ± {error:.2f}' if error and error >= 0.005 else ''}"
        )
        below = highest["fraction_below_bound"]
        answer += f"; {below:.0%} lie below that, which cannot be." if below else "."
        level = BAD if highest["fraction_below_bound"] > 0 else GOOD
        return Finding(question, answer, level, "" if level == GOOD else "Look more often (paths.look_every).")
    if windows and windows["value"] is not None and channel[f"own_barrier_{suffix}"] is not None:
        own = channel[f"own_barrier_{suffix}"]
        answer = (
            f"Barrier by the model {own:.1f}, by windows {windows['value']:.1f} ± {_known(windows['error'])} {unit}."
        )
        apart = abs(own - windows["value"])
        level = GOOD if apart <= max(_CLOSE_SIGMAS * (windows["error"] or 0.0), 0.1 * windows["value"]) else DOUBT
        advice = _relaxed(summary) if remembered(summary["windows"]) else _better_model(summary)
        return Finding(question, answer, level, "" if level == GOOD else advice)
    return None


def _temperature(summary: Mapping[str, Any]) -> Finding | None:
    found = summary["paths"].get("kinetic_temperature_k")
    if not found or found["mean"] is None:
        return None
    wanted = _temperature_of(summary)
    apart = _sigmas(found["mean"] - wanted, found["error"], 0.0)
    answer = f"{found['mean']:.1f} ± {_known(found['error'])} K along the paths, {wanted:g} K wanted."
    level = _level(apart, 3.0, 6.0)
    return Finding("Is it as warm as it should be?", answer, level, "" if level == GOOD else "Lower the time step.")


def _top(committor: Mapping[str, Any] | None, paths: str | None) -> Finding:
    question = "Does the top of the path divide A from B?"
    if committor is None:
        return Finding(question, "Not asked yet.", OPEN, "spacetime-tps committor OUT")
    if _earlier(committor, paths):
        answer = "Asked of earlier paths, which have been replaced since."
        return Finding(question, answer, OPEN, "spacetime-tps committor OUT --overwrite")
    if (along := committor.get("along")) is not None:
        if along["half_at"] is None:
            return Finding(question, "The committor passes one half nowhere along the curve.", DOUBT)
        answer = f"p_B is one half at curve parameter {along['half_at']:.2f}, the highest point is at "
        return Finding(question, f"{answer}{_known(along['highest_at'])}.", GOOD)
    spread = committor["spread_beyond_binomial"]
    if spread["mean"] is None:
        return Finding(question, "Too few trajectories reached a state.", DOUBT, "Raise committor.max_steps.")
    answer = f"Mean committor {spread['mean']:.2f}, spread beyond counting {_known(spread['spread'])}"
    divides = _DIVIDES[0] <= spread["mean"] <= _DIVIDES[1] and (spread["spread"] or 0.0) <= _SHARP
    if divides:
        return Finding(question, f"{answer}.", GOOD)
    advice = "The path's own torsions do not tell which way a frame goes: take its frames for seeds, not for the top."
    explained = committor.get("explained") or {}
    if missed := next(iter(explained.get("with", [])), None):
        more, own = missed["share"], explained["by"]["share"]
        if more is not None and own is not None and more > own + _MISSED:
            answer += (
                f"; {missed['torsion']} beside the represented torsions explains {more:.0%} of it, these {own:.0%}"
            )
            advice = "Take that torsion into the representation: run SYSTEM -o OUT --resume --add-torsion TORSION."
    return Finding(question, f"{answer}.", DOUBT, advice)


def _rates(summary: Mapping[str, Any]) -> Finding:
    question, shots = "Are there rates?", summary["transitions"]
    if not shots.get("shots"):
        reason = shots.get("no_rates_because")
        return Finding(question, f"No: {reason or 'no shots were asked for (transitions.shots)'}.", OPEN)
    if shots.get("no_rates_because"):
        return Finding(question, f"No: {shots['no_rates_because']}.", DOUBT)
    error = max(shots[key]["error_of_log"] for key in ("rate_a_to_b", "rate_b_to_a"))
    answer = (
        f"{shots['connected_share']:.0%} of {shots['shots']:,} shots connect the states; log k is known to {error:.2f}."
    )
    doubt = doubt_on_rates(summary)
    if doubt is None:
        return Finding(question, answer, GOOD)
    return Finding(question, f"{answer} {doubt.sentence}".rstrip(), DOUBT, doubt.advice)


def _ensemble(summary: Mapping[str, Any], shooting: Mapping[str, Any] | None) -> Finding | None:
    question, effective = "Is there a true path ensemble?", summary["transitions"].get("effective_paths", 0.0)
    if not effective:
        open_still = Finding(question, "Not yet: the paths above are guided.", OPEN, "spacetime-tps shoot OUT")
        return open_still if shooting is None else None
    answer = f"{summary['transitions']['paths']} unguided paths by shots, worth {effective:.0f} of equal weight."
    if effective < _ENOUGH_PATHS:
        return Finding(question, answer, DOUBT, "More shots: transitions.shots.")
    return Finding(question, answer, GOOD)


def _chains(shooting: Mapping[str, Any] | None, paths: str | None) -> Finding | None:
    if shooting is None:
        return None
    question, longer = (
        "Have the chains of shooting mixed?",
        "Longer chains: shoot OUT --overwrite --set shooting.steps=12000.",
    )
    accepted, independent = shooting["acceptance"]["all"]["share"], shooting["decorrelated_paths"]
    answer = f"Shooting accepted {accepted:.0%} and gave {independent:,} paths without a common frame"
    answer += " (begun from earlier paths)" if _earlier(shooting, paths) else ""
    rows = [row for key, row in shooting.items() if key.startswith("max_free_energy") or key == "length"]
    scatter = [row["gelman_rubin"] for row in rows if row.get("gelman_rubin") is not None]
    if not scatter:
        one = shooting.get("chains") == 1
        unknown = "from a single chain nothing tells" if one else "whether they agree is unknown, they are too short"
        return Finding(question, f"{answer}; {unknown}.", DOUBT, "More chains: shooting.chains." if one else longer)
    if max(scatter) > _MIXED:
        answer += f"; but the chains differ (Gelman-Rubin {max(scatter):.2f}), so there are fewer independent ones."
        return Finding(question, answer, DOUBT, longer)
    if independent < _ENOUGH_PATHS:
        return Finding(question, f"{answer}, too few to tell.", DOUBT, longer)
    return Finding(question, f"{answer}; the chains agree (Gelman-Rubin {max(scatter):.2f}).", GOOD)


def _known(value: float | None) -> str:
    return shown_number(value)


def _sigmas(apart: float, *errors: float | None) -> float:
    """Distance in standard errors; none if one of them is unknown."""
    known = [error for error in errors if error is not None]
    scale = sum(error**2 for error in known) ** 0.5
    return abs(apart) / scale if scale > 0 and len(known) == len(errors) else 0.0
