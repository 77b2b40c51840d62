"""The leaderboard, per-class and pairwise tables of a bundle, as CSV, JSON, Markdown, LaTeX and text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import ascii_lowercase
from typing import Any

from benchmark import bundle, scores, statistics
from benchmark.files import count, csv_text, differences, json_text, parse, read_csv, read_json, write_texts
from benchmark.metrics import METRICS
from benchmark.report import (
    ablation,
    breakdowns,
    croissant,
    evidence,
    figures,
    formats,
    page,
    pairs,
    published,
    recheck,
    reference,
    repeats,
    validation,
    whole,
)
from benchmark.report.evidence import Evidence
from benchmark.report.formats import Below, counted, latex, markdown, markdown_text, percent, plain
from benchmark.report.page import Picture, Sheet
from benchmark.report.published import SHARES, Published
from benchmark.schema import SCHEMA_VERSION, is_first
from benchmark.scores import EXTERNAL, Run

Row = Mapping[str, Any]

_SHOWN = ("uar", "accuracy", "macro_f1", "auc", "ece")
COSTLY = ("Parameters", "Search h")  # of every trial together; not in a terminal, which is narrow
_COSTS = ("Trials", "Failed", *COSTLY)
_AS = "“as …”: clips that were labelled so, mean over seeds"
_CLASS_SHOWN = ("precision", "recall", "f1")
_WIDE = 4  # place of the last column that has an interval in LaTeX
_CLASS_COLUMNS = 2 + len(_CLASS_SHOWN)  # without the confusion matrix
BESIDE = (
    "Published under the same protocol, not recomputed, neither ranked nor tested; beside means over folds "
    "of this bundle, as papers report them"
)
PAIRS = (
    "Difference of UAR in points, its interval, sign flips over speakers, adjusted after Holm. Published "
    "configurations and the majority class are in no pair, nor are several searches of one system."
)
CORPUS = ("name", "version", "digest", "complete", "modified")  # what a table says of it


def write(folder: Path, *, pictures: bool = True) -> list[dict[str, Any]]:
    """Rebuild a bundle's tables, figures and page from its files; return the rows of the leaderboard.

    `verify` makes tables and page again and compares each cell. Figures follow from the same files, but their
    bytes depend on the version of Matplotlib: their checksums seal them, they are not made again.
    """
    runs = bundle.read_runs(folder)
    tables = bundle.tables(folder, runs)
    texts = files(folder, tables, runs)
    made: dict[str, str | bytes] = {**texts}
    if pictures:
        made |= _pictures(evidence.read(folder, tables, runs), texts, _of_published(folder))
    write_texts(folder, made)
    for old in folder.glob("figures/*"):  # of systems that are not there any more
        if pictures and f"figures/{old.name}" not in made:
            old.unlink()
    return tables.leaderboard


def _pictures(known: Evidence, texts: Mapping[str, str], note: str) -> dict[str, str | bytes]:
    """Return the files of every figure and the page, relative path → content."""
    made: dict[str, str | bytes] = {}
    shown = []
    for drawing in figures.drawings(known):
        png = figures.png(drawing)
        made[f"figures/{drawing.name}.png"] = png
        made[f"figures/{drawing.name}.pdf"] = figures.pdf(drawing)
        shown.append(Picture(drawing.name, drawing.title, drawing.alt, png, drawing.rows))
    made["report.html"] = _page(known, texts, note, page.figures(shown))
    return made


def _page(known: Evidence, texts: Mapping[str, str], note: str, drawn: str) -> str:
    """Return the page around the section of its figures."""
    about = caption(known.corpus, known.splits, known.tables)
    sources = {name: text for name, text in texts.items() if name.endswith(".tex") and "/" not in name}
    return page.html(known, about, _sheets(known, texts, note), drawn, sources)


def _sheets(known: Evidence, texts: Mapping[str, str], note: str) -> list[Sheet]:
    """Return the tables of the page; `note` is told of the leaderboard."""
    tables, others = known.tables, published.of(known.corpus["name"], known.splits["protocol"])
    note = " ".join(filter(None, (note, external_note(known.external).strip())))
    sheets = [Sheet("leaderboard", "Leaderboard", note, *table_of(tables.leaderboard))]
    if tables.pairwise:
        sheets.append(Sheet("pairwise", "Every two systems", PAIRS, *pairs_of(tables.pairwise)))
        sheets += pairs.sheets(tables.pairwise, [row["system"] for row in tables.leaderboard])
    if found := repeats.rows(tables.leaderboard):
        sheets.append(Sheet("repeats", "Several searches", repeats.ABOUT, *repeats.table(found)))
    if others:
        notes = " ".join(f"{other.note}." for other in others if other.kind == "note")
        note = f"{BESIDE}. {notes}".strip()
        sheets.append(Sheet("published", "Published numbers", note, *_published(tables.leaderboard, others)))
    if "ablation.csv" in texts:
        rows = ablation.read(texts["ablation.csv"])
        sheets.append(Sheet("ablation", "What pretraining is worth", ablation.ABOUT, *ablation.sheet(rows)))
    if rows := validation.read(texts["validation.csv"]):
        sheets.append(Sheet("validation", "Validation", *validation.table(rows), folded=True))
    found = reference.rows(known.corpus["name"], known.splits["protocol"], tables.per_class)
    if found:
        note = f"{reference.ABOUT} {reference.DOUBTFUL}"
        title = "Beside the reference study, per class"
        sheets.append(Sheet("reference", title, note, *reference.cells(found), folded=True))
    note = breakdowns.ABOUT.format(statistics.MIN_SPEAKERS)
    for column, header, cells in breakdowns.tables(breakdowns.read(texts["breakdowns.csv"])):
        sheets.append(Sheet(f"by-{len(sheets)}", f"By {column}", note, header, cells, folded=True))
    for system, rows in tables.per_class.items():
        title = f"{system}, per class, %"
        sheets.append(Sheet(f"class-{len(sheets)}", title, f"In %; {_AS}.", *_class_cells(rows), folded=True))
    return sheets


def read(folder: Path) -> list[dict[str, Any]]:
    """Return the rows of a written leaderboard."""
    return read_json(folder / "leaderboard.json")["rows"]


def read_caption(folder: Path) -> str:
    """Return what the numbers of a written leaderboard are of."""
    return read_json(folder / "leaderboard.json")["caption"]


@dataclass(frozen=True)
class Verdict:
    """What checking a bundle found: one line a problem, those of files that others follow from first."""

    problems: list[str]
    files: int  # sealed
    cells: int  # of tables made again and compared

    def __str__(self) -> str:
        """Return the last line that a reader sees."""
        if self.problems:
            return f"{counted(len(self.problems), 'problem')}, first: {self.problems[0]}"
        return f"verified: {self.files:,} files, {self.cells:,} cells"


def check(folder: Path) -> Verdict:
    """Check a bundle's files, then make every table and the page again and compare them cell by cell."""
    problems, tables = recheck.sources(folder) + recheck.problems(folder), dict[str, str]()
    later: list[str] = []  # of the page: what it is made of comes first
    with bundle.noting(problems, "tables"):
        runs = bundle.read_runs(folder)
        scored = bundle.tables(folder, runs)
        tables = files(folder, scored, runs)
        problems += whole.added(folder, tables)
        with bundle.noting(later, "report.html"):
            later += _page_problems(folder, scored, runs, tables)
    cells = compare(folder, tables, problems)
    return Verdict(list(dict.fromkeys(problems + later)), bundle.sealed_files(folder), cells)


