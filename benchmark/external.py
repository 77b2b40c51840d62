"""Predictions from elsewhere → a system of a bundle: checked line by line, then tested like any other.

Columns are matched by name, whatever their order and case: `utterance_id` (an id, a path or a file's stem),
`predicted`, `p_<class>` for every class or none, and, where given, `label` and `fold` (checked), `seed`.
"""

from __future__ import annotations

import re
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmark import bundle, foreign, rebuild, restore
from benchmark.files import read_csv, read_json, sha256
from benchmark.foreign import Sheet
from benchmark.schema import SerbenchError, UsageError, nearest, searched_system
from benchmark.scores import EXTERNAL, PUBLISHED, Run

NAMES = {  # column → what others call it, the first that is there counts
    "utterance_id": ("utterance_id", "utterance", "id", "clip", "file", "filename", "path"),
    "predicted": ("predicted", "prediction", "predicted_label"),
    "label": ("label", "truth", "true_label"),
    "seed": ("seed",),
    "fold": ("fold",),
}
SHOWN = 3  # of what is wrong
LONGEST = 80  # characters of a name, which becomes that of a folder and of figures


def join(folder: Path, table: Path, family: str, source: str = "", caveat: str = "") -> dict[str, Any]:
    """Add the predictions of `table` to a bundle as the external system `family`, and seal it again.

    Args:
        source: whose they are; by default the name of the file.
        caveat: what a reader of the leaderboard must know of them.

    Returns:
        system, seeds, clips, separator, unused (columns that were passed over).

    Raises:
        UsageError: no bundle, or a name that cannot be. SerbenchError: the bundle does not verify, or the
            predictions are not one a test clip and seed. The bundle then is as it was.
    """
    told = {"source": _line(source or table.name, "source"), "caveat": _line(caveat, "caveat")}
    with rebuild.rebuilding(folder) as copy:
        _check_name(copy, family)
        sheet = foreign.read(table, table.name)
        columns, classes = _columns(sheet), read_json(copy / "corpus.json")["classes"]
        seeds = _seeds(sheet, columns)
        about = told | {"sha256": sha256(table), "seeds": len(seeds)}
        for run in read(sheet, family, copy):
            result = {
                "params": {}, "parameters": None, "seconds": None, "cpus": None, "gpus": None, "reason": "",
                "external": about, "given_seed": seeds[run.seed - 1],
            }  # fmt: skip
            bundle.write_run(copy, run, result, [], classes)
    used = {*columns.values(), *_shares(sheet)}
    return {
        "system": family, "seeds": len(seeds), "clips": len(sheet.rows) // len(seeds),
        "separator": foreign.SEPARATORS[sheet.separator],
        "unused": [name for name in sheet.header if name not in used],
    }  # fmt: skip


def read(sheet: Sheet, system: str, folder: Path) -> list[Run]:
    """Return the runs that a sheet holds, by seed and fold, over the test clips of the bundle's protocol.

    Raises:
        SerbenchError: a column, a clip, a label or a probability that cannot be.
    """
    classes, splits = read_json(folder / "corpus.json")["classes"], read_json(folder / "splits.json")
    clips = {r["id"]: r for r in read_csv(folder / "manifest.csv") if r["status"] == "accepted"}
    fold_of = {id_: fold["fold"] for fold in splits["folds"] for id_ in fold["test"]}
    columns = _columns(sheet)
    seeds = _seeds(sheet, columns)
    find = restore.finder(clips.values())
    ids = [find(row[columns["utterance_id"]]) for _, row in sheet.rows]
    own_seed = [seeds.index(row[columns["seed"]]) + 1 if "seed" in columns else 1 for _, row in sheet.rows]
    _check_clips(sheet, columns, ids, own_seed, seeds, fold_of, splits["protocol"])
    _check_folds(sheet, columns, ids, fold_of)
    _check_labels(sheet, columns, ids, {id_: clip["label"] for id_, clip in clips.items()})
    predicted, probabilities = _answers(sheet, columns, classes)
    places: dict[tuple[int, int], list[int]] = defaultdict(list)
    for place in sorted(range(len(ids)), key=lambda k: str(ids[k])):
        places[own_seed[place], fold_of[str(ids[place])]].append(place)
    runs = []
    for (seed, fold), own in sorted(places.items()):
        names = [str(ids[place]) for place in own]
        truth = [classes.index(clips[name]["label"]) for name in names]
        runs.append(
            Run(
                system=system, family=system, pretraining=EXTERNAL, fold=fold, seed=seed, ids=tuple(names),
                speakers=tuple(clips[name]["speaker"] for name in names), truth=np.array(truth),
                predicted=predicted[own], probabilities=probabilities[own],
            )
        )  # fmt: skip
    return runs


