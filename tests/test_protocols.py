from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made import assert_sound, made_corpus, official_ravdess

from benchmark import audit, protocols, registry
from benchmark.corpora import ravdess
from benchmark.schema import Corpus, UsageError

# Fingerprints of the splits of the official 1,440 clips: a change here changes every published number.
GOLDEN = {
    "luna-jimenez-5fold": "7e2c1ff3defd9aa180ab2693fdb5f924ea496f777a976ed11bca04ed5a3a1e4a",
    "emobox-6fold": "7ff9f535e9c9e63c75f0db5b15cb7b5475eb3167113f47f8720acec9728ace10",
    "serab": "b42ecf02b369f3b43c166f276338a081d197a0d573cf8059c09aa50506d5ba97",
    "speaker-5fold": "d465d77432fd5fcf393d1543aa671335d3cf7dc11625b38786af1394de067718",
    "loso": "7ca1724f7823471235f88316330eb5603e3a16d000ea231769c7c62620e5f994",
    "random-80-20": "a85bbe568e39cb89eb704886184e703ce9c13af8e5971268725bc4f2f24b72ed",
}
BUILT = ("speaker-5fold", "loso", "random-80-20")


@pytest.mark.parametrize("protocol", protocols.NAMES)
def test_golden_fingerprint_of_ravdess(protocol):
    corpus = official_ravdess()
    split = protocols.split(protocol, corpus)
    assert_sound(corpus, split)
    assert split.fingerprint == GOLDEN[protocol]


@pytest.mark.parametrize("protocol", protocols.NAMES)
def test_scanned_ravdess_has_the_golden_fingerprint(protocol, ravdess_root):
    digests = ravdess.official_digests()
    clips = tuple(replace(clip, digest=digests[clip.id]) for clip in ravdess.scan(ravdess_root))
    corpus = Corpus(ravdess.CARD, clips)
    assert protocols.split(protocol, corpus).fingerprint == GOLDEN[protocol]


def test_published_folds_are_the_published_ones():
    corpus = official_ravdess()
    luna = protocols.split("luna-jimenez-5fold", corpus)
    assert [fold.test_speakers for fold in luna.folds] == [
        ("02", "05", "14", "15", "16"),
        ("03", "06", "07", "13", "18"),
        ("10", "11", "12", "19", "20"),
        ("08", "17", "21", "23", "24"),
        ("01", "04", "09", "22"),
    ]
    emobox = protocols.split("emobox-6fold", corpus)
    assert emobox.folds[0].test_speakers == ("01", "11", "20", "21")
    assert emobox.folds[5].test_speakers == ("06", "13", "17", "22")
    (serab,) = protocols.split("serab", corpus).folds
    assert serab.test_speakers == ("01", "04", "13", "16", "22")
    assert {i[-2:] for i in serab.validation_groups[0]} == {"06", "08", "10", "19", "20"}
    assert len(serab.validation_groups) == 1
    assert len(serab.train_speakers) == 19


@pytest.mark.parametrize("name", registry.names("corpora"))
@pytest.mark.parametrize("protocol", protocols.NAMES)
def test_leakage_for_every_corpus_protocol_and_fold(name, protocol, request):
    module = registry.corpus(name)
    if name == "ravdess":
        corpus = official_ravdess()
    elif hasattr(module, "generate"):
        corpus = request.getfixturevalue("generated_corpus")(name)
    else:
        corpus = made_corpus([9] * 7)
    try:
        split = protocols.split(protocol, corpus)
    except UsageError as error:
        assert protocol in protocols.PUBLISHED
        assert "for ravdess only" in str(error)
        return
    assert_sound(corpus, split)
    audit.refuse(audit.audit(corpus, split))


@pytest.fixture(scope="session")
def generated_corpus(tmp_path_factory):
    """A corpus module that generates itself, scanned; the file's bytes stand for its audio."""
    made: dict[str, Corpus] = {}

    def build(name: str) -> Corpus:
        if name not in made:
            folder = tmp_path_factory.mktemp(name) / name
            module = registry.corpus(name)
            module.generate(folder)
            clips = tuple(replace(clip, digest=f"d-{clip.id}") for clip in module.scan(folder))
            made[name] = Corpus(module.card(folder), clips)
        return made[name]

    return build


