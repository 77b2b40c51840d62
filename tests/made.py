"""Corpora and splits made for the tests of protocols and audit; no audio is needed."""

from dataclasses import replace
from typing import Any

from benchmark import audit
from benchmark.corpora import ravdess
from benchmark.schema import Corpus, CorpusCard, Split, Utterance


def official_ravdess() -> Corpus:
    """The corpus as its names and packaged digests state it; no audio needed."""
    clips = []
    for id_, digest in ravdess.official_digests().items():
        actor, emotion = id_[-2:], int(id_[6:8])
        gender = "male" if int(actor) % 2 else "female"
        path = f"Actor_{actor}/{id_}.wav"
        label = ravdess.EMOTIONS[emotion - 1]
        clips.append(Utterance(id_, path, actor, label, {"gender": gender}, digest=digest))
    return Corpus(ravdess.CARD, tuple(sorted(clips, key=lambda clip: clip.id)))


def made_corpus(counts: list[int], classes: int = 3, gendered: bool = True) -> Corpus:
    """One speaker for each of `counts`, with so many clips, labels in turn."""
    names = tuple(f"class{number}" for number in range(classes))
    clips = []
    for number, count in enumerate(counts):
        columns = {"gender": "fm"[number % 2]} if gendered else {}
        for take in range(count):
            id_ = f"s{number:02d}-{take:03d}"
            label = names[take % classes]
            clips.append(Utterance(id_, f"{id_}.wav", f"s{number:02d}", label, columns, digest=f"d-{id_}"))
    return Corpus(CorpusCard("made", "made", names, "none", "none"), tuple(clips))


def assert_sound(corpus: Corpus, split: Split) -> None:
    """What must hold of every split of every protocol."""
    speaker = {clip.id: clip.speaker for clip in corpus.utterances}
    digest = {clip.id: clip.digest for clip in corpus.utterances}
    for fold in split.folds:
        assert not set(fold.test) & set(fold.train)
        assert {speaker[i] for i in fold.test} == set(fold.test_speakers)
        assert {speaker[i] for i in fold.train} == set(fold.train_speakers)
        sides = [(fold.test, fold.train)]
        sides += [(group, tuple(set(fold.train) - set(group))) for group in fold.validation_groups]
        for held, fitted in sides:
            assert held and fitted
            assert not {digest[i] for i in held} & {digest[i] for i in fitted}
            if not split.diagnostic:
                assert not {speaker[i] for i in held} & {speaker[i] for i in fitted}
        held = [i for group in fold.validation_groups for i in group]
        assert len(held) == len(set(held))
        if split.protocol != "serab":
            assert set(held) == set(fold.train)
            assert {*fold.test, *fold.train} == set(speaker)
    tested = [i for fold in split.folds for i in fold.test]
    assert len(tested) == len(set(tested))
    if split.protocol != "serab":
        assert set(tested) == set(speaker)


def edited(split: Split, number: int = 1, **changes: Any) -> Split:
    """The split with one fold's fields replaced."""
    folds = [replace(fold, **changes) if fold.number == number else fold for fold in split.folds]
    return replace(split, folds=tuple(folds))


def found(corpus: Corpus, split: Split) -> dict[str, tuple[str, str]]:
    """The audit as name → (status, reason)."""
    return {
        check["name"]: (check["status"], check["reason"]) for check in audit.audit(corpus, split)["checks"]
    }