def _line(text: str, what: str) -> str:
    if not text.isprintable():
        raise UsageError(f"--{what} must be one line of printable text, but got {text!r}")
    return text.strip()


def _check_name(folder: Path, family: str) -> None:
    if not re.fullmatch(r"\w[\w.-]*", family) or family.endswith(PUBLISHED):
        rule = f"must have letters, digits, . _ - only, and not end with {PUBLISHED}"
        raise UsageError(f"--family {rule}, but got {family!r}")
    if len(family) > LONGEST:
        raise UsageError(f"--family must have at most {LONGEST} characters, but has {len(family)}")
    name, systems = family.casefold(), {place.name.casefold() for place in folder.glob("runs/*")}
    if name in systems:
        raise UsageError(f"--family must be a new name, but the bundle has {family!r}; choose another")
    if searched_system(name) in set(map(searched_system, bundle.read_study(folder)["systems"])):
        rule = f"would read as a search of this study's {searched_system(name)}"
        raise UsageError(f"--family must not be {family!r}, which {rule}; choose another")


def _columns(sheet: Sheet) -> dict[str, str]:
    """Return column → its name in the sheet, of those that are there."""
    lower = {name.lower(): name for name in sheet.header}
    found = {
        column: next(lower[name] for name in names if name in lower)
        for column, names in NAMES.items()
        if any(name in lower for name in names)
    }
    if "utterance_id" not in found:
        sheet.need(["utterance_id"])
    if "predicted" not in found and not _shares(sheet):
        sheet.need(["predicted"])
    return found


def _seeds(sheet: Sheet, columns: Mapping[str, str]) -> list[str]:
    """Return the seeds as given, in order; the first is seed 1 of the bundle."""
    given = {row[columns["seed"]] for _, row in sheet.rows} if "seed" in columns else {"1"}
    if "" in given and len(given) > 1:
        raise sheet.error("seed must be given in every line or in none; fill it in")
    return sorted(given, key=lambda seed: (len(seed), seed) if seed.isdigit() else (sys.maxsize, seed))


def _check_clips(
    sheet: Sheet,
    columns: Mapping[str, str],
    ids: Sequence[str | None],
    own_seed: Sequence[int],
    seeds: Sequence[str],
    fold_of: Mapping[str, int],
    protocol: str,
) -> None:
    """Want every test clip once a seed; one error lists all that is not so."""
    wrong: dict[str, list[str]] = {"missing": [], "doubled": [], "unknown": [], "not tested": []}
    counts = Counter(zip(own_seed, ids, strict=True))
    for number, seed in enumerate(seeds, 1):
        of = f" (seed {seed})" if len(seeds) > 1 else ""
        wrong["missing"] += [f"{id_}{of}" for id_ in sorted(fold_of) if not counts[number, id_]]
        wrong["doubled"] += [f"{id_}{of}" for id_ in sorted(fold_of) if counts[number, id_] > 1]
    for (line, row), id_ in zip(sheet.rows, ids, strict=True):
        kind = "unknown" if id_ is None else "" if id_ in fold_of else "not tested"
        if kind:
            wrong[kind].append(f"{row[columns['utterance_id']]!r} in line {line}")
    if any(wrong.values()):
        told = "; ".join(f"{len(items)} {kind}: {_few(items)}" for kind, items in wrong.items() if items)
        raise sheet.error(f"each test clip of {protocol} must stand once a seed, but {told}")


def _few(items: Sequence[str]) -> str:
    return ", ".join(items[:SHOWN]) + (", …" if len(items) > SHOWN else "")


