"""A small bundle made of random predictions: whole, sealed, with every file that DESIGN names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import yaml

from benchmark import audit, bundle, files
from benchmark import card as results_card
from benchmark.prepare import manifest_rows
from benchmark.report import leaderboard
from benchmark.schema import SCHEMA_VERSION, Corpus, CorpusCard, Fold, Split, Utterance, of_system
from benchmark.scores import Run

SPACE = (
    "family: svm\nfeatures: functionals\nsearch: {C: {type: float, low: 1, high: 9}}\npublished: {C: 1}\n"
    "resources: {cpus: 2, gpus: 0}\n"
)


def make_corpus(
    speakers: int = 10, per_class: int = 3, classes: tuple[str, ...] = ("angry", "calm", "sad")
) -> Corpus:
    card = CorpusCard(
        "made", "Made corpus", classes, "Nobody 2024", "CC0", "1.0", "", speakers * len(classes) * per_class
    )
    clips = [
        Utterance(
            f"s{s:02}-{label}-{i}", f"s{s:02}/{label}-{i}.wav", f"s{s:02}", label, digest=f"{s}-{label}-{i}"
        )
        for s in range(1, speakers + 1)
        for label in classes
        for i in range(per_class)
    ]
    return Corpus(card, tuple(sorted(clips, key=lambda clip: clip.id)))


def make_split(corpus: Corpus, folds: int = 2, protocol: str = "speaker-2fold") -> Split:
    speakers = sorted({clip.speaker for clip in corpus.utterances})
    made = []
    for number in range(1, folds + 1):
        test = tuple(speakers[number - 1 :: folds])
        train = tuple(s for s in speakers if s not in test)
        ids = {s: tuple(clip.id for clip in corpus.utterances if clip.speaker == s) for s in speakers}
        groups = tuple(tuple(id_ for s in train[g::2] for id_ in ids[s]) for g in range(2))
        test_ids, train_ids = (tuple(id_ for s in part for id_ in ids[s]) for part in (test, train))
        made.append(Fold(number, test_ids, train_ids, test, train, groups))
    return Split(protocol, False, tuple(made))


def make_random_split(corpus: Corpus, folds: int = 2, protocol: str = "random-80-20") -> Split:
    """Return disjoint folds that share every speaker: a diagnostic."""
    ids = tuple(clip.id for clip in corpus.utterances)
    speakers = tuple(sorted({clip.speaker for clip in corpus.utterances}))
    made = []
    for number in range(1, folds + 1):
        test = ids[number - 1 :: folds]
        train = tuple(id_ for id_ in ids if id_ not in test)
        made.append(Fold(number, test, train, speakers, speakers, (train[::2], train[1::2])))
    return Split(protocol, True, tuple(made))


def make_bundle(
    tmp_path: Path,
    *,
    corpus: Corpus | None = None,
    split: Split | None = None,
    folds: int = 2,
    seeds: int = 2,
    systems: dict[str, float] | None = None,
    name: str = "made",
    seal: bool = True,
    pictures: bool = False,
    **asked: Any,
) -> Path:
    """Write a bundle and return its folder.

    Args:
        split: how the corpus is split (default: `make_split` into `folds`).
        asked: further fields of study.yaml.
        systems: searched system → how far its probabilities lean towards the truth (0: chance).
    """
    systems = {"svm": 2.0, "mlp": 1.0} if systems is None else systems
    corpus = corpus or make_corpus()
    split = split or make_split(corpus, folds)
    folder = tmp_path / name
    card, rows = corpus.card, manifest_rows(corpus)
    study = {
        "schema_version": SCHEMA_VERSION, "name": name, "corpus": card.name, "protocol": split.protocol,
        "systems": list(systems), "trials": 4, "seeds": seeds, "inner_folds": 2, "sampler": "tpe",
        "seed": 0, "bootstrap_seed": 7, **asked,
    }  # fmt: skip
    about = {
        "name": card.name, "classes": list(card.classes), "digest": corpus.digest, "title": card.title,
        "citation": card.citation, "licence": card.licence, "doi": card.doi, "version": card.version,
        "official_clips": card.official_clips, "accepted_clips": len(corpus.utterances),
        "complete": corpus.complete, "modified": corpus.modified, "notes": [],
        "schema_version": SCHEMA_VERSION,
    }  # fmt: skip
    files.write_text(folder / "study.yaml", yaml.safe_dump(study, sort_keys=False))
    made = {"commit": "unknown", "code_digest": "0" * 64, "python": "3.11", "packages": {"numpy": "2.4"}}
    files.write_json(folder / "environment.json", {"schema_version": SCHEMA_VERSION, **made})
    files.write_json(folder / "corpus.json", about, sort_keys=False)
    files.write_csv(folder / "manifest.csv", list(rows[0]), rows)
    files.write_json(folder / "splits.json", split.to_json())
    files.write_json(folder / "audit.json", audit.audit(corpus, split, ()))
    generator = np.random.default_rng(1)
    for system, lean in [
        *systems.items(),
        *((f"{s}-published", v / 2) for s, v in systems.items() if of_system(s)[2] == 1),
        ("majority", None),
    ]:
        for fold in split.folds:
            for seed in range(1, seeds + 1):
                run = make_run(corpus, fold, system, seed, lean, generator)
                result = {
                    "params": {} if lean is None else {"C": 1.0},
                    "parameters": 100,
                    "seconds": 36.0,
                    "cpus": 1,
                    "gpus": 0,
                    "failed": False,
                }
                bundle.write_run(folder, run, result, [{"step": 1, "loss": 0.5, "lr": None}], card.classes)
            if system in systems:
                place = folder / "searches" / system / f"fold-{fold.number}"
                text = study.get("spaces", {}).get(system, SPACE.replace("svm", of_system(system)[0]))
                _write_search(place, text, study["trials"])
    leaderboard.write(folder, pictures=pictures)
    results_card.write(folder)
    if seal:
        bundle.seal(folder)
    return folder


def change(path: Path, old: str, new: str) -> None:
    """Replace the first `old` of a file that has one; a file linked elsewhere stays as it is there."""
    text = path.read_text(encoding="utf-8")
    assert old in text
    files.write_text(path, text.replace(old, new, 1))


def seal_again(folder: Path) -> None:
    """Seal a bundle that was changed, as the program would."""
    (folder / bundle.SUMS).unlink()
    bundle.seal(folder)


def reseal(folder: Path) -> None:
    """Write the checksums of whatever lies there, as a forger would: `bundle.seal` wants a whole bundle."""
    found = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    names = sorted(name for name in found if name != bundle.SUMS)
    files.write_text(folder / bundle.SUMS, "".join(f"{files.sha256(folder / n)}  {n}\n" for n in names))


def rebuilt(folder: Path) -> None:
    """Make tables, card and checksums again after a forgery."""
    leaderboard.write(folder, pictures=False)
    results_card.write(folder)
    reseal(folder)


def make_run(
    corpus: Corpus, fold: Fold, system: str, seed: int, lean: float | None, generator: np.random.Generator
) -> Run:
    """Return a run whose logits are noise plus `lean` on the truth; None: the constant predictor."""
    clips = {clip.id: clip for clip in corpus.utterances}
    classes = corpus.card.classes
    truth = np.array([classes.index(clips[id_].label) for id_ in fold.test])
    logits = np.zeros((len(truth), len(classes)))
    if lean is not None:
        logits = generator.normal(size=logits.shape)
        logits[np.arange(len(truth)), truth] += lean
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    family, pretraining, _ = of_system(system.removesuffix("-published"))
    return Run(
        system, family, pretraining or "none", fold.number, seed, fold.test,
        tuple(clips[id_].speaker for id_ in fold.test), truth, p.argmax(1), p,
    )  # fmt: skip


def _write_search(folder: Path, space: str, trials: int) -> None:
    files.write_text(folder / "space.yaml", space)
    columns = ["trial_id", "number", "state", "reason", "score", "steps", "seconds", "param.C"]
    states = (["COMPLETE", "PRUNED", "FAILED", "COMPLETE"] * trials)[:trials]
    common = {"reason": "", "score": 0.5, "steps": 2, "seconds": 9.0, "param.C": 1.0}
    rows = [{"trial_id": f"t{n}", "number": n, "state": state, **common} for n, state in enumerate(states, 1)]
    files.write_csv(folder / "trials.csv", columns, rows)
    baseline = [{**row, "trial_id": f"r{row['number']}", "score": 0.25, "state": "COMPLETE"} for row in rows]
    files.write_csv(folder / "random.csv", columns, baseline)
    steps = [
        {"trial_id": f"t{n}", "step": step, "score": 0.25 * step}
        for n in range(1, trials + 1)
        for step in (1, 2)
    ]
    files.write_csv(folder / "steps.csv", ["trial_id", "step", "score", "loss", "lr"], steps)
    best = {"trial_id": "t1", "number": 1, "score": 0.5, "steps": 2, "params": {"C": 1.0}}
    files.write_json(folder / "best.json", {"schema_version": SCHEMA_VERSION, **best})
