"""A comparison's files: `comparison.{csv,json,md,tex,html}`, two more tables, figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

from benchmark import bundle, scores
from benchmark.files import csv_text, json_text, read_json, write_texts
from benchmark.report import figures, formats, leaderboard, page, paired
from benchmark.report.comparison import SIDES, Comparison, Group, Inflation, budget, compare, read
from benchmark.report.figures import comparison as drawn
from benchmark.report.formats import Below, chance, percent, points
from benchmark.report.leaderboard import Verdict
from benchmark.report.page import Picture, Sheet
from benchmark.schema import SCHEMA_VERSION, SerbenchError, UsageError

Row = Mapping[str, Any]
Table = tuple[list[str], list[list[str]]]  # header, cells

_PAIR_ENDS = ("bundle_a", "system_a", "bundle_b", "system_b")
_BUNDLE_PLACE = 2  # of the column that says whose a system is
_DIGESTS = "Digests by their first digits; comparison.json has them whole."
_SHORT = 16  # digits of a digest that are shown


def write(found: Comparison, out: Path) -> dict[str, Any]:
    """Write every file of a comparison into the folder `out`; return what comparison.json holds.

    Raises:
        UsageError: `out` is a bundle, which a comparison would spoil.
    """
    if (out / "study.yaml").exists():
        raise UsageError(f"{out} must not be a bundle, but has a study.yaml: name another folder with --out")
    name = out.resolve().name
    texts = _texts(found, name)
    made: dict[str, str | bytes] = {**texts}
    pictures = []
    for drawing in _drawings(found):
        png = figures.png(drawing)
        made |= {f"figures/{drawing.name}.png": png, f"figures/{drawing.name}.pdf": figures.pdf(drawing)}
        pictures.append(Picture(drawing.name, drawing.title, drawing.alt, png, drawing.rows))
    made["comparison.html"] = _page(found, name, page.figures(pictures), texts["comparison.tex"])
    write_texts(out, made)
    for old in (*out.glob("figures/*"), out / "inflation.csv"):  # of another comparison of this name
        if old.relative_to(out).as_posix() not in made:
            old.unlink(missing_ok=True)
    return _content(found)


def check(folder: Path) -> Verdict:
    """Check the bundles of a comparison, which lie beside `comparisons`, then make it again and compare.

    What its figures say in words and data is made again, too; their pictures are not.

    Raises:
        UsageError: a bundle is not there. SerbenchError: one does not verify, or comparison.json is none.
    """
    folder = folder.resolve()
    root = folder.parent.parent
    try:
        names = [str(about["bundle"]) for about in read_json(folder / "comparison.json")["bundles"]]
    except (ValueError, LookupError, TypeError):
        names = []
    if not names:
        raise SerbenchError(f"{folder / 'comparison.json'} must name its bundles; make the comparison again")
    missing = [name for name in names if not (root / name / "study.yaml").exists()]
    if missing:
        rule = f"its bundles must lie in {root}, two folders above it, but {missing[0]} does not"
        raise UsageError(
            f"{folder.name}: {rule}; bring it there, or write the comparison with --out beside it"
        )
    found = compare(read([root / name for name in names]))
    texts, problems = _texts(found, folder.name), list[str]()
    cells, path = leaderboard.compare(folder, texts, problems), folder / "comparison.html"
    if not path.exists():
        return Verdict([*problems, f"missing: {path.name}"], len(texts), cells)
    with bundle.noting(problems, path.name):
        problems += page.problems(
            path, lambda drawn: _page(found, folder.name, _again_drawn(found, drawn), texts["comparison.tex"])
        )
    known = {*texts, path.name}
    files = (each.relative_to(folder).as_posix() for each in folder.rglob("*") if each.is_file())
    problems += [f"added: {name}" for name in sorted(files) if name not in known and name[:8] != "figures/"]
    return Verdict(problems, len(known), cells)


def _again_drawn(found: Comparison, section: str) -> str:
    """Return a written section of figures with titles, words and data made again around its pictures."""
    shown = page.shown(section)
    pictures = [
        Picture(drawing.name, drawing.title, drawing.alt, shown.get(drawing.name) or b"", drawing.rows)
        for drawing in _drawings(found)
    ]
    return page.figures(pictures)


def _texts(found: Comparison, name: str) -> dict[str, str]:
    """Return every file but figures and page, path → text."""
    texts = {
        "comparison.csv": csv_text(("group", "bundle", *scores.COLUMNS), _numbered(found, "rows")),
        "pairwise.csv": csv_text(
            ("group", *_PAIR_ENDS, *scores.PAIR_COLUMNS[2:]), _numbered(found, "pairwise")
        ),
        "comparison.json": json_text(_content(found)),
        "comparison.md": _markdown(found, name),
        "comparison.tex": _latex(found, name),
    }
    if found.inflation:
        columns = (*(f"{side}_bundle" for side in SIDES), *paired.columns(SIDES))
        texts["inflation.csv"] = csv_text(columns, _inflation_rows(found))
    return texts


def text(found: Comparison) -> str:
    """Return the comparison for a terminal, without what a search cost."""
    parts = []
    for group in found.groups:
        header, cells = _cells(found, group)
        shown = len(header) - len(leaderboard.COSTLY)
        title = "\n".join(filter(None, [group.title, _stands_apart(group)]))
        parts.append(f"{title}\n{formats.text(header[:shown], [line[:shown] for line in cells])}")
    parts += [f"{_adds(one, found)}\n{formats.text(*_inflation_cells(one))}" for one in found.inflation]
    return "\n\n".join([*parts, *found.notes])


def _content(found: Comparison) -> dict[str, Any]:
    bundles = []
    for name, known in found.bundles.items():
        digests, environment = known.study.get("digests", {}), known.environment
        bundles.append({
            "bundle": name, "seal": known.seal, "study_digest": digests.get("study", ""),
            "protocol": known.splits["protocol"], "diagnostic": bool(known.splits.get("diagnostic")),
            "fingerprint": known.splits["fingerprint"], **budget(known.study),
            "sampler": known.study.get("sampler", ""), "commit": environment.get("commit", ""),
            "code_digest": environment.get("code_digest", ""),
        })  # fmt: skip
    corpus = next(iter(found.bundles.values())).corpus
    return {
        "schema_version": SCHEMA_VERSION,
        "corpus": {key: corpus[key] for key in leaderboard.CORPUS},
        "bundles": bundles,
        "groups": [
            {
                "group": number, "title": group.title, "stands_apart": group.reason,
                "bundles": list(group.bundles), "interval": group.interval, "rows": group.rows,
                "pairwise": group.pairwise,
            }
            for number, group in enumerate(found.groups, 1)
        ],
        "inflation": [
            {"independent": one.independent, "random": one.random, "rows": one.rows}
            for one in found.inflation
        ],
        "notes": list(found.notes),
    }  # fmt: skip


def _numbered(found: Comparison, what: str) -> Iterator[dict[str, Any]]:
    for number, group in enumerate(found.groups, 1):
        for row in getattr(group, what):
            yield {"group": number, **row}


def _inflation_rows(found: Comparison) -> Iterator[dict[str, Any]]:
    for one in found.inflation:
        for row in one.rows:
            yield {"independent_bundle": one.independent, "random_bundle": one.random, **row}


def _caption(found: Comparison) -> str:
    corpus = next(iter(found.bundles.values())).corpus
    intervals = dict.fromkeys(leaderboard.interval_words(group.interval) for group in found.groups)
    together = "Ranks, letters and tests hold within a group: one split, one budget"
    return f"{leaderboard.corpus_words(corpus)}. {together}. {'. '.join(map(_capital, intervals))}."


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def _stands_apart(group: Group) -> str:
    return f"Not ranked with the first group: {group.reason}." if group.reason else ""


def _of(group: Group) -> str:
    return f"Bundle{'s' if len(group.bundles) > 1 else ''}: {', '.join(group.bundles)}."


def _cells(found: Comparison, group: Group, *, latex: bool = False) -> Table:
    """Return a group's leaderboard; where any group holds several bundles, a column says whose each is."""
    header, cells = leaderboard.table_of(group.rows)
    cells = leaderboard.for_latex(cells) if latex else cells
    if any(len(other.bundles) > 1 for other in found.groups):
        header.insert(_BUNDLE_PLACE, "Bundle")
        for line, row in zip(cells, group.rows, strict=True):
            line.insert(_BUNDLE_PLACE, row["bundle"])
    return header, cells


