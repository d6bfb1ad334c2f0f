"""What the report says of a run: a sound one, and one fault at a time."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from spacetime_tps.export.answer import answer_lines
from spacetime_tps.export.verdict import BAD, DOUBT, GOOD, OPEN, Finding, overall, verdict

SOUND: dict[str, Any] = {
    "definition": {"kind": "molecule", "temperature": "300 K"},
    "for_science": True,
    "sampling": {
        "effective_samples": 5000.0, "visited_a": True, "visited_b": True, "transitions": 40, "connected": True,
        "delta_f_states_kj_mol": {"value": 9.2, "error": 0.2},
    },
    "refinement": None,
    "health": {},
    "geodesic": {
        "channels": [
            {
                "label": "phi+ psi-", "length": 33.0, "converged": True, "negative_chord_fraction": 0.0,
                "constraint_violations": {"low_variance": -0.1}, "own_barrier_kj_mol": 38.9,
            }
        ],
        "ends_above_bottom_kj_mol": [2.3, 0.0],
    },
    "paths": {
        "count": 32, "arrived_fraction": 1.0, "started_fraction": 1.0, "integrity": {"broken": 0, "reasons": {}},
        "dissipated_work_kt": {
            "forward": 0.3, "backward": 0.2, "forward_error": 0.2, "backward_error": None, "lag": 1.2,
        },
        "delta_f_kj_mol": {"crooks": 5.0, "error": 0.4, "reference": 4.95},
        "hysteresis": [{"name": "omega", "difference_deg": 3.0, "error_deg": 1.0}],
        "max_free_energy_kj_mol": {"mean": 41.4, "std": 0.8, "fraction_below_bound": 0.0},
        "kinetic_temperature_k": {"mean": 301.0, "error": 1.5},
    },
    "windows": {
        "count": 2, "wrong": 0, "stuck": 0, "close_fraction": 1.0, "points": [{"ratio": 0.95}, {"ratio": 1.1}],
        "barrier_kj_mol": {"value": 39.2, "error": 0.5}, "delta_f_ends_kj_mol": {"value": 5.1, "error": 0.3},
        "delta_f_states_kj_mol": {"value": 8.5, "error": 0.5}, "slow_torsions": [],
    },
    "transitions": {
        "shots": 1200, "connected_share": 0.3, "paths": 360, "effective_paths": 200.0, "no_rates_because": None,
        "accounted_population": 0.98, "accounted_population_error": 0.03, "transition_over_life": 0.001,
        "rate_a_to_b": {"error_of_log": 0.25}, "rate_b_to_a": {"error_of_log": 0.2},
    },
    "reference": {"minimax_barrier_kj_mol": 39.3, "error_kj_mol": 0.2},
}  # fmt: skip
MIXED = {"gelman_rubin": 1.02}
SHOT: dict[str, Any] = {
    "acceptance": {"all": {"share": 0.7}}, "decorrelated_paths": 300, "max_free_energy_kj_mol": MIXED, "length": MIXED,
}  # fmt: skip
DIVIDED = {"along": None, "spread_beyond_binomial": {"mean": 0.5, "spread": 0.2}}


def levels(summary: dict[str, Any], shooting: Any = SHOT, committor: Any = DIVIDED) -> dict[str, str]:
    return {finding.question: finding.level for finding in verdict(summary, shooting, committor)}


def changed(place: str, value: Any) -> dict[str, Any]:
    """The sound summary with one value set."""
    summary = copy.deepcopy(SOUND)
    *way, last = place.split(".")
    here: Any = summary
    for key in way:
        here = here[int(key)] if key.isdigit() else here[key]
    here[last] = value
    return summary


def test_nothing_is_wrong_with_a_sound_run() -> None:
    found = verdict(SOUND, SHOT, DIVIDED)
    assert {finding.level for finding in found} == {GOOD}
    assert not any(finding.advice for finding in found)
    level, sentence = overall(found, for_science=True)
    assert level == GOOD
    assert "no statistics" in sentence


@pytest.mark.parametrize(
    ("place", "value", "question", "level"),
    [
        ("sampling.visited_b", False, "Did the samples", BAD),
        ("windows.wrong", 1, "Is the model right", BAD),
        ("windows.stuck", 1, "Is the model right", DOUBT),
        ("windows.close_fraction", 0.9, "Is the model right", DOUBT),
        ("geodesic.ends_above_bottom_kj_mol", [0.1, None], "Do the paths begin and end", DOUBT),
        ("geodesic.ends_above_bottom_kj_mol", [0.1, 6.0], "Do the paths begin and end", DOUBT),
        ("geodesic.channels.0.converged", False, "Is the geodesic", DOUBT),
        ("geodesic.channels.0.constraint_violations", {"low_variance": 0.3}, "Is the geodesic", DOUBT),
        ("geodesic.channels.0.negative_chord_fraction", 0.1, "Is the geodesic", DOUBT),
        ("paths.arrived_fraction", 0.7, "Do the paths arrive", DOUBT),
        ("paths.started_fraction", 0.2, "Do the paths arrive", BAD),
        ("paths.integrity", {"broken": 20, "reasons": {"path_0000": ["CA inverted"]}}, "Do stereocentres", BAD),
        ("paths.dissipated_work_kt.backward", 4.0, "Was the restraint", DOUBT),
        ("paths.dissipated_work_kt.forward", 30.0, "Was the restraint", BAD),
        ("geodesic.channels.0.off_samples", 6.0, "Is the geodesic", BAD),
        ("paths.delta_f_kj_mol.crooks", 6.5, "Do work, windows", DOUBT),
        ("paths.delta_f_kj_mol.error", 240.0, "Do work, windows", DOUBT),
        ("windows.delta_f_ends_kj_mol.error", None, "Do work, windows", DOUBT),
        ("paths.delta_f_kj_mol.crooks", 12.0, "Do work, windows", BAD),
        ("windows.delta_f_states_kj_mol.value", 7.5, "Do samples and windows", DOUBT),
        ("windows.delta_f_states_kj_mol.error", None, "Do samples and windows", DOUBT),
        ("windows.delta_f_states_kj_mol", {"value": 60.0, "error": 40.0}, "Do samples and windows", DOUBT),
        ("sampling.delta_f_states_kj_mol.error", None, "Do samples and windows", DOUBT),
        ("windows.slow_torsions", [{"name": "chi", "windows": 1}], "Have the windows", DOUBT),
        ("paths.hysteresis", [{"name": "omega", "difference_deg": 50.0, "error_deg": 5.0}], "Do both", DOUBT),
        ("paths.max_free_energy_kj_mol.fraction_below_bound", 0.1, "How high", BAD),
        ("paths.kinetic_temperature_k.mean", 307.0, "Is it as warm", DOUBT),
    ],
)
def test_one_fault_is_found_where_it_is(place: str, value: Any, question: str, level: str) -> None:
    found = levels(changed(place, value))
    faults = {name: each for name, each in found.items() if each != GOOD}
    assert list(faults.values()) == [level]
    assert next(iter(faults)).startswith(question)
    findings = verdict(changed(place, value), SHOT, DIVIDED)
    assert overall(findings, for_science=True)[0] == level
    assert all(finding.advice for finding in findings if finding.level == level)


def test_samples_of_the_states_alone_are_as_good_as_the_windows_between_them() -> None:
    summary = changed("sampling.connected", False)
    summary["sampling"]["transitions"] = 0
    assert levels(summary)["Did the samples see both states and what lies between?"] == BAD
    summary["refinement"] = {"rounds": [{}]}
    assert levels(summary)["Did the samples see both states and what lies between?"] == GOOD
    summary["windows"]["stuck"] = 1
    assert levels(summary)["Did the samples see both states and what lies between?"] == DOUBT


@pytest.mark.parametrize("kind", ["torsions", "tica"])
def test_advice_is_what_the_representation_can_take(kind: str) -> None:
    summary = changed("windows.wrong", 1) | {"representation": kind}
    summary["paths"]["hysteresis"] = [{"name": "omega", "difference_deg": 90.0, "error_deg": 1.0}]
    advice = " ".join(finding.advice for finding in verdict(summary, SHOT, DIVIDED))
    assert ("refine.rounds" in advice) == (kind == "torsions")
    assert ("--add-torsion" in advice) == (kind == "torsions")


@pytest.mark.parametrize("kind", ["torsions", "tica"])
def test_a_slow_torsion_is_the_advice_where_windows_disagree(kind: str) -> None:
    summary = changed("windows.slow_torsions", [{"name": "chi", "windows": 1}]) | {"representation": kind}
    summary["windows"]["delta_f_states_kj_mol"]["value"] = 4.0
    summary["paths"]["max_free_energy_kj_mol"] = None
    summary["geodesic"]["channels"][0]["own_barrier_kj_mol"] = 50.0
    doubts = [finding for finding in verdict(summary, SHOT, DIVIDED) if finding.level == DOUBT]
    assert len(doubts) == 3
    assert all(("--add-torsion" in finding.advice) == (kind == "torsions") for finding in doubts)
    assert all(("windows.steps" in finding.advice) == (kind != "torsions") for finding in doubts)


def test_windows_see_the_wells_that_the_paths_join() -> None:
    summary = changed("geodesic.ends_above_bottom_kj_mol", [8.5, 0.0])
    summary["windows"]["delta_f_states_kj_mol"]["value"] = 4.0
    doubts = {finding.question: finding for finding in verdict(summary, SHOT, DIVIDED) if finding.level == DOUBT}
    assert len(doubts) == 2
    assert all("structure from the bottom" in finding.advice for finding in doubts.values())
    assert "8.5 kJ/mol" in doubts["Do the paths begin and end at the bottom of their states?"].answer


def test_a_torsion_that_few_windows_remember_is_told_and_no_fault() -> None:
    summary = changed("windows.slow_torsions", [{"name": "chi", "windows": 1}])
    summary["windows"]["count"] = 10
    finding = next(f for f in verdict(summary, SHOT, DIVIDED) if f.question.startswith("Have the windows"))
    assert finding.level == GOOD
    assert finding.answer.startswith("By chi the runs from either start lie apart in 1 of 10")


@pytest.mark.parametrize("place", ["sampling.connected", "sampling.delta_f_states_kj_mol", "windows"])
def test_states_are_compared_only_where_both_know_them(place: str) -> None:
    summary = changed("windows.delta_f_states_kj_mol.value", 0.0)
    *way, last = place.split(".")
    (summary[way[0]] if way else summary)[last] = {}
    if place == "windows":
        summary["health"] = {
            "chosen_max_posterior_variance": 1.0,
            "chosen_max_posterior_variance_exact": 1.0,
            "exact_posterior": "samples",
        }
    assert "Do samples and windows agree on the states?" not in levels(summary)


def test_without_a_reference_model_and_windows_are_held_against_each_other() -> None:
    summary = changed("paths.max_free_energy_kj_mol", None)
    assert set(levels(summary).values()) == {GOOD}
    summary["geodesic"]["channels"][0]["own_barrier_kj_mol"] = 30.0
    assert levels(summary)["How high do the paths go?"] == DOUBT


def test_what_was_not_asked_is_open_and_no_fault() -> None:
    found = verdict(changed("transitions", {}), None, None)
    assert [finding.level for finding in found[-3:]] == [OPEN] * 3
    assert overall(found, for_science=True)[0] == GOOD


@pytest.mark.parametrize(
    ("place", "value", "level", "words"),
    [
        ("no_rates_because", "none of 1200 shots connects the states", DOUBT, "No: none of 1200 shots connects"),
        ("rate_b_to_a", {"error_of_log": 0.6}, DOUBT, "log k is known to 0.60"),
        ("accounted_population", 0.8, DOUBT, "come to 0.80"),
        ("accounted_population", 1.34, GOOD, "log k is known to 0.25."),  # no window sees what lies around the states
        ("transition_over_life", 0.12, DOUBT, "takes 0.12 of a state's life"),
        ("transition_over_life", 0.09, GOOD, "known to 0.25"),
        ("effective_paths", 71.0, DOUBT, "With 71 effective paths that error is too small"),
        ("shots", 0, OPEN, "no shots were asked for"),
    ],
)
def test_rates_are_judged_and_say_nothing_of_annealed_paths(place: str, value: Any, level: str, words: str) -> None:
    found = verdict(changed(f"transitions.{place}", value), SHOT, DIVIDED)
    (rates,) = [finding for finding in found if finding.question == "Are there rates?"]
    assert rates.level == level
    assert words in rates.answer
    assert overall(found, for_science=True)[0] == GOOD


def test_the_printed_answer_doubts_what_the_report_doubts() -> None:
    summary = changed("transitions.accounted_population", 0.8)
    constant = {"value": 0.012, "unit": "1/ns", "error_of_log": 0.2}
    summary["transitions"] |= {
        "rate_a_to_b": constant,
        "rate_b_to_a": constant,
        "channels": {},
        "tubes": [],
        "paths": 0,
    }
    summary["answer"] = {"barrier": None, "delta_f_states": None}
    summary["geodesic"]["chosen"] = "phi+ psi-"
    lines = dict(answer_lines(summary))
    for name in ("rate A to B", "rate B to A"):
        assert lines[name] == "0.012 1/ns, within a factor 1.22; doubtful: p_A + p_B come to 0.80"
    summary["transitions"]["accounted_population"] = 0.98
    assert dict(answer_lines(summary))["rate A to B"] == "0.012 1/ns, within a factor 1.22"


def test_few_unguided_paths_are_an_ensemble_with_a_doubt() -> None:
    question = "Is there a true path ensemble?"
    assert levels(SOUND, shooting=None)[question] == GOOD
    assert levels(changed("transitions.effective_paths", 20.0), shooting=None)[question] == DOUBT


def test_chains_and_committors_are_judged() -> None:
    question = "Have the chains of shooting mixed?"
    bare = {key: value for key, value in SHOT.items() if key != "max_free_energy_kj_mol"}  # no reference surface
    assert levels(SOUND, shooting=bare)[question] == GOOD
    for unmixed in (
        {**SHOT, "max_free_energy_kj_mol": {"gelman_rubin": 1.3}},
        {**SHOT, "length": {"gelman_rubin": 1.3}},
        {**bare, "length": {"gelman_rubin": 1.3}},
        {**bare, "length": {"gelman_rubin": None}},
        {**SHOT, "decorrelated_paths": 12},
    ):
        found = levels(SOUND, shooting=unmixed)
        assert found[question] == DOUBT
        assert found["Is there a true path ensemble?"] == GOOD
    for chains, words in ((1, "from a single chain nothing tells"), (2, "whether they agree is unknown")):
        few = {**bare, "length": {"gelman_rubin": None}, "chains": chains}
        (told,) = [f for f in verdict(SOUND, few, None) if f.question == question]
        assert words in told.answer
    assert question not in levels(SOUND, shooting=None)
    assert "Is there a true path ensemble?" not in levels(changed("transitions", {}))
    aside = {"along": None, "spread_beyond_binomial": {"mean": 0.95, "spread": 0.1}}
    assert levels(SOUND, committor=aside)["Does the top of the path divide A from B?"] == DOUBT
    along = {"along": {"half_at": None, "highest_at": 0.7}}
    assert levels(SOUND, committor=along)["Does the top of the path divide A from B?"] == DOUBT


def test_chains_that_have_not_mixed_do_not_speak_against_the_annealed_paths() -> None:
    found = verdict(SOUND, {**SHOT, "max_free_energy_kj_mol": {"gelman_rubin": 1.3}}, DIVIDED)
    assert overall(found, for_science=True)[0] == GOOD


def test_a_committor_of_zeros_and_ones_names_the_torsion_that_decides() -> None:
    """Mean one half, but each frame knows where it goes."""
    split = {
        "along": None,
        "spread_beyond_binomial": {"mean": 0.5, "spread": 0.4},
        "explained": {"by": {"share": 0.48}, "with": [{"torsion": "1:O-1:C-2:N-2:CA", "share": 0.84}]},
    }
    finding = next(f for f in verdict(SOUND, SHOT, split) if "divide" in f.question)
    assert finding.level == DOUBT
    assert "1:O-1:C-2:N-2:CA" in finding.answer
    assert "--add-torsion" in finding.advice


def test_results_of_earlier_paths_are_told() -> None:
    asked = {**DIVIDED, "paths": "before"}
    shot = {**SHOT, "paths": "before"}
    found = {f.question: f for f in verdict(SOUND, shot, asked, paths="now")}
    assert found["Does the top of the path divide A from B?"].level == OPEN
    assert "replaced since" in found["Does the top of the path divide A from B?"].answer
    assert "earlier paths" in found["Have the chains of shooting mixed?"].answer
    again = {f.question: f for f in verdict(SOUND, shot, asked, paths="before")}
    assert again["Does the top of the path divide A from B?"].level == GOOD
    assert "earlier paths" not in again["Have the chains of shooting mixed?"].answer


def test_a_quick_run_is_never_recommended() -> None:
    level, sentence = overall([Finding("?", "!", GOOD)], for_science=False)
    assert level == BAD
    assert "Not for science" in sentence
