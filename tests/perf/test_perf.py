"""What `make perf` compares computes the same on both sides; no time is asserted."""

from __future__ import annotations

from dataclasses import replace

import bench_bootstrap
import bench_features
import bench_forest
import bench_networks
import bench_report
import bench_trials
import pytest
from _bench import Comparison, Side, measure, row

pytestmark = pytest.mark.perf


@pytest.mark.parametrize(
    "bench",
    [bench_bootstrap, bench_features, bench_forest, bench_networks, bench_report, bench_trials],
    ids=lambda bench: bench.__name__,
)
def test_both_sides_compute_the_same(bench) -> None:
    for comparison in bench.comparisons(tiny=True):
        assert comparison.same(comparison.ours.run(), comparison.other.run()), comparison.work


EQUAL = Comparison(
    "work", "units", Side("ours", 10, lambda: 1), Side("other", 5, lambda: 1), lambda a, b: a == b
)


def test_a_row_has_the_medians_of_rates_and_the_range_of_the_pairs() -> None:
    told = row(EQUAL, "work", [(1.0, 2.0), (2.0, 1.0), (5.0, 5.0)])
    assert told == "| work | ours: 5 units/s | other: 2.5 units/s | 2 | 1 to 4 |"


def test_sides_that_differ_are_refused() -> None:
    assert len(measure(EQUAL, 2)) == 1
    with pytest.raises(ValueError, match="must compute the same"):
        measure(replace(EQUAL, other=Side("other", 5, lambda: 2)), 1)
