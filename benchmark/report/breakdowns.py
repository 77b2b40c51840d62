"""Scores by the corpus's own columns: gender, intensity, statement, speaker, what manifest.csv holds. Pure.

A group's UAR leaves out the classes that the group has no clip of (RAVDESS has no strong neutral): `classes`
counts the rest, and groups of one column compare only where it is the same. Intervals resample the speakers
of the group (`benchmark.statistics`), so a speaker alone, or fewer than 8, has none.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmark import statistics
from benchmark.files import csv_text, parse_typed
from benchmark.report.formats import markdown, markdown_text, percent
from benchmark.scores import Run

Row = dict[str, Any]
COLUMNS = (
    *("column", "group", "system", "clips", "speakers", "classes"),
    *("uar", "uar_lo", "uar_hi", "accuracy", "accuracy_lo", "accuracy_hi"),
)
KNOWN = {  # columns of manifest.csv that say nothing of how or by whom a clip was spoken
    *("id", "path", "speaker", "label", "digest", "sample_rate", "channels", "seconds", "flags"),
    *("status", "reason", "detail"),
}
MOST = 40  # groups of a column; one with more tells clips apart, not kinds of clips
ABOUT = (
    "UAR in %, over the classes that a group has, pooled over folds, mean over seeds; intervals resample the "
    "speakers of the group and stay empty below {} of them."
)


def groups(manifest: Sequence[Mapping[str, str]]) -> dict[str, dict[str, str]]:
    """Return column → id → group, speaker last; columns have 2 to 40 groups, empty cells are none."""
    accepted = [row for row in manifest if row["status"] == "accepted"]
    found = {}
    for column in [*(c for c in accepted[0] if c not in KNOWN), "speaker"]:
        of = {row["id"]: row[column] for row in accepted if row[column]}
        if column == "speaker" or 2 <= len(set(of.values())) <= MOST:
            found[column] = of
    return found


def rows(
    runs: Sequence[Run], manifest: Sequence[Mapping[str, str]], order: Sequence[str], seed: int
) -> list[Row]:
    """Return a row for each column, group and system that has clips in it.

    Args:
        runs: every fold × seed of every system.
        manifest: rows of manifest.csv.
        order: systems as the leaderboard has them.
        seed: of the bootstrap.
    """
    by_system: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        by_system[run.system].append(run)
    out, weights = [], dict[int, np.ndarray]()
    for column, of in groups(manifest).items():
        names = sorted(set(of.values()))
        counted = {system: _counts(by_system[system], of, names) for system in order}
        for number, group in enumerate(names):
            for system, (right, clips) in counted.items():
                inside = clips[number].any(1)  # the speakers of the group
                count = int(inside.sum())
                if not count:
                    continue
                if count >= statistics.MIN_SPEAKERS and count not in weights:
                    weights[count] = statistics.resample_counts(count, seed)
                own = clips[number][inside]
                row = {"column": column, "group": group, "system": system, "clips": int(own.sum()),
                       "speakers": count, "classes": int(own.any(0).sum())}  # fmt: skip
                out.append(row | _scores(right[number][inside], own, weights.get(count)))
    return out


def _counts(
    runs: Sequence[Run], of: Mapping[str, str], names: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Return rightly labelled clips, mean over seeds, and all clips: (groups, speakers, K) each."""
    known = {name: number for number, name in enumerate(names)}
    speakers = {s: number for number, s in enumerate(sorted({s for run in runs for s in run.speakers}))}
    seeds = len({run.seed for run in runs})
    shape = len(names), len(speakers), runs[0].probabilities.shape[1]
    group = np.array([known.get(of.get(id_, ""), -1) for run in runs for id_ in run.ids], dtype=np.int64)
    speaker = np.array([speakers[s] for run in runs for s in run.speakers], dtype=np.int64)
    truth = np.concatenate([run.truth for run in runs])
    hit = np.concatenate([run.predicted == run.truth for run in runs])
    cell = (group * shape[1] + speaker) * shape[2] + truth
    right, clips = (
        np.bincount(cell[kept], minlength=int(np.prod(shape))).reshape(shape) / seeds  # each has each clip
        for kept in ((group >= 0) & hit, group >= 0)
    )
    return right, clips


def _scores(right: np.ndarray, clips: np.ndarray, weights: np.ndarray | None) -> Row:
    one = np.ones((1, len(clips)))
    row: Row = dict.fromkeys(COLUMNS[6:])
    row |= {name: float(value[0]) for name, value in _resampled(right, clips, one).items()}
    if weights is not None:
        for name, drawn in _resampled(right, clips, weights).items():
            low, high = statistics.interval(drawn[:, None], len(clips))
            row |= {f"{name}_lo": float(low[0]), f"{name}_hi": float(high[0])}
    return row


def _resampled(right: np.ndarray, clips: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """UAR and accuracy, means over seeds, of each row of weights (resamples, speakers).

    Both are linear in what was labelled rightly, and each seed has the same clips.
    """
    support = weights @ clips  # (resamples, K)
    found = weights @ right
    recall = np.divide(found, support, out=np.zeros_like(found), where=support > 0)
    return {"uar": recall.sum(1) / (support > 0).sum(1), "accuracy": found.sum(1) / support.sum(1)}


def files(rows: Sequence[Row], about: str) -> dict[str, str]:
    """Return breakdowns.csv and breakdowns.md, the latter a table a column of the corpus."""
    note = ABOUT.format(statistics.MIN_SPEAKERS)
    parts = [markdown(header, cells, f"By {column}:") for column, header, cells in tables(rows)]
    return {
        "breakdowns.csv": csv_text(COLUMNS, rows),
        "breakdowns.md": "\n".join([f"{markdown_text(f'{note} {about}')}\n", *parts]),
    }


def read(text: str) -> list[Row]:
    """Return the rows of a written breakdowns.csv."""
    return parse_typed("breakdowns.csv", text, dict.fromkeys(COLUMNS[6:], float))


def tables(rows: Sequence[Row]) -> list[tuple[str, list[str], list[list[str]]]]:
    """Return column, header and cells of each table: a line a group, a column a system."""
    found = []
    for column in dict.fromkeys(row["column"] for row in rows):
        own = [row for row in rows if row["column"] == column]
        systems = list(dict.fromkeys(row["system"] for row in own))
        cells = []
        for group in dict.fromkeys(row["group"] for row in own):
            line = {row["system"]: row for row in own if row["group"] == group}
            first = next(iter(line.values()))
            about = [group, *(str(first[name]) for name in ("clips", "speakers", "classes"))]
            cells.append([*about, *(percent(line.get(system, {}), "uar") for system in systems)])
        header = [column.capitalize(), "Clips", "Speakers", "Classes", *(f"{s} %" for s in systems)]
        found.append((column, header, cells))
    return found
