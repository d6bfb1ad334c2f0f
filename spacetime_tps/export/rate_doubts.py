"""Reasons to doubt the rate constants of a run, for the printed answer and the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_SHARP_LOG = 0.5
"""Error of a log rate up to which it is worth something."""
_BRIEF = 0.1
"""Transition time over the life of a state up to which a transition is a rare event."""
_SOUND_PATHS = 100.0
"""With fewer effective paths errors of rates are too small: 0.17 with 71 on Müller-Brown, where the scatter is 0.29."""
_SHORT = 0.1
"""Largest accepted gap between p_A + p_B and one. A sum above one is harmless: molecules left a state for a while for
places that no window sampled, and the rates do not depend on these."""


@dataclass(frozen=True)
class RateDoubt:
    """One reason: in a few words, in a sentence for the report, and what to do about it."""

    words: str
    sentence: str
    advice: str


def by_torsions(summary: Mapping[str, Any]) -> bool:
    """Whether the run can be refined, and torsions be added to it."""
    return summary["definition"]["kind"] == "molecule" and summary.get("representation", "torsions") == "torsions"


def doubt_on_rates(summary: Mapping[str, Any]) -> RateDoubt | None:
    """The first reason to doubt the rates in a summary, or None."""
    shots = summary["transitions"]
    error = max(shots[key]["error_of_log"] for key in ("rate_a_to_b", "rate_b_to_a"))
    if (whole := shots["accounted_population"]) < 1.0 - _SHORT:
        sentence = f"p_A + p_B come to {whole:.2f} only."
        advice = "Something populated lies outside both states: widen their regions."
        return RateDoubt(f"p_A + p_B come to {whole:.2f}", sentence, advice)
    if error > _SHARP_LOG:
        advice = "More shots (transitions.shots), or longer windows (windows.steps)."
        return RateDoubt("a wide error", "", advice)
    if (share := shots["transition_over_life"]) > _BRIEF:
        sentence = f"A transition takes {share:.2f} of a state's life: it is no rare event."
        advice = "Read the constants as 1 over a mean time; times are not exponential."
        return RateDoubt("transitions are no rare events", sentence, advice)
    if (paths := shots["effective_paths"]) < _SOUND_PATHS:
        sentence = f"With {paths:.0f} effective paths that error is too small."
        return RateDoubt("few effective paths, so the error is too small", sentence, "More shots: transitions.shots.")
    return None
