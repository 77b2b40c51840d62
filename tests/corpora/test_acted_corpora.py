"""CREMA-D, Emo-DB, SAVEE and TESS: names, counts, spoilt trees and protocols, on trees after their rules."""

import shutil
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import trees
from made import assert_sound

from benchmark import audit, protocols, registry
from benchmark.prepare import prepare
from benchmark.schema import Corpus, Quarantined, SerbenchError, UsageError, Utterance

SOME = {  # two speakers or more, two labels: enough to decode
    "crema_d": ["1001_IEO_ANG_HI", "1001_IEO_NEU_XX", "1002_DFA_SAD_XX", "1040_ITH_SAD_XX"],
    "emo_db": ["03a01Fa", "03a01Wa", "16b10Td", "08a04Ff"],
    "savee": ["DC_a01", "DC_sa15", "KL_n30", "KL_su02"],
    "tess": ["OAF_back_angry", "OAF_bite_neutral", "YAF_youth_ps", "YAF_back_fear"],
}
every = pytest.mark.parametrize("name", trees.NAMES)


@pytest.fixture(scope="session")
def released(tmp_path_factory):
    """The whole release of a corpus, scanned; the id stands for the audio."""
    made: dict[str, Corpus] = {}

    def build(name: str) -> Corpus:
        if name not in made:
            root = trees.touch(tmp_path_factory.mktemp(name), *trees.paths(name))
            clips = registry.corpus(name).scan(root)
            assert all(isinstance(clip, Utterance) for clip in clips)
            digested = tuple(replace(clip, digest=f"d-{clip.id}") for clip in clips)
            made[name] = Corpus(registry.corpus(name).CARD, digested)
        return made[name]

    return build


@every
def test_the_release_passes_and_its_counts_are_the_official_ones(name, released):
    corpus = released(name)
    official = registry.corpus(name).official_digests()
    assert len(corpus.utterances) == len(official) == corpus.card.official_clips
    assert [clip.id for clip in corpus.utterances] == sorted(official)
    assert {clip.label for clip in corpus.utterances} == set(corpus.card.classes)
    assert corpus.card.citation and corpus.card.licence and corpus.card.doi


@pytest.mark.parametrize(
    ("name", "labels", "speakers", "women"),
    [
        ("crema_d", {"neutral": 1087} | dict.fromkeys(("angry", "disgust", "happy", "sad"), 1271), 91, 43),
        ("emo_db", {"angry": 127, "bored": 81, "disgust": 46, "fearful": 69, "happy": 71, "sad": 62}, 10, 5),
        ("savee", {"neutral": 120, "surprised": 60, "sad": 60}, 4, 0),
        ("tess", {"surprised": 400, "neutral": 400, "fearful": 400}, 2, 2),
    ],
)
def test_clips_of_a_label_and_speakers(name, labels, speakers, women, released):
    clips = released(name).utterances
    assert Counter(clip.label for clip in clips).items() >= labels.items()
    genders = {clip.speaker: clip.columns["gender"] for clip in clips}
    assert len(genders) == speakers
    assert list(genders.values()).count("female") == women


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("crema_d", {"1001": 82, "1002": 81, "1008": 76, "1009": 76, "1019": 76, "1076": 81, "1091": 82}),
        (
            "emo_db",
            {"03": 49, "08": 58, "09": 43, "10": 38, "11": 55, "12": 35, "13": 61, "14": 69, "15": 56},
        ),
        ("savee", {"DC": 120, "JE": 120, "JK": 120, "KL": 120}),
        ("tess", {"OAF": 1400, "YAF": 1400}),
    ],
)
def test_clips_of_a_speaker(name, counts, released):
    assert Counter(clip.speaker for clip in released(name).utterances).items() >= counts.items()


