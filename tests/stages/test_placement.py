"""Where restrained windows stand along a geodesic."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from spacetime_tps.paths.ensemble import PathEnsemble
from spacetime_tps.representations import Torsions
from spacetime_tps.stages.context import opened
from spacetime_tps.stages.folder import RunFolder
from spacetime_tps.stages.paths import chosen_curve
from spacetime_tps.stages.placement import Placed, place_windows
from spacetime_tps.stages.train import load_denoiser
from spacetime_tps.stages.windows import _log_partition, velocity_along


@pytest.fixture(scope="module")
def run(tiny_alanine_run: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    out = tmp_path_factory.mktemp("placed") / "run"
    shutil.copytree(tiny_alanine_run, out)
    return RunFolder(out)


def placed(run: RunFolder, **windows: object) -> tuple[Placed, np.ndarray]:
    """Windows of a run with other settings, long enough for their runs to meet, and the overlaps of neighbours."""
    config = run.config()
    fewer = config.windows.model_copy(update={"steps": 3000, "spacing": 6.0, **windows})
    config = config.model_copy(update={"windows": fewer})
    with opened(run, config) as context:
        paths = PathEnsemble.load(run / "paths.npz")
        found = place_windows(context, chosen_curve(context), load_denoiser(context), paths, "windows")
        assert not found.stuck(context.system).any()
        return found, found.overlaps(context.system)


@pytest.fixture(scope="module")
def evenly(run: RunFolder) -> tuple[Placed, np.ndarray]:
    return placed(run, least_overlap=0.0)


def test_more_windows_stand_where_neighbours_overlap_too_little(
    run: RunFolder, evenly: tuple[Placed, np.ndarray]
) -> None:
    first, overlaps = evenly
    count = len(first.share)
    assert np.diff(first.share) == pytest.approx(1 / (count - 1))
    limit = float(np.median(overlaps))
    more, improved = placed(run, least_overlap=limit)
    assert np.isin(first.share, more.share).all()
    halves = 0.5 * (first.share[:-1] + first.share[1:])[overlaps < limit]
    assert len(halves) > 0
    assert np.isin(halves, more.share).all()
    assert (np.diff(more.share) > 0).all()
    assert improved.min() > overlaps.min()
    assert len(np.unique(more.simulation)) == more.simulation.size
    assert more.force_evaluations / first.force_evaluations == pytest.approx(len(more.share) / count)


def test_there_are_not_more_than_the_most_and_the_worst_gaps_come_first(
    run: RunFolder, evenly: tuple[Placed, np.ndarray]
) -> None:
    first, overlaps = evenly
    count = len(first.share)
    more, _ = placed(run, least_overlap=0.49, most=count + 1)
    added = more.share[~np.isin(more.share, first.share)]
    worst = int(overlaps.argmin())
    assert added.tolist() == [0.5 * (first.share[worst] + first.share[worst + 1])]


def test_a_model_that_does_not_know_psi_has_its_profile_by_integration(run: RunFolder) -> None:
    with opened(run, run.config()) as context:
        curve, denoiser, torsions = chosen_curve(context), load_denoiser(context), context.system.representation
        assert isinstance(torsions, Torsions)
        share = np.linspace(0.0, 1.0, 12)
        known = _log_partition(curve, denoiser, share, torsions)
        found = _log_partition(curve, lambda eta: replace(denoiser(eta), log_partition=None), share, torsions)
    assert (found - found[0]).numpy() == pytest.approx((known - known[0]).numpy(), abs=0.05)
    assert np.ptp(known.numpy()) > 1.0


def test_the_velocity_along_a_curve_does_not_see_where_windows_stand(run: RunFolder) -> None:
    """Integrated again it is the curve; a window that nearly coincides with a point of some grid changes nothing."""
    with opened(run, run.config()) as context:
        curve, representation = chosen_curve(context), context.system.representation
        share = np.linspace(0.0, 1.0, 1600)
        velocity = velocity_along(curve, representation, share)
        moved = velocity_along(curve, representation, np.clip(share * (1 + 2e-16), 0.0, 1.0))
        ends = representation.natural(torch.from_numpy(curve.at_shares(np.array([0.0, 1.0])))).numpy()
    assert moved == pytest.approx(velocity, rel=1e-9, abs=1e-9 * np.abs(velocity).max())
    travelled = (0.5 * (velocity[1:] + velocity[:-1]) * np.diff(share)[:, None]).sum(axis=0)
    assert travelled == pytest.approx(ends[1] - ends[0], abs=0.01 * np.abs(velocity).mean())