def compare(folder: Path, texts: Mapping[str, str], problems: list[str]) -> int:
    """Compare written tables with `texts`, path → text, cell by cell; return how many cells there are."""
    cells = 0
    for name, text in texts.items():
        if not (folder / name).exists():
            problems.append(f"{name}: not there to compare; `serbench report` makes it")
            continue
        with bundle.noting(problems, name):
            stored, computed = (folder / name).read_bytes().decode(), parse(name, text)
            problems += differences(name, parse(name, stored), computed)
            cells += count(computed)
    return cells


def _page_problems(
    folder: Path, tables: scores.Tables, runs: Sequence[Run], texts: Mapping[str, str]
) -> Iterator[str]:
    known, note = evidence.read(folder, tables, runs), _of_published(folder)
    return page.problems(folder / "report.html", lambda drawn: _page(known, texts, note, drawn))


def verify(folder: Path) -> list[str]:
    """Return the problems that `check` finds."""
    return check(folder).problems


def files(folder: Path, tables: scores.Tables, runs: Sequence[Run]) -> dict[str, str]:
    """Return every table of the bundle, relative path → text."""
    corpus, splits = read_json(folder / "corpus.json"), read_json(folder / "splits.json")
    about, study = caption(corpus, splits, tables, ties=False), bundle.read_study(folder)
    name, note = study["name"], _of_published(folder)
    external = bundle.read_external(folder)
    board = f"{caption(corpus, splits, tables)}{external_note(external)}"
    others = published.of(corpus["name"], splits["protocol"])
    content = {
        "schema_version": SCHEMA_VERSION,
        "corpus": {key: corpus[key] for key in CORPUS},
        "protocol": splits["protocol"],
        "fingerprint": splits["fingerprint"],
        "caption": board,
        "interval": tables.interval,
        "rows": tables.leaderboard,
    }
    if external:
        content["external"] = external
    out = validation.files(validation.rows(folder))
    for system, rows in tables.per_class.items():
        header, cells = _class_cells(rows)
        title = f"{system}, per class, %; {_AS}. {about}"
        out[f"per_class/{system}.csv"] = csv_text(list(rows[0]), rows)
        out[f"per_class/{system}.md"] = markdown(header, cells, title)
        # LaTeX without the confusion matrix, which is a figure: a column must hold the table
        brief = [line[:_CLASS_COLUMNS] for line in (header, *cells)]
        out[f"per_class/{system}.tex"] = latex(
            brief[0], brief[1:], f"{system}, per class, %. {about}", f"{name}-{system}"
        )
    header, cells = table_of(tables.leaderboard)
    out["pairwise.csv"] = csv_text(scores.PAIR_COLUMNS, tables.pairwise)
    out["leaderboard.md"] = (
        markdown(header, cells, board)
        + (f"\n{markdown_text(note)}\n" if note else "")
        + _published_markdown(tables.leaderboard, others)
    )
    below = _below(tables.leaderboard, others)
    out["leaderboard.tex"] = latex(header, for_latex(cells), f"{board} {note}".strip(), name, below)
    out |= ablation.files(folder, tables.ablation, about, name)
    out |= repeats.files(tables.leaderboard, about, name)
    order = [row["system"] for row in tables.leaderboard]
    manifest = read_csv(folder / "manifest.csv")
    out |= breakdowns.files(breakdowns.rows(runs, manifest, order, study["bootstrap_seed"]), about)
    out |= reference.files(reference.rows(corpus["name"], splits["protocol"], tables.per_class), about)
    out["croissant.json"] = croissant.text(corpus, (folder / "manifest.csv").read_bytes().decode())
    out["leaderboard.json"] = json_text(content)
    out["leaderboard.csv"] = csv_text(scores.COLUMNS, tables.leaderboard)
    return out


