"""The leakage audit: what would make a number of this split worthless, found before the first trial.

Red refuses the study; amber and notes are for the reader. The content of audit.json comes from here.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import chain
from typing import Any

from benchmark.schema import SCHEMA_VERSION, Corpus, SerbenchError, Split, Utterance

Finding = tuple[str, str]  # status (red | amber | note), reason
ORDER = ("green", "note", "amber", "red")


def audit(corpus: Corpus, split: Split) -> dict[str, Any]:
    """Return the content of audit.json: each check with name, status and reason, and the worst status."""
    clips = {clip.id: clip for clip in corpus.utterances}
    checks = []
    for check, good in CHECKS.items():
        found = list(check(corpus, clips, split)) or [("green", good)]
        worst = max((status for status, _ in found), key=ORDER.index)
        reasons = [reason for status, reason in found if status == worst]
        more = f" (and {len(reasons) - 5} more)" if len(reasons) > 5 else ""
        name = check.__name__.strip("_")
        checks.append({"name": name, "status": worst, "reason": "; ".join(reasons[:5]) + more})
        if name == "parts" and worst == "red":
            break  # the other checks look up ids that may not be there
    return {
        "schema_version": SCHEMA_VERSION,
        "protocol": split.protocol,
        "fingerprint": split.fingerprint,
        "corpus_digest": corpus.digest,
        "status": max((str(check["status"]) for check in checks), key=ORDER.index),
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
            rest = set(fold.train) - set(group)
            yield f"fold {fold.number}, validation group {number}", group, sorted(rest)


def _parts(corpus: Corpus, clips: Mapping[str, Utterance], split: Split) -> Iterator[Finding]:
    for fold in split.folds:
        for id_ in sorted({*fold.test, *fold.train} - set(clips)):
            yield "red", f"fold {fold.number}: {id_} is not in the corpus; make the split anew"
        for id_ in sorted(set(fold.test) & set(fold.train)):
            yield "red", f"fold {fold.number}: {id_} is in test and in training; make the split anew"
        for id_ in sorted(set(chain(*fold.validation_groups)) - set(fold.train)):
            yield (
                "red",
                f"fold {fold.number}: {id_} is validated on but is not in training; make the split anew",
            )
    for where, held, fitted in _sides(split):
        if not held or not fitted:
            yield "red", f"{where}: each part must hold a clip, but one is empty; add clips or speakers"
    tested = Counter(chain(*(fold.test for fold in split.folds)))
    for id_ in sorted(id_ for id_, times in tested.items() if times > 1):
        yield "red", f"{id_} is tested {tested[id_]} times; each clip may be tested once"
    if len(tested) < len(clips):
        yield "note", f"{len(tested)} of {len(clips)} clips are tested, as the protocol {split.protocol} says"


def _content(corpus: Corpus, clips: Mapping[str, Utterance], split: Split) -> Iterator[Finding]:
    first: dict[str, Utterance] = {}
    for clip in clips.values():
        if not clip.digest:
            yield "red", f"{clip.path} has no content hash; prepare the corpus first"
        elif clip.digest in first:
            yield "note", f"the same audio, kept together: {first[clip.digest].path} and {clip.path}"
        first.setdefault(clip.digest, clip)
    for where, held, fitted in _sides(split):
        seen = {clips[id_].digest: clips[id_] for id_ in fitted}
        for clip in (clips[id_] for id_ in held):
            if clip.digest in seen:
                both = f"{clip.path} and {seen[clip.digest].path}"
                yield "red", f"{where}: the same audio on both sides: {both}; leave one of them out"


def _speakers(corpus: Corpus, clips: Mapping[str, Utterance], split: Split) -> Iterator[Finding]:
    if split.diagnostic:
        yield "note", f"{split.protocol} puts speakers on both sides: a diagnostic, not a result"
        return
    for where, held, fitted in _sides(split):
        shared = {clips[id_].speaker for id_ in held} & {clips[id_].speaker for id_ in fitted}
        if shared:
            yield "red", f"{where}: speaker {min(shared)} is on both sides; hold out whole speakers"


def _labels(corpus: Corpus, clips: Mapping[str, Utterance], split: Split) -> Iterator[Finding]:
    same_audio: dict[str, list[Utterance]] = defaultdict(list)
    for clip in clips.values():
        same_audio[clip.digest].append(clip)
        if clip.label not in corpus.card.classes:
            yield (
                "red",
                f"{clip.path}: {clip.label!r} is none of {', '.join(corpus.card.classes)}; correct it",
            )
    for first, *others in same_audio.values():
        for other in others:
            if first.digest and other.label != first.label:
                pair = f"{first.path} ({first.label}) and {other.path} ({other.label})"
                rule = f"the same audio has two labels: {pair}"
                # accepted by the user with --allow-modified: recorded, not refused
                yield ("amber", rule) if corpus.modified else ("red", f"{rule}; leave one out")


def _classes(corpus: Corpus, clips: Mapping[str, Utterance], split: Split) -> Iterator[Finding]:
    counts = Counter(clip.label for clip in clips.values())
    for name in corpus.card.classes:
        if counts[name] < 2:
            cure = "add clips, or leave the class out"
            yield "red", f"class {name} needs at least 2 clips, but has {counts[name]}; {cure}"
    for where, held, fitted in _sides(split):
        trained, scored = ({clips[id_].label for id_ in part} for part in (fitted, held))
        for name in corpus.card.classes:
            if name not in trained:
                # an inner fit may go without a class (its column is zero); the refit may not
                status = "note" if "group" in where else "red"
                yield status, f"{where}: class {name} is absent from training; add clips of other speakers"
            if name not in scored:
                yield "note", f"{where}: class {name} has support 0, and is left out of its macro means"


def _balance(corpus: Corpus, clips: Mapping[str, Utterance], split: Split) -> Iterator[Finding]:
    counts = Counter(clip.label for clip in clips.values())
    yield (
        "note",
        "clips of each class: " + ", ".join(f"{name} {counts[name]}" for name in corpus.card.classes),
    )


def _validation(corpus: Corpus, clips: Mapping[str, Utterance], split: Split) -> Iterator[Finding]:
    for fold in split.folds:
        count = len(fold.validation_groups)
        if not split.diagnostic and count == len(fold.train_speakers):
            yield "note", f"fold {fold.number}: {count} validation groups, as training has {count} speakers"


Check = Callable[[Corpus, Mapping[str, Utterance], Split], Iterator[Finding]]
CHECKS: dict[Check, str] = {  # check → what holds where it finds nothing
    _parts: "test and training share no clip, each clip is tested once",
    _content: "no audio is on both sides of an outer or an inner split",
    _speakers: "no speaker is on both sides of an outer or an inner split",
    _labels: "no audio has two labels",
    _classes: "each class has clips in each part",
    _balance: "",
    _validation: "validation groups hold several speakers each or are the protocol's own",
}
