from dataclasses import replace

import pytest
from made import edited, found, made_corpus, official_ravdess

from benchmark import audit, protocols
from benchmark.schema import SerbenchError


@pytest.fixture
def sound():
    corpus = made_corpus([6] * 6)
    return corpus, protocols.split("speaker-5fold", corpus)


def test_a_sound_split_passes(sound):
    report = audit.audit(*sound)
    assert report["status"] == "note"  # the class balance is always told
    assert report["fingerprint"] == sound[1].fingerprint
    assert {check["name"]: check["status"] for check in report["checks"]} == {
        "parts": "green",
        "labels": "green",
        "content": "green",
        "speakers": "green",
        "classes": "note",
    }
    audit.refuse(report)


def test_a_clip_in_test_and_training_is_red(sound):
    corpus, split = sound
    fold = split.folds[0]
    broken = edited(split, train=(*fold.train, fold.test[0]))
    assert found(corpus, broken)["parts"][0] == "red"
    with pytest.raises(SerbenchError, match=f"{fold.test[0]} is in test and in training"):
        audit.refuse(audit.audit(corpus, broken))


def test_a_clip_tested_twice_is_red(sound):
    corpus, split = sound
    again = replace(split, folds=(*split.folds, replace(split.folds[0], number=6)))
    assert "is tested 2 times" in found(corpus, again)["parts"][1]


def test_ids_that_the_corpus_lacks_are_red(sound):
    corpus, split = sound
    broken = edited(split, test=("nobody",))
    status, reason = found(corpus, broken)["parts"]
    assert status == "red"
    assert reason.startswith("fold 1: nobody is not in the corpus; make the split anew")


def test_validation_outside_training_is_red(sound):
    corpus, split = sound
    fold = split.folds[0]
    broken = edited(split, validation_groups=(fold.test[:1], *fold.validation_groups))
    assert "is validated on but is not in training" in found(corpus, broken)["parts"][1]


def test_an_empty_part_is_red(sound):
    corpus, split = sound
    assert "one is empty" in found(corpus, edited(split, validation_groups=((),)))["parts"][1]
    assert "one is empty" in found(corpus, edited(split, test=()))["parts"][1]


def test_a_clip_without_content_hash_is_red(sound):
    corpus, split = sound
    first, *rest = corpus.utterances
    bare = replace(corpus, utterances=(replace(first, digest=""), *rest))
    assert found(bare, split)["labels"] == (
        "red",
        f"{first.path} has no content hash; prepare the corpus first",
    )


def test_a_label_outside_the_class_list_is_red(sound):
    corpus, split = sound
    first, *rest = corpus.utterances
    odd = replace(corpus, utterances=(replace(first, label="bored"), *rest))
    assert "'bored' is none of class0, class1, class2" in found(odd, split)["labels"][1]


def test_ravdess_twins_are_told_and_serab_tests_some():
    corpus = official_ravdess()
    checks = found(corpus, protocols.split("serab", corpus))
    assert checks["parts"] == ("note", "300 of 1440 clips are tested, as the protocol serab says")
    assert checks["labels"][0] == "note"
    assert "03-01-03-01-02-01-07" in checks["labels"][1]


def test_few_speakers_in_training_are_told():
    corpus = made_corpus([6] * 3)
    status, reason = found(corpus, protocols.split("loso", corpus))["parts"]
    assert status == "note"
    assert "fold 1: 2 validation groups, as training has 2 speakers" in reason


def test_many_findings_are_counted():
    corpus = made_corpus([6] * 6)
    split = protocols.split("speaker-5fold", corpus)
    bare = replace(corpus, utterances=tuple(replace(clip, digest="") for clip in corpus.utterances))
    assert found(bare, split)["labels"][1].endswith("(and 35 more)")


def test_assert_disjoint():
    audit.assert_disjoint(("a", "b"), ("c",), "fold 1")
    with pytest.raises(SerbenchError, match="fold 1: training and test must share no clip, but b is in both"):
        audit.assert_disjoint(("a", "b"), ("b", "c"), "fold 1")