def _adds(one: Inflation, found: Comparison) -> str:
    """Say in one sentence what the random split adds to the searched systems; of several, to whose."""
    effects = [100 * row["effect"] for row in one.rows if row["system"] in one.searched]
    span = f"{min(effects):+.1f}" + (f" to {max(effects):+.1f}" if len(effects) > 1 else "")
    honest, random = one.protocols if len(found.inflation) == 1 else (one.independent, one.random)
    return f"{random} less {honest}: {span} points of UAR for the same searched systems on the same clips."


def _inflation_about(one: Inflation) -> str:
    honest, random = one.protocols
    return (
        f"UAR under {random} ({one.random}) less UAR under {honest} ({one.independent}), in points, of the "
        "same systems at the same budget, paired clip by clip: intervals resample speakers, both sides on "
        "the same resample; p of sign flips of per-speaker differences, Holm over these rows. "
        f"{random} does not measure how well a model recognises the emotions of people whom it has not "
        "heard: its training and test clips share speakers."
    )


def _inflation_cells(one: Inflation) -> Table:
    header = ["System", *(f"{protocol} %" for protocol in one.protocols), "Difference", "p", "p, Holm"]
    cells = [
        [
            *(row["system"], *(percent(row, side) for side in SIDES)),
            *(points(row), chance(row["p"]), chance(row["p_holm"])),
        ]
        for row in one.rows
    ]
    return header, cells


