"""RAVDESS: names, and identity with the official release, on the real corpus and on spoilt copies of it."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import soundfile
from made import official_ravdess

from benchmark import audio
from benchmark.corpora import ravdess
from benchmark.prepare import differences, prepare
from benchmark.schema import SerbenchError

ANGRY = "03-01-05-01-01-01-03"


def touch(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    return root


def linked(root: Path, into: Path, actors: tuple[str, ...] = ravdess.ACTORS) -> Path:
    """A corpus that a test may spoil: real folders, clips as links."""
    for actor in actors:
        folder = into / f"Actor_{actor}"
        folder.mkdir(parents=True)
        for clip in (root / folder.name).iterdir():
            (folder / clip.name).symlink_to(clip)
    return into


def clip_of(root: Path, id_: str) -> Path:
    return next((root / f"Actor_{id_[-2:]}").glob(f"{id_}.*"))


def test_names_become_utterances(tmp_path):
    root = touch(tmp_path, f"a/b/Actor_03/{ANGRY}.wav", "Actor_24/03-01-01-01-02-02-24.FLAC")
    neutral, angry = ravdess.scan(root)
    assert (angry.id, angry.path) == (ANGRY, f"a/b/Actor_03/{ANGRY}.wav")
    assert (angry.speaker, angry.label) == ("03", "angry")
    assert angry.columns == {"gender": "male", "intensity": "normal", "statement": "01", "repetition": "01"}
    assert (neutral.speaker, neutral.label, neutral.columns["gender"]) == ("24", "neutral", "female")


def test_hidden_and_other_files_are_not_clips(tmp_path):
    root = touch(tmp_path, f"Actor_03/{ANGRY}.wav", f"__MACOSX/Actor_03/._{ANGRY}.wav", "Actor_03/notes.txt")
    assert [clip.id for clip in ravdess.scan(root)] == [ANGRY]


def test_a_single_actor_folder_is_a_root(tmp_path):
    assert len(ravdess.scan(touch(tmp_path, f"Actor_03/{ANGRY}.wav") / "Actor_03")) == 1


def test_an_empty_root_is_refused_with_the_cure(tmp_path):
    with pytest.raises(SerbenchError, match="serbench fetch ravdess"):
        ravdess.scan(tmp_path)


def test_the_grammar_admits_exactly_the_official_clips(tmp_path):
    values = [ravdess.FIELDS[field] for field in ravdess.FIELDS]
    stems = [""]
    for allowed in values:
        stems = [f"{stem}-{value}".lstrip("-") for stem in stems for value in allowed]
    legal = {s for s in stems if not ravdess._problem(tmp_path / f"Actor_{s[-2:]}" / f"{s}.wav")}
    assert legal == set(ravdess.official_digests())
    assert len(legal) == ravdess.CARD.official_clips == 1440


@pytest.mark.parametrize("folders", [("Actor_03", "copy/Actor_03"), ("Actor_03",)])
def test_doubled_names_are_refused(tmp_path, folders):
    suffixes = (".wav", ".wav") if len(folders) == 2 else (".wav", ".flac")
    for folder, suffix in zip((*folders, folders[0])[:2], suffixes, strict=True):
        touch(tmp_path, f"{folder}/{ANGRY}{suffix}")
    with pytest.raises(SerbenchError, match=rf"{ANGRY}.* the same clip as .*{ANGRY}"):
        prepare("ravdess", tmp_path, tmp_path / "cache")
    clip, refused = ravdess.scan(tmp_path)
    assert clip.id == ANGRY
    assert refused.reason == "doubled"


def test_the_official_release_passes():
    assert differences(official_ravdess().utterances, ravdess.official_digests()) == []


def test_audio_that_differs_is_named():
    clips = list(official_ravdess().utterances)
    clips[7] = replace(clips[7], digest="0" * 64)
    clips[9] = replace(clips[9], digest="1" * 64)
    official = ravdess.official_digests()
    said = f"{clips[7].path} has digest {'0' * 16}, the official clip {official[clips[7].id]}"
    assert differences(clips, official)[0] == said
    assert len(differences(clips, official)) == 2


def test_another_clips_audio_is_named():
    clips = list(official_ravdess().utterances)
    clips[7] = replace(clips[7], digest=clips[8].digest)
    said = f"{clips[7].path} holds the audio of {clips[8].id}"
    assert differences(clips, ravdess.official_digests()) == [said]
    clips[7], clips[9] = (replace(clips[n], digest="0" * 64) for n in (7, 9))  # nobody's audio, twice
    said = f"{clips[9].path} holds the audio of {clips[7].id}"
    assert differences(clips, ravdess.official_digests())[1] == said


def test_a_file_left_out_counts_as_a_modification(ravdess_root, tmp_path):
    root = linked(ravdess_root, tmp_path / "data", ("01",))
    (root / "Actor_01" / "x.wav").touch()
    corpus, _ = prepare("ravdess", root, tmp_path / "cache", allow_modified=True)
    assert (len(corpus.utterances), corpus.modified) == (60, True)
    assert corpus.notes[-1].startswith("1 files left out (--allow-modified): Actor_01/x.wav: the name must")


def test_the_real_corpus_by_name(ravdess_root):
    clips = ravdess.scan(ravdess_root)
    assert {clip.id for clip in clips} == set(ravdess.official_digests())
    counts = Counter(clip.label for clip in clips)
    assert tuple(counts[label] for label in ravdess.CARD.classes) == (96,) + (192,) * 7
    assert Counter(clip.speaker for clip in clips) == dict.fromkeys(ravdess.ACTORS, 60)


def test_a_wav_copy_is_the_same_clip(ravdess_root, tmp_path):
    source = clip_of(ravdess_root, "03-01-02-01-01-02-01")  # one of the five stereo clips
    samples, rate = soundfile.read(source, dtype="int16")
    soundfile.write(tmp_path / "16.wav", samples, rate, "PCM_16")
    soundfile.write(tmp_path / "24.wav", samples, rate, "PCM_24")
    official = ravdess.official_digests()[source.stem]
    for path in (source, tmp_path / "16.wav", tmp_path / "24.wav"):
        assert audio.decode(path).digest.startswith(official)


@pytest.mark.slow
def test_the_real_corpus_by_content(ravdess_root, tmp_path):
    corpus, _ = prepare("ravdess", ravdess_root, tmp_path)
    assert (len(corpus.utterances), corpus.complete, corpus.modified) == (1440, True, False)
    assert len(corpus.notes) == 2
    twins = ("Actor_07/03-01-03-01-02-01-07", "Actor_07/03-01-03-01-02-02-07")
    assert all(twin in corpus.notes[0] for twin in twins)
    assert corpus.notes[1].startswith("5 clips downmixed")
    for id_ in ("02-01-01-02-01", "02-01-02-02-05", "03-01-02-01-20", "06-01-01-02-20", "08-01-02-02-01"):
        assert f"03-01-{id_}" in corpus.notes[1]


def test_a_cut_clip_among_real_ones(ravdess_root, tmp_path):
    root = linked(ravdess_root, tmp_path / "data", ("01", "02"))
    victim = clip_of(root, "03-01-05-01-01-01-02")
    whole = victim.read_bytes()
    victim.unlink()
    victim.write_bytes(whole[: len(whole) // 2])
    corpus, _ = prepare("ravdess", root, tmp_path / "cache")
    assert len(corpus.utterances) == 119
    assert not corpus.complete
    assert not corpus.modified
    assert [file.path for file in corpus.quarantined] == [f"Actor_02/{victim.name}"]


def test_a_changed_real_clip_is_refused(ravdess_root, tmp_path):
    root = linked(ravdess_root, tmp_path / "data", ("01",))
    victim = clip_of(root, "03-01-05-01-01-01-01")
    samples, rate = soundfile.read(victim, dtype="int16")
    victim.unlink()
    samples[1000] += 1
    soundfile.write(victim.with_suffix(".wav"), samples, rate)
    with pytest.raises(SerbenchError, match=rf"Actor_01/{victim.stem}\.wav has digest"):
        prepare("ravdess", root, tmp_path / "cache")
    assert prepare("ravdess", root, tmp_path / "cache", allow_modified=True)[0].modified
