"""The folder that a study leaves: its files, its seal, and the check that it still says what was measured.

Only the written files count: probabilities with six significant digits, `predicted` the argmax of the row.
"""

from __future__ import annotations

import hashlib
import math
import statistics as stdlib_statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from benchmark import scores
from benchmark.files import csv_text, json_text, read_csv, read_json, write_text, write_texts
from benchmark.schema import SCHEMA_VERSION, SerbenchError, digest
from benchmark.scores import Run

SUMS = "SHA256SUMS"
_REQUIRED = (
    "study.yaml environment.json corpus.json manifest.csv splits.json audit.json README.md pairwise.csv"
)
REQUIRED = (*_REQUIRED.split(), *(f"leaderboard.{kind}" for kind in ("csv", "json", "md", "tex")))
RUN_FILES = ("predictions.csv", "history.csv", "result.json")
SEARCH_FILES = ("space.yaml", "trials.csv", "steps.csv", "best.json")
TOLERANCE = 1e-9


def run_folder(bundle: Path, system: str, fold: int, seed: int) -> Path:
    """Return where a run's files lie."""
    return bundle / "runs" / system / f"fold-{fold}" / f"seed-{seed}"


def read_study(bundle: Path) -> dict[str, Any]:
    """Read study.yaml."""
    return yaml.safe_load((bundle / "study.yaml").read_text(encoding="utf-8"))


def write_run(
    bundle: Path,
    run: Run,
    result: Mapping[str, Any],
    history: Iterable[Mapping[str, Any]],
    classes: Sequence[str],
) -> Run:
    """Write a run's three files, result.json last; return the run as written.

    Args:
        bundle: the study's folder.
        run: probabilities of any precision; `predicted` is not used.
        result: further fields of result.json (params, parameters, seconds, cpus, gpus, failed, …).
        history: rows of step, loss, lr.
        classes: the corpus's class list.
    """
    cells = [[f"{p:.6g}" for p in row] for row in run.probabilities]
    written = np.array(cells, dtype=np.float64).reshape(run.probabilities.shape)
    run = replace(run, probabilities=written, predicted=written.argmax(1))
    columns = ["utterance_id", "speaker", "label", "predicted", *(f"p_{label}" for label in classes)]
    lines = zip(run.ids, run.speakers, run.truth, run.predicted, cells, strict=True)
    rows = [
        dict(zip(columns, [id_, speaker, classes[truth], classes[predicted], *row], strict=True))
        for id_, speaker, truth, predicted, row in lines
    ]
    identity = {key: getattr(run, key) for key in ("system", "family", "pretraining", "fold", "seed")}
    record = {"schema_version": SCHEMA_VERSION, "failed": False, **result, **identity}
    files = {
        "predictions.csv": csv_text(columns, rows),
        "history.csv": csv_text(("step", "loss", "lr"), history),
        "result.json": json_text(record | {"metrics": scores.run_metrics(run)}),
    }
    write_texts(run_folder(bundle, run.system, run.fold, run.seed), files)
    return run


def read_runs(bundle: Path) -> list[Run]:
    """Read every finished run (one that has its result.json), by system, fold, seed."""
    number = {label: k for k, label in enumerate(read_json(bundle / "corpus.json")["classes"])}
    return [
        _read_run(path.parent, number) for path in sorted(bundle.glob("runs/*/fold-*/seed-*/result.json"))
    ]


def _read_run(folder: Path, number: Mapping[str, int]) -> Run:
    result = read_json(folder / "result.json")
    rows = read_csv(folder / "predictions.csv")
    try:
        return Run(
            **{key: result[key] for key in ("system", "family", "pretraining", "fold", "seed")},
            ids=tuple(row["utterance_id"] for row in rows),
            speakers=tuple(row["speaker"] for row in rows),
            truth=np.array([number[row["label"]] for row in rows], dtype=np.int64),
            predicted=np.array([number[row["predicted"]] for row in rows], dtype=np.int64),
            probabilities=np.array([[row[f"p_{c}"] for c in number] for row in rows], dtype=np.float64),
        )
    except (KeyError, ValueError) as error:
        raise SerbenchError(
            f"{folder}: predictions.csv or result.json is not as written: {error!r}"
        ) from error


