"""`report.html`: a bundle as one file that asks for nothing from anywhere, complete without scripts."""

from __future__ import annotations

import base64
import gzip
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape, unescape
from itertools import zip_longest
from pathlib import Path
from typing import Any
from urllib.parse import quote

from benchmark import __version__
from benchmark.bundle import OPENINGS
from benchmark.files import csv_text
from benchmark.report.evidence import Evidence, Search
from benchmark.report.formats import latex_text

LIMIT = 2_900_000  # bytes of the page: trials fill what tables and figures leave
FIGURES = 2_400_000  # of them for figures: those after are linked
_TOLD = 120  # characters of a line that differs
_PLAIN = 8_000  # bytes of a figure's data, above which it is compressed
_CSS = Path(__file__).with_name("page.css")
_JS = Path(__file__).with_name("page.js")
_TRIALS = ("System", "Fold", "Search", "Trial", "State", "UAR %", "Steps", "Seconds", "Configuration")
_PASSING = {  # what changes while a bundle does not: looks, how a table sorts, version, openings
    r"<style>.*?</style>": "", r"<script>.*?</script>": "", r' content="default-src [^"]*"': "",
    r"  version = \{[^}]*\},": "", r"<dt>Test parts opened</dt><dd>[^<]*</dd>": "",
}  # fmt: skip
_FILTERS = {"System": 0, "Fold": 1, "Search": 2, "State": 4}


@dataclass(frozen=True)
class Sheet:
    """A table of the page."""

    anchor: str
    title: str
    note: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    folded: bool = False  # behind its title until opened
    sortable: bool = True


@dataclass(frozen=True)
class Picture:
    """A figure as the page shows it."""

    name: str
    title: str
    alt: str
    png: bytes
    rows: Sequence[Mapping[str, Any]]


def html(
    known: Evidence,
    caption: str,
    sheets: Sequence[Sheet],
    drawn: str,
    sources: Mapping[str, str],
) -> str:
    """Return the page.

    Args:
        known: the bundle.
        caption: what its numbers are of.
        sheets: tables in order; the first is the leaderboard.
        drawn: the section of the figures (`figures`).
        sources: LaTeX to copy, file name → text.
    """
    open_, folded = ([s for s in sheets if s.folded is kind] for kind in (False, True))
    check = (
        "Every number follows from the files beside this page: "
        f"<code>serbench verify results/{escape(known.name)}</code>"
    )
    sections = {
        "Results": section("Results", "".join(map(table, open_))),
        "Figures": drawn,
        "Tables": section("Tables", "".join(map(table, folded))),
        "Trials": "",  # when it is known how much room is left
        "Protocol": _protocol(known),
        "Cite and copy": cite([known], sources, check),
    }
    room = LIMIT - len(document(known.name, caption, sections).encode())
    return document(known.name, caption, sections | {"Trials": _trials(known, room)})


def document(name: str, caption: str, sections: Mapping[str, str]) -> str:
    """Return a page of sections, title → HTML; each has the `anchor` of its title as its id."""
    css, js = _CSS.read_text(encoding="utf-8"), _JS.read_text(encoding="utf-8")
    links = "".join(f'<li><a href="#{anchor(title)}">{title}</a>' for title in sections)
    parts = [
        _head(name, css, js),
        f"<header><h1>{escape(name)}</h1><p>{escape(caption)}</p></header>"
        f'<nav aria-label="Sections"><ul>{links}</ul></nav><main id="main">',
        *sections.values(),
        f"</main><script>{js}</script></body></html>\n",
    ]
    return "\n".join(parts)


def anchor(title: str) -> str:
    """Return the id of a section: the first word of its title."""
    return title.split()[0].lower()


def section(title: str, content: str) -> str:
    """Return a section around HTML."""
    return f'<section id="{anchor(title)}"><h2>{title}</h2>{content}</section>'


def figures(pictures: Sequence[Picture]) -> str:
    """Return the section of the figures."""
    return section("Figures", f'<div class="figures">{"".join(_figures(pictures))}</div>')


