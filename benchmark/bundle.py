"""The folder that a study leaves: its files, its seal, and the check that it still says what was measured.

Only the written files count: probabilities with six significant digits, `predicted` the argmax of the row.
"""

from __future__ import annotations

import os
import shutil
import statistics as stdlib_statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmark import scores, space
from benchmark.files import (
    csv_text,
    differences,
    json_text,
    read_columns,
    read_csv,
    read_json,
    sha256,
    write_text,
    write_texts,
)
from benchmark.schema import SCHEMA_VERSION, SerbenchError, UsageError, digest, nearest
from benchmark.scores import IDENTITY, Run

SUMS = "SHA256SUMS"
WORKING = ("journal.jsonl", ".tune", ".lock", ".owner")  # of a driver at work: never sealed
MODELS = "models"  # for `predict`, of whoever trained them: outside the seal, no number hangs on them
REQUIRED = (
    *("study.yaml", "environment.json", "corpus.json", "manifest.csv", "splits.json", "audit.json"),
    *("leaderboard.csv", "leaderboard.json", "leaderboard.md", "leaderboard.tex", "pairwise.csv"),
    *("validation.csv", "validation.md", "breakdowns.csv", "breakdowns.md", "croissant.json", "README.md"),
)
RUN_FILES = ("predictions.csv", "history.csv", "result.json")
SEARCH_FILES = ("space.yaml", "trials.csv", "steps.csv", "best.json")
RESULTS = "runs/*/fold-*/seed-*/result.json"
OPENINGS = "openings.csv"  # beside the bundles: a line for each time that a test part was opened
SUM = 1e-4  # what the sum of a row's probabilities may be off 1


def run_folder(bundle: Path, system: str, fold: int, seed: int) -> Path:
    """Return where a run's files lie."""
    return bundle / "runs" / system / f"fold-{fold}" / f"seed-{seed}"


def require(folder: Path) -> None:
    """Raise UsageError where a folder that a user named is no bundle."""
    if not folder.exists():
        known = sorted(path.parent.name for path in folder.parent.glob("*/study.yaml"))
        raise UsageError(f"{folder} must be a bundle, but is not there: {nearest(folder.name, known)}")
    if not (folder / "study.yaml").exists():
        raise UsageError(f"{folder} must be a bundle, but has no study.yaml: name a folder of results/")


def read_study(bundle: Path) -> dict[str, Any]:
    """Read study.yaml."""
    return space.load_yaml(bundle / "study.yaml")