def read_costs(bundle: Path) -> dict[str, dict[str, Any]]:
    """What each system cost, over all folds: trials (None: not searched), failures, seconds and hours.

    `search_seconds` adds the seconds of the trials; the hours add refits too, each with its own resources.
    `parameters` is the median model's.
    """
    costs: dict[str, dict[str, Any]] = {}
    results: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for path in sorted(bundle.glob("runs/*/fold-*/seed-*/result.json")):
        results[path.parts[-4]].append(read_json(path))
    for system, own in results.items():
        work = [(float(r["seconds"]), float(r["cpus"]), float(r["gpus"])) for r in own]
        states: list[str] = []
        searched: list[tuple[float, float, float]] = []
        for path in sorted(bundle.glob(f"searches/{system}/fold-*/trials.csv")):
            needs = yaml.safe_load((path.parent / "space.yaml").read_text(encoding="utf-8")).get(
                "resources", {}
            )
            cpus, gpus = float(needs.get("cpus", 1)), float(needs.get("gpus", 0))
            trials = read_csv(path)
            states += [trial["state"] for trial in trials]
            searched += [(float(trial["seconds"] or 0), cpus, gpus) for trial in trials]
        costs[system] = {
            "trials": len(states) or None,
            "failed_trials": states.count("FAILED") if states else None,
            "failed_runs": sum(bool(r["failed"]) for r in own),
            "parameters": stdlib_statistics.median_high([int(r["parameters"]) for r in own]),
            "search_seconds": sum(seconds for seconds, _, _ in searched) if states else None,
            "cpu_hours": sum(seconds * cpus for seconds, cpus, _ in work + searched) / 3600,
            "gpu_hours": sum(seconds * gpus for seconds, _, gpus in work + searched) / 3600,
        }
    return costs


def tables(bundle: Path, runs: Sequence[Run] | None = None) -> scores.Tables:
    """Score the bundle from its files alone."""
    return scores.tables(
        read_runs(bundle) if runs is None else runs,
        read_json(bundle / "corpus.json")["classes"],
        read_costs(bundle),
        protocol=read_json(bundle / "splits.json")["protocol"],
        bootstrap_seed=read_study(bundle)["bootstrap_seed"],
    )


def write_card(bundle: Path) -> None:
    """Write README.md: the table, how often test parts were opened, what stands where, how to check it."""
    study, openings = read_study(bundle), bundle.parent / "openings.csv"
    lines = read_csv(openings) if openings.exists() else []
    fingerprint = read_json(bundle / "splits.json")["fingerprint"]
    opened = sum(line["fingerprint"] == fingerprint for line in lines)
    table = (bundle / "leaderboard.md").read_text(encoding="utf-8")
    write_text(
        bundle / "README.md",
        f"# {study['name']}\n\n{table}\n"
        f"Test parts of this split were opened {opened} times in this results folder (`openings.csv`), "
        "a fold at a time.\n\n"
        "`leaderboard.csv` holds every column, `per_class/` every class, `pairwise.csv` the paired tests, "
        "`runs/` every prediction, `searches/` every trial, `study.yaml` the study itself.\n\n"
        "    sha256sum -c SHA256SUMS      # nothing was changed\n"
        "    serbench verify .            # every number follows from the predictions\n"
        "    serbench run study.yaml      # the study again\n",
    )


def is_sealed(bundle: Path) -> bool:
    """Whether the bundle is finished: its checksums are the last file written."""
    return (bundle / SUMS).exists()