def _of_published(folder: Path) -> str:
    """Say whose configuration the published rows carry, and which carry nothing that was published."""
    named: dict[bool, list[str]] = {False: [], True: []}  # unpublished? → rows
    for system, found in bundle.read_spaces(folder).items():
        if is_first(system):
            named[found.unpublished].append(f"{system}{scores.PUBLISHED}")
    theirs, ours = map(", ".join, named.values())
    study, rest = f"the reference study ({reference.STUDY})", "has no such system; usual defaults or ours."
    if theirs and ours:
        return f"{theirs}: the configuration of {study}. {ours}: it {rest}"
    if theirs:
        return f"{theirs}: the configuration of {study}."
    return f"{ours}: {study} {rest}" if ours else ""


def caption(corpus: Row, splits: Row, tables: scores.Tables, *, ties: bool = True) -> str:
    """Say what the numbers are of: corpus, clips, protocol, seeds, intervals; ties, where it has them."""
    row = tables.leaderboard[0]
    return (
        f"{corpus_words(corpus)}; {protocol_words(splits)}, {counted(row['n_folds'], 'fold')}, "
        f"mean over {counted(row['n_seeds'], 'seed')}; {interval_words(tables.interval, ties=ties)}."
    )


def corpus_words(corpus: Row) -> str:
    """Say which corpus it is, how many clips of it, and whether they are the official ones."""
    clips, official = f"{corpus['accepted_clips']:,}", corpus.get("official_clips")
    if official and not corpus["complete"]:
        clips += f" of {official:,}"
    version = f" {corpus['version']}" if corpus["version"] else ""
    modified = ", modified audio" if corpus["modified"] else ""
    return f"{corpus['title']}{version}, {clips} clips{modified}"


