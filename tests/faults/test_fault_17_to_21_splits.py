"""FAULTS 17, 19, 20 and the split's side of 21: refused, or told, before any trial starts."""

from dataclasses import replace

import pytest
from made import edited, found, made_corpus

from benchmark import audit, protocols
from benchmark.schema import SerbenchError


def with_audio(corpus, pairs):
    """The corpus in which the audio of each first id is that of the second."""
    clips = [replace(clip, digest=pairs.get(clip.id, clip.digest)) for clip in corpus.utterances]
    return replace(corpus, utterances=tuple(clips))


@pytest.mark.parametrize("protocol", ["speaker-5fold", "loso", "random-80-20"])
def test_fault_17_equal_audio_of_one_speaker_stays_in_one_fold(protocol):
    corpus = with_audio(made_corpus([12] * 6), {"s01-000": "d-s01-003", "s04-001": "d-s04-007"})
    split = protocols.split(protocol, corpus)
    for fold in split.folds:
        for part in (fold.test, fold.train, *fold.validation_groups):
            assert ("s01-000" in part) == ("s01-003" in part)
            assert ("s04-001" in part) == ("s04-007" in part)
    checks = found(corpus, split)
    assert checks["content"][0] == "green"
    assert checks["labels"][0] == "note"
    assert "s01-000.wav (class0) and s01-003.wav (class0)" in checks["labels"][1]


def test_fault_17_equal_audio_on_both_sides_is_fatal():
    corpus = with_audio(made_corpus([6] * 6), {"s01-000": "d-s02-000"})
    with pytest.raises(SerbenchError, match=r"the same audio on both sides: .*s0[12]-000\.wav") as caught:
        audit.refuse(audit.audit(corpus, protocols.split("loso", corpus)))
    assert caught.value.exit_status == 1
    assert "\n" not in str(caught.value)


def test_fault_17_equal_audio_on_both_sides_of_an_inner_split_is_fatal():
    corpus = made_corpus([6] * 6)
    split = protocols.split("speaker-5fold", corpus)
    one, two, *_ = split.folds[0].validation_groups
    same = with_audio(corpus, {one[0]: f"d-{two[0]}"})
    status, reason = found(same, replace(split, folds=split.folds[:1]))["content"]
    assert status == "red"
    assert "fold 1, validation group 1: the same audio on both sides" in reason


def test_fault_18_equal_audio_with_two_labels_is_fatal():
    corpus = with_audio(made_corpus([6] * 6), {"s01-000": "d-s01-001"})
    split = protocols.split("speaker-5fold", corpus)
    with pytest.raises(SerbenchError, match=r"s01-000.wav \(class0\) and s01-001.wav \(class1\)"):
        audit.refuse(audit.audit(corpus, split))


def test_fault_19_a_speaker_on_both_sides_is_fatal():
    corpus = made_corpus([6] * 6)
    split = protocols.split("speaker-5fold", corpus)
    fold = split.folds[0]
    moved = edited(split, test=fold.test[1:], train=(*fold.train, fold.test[0]))
    with pytest.raises(SerbenchError, match=r"fold 1: speaker s0\d is on both sides"):
        audit.refuse(audit.audit(corpus, moved))


def test_fault_19_a_speaker_on_both_sides_of_an_inner_split_is_fatal():
    corpus = made_corpus([6] * 6)
    split = protocols.split("speaker-5fold", corpus)
    one, two, *others = split.folds[0].validation_groups
    moved = edited(split, validation_groups=(one[1:], (*two, one[0]), *others))
    assert "validation group 1: speaker" in found(corpus, moved)["speakers"][1]


def test_fault_19_a_diagnostic_protocol_says_it():
    corpus = made_corpus([20] * 6)
    report = audit.audit(corpus, protocols.split("random-80-20", corpus))
    audit.refuse(report)
    (speakers,) = [check for check in report["checks"] if check["name"] == "speakers"]
    assert speakers["status"] == "note"
    assert "a diagnostic, not a result" in speakers["reason"]


@pytest.mark.parametrize("count", [0, 1])
def test_fault_20_a_class_with_one_utterance_is_refused(count):
    corpus = made_corpus([6] * 6)
    rare = [clip.id for clip in corpus.utterances if clip.label == "class2"][count:]
    kept = tuple(clip for clip in corpus.utterances if clip.id not in rare)
    corpus = replace(corpus, utterances=kept)
    with pytest.raises(SerbenchError, match=f"class class2 needs at least 2 clips, but has {count}"):
        audit.refuse(audit.audit(corpus, protocols.split("speaker-5fold", corpus)))


def test_fault_21_a_class_absent_from_a_test_part_is_told():
    corpus = made_corpus([6] * 6)
    kept = [clip for clip in corpus.utterances if clip.label != "class2" or clip.speaker in ("s00", "s05")]
    corpus = replace(corpus, utterances=tuple(kept))
    split = protocols.split("loso", corpus)
    report = audit.audit(corpus, split)
    audit.refuse(report)
    (classes,) = [check for check in report["checks"] if check["name"] == "classes"]
    assert classes["status"] == "note"
    told = [finding["reason"] for finding in classes["findings"]]
    assert "fold 2: class class2 has support 0, and is left out of its macro means" in told


def test_fault_21_a_class_absent_from_a_training_part_is_refused():
    corpus = made_corpus([6] * 6)
    kept = [clip for clip in corpus.utterances if clip.label != "class2" or clip.speaker == "s05"]
    corpus = replace(corpus, utterances=tuple(kept))
    with pytest.raises(SerbenchError, match="class class2 is absent from training"):
        audit.refuse(audit.audit(corpus, protocols.split("loso", corpus)))