def _files(bundle: Path) -> list[str]:
    return sorted(
        p.relative_to(bundle).as_posix() for p in bundle.rglob("*") if p.is_file() and p.name != SUMS
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def seal(bundle: Path) -> None:
    """Write SHA256SUMS over every other file, as `sha256sum -c` reads it.

    Raises:
        SerbenchError: a file of the study is missing.
    """
    for left_over in bundle.rglob(".*.tmp"):  # of a writer that was killed
        left_over.unlink()
    study, files = read_study(bundle), _files(bundle)
    systems = sorted({*study["systems"], *(name.split("/")[1] for name in files if name.startswith("runs/"))})
    expected = [*REQUIRED, *(f"per_class/{s}.{kind}" for s in systems for kind in ("csv", "md", "tex"))]
    for fold in (f"fold-{fold['fold']}" for fold in read_json(bundle / "splits.json")["folds"]):
        seeds = range(1, study["seeds"] + 1)
        expected += [f"runs/{s}/{fold}/seed-{n}/{file}" for s in systems for n in seeds for file in RUN_FILES]
        expected += [f"searches/{s}/{fold}/{file}" for s in study["systems"] for file in SEARCH_FILES]
    missing = sorted(set(expected) - set(files))
    if missing:
        raise SerbenchError(
            f"a sealed bundle must be whole: {bundle} lacks {len(missing)} files, first {missing[0]}; "
            "finish the study with --resume"
        )
    write_text(bundle / SUMS, "".join(f"{_sha256(bundle / name)}  {name}\n" for name in files))


def verify(bundle: Path) -> list[str]:
    """Check the seal, then recompute every number from the predictions; return one line a problem."""
    problems = list(_seal_problems(bundle))
    try:
        runs = read_runs(bundle)
        for check in (_input_problems, _run_problems, _table_problems):
            problems += check(bundle, runs)
    except (SerbenchError, OSError, LookupError, TypeError, ValueError, yaml.YAMLError) as error:
        problems.append(f"cannot be recomputed: {type(error).__name__}: {error}")
    return problems


def _seal_problems(bundle: Path) -> Iterator[str]:
    if not is_sealed(bundle):
        yield f"missing: {SUMS} (the bundle is not sealed)"
        return
    lines = (bundle / SUMS).read_text(encoding="utf-8").splitlines()
    stored = {name: value for value, _, name in (line.partition("  ") for line in lines)}
    found = set(_files(bundle))
    for name in sorted(stored.keys() | found):
        if name not in found:
            yield f"missing: {name}"
        elif name not in stored:
            yield f"added: {name}"
        elif _sha256(bundle / name) != stored[name]:
            yield f"wrong checksum: {name}"


def _input_problems(bundle: Path, runs: Sequence[Run]) -> Iterator[str]:
    splits, corpus = read_json(bundle / "splits.json"), read_json(bundle / "corpus.json")
    accepted = [row for row in read_csv(bundle / "manifest.csv") if row["status"] == "accepted"]
    clips = sorted([row["id"], row["speaker"], row["label"], row["digest"]] for row in accepted)
    for file, key, stored, computed in (
        ("splits.json", "fingerprint", splits["fingerprint"], digest(splits["folds"])),
        ("corpus.json", "digest", corpus["digest"], digest(clips)),
        ("corpus.json", "accepted_clips", corpus["accepted_clips"], len(clips)),
        ("study.yaml", "protocol", read_study(bundle)["protocol"], splits["protocol"]),
    ):
        if stored != computed:
            yield f"{file}: {key}: stored {stored}, recomputed {computed}"


def _run_problems(bundle: Path, runs: Sequence[Run]) -> Iterator[str]:
    corpus = read_json(bundle / "corpus.json")
    known = {row["id"]: (row["speaker"], row["label"]) for row in read_csv(bundle / "manifest.csv")}
    test = {fold["fold"]: sorted(fold["test"]) for fold in read_json(bundle / "splits.json")["folds"]}
    folders = {path.parent for path in bundle.glob("runs/*/fold-*/seed-*/*")}
    named = {run_folder(bundle, run.system, run.fold, run.seed) for run in runs}
    yield from (
        f"{path.relative_to(bundle)}: is not the run that it says" for path in sorted(folders ^ named)
    )
    for run in runs:
        folder = run_folder(bundle, run.system, run.fold, run.seed)
        where = f"{folder.relative_to(bundle)}/predictions.csv"
        if sorted(run.ids) != test.get(run.fold):
            yield f"{where}: must hold each test clip of fold {run.fold} once"
        p, labels = run.probabilities, [corpus["classes"][k] for k in run.truth]
        valid = (p >= 0) & (p <= 1) & (np.abs(p.sum(1, keepdims=True) - 1) < 1e-4)
        for row, id_ in enumerate(run.ids):
            if known.get(id_) != (run.speakers[row], labels[row]):
                yield f"{where}: {id_}: speaker and label differ from manifest.csv"
            if not valid[row].all():
                yield f"{where}: {id_}: probabilities must lie in 0 to 1 and sum to 1"
            if run.predicted[row] != p[row].argmax():
                yield f"{where}: {id_}: predicted is not the argmax of the row"
        stored = read_json(folder / "result.json")["metrics"] if folder in folders else {}
        yield from _differences(
            f"{folder.relative_to(bundle)}/result.json", [stored], [scores.run_metrics(run)]
        )


def _table_problems(bundle: Path, runs: Sequence[Run]) -> Iterator[str]:
    computed, stored = tables(bundle, runs), read_json(bundle / "leaderboard.json")
    files = {"leaderboard.csv": computed.leaderboard, "pairwise.csv": computed.pairwise}
    files |= {f"per_class/{system}.csv": rows for system, rows in computed.per_class.items()}
    yield from _differences("leaderboard.json", stored["rows"], computed.leaderboard, "system")
    yield from _differences("leaderboard.json", [stored["interval"]], [computed.interval])
    for file, rows in files.items():
        key = {"leaderboard.csv": "system", "pairwise.csv": "system_a system_b"}.get(file, "class")
        yield from _differences(file, read_csv(bundle / file), rows, key)


def _differences(
    file: str, stored: Sequence[Mapping[str, Any]], computed: Sequence[Mapping[str, Any]], key: str = ""
) -> Iterator[str]:
    """Compare two tables cell by cell; `key`: the columns that name a row."""
    names = [
        [" - ".join(str(row.get(k)) for k in key.split()) for row in rows] for rows in (stored, computed)
    ]
    if names[0] != names[1]:
        yield f"{file}: rows: stored {names[0]}, recomputed {names[1]}"
        return
    for name, old, new in zip(names[1], stored, computed, strict=True):
        for column in dict.fromkeys([*new, *old]):
            if not (column in new and column in old and _same(old[column], new[column])):
                place = ": ".join(part for part in (file, name, column) if part)
                yield f"{place}: stored {old.get(column)}, recomputed {new.get(column)}"


def _same(stored: Any, computed: Any) -> bool:
    if computed is None or isinstance(computed, str):
        return (stored or "") == (computed or "")
    try:
        return math.isclose(float(stored), computed, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    except (TypeError, ValueError):
        return False
