"""The stages of a run, in their order."""

from spacetime_tps.stages.chain import STAGE_FUNCTIONS, stages_to_run
from spacetime_tps.stages.committor import committor_in
from spacetime_tps.stages.compare import compare
from spacetime_tps.stages.context import Context, StageResult, check_beforehand, check_selectors, run_stages
from spacetime_tps.stages.distance import distances_between
from spacetime_tps.stages.extend import with_torsions
from spacetime_tps.stages.first_paths import path_from_file
from spacetime_tps.stages.folder import REPORT, STAGES, RunFolder, stages_of
from spacetime_tps.stages.infretis import write_infretis
from spacetime_tps.stages.loading import load_paths
from spacetime_tps.stages.report import conclude, write_report
from spacetime_tps.stages.run import Run
from spacetime_tps.stages.sample import recorded_columns
from spacetime_tps.stages.shoot import FIRST_PATHS, end_with_paths_of_the_ensemble, shoot_in

__all__ = [
    "FIRST_PATHS",
    "REPORT",
    "STAGES",
    "STAGE_FUNCTIONS",
    "Context",
    "Run",
    "RunFolder",
    "StageResult",
    "check_beforehand",
    "check_selectors",
    "committor_in",
    "compare",
    "conclude",
    "distances_between",
    "end_with_paths_of_the_ensemble",
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