def read_spaces(bundle: Path) -> dict[str, space.Space]:
    """Return the search space of each searched system."""
    found: dict[str, space.Space] = {}
    for path in sorted(bundle.glob("searches/*/fold-*/space.yaml")):
        if path.parts[-3] not in found:
            found[path.parts[-3]] = space.load(path)
    return found


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
        run: probabilities of any precision; `predicted` is used only where there are none.
        result: further fields of result.json (params, parameters, seconds, cpus, gpus, failed, …).
        history: rows of step, loss, lr.
        classes: the corpus's class list.
    """
    if run.labels_only:
        cells = [["" for _ in classes] for _ in run.ids]
    else:
        cells, p = written(run.probabilities)
        run = replace(run, probabilities=p, predicted=p.argmax(1))
    columns = ["utterance_id", "speaker", "label", "predicted", *(f"p_{label}" for label in classes)]
    labels = ([classes[k] for k in numbers] for numbers in (run.truth, run.predicted))
    lines = zip(run.ids, run.speakers, *labels, *zip(*cells, strict=True), strict=True)
    rows = [dict(zip(columns, line, strict=True)) for line in lines]
    identity = {key: getattr(run, key) for key in IDENTITY}
    record = {"schema_version": SCHEMA_VERSION, "failed": False, **result, **identity}
    files = {
        "predictions.csv": csv_text(columns, rows),
        "history.csv": csv_text(("step", "loss", "lr"), history),
        "result.json": json_text(record | {"metrics": scores.run_metrics(run)}),
    }
    write_texts(run_folder(bundle, run.system, run.fold, run.seed), files)
    return run


def written(probabilities: np.ndarray) -> tuple[list[list[str]], np.ndarray]:
    """Return probabilities as a bundle holds them, in six significant digits: cells, and their values."""
    cells = [[f"{p:.6g}" for p in row] for row in probabilities]
    return cells, np.array(cells, dtype=np.float64).reshape(probabilities.shape)


def read_runs(bundle: Path) -> list[Run]:
    """Read every finished run (one that has its result.json), by system, fold, seed."""
    number = {label: k for k, label in enumerate(read_json(bundle / "corpus.json")["classes"])}
    return [_read_run(path.parent, number) for path in sorted(bundle.glob(RESULTS))]


def _read_run(folder: Path, number: Mapping[str, int]) -> Run:
    result = read_json(folder / "result.json")
    try:
        columns = read_columns(folder / "predictions.csv")
        return Run(
            **{key: result[key] for key in IDENTITY},
            ids=tuple(columns["utterance_id"]),
            speakers=tuple(columns["speaker"]),
            truth=_classes(columns, "label", number),
            predicted=_classes(columns, "predicted", number),
            probabilities=np.array(
                [[cell or "nan" for cell in columns[f"p_{c}"]] for c in number], dtype=np.float64
            ).T.copy(),
        )
    except (KeyError, ValueError) as error:
        told = error if isinstance(error, ValueError) else repr(error)
        rule = f"predictions.csv or result.json is not as written: {told}"
        raise SerbenchError(f"{folder}: {rule}") from error


def _classes(columns: Mapping[str, Sequence[str]], name: str, number: Mapping[str, int]) -> np.ndarray:
    for id_, label in zip(columns["utterance_id"], columns[name], strict=True):
        if label not in number:
            raise ValueError(f"{id_}: {name} is {label!r}, no class of corpus.json")
    return np.array([number[label] for label in columns[name]], dtype=np.int64)


def read_external(bundle: Path) -> dict[str, dict[str, Any]]:
    """Return what is told of each system that was imported: source, caveat, SHA-256 of the file."""
    results = map(read_json, sorted(bundle.glob(RESULTS)))
    return {result["system"]: result["external"] for result in results if result.get("external")}


def read_costs(bundle: Path) -> dict[str, dict[str, Any]]:
    """What each system cost, over all folds: trials (None: not searched), failures, seconds and hours.

    `search_seconds` adds the seconds of the trials; the hours add refits too, each with its own resources.
    `parameters` is the median model's.
    """
    costs: dict[str, dict[str, Any]] = {}
    results: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for path in sorted(bundle.glob(RESULTS)):
        results[path.parts[-4]].append(read_json(path))
    for system, own in results.items():
        if own[0].get("external"):
            continue  # what it cost is not known
        work = [(float(r["seconds"]), float(r["cpus"]), float(r["gpus"])) for r in own]
        states: list[str] = []
        searched: list[tuple[float, float, float]] = []
        for path in sorted(bundle.glob(f"searches/{system}/fold-*/trials.csv")):
            needs, trials = space.load(path.with_name("space.yaml")).resources, read_csv(path)
            needs = {**needs, "gpus": own[0]["gpus"]}  # none, where the cluster had none
            states += [trial["state"] for trial in trials]
            searched += [(float(trial["seconds"] or 0), needs["cpus"], needs["gpus"]) for trial in trials]
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
    """Score the bundle from its files alone; `runs` are those of `read_runs`, where they are read already."""
    return scores.tables(
        read_runs(bundle) if runs is None else runs,
        read_json(bundle / "corpus.json")["classes"],
        read_costs(bundle),
        protocol=read_json(bundle / "splits.json")["protocol"],
        bootstrap_seed=read_study(bundle)["bootstrap_seed"],
        same_network=lambda one, other: _searched(bundle, one) == _searched(bundle, other),
        external=set(read_external(bundle)),
    )


def _searched(bundle: Path, system: str) -> Any:
    """Return what a system's space says of its network and recipe."""
    found = space.load(min(bundle.glob(f"searches/{system}/fold-*/space.yaml")))
    return found.fixed, found.search, found.published_params