@pytest.mark.parametrize(
    ("name", "path", "id_", "speaker", "label", "columns"),
    [
        (
            *("crema_d", "a/AudioWAV/1002_IEO_FEA_MD.wav", "1002_IEO_FEA_MD", "1002", "fearful"),
            {"gender": "female", "intensity": "medium", "statement": "IEO"},
        ),
        (
            *("crema_d", "1040_ITH_SAD_X.wav", "1040_ITH_SAD_XX", "1040", "sad"),
            {"gender": "male", "intensity": "unspecified", "statement": "ITH"},
        ),
        (
            *("emo_db", "wav/08a02Fe.WAV", "08a02Fe", "08", "happy"),
            {"gender": "female", "statement": "a02", "version": "e"},
        ),
        (
            "savee",
            "AudioData/JK/su09.wav",
            "JK_su09",
            "JK",
            "surprised",
            {"gender": "male", "sentence": "09"},
        ),
        ("savee", "ALL/JK_sa09.wav", "JK_sa09", "JK", "sad", {"gender": "male", "sentence": "09"}),
        ("savee", "JK/JK_n30.flac", "JK_n30", "JK", "neutral", {"gender": "male", "sentence": "30"}),
        ("tess", "YAF_fear/YAF_food_fear.wav", "YAF_food_fear", "YAF", "fearful", {"word": "food"}),
        ("tess", "OAF_neutral/OA_bite_neutral.wav", "OAF_bite_neutral", "OAF", "neutral", {"word": "bite"}),
        ("tess", "OAF_back_ps.wav", "OAF_back_ps", "OAF", "surprised", {"word": "back", "gender": "female"}),
    ],
)
def test_a_name_becomes_an_utterance(name, path, id_, speaker, label, columns, tmp_path):
    (clip,) = registry.corpus(name).scan(trees.touch(tmp_path, path))
    assert (clip.id, clip.path, clip.speaker, clip.label) == (id_, path, speaker, label)
    assert clip.columns.items() >= columns.items()


@pytest.mark.parametrize(
    ("name", "path", "rule"),
    [
        ("crema_d", "1001-IEO-ANG-HI.wav", "the name must be ACTOR_STATEMENT_EMOTION_LEVEL"),
        ("crema_d", "1001_DFA_SAD_X.wav", "the name must be ACTOR_STATEMENT_EMOTION_LEVEL"),
        ("crema_d", "1092_IEO_ANG_HI.wav", "actor must be one of 1001 to 1091, but is 1092"),
        ("crema_d", "1001_IEO_SUR_HI.wav", "emotion must be one of NEU, HAP, SAD, ANG, FEA, DIS, but is SUR"),
        ("crema_d", "1001_DFA_ANG_HI.wav", "level of DFA ANG must be XX, but is HI"),
        ("crema_d", "1001_IEO_ANG_XX.wav", "level of IEO ANG must be LO, MD or HI, but is XX"),
        ("crema_d", "1008_WSI_SAD_XX.wav", "the release has no such clip"),
        ("emo_db", "03a01F.wav", "the name must be speaker, sentence, emotion and version"),
        ("emo_db", "04a01Fa.wav", "speaker must be one of 03, 08, 09, 10, 11, 12, 13, 14, 15, 16, but is 04"),
        ("emo_db", "03a03Fa.wav", "sentence must be one of a01, .* but is a03"),
        ("emo_db", "03a01Sa.wav", "emotion must be one of N, F, T, W, A, E, L, but is S"),
        ("emo_db", "03a01Fb.wav", "the release of 535 has no such clip"),  # audb's version 2.0 may have
        ("savee", "AudioData/a01.wav", r"in a speaker's folder \(DC, JE, JK, KL\)"),
        ("savee", "AudioData/XY_a01.wav", "the name must be SPEAKER_EMOTIONNUMBER"),
        ("savee", "AudioData/DC/JK_a01.wav", "the name says speaker JK, but the folder is DC"),
        ("savee", "AudioData/DC/b01.wav", "emotion must be one of n, h, sa, a, f, d, su, but is b"),
        ("savee", "AudioData/DC/a16.wav", "number of emotion a must be 01 to 15, but is 16"),
        ("tess", "OA_back_neutral.wav", "talker must be one of OAF, YAF, but is OA"),
        ("tess", "OAF_banana_sad.wav", "word must be one of the 200 of NU-6, but is banana"),
        ("tess", "OAF_back_surprise.wav", "emotion must be one of neutral, .* ps, but is surprise"),
        ("tess", "OAF_back_sad (1).wav", "the name must be TALKER_WORD_EMOTION"),
    ],
)
def test_a_strange_name_is_refused_with_file_and_rule(name, path, rule, tmp_path):
    (refused,) = registry.corpus(name).scan(trees.touch(tmp_path / "data", path))
    assert isinstance(refused, Quarantined)
    assert (refused.path, refused.reason) == (path, "bad_name")
    with pytest.raises(SerbenchError, match=rule) as error:
        prepare(name, tmp_path / "data", tmp_path / "cache")
    assert str(error.value).startswith(f"{name}: {path}: ")