def _pairs(group: Group) -> list[Row]:
    """Return a group's pairs with systems as they are shown."""
    named = {(row["bundle"], row["system"]): _named(row, group) for row in group.rows}
    return [
        {**pair} | {f"system_{side}": named[pair[f"bundle_{side}"], pair[f"system_{side}"]] for side in "ab"}
        for pair in group.pairwise
    ]


def _bundle_cells(found: Comparison) -> Table:
    """Return where the numbers come from, a line a bundle."""
    header = ["Bundle", "Protocol", "Folds", "Training clips a fold", "Trials", "Inner folds", "Seeds",
              "Sampler", "Study", "Split", "Commit", "Seal"]  # fmt: skip
    cells = []
    for name, known in found.bundles.items():
        folds, study = known.splits["folds"], known.study
        train = sum(len(fold["train"]) for fold in folds) / len(folds)
        digests = [
            study.get("digests", {}).get("study", ""), known.splits["fingerprint"],
            known.environment.get("commit", ""), known.seal,
        ]  # fmt: skip
        counts = (len(folds), f"{train:,.0f}", *(study[key] for key in ("trials", "inner_folds", "seeds")))
        cells.append([
            name, leaderboard.protocol_words(known.splits), *map(str, counts), study.get("sampler", ""),
            *(value[:_SHORT] for value in digests),
        ])  # fmt: skip
    return header, cells


def _again(found: Comparison, name: str) -> str:
    bundles = " ".join(f"results/{bundle}" for bundle in found.bundles)
    return f"serbench report {bundles} --out results/comparisons/{name}"


def _markdown(found: Comparison, name: str) -> str:
    escaped = formats.markdown_text
    parts = [f"# {escaped(name)}\n\n{escaped(_caption(found))}\n"]
    parts += [f"\n{escaped(note)}\n" for note in found.notes]
    for group in found.groups:
        rule = "\n---\n" if group.reason else ""
        told = " ".join(filter(None, [_stands_apart(group), _of(group)]))
        parts.append(f"{rule}\n## {escaped(group.title)}\n\n{formats.markdown(*_cells(found, group), told)}")
    for one in found.inflation:
        title = f"What {one.protocols[1]} adds over {one.protocols[0]}"
        about = f"{_adds(one, found)} {_inflation_about(one)}"
        parts.append(f"\n## {escaped(title)}\n\n{formats.markdown(*_inflation_cells(one), about)}")
    parts.append(f"\n## Bundles\n\n{formats.markdown(*_bundle_cells(found), _DIGESTS)}")
    parts.append(f"\nAgain, from the project's folder:\n\n    {_again(found, name)}\n")
    return "".join(parts)


