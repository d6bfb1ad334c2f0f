"""The table of a comparison: truth, rows, spreads, and who is said to win."""

from __future__ import annotations

import numpy as np
import pytest

from spacetime_tps.analysis.comparison import MethodPaths, markdown, row_of, spread, truth_for, verdicts

RNG = np.random.default_rng(3)
TURNING = {0: "phi", 1: "psi"}


def made(center: float, n: int = 400, arrived: float = 1.0, **scalars: float) -> MethodPaths:
    values = center + RNG.standard_normal(n)
    return MethodPaths(
        max_free_energy=values,
        arrived=np.arange(n) < arrived * n,
        displacement=np.tile([3.0, -3.0], (n, 1)),
        density=np.full((2, 2), center),
        length=np.full(n, np.nan),
        scalars={"force_evaluations": 1e6} | scalars,
    )


def test_truth_is_brute_force_where_there_is_some_and_never_the_method_itself() -> None:
    rows = [{"tps_one_way": made(1.0), "tps_two_way": made(2.0), "geodesic": made(5.0)} for _ in range(2)]
    truth = truth_for("geodesic", rows)
    assert truth is not None
    assert truth.source == "tps_one_way and tps_two_way"
    assert truth.max_free_energy.mean() == pytest.approx(1.5, abs=0.1)
    assert truth.density == pytest.approx(np.full((2, 2), 1.5))
    own = truth_for("tps_one_way", rows)
    assert own is not None
    assert own.source == "tps_two_way"
    assert own.max_free_energy.mean() == pytest.approx(2.0, abs=0.1)
    for row in rows:
        row["unbiased"] = made(1.2)
    assert truth_for("geodesic", rows).source == "unbiased dynamics"  # type: ignore[union-attr]
    assert truth_for("unbiased", rows).source == "tps_one_way and tps_two_way"  # type: ignore[union-attr]
    rows[0]["unbiased"] = made(1.2, n=0)
    assert truth_for("geodesic", rows).source == "tps_one_way and tps_two_way"  # type: ignore[union-attr]


def test_a_row_counts_arrived_paths_only() -> None:
    paths = made(5.0, arrived=0.25)
    paths.max_free_energy[100:] = 1000.0
    truth = truth_for("geodesic", [{"tps_one_way": made(1.0), "tps_two_way": made(1.0)}])
    row = row_of(paths, truth, 4.0, TURNING, np.random.default_rng(0))
    assert row["arrived"] == 0.25
    assert row["max_free_energy"] == pytest.approx(5.0, abs=0.4)
    assert row["above_bound"] == pytest.approx(row["max_free_energy"] - 4.0)
    assert row["w1"] == pytest.approx(4.0, abs=0.4)  # shifted copies of one distribution
    assert row["density_overlap"] == pytest.approx(1.0 / 5.0)
    assert row["share of phi+ psi-"] == 1.0
    assert "path_length" not in row


def test_a_method_without_paths_has_a_row() -> None:
    row = row_of(made(0.0, n=0), None, 4.0, TURNING, np.random.default_rng(0))
    assert row["arrived"] == 0.0
    assert "max_free_energy" not in row


def test_spread_over_seeds() -> None:
    table = spread([{"a": 1.0, "b": 2.0}, {"a": 3.0}, {"a": float("nan")}])
    assert table["a"] == {"mean": 2.0, "std": pytest.approx(np.sqrt(2.0)), "n": 2}
    assert table["b"]["n"] == 1
    assert np.isnan(table["b"]["std"])


def test_arrays_there_and_back() -> None:
    paths = made(1.0, acceptance=0.5)
    again = MethodPaths.of({k: np.array(v) for k, v in paths.arrays().items()})
    assert again.scalars == paths.scalars
    assert np.array_equal(again.max_free_energy, paths.max_free_energy)


def entry(mean: float) -> dict[str, float]:
    return {"mean": mean, "std": 0.1, "n": 3}


def test_where_a_baseline_wins_the_table_says_so() -> None:
    methods = {
        "geodesic": {"w1": entry(1.0), "arrived": entry(1.0), "force_evaluations": entry(2e7)},
        "line": {"w1": entry(0.5), "arrived": entry(0.9), "force_evaluations": entry(2e6)},
        "tps_one_way": {"w1": entry(0.1), "arrived": entry(1.0), "force_evaluations": entry(1e6)},
    }
    said = verdicts(methods)
    assert said[0] == "Closer to the true ensemble (W1) than the geodesic: line; level: none."
    assert said[1] == "Arrives more often than the geodesic: no generator; level: line."
    assert "geodesic: line;" in said[2]
    text = markdown(methods, "kJ/mol", "somebody")
    assert "| line | 0.50 ± 0.10 |" in text
    assert "2.00M ± 0.00M" in text
    assert all(sentence in text for sentence in said)