@every
def test_an_empty_root_is_refused_with_the_cure(name, tmp_path):
    trees.touch(tmp_path, "notes.txt", "AudioMP3/1001_IEO_ANG_HI.mp3")
    with pytest.raises(SerbenchError, match=rf"{name}: .*{tmp_path.name}.* give --root"):
        registry.corpus(name).scan(tmp_path)


@every
def test_hidden_files_folders_and_other_files_are_no_clips(name, tmp_path):
    path = trees.path_of(name, SOME[name][0])
    folder, _, file = path.rpartition("/")
    trees.touch(tmp_path, path, f"__MACOSX/{folder}/._{file}", f".cache/{path}", "readme.txt", "demo.mp4")
    assert [clip.id for clip in registry.corpus(name).scan(tmp_path)] == [SOME[name][0]]


@every
def test_a_doubled_tree_does_not_double_the_corpus(name, tmp_path):
    """As some copies of TESS are packed: the whole folder once more inside itself."""
    files = [trees.path_of(name, id_) for id_ in SOME[name]]
    root = trees.speak(tmp_path / "data", files)
    shutil.copytree(root, root / "again", ignore=shutil.ignore_patterns("again"))
    with pytest.raises(SerbenchError, match=r"the same clip as .*\(4 such files\).*--allow-modified"):
        prepare(name, root, tmp_path / "cache")
    corpus, _ = prepare(name, root, tmp_path / "cache", allow_modified=True)
    assert [clip.id for clip in corpus.utterances] == sorted(SOME[name])
    assert [file.reason for file in corpus.quarantined] == ["doubled"] * 4
    assert corpus.modified
    assert corpus.notes[-1].startswith("4 files left out (--allow-modified): ")


