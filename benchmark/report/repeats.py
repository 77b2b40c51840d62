"""What the search's own chance adds: the spread of several searches of one system."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean, stdev
from typing import Any

from benchmark.files import csv_text
from benchmark.report import formats
from benchmark.schema import searched_system

Row = Mapping[str, Any]
COLUMNS = ("system", "searches", "uar", "uar_search_sd", "uar_min", "uar_max", "uar_seed_sd")
ABOUT = (
    "Several searches of each system that differ in their random numbers alone: UAR in %, mean over the "
    "searches; SD over the searches, each a mean over its refits; SD over the refits of one search, mean "
    "over the searches. No search is the best one: the mean is what to cite. "
)


def rows(leaderboard: Sequence[Row]) -> list[dict[str, Any]]:
    """Return a row for each system that was searched more than once, best first."""
    searches: dict[str, list[Row]] = {}
    for row in leaderboard:
        system = searched_system(row["system"])
        if row["system"] != system and row["trials"] is not None:  # not of one from elsewhere
            searches.setdefault(system, []).append(row)
    out = [_row(system, own) for system, own in searches.items() if len(own) > 1]
    return sorted(out, key=lambda row: -row["uar"])


def _row(system: str, own: Sequence[Row]) -> dict[str, Any]:
    uar = [row["uar"] for row in own]
    by_seed = [row["uar_seed_sd"] for row in own if row["uar_seed_sd"] is not None]
    return {
        "system": system, "searches": len(own), "uar": mean(uar), "uar_search_sd": stdev(uar),
        "uar_min": min(uar), "uar_max": max(uar), "uar_seed_sd": mean(by_seed) if by_seed else None,
    }  # fmt: skip


def files(leaderboard: Sequence[Row], about: str, name: str) -> dict[str, str]:
    """Return repeats.{csv,md,tex}, path → text; nothing where each system was searched once."""
    found = rows(leaderboard)
    if not found:
        return {}
    header, cells = table(found)
    return {
        "repeats.csv": csv_text(COLUMNS, found),
        "repeats.md": formats.markdown(header, cells, ABOUT + about),
        "repeats.tex": formats.latex(header, cells, ABOUT + about, f"{name}-repeats"),
    }


def table(found: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Return header and cells, UAR in %."""
    header = ["System", "Searches", "UAR", "SD over searches", "Lowest", "Highest", "SD over refits"]
    cells = [
        [row["system"], str(row["searches"]), *(formats.percent(row, key) for key in COLUMNS[2:])]
        for row in found
    ]
    return header, cells
