"""What a person reads at the end of a run."""

from __future__ import annotations

from typing import Any

import click

from spacetime_tps.files import read_json
from spacetime_tps.stages import RunFolder


def _number(value: Any, digits: int = 2) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _barriers(channel: dict[str, Any], suffix: str, unit: str, avoiding: bool) -> str:
    if f"barrier_{suffix}" not in channel:
        own = _number(channel[f"own_barrier_{suffix}"])
        return f"{own} {unit} above the lowest point of the run's own samples (no reference)"
    where = "in this channel outside of the avoided region" if avoiding else "in this channel"
    least = _number(channel[f"minimax_barrier_{suffix}"])
    return f"barrier {_number(channel[f'barrier_{suffix}'])} {unit}, least possible {where} {least}"


def _constraints(channel: dict[str, Any]) -> str:
    violations = channel["constraint_violations"].items()
    return ", ".join(f"{name} {'held' if g <= 0 else f'EXCEEDED by {g:.2g}'}" for name, g in violations)


def _spreads(channel: dict[str, Any]) -> str:
    """Largest posterior standard deviations on the chosen geodesic by the model, in brackets what they are."""
    key, unit = ("max_posterior_std_deg", " deg") if "max_posterior_std_deg" in channel else ("max_posterior_std", "")
    exact = channel[key.replace("std", "std_exact")]
    shown = ", ".join(f"{name} {value:.4g} ({exact[name]:.4g})" for name, value in channel[key].items())
    return f"{shown}{unit} at most on the geodesic, by the model"


def _windows(windows: dict[str, Any], suffix: str, unit: str) -> str:
    barrier = windows[f"barrier_{suffix}"]
    wrong = f", MODEL WRONG at {windows['wrong']}" if windows["wrong"] else ""
    height = f"{_number(barrier['value'])} +- {_number(barrier['error'])} {unit}"
    single = [point["worst_torsion_ratio"] for point in windows["points"]]
    right = f"variance within a factor 1.5 of the model's at {windows['close_fraction']:.0%}"
    worst = f"single torsions {min(single):.2f} to {max(single):.2f}"
    return f"windows           {windows['count']} simulated: {right} ({worst}){wrong}; climb from the start {height}"


def _by_windows(windows: dict[str, Any], suffix: str) -> str:
    ends = windows.get(f"delta_f_ends_{suffix}")
    return f", {_number(ends['value'])} +- {_number(ends['error'])} by windows" if ends else ""


def _slowness(windows: dict[str, Any]) -> str:
    expected = windows["dissipated_work_kt"]
    return (
        f"linear response   {_number(expected['predicted'])} kT should be dissipated, relaxation time "
        f"{_number(windows['relaxation_time_ps'], 3)} ps; {_number(expected['if_always_relaxed'])} kT if always relaxed"
    )


def _ensemble(summary: dict[str, Any], folder: RunFolder) -> str:
    accepted, paths = summary["acceptance"]["all"]["share"], summary["decorrelated_paths"]
    return f"true ensemble     {paths} decorrelated paths, acceptance {accepted:.0%}, in {folder / 'shooting'}"


def print_summary(folder: RunFolder) -> None:
    """Print the verdict of ``summary.json`` and where the files are."""
    summary = read_json(folder / "summary.json")
    unit = "kJ/mol" if "kinetic_temperature_k" in summary["paths"] else "kT"
    suffix = "kj_mol" if unit == "kJ/mol" else "kt"
    paths, reference = summary["paths"], summary["reference"]
    channel = summary["geodesic"]["channels"][0]
    work, delta_f = paths["dissipated_work_kt"], paths[f"delta_f_{suffix}"]
    lines = []
    if not summary["for_science"]:
        lines.append("PRESET QUICK: NOT FOR SCIENCE")
    lines += [
        f"channel           {channel['label']} ({'converged' if channel['converged'] else 'NOT CONVERGED'}), "
        f"{_barriers(channel, suffix, unit, 'avoided_share' in paths)}",
        f"constraints       {_constraints(channel)}",
        f"spread            {_spreads(channel)} (by the {summary['geodesic']['exact_posterior']})",
        f"paths             {paths['count']}, arrived {paths['arrived_fraction']:.0%}, "
        f"started in their state {paths['started_fraction']:.0%}",
        f"dissipated work   {_number(work['forward'])} +- {_number(work['forward_error'])} kT forward, "
        f"{_number(work['backward'])} +- {_number(work['backward_error'])} kT backward",
        f"restrained ends   B-A {_number(delta_f['crooks'])} +- {_number(delta_f['error'])} {unit} by work"
        + _by_windows(summary["windows"], suffix)
        + ("" if delta_f["reference"] is None else f", {_number(delta_f['reference'])} by the reference"),
    ]
    highest = paths.get(f"max_free_energy_{suffix}")
    if highest is not None:
        lines.append(
            f"max free energy   {_number(highest['mean'])} +- {_number(highest['std'])} {unit}, "
            f"least possible between the states {_number(reference[f'minimax_barrier_{suffix}'])} "
            f"+- {_number(reference[f'error_{suffix}'])}"
        )
    if "avoided_share" in paths:
        share = paths["avoided_share"]
        lines.append(f"avoided region    {share['mean']:.3%} of all steps, wanted at most {share['limit']:.3%}")
    if summary["windows"]:
        lines.append(_windows(summary["windows"], suffix, unit))
        lines.append(_slowness(summary["windows"]))
        if states := summary["windows"].get(f"delta_f_states_{suffix}"):
            sampled = summary["sampling"].get(f"delta_f_states_{suffix}", {}).get("value")
            lines.append(
                f"states            B-A {_number(states['value'])} +- {_number(states['error'])} {unit} by windows, "
                f"{_number(sampled)} by the samples"
            )
    if paths.get("hysteresis"):
        row = paths["hysteresis"][0]
        lines.append(f"worst hysteresis  {row['name']}: {row['difference_deg']:.0f} +- {row['error_deg']:.0f} deg")
    lines.append(f"force evaluations {sum(summary['force_evaluations'].values()):,}")
    lines.append(f"note              {paths['nature']}")
    if (folder / "shooting/summary.json").is_file():
        lines.append(_ensemble(read_json(folder / "shooting/summary.json"), folder))
    if unit == "kJ/mol":
        lines.append(f"trajectories      {folder / 'paths'}/path_*.dcd with {folder / 'topology.pdb'}")
    lines.append(f"summary           {folder / 'summary.json'}")
    click.echo("\n".join(lines))
