"""What the searches reached on inner validation, made of their trials alone: validation.{csv,md}."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmark import bundle
from benchmark.files import csv_text, parse_typed, read_csv
from benchmark.report.formats import markdown, percent, plain

Row = Mapping[str, Any]
Trials = Sequence[dict[str, str]]

_SEARCHES = ("trials", "random")  # the files of a search: its own trials, the random search beside it
_SCORES = ("searched", "random", "published")
_COUNTS = ("trials", "complete", "pruned", "failed")
_TRIALS = (*_COUNTS, *(f"random_{count}" for count in _COUNTS))
COLUMNS = ("system", *_SCORES, *_TRIALS)


def rows(folder: Path) -> list[dict[str, Any]]:
    """Return a row a system: best scores (means over folds, None where a fold has none), counts of trials."""
    found: list[dict[str, Any]] = []
    for place in sorted(folder.glob("searches/*")):
        tpe, random = ([read_csv(p) for p in sorted(place.glob(f"fold-*/{n}.csv"))] for n in _SEARCHES)
        published = [[trial for trial in trials if trial["number"] == "1"] for trials in tpe]
        best = {"searched": _best(tpe), "random": _best(random), "published": _best(published)}
        found.append({"system": place.name, **best, **_counts("", tpe), **_counts("random_", random)})
    return found


def files(rows: Sequence[Row]) -> dict[str, str]:
    """Return validation.csv and validation.md, path → text."""
    about, header, cells = table(rows)
    return {"validation.csv": csv_text(COLUMNS, rows), "validation.md": markdown(header, cells, about)}


def read(text: str) -> list[dict[str, Any]]:
    """Return the rows of a written validation.csv."""
    return parse_typed("validation.csv", text, dict.fromkeys(_SCORES, float) | dict.fromkeys(_TRIALS, int))


def table(rows: Sequence[Row]) -> tuple[str, list[str], list[list[str]]]:
    """Return what the table says, its header and its cells."""
    cells = [
        [
            *(row["system"], *(percent(row, name) for name in _SCORES)),
            *(" / ".join(plain(row[f"{kind}{c}"]) for c in _COUNTS) for kind in ("", "random_")),
        ]
        for row in rows
    ]
    beside = any(row["random_trials"] for row in rows)
    about = (
        "Inner-validation UAR of the best complete trial, mean over folds: of the search, which alone "
        f"selects, {'of the random search beside it at the same budget, ' if beside else ''}"
        "and of the published configuration."
    )
    counted = "trials / complete / pruned / failed"
    header = ["System", "Search %", "Random %", "Published %", f"Search: {counted}", f"Random: {counted}"]
    if not beside:  # a study may leave the random search out
        header, *cells = [[line[place] for place in (0, 1, 3, 4)] for line in (header, *cells)]
    return about, header, cells


def _best(folds: Sequence[Trials]) -> float | None:
    """Mean over folds of the best complete score; None unless each fold has one."""
    best = [float(trial["score"]) for trial in map(bundle.best_trial, folds) if trial]
    return sum(best) / len(best) if best and len(best) == len(folds) else None


def _counts(kind: str, folds: Sequence[Trials]) -> Row:
    states = [trial["state"].lower() for trials in folds for trial in trials]
    counts = [len(states), *(states.count(state) for state in _COUNTS[1:])]
    return {f"{kind}{name}": count if folds else None for name, count in zip(_COUNTS, counts, strict=True)}
