"""The stages of a run, in their order."""

from spacetime_tps.config import RunConfig
from spacetime_tps.stages.committor import committor_in
from spacetime_tps.stages.compare import compare
from spacetime_tps.stages.context import Context, Stage, StageResult, check_hardware, run_stages
from spacetime_tps.stages.distance import distances_between
from spacetime_tps.stages.export import export, finish_summary
from spacetime_tps.stages.extend import with_torsions
from spacetime_tps.stages.first_paths import path_from_file
from spacetime_tps.stages.folder import STAGES, RunFolder, stages_of
from spacetime_tps.stages.geodesic import geodesic
from spacetime_tps.stages.infretis import write_infretis
from spacetime_tps.stages.loading import load_paths
from spacetime_tps.stages.paths import paths
from spacetime_tps.stages.refine import refine
from spacetime_tps.stages.report import FILE as REPORT
from spacetime_tps.stages.report import write_report
from spacetime_tps.stages.run import Run
from spacetime_tps.stages.sample import recorded_columns, sample
from spacetime_tps.stages.shoot import end_with_paths_of_the_ensemble, shoot_in
from spacetime_tps.stages.train import train
from spacetime_tps.stages.windows import windows

STAGE_FUNCTIONS: dict[str, Stage] = {
    "sample": sample,
    "train": train,
    "geodesic": geodesic,
    "refine": refine,
    "paths": paths,
    "windows": windows,
    "export": export,
}


def stages_to_run(config: RunConfig, first: str = STAGES[0], last: str = STAGES[-1]) -> dict[str, Stage]:
    """The stages that a configuration asks for, from one to another."""
    wanted = STAGES[STAGES.index(first) : STAGES.index(last) + 1]
    return {name: STAGE_FUNCTIONS[name] for name in stages_of(config) if name in wanted}


__all__ = [
    "REPORT",
    "STAGES",
    "STAGE_FUNCTIONS",
    "Context",
    "Run",
    "RunFolder",
    "StageResult",
    "check_hardware",
    "committor_in",
    "compare",
    "distances_between",
    "end_with_paths_of_the_ensemble",
    "finish_summary",
    "load_paths",
    "path_from_file",
    "recorded_columns",
    "run_stages",
    "shoot_in",
    "stages_of",
    "stages_to_run",
    "with_torsions",
    "write_infretis",
    "write_report",
]