def _latex(found: Comparison, name: str) -> str:
    first, *others = found.groups
    header, cells = _cells(found, first, latex=True)
    below = [
        Below(group.title, _cells(found, group, latex=True)[1], [f"{group.title}: {_stands_apart(group)}"])
        for group in others
    ]
    about = f"{_caption(found)} Above the rule: {first.title}." if others else f"{_caption(found)}"
    tables = [formats.latex(header, cells, about, name, below)]
    for number, one in enumerate(found.inflation, 1):
        label = f"{name}-inflation-{number}"
        tables.append(formats.latex(*_inflation_cells(one), _inflation_about(one), label))
    return "\n".join(tables)


def _drawings(found: Comparison) -> Iterator[figures.Drawing]:
    interval = found.groups[0].interval
    level = None if interval["reason"] else interval["level"]
    groups = {
        _short_title(group, found): [{**row, "system": _named(row, group)} for row in group.rows]
        for group in found.groups
    }
    yield drawn.forest(groups, level)
    for number, one in enumerate(found.inflation, 1):
        name = "inflation" if len(found.inflation) == 1 else f"inflation-{number}"
        trained = [row for row in one.rows if row["system"].removesuffix(scores.PUBLISHED) in one.searched]
        yield drawn.inflation(name, trained, one.protocols, interval["level"])
        honest, random = (found.bundles[side] for side in (one.independent, one.random))
        yield drawn.inflation_by_speaker(
            f"{name}-speakers", one.searched, honest.runs, random.runs, len(honest.corpus["classes"])
        )


def _short_title(group: Group, found: Comparison) -> str:
    """Return the protocol where it tells the groups apart, else the whole title."""
    protocol = group.rows[0]["protocol"]
    alike = sum(other.rows[0]["protocol"] == protocol for other in found.groups)
    return protocol if alike == 1 else group.title


def _named(row: Row, group: Group) -> str:
    """Return a system's name as a figure shows it: with its bundle where the name alone does not tell."""
    twice = sum(other["system"] == row["system"] for other in group.rows) > 1
    return f"{row['system']} ({row['bundle']})" if twice else row["system"]


def _page(found: Comparison, name: str, drawn: str, source: str) -> str:
    rules = []
    for number, group in enumerate(found.groups, 1):
        note = " ".join(filter(None, [_stands_apart(group), _of(group)]))
        rules.append(page.table(Sheet(f"group-{number}", group.title, note, *_cells(found, group))))
    notes = "".join(f"<li>{escape(note)}" for note in found.notes)
    sections = {
        "Results": page.section("Results", (f"<ul>{notes}</ul>" if notes else "") + "<hr>".join(rules))
    }
    if found.inflation:
        sheets = [
            Sheet(f"inflation-{n}", _adds(one, found), _inflation_about(one), *_inflation_cells(one))
            for n, one in enumerate(found.inflation, 1)
        ]
        sections["Inflation"] = page.section("Inflation", "".join(map(page.table, sheets)))
    sections["Figures"] = drawn
    pairs = [
        Sheet(
            f"pairs-{n}",
            f"Every two systems: {g.title}",
            leaderboard.PAIRS,
            *leaderboard.pairs_of(_pairs(g)),
            folded=True,
        )
        for n, g in enumerate(found.groups, 1)
        if g.pairwise
    ]
    sections["Tables"] = page.section("Tables", "".join(map(page.table, pairs)))
    where = page.table(Sheet("bundle", "Where the numbers come from", _DIGESTS, *_bundle_cells(found)))
    sections["Bundles"] = page.section("Bundles", where)
    check = (
        "Each bundle recomputes: <code>serbench verify results/NAME</code>; so does this comparison: "
        f"<code>serbench verify results/comparisons/{escape(name)}</code>. It again: "
        f"<code>{escape(_again(found, name))}</code>"
    )
    known = list(found.bundles.values())
    sections["Cite and copy"] = page.cite(known, {"comparison.tex": source}, check)
    return page.document(name, _caption(found), sections)
