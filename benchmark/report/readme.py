"""Writes the README's numbers from sealed bundles, so that no sentence with points in it is typed.

`python -m benchmark.report.readme README.md results` replaces what stands between the two markers.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from benchmark import bundle
from benchmark.files import read_csv, read_json, write_text
from benchmark.report import leaderboard

BEGIN, END = "<!-- from bundles -->", "<!-- end -->"
FIRST, RANDOM = "ravdess-luna-jimenez-5fold", "ravdess-random-80-20"
REPEATS, DEEP = f"{FIRST}-repeats", f"{FIRST}-deep"


def results(folder: Path) -> str:
    """Return the Markdown of the results section: the first study's table, and what the random one is not."""
    if not bundle.is_sealed(folder / FIRST):
        return "No study has been sealed yet.\n"
    text = f"{_text(folder / FIRST / 'leaderboard.md')}\n{_validation(folder / FIRST)}\n"
    if bundle.is_sealed(folder / REPEATS):
        text += f"\n{_repeats(folder / REPEATS)}\n"
    if bundle.is_sealed(folder / RANDOM):
        text += f"\n{_inflation(folder)}\n"
    if bundle.is_sealed(folder / DEEP):
        there = folder / DEEP
        tables = f"{_text(there / 'leaderboard.md')}\n{_text(there / 'ablation.md')}\n{_validation(there)}"
        text += f"\n### Networks beside them, every row at one small budget\n\n{tables}\n"
    others = sorted(p.parent.name for p in folder.glob(f"*/{bundle.SUMS}"))
    links = ", ".join(
        f"[`{name}`](results/{name}/README.md)" for name in others if not name.startswith("demo")
    )
    pages = ", ".join(
        f"[`{page.parent.name}`](results/comparisons/{page.parent.name}/{page.name})"
        for page in sorted(folder.glob("comparisons/*/comparison.md"))
    )
    return f"{text}\nSealed bundles: {links}.{f' Compared: {pages}.' if pages else ''}\n"


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _points(value: float) -> str:
    return f"{100 * value:.1f}"


def _searched(folder: Path) -> dict[str, dict[str, Any]]:
    return {row["system"]: row for row in leaderboard.read(folder) if row["rank"]}


def _validation(folder: Path) -> str:
    """Say what the selected configurations scored on inner validation, which alone chose them."""
    means = {}
    for system in _searched(folder):
        scores = [
            read_json(path)["score"] for path in sorted(folder.glob(f"searches/{system}/fold-*/best.json"))
        ]
        means[system] = sum(scores) / len(scores)
    told = ", ".join(f"{system} {_points(mean)}" for system, mean in means.items())
    return f"Inner-validation UAR of the selected configurations, mean over the folds, in %: {told}."


def _repeats(folder: Path) -> str:
    """Say what other random numbers of the search alone change."""
    rows = read_csv(folder / "repeats.csv")
    told = ", ".join(
        f"{row['system']} {_points(float(row['uar']))} ({_points(float(row['uar_min']))} to "
        f"{_points(float(row['uar_max']))}, SD {_points(float(row['uar_search_sd']))})"
        for row in rows
    )
    return (
        f"What the search itself adds: `{folder.name}` repeats each search {rows[0]['searches']} times with "
        f"other random numbers; test UAR in %, mean over the searches (lowest to highest, SD): {told}."
    )


def _inflation(folder: Path) -> str:
    """Say what a random split adds to the same systems under the same budget."""
    honest, random = _searched(folder / FIRST), _searched(folder / RANDOM)
    told = ", ".join(
        f"{system} {_points(random[system]['uar'])} instead of {_points(honest[system]['uar'])} "
        f"({100 * (random[system]['uar'] - honest[system]['uar']):+.1f})"
        for system in honest
        if system in random
    )
    return (
        f"`{RANDOM}` does not measure how well a model recognises the emotions of people it has not heard: "
        f"training and test clips share speakers. There the same searches give, in % UAR (difference, before "
        f"rounding): {told}. "
        "It stands here as a diagnostic, because part of the literature reports it."
    )


def update(readme: Path, folder: Path) -> None:
    """Replace the part of `readme` between the markers."""
    text = readme.read_text(encoding="utf-8")
    block = f"{BEGIN}\n{results(folder)}{END}"
    write_text(readme, re.sub(f"{BEGIN}.*?{END}", lambda _: block, text, flags=re.DOTALL))


if __name__ == "__main__":
    update(Path(sys.argv[1]), Path(sys.argv[2]))