def _check_folds(
    sheet: Sheet, columns: Mapping[str, str], ids: Sequence[str | None], fold_of: Mapping[str, int]
) -> None:
    """Want a fold's clips together, whatever it is called: another split is another question."""
    if "fold" not in columns:
        return
    given: dict[str, int] = {}
    for (line, row), id_ in zip(sheet.rows, ids, strict=True):
        name, fold = row[columns["fold"]], fold_of[str(id_)]
        if given.setdefault(name, fold) != fold:
            raise sheet.error(
                f"line {line}: {id_} is tested in fold {fold} of the bundle's protocol, but fold {name!r} "
                f"holds clips of fold {given[name]}; predict with the bundle's splits.json"
            )


def _check_labels(
    sheet: Sheet, columns: Mapping[str, str], ids: Sequence[str | None], label_of: Mapping[str, str]
) -> None:
    if "label" not in columns:
        return
    for (line, row), id_ in zip(sheet.rows, ids, strict=True):
        given, known = row[columns["label"]], label_of[str(id_)]
        if given != known:
            rule = f"{id_} has the label {known!r} in the bundle, but {given!r} here"
            raise sheet.error(f"line {line}: {rule}; correct it, or leave the column out")


def _answers(
    sheet: Sheet, columns: Mapping[str, str], classes: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Return (n,) class numbers and (n, classes) probabilities, NaN where there are only labels."""
    number = {label: k for k, label in enumerate(classes)}
    probabilities = _probabilities(sheet, classes)
    if "predicted" not in columns:
        return probabilities.argmax(1), probabilities
    predicted = []
    for line, row in sheet.rows:
        label = row[columns["predicted"]]
        if label not in number:
            raise sheet.error(f"line {line}: unknown label {label!r}: {nearest(label, classes)}")
        predicted.append(number[label])
    chosen = np.array(predicted)
    if not np.isnan(probabilities).any():
        _, values = bundle.written(probabilities)
        below = chosen != values.argmax(1)
        if below.any():
            line, row = sheet.rows[int(below.argmax())]
            rule = (
                "predicted must be the class with the largest probability in six digits, the first of equals"
            )
            raise sheet.error(
                f"line {line}: {rule}, but is {row[columns['predicted']]!r} ({below.sum()} such lines); "
                "leave out the column predicted, or the probabilities"
            )
    return chosen, probabilities


def _shares(sheet: Sheet) -> list[str]:
    return [name for name in sheet.header if name.lower().startswith("p_")]


def _probabilities(sheet: Sheet, classes: Sequence[str]) -> np.ndarray:
    given = _shares(sheet)
    wanted = [f"p_{label}" for label in classes]
    lower = {name.lower(): name for name in given}
    named = {name: name if name in given else lower.get(name.lower(), "") for name in wanted}
    for name in given:
        if name not in named.values():
            raise sheet.error(f"unknown column {name!r}: {nearest(name, wanted)}")
    if not given:
        return np.full((len(sheet.rows), len(classes)), np.nan)
    sheet.need([given or name for name, given in named.items()])
    columns = [named[name] for name in wanted]
    values = np.array([[_number(sheet, line, row, name) for name in columns] for line, row in sheet.rows])
    good = bundle.probable(values)
    if not good.all():
        line = sheet.rows[int(good.argmin())][0]
        total = values[int(good.argmin())].sum()
        cure = "write six digits, or leave them out"
        if abs(total - 1) > 0.1 or (values < 0).any():
            cure = (
                "divide them by 100" if 99 <= total <= 101 else "these are no probabilities: leave them out"
            )
        raise sheet.error(
            f"line {line}: probabilities must lie in 0 to 1 and sum to 1 within {bundle.SUM:g}, but sum to "
            f"{total:.6g} ({(~good).sum()} such lines); {cure}"
        )
    return values


def _number(sheet: Sheet, line: int, row: Mapping[str, str], column: str) -> float:
    """Return a cell as a number; a decimal comma is one."""
    try:
        return float(row[column].replace(",", "."))
    except ValueError:
        rule = f"{column} must be a number, but is {row[column]!r}"
        raise SerbenchError(f"{sheet.name}: line {line}: {rule}") from None
