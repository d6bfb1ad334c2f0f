"""What a person reads at the end of a run."""

from __future__ import annotations

import math
from typing import Any

import click

from spacetime_tps.export.answer import answer_lines
from spacetime_tps.export.rate_doubts import by_torsions
from spacetime_tps.files import read_json
from spacetime_tps.stages import REPORT, RunFolder
from spacetime_tps.units import shown_number


def _number(value: Any, digits: int = 2) -> str:
    return shown_number(value, digits, "-")


def _held(excess: float | None) -> str:
    if excess is None or not math.isfinite(excess):
        return "unknown"
    return "held" if excess <= 0 else f"EXCEEDED by {excess:.2g}"


def _significant(value: float | None) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{value:.4g}"


def _range(values: list[float | None]) -> str:
    known = [value for value in values if value is not None and math.isfinite(value)]
    return f"{min(known):.2f} to {max(known):.2f}" if known else "unknown"


def _barriers(channel: dict[str, Any], suffix: str, unit: str, avoiding: bool) -> str:
    if f"barrier_{suffix}" not in channel:
        own = _number(channel[f"own_barrier_{suffix}"])
        return f"{own} {unit} above the lowest point of the run's own samples (no reference)"
    where = "in this channel outside of the avoided region" if avoiding else "in this channel"
    least = _number(channel[f"minimax_barrier_{suffix}"])
    height = _number(channel[f"barrier_{suffix}"])
    return f"barrier {height} {unit} on the reference surface, least possible {where} {least}"


def _constraints(channel: dict[str, Any]) -> str:
    violations = channel["constraint_violations"].items()
    return ", ".join(f"{name} {_held(g)}" for name, g in violations)


def _spreads(channel: dict[str, Any]) -> str:
    """Largest posterior standard deviations on the chosen geodesic by the model, in brackets what they are."""
    units = {"max_posterior_std_deg": " deg", "max_posterior_std_angstrom": " A", "max_posterior_std": ""}
    key, unit = next((key, unit) for key, unit in units.items() if key in channel)
    exact = channel[key.replace("std", "std_exact")]
    shown = ", ".join(
        f"{name} {_significant(value)} ({_significant(exact[name])})" for name, value in channel[key].items()
    )
    return f"{shown}{unit} at most on the geodesic, by the model"


def _channel(geodesic: dict[str, Any], suffix: str, unit: str, avoiding: bool) -> list[str]:
    channel = geodesic["channels"][0]
    return [
        f"channel           {channel['label']} ({'converged' if channel['converged'] else 'NOT CONVERGED'}), "
        f"{_barriers(channel, suffix, unit, avoiding)}",
        f"constraints       {_constraints(channel)}",
        f"spread            {_spreads(channel)} (by the {geodesic['exact_posterior']})",
    ]


def _paths(summary: dict[str, Any], suffix: str, unit: str) -> list[str]:
    paths, reference = summary["paths"], summary["reference"]
    work, delta_f = paths["dissipated_work_kt"], paths[f"delta_f_{suffix}"]
    ends = f"{_number(delta_f['crooks'])} +- {_number(delta_f['error'])} {unit}"
    lines = [
        f"paths             {paths['count']}, arrived {paths['arrived_fraction']:.0%}, "
        f"started in their state {paths['started_fraction']:.0%}",
        f"dissipated work   {_number(work['forward'])} +- {_number(work['forward_error'])} kT forward, "
        f"{_number(work['backward'])} +- {_number(work['backward_error'])} kT backward",
        f"restrained ends   B-A of these ensembles {ends} by work"
        + _by_windows(summary["windows"], suffix)
        + ("" if delta_f["reference"] is None else f", {_number(delta_f['reference'])} by the reference"),
    ]
    if highest := paths.get(f"max_free_energy_{suffix}"):
        lines.append(
            f"max free energy   {_number(highest['mean'])} +- {_number(highest['std'])} {unit}, "
            f"least possible between the states {_number(reference[f'minimax_barrier_{suffix}'])} "
            f"+- {_number(reference[f'error_{suffix}'])}"
        )
    if share := paths.get("avoided_share"):
        lines.append(f"avoided region    {share['mean']:.3%} of all steps, wanted at most {share['limit']:.3%}")
    return lines


