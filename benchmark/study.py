"""The line from corpus to sealed bundle: prepare, audit, search, evaluate, report, seal."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import gmtime, strftime
from typing import Any

import numpy as np
import yaml

from benchmark import (
    audit,
    bundle,
    card,
    cluster,
    environment,
    evaluation,
    files,
    prepare,
    protocols,
    records,
    registry,
)
from benchmark.evaluation import MAJORITY, Fitted, Refit
from benchmark.journal import Journal
from benchmark.networks.weights import read_weights
from benchmark.progress import StudyProgress, step
from benchmark.report import leaderboard
from benchmark.schema import Corpus, FeatureTable, Fold, SerbenchError, Split, UsageError, is_first
from benchmark.scores import PUBLISHED
from benchmark.space import Space
from benchmark.spec import StudySpec, needed_weights
from benchmark.trainable import TrainingPart

COORDINATOR_DEATHS = 3  # of one search, before the study gives up


@dataclass(frozen=True)
class Place:
    """Where a study runs, which changes no number: folders, cluster, MLflow."""

    out: Path
    cache: Path
    root: Path | None = None
    address: str | None = None
    storage: str | None = None
    mlflow: str | None = None
    resume: bool = False
    strict: bool = False


@dataclass(frozen=True)
class Study:
    """A study whose every input is known: nothing below changes it."""

    spec: StudySpec
    corpus: Corpus
    split: Split
    tables: Mapping[str, FeatureTable]
    weights: Mapping[str, Path]  # files of pretrained networks, by name
    digest: str
    digests: Mapping[str, Any]  # what study.yaml freezes, for whoever runs it again

    def part(self, features: str, fold: Fold) -> TrainingPart:
        """Return the training part of a fold, the only data that a search or a refit is handed."""
        audit.assert_disjoint(fold.train, fold.test, f"fold {fold.number}")
        rows = {id_: row for row, id_ in enumerate(fold.train)}
        known = {u.id: u for u in self.corpus.utterances}
        return TrainingPart(
            ids=fold.train,
            x=self.tables[features].rows(fold.train),
            y=self.truth(fold.train),
            groups=np.array([known[id_].speaker for id_ in fold.train]),
            validation=tuple(np.array([rows[id_] for id_ in group]) for group in fold.validation_groups),
            classes=len(self.corpus.card.classes),
        )

    def truth(self, ids: tuple[str, ...]) -> np.ndarray:
        """Return the class index of each id."""
        classes = {label: index for index, label in enumerate(self.corpus.card.classes)}
        labels = {u.id: classes[u.label] for u in self.corpus.utterances}
        return np.array([labels[id_] for id_ in ids], dtype=np.int64)


def run(spec: StudySpec, place: Place, frozen: Mapping[str, Any] | None = None) -> Path:
    """Run `spec` to a sealed bundle and return its folder.

    Args:
        frozen: what the study file was frozen with (`records.frozen_inputs`); it must come out the same.

    Raises:
        SerbenchError: bad input, a leak, a refused resume, or a search in which every trial failed.
    """
    folder = place.out / spec.name
    begun = (folder / "journal.jsonl").exists()
    if bundle.is_sealed(folder):
        if begun and place.resume:
            tidy(folder, place.storage)  # killed between the seal and its end
            return folder
        raise UsageError(f"{folder} is sealed and never overwritten: choose another --name")
    if begun and not place.resume:
        raise UsageError(
            f"{folder} holds an unfinished study: add --resume to go on, or choose another --name"
        )
    study = plan(spec, place)
    if frozen:
        records.refuse_other_inputs(frozen, study)
    report = audit.audit(study.corpus, study.split, study.digests.get("weights", {}))
    audit.refuse(report)
    for check in report["checks"]:
        if check["status"] == "amber":
            step(f"  audit, {check['name']}: amber: {check['reason']}")
    with contextlib.ExitStack() as stack:
        journal = stack.enter_context(contextlib.closing(Journal(folder)))
        records.freeze(folder, study, environment.describe(), report, resumed=place.resume)
        syncer = _syncer(study, place, journal)
        stack.push(lambda broken, *_: _close(syncer, finished=broken is None))
        step(f"Ray: {place.address or 'a private cluster on this machine'}")
        stack.enter_context(cluster.connect(place.address))
        progress = stack.enter_context(contextlib.closing(_progress(study, journal)))

        def keep(event: dict[str, Any]) -> None:
            journal.append(event)
            syncer.offer(event)
            progress.event(event)

        parts = {
            (features, fold.number): cluster.put(study.part(features, fold))
            for features in study.tables
            for fold in study.split.folds
        }
        weights = {name: cluster.put(read_weights(path)) for name, path in study.weights.items()}
        search(study, place, journal, parts, weights, keep)
        best = records.write_searches(folder, study, journal.state)
        for fold in study.split.folds:
            evaluate(study, fold, place, journal, parts, weights, best, keep)
        leaderboard.write(folder)
        card.write(folder)
        bundle.seal(folder)
    tidy(folder, place.storage)
    return folder


def tidy(folder: Path, storage: str | None) -> None:
    """Remove what only a running study needs; the journal last, since a study with one can be resumed."""
    shutil.rmtree(folder / ".tune", ignore_errors=True)
    if storage and "://" not in storage:  # a bucket is its owner's to clean
        begin = bundle.read_study(folder)["digests"]["study"][:12]  # as search.py names its folders there
        for own in Path(storage).glob(f"{begin}-*"):
            shutil.rmtree(own, ignore_errors=True)
    (folder / "journal.jsonl").unlink(missing_ok=True)


def plan(spec: StudySpec, place: Place) -> Study:
    """Prepare the corpus and its features, apply the protocol, and digest it all."""
    used = {
        name: prepare.weights_file(name, place.cache, system)
        for system in spec.systems
        for name in needed_weights(system, spec.space(system))
    }
    for system in spec.systems:
        _try_out(system, spec.space(system), used)
    step(f"Corpus: {spec.corpus}")
    corpus, root = prepare.prepare(
        spec.corpus, place.root, place.cache, strict=place.strict, allow_modified=spec.allow_modified,
        max_bad=spec.max_bad,
    )  # fmt: skip
    corpus = prepare.fingerprinted(corpus, root, place.cache)
    for note in corpus.notes:
        step(f"  note: {note}")
    for bad in corpus.quarantined:
        step(f"  quarantined: {bad.path}: {bad.reason}: {bad.detail}")
    split = protocols.split(spec.protocol, corpus, groups=max(3, spec.inner_folds))
    if spec.folds:
        kept = tuple(fold for fold in split.folds if fold.number in spec.folds)
        if len(kept) < len(spec.folds):
            raise UsageError(f"folds must be among 1 to {len(split.folds)}, but got {list(spec.folds)}")
        split = replace(split, folds=kept)
    names = sorted({spec.space(system).features for system in spec.systems})
    started = (spec.space(system).start_weights for system in spec.systems)
    weights = {name: used[name] for name in started if name}
    hashes = {name: files.sha256(path) for name, path in sorted(used.items())}
    tables = {}
    for name in names:
        step(f"Features: {name}")
        tables[name] = prepare.feature_table(corpus, root, name, place.cache)
    features = {name: prepare.feature_digest(name, place.cache) for name in names}
    started_from = {name: hashes[name] for name in sorted(weights)}
    digest = spec.digest(corpus.digest, split.fingerprint, features, started_from)
    digests: dict[str, Any] = {
        "study": digest, "corpus": corpus.digest, "fingerprint": split.fingerprint, "features": features,
        "spaces": {system: spec.space(system).digest for system in spec.systems},
    }  # fmt: skip
    if hashes:
        digests["weights"] = hashes
    return Study(spec, corpus, split, tables, weights, digest, digests)


def _try_out(system: str, space: Space, weights: Mapping[str, Path]) -> None:
    """Refuse what would end every trial: features that a family can't read, a network that can't be made."""
    family, parts = registry.family(space.family), [registry.feature(n) for n in space.features.split("+")]
    frames = [bool(getattr(part, "SEQUENCE", False)) for part in (*parts, registry.feature(family.FEATURES))]
    if len(set(frames)) > 1 or (frames[0] and len(parts) > 1):
        wanted = "one set of frames" if frames[-1] else "statistics"
        raise UsageError(f"{system}.yaml: {space.family} reads {wanted}, which {space.features} is not")
    if hasattr(family, "try_out"):
        given = read_weights(weights[space.start_weights]) if space.start_weights else None
        try:
            columns = sum(len(part.columns()) for part in parts)
            family.try_out(space.configuration(space.published_params), columns, given)
        except Exception as error:
            told = str(error) if isinstance(error, SerbenchError) else cluster.one_line(error)
            raise SerbenchError(f"{system}.yaml: a training must be able to begin, but: {told}") from None


def _progress(study: Study, journal: Journal) -> StudyProgress:
    spec, folds = study.spec, len(study.split.folds)
    trials = len(spec.systems) * spec.trials * len(_samplers(spec))
    refits = (2 * len(spec.systems) + 1) * spec.seeds
    return StudyProgress(folds * (trials + refits), journal.state.events)


def _samplers(spec: StudySpec) -> tuple[str, ...]:
    baseline = spec.sampler == "tpe" and spec.random_baseline
    return (spec.sampler, "baseline") if baseline else (spec.sampler,)


def search(
    study: Study,
    place: Place,
    journal: Journal,
    parts: Mapping[tuple[str, int], Any],
    weights: Mapping[str, Any],
    keep: Callable[[dict[str, Any]], None],
) -> None:
    """Run every search that is not finished, as many at once as their trials find room."""
    from benchmark import search as searching

    spec = study.spec
    storage = place.storage or str((place.out / spec.name / ".tune").resolve())

    def task(system: str, fold: int, sampler: str) -> searching.SearchTask:
        space = on_cluster(spec.space(system), room)
        pretrained = [weights[space.start_weights]] if space.start_weights else []
        return searching.SearchTask(
            study=study.digest, system=system, family=space.family, fold=fold, sampler=sampler, space=space,
            trials=spec.trials, inner_folds=spec.inner_folds, prune=spec.prune, concurrency=spec.concurrency,
            storage=storage, data=(parts[space.features, fold], *pretrained), time_budget=spec.time_budget,
            checkpoints=bool(place.storage) or room["nodes"] == 1,
        )  # fmt: skip

    room = cluster.resources()
    tasks = [
        task(system, fold.number, sampler)
        for fold in study.split.folds
        for system in spec.systems
        for sampler in _samplers(spec)
    ]
    waiting = [t for t in tasks if t.name not in journal.state.closed]
    if not waiting:
        return
    pool = cluster.Pool(searching.run_search)
    for system in dict.fromkeys(t.system for t in waiting):
        if spec.space(system).resources["gpus"] >= 1 and not room["gpus"]:
            step(f"  note: {system} asks for a GPU and none is here: its trials may take hours")
    by_name = {t.name: t for t in waiting}
    deaths = dict.fromkeys(by_name, 0)
    while waiting or pool.busy:
        while ready := searching.startable(waiting, [by_name[name] for name in pool.busy], room):
            waiting.remove(ready)
            pool.start(ready.name, replace(ready, history=tuple(journal.state.ended(ready.name))))
        for event in pool.events():
            keep(event)
        for name, error in pool.finished():
            for event in pool.events(timeout=0.01):
                keep(event)
            if error is not None:
                deaths[name] += 1
                if deaths[name] >= COORDINATOR_DEATHS:
                    why = str(error).strip().splitlines()[-1]
                    raise SerbenchError(f"search {name} ended {deaths[name]} times without a result: {why}")
                waiting.insert(0, by_name[name])


def on_cluster(space: Space, room: Mapping[str, float]) -> Space:
    """Return the space with the resources that a trial gets: no GPU, where the cluster has none."""
    return space if room["gpus"] else replace(space, resources={**space.resources, "gpus": 0})


def refits(
    study: Study, fold: Fold, best: Mapping[tuple[str, int], Mapping[str, Any]], room: Mapping[str, float]
) -> Iterator[Refit]:
    """Yield the runs of one fold, seed by seed: selected, published and majority."""
    for seed in range(1, study.spec.seeds + 1):
        for system in study.spec.systems:
            space = on_cluster(study.spec.space(system), room)
            rows = [(system, best[system, fold.number])]
            if is_first(system):
                rows.append((f"{system}{PUBLISHED}", space.published_params))
            for row, params in rows:
                yield Refit(
                    row, space.family, space.start, space.features, fold.number, seed,
                    space.configuration(params), space.resources["cpus"], space.resources["gpus"],
                    space.start_weights,
                )  # fmt: skip
        yield Refit(MAJORITY, MAJORITY, "none", "", fold.number, seed, {})


def evaluate(
    study: Study,
    fold: Fold,
    place: Place,
    journal: Journal,
    parts: Mapping[tuple[str, int], Any],
    weights: Mapping[str, Any],
    best: Mapping[tuple[str, int], Mapping[str, Any]],
    keep: Callable[[dict[str, Any]], None],
) -> None:
    """Refit what is missing of one fold and score it, in turns that fill the cluster: each is kept.

    The fold's test part is opened after the first turn's refits; all configurations are frozen by then.
    """
    room = cluster.resources()
    missing = [r for r in refits(study, fold, best, room) if r.folder not in journal.state.refits]
    if not missing:
        return
    speakers = {u.id: u.speaker for u in study.corpus.utterances}
    constant = evaluation.priors(cluster.get(parts[next(iter(study.tables)), fold.number]))
    classes = study.corpus.card.classes
    for number, turn in enumerate(evaluation.turns(missing, room)):
        fitted = list(evaluation.fit_all(turn, parts, weights, study.digest))
        _store(place.cache / "models" / study.digest, fitted)
        if number == 0:
            _note_opening(study, fold, place.out, len(missing))
        runs = evaluation.open_test(
            fold,
            fitted,
            lambda features, ids: study.tables[features].rows(ids),
            study.truth(fold.test),
            [speakers[id_] for id_ in fold.test],
            constant,
        )
        for refit, result, scored in runs:
            keep(evaluation.record(place.out / study.spec.name, refit, result, scored, classes))


def _note_opening(study: Study, fold: Fold, out: Path, runs: int) -> None:
    evaluation.note_opening(
        out,
        {
            "opened": strftime("%Y-%m-%dT%H:%M:%SZ", gmtime()), "study": study.spec.name,
            "digest": study.digest, "corpus": study.corpus.card.name, "protocol": study.split.protocol,
            "fingerprint": study.split.fingerprint, "fold": fold.number, "runs": runs,
            "commit": environment.commit(),
        },
    )  # fmt: skip


def _store(models: Path, fitted: Sequence[tuple[Refit, Fitted]]) -> None:
    try:
        for refit, result in fitted:
            if result.files:
                (models / refit.folder).mkdir(parents=True, exist_ok=True)
            for name, content in result.files.items():
                (models / refit.folder / name).write_bytes(content)
    except OSError as error:  # the bundle needs no model
        step(f"  models are not kept: {error}")


def _syncer(study: Study, place: Place, journal: Journal) -> Any:
    from benchmark import tracking

    place.out.mkdir(parents=True, exist_ok=True)
    content = yaml.safe_load(study.spec.to_yaml(study.digests))
    tags = records.tags(content, environment.commit())
    uri = place.mlflow or tracking.default_uri(place.out)
    syncer = tracking.Syncer(uri, tags, place.out)
    for event in journal.state.events:
        syncer.offer(event)
    return syncer


def _close(syncer: Any, *, finished: bool) -> None:
    left = syncer.close(timeout=60, finished=finished)
    if left:
        step(f"MLflow could not be reached for {left} records: `serbench ui BUNDLE` mirrors them later")
