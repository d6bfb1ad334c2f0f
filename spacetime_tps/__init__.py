"""Molecular transition paths from the spacetime geometry of diffusion models (arXiv 2505.17517)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spacetime_tps.export.transition_path import TransitionPath
    from spacetime_tps.stages import load_paths

__all__ = ["TransitionPath", "load_paths"]


def __getattr__(name: str) -> Any:
    """Public names are imported when they are used: torch and OpenMM take seconds."""
    if name == "load_paths":
        from spacetime_tps.stages import load_paths

        return load_paths
    if name == "TransitionPath":
        from spacetime_tps.export.transition_path import TransitionPath

        return TransitionPath
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