def protocol_words(splits: Row) -> str:
    """Name the protocol, and say where it is a diagnostic."""
    diagnostic = " (diagnostic: speakers stand on both sides)" if splits.get("diagnostic") else ""
    return f"{splits['protocol']}{diagnostic}"


def interval_words(interval: Row, *, ties: bool = True) -> str:
    """Say how intervals and ties were made, or why there are none."""
    letters = "; systems that share a letter are not shown to differ (sign flips over speakers, Holm)"
    if interval["reason"]:
        return f"no intervals or ties: {interval['reason']}"
    return (
        f"[{interval['level']:.0%} intervals]: {interval['method']}, {interval['speakers']} speakers, "
        f"{interval['resamples']:,} resamples, seed {interval['seed']}{letters if ties else ''}"
    )


def external_note(external: Mapping[str, Row]) -> str:
    """Return the sentence of the caption on systems from elsewhere, with a space before it; or nothing."""
    if not external:
        return ""
    told = "; ".join(
        ", ".join(filter(None, (f"{system} from {of['source']}", counted(of["seeds"], "seed"), of["caveat"])))
        for system, of in sorted(external.items())
    )
    rule = "not ranked, but tested; no letter follows from it"
    return f" External systems have no budget of this study: {rule}: {told}."


def text(rows: Sequence[Row], caption: str = "") -> str:
    """Return the leaderboard as a table for a terminal, aligned, without escapes of any kind."""
    header, cells = table_of(rows)
    shown = len(header) - len(COSTLY)
    return formats.text(header[:shown], [line[:shown] for line in cells], caption)


def _below(rows: Sequence[Row], others: Sequence[Published]) -> list[Below]:
    """Return published numbers below a rule, in the leaderboard's columns, beside our means over folds."""
    if not others:
        return []
    systems = [other for other in others if other.kind == "system"]
    known = ["; ".join(filter(None, (other.reference, other.caveat))) for other in systems]
    sources = list(dict.fromkeys(known))
    lines = [_beside(f"{row['system']} (here)", _fold_means(row)) for row in rows if row["rank"]]
    for other, source in zip(systems, known, strict=True):
        lines.append(_beside(f"{other.system} ({ascii_lowercase[sources.index(source)]})", other.values))
    notes = [f"({letter}) {source}" for letter, source in zip(ascii_lowercase, sources, strict=False)]
    notes.insert(0, f"{BESIDE}.")
    notes += [other.note for other in others if other.kind == "note"]
    return [Below("Published, and means over folds", lines, notes)]


