"""Whether a bundle is whole: the files that its study leaves and no other, each run and trial in place."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmark import bundle
from benchmark.files import differences, read_csv, read_json
from benchmark.schema import is_first
from benchmark.scores import PUBLISHED

MAJORITY = "majority"
FROZEN = ("study.yaml", "environment.json", "corpus.json", "manifest.csv", "splits.json", "audit.json")
FIGURES = ("forest", "folds", "speakers")  # of all systems
FIGURES_OF = ("confusion", "reliability", "search", "curves", "trees", "importance", "parallel")  # of one


def problems(folder: Path) -> list[str]:
    """Return one line for each file, run or trial that is missing, or is not the one that it says."""
    found: list[str] = []
    for check, what in ((_missing, "the set of files"), (_misplaced, "runs"), (_trials, "searches")):
        with bundle.noting(found, what):
            found += check(folder)
    return found


def own(study: Mapping[str, Any]) -> list[str]:
    """Return the systems that a study itself refits."""
    published = (f"{system}{PUBLISHED}" for system in study["systems"] if is_first(system))
    return [*study["systems"], *published, MAJORITY]


def runs(folder: Path) -> dict[str, int]:
    """Return the seeds of each system that a bundle must have: external ones and those of its study."""
    study = bundle.read_study(folder)
    seeds = {name: int(about["seeds"]) for name, about in bundle.read_external(folder).items()}
    return seeds | dict.fromkeys(own(study), int(study["seeds"]))


def sources(folder: Path) -> list[str]:
    """Return the files of runs and searches, and of the study itself, relative to the bundle."""
    study, folds = bundle.read_study(folder), _folds(folder)
    names = [*bundle.SEARCH_FILES, *(["random.csv"] if has_random(study) else [])]
    out = [*FROZEN]
    for system, seeds in runs(folder).items():
        places = [f"runs/{system}/fold-{k}/seed-{n}" for k in folds for n in range(1, seeds + 1)]
        out += [f"{place}/{name}" for place in places for name in bundle.RUN_FILES]
    for system in study["systems"]:
        out += [f"searches/{system}/fold-{k}/{name}" for k in folds for name in names]
    return out


def has_random(study: Mapping[str, Any]) -> bool:
    """Whether a random search runs beside the searches of a study."""
    return study["sampler"] == "tpe" and bool(study.get("random_baseline", True))


def added(folder: Path, made: Collection[str]) -> Iterator[str]:
    """Yield a line for each file or empty folder of a bundle that has no place in it.

    Args:
        made: the files that follow from its sources.
    """
    expected = {*sources(folder), *made, bundle.SUMS, "README.md", "report.html", *_figures(folder)}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if name.parts[0] in bundle.WORKING:
            if len(name.parts) == 1 and bundle.is_sealed(folder):
                yield f"added: {name} (of a driver at work, nothing in a sealed bundle needs it: remove it)"
        elif name.parts[0] == bundle.MODELS:
            continue
        elif path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()):
                yield f"added: {name.as_posix()}/ (an empty folder)"
        elif name.as_posix() not in expected:
            yield f"added: {name.as_posix()}"


def _figures(folder: Path) -> list[str]:
    names = [*FIGURES, *(f"{kind}-{system}" for kind in FIGURES_OF for system in runs(folder))]
    return [f"figures/{name}.{kind}" for name in names for kind in ("png", "pdf")]


def _folds(folder: Path) -> list[int]:
    return [fold["fold"] for fold in read_json(folder / "splits.json")["folds"]]


def _missing(folder: Path) -> Iterator[str]:
    yield from (f"missing: {name}" for name in sources(folder) if not (folder / name).is_file())
    folds, asked = _folds(folder), bundle.read_study(folder).get("folds")
    if asked and sorted(asked) != sorted(folds):
        yield f"splits.json: folds: stored {folds}, but study.yaml asks for {asked}"


def _misplaced(folder: Path) -> Iterator[str]:
    """What a run says of itself is where it lies; only systems that the study has not may be external."""
    of_study = own(bundle.read_study(folder))
    for path in sorted(folder.glob(bundle.RESULTS)):
        system, fold, seed = path.parts[-4:-1]
        place = path.relative_to(folder).as_posix()
        result = read_json(path)
        lies = {"system": system, "fold": _number(fold), "seed": _number(seed)}
        yield from differences(place, {key: result.get(key) for key in lies}, lies)
        if result.get("external") and system in of_study:
            yield f"{place}: external: stored {result['external']}, but the study itself ran {system}"


def _number(name: str) -> int:
    return int(name.rpartition("-")[2])


def _trials(folder: Path) -> Iterator[str]:
    study = bundle.read_study(folder)
    for name in ("trials.csv", "random.csv"):
        for path in sorted(folder.glob(f"searches/*/fold-*/{name}")):
            numbers = [int(row["number"]) for row in read_csv(path)]
            ended = read_json(path.with_name("best.json")).get("search_ended", "")
            yield from _counted(path.relative_to(folder).as_posix(), numbers, study, ended)


def _counted(place: str, numbers: Sequence[int], study: Mapping[str, Any], ended: str) -> Iterator[str]:
    """Trials are numbered from 1 without a hole, to the budget unless the search's time was over."""
    if numbers != list(range(1, len(numbers) + 1)):
        hole = next(k for k, number in enumerate([*numbers, 0], 1) if number != k)
        yield f"{place}: trials must be numbered from 1 without a hole, but trial {hole} is not in its place"
    # the random search beside has the same seconds, but no file tells how it ended
    short = study.get("time_budget") is not None and (
        place.endswith("random.csv") or not ended.startswith("all")
    )
    budget = study["trials"]
    if len(numbers) > budget or (len(numbers) < budget and not short):
        yield f"{place}: must hold the {budget} trials of study.yaml, but holds {len(numbers)}"