def count_openings(results: Path, fingerprint: str) -> int | None:
    """Return how often studies of a results folder opened a test part of a split; None: nobody counted."""
    path = results / OPENINGS
    return sum(row["fingerprint"] == fingerprint for row in read_csv(path)) if path.exists() else None


def best_trial(trials: Iterable[dict[str, str]]) -> dict[str, str] | None:
    """Return the row of a trials.csv that is selected: complete, best score, the earliest on a tie."""
    complete = (t for t in trials if t["state"] == "COMPLETE" and t["score"])
    return min(complete, key=lambda t: (-float(t["score"]), int(t["number"])), default=None)


def is_sealed(bundle: Path) -> bool:
    """Whether the bundle is finished: its checksums are the last file written."""
    return (bundle / SUMS).exists()


def _files(bundle: Path) -> list[str]:
    names = (p.relative_to(bundle) for p in bundle.rglob("*") if p.is_file())
    return sorted(n.as_posix() for n in names if n.parts[0] not in (SUMS, MODELS, *WORKING))


def sealed_files(bundle: Path) -> int:
    """Return the number of files under the seal; 0 without one."""
    return len((bundle / SUMS).read_bytes().splitlines()) if is_sealed(bundle) else 0


def seal(bundle: Path) -> None:
    """Write SHA256SUMS over every other file, as `sha256sum -c` reads it.

    Raises:
        SerbenchError: a file of the study is missing.
    """
    for left_over in bundle.rglob(".*.tmp"):  # of a writer that was killed
        left_over.unlink()
    study, files, external = read_study(bundle), _files(bundle), read_external(bundle)
    systems = sorted({*study["systems"], *(name.split("/")[1] for name in files if name.startswith("runs/"))})
    expected = [*REQUIRED, *(f"per_class/{s}.{kind}" for s in systems for kind in ("csv", "md", "tex"))]
    for fold in (f"fold-{fold['fold']}" for fold in read_json(bundle / "splits.json")["folds"]):
        for system in systems:
            seeds = range(1, external.get(system, study)["seeds"] + 1)
            expected += [f"runs/{system}/{fold}/seed-{n}/{file}" for n in seeds for file in RUN_FILES]
        expected += [f"searches/{s}/{fold}/{file}" for s in study["systems"] for file in SEARCH_FILES]
    missing = sorted(set(expected) - set(files))
    if missing:
        raise SerbenchError(
            f"a sealed bundle must be whole: {bundle} lacks {len(missing)} files, first {missing[0]}; "
            "finish the study with --resume"
        )
    write_text(bundle / SUMS, "".join(f"{sha256(bundle / name)}  {name}\n" for name in files))


@contextmanager
def aside(bundle: Path) -> Iterator[Path]:
    """Yield a copy of a bundle beside it, which takes the bundle's place at the end, or nothing does.

    The copy shares the bundle's files where the disk can link them: inside, files are replaced, never
    written into.

    Raises:
        SerbenchError: there is no room for the copy, or the folder may not be changed.
    """
    bundle = bundle.resolve()
    made, old = (bundle.with_name(f".{bundle.name}.{os.getpid()}.{kind}") for kind in ("new", "old"))
    try:
        with _writable(bundle):
            shutil.copytree(bundle, made, copy_function=_link)
        yield made
        with _writable(bundle):
            bundle.rename(old)
            try:
                made.rename(bundle)
            except BaseException:
                old.rename(bundle)
                raise
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(made, ignore_errors=True)


