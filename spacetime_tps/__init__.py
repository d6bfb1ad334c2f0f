"""Molecular transition paths from the spacetime geometry of diffusion models (arXiv 2505.17517)."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spacetime_tps.export.transition_path import TransitionPath
    from spacetime_tps.stages import Run, load_paths
    from spacetime_tps.untrusted.trust import trusting

__all__ = ["Run", "TransitionPath", "load_paths", "trusting"]

_HOME = {
    "Run": "spacetime_tps.stages",
    "TransitionPath": "spacetime_tps.export.transition_path",
    "load_paths": "spacetime_tps.stages",
    "trusting": "spacetime_tps.untrusted.trust",
}


def __getattr__(name: str) -> Any:
    """Public names are imported when they are used: torch and OpenMM take seconds."""
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
