"""FAULTS 16: a file name that does not parse is an error naming file and rule; a label is never guessed."""

import pytest

from benchmark.corpora import ravdess
from benchmark.prepare import prepare
from benchmark.schema import SerbenchError


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("angry-03.wav", "seven two-digit numbers"),
        ("03-01-05-01-01-01-03 (1).wav", "seven two-digit numbers"),
        ("03-01-05-01-01-01.wav", "seven two-digit numbers"),
        ("03-01-05-01-01-01-3.wav", "seven two-digit numbers"),
        ("03-01-٠٥-01-01-01-03.wav", "seven two-digit numbers"),
        ("03-01-09-01-01-01-03.wav", "emotion must be 01 to 08, but is 09"),
        ("03-01-05-03-01-01-03.wav", "intensity must be 01 to 02, but is 03"),
        ("03-01-05-01-03-01-03.wav", "statement must be 01 to 02, but is 03"),
        ("03-01-05-01-01-00-03.wav", "repetition must be 01 to 02, but is 00"),
        ("03-01-05-01-01-01-25.wav", "actor must be 01 to 24, but is 25"),
        ("03-01-05-01-01-01-04.wav", "the name says actor 04, but the folder is Actor_03"),
        ("03-01-01-02-01-01-03.wav", "neutral must have intensity 01"),
        ("03-02-05-01-01-01-03.wav", r"vocal channel must be 01 \(speech, audio only\), but is 02"),
        ("01-01-05-01-01-01-03.wav", r"modality must be 03 \(speech, audio only\), but is 01"),
    ],
)
def test_fault_16_name_does_not_parse(tmp_path, name, rule):
    folder = tmp_path / "Actor_03"
    folder.mkdir()
    (folder / "03-01-05-01-01-02-03.wav").touch()
    (folder / name).touch()
    with pytest.raises(SerbenchError, match=rule) as error:
        prepare("ravdess", tmp_path, tmp_path / "cache")
    assert str(error.value).startswith(f"ravdess: Actor_03/{name}: ")
    assert "\n" not in str(error.value)
    clip, refused = ravdess.scan(tmp_path)
    assert clip.id == "03-01-05-01-01-02-03"
    assert (refused.path, refused.reason) == (f"Actor_03/{name}", "bad_name")


def test_fault_16_renamed_among_real_clips(ravdess_root, tmp_path):
    root = tmp_path / "data"
    (root / "Actor_01").mkdir(parents=True)
    clips = sorted((ravdess_root / "Actor_01").iterdir())[:8]
    for clip in clips[:7]:
        (root / "Actor_01" / clip.name).symlink_to(clip)
    (root / "Actor_01" / "take two.flac").symlink_to(clips[7])
    with pytest.raises(SerbenchError, match=r"Actor_01/take two\.flac"):
        prepare("ravdess", root, tmp_path / "cache")
    corpus, _ = prepare("ravdess", root, tmp_path / "cache", allow_modified=True)
    assert (len(corpus.utterances), corpus.modified) == (7, True)
    assert any("take two.flac" in note for note in corpus.notes)
