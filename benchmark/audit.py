"""The leakage audit: what would make a number of this split worthless, found before the first trial.

Red refuses the study: one audio or one speaker on both sides, a statistic fitted beyond training, test in the
search. Amber wants a listener: near-duplicates on both sides. Notes are for the reader; what could not be
looked at is `not checked`. The content of audit.json comes from here, and again when a bundle is verified.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any

from benchmark import fingerprints
from benchmark.schema import SCHEMA_VERSION, Corpus, SerbenchError, Split, Utterance

Clips = Mapping[str, Utterance]  # by id
Finding = tuple[str, str]  # status, reason
ORDER = ("green", "not checked", "note", "amber", "red")
LATER = ("near_duplicates", "selection", "sentences", "pretraining")  # bundles of version 0.1.0 lack them
NEAR = 0.95  # cosine of two fingerprints from which on clips are near-duplicates: `near_duplicates`
SENTENCE = ("statement", "sentence", "text")  # columns that say what is spoken


@dataclass(frozen=True)
class Use:
    """What is known of how one fold's clips were used; None: not known."""

    fitted: Collection[str] | None  # scaling and statistics were fitted on these
    selected: Collection[str] | None  # configurations, epochs or checkpoints were chosen on these


@dataclass(frozen=True)
class Case:
    """What is audited."""

    corpus: Corpus
    split: Split
    use: Mapping[int, Use]  # by number of the fold
    weights: Collection[str] | None  # names of the pretrained weights that are used; None: not known
    heard: bool  # whether content hashes are known
    own: bool  # a split of this program, which tests each clip once and needs every class

    @cached_property
    def clips(self) -> Clips:
        """The corpus by id."""
        return {clip.id: clip for clip in self.corpus.utterances}


Check = Callable[[Case], Iterator[Finding]]


def own_use(split: Split) -> dict[int, Use]:
    """Return how this program uses a split: `TrainingPart` holds nothing else, and is asserted to."""
    return {fold.number: Use(fold.train, frozenset(chain(*fold.validation_groups))) for fold in split.folds}


def audit(
    corpus: Corpus,
    split: Split,
    weights: Collection[str] | None = None,
    use: Mapping[int, Use] | None = None,
    *,
    heard: bool = True,
) -> dict[str, Any]:
    """Return the content of audit.json: the worst status, and what each check found.

    Args:
        weights: names of pretrained weights; None: not known.
        use: of each fold, where it was not used by this program; see `own_use`. Such a split may repeat folds
            or have rare classes: a note.
        heard: False where there is no audio, so that a missing content hash is no mistake.
    """
    case = Case(corpus, split, own_use(split) if use is None else use, weights, heard, use is None)
    checks: list[dict[str, Any]] = []
    for check, good in CHECKS.items():
        found = sorted(check(case), key=lambda finding: -ORDER.index(finding[0]))
        status, reason = found[0] if found else ("green", good)
        if len(found) > 1:
            reason += f" (and {len(found) - 1} more)"
        findings = [{"status": status, "reason": reason} for status, reason in found[:20]]
        name = check.__name__.strip("_")
        checks.append({"name": name, "status": status, "reason": reason, "findings": findings})
        if check is _parts and _strangers(case):
            reason = "the split names clips that are not in the corpus"
            checks += [
                {"name": other.__name__.strip("_"), "status": "not checked", "reason": reason, "findings": []}
                for other in CHECKS
                if other is not _parts
            ]
            break
    return {
        "schema_version": SCHEMA_VERSION,
        "protocol": split.protocol,
        "fingerprint": split.fingerprint,
        "corpus_digest": corpus.digest,
        "status": worst(checks),
        "checks": checks,
    }


def worst(checks: Collection[Mapping[str, Any]]) -> str:
    """Return the worst status of checks."""
    return max((check["status"] for check in checks), key=ORDER.index)


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


def _strangers(case: Case) -> bool:
    """Whether a side of the split has an id that the corpus lacks, which no other check could look up."""
    return any(set(side) - set(case.clips) for _, *sides in _sides(case.split) for side in sides)


