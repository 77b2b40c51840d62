"""What came of what: the steps of a trial → its score, the selected trial → the configuration of a refit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmark import bundle, space
from benchmark.files import differences, read_csv, read_json
from benchmark.report import whole
from benchmark.schema import canonical_json, is_first
from benchmark.scores import PUBLISHED

Row = Mapping[str, Any]


def problems(folder: Path) -> list[str]:
    """Return one line for each number that is not what it came of.

    A curve's rows before its last, seconds and losses came of the training alone: checksums hold them.
    """
    found: list[str] = []
    study: Row = {}
    with bundle.noting(found, "study.yaml"):
        study = bundle.read_study(folder)
    for best in sorted(folder.glob("searches/*/fold-*/best.json")) if study else ():
        with bundle.noting(found, best.parent.relative_to(folder).as_posix()):
            found += _search(folder, best.parent, study)
    with bundle.noting(found, "runs"):
        found += _constant(folder)
    return found


def _search(folder: Path, place: Path, study: Row) -> Iterator[str]:
    system, inner = place.parts[-2], study["inner_folds"]
    name, trials = place.relative_to(folder).as_posix(), read_csv(place / "trials.csv")
    best = read_json(place / "best.json")
    text = (place / "space.yaml").read_text(encoding="utf-8")
    if text != study.get("spaces", {}).get(system, text):
        yield f"{name}/space.yaml: must be the space of {system} in study.yaml, but differs"
    yield from _steps(f"{name}/steps.csv", trials, read_csv(place / "steps.csv"))
    there = space.parse(text, system)
    yield from _refits(folder, system, place.name, there, best["params"], int(best["steps"]), inner)
    if is_first(system):
        first = trials[0]  # the published configuration, always tried first
        cells = {key: cell for key, cell in first.items() if key.startswith("param.") and cell}
        published = {f"param.{key}": value for key, value in there.published_params.items()}
        yield from differences(f"{name}/trials.csv: trial 1", cells, published)
        steps = int(first["steps"]) if first["state"] == "COMPLETE" else None
        row = f"{system}{PUBLISHED}"
        yield from _refits(folder, row, place.name, there, there.published_params, steps, inner)


def _steps(name: str, trials: list[dict[str, str]], rows: list[dict[str, str]]) -> Iterator[str]:
    """A trial reports after each step, and its score is that of its last one."""
    curves: dict[str, list[dict[str, str]]] = {trial["trial_id"]: [] for trial in trials}
    for row in rows:
        if row["trial_id"] not in curves:
            yield f"{name}: trial {row['trial_id']} is not in trials.csv"
            return
        curves[row["trial_id"]].append(row)
    for trial in trials:
        curve = curves[trial["trial_id"]]
        if [row["step"] for row in curve] != [str(n) for n in range(1, int(trial["steps"]) + 1)]:
            yield f"{name}: trial {trial['number']} must have {trial['steps']} steps, but has {len(curve)}"
        elif trial["state"] == "COMPLETE" and not curve:
            yield f"{name}: trial {trial['number']} is complete, but has no step"
        elif trial["state"] == "COMPLETE":
            stored, told = {"score": curve[-1]["score"]}, {"score": trial["score"]}
            yield from differences(f"{name}: trial {trial['number']}", stored, told)


def _refits(
    folder: Path, system: str, fold: str, there: space.Space, params: Row, steps: int | None, inner: int
) -> Iterator[str]:
    """Every refit has the whole configuration that was chosen, and as many steps as that has."""
    told = there.of(system.removesuffix(PUBLISHED)).start
    config = _plain(there.configuration(params)) | {"family": there.family, "pretraining": told}
    for path in sorted(folder.glob(f"runs/{system}/{fold}/seed-*/result.json")):
        result, name = read_json(path), path.parent.relative_to(folder).as_posix()
        stored = _plain(result["params"]) | {key: result.get(key) for key in ("family", "pretraining")}
        yield from differences(f"{name}/result.json: params", stored, config)
        numbers = [row["step"] for row in read_csv(path.with_name("history.csv"))]
        # where a trial's steps are its inner folds, a refit has one: nothing inside a fit can be reported
        wanted = {steps, 1} if steps == inner else {steps or len(numbers)}
        whole_curve = numbers == [str(n) for n in range(1, len(numbers) + 1)]
        if not result["failed"] and not (whole_curve and len(numbers) in wanted):
            told = f"must have the {steps} steps of its configuration, but has {len(numbers)}"
            yield f"{name}/history.csv: {told}"


def _plain(params: Row) -> dict[str, str]:
    return {str(key): canonical_json(value) for key, value in params.items()}


def _constant(folder: Path) -> Iterator[str]:
    """What was not fitted by the study has no configuration."""
    for system in (whole.MAJORITY, *bundle.read_external(folder)):
        for path in sorted(folder.glob(f"runs/{system}/fold-*/seed-*/result.json")):
            params = read_json(path)["params"]
            if params:
                yield f"{path.relative_to(folder).as_posix()}: params: stored {params}, recomputed {{}}"
