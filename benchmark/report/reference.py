"""The reference study's own two per-class tables, kept in `reference.csv`, beside ours of the same protocol.

Source: Sachar, Le and Benyshai (CS231N project report). It counts 81 test clips of one random split, so that
its recalls are uncertain by 30 points and more: Wilson's score interval (1927), from recall × support.
The interval of a difference joins theirs and ours (over test speakers) as Newcombe's method 10 (1998) does.
Precision and F1 have no interval: how often a class was predicted is not published.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import ndtri

from benchmark import statistics
from benchmark.files import csv_text, read_csv
from benchmark.report.formats import markdown, percent, points
from benchmark.scores import PUBLISHED

Row = Mapping[str, Any]
FILE = Path(__file__).with_name("reference.csv")
STUDY = "Sachar, Le and Benyshai, CS231N project report"
CORPUS, PROTOCOL = "ravdess", "random-80-20"
SHARES = ("recall", "precision", "f1")
COLUMNS = (
    *("system", "class", "reference", "support", "reference_support"),
    *("recall", "recall_lo", "recall_hi", "reference_recall", "reference_recall_lo", "reference_recall_hi"),
    *("recall_difference", "recall_difference_lo", "recall_difference_hi"),
    *(f"{kind}{name}{end}" for name in SHARES[1:]
      for kind, end in (("", ""), ("reference_", ""), ("", "_difference"))),
)  # fmt: skip
ABOUT = (
    f"Beside the reference study's per-class tables ({STUDY}): theirs "
    "are of one random split with 81 test clips, [95 %] by Wilson's score interval of each recall; a "
    "difference is ours less theirs, in points, its interval after Newcombe (1998), method 10, from theirs "
    "and ours over test speakers. Neither ranked nor tested."
)
DOUBTFUL = (
    "Doubtful in the reference: its MLP table's supports sum to 83 where it says 81, and its class names "
    "seem permuted against the forest's (13 neutral clips, though RAVDESS has half as many of them as of any "
    "other class), so that its rows may stand beside the wrong class; 81 clips are not a fifth of 1,440; "
    "shares have two digits."
)


def wilson(share: float, count: int, level: float = statistics.LEVEL) -> tuple[float, float]:
    """Return the score interval of a binomial share of `count` clips (Wilson 1927)."""
    z2 = float(ndtri((1 + level) / 2)) ** 2
    middle = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = np.sqrt(z2 * (share * (1 - share) + z2 / (4 * count)) / count) / (1 + z2 / count)
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))


def rows(corpus: str, protocol: str, per_class: Mapping[str, Sequence[Row]]) -> list[dict[str, Any]]:
    """Return a row for each of our systems and class beside theirs; none for another corpus or protocol."""
    if (corpus, protocol) != (CORPUS, PROTOCOL):
        return []
    theirs = {(row["family"], row["class"]): row for row in read_csv(FILE)}
    families = list(dict.fromkeys(family for family, _ in theirs))
    systems = [s for family in families for s in (family, f"{family}{PUBLISHED}") if s in per_class]
    return [
        _row(system, ours, theirs[system.removesuffix(PUBLISHED), ours["class"]])
        for system in systems
        for ours in per_class[system]
    ]


def _row(system: str, ours: Row, theirs: Mapping[str, str]) -> dict[str, Any]:
    support = int(theirs["support"])
    right = round(float(theirs["recall"]) * support)  # what two digits were rounded from
    low, high = wilson(right / support, support)
    out = {
        "system": system, "class": ours["class"], "reference": theirs["system"],
        "support": ours["support"], "reference_support": support,
        "reference_recall_lo": low, "reference_recall_hi": high,
    }  # fmt: skip
    for name in SHARES:
        share = float(theirs[name])
        out |= {name: ours[name], f"reference_{name}": share, f"{name}_difference": ours[name] - share}
    out |= {key: ours[key] for key in ("recall_lo", "recall_hi")}
    if ours["recall_lo"] is not None:
        share, d = float(theirs["recall"]), out["recall_difference"]
        down = np.hypot(ours["recall"] - ours["recall_lo"], high - share)
        up = np.hypot(ours["recall_hi"] - ours["recall"], share - low)
        out |= {"recall_difference_lo": float(d - down), "recall_difference_hi": float(d + up)}
    return out


def files(found: Sequence[Row], about: str) -> dict[str, str]:
    """Return reference.csv and reference.md; nothing where there is nothing to stand beside."""
    if not found:
        return {}
    table = markdown(*cells(found), f"{ABOUT} Ours: {about}")
    return {"reference.csv": csv_text(COLUMNS, found), "reference.md": f"{table}\n{DOUBTFUL}\n"}


def cells(found: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Return header and cells."""
    header = ["System", "Class", "Clips", "Theirs", "Recall %", "Theirs %", "Difference"]
    header += [title for name in ("Precision", "F1") for title in (f"{name} %", "Theirs %")]
    lines = [
        [
            *(str(row[key]) for key in ("system", "class", "support", "reference_support")),
            percent(row, "recall"), percent(row, "reference_recall"), points(_difference(row)),
            *(percent(row, f"{kind}{name}") for name in SHARES[1:] for kind in ("", "reference_")),
        ]
        for row in found
    ]  # fmt: skip
    return header, lines


def _difference(row: Row) -> Row:
    name = "recall_difference"
    return {"effect": row[name], "lo": row.get(f"{name}_lo"), "hi": row.get(f"{name}_hi")}