def _parts(case: Case) -> Iterator[Finding]:
    clips, split = case.clips, case.split
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
    often = sorted(id_ for id_, times in tested.items() if times > 1)
    for id_ in often if case.own else ():
        yield "red", f"{id_} is tested {tested[id_]} times; test each clip once"
    if often and not case.own:
        yield "note", f"{len(often)} clips are tested more than once: folds are no independent samples"
    if len(tested) < len(clips):
        says = f", as the protocol {split.protocol} says" if case.own else ""
        yield "note", f"{len(tested)} of {len(clips)} clips are tested{says}"


def _labels(case: Case) -> Iterator[Finding]:
    corpus, clips = case.corpus, case.clips
    if not case.heard:
        yield "not checked", "whether one audio has two labels: no content hashes, no audio at hand"
    first: dict[str, Utterance] = {}
    for clip in clips.values():
        twin = first.setdefault(clip.digest or clip.id, clip)
        pair = f"{twin.path} ({twin.label}) and {clip.path} ({clip.label})"
        if clip.label not in corpus.card.classes:
            known = ", ".join(corpus.card.classes)
            yield "red", f"{clip.path}: {clip.label!r} is none of {known}; correct it"
        if not clip.digest and case.heard:
            yield "red", f"{clip.path} has no content hash; prepare the corpus first"
        elif clip.label != twin.label:
            yield "red", f"the same audio has two labels: {pair}; leave one out"
        elif clip is not twin:
            yield "note", f"the same audio twice: {pair}"


def _content(case: Case) -> Iterator[Finding]:
    clips, split = case.clips, case.split
    if not case.heard:
        yield "not checked", "whether audio is on both sides: no content hashes, no audio at hand"
    for where, held, fitted in _sides(split):
        seen = {clips[id_].digest: clips[id_].path for id_ in fitted if clips[id_].digest}
        for clip in (clips[id_] for id_ in held):
            if clip.digest in seen:
                both = f"{clip.path} and {seen[clip.digest]}"
                yield "red", f"{where}: the same audio on both sides: {both}; leave one out"


def _speakers(case: Case) -> Iterator[Finding]:
    clips, split = case.clips, case.split
    if split.diagnostic:
        yield "note", f"{split.protocol} puts speakers on both sides: a diagnostic, not a result"
        return
    for where, held, fitted in _sides(split):
        tested = {clips[id_].speaker for id_ in held}
        shared = tested & {clips[id_].speaker for id_ in fitted}
        if shared:
            more = f", as {len(shared)} of {len(tested)} are" if len(shared) > 1 else ""
            yield "red", f"{where}: speaker {min(shared)} is on both sides{more}; hold out whole speakers"


def _classes(case: Case) -> Iterator[Finding]:
    corpus, clips, split = case.corpus, case.clips, case.split
    needed = "red" if case.own else "note"
    counts = Counter(clip.label for clip in clips.values())
    for name in corpus.card.classes:
        if counts[name] < 2:
            cure = "add clips, or leave the class out"
            yield needed, f"class {name} needs at least 2 clips, but has {counts[name]}; {cure}"
    listed = ", ".join(f"{name} {counts[name]}" for name in corpus.card.classes)
    yield "note", f"clips of each class: {listed}"
    for where, held, fitted in _sides(split):
        trained, scored = ({clips[id_].label for id_ in part} for part in (fitted, held))
        for name in corpus.card.classes:
            if name not in trained:
                # an inner fit may go without a class (its column is zero); the refit may not
                status = "note" if "group" in where else needed
                yield status, f"{where}: class {name} is absent from training; add clips of other speakers"
            if name not in scored:
                yield "note", f"{where}: class {name} has support 0, and is left out of its macro means"


