"""Which function runs which stage."""

from __future__ import annotations

from spacetime_tps.config import RunConfig
from spacetime_tps.stages.context import Stage
from spacetime_tps.stages.export import export
from spacetime_tps.stages.folder import STAGES, stages_of
from spacetime_tps.stages.geodesic import geodesic
from spacetime_tps.stages.paths import paths
from spacetime_tps.stages.refine import refine
from spacetime_tps.stages.sample import sample
from spacetime_tps.stages.train import train
from spacetime_tps.stages.transitions import transitions
from spacetime_tps.stages.windows import windows

STAGE_FUNCTIONS: dict[str, Stage] = {
    "sample": sample,
    "train": train,
    "geodesic": geodesic,
    "refine": refine,
    "paths": paths,
    "windows": windows,
    "transitions": transitions,
    "export": export,
}


def stages_to_run(config: RunConfig, first: str = STAGES[0], last: str = STAGES[-1]) -> dict[str, Stage]:
    """The stages that a configuration asks for, from one to another."""
    wanted = STAGES[STAGES.index(first) : STAGES.index(last) + 1]
    return {name: STAGE_FUNCTIONS[name] for name in stages_of(config) if name in wanted}
