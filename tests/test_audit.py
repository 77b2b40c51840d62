from dataclasses import replace

import numpy as np
import pytest
from made import edited, found, made_corpus, official_ravdess

from benchmark import audit, fingerprints, protocols
from benchmark.audit import Use
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
        "near_duplicates": "not checked",
        "selection": "green",
        "sentences": "not checked",
        "pretraining": "not checked",
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


def heard(corpus, values):
    """The corpus with the fingerprints (clips, n) of whole numbers."""
    texts = map(fingerprints.to_text, values)
    clips = zip(corpus.utterances, texts, strict=True)
    return replace(corpus, utterances=tuple(replace(clip, fingerprint=text) for clip, text in clips))


def test_near_duplicates_on_both_sides_are_amber_and_refuse_nothing(sound):
    corpus, split = sound
    values = np.random.default_rng(0).integers(-7, 8, (36, 384))
    assert found(heard(corpus, values), split)["near_duplicates"][0] == "green"
    one, other = split.folds[0].test[0], split.folds[0].train[0]
    places = [[clip.id for clip in corpus.utterances].index(id_) for id_ in (one, other)]
    values[places[1]] = values[places[0]]
    values[places[1], :6] += 1 - 2 * (values[places[1], :6] > 0)
    report = audit.audit(heard(corpus, values), split)
    (check,) = (check for check in report["checks"] if check["name"] == "near_duplicates")
    assert report["status"] == check["status"] == "amber"
    assert check["reason"].startswith(f"fold 1: near-duplicates on both sides: {one}.wav and {other}.wav")
    audit.refuse(report)


def test_equal_audio_is_named_by_its_hash_not_as_a_near_duplicate(sound):
    corpus, split = sound
    first, *rest = corpus.utterances
    twins = replace(corpus, utterances=(first, *(replace(clip, digest=first.digest) for clip in rest)))
    same = heard(twins, np.ones((36, 384)))
    assert found(same, split)["content"][0] == "red"
    assert found(same, split)["near_duplicates"][0] == "green"


def test_a_statistic_beyond_training_and_test_in_the_search_are_red(sound):
    corpus, split = sound
    use = audit.own_use(split)
    test = split.folds[1].test[0]
    for changed, said in (
        (Use([*use[2].fitted, test], use[2].selected), f"a statistic was fitted on {test}"),
        (Use(use[2].fitted, [test]), f"{test} is a test clip and was in the search"),
    ):
        report = audit.audit(corpus, split, None, use | {2: changed})
        with pytest.raises(SerbenchError, match=f"audit, selection: fold 2: {said}"):
            audit.refuse(report)
    unknown = audit.audit(corpus, split, None, {})
    assert {c["name"]: c["status"] for c in unknown["checks"]}["selection"] == "not checked"


def test_sentences_and_weights_are_notes(sound):
    corpus, split = sound
    spoken = [replace(clip, columns={"statement": clip.label}) for clip in corpus.utterances]
    told = audit.audit(replace(corpus, utterances=tuple(spoken)), split, ["mn04"])
    checks = {check["name"]: (check["status"], check["reason"]) for check in told["checks"]}
    assert checks["sentences"][0] == checks["pretraining"][0] == "note"
    assert checks["sentences"][1].startswith("fold 1: 3 of 3 sentences of the test part are in training, too")
    none = audit.audit(corpus, split, [])
    assert {c["name"]: c["status"] for c in none["checks"]}["pretraining"] == "green"


def test_without_audio_hashes_are_not_checked(sound):
    corpus, split = sound
    bare = replace(corpus, utterances=tuple(replace(clip, digest="") for clip in corpus.utterances))
    checks = {c["name"]: c["status"] for c in audit.audit(bare, split, heard=False)["checks"]}
    assert checks["labels"] == checks["content"] == "not checked" and checks["speakers"] == "green"


def test_assert_disjoint():
    audit.assert_disjoint(("a", "b"), ("c",), "fold 1")
    with pytest.raises(SerbenchError, match="fold 1: training and test must share no clip, but b is in both"):
        audit.assert_disjoint(("a", "b"), ("b", "c"), "fold 1")
