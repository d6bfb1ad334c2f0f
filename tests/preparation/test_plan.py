"""Plans of the sampling: what they cost is what there is."""

from __future__ import annotations

from typing import Any, cast

import pytest
import yaml

from spacetime_tps.parallel import WorkerPool
from spacetime_tps.preparation import plan
from spacetime_tps.preparation.decisions import Decision
from tests.boltzmann.dihedral import STRUCTURES, dihedral

SPEED = 50_000.0
MINUTES = 7.0
AFFORDABLE_PS = 60 * MINUTES * SPEED * 0.004


def planned(torsions: int, monkeypatch: pytest.MonkeyPatch, speed: float = SPEED) -> dict[str, Any]:
    """The section ``sampling`` for a molecule whose simulations do ``speed`` steps a second, all together."""
    monkeypatch.setattr(plan, "throughput", lambda *_: speed)
    decision = Decision(cast(Any, [None] * torsions), ({}, {}), (1.0, 1.0), ())
    with WorkerPool(1) as pool:
        found = plan.plan_sampling(dihedral(), STRUCTURES[0], decision, MINUTES, pool)
    assert f"at {speed:,.0f} steps/s" in found.why
    section = yaml.safe_load("\n".join(found.lines))
    return {key: float(value[:-3]) if str(value).endswith(" ps") else value for key, value in section.items()}


@pytest.mark.parametrize("torsions", [1, 2])
def test_walkers_of_metadynamics_share_the_time(torsions: int, monkeypatch: pytest.MonkeyPatch) -> None:
    section = planned(torsions, monkeypatch)
    assert section["kind"] == "metadynamics"
    each = section["build_time"] + section["frozen_time"]
    assert section["walkers"] * each == pytest.approx(AFFORDABLE_PS, rel=0.02)
    assert section["build_time"] / each == pytest.approx(0.35, abs=0.01)


def test_replicas_of_all_ladders_share_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nine tenths of it: the bias that flattens their energies, and what settles, take the rest."""
    section = planned(3, monkeypatch)
    assert section["kind"] == "replica_exchange"
    assert section["replicas"] >= 2
    assert section["highest_temperature"] == "660 K"
    assert section["walkers"] * section["replicas"] * section["time"] == pytest.approx(0.9 * AFFORDABLE_PS, rel=0.02)
    assert section["discard_time"] <= 0.1 * section["time"]


def test_no_time_is_too_short_to_be_simulated(monkeypatch: pytest.MonkeyPatch) -> None:
    section = planned(1, monkeypatch, speed=1.0)
    assert (section["build_time"], section["frozen_time"]) == (50, 100)