def for_latex(cells: Sequence[Sequence[str]]) -> list[list[str]]:
    """Return the leaderboard's cells as LaTeX shows them: beyond UAR and accuracy no interval, for width."""
    return [[*line[: _WIDE + 1], *(cell.partition(" [")[0] for cell in line[_WIDE + 1 :])] for line in cells]


def _beside(name: str, values: Mapping[str, Any]) -> list[str]:
    return ["", name, "", *(percent(values, metric) for metric in _SHOWN), *[""] * len(_COSTS)]


def _fold_means(row: Row) -> Row:
    means = {name: row.get(f"{name}_fold_mean") for name in _SHOWN}
    return means | {"auc": row.get("auc")}  # which is a mean over folds


def _published_markdown(rows: Sequence[Row], others: Sequence[Published]) -> str:
    """Return what stands below the rule of leaderboard.md; empty without a published number."""
    if not others:
        return ""
    header, cells = _published(rows, others)
    notes = "".join(f"\n{markdown_text(other.note)}\n" for other in others if other.kind == "note")
    return f"\n---\n\n{markdown(header, cells, f'{BESIDE}:')}{notes}"


def _published(rows: Sequence[Row], others: Sequence[Published]) -> tuple[list[str], list[list[str]]]:
    """Return header and cells of published numbers beside our means over folds."""
    systems = [other for other in others if other.kind == "system"]
    names = [name for name in SHARES if any(name in other.values for other in systems)]
    header = ["System", *(f"{METRICS[name].title} %" for name in names), "Source", "Caveat"]
    ours = [
        [f"{row['system']} (here)", *(percent(_fold_means(row), name) for name in names), "this bundle", ""]
        for row in rows
        if row["rank"]
    ]
    theirs = [
        [other.system, *(percent(other.values, name) for name in names), other.reference, other.caveat]
        for other in systems
    ]
    return header, ours + theirs


def pairs_of(pairs: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Return header and cells of paired tests."""
    header = ["System", "Against", "Difference", "p", "p, Holm"]
    cells = [
        [
            *(pair["system_a"], pair["system_b"], formats.points(pair)),
            *(formats.chance(pair[key]) for key in ("p", "p_holm")),
        ]
        for pair in pairs
    ]
    return header, cells


def _hours(seconds: float) -> str:
    """Two decimals; of less than those can show, the first digit that is not 0."""
    hours = seconds / 3600
    return f"{hours:.2f}" if hours >= 0.005 or not hours else f"{hours:.1g}"


def table_of(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Return header and cells of the leaderboard; a terminal shows all but what a search cost."""
    header = ["#", "System", "Ties", *(f"{METRICS[name].title} %" for name in _SHOWN), *_COSTS]
    cells = [
        [
            *(plain(row.get("rank")), _named(row), plain(row.get("tie_group"))),
            *(percent(row, name) for name in _SHOWN),
            plain(row.get("trials")),
            "" if _external(row) else plain((row.get("failed_trials") or 0) + (row.get("failed_runs") or 0)),
            plain(row.get("parameters")),
            "" if row.get("search_seconds") is None else _hours(row["search_seconds"]),
        ]
        for row in rows
    ]
    return header, cells


def _external(row: Row) -> bool:
    return bool(row.get("pretraining") == EXTERNAL)


def _named(row: Row) -> str:
    return f"{row['system']} ({EXTERNAL})" if _external(row) else str(row["system"])


def _class_cells(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    header = ["Class", "Support", "Precision", "Recall", "F1", *(f"as {row['class']}" for row in rows)]
    cells = []
    for row in rows:
        shares = [percent(row, name) for name in _CLASS_SHOWN]
        confusion = [f"{row['as_' + other['class']]:.1f}" for other in rows]
        cells.append([row["class"], plain(row["support"]), *shares, *confusion])
    return header, cells
