"""Refit the selected configurations, then open each test part once.

Fitting and testing are two passes, turn by turn: what fits never holds a test clip, what predicts never
holds a test label. A fold's opening is noted in `openings.csv` beside the bundles, once a session.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter, time
from typing import Any

import numpy as np

from benchmark import bundle, cluster, files, records, registry, trainable
from benchmark.families._common import TrialFailed
from benchmark.schema import Fold, SerbenchError, canonical_json, digest
from benchmark.scores import PUBLISHED, Run
from benchmark.sequences import Sequences

Data = np.ndarray | Sequences
MAJORITY = "majority"
ATTEMPTS = 2  # a refit that fails is tried once more, then stands as the constant predictor


@dataclass(frozen=True)
class Refit:
    """One frozen configuration, one fold, one seed: a run before it has been scored."""

    system: str  # the row: `svm`, `svm-published`, `majority`
    family: str
    pretraining: str
    features: str
    fold: int
    seed: int
    config: Mapping[str, Any]
    cpus: float = 1
    gpus: float = 0
    weights: str = ""  # name of the pretrained ones

    @property
    def needs(self) -> tuple[float, float]:
        """Return the CPUs and GPUs that fitting and predicting get."""
        return self.cpus, self.gpus

    @property
    def searched(self) -> str:
        """Return the system whose search it is, or stands beside as its published row."""
        return self.system.removesuffix(PUBLISHED)

    @property
    def folder(self) -> str:
        """Return the run's folder in the bundle."""
        return f"runs/{self.system}/fold-{self.fold}/seed-{self.seed}"


@dataclass(frozen=True)
class Fitted:
    """What a refit leaves: the model's files, or the reason why there is none."""

    files: Mapping[str, bytes]
    parameters: int
    seconds: float
    history: Sequence[Mapping[str, Any]]
    failure: str = ""


def training_seed(study: str, refit: Refit) -> int:
    """Return the 31-bit seed of a refit, from the study's digest and the run's place in it.

    It is the same for a system and its published row: where the search chose that, they are one model.
    """
    return int(digest([study, refit.searched, refit.fold, refit.seed])[:8], 16) >> 1


def fit(family: str, config: Mapping[str, Any], data: tuple[Any, ...], seed: int, threads: int) -> Fitted:
    """Fit in a worker on the whole training part of a fold; never raises."""
    failure, (part, *weights) = "", map(cluster.get, data)
    module = registry.family(family)  # imported before the clock starts
    for _ in range(ATTEMPTS):
        begun = perf_counter()
        try:
            model, history = trainable.refit(
                module, config, part, seed=seed, threads=threads, weights=weights[0] if weights else None
            )
            if not np.isfinite(model.predict_proba(part.x)).all():
                raise TrialFailed("the model's probabilities are not finite")
            with tempfile.TemporaryDirectory() as folder:
                model.save(Path(folder))
                files = {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}
            return Fitted(files, int(model.parameters), perf_counter() - begun, history)
        except Exception as error:  # the border of a refit: it is counted in failed_runs, with its reason
            failure = " ".join(f"{type(error).__name__}: {error}".split())[:500]
    return Fitted({}, 0, perf_counter() - begun, [], failure)


def predict(family: str, files: Mapping[str, bytes], x: Data) -> np.ndarray:
    """Return the (clips, classes) probabilities of a stored model, in a worker."""
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        return registry.family(family).load(Path(folder)).predict_proba(x)


def priors(part: trainable.TrainingPart) -> np.ndarray:
    """Return the class shares of a training part: the constant predictor."""
    return np.bincount(part.y, minlength=part.classes) / len(part.y)


def same_models(refits: Iterable[Refit]) -> list[list[Refit]]:
    """Return the refits in groups of one model each, which is fitted once.

    A family that is not SEEDED makes the same model of every seed; so do a system and its published row
    where the search chose the published configuration.
    """
    groups: dict[tuple[Any, ...], list[Refit]] = {}
    for refit in refits:
        seeded = refit.family != MAJORITY and registry.family(refit.family).SEEDED
        key = (refit.searched, refit.fold, refit.seed if seeded else 0, canonical_json(dict(refit.config)))
        groups.setdefault(key, []).append(refit)
    return list(groups.values())


def turns(refits: Sequence[Refit], room: Mapping[str, float]) -> Iterator[list[list[Refit]]]:
    """Yield the refits' models (`same_models`) in turns, each as many as fit side by side, at least one.

    Rows come one after another, so that most turns hold refits of one length.

    Args:
        room: CPUs and GPUs of the cluster (`cluster.resources`).
    """
    rows = list(dict.fromkeys(refit.system for refit in refits))
    turn: list[list[Refit]] = []
    for group in same_models(sorted(refits, key=lambda refit: rows.index(refit.system))):
        fitted = [first for first, *_ in (*turn, group)]
        fits = all(cluster.holds(room[of], (getattr(r, of) for r in fitted)) for of in ("cpus", "gpus"))
        if turn and not fits:
            yield turn
            turn = []
        turn.append(group)
    if turn:
        yield turn


