"""What differs between two bundles: study, environment, corpus, split, then numbers, with paired tests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmark import bundle, space
from benchmark.files import changes, read_csv, read_json
from benchmark.report import formats, paired, recheck
from benchmark.report.formats import chance, counted, percent, points
from benchmark.scores import Run

Row = dict[str, Any]

SIDES = ("a", "b")
_INPUTS = ("study", "environment", "corpus", "split")  # sections of changed fields, in their order
_SHOWN = ("rank", "trials", "failed_trials", "failed_runs", "uar", "accuracy", "macro_f1")  # in a terminal
_LONG = 44  # characters of a value, above which a terminal shows its start
_NAMED = 3  # clips that are named in words


def diff(a: Path, b: Path) -> dict[str, Any]:
    """Compare two sealed bundles.

    Returns:
        equal: whether nothing differs. study, environment, corpus, split: changed fields, each with both its
        values. clips: of the manifest, by id. systems: those of one bundle only; shared: how many are in
        both. cells: changed cells of their leaderboard, made again from the predictions. paired: rows of
        `paired.compare`, effect b − a, where the test clips match; without: why there are none.

    Raises:
        UsageError: one is no bundle. SerbenchError: one does not verify.
    """
    for folder in (a, b):
        bundle.require(folder)
        recheck.refuse(folder, recheck.sources(folder), "compared")
    found: dict[str, Any] = {"a": str(a), "b": str(b)}
    for section, ours, theirs in zip(_INPUTS, _inputs(a), _inputs(b), strict=True):
        found[section] = _changes(ours, theirs)
    found["clips"] = _clips(a, b)
    runs = [bundle.read_runs(folder) for folder in (a, b)]
    one, other = (_rows(folder, own) for folder, own in zip((a, b), runs, strict=True))
    found["systems"] = {
        "only_a": [system for system in one if system not in other],
        "only_b": [system for system in other if system not in one],
    }
    shared = [system for system in one if system in other]
    found["shared"] = len(shared)
    found["cells"] = [
        {"system": system, **change} for system in shared for change in _changes(one[system], other[system])
    ]
    found["paired"], found["without"] = _paired(a, b, runs, shared)
    found["equal"] = not any(found[key] for key in (*_INPUTS, "cells")) and not any(
        names for kind in ("clips", "systems") for names in found[kind].values()
    )
    return found


def _inputs(folder: Path) -> Iterator[Mapping[str, Any]]:
    """Yield what a bundle's numbers are made of, in the order of _INPUTS."""
    study = bundle.read_study(folder)
    spaces = {name: space.load_strict(text, name) for name, text in study.get("spaces", {}).items()}
    digests = {key: value for key, value in study.get("digests", {}).items() if key != "spaces"}
    yield {**study, "spaces": spaces, "digests": digests}
    yield read_json(folder / "environment.json")
    yield read_json(folder / "corpus.json")
    splits = read_json(folder / "splits.json")
    folds = {f"fold {fold['fold']}": _fold(fold) for fold in splits.pop("folds")}
    yield splits | folds


def _fold(fold: Mapping[str, Any]) -> str:
    train, test, speakers = (len(fold[key]) for key in ("train", "test", "test_speakers"))
    return f"{train} train, {test} test: {speakers} speakers {', '.join(fold['test_speakers'])}"


def _changes(one: Any, other: Any) -> list[Row]:
    return [{"field": place, "a": old, "b": new} for place, old, new in changes(one, other)]


def _clips(a: Path, b: Path) -> dict[str, list[str]]:
    """Return the ids of the clips that one manifest has alone, and of those that differ."""
    ours, theirs = ({row["id"]: row for row in read_csv(folder / "manifest.csv")} for folder in (a, b))
    return {
        "only_a": [id_ for id_ in ours if id_ not in theirs],
        "only_b": [id_ for id_ in theirs if id_ not in ours],
        "changed": [id_ for id_ in ours if id_ in theirs and ours[id_] != theirs[id_]],
    }


def _rows(folder: Path, runs: Sequence[Run]) -> dict[str, Mapping[str, Any]]:
    """Return the leaderboard that the predictions give, by system: who edits a table may reseal it, too."""
    return {row["system"]: row for row in bundle.tables(folder, runs).leaderboard}


def _paired(a: Path, b: Path, runs: Sequence[list[Run]], systems: Sequence[str]) -> tuple[list[Row], str]:
    """Return the paired tests of the systems that both have, or why there are none."""
    classes = [read_json(folder / "corpus.json")["classes"] for folder in (a, b)]
    if classes[0] != classes[1]:
        return [], "the label sets differ"
    if not systems:
        return [], "no system is in both"
    one, other = runs
    if not paired.same_clips(one, other):
        return [], "the test clips differ"
    seed = bundle.read_study(a)["bootstrap_seed"]
    return paired.compare(one, other, systems, classes[0], names=SIDES, bootstrap_seed=seed), ""


def text(found: Mapping[str, Any]) -> str:
    """Return what differs for a terminal."""
    if found["equal"]:
        return f"{found['a']} and {found['b']} are equal: same study, environment, corpus, split and numbers"
    parts = [f"a: {found['a']}\nb: {found['b']}"]
    for section in _INPUTS:
        lines = [[row["field"], _short(row["a"]), _short(row["b"])] for row in found[section]]
        parts.append(_section(section.capitalize(), ["field", *SIDES], lines))
    told = {"only_a": "only in a", "only_b": "only in b", "changed": "with other content"}
    for kind, noun in (("clips", "clip"), ("systems", "system")):
        for key, names in found[kind].items():
            if names:
                shown = ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")
                parts.append(f"{counted(len(names), noun)} {told[key]}: {shown}")
    cells = [
        [row["system"], row["field"], _short(row["a"]), _short(row["b"])]
        for row in found["cells"]
        if row["field"] in _SHOWN
    ]
    both = f"Leaderboard of the {counted(found['shared'], 'system')} in both"
    parts.append(_section(both, ["system", "column", *SIDES], cells))
    if len(found["cells"]) > len(cells):
        parts[-1] += f"\nand {len(found['cells']) - len(cells)} other cells, listed by --json"
    if found["without"]:
        parts.append(f"Paired tests: none, as {found['without']}")
    else:
        header = ["system", "a UAR %", "b UAR %", "b − a, points", "p", "p, Holm"]
        rows = [
            [row["system"], *(percent(row, side) for side in SIDES), points(row), chance(row["p"]),
             chance(row["p_holm"])]
            for row in found["paired"]
        ]  # fmt: skip
        about = "Intervals resample speakers; p: sign flips of per-speaker differences, Holm over these rows."
        parts.append(_section("Paired tests, the same clips in both", header, rows) + f"\n{about}")
    return "\n\n".join(parts)


def _section(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return f"{title}\n{formats.text(header, rows)}" if rows else f"{title}: the same"


def _short(value: Any) -> str:
    shown = f"{value:.6g}" if isinstance(value, float) else formats.plain(value)
    return shown if len(shown) <= _LONG else shown[: _LONG - 1] + "…"