def drawn(text: str) -> str:
    """Return the section of the figures of a written page."""
    begin, end = text.index('<section id="figures">'), text.index('<section id="tables">')
    return text[begin:end].rstrip()


def shown(section: str) -> dict[str, bytes | None]:
    """Return the figures in a section, name → PNG; None: the page had no room and links it."""
    found = re.findall(r'<figure id="figure-([^"]*)">(?:<img src="data:image/png;base64,([^"]*)")?', section)
    return {unescape(name): base64.b64decode(content) if content else None for name, content in found}


def lines(text: str) -> list[str]:
    """Return what a page says, an element a line, without what changes while its bundle does not."""
    for part, without in _PASSING.items():
        text = re.sub(part, without, text, flags=re.DOTALL)
    return re.sub(r"(?=<(?:tr|td|th|h\d|p|dt|dd|li|pre|section|details))", "\n", text).splitlines()


def problems(path: Path, make: Callable[[str], str]) -> Iterator[str]:
    """A page must say what is made again, and show the figures beside it, which are not drawn again.

    Args:
        make: the section of the figures → the page.
    """
    pictures = {picture.name for picture in path.parent.glob("figures/*")}
    if not path.exists() and not pictures:
        return
    stored = path.read_text(encoding="utf-8")
    section = drawn(stored)
    pairs = zip_longest(lines(stored), lines(make(section)), fillvalue="")
    differ = next(((old, new) for old, new in pairs if old != new), None)
    if differ:
        yield f"{path.name}: stored {differ[0][:_TOLD]}, recomputed {differ[1][:_TOLD]}"
    found = shown(section)
    for name in sorted(pictures ^ {f"{name}.{kind}" for name in found for kind in ("png", "pdf")}):
        yield f"figures/{name}: " + (f"not shown in {path.name}" if name in pictures else "not there")
    for name, png in found.items():
        beside = path.parent / "figures" / f"{name}.png"
        if png and beside.exists() and beside.read_bytes() != png:
            yield f"figures/{name}.png: not the picture that {path.name} shows"


def _head(name: str, css: str, js: str) -> str:
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_hash(css)}'; script-src '{_hash(js)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="icon" href="data:,"><title>{escape(name)}</title><style>{css}</style></head>'
        '<body><a class="skip" href="#main">To the results</a>'
    )


def _hash(content: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()


def table(sheet: Sheet) -> str:
    """Return a table under its title."""
    content = _table(sheet.title, sheet.header, sheet.rows, sheet.sortable)
    title = escape(sheet.title)
    note = f'<p class="quiet">{escape(sheet.note)}</p>' if sheet.note else ""
    if sheet.folded:
        return f'<details id="{sheet.anchor}"><summary>{title}</summary>{note}{content}</details>'
    return f'<h3 id="{sheet.anchor}">{title}</h3>{note}{content}'


def _table(title: str, header: Sequence[str], rows: Iterable[Sequence[str]], sortable: bool = True) -> str:
    head = "".join(f'<th scope="col">{escape(cell)}' for cell in header)
    body = "\n".join("<tr>" + "".join(map(_cell, row)) for row in rows)
    kind = ' class="sortable"' if sortable else ""
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{escape(title)}">'
        f"<table{kind}><thead><tr>{head}</thead><tbody>{body}</tbody></table></div>"
    )


def _cell(cell: str) -> str:
    return f"<td{' class=text' if len(cell) > 60 else ''}>{escape(cell, quote=False)}"


def _figures(pictures: Sequence[Picture]) -> Iterator[str]:
    """Yield the figures; where the page has no room left, their words, with a link to the file beside it."""
    used = 0
    for picture in pictures:
        name, title = escape(picture.name), escape(picture.title)
        content = base64.b64encode(picture.png).decode()
        width, height = (int.from_bytes(picture.png[a : a + 4]) for a in (16, 20))  # of PNG's first chunk
        shown = (
            f'<img src="data:image/png;base64,{content}" width="{width}" height="{height}" '
            f'alt="{escape(picture.alt)}" loading="lazy">'
        )
        data = _data(picture)
        if used + len(shown) + len(data) > FIGURES:
            shown = f'<p>{escape(picture.alt)}</p><a href="figures/{quote(picture.name)}.png">figure</a>'
        used += len(shown) + len(data)
        yield f'<figure id="figure-{name}">{shown}<figcaption>{title} {data}</figcaption></figure>'


