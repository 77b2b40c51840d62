"""The leaderboard, per-class and pairwise tables of a bundle, as CSV, JSON, Markdown, LaTeX and text."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmark import bundle, scores
from benchmark.files import csv_text, differences, json_text, parse, read_csv, read_json, write_texts
from benchmark.metrics import METRICS
from benchmark.schema import SCHEMA_VERSION

Row = Mapping[str, Any]
Trials = Sequence[dict[str, str]]

_SHOWN = ("uar", "accuracy", "macro_f1", "auc", "ece")
_CLASS_SHOWN = ("precision", "recall", "f1")
_SEARCHES = ("trials", "random")  # the files of a search: its own trials, the random search beside it
_COUNTS = ("trials", "complete", "pruned", "failed")
_LATEX = {c: f"\\{c}" for c in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
}


def write(folder: Path) -> list[dict[str, Any]]:
    """Rebuild every table of a bundle from its files; return the rows of the leaderboard."""
    tables = bundle.tables(folder)
    write_texts(folder, files(folder, tables))
    return tables.leaderboard


def read(folder: Path) -> list[dict[str, Any]]:
    """Return the rows of a written leaderboard."""
    return read_json(folder / "leaderboard.json")["rows"]


def read_caption(folder: Path) -> str:
    """Return what the numbers of a written leaderboard are of."""
    return read_json(folder / "leaderboard.json")["caption"]


def verify(folder: Path) -> list[str]:
    """Check a bundle, then make every table again and compare it cell by cell; return one line a problem."""
    problems, tables = bundle.verify(folder), dict[str, str]()
    with bundle.noting(problems, "tables"):
        tables = files(folder, bundle.tables(folder))
    for name, text in tables.items():
        if not (folder / name).exists():
            problems.append(f"{name}: not there to compare; `serbench report` makes it")
            continue
        with bundle.noting(problems, name):
            stored = (folder / name).read_bytes().decode()
            problems += differences(name, parse(name, stored), parse(name, text))
    return problems


def files(folder: Path, tables: scores.Tables) -> dict[str, str]:
    """Return every table of the bundle, relative path → text."""
    corpus, splits = read_json(folder / "corpus.json"), read_json(folder / "splits.json")
    about = caption(corpus, splits, tables)
    content = {
        "schema_version": SCHEMA_VERSION,
        "corpus": {key: corpus[key] for key in ("name", "version", "digest", "complete", "modified")},
        "protocol": splits["protocol"],
        "fingerprint": splits["fingerprint"],
        "caption": about,
        "interval": tables.interval,
        "rows": tables.leaderboard,
    }
    out = _validation(folder)
    for system, rows in tables.per_class.items():
        header, cells = _class_cells(rows)
        title = f"{system}, per class, %. {about}"
        out[f"per_class/{system}.csv"] = csv_text(list(rows[0]), rows)
        out[f"per_class/{system}.md"] = markdown(header, cells, title)
        out[f"per_class/{system}.tex"] = latex(header, cells, title)
    header, cells = _cells(tables.leaderboard)
    out["pairwise.csv"] = csv_text(scores.PAIR_COLUMNS, tables.pairwise)
    out["leaderboard.md"] = markdown(header, cells, about)
    out["leaderboard.tex"] = latex(header, cells, about)
    out["leaderboard.json"] = json_text(content)
    out["leaderboard.csv"] = csv_text(scores.COLUMNS, tables.leaderboard)
    return out


def _validation(folder: Path) -> dict[str, str]:
    """Return the tables of what the searches reached, made of their trials alone."""
    rows, cells = [], []
    for place in sorted(folder.glob("searches/*")):
        tpe, random = ([read_csv(p) for p in sorted(place.glob(f"fold-*/{n}.csv"))] for n in _SEARCHES)
        published = [[trial for trial in trials if trial["number"] == "1"] for trials in tpe]
        best = {"searched": _best(tpe), "random": _best(random), "published": _best(published)}
        row = {"system": place.name, **best, **_counts("", tpe), **_counts("random_", random)}
        rows.append(row)
        shown = [_percent(row, name) for name in best]
        counts = [" / ".join(_plain(row[f"{kind}{c}"]) for c in _COUNTS) for kind in ("", "random_")]
        cells.append([place.name, *shown, *counts])
    about = (
        "Inner-validation UAR of the best complete trial, mean over folds: of the search, which alone "
        "selects, of the random search beside it at the same budget, and of the published configuration."
    )
    counted = "trials / complete / pruned / failed"
    header = ["System", "Search %", "Random %", "Published %", f"Search: {counted}", f"Random: {counted}"]
    columns = ["system", "searched", "random", "published", *_COUNTS, *(f"random_{c}" for c in _COUNTS)]
    return {"validation.csv": csv_text(columns, rows), "validation.md": markdown(header, cells, about)}


def _best(folds: Sequence[Trials]) -> float | None:
    """Mean over folds of the best complete score; None unless each fold has one."""
    best = [float(trial["score"]) for trial in map(bundle.best_trial, folds) if trial]
    return sum(best) / len(best) if best and len(best) == len(folds) else None


def _counts(kind: str, folds: Sequence[Trials]) -> Row:
    states = [trial["state"].lower() for trials in folds for trial in trials]
    counts = [len(states), *(states.count(state) for state in _COUNTS[1:])]
    return {f"{kind}{name}": count if folds else None for name, count in zip(_COUNTS, counts, strict=True)}


def caption(corpus: Row, splits: Row, tables: scores.Tables) -> str:
    """Say what the numbers are of: corpus, clips, protocol, seeds, intervals, ties."""
    clips, official = f"{corpus['accepted_clips']:,}", corpus.get("official_clips")
    if official and not corpus["complete"]:
        clips += f" of {official:,}"
    row = tables.leaderboard[0]
    version = f" {corpus['version']}" if corpus["version"] else ""
    modified = ", modified audio" if corpus["modified"] else ""
    diagnostic = " (diagnostic: speakers stand on both sides)" if splits.get("diagnostic") else ""
    interval = tables.interval
    uncertain = (
        f"no intervals or ties: {interval['reason']}"
        if interval["reason"]
        else f"[{interval['level']:.0%} intervals]: {interval['method']}, {interval['speakers']} speakers, "
        f"{interval['resamples']:,} resamples, seed {interval['seed']}; systems sharing a letter do not "
        "differ (sign flips over speakers, Holm)"
    )
    return (
        f"{corpus['title']}{version}, {clips} clips{modified}; {splits['protocol']}{diagnostic}, "
        f"{_count(row['n_folds'], 'fold')}, mean over {_count(row['n_seeds'], 'seed')}; {uncertain}."
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def text(rows: Sequence[Row], caption: str = "") -> str:
    """Return the leaderboard as a table for a terminal, aligned, without escapes of any kind."""
    header, cells = _cells(rows)
    widths = [max(map(len, column)) for column in zip(header, *cells, strict=True)]
    table = [header, ["─" * width for width in widths], *cells]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in table]
    printable = ("".join(c if c.isprintable() else "?" for c in line) for line in lines)
    return "\n".join([*printable, *([caption] if caption else [])])


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> str:
    """Return a Markdown table under its caption; names cannot open a cell, a tag or a link."""
    lines = [[_markdown(cell) for cell in row] for row in (header, *rows)]
    lines.insert(1, ["---"] * len(header))
    return _markdown(caption) + "\n\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines)


def latex(header: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> str:
    """Return a booktabs table as LaTeX; needs \\usepackage{booktabs}."""
    head, *body = (" & ".join(map(_latex, line)) + r" \\" for line in (header, *rows))
    columns = "l" * len(header)
    begin = [rf"\begin{{table}}\centering\caption{{{_latex(caption)}}}", rf"\begin{{tabular}}{{{columns}}}"]
    end = [r"\bottomrule", r"\end{tabular}", r"\end{table}", ""]
    return "\n".join([*begin, r"\toprule", head, r"\midrule", *body, *end])


def _cells(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    header = ["#", "System", "Ties", *(f"{METRICS[name].title} %" for name in _SHOWN), "Trials", "Failed"]
    cells = [
        [
            *(_plain(row[key]) for key in ("rank", "system", "tie_group")),
            *(_percent(row, name) for name in _SHOWN),
            _plain(row["trials"]),
            _plain((row["failed_trials"] or 0) + (row["failed_runs"] or 0)),
        ]
        for row in rows
    ]
    return header, cells


def _class_cells(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    header = ["Class", "Support", "Precision", "Recall", "F1", *(f"as {row['class']}" for row in rows)]
    cells = []
    for row in rows:
        shares = [_percent(row, name) for name in _CLASS_SHOWN]
        confusion = [f"{row['as_' + other['class']]:.1f}" for other in rows]
        cells.append([row["class"], _plain(row["support"]), *shares, *confusion])
    return header, cells


def _plain(value: Any) -> str:
    return "" if value is None else str(value)


def _percent(row: Row, name: str) -> str:
    """`61.2 [55.0, 67.3]`, without the interval where there is none."""
    point, *limits = [row.get(key) for key in (name, f"{name}_lo", f"{name}_hi")]
    if point is None:
        return ""
    low, high = [f"{100 * limit:.1f}" for limit in limits if limit is not None] or ("", "")
    return f"{100 * point:.1f}" + (f" [{low}, {high}]" if low else "")


def _markdown(text: str) -> str:
    text = " ".join(text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").split())
    return re.sub(r"([\\`*_|\[\]])", r"\\\1", text)


def _latex(text: str) -> str:
    return "".join(_LATEX.get(c, c) for c in " ".join(text.split()))