@every
def test_what_deviates_from_the_release_is_told(name, tmp_path):
    """A silent clip, one at a telephone's rate, one there twice under two names of one label, one cut."""
    module = registry.corpus(name)
    speaker = SOME[name][0][:2]
    ids = [id_ for id_ in sorted(module.official_digests()) if id_.startswith(speaker)][:40]
    files = {id_: trees.path_of(name, id_) for id_ in ids}
    root = trees.speak(tmp_path / "data", files.values())
    label = {clip.id: clip.label for clip in module.scan(root)}
    silent, slow, cut, one = ids[:4]
    two = next(id_ for id_ in ids[4:] if label[id_] == label[one])
    soundfile.write(root / files[silent], np.zeros(1600), 16_000)
    trees.speak(root, [files[slow]], rate=8_000)
    whole = (root / files[cut]).read_bytes()
    (root / files[cut]).write_bytes(whole[: len(whole) // 2])
    shutil.copy(root / files[one], root / files[two])
    corpus, _ = prepare(name, root, tmp_path / "cache", max_bad=0.05)
    assert (len(corpus.utterances), corpus.complete, corpus.modified) == (39, False, False)
    assert [(file.path, file.reason) for file in corpus.quarantined] == [(files[cut], "truncated")]
    total = module.CARD.official_clips
    assert f"1 clips silent: {silent}" in corpus.notes
    assert f"1 clips narrow_band: {slow}" in corpus.notes
    assert f"the same audio: {files[one]} and {files[two]}" in corpus.notes
    (missing,) = [note for note in corpus.notes if "missing" in note]
    assert missing.startswith(f"{total - 39} of {total} official clips missing or quarantined: ")


@every
def test_one_audio_with_two_labels_is_fatal_and_both_go_by_a_recorded_override(name, tmp_path):
    files = [trees.path_of(name, id_) for id_ in SOME[name]]
    root = trees.speak(tmp_path / "data", files)
    shutil.copy(root / files[0], root / files[1])
    with pytest.raises(SerbenchError, match="one audio must have one label") as error:
        prepare(name, root, tmp_path / "cache")
    assert files[0] in str(error.value) and files[1] in str(error.value)
    corpus, _ = prepare(name, root, tmp_path / "cache", allow_modified=True)
    assert {clip.id for clip in corpus.utterances} == set(SOME[name][2:])
    assert {file.path: file.reason for file in corpus.quarantined} == dict.fromkeys(files[:2], "two_labels")
    assert corpus.notes[0].startswith("left out: the same audio with two labels: ")
    assert corpus.modified


# Of the whole releases: a change here changes every published number
GOLDEN = {
    ("crema_d", "speaker-5fold"): "e69dd8a3ca1bc85c6ed19698cd6860a3eeceddf378d21babe9183ce56d5e9117",
    ("crema_d", "random-80-20"): "83cde4313632372cbc20bca8a3c2325807b89847a2ceec33612ed096d8e76898",
    ("emo_db", "speaker-5fold"): "e79cdc2194c8ec7e32305f1c08f8a95213d2519f57da0ea7a6a42126bbf666d5",
    ("emo_db", "loso"): "3b140471bd4943ee7d7fb1e94819693392e8886dbd645cde1d581f70650b53bd",
    ("emo_db", "random-80-20"): "8710ceb17cf7e1bf6cdd4f524df9de91867c8fea415e41b8982d7aa35ac0986f",
    ("savee", "loso"): "5143d6c65e96d331479b0a3ce2a9803ddb7e7c6dae1cdfbfce89bfcbeb69a1b3",
    ("savee", "random-80-20"): "e4074578eb45bcb8e1a0977d8a136d7b236b901404d9eeefae98b34c6776267b",
    ("tess", "random-80-20"): "78294da229ab842316cdb9fe6b4757c477a71e5bdf5d5978b104f38b355b8473",
}


@every
@pytest.mark.parametrize("protocol", ["speaker-5fold", "loso", "random-80-20"])
def test_protocols_work_where_they_are_allowed(name, protocol, released):
    corpus = released(name)
    if name == "crema_d":  # one sentence will do
        clips = tuple(clip for clip in corpus.utterances if clip.columns["statement"] == "IEO")
        corpus = replace(corpus, utterances=clips)
    refused = {"savee": ("speaker-5fold",), "tess": ("speaker-5fold", "loso")}.get(name, ())
    if protocol in refused:
        cure = {"savee": "got 4; use loso, which is descriptive", "tess": "got 2; .* use random-80-20"}[name]
        with pytest.raises(UsageError, match=f"protocol {protocol} needs at least . speakers, but {cure}"):
            protocols.split(protocol, corpus)
        return
    split = protocols.split(protocol, corpus)
    assert_sound(corpus, split)
    audit.refuse(audit.audit(corpus, split))
    assert split.diagnostic == (protocol == "random-80-20")
    assert len(split.folds) == (len({c.speaker for c in corpus.utterances}) if protocol == "loso" else 5)


@pytest.mark.parametrize(("name", "protocol"), GOLDEN)
def test_golden_fingerprints(name, protocol, released):
    assert protocols.split(protocol, released(name)).fingerprint == GOLDEN[name, protocol]


@pytest.mark.parametrize(("name", "women"), [("crema_d", (8, 9)), ("emo_db", (1, 1))])
def test_five_folds_are_balanced_by_gender(name, women, released):
    corpus = released(name)
    gender = {clip.speaker: clip.columns["gender"] for clip in corpus.utterances}
    for fold in protocols.split("speaker-5fold", corpus).folds:
        count = [gender[speaker] for speaker in fold.test_speakers].count("female")
        assert women[0] <= count <= women[1]