def _data(picture: Picture) -> str:
    """Return the link to a figure's rows: CSV inside the link, compressed where there are many."""
    columns = list(dict.fromkeys(key for row in picture.rows for key in row))
    rows = csv_text(columns, map(_short, picture.rows))
    ending, content = ".csv", f"text/csv;charset=utf-8,{quote(rows)}"
    if len(content) > _PLAIN:
        packed = base64.b64encode(gzip.compress(rows.encode(), mtime=0)).decode()
        ending, content = ".csv.gz", f"application/gzip;base64,{packed}"
    return (
        f'<a class="data" download="{escape(picture.name)}{ending}" href="data:{content}" '
        f'aria-label="Data of: {escape(picture.title)}">data</a>'
    )


def _short(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row with six significant digits: the page need not carry more."""
    return {k: float(f"{v:.6g}") if isinstance(v, float) else v for k, v in row.items()}


def _trials(known: Evidence, room: int) -> str:
    """Return the table of trials: all, or as many as `room` bytes hold, those of every search first."""
    lines, used, total = [], 4000, 0
    for row in _trial_rows(known):
        total += 1
        line = "<tr>" + "".join(f"<td>{escape(cell, quote=False)}" for cell in row)
        used += len(line.encode()) + 1
        if used <= room:
            lines.append(line)
    fields = "".join(
        f'<label>{name} <select data-column="{place}"><option value="">all</option></select></label>'
        for name, place in _FILTERS.items()
    )
    left = f" The page has room for {len(lines):,} of {total:,}." if len(lines) < total else ""
    head = "".join(f'<th scope="col">{title}' for title in _TRIALS)
    return (
        '<section id="trials"><h2>Trials</h2><p class="quiet">Inner validation: no test speaker is in it. '
        "All trials stand in <code>searches/*/fold-*/trials.csv</code> and <code>random.csv</code>."
        f"{left}</p>"
        f'<div class="controls" id="filters" hidden>{fields}<label>Words <input type="search" '
        'placeholder="adam units=192"></label><output aria-live="polite"></output></div>'
        '<div class="wide" tabindex="0" role="region" aria-label="Trials"><table class="sortable"><thead>'
        f"<tr>{head}</thead><tbody>\n" + "\n".join(lines) + "</tbody></table></div></section>"
    )


def _trial_rows(known: Evidence) -> Iterator[list[str]]:
    sampler = str(known.study.get("sampler", "search"))
    every = [search for own in known.searches.values() for search in own]
    for kind, file in ((sampler, "trials"), ("random, beside", "random")):
        for search in every:
            for trial in getattr(search, file):
                yield _trial(search, kind, trial, str(search.best["trial_id"]))


def _trial(search: Search, kind: str, trial: Mapping[str, str], best: str) -> list[str]:
    params = (f"{k.removeprefix('param.')}={_digits(v)}" for k, v in trial.items() if k[:6] == "param." and v)
    state = trial["state"].lower() + (", selected" if trial["trial_id"] == best else "")
    score = f"{100 * float(trial['score']):.1f}" if trial["score"] else ""
    reason = f" {trial['reason']}" if trial.get("reason") else ""
    return [
        search.system, str(search.fold), kind, trial["number"], state, score, trial["steps"],
        _digits(trial["seconds"]), " ".join(params) + reason,
    ]  # fmt: skip


def _digits(cell: str) -> str:
    if cell.lstrip("-").isdigit():
        return cell
    try:
        number = float(cell)
    except ValueError:
        return cell
    return f"{number:.0f}" if abs(number) >= 1000 else f"{number:.3g}"


def _protocol(known: Evidence) -> str:
    corpus, splits, study = known.corpus, known.splits, known.study
    found = known.environment.get("hardware", {})
    about = {
        "Corpus": f"{corpus['title']} {corpus['version']}, {corpus['accepted_clips']:,} clips, "
        f"licence {corpus['licence']}",
        "Cite it as": corpus["citation"],
        "Corpus digest": corpus["digest"],
        "Protocol": f"{splits['protocol']}, {len(splits['folds'])} folds"
        + ("; a diagnostic: speakers stand on both sides" if splits.get("diagnostic") else ""),
        "Split fingerprint": splits["fingerprint"],
        "Budget": f"{study['trials']} trials started a system and fold, sampler {study.get('sampler', '')}, "
        f"{study['inner_folds']} inner folds, {study['seeds']} seeds a refit",
        "Test parts opened": f"not known: no {OPENINGS} is beside the bundle"
        if known.openings is None
        else f"{known.openings} times, a fold at a time, by the studies of this results folder ({OPENINGS})",
        "Machine": ", ".join(
            f"{key} {value}" for key, value in found.items() if isinstance(value, str | int | float) and value
        ),
        "Commit": known.environment.get("commit") or "",
    }
    lines = "".join(f"<dt>{escape(k)}</dt><dd>{escape(str(v))}</dd>" for k, v in about.items() if v)
    checks = [[c["name"], c["status"], c["reason"]] for c in known.audit.get("checks", ())]
    audit = _table("Leakage audit", ("Check", "Status", "Reason"), checks) if checks else ""
    notes = "".join(f"<li>{escape(note)}" for note in corpus.get("notes", ()))
    return (
        f'<section id="protocol"><h2>Protocol</h2><dl>{lines}</dl>'
        + (f"<h3>Leakage audit</h3>{audit}" if audit else "")
        + (f"<h3>Notes on the corpus</h3><ul>{notes}</ul>" if notes else "")
        + "</section>"
    )


def bibtex(corpus: Mapping[str, Any], *studies: Mapping[str, Any]) -> str:
    """Return what to cite for the numbers of bundles: the program with the bundles, and their corpus."""
    told = []
    for study in studies:
        digest = study.get("digests", {}).get("study", "")
        told.append(f"bundle {study['name']}" + (f", study {digest[:16]}" if digest else ""))
    where = "; ".join(told)
    doi = f",\n  doi = {{{corpus['doi']}}}" if corpus.get("doi") else ""
    known = re.match(r"(?P<author>[^()]+) \((?P<year>\d{4})\),? (?P<published>.+)", corpus["citation"])
    author, year, published = known.groups() if known else ("", "", corpus["citation"])
    who = f"  author = {{{{{latex_text(author)}}}}},\n  year = {{{year}}},\n" if known else ""
    return (
        "@misc{serbench,\n  author = {{serbench authors}},\n  title = {serbench},\n"
        f"  version = {{{__version__}}},\n  note = {{{latex_text(where)}}}\n}}\n\n"
        f"@misc{{{corpus['name']},\n{who}  key = {{{corpus['name']}}},\n"
        f"  title = {{{{{latex_text(corpus['title'])}}}}},\n"
        f"  howpublished = {{{latex_text(published)}}}{doi}\n}}\n"
    )


def cite(bundles: Sequence[Evidence], sources: Mapping[str, str], check: str) -> str:
    """Return the section to copy from: BibTeX, LaTeX (file name → text), and `check`, HTML that says how."""
    blocks = {
        "BibTeX": bibtex(bundles[0].corpus, *(known.study for known in bundles)),
        **{f"LaTeX: {name}": text for name, text in sources.items()},
    }
    told = "".join(
        f'<h3>{escape(title)}</h3><p><button class="copy" type="button" data-of="copy-{place}" hidden>Copy '
        f'<span class="quiet-name">{escape(title)}</span></button></p><pre id="copy-{place}" tabindex="0" '
        f'role="region" aria-label="{escape(title)}">{escape(text, quote=False)}</pre>'
        for place, (title, text) in enumerate(blocks.items())
    )
    return section("Cite and copy", f"{told}<h3>Check</h3><p>{check}</p>")
