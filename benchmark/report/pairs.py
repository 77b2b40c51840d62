"""Every two systems on the page, beside their list: as a matrix, and what the tests themselves do not say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmark.report.formats import chance, points
from benchmark.report.page import Sheet

Row = Mapping[str, Any]

_MATRIX = (
    "Above the diagonal: UAR of the row's system less that of the column's, in points, with its interval "
    "over speakers. Below it: p of sign flips over speakers, as it is and adjusted after Holm."
)
_BESIDE = (
    "Beside the tests; ties rest on none of it. The interval draws training seeds again too, not speakers "
    "alone. McNemar's p counts clips (each system's majority vote over its seeds) and takes those of one "
    "speaker for independent, so it is a diagnostic and often too small. Detectable: the difference in "
    "points that so many speakers would show with 80 % power at Holm's first level."
)


def sheets(pairs: Sequence[Row], order: Sequence[str]) -> list[Sheet]:
    """Return the tables of the page, from rows of `scores.PAIR_COLUMNS`; none without an interval.

    Args:
        order: of the systems, as in the leaderboard.
    """
    if not pairs or pairs[0]["lo"] is None:
        return []
    return [
        Sheet(
            "pair-matrix", "Every two systems, as a matrix", _MATRIX, *matrix(pairs, order), sortable=False
        ),
        Sheet("pair-beside", "Every two systems, beside the tests", _BESIDE, *beside(pairs), folded=True),
    ]


def matrix(pairs: Sequence[Row], order: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    """Return header and cells: a row and a column a system that was tested, in the leaderboard's order."""
    tested = {pair[end] for pair in pairs for end in ("system_a", "system_b")}
    systems = [system for system in order if system in tested]
    told = {}
    for pair in pairs:
        one, other = pair["system_a"], pair["system_b"]
        told[one, other] = points(pair)
        told[other, one] = f"p {chance(pair['p'])}, Holm {chance(pair['p_holm'])}"
    cells = [[row, *(told.get((row, column), "") for column in systems)] for row in systems]
    return ["System", *systems], cells


def beside(pairs: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Return header and cells: a row a pair."""
    header = ["System", "Against", "Difference, speakers and seeds drawn", "p, McNemar", "Detectable"]
    cells = [
        [
            *(pair["system_a"], pair["system_b"]),
            points({"effect": pair["effect"], "lo": pair["crossed_lo"], "hi": pair["crossed_hi"]}),
            *(f"{pair['mcnemar_p']:.2g}", f"{100 * pair['min_detectable']:.1f}"),
        ]
        for pair in pairs
    ]
    return header, cells