def fit_all(
    models: Sequence[Sequence[Refit]],
    parts: Mapping[tuple[str, int], Any],
    weights: Mapping[str, Any],
    study: str,
) -> Iterator[tuple[Refit, Fitted]]:
    """Fit every model on the cluster; yield each refit that it stands for as it ends.

    Args:
        models: the refits of each (`same_models`).
        parts: (feature set, fold) → reference of its training part in the object store.
        weights: name → reference of pretrained weights there.
        study: its digest.
    """
    groups = []
    for group in models:
        if group[0].family == MAJORITY:
            yield from ((refit, Fitted({}, 0, 0.0, [])) for refit in group)
        else:
            groups.append(group)
    tasks = [
        (
            first.family,
            dict(first.config),
            (parts[first.features, first.fold], *([weights[first.weights]] if first.weights else [])),
            training_seed(study, first),
            max(1, int(first.cpus)),
        )
        for first, *_ in groups
    ]
    for position, result in cluster.map(fit, tasks, [first.needs for first, *_ in groups]):
        lost = Fitted({}, 0, 0.0, [], f"worker died: {cluster.one_line(result)}")
        fitted = result if isinstance(result, Fitted) else lost
        for place, refit in enumerate(groups[position]):
            yield refit, fitted if place == 0 else replace(fitted, seconds=0.0)  # its time counts once


def open_test(
    fold: Fold,
    fitted: Sequence[tuple[Refit, Fitted]],
    features: Callable[[str, tuple[str, ...]], Data],
    truth: np.ndarray,
    speakers: Sequence[str],
    constant: np.ndarray,
) -> Iterator[tuple[Refit, Fitted, Run]]:
    """Score refits of one fold on its test speakers: each test part is opened here and only here.

    Args:
        features: (feature set, ids) → (clips, columns), or Sequences.
        truth: (clips,) class index of each test clip, in the order of `fold.test`.
        constant: (classes,) training priors, for `majority` and refits that failed.
    """
    models = {id(result.files): (refit, result) for refit, result in fitted if result.files}
    read = {refit.features for refit, _ in models.values()}
    test = {name: cluster.put(features(name, fold.test)) for name in sorted(read)}
    tasks = [(refit.family, dict(result.files), test[refit.features]) for refit, result in models.values()]
    keys = list(models)
    predicted: dict[int, np.ndarray] = {}  # equal models (unseeded families) predict once
    for position, outcome in cluster.map(predict, tasks, [refit.needs for refit, _ in models.values()]):
        if isinstance(outcome, Exception):
            why = str(outcome).strip().splitlines()[-1]
            raise SerbenchError(f"{tasks[position][0]}, fold {fold.number}: predicting broke: {why}")
        predicted[keys[position]] = outcome
    for refit, result in fitted:
        probabilities = predicted.get(id(result.files), np.tile(constant, (len(fold.test), 1)))
        yield (
            refit,
            result,
            Run(
                system=refit.system, family=refit.family, pretraining=refit.pretraining, fold=fold.number,
                seed=refit.seed, ids=fold.test, speakers=tuple(speakers), truth=truth,
                predicted=probabilities.argmax(axis=1), probabilities=probabilities,
            ),
        )  # fmt: skip


def record(folder: Path, refit: Refit, fitted: Fitted, run: Run, classes: Sequence[str]) -> dict[str, Any]:
    """Write a scored run into the bundle and return its journal event."""
    result = {
        "params": dict(refit.config), "parameters": fitted.parameters, "seconds": fitted.seconds,
        "cpus": refit.cpus, "gpus": refit.gpus, "failed": bool(fitted.failure), "reason": fitted.failure,
    }  # fmt: skip
    bundle.write_run(folder, run, result, fitted.history, classes)
    written = files.read_json(folder / refit.folder / "result.json")
    return records.refit_event(written, refit.folder, fitted.history) | {"time": time()}


def note_opening(results: Path, row: Mapping[str, Any]) -> None:
    """Append a line to `openings.csv`: when, by which study, which test part, for how many runs."""
    path = results / bundle.OPENINGS
    header, _, line = files.csv_text(list(row), [row]).partition("\n")
    with path.open("a", encoding="utf-8") as file:
        file.write(line if file.tell() else f"{header}\n{line}")
