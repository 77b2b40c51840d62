"""The leakage audit: what would make a number of this split worthless, found before the first trial.

Red refuses the study; notes are for the reader. The content of audit.json comes from here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import chain
from typing import Any

from benchmark.schema import SCHEMA_VERSION, Corpus, SerbenchError, Split, Utterance

Clips = Mapping[str, Utterance]  # by id
Finding = tuple[str, str]  # status (red | note), reason
Check = Callable[[Corpus, Clips, Split], Iterator[Finding]]
ORDER = ("green", "note", "red")


def audit(corpus: Corpus, split: Split) -> dict[str, Any]:
    """Return the content of audit.json: the worst status, and what each check found."""
    clips = {clip.id: clip for clip in corpus.utterances}
    checks: list[dict[str, Any]] = []
    for check, good in CHECKS.items():
        found = sorted(check(corpus, clips, split), key=lambda finding: -ORDER.index(finding[0]))
        status, reason = found[0] if found else ("green", good)
        if len(found) > 1:
            reason += f" (and {len(found) - 1} more)"
        findings = [{"status": status, "reason": reason} for status, reason in found[:20]]
        name = check.__name__.strip("_")
        checks.append({"name": name, "status": status, "reason": reason, "findings": findings})
        if check is _parts and status == "red":
            break  # the other checks look up ids that may not be there
    return {
        "schema_version": SCHEMA_VERSION,
        "protocol": split.protocol,
        "fingerprint": split.fingerprint,
        "corpus_digest": corpus.digest,
        "status": max((check["status"] for check in checks), key=ORDER.index),
        "checks": checks,
    }


def refuse(report: Mapping[str, Any]) -> None:
    """Raise SerbenchError with the first red reason of an audit, if there is one."""
    for check in report["checks"]:
        if check["status"] == "red":
            raise SerbenchError(f"audit, {check['name']}: {check['reason']}")


def assert_disjoint(train_ids: Collection[str], test_ids: Collection[str], where: str) -> None:
    """Raise SerbenchError where a search or a refit would be handed a test clip; called before each."""
    shared = sorted(set(train_ids) & set(test_ids))
    if shared:
        raise SerbenchError(f"{where}: training and test must share no clip, but {shared[0]} is in both")


def _sides(split: Split) -> Iterator[tuple[str, Collection[str], Collection[str]]]:
    """Yield (where, held-out ids, fitted ids) of each outer fold and of each inner one."""
    for fold in split.folds:
        yield f"fold {fold.number}", fold.test, fold.train
        for number, group in enumerate(fold.validation_groups, 1):
            rest = sorted(set(fold.train) - set(group))
            yield f"fold {fold.number}, validation group {number}", group, rest


def _parts(corpus: Corpus, clips: Clips, split: Split) -> Iterator[Finding]:
    for fold in split.folds:
        where, test, train = f"fold {fold.number}", set(fold.test), set(fold.train)
        for id_ in sorted((test | train) - set(clips)):
            yield "red", f"{where}: {id_} is not in the corpus; make the split anew"
        for id_ in sorted(test & train):
            yield "red", f"{where}: {id_} is in test and in training; make the split anew"
        for id_ in sorted(set(chain(*fold.validation_groups)) - train):
            yield "red", f"{where}: {id_} is validated on but is not in training; make the split anew"
        count = len(fold.validation_groups)
        if not split.diagnostic and count == len(fold.train_speakers):
            yield "note", f"{where}: {count} validation groups, as training has {count} speakers"
    for where, held, fitted in _sides(split):
        if not held or not fitted:
            yield "red", f"{where}: each part must hold a clip, but one is empty; add clips or speakers"
    tested = Counter(chain(*(fold.test for fold in split.folds)))
    for id_ in sorted(id_ for id_, times in tested.items() if times > 1):
        yield "red", f"{id_} is tested {tested[id_]} times; test each clip once"
    if len(tested) < len(clips):
        yield "note", f"{len(tested)} of {len(clips)} clips are tested, as the protocol {split.protocol} says"


def _labels(corpus: Corpus, clips: Clips, split: Split) -> Iterator[Finding]:
    first: dict[str, Utterance] = {}
    for clip in clips.values():
        twin = first.setdefault(clip.digest, clip)
        pair = f"{twin.path} ({twin.label}) and {clip.path} ({clip.label})"
        if clip.label not in corpus.card.classes:
            known = ", ".join(corpus.card.classes)
            yield "red", f"{clip.path}: {clip.label!r} is none of {known}; correct it"
        if not clip.digest:
            yield "red", f"{clip.path} has no content hash; prepare the corpus first"
        elif clip.label != twin.label:
            yield "red", f"the same audio has two labels: {pair}; leave one out"
        elif clip is not twin:
            yield "note", f"the same audio twice: {pair}"


def _content(corpus: Corpus, clips: Clips, split: Split) -> Iterator[Finding]:
    for where, held, fitted in _sides(split):
        seen = {clips[id_].digest: clips[id_].path for id_ in fitted if clips[id_].digest}
        for clip in (clips[id_] for id_ in held):
            if clip.digest in seen:
                both = f"{clip.path} and {seen[clip.digest]}"
                yield "red", f"{where}: the same audio on both sides: {both}; leave one out"


def _speakers(corpus: Corpus, clips: Clips, split: Split) -> Iterator[Finding]:
    if split.diagnostic:
        yield "note", f"{split.protocol} puts speakers on both sides: a diagnostic, not a result"
        return
    for where, held, fitted in _sides(split):
        shared = {clips[id_].speaker for id_ in held} & {clips[id_].speaker for id_ in fitted}
        if shared:
            yield "red", f"{where}: speaker {min(shared)} is on both sides; hold out whole speakers"


def _classes(corpus: Corpus, clips: Clips, split: Split) -> Iterator[Finding]:
    counts = Counter(clip.label for clip in clips.values())
    for name in corpus.card.classes:
        if counts[name] < 2:
            cure = "add clips, or leave the class out"
            yield "red", f"class {name} needs at least 2 clips, but has {counts[name]}; {cure}"
    listed = ", ".join(f"{name} {counts[name]}" for name in corpus.card.classes)
    yield "note", f"clips of each class: {listed}"
    for where, held, fitted in _sides(split):
        trained, scored = ({clips[id_].label for id_ in part} for part in (fitted, held))
        for name in corpus.card.classes:
            if name not in trained:
                # an inner fit may go without a class (its column is zero); the refit may not
                status = "note" if "group" in where else "red"
                yield status, f"{where}: class {name} is absent from training; add clips of other speakers"
            if name not in scored:
                yield "note", f"{where}: class {name} has support 0, and is left out of its macro means"


CHECKS: dict[Check, str] = {  # → what holds where nothing is found
    _parts: "test and training share no clip, each clip is tested once",
    _labels: "no audio twice, none with two labels",
    _content: "no audio on both sides of an outer or an inner split",
    _speakers: "no speaker on both sides of an outer or an inner split",
    _classes: "",
}