@settings(max_examples=60, deadline=None)
@given(
    counts=st.lists(st.integers(3, 9), min_size=5, max_size=14),
    protocol=st.sampled_from(BUILT),
    groups=st.integers(2, 6),
    gendered=st.booleans(),
    twins=st.integers(0, 4),
)
def test_built_folds_are_sound_and_balanced(counts, protocol, groups, gendered, twins):
    corpus = made_corpus(counts, gendered=gendered)
    # a clip of every speaker up to `twins` sounds like that speaker's clip of the same label
    clips = list(corpus.utterances)
    twin_of = {f"d-s{number:02d}-000": f"d-s{number:02d}-003" for number in range(twins)}
    clips = [replace(clip, digest=twin_of.get(clip.digest, clip.digest)) for clip in clips]
    corpus = replace(corpus, utterances=tuple(clips))
    split = protocols.split(protocol, corpus, groups)
    if protocol != "random-80-20" or len(clips) >= 40:  # the smallest corpora leave a random part empty
        assert_sound(corpus, split)
    if split.diagnostic:
        for label in corpus.card.classes:
            of_label = {clip.id for clip in clips if clip.label == label}
            sizes = [len(of_label & set(fold.test)) for fold in split.folds]
            assert max(sizes) - min(sizes) <= 1 + twins
        return
    sizes = [len(fold.test_speakers) for fold in split.folds]
    assert max(sizes) - min(sizes) <= 1
    gender = {clip.speaker: clip.columns.get("gender", "") for clip in clips}
    for value in set(gender.values()):
        numbers = [sum(gender[name] == value for name in fold.test_speakers) for fold in split.folds]
        assert max(numbers) - min(numbers) <= 2
    for fold in split.folds:
        assert len(fold.validation_groups) == min(groups, len(fold.train_speakers))


def test_order_of_the_clips_does_not_matter():
    corpus = made_corpus([6] * 8)
    turned = replace(corpus, utterances=corpus.utterances[::-1])
    for protocol in BUILT:
        assert protocols.split(protocol, corpus) == protocols.split(protocol, turned)


def test_deal_is_snake_wise():
    assert protocols.deal("abcdefgh", 3) == [["a", "f", "g"], ["b", "e", "h"], ["c", "d"]]


def test_fingerprint_covers_validation_groups():
    corpus = made_corpus([6] * 8)
    three, four = (protocols.split("speaker-5fold", corpus, groups) for groups in (3, 4))
    assert [fold.test for fold in three.folds] == [fold.test for fold in four.folds]
    assert three.fingerprint != four.fingerprint


def test_three_speakers_get_two_in_every_training_part():
    split = protocols.split("loso", made_corpus([6, 6, 6]))
    assert [len(fold.train_speakers) for fold in split.folds] == [2, 2, 2]
    assert [len(fold.validation_groups) for fold in split.folds] == [2, 2, 2]


@pytest.mark.parametrize(
    ("protocol", "speakers", "said"),
    [
        ("speaker-5fold", 4, "needs at least 5 speakers, but got 4; use loso, which is descriptive with 4"),
        ("speaker-5fold", 2, "needs at least 5 speakers, but got 2; add speakers, or use random-80-20"),
        ("loso", 2, "needs at least 3 speakers, but got 2; add speakers, or use random-80-20"),
        ("speaker-5fold", 1, "add speakers"),
        ("emobox-6fold", 5, "for ravdess only, but the corpus is made; use speaker-5fold or loso"),
        ("emobox-6fold", 4, "for ravdess only, but the corpus is made; use loso"),
        ("emobox-6fold", 2, "for ravdess only, but the corpus is made; add speakers, or use random-80-20"),
    ],
)
def test_too_few_speakers_are_refused_with_rule_and_cure(protocol, speakers, said):
    with pytest.raises(UsageError, match=said):
        protocols.split(protocol, made_corpus([6] * speakers))


def test_four_speakers_have_loso_and_two_have_the_diagnostic_alone():
    savee, tess = made_corpus([12] * 4), made_corpus([30] * 2)
    for protocol, corpus, folds in (
        ("loso", savee, 4),
        ("random-80-20", savee, 5),
        ("random-80-20", tess, 5),
    ):
        split = protocols.split(protocol, corpus)
        assert len(split.folds) == folds
        assert_sound(corpus, split)


def test_published_protocol_needs_its_corpus():
    with pytest.raises(UsageError, match="serab is for ravdess only, but the corpus is made; use "):
        protocols.split("serab", made_corpus([6] * 24))
    corpus = official_ravdess()
    fewer = replace(corpus, utterances=tuple(clip for clip in corpus.utterances if clip.speaker != "07"))
    with pytest.raises(UsageError, match=r"needs actors 1 to 24, but \[7\] are missing"):
        protocols.split("emobox-6fold", fewer)


def test_a_quarantined_clip_leaves_the_actors_in_their_folds():
    corpus = official_ravdess()
    fewer = replace(corpus, utterances=corpus.utterances[1:])
    before, after = (protocols.split("luna-jimenez-5fold", which) for which in (corpus, fewer))
    assert [fold.test_speakers for fold in before.folds] == [fold.test_speakers for fold in after.folds]


def test_unknown_protocol_gets_its_nearest_match():
    with pytest.raises(UsageError, match="did you mean 'speaker-5fold'"):
        protocols.split("speakers-5fold", made_corpus([6] * 5))


def test_too_few_validation_groups_are_refused():
    with pytest.raises(UsageError, match="groups >= 2"):
        protocols.split("loso", made_corpus([6] * 5), groups=1)