@contextmanager
def _writable(bundle: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        told = error.strerror or error.args[0][0][2]  # copytree lists (source, target, reason)
        raise SerbenchError(
            f"results must be writable: {bundle}: {told}; free space, or ask who may write there"
        ) from error


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # a disk without links
        shutil.copy2(source, target)


@contextmanager
def noting(problems: list[str], what: str) -> Iterator[None]:
    """Make one of `problems` of what cannot be read inside."""
    try:
        yield
    except (SerbenchError, OSError, LookupError, TypeError, ValueError, AttributeError) as error:
        problems.append(f"{what} cannot be recomputed: {type(error).__name__}: {error}")


def verify(bundle: Path) -> list[str]:
    """Check all that the tables are made of: the seal, then what one file says of another.

    Returns:
        One line a problem. The tables themselves: `report.leaderboard.verify`.
    """
    problems: list[str] = []
    checks = {"the seal": _seal_problems, "inputs": _input_problems}
    for what, check in (checks | {"searches": _search_problems, "runs": _run_problems}).items():
        with noting(problems, what):
            problems += check(bundle)
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
        elif sha256(bundle / name) != stored[name]:
            yield f"wrong checksum: {name}"


def _input_problems(bundle: Path) -> Iterator[str]:
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


def _search_problems(bundle: Path) -> Iterator[str]:
    for path in sorted(bundle.glob("searches/*/fold-*/trials.csv")):
        winner, best = best_trial(read_csv(path)), read_json(path.with_name("best.json"))
        place = path.with_name("best.json").relative_to(bundle).as_posix()
        if winner is None:
            yield f"{place}: no trial of trials.csv is complete"
            continue
        keys = ("trial_id", "number", "score", "steps")
        params = {key: cell for key, cell in winner.items() if key.startswith("param.") and cell}
        told = {f"param.{key}": value for key, value in best["params"].items() if value is not None}
        stored = {key: best.get(key) for key in keys}
        yield from differences(place, stored | told, {key: winner[key] for key in keys} | params)


def _run_problems(bundle: Path) -> Iterator[str]:
    runs, corpus = read_runs(bundle), read_json(bundle / "corpus.json")
    known = {row["id"]: (row["speaker"], row["label"]) for row in read_csv(bundle / "manifest.csv")}
    test = {fold["fold"]: sorted(fold["test"]) for fold in read_json(bundle / "splits.json")["folds"]}
    external = read_external(bundle)
    folders = {path.parent for path in bundle.glob("runs/*/fold-*/seed-*/*")}
    named = {run_folder(bundle, run.system, run.fold, run.seed) for run in runs}
    for folder in sorted(folders ^ named):
        yield f"{folder.relative_to(bundle)}: is not the run that it says"
    for run in runs:
        folder = run_folder(bundle, run.system, run.fold, run.seed)
        place = folder.relative_to(bundle)
        where = f"{place}/predictions.csv"
        if sorted(run.ids) != test.get(run.fold):
            yield f"{where}: must hold each test clip of fold {run.fold} once"
        p, labels = run.probabilities, [corpus["classes"][k] for k in run.truth]
        bare = run.labels_only and run.system in external and np.isnan(p).all()
        valid = bare | probable(p)
        best = p.argmax(1)
        for row, id_ in enumerate(run.ids):
            if known.get(id_) != (run.speakers[row], labels[row]):
                yield f"{where}: {id_}: speaker and label differ from manifest.csv"
            if not valid[row]:
                yield f"{where}: {id_}: probabilities must lie in 0 to 1 and sum to 1"
            if not bare and run.predicted[row] != best[row]:
                yield f"{where}: {id_}: predicted is not the argmax of the row"
        result = read_json(folder / "result.json") if folder in folders else {}
        told = {"external": result.get("external")}, {"external": external.get(run.system)}
        yield from differences(f"{place}/result.json", *told)
        yield from differences(f"{place}/result.json", result.get("metrics", {}), scores.run_metrics(run))


def probable(probabilities: np.ndarray) -> np.ndarray:
    """Whether each row (n, classes) is a distribution: every cell in 0 to 1, the sum 1 within SUM: (n,)."""
    inside = (probabilities >= 0) & (probabilities <= 1)
    return np.asarray(inside.all(1) & (np.abs(probabilities.sum(1) - 1) < SUM))