def near_duplicates(corpus: Corpus) -> list[tuple[Utterance, Utterance, float]] | None:
    """Return every two clips that sound alike but are not the same audio; None where fingerprints lack.

    NEAR lies between what RAVDESS's repetitions reach and what copies keep. Cosines of 719 pairs of takes
    (same actor, emotion, intensity and sentence; the one equal pair left out): median .369, 99 % .891,
    highest .924; of the 1,035,360 other pairs .165, .613, .917. Of 120 clips with a copy, the lowest (and the
    median): level less 12 dB .993 (1.000), at 8 kHz .999 (1.000), Vorbis .973 (.992), MP3 .973 (.996), mu-law
    .985 (.998), .3 s cut off .995 (1.000), silence added .999 (1.000), silence trimmed at −30 dB .952 (.997),
    noise 30 dB below .993 (.999), 20 dB below .958 (.995), 2 % slower .955 (.982). 5 % slower is missed: .862
    (.957). Stationary noises sound alike to it, and 1 % of the pairs of the program's own synthetic voices.
    """
    clips = corpus.utterances
    if not all(clip.fingerprint for clip in clips):
        return None
    values = fingerprints.from_text([clip.fingerprint for clip in clips])
    pairs = ((clips[i], clips[j], cosine) for i, j, cosine in fingerprints.near(values, NEAR))
    return [
        (one, other, cosine) for one, other, cosine in pairs if not one.digest or one.digest != other.digest
    ]


def _near_duplicates(case: Case) -> Iterator[Finding]:
    pairs = near_duplicates(case.corpus)
    if pairs is None:
        yield "not checked", "near-duplicates: clips without a fingerprint, as no audio was at hand"
    sides = [(where, {*held}, {*fitted}) for where, held, fitted in _sides(case.split)] if pairs else []
    for one, other, cosine in pairs or ():
        apart = (w for w, held, fitted in sides if _across(one.id, other.id, held, fitted))
        where = next(apart, None)
        if where:
            alike = f"{one.path} and {other.path}, cosine {cosine:.3f}"
            yield "amber", f"{where}: near-duplicates on both sides: {alike}; listen, and leave one out"


def _across(one: str, other: str, held: Collection[str], fitted: Collection[str]) -> bool:
    return (one in held and other in fitted) or (other in held and one in fitted)


def _selection(case: Case) -> Iterator[Finding]:
    for fold in case.split.folds:
        where, use = f"fold {fold.number}", case.use.get(fold.number, Use(None, None))
        if use.fitted is None:
            yield "not checked", f"{where}: which clips scaling and statistics were fitted on is not stated"
        if use.selected is None:
            yield "not checked", f"{where}: which clips configurations were selected on is not stated"
        for id_ in sorted(set(use.fitted or ()) - set(fold.train)):
            yield "red", f"{where}: a statistic was fitted on {id_}, which is not in training; fit it there"
        for id_ in sorted(set(use.selected or ()) & set(fold.test)):
            yield "red", f"{where}: {id_} is a test clip and was in the search; select inside training"


def _sentences(case: Case) -> Iterator[Finding]:
    known = case.clips.values()
    column = next((name for name in SENTENCE if any(clip.columns.get(name) for clip in known)), None)
    if column is None:
        yield "not checked", f"shared sentences: no column {', '.join(SENTENCE)}"
        return
    for fold in case.split.folds:
        parts = fold.test, fold.train
        test, train = ({case.clips[id_].columns.get(column) for id_ in part} for part in parts)
        if test & train:
            both = f"{len(test & train)} of {len(test)} sentences of the test part are in training, too"
            yield "note", f"fold {fold.number}: {both}"


def _pretraining(case: Case) -> Iterator[Finding]:
    if case.weights is None:
        yield "not checked", "which pretrained weights the systems start from is not stated"
    for name in sorted(case.weights or ()):
        yield "note", f"weights {name} were trained elsewhere; whether on clips of this corpus is not known"


CHECKS: dict[Check, str] = {  # → what holds where nothing is found
    _parts: "test and training share no clip, each clip is tested once",
    _labels: "no audio twice, none with two labels",
    _content: "no audio on both sides of an outer or an inner split",
    _speakers: "no speaker on both sides of an outer or an inner split",
    _classes: "",
    _near_duplicates: "no near-duplicates on both sides of an outer or an inner split",
    _selection: "statistics are fitted on training, configurations selected inside it",
    _sentences: "no sentence of a test part is spoken in training",
    _pretraining: "no system starts from pretrained weights",
}