def _windows(summary: dict[str, Any], suffix: str, unit: str) -> list[str]:
    windows = summary["windows"]
    if not windows:
        return []
    barrier, expected = windows[f"barrier_{suffix}"], windows["dissipated_work_kt"]
    wrong = f", MODEL WRONG at {windows['wrong']}" if windows["wrong"] else ""
    height = f"{_number(barrier['value'])} +- {_number(barrier['error'])} {unit}"
    ratios, single = ([point[key] for point in windows["points"]] for key in ("ratio", "worst_block_ratio"))
    right = f"variance {_range(ratios)} times the model's"
    right += "" if single == ratios else f" (single torsions {_range(single)})"
    lines = [
        f"windows           {windows['count']} simulated: {right}{wrong}; barrier {height}",
        f"linear response   {_number(expected['predicted'])} kT should be dissipated, "
        f"{_number(expected['if_always_relaxed'])} kT if always relaxed; relaxation time "
        f"{_number(windows['relaxation_time_ps'], 3)} ps",
    ]
    if states := windows.get(f"delta_f_states_{suffix}"):
        sampled = summary["sampling"].get(f"delta_f_states_{suffix}", {}).get("value")
        lines.append(
            f"states            B-A {_number(states['value'])} +- {_number(states['error'])} {unit} by windows, "
            f"{_number(sampled)} by the samples"
        )
    return lines


def _by_windows(windows: dict[str, Any], suffix: str) -> str:
    ends = windows.get(f"delta_f_ends_{suffix}")
    return f", {_number(ends['value'])} +- {_number(ends['error'])} by windows" if ends else ""


def _hysteresis(paths: dict[str, Any]) -> list[str]:
    if not paths.get("hysteresis"):
        return []
    row = paths["hysteresis"][0]
    return [
        f"worst hysteresis  {row['name']}: {_number(row['difference_deg'], 0)} +- {_number(row['error_deg'], 0)} deg"
    ]


def _slow(summary: dict[str, Any]) -> list[str]:
    windows = summary["windows"]
    advice = "; take it in: run SYSTEM -o OUT --resume --add-torsion auto" if by_torsions(summary) else ""
    return [
        f"slow torsion      {row['name']}: apart in {row['windows']} of {windows['count']} windows{advice}"
        for row in windows.get("slow_torsions", [])[:1]
    ]


def _accuracy(summary: dict[str, Any]) -> list[str]:
    found = summary.get("accuracy")
    if found is None:
        return []
    ended = "" if found["stopped_because"] == "accuracy" else f"; {found['stopped_because']} ended the rounds"
    return [
        f"accuracy          {_significant(found['wanted'])} {found['unit']} wanted, "
        f"{shown_number(found['reached'])} reached{ended}"
    ]


def _files(folder: RunFolder, molecule: bool) -> list[str]:
    lines = []
    if (folder / "shooting/summary.json").is_file():
        sampled = read_json(folder / "shooting/summary.json")
        accepted, paths = sampled["acceptance"]["all"]["share"], sampled["decorrelated_paths"]
        lines.append(
            f"chains            {paths} decorrelated paths, acceptance {accepted:.0%}, in {folder / 'shooting'}"
        )
    if molecule:
        if (folder / "ensemble/paths.npz").is_file():
            lines.append(f"unguided paths    {folder / 'ensemble'}/path_*.dcd, drawn by the weights in weights.csv")
        lines.append(f"annealed paths    {folder / 'paths'}/path_*.dcd, both with {folder / 'topology.pdb'}")
    lines.append(f"summary           {folder / 'summary.json'}")
    if (folder / REPORT).is_file():
        lines.append(f"read first        {folder / REPORT}")
    return lines


def print_summary(folder: RunFolder) -> None:
    """Print the verdict of ``summary.json`` and where the files are."""
    summary = read_json(folder / "summary.json")
    paths, molecule = summary["paths"], "kinetic_temperature_k" in summary["paths"]
    suffix, unit = ("kj_mol", "kJ/mol") if molecule else ("kt", "kT")
    lines = [
        *([] if summary["for_science"] else ["PRESET QUICK: NOT FOR SCIENCE"]),
        *(f"{name:<18}{words}" for name, words in answer_lines(summary)),
        *_channel(summary["geodesic"], suffix, unit, "avoided_share" in paths),
        *_paths(summary, suffix, unit),
        *_windows(summary, suffix, unit),
        *_hysteresis(paths),
        *_slow(summary),
        *_accuracy(summary),
        f"force evaluations {sum(summary['force_evaluations'].values()):,}",
        f"note              {paths['nature']}",
        *_files(folder, molecule),
    ]
    click.echo("\n".join(lines))
