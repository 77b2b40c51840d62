"""Figures of a bundle: pure functions from what its files say to a figure, its rows and its words.

`drawings` yields all that a bundle has the data for. Their files are the same bytes whenever they are made
with the same Matplotlib.
"""

from __future__ import annotations

from collections.abc import Iterator

from benchmark.report.evidence import Evidence
from benchmark.report.figures import results, searches
from benchmark.report.figures.style import Drawing, pdf, png

__all__ = ["Drawing", "drawings", "pdf", "png"]


def drawings(evidence: Evidence) -> Iterator[Drawing]:
    """Yield the figures of a bundle: those of all systems first, then those of each searched system."""
    tables, ranked = evidence.tables, evidence.ranked
    level = None if tables.interval["reason"] else tables.interval["level"]
    yield results.forest(tables.leaderboard, level)
    if ranked:
        yield results.folds(ranked, evidence.runs)
        yield results.speakers(ranked, evidence.runs, len(evidence.corpus["classes"]))
    for system in ranked:
        yield from _of(system, evidence)


def _of(system: str, evidence: Evidence) -> Iterator[Drawing]:
    yield results.confusion(system, evidence.tables.per_class[system])
    yield results.reliability(system, evidence.runs_of(system))
    own = evidence.searches.get(system, ())
    if not own:
        return
    (row,) = (row for row in evidence.tables.leaderboard if row["system"] == system)
    sampler = evidence.study.get("sampler", "search")
    yield searches.budget(system, own, row["uar_fold_mean"], sampler)
    for drawing in (
        searches.curves(system, own, evidence.histories.get(system, ())),
        searches.trees(system, own),
        searches.importance(system, own),
        searches.parallel(system, own),
    ):
        if drawing:
            yield drawing
