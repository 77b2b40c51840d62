"""From files to a checked corpus and one table of features."""

import json
from pathlib import Path

import numpy as np
import pytest
import small
import soundfile
from pretrained import pretrained

from benchmark import audio, cli, fetch, registry
from benchmark.prepare import feature_digest, feature_table, manifest_rows, prepare
from benchmark.schema import SerbenchError, UsageError

FEATURE = "functionals"


def test_every_clip_is_checked_and_sorted(tmp_path: Path) -> None:
    corpus, root = prepare("manifest", small.write(tmp_path / "in"), tmp_path)
    assert root == tmp_path / "in"
    assert [clip.id for clip in corpus.utterances] == [f"c{n:03d}" for n in range(6)]
    for clip in corpus.utterances:
        assert clip.digest == audio.decode(root / clip.path).digest
        assert (clip.sample_rate, clip.channels, clip.seconds, clip.flags) == (16_000, 1, 0.4, ())
    assert (corpus.complete, corpus.modified, corpus.notes) == (True, False, ())


@pytest.mark.parametrize("terminal", [True, False])
def test_a_bar_is_shown_in_a_terminal_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], terminal: bool
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1" if terminal else "")  # how rich is told
    corpus, root = prepare("manifest", small.write(tmp_path / "in"), tmp_path)
    feature_table(corpus, root, FEATURE, tmp_path / "cache")
    out, err = capsys.readouterr()
    assert out == ""
    assert ("checking manifest" in err and FEATURE in err and "100%" in err) if terminal else err == ""


def test_processes_find_what_one_process_finds(tmp_path: Path) -> None:
    corpus, root = prepare("manifest", small.write(tmp_path / "in", clips=40), tmp_path)  # over FEW
    assert [clip.digest for clip in corpus.utterances] == [
        audio.decode(root / clip.path).digest for clip in corpus.utterances
    ]


def test_the_manifest_names_source_rate_flags_and_reasons(tmp_path: Path) -> None:
    csv = small.write(tmp_path / "in")
    soundfile.write(tmp_path / "in" / "c000.wav", small.noise(0, rate=8_000), 8_000)
    soundfile.write(tmp_path / "in" / "c001.wav", small.noise(1, channels=2), 16_000)
    (tmp_path / "in" / "c002.wav").write_bytes(b"")
    corpus, _ = prepare("manifest", csv, tmp_path, max_bad=0.5)
    rows = {row["path"]: row for row in manifest_rows(corpus)}
    assert len({tuple(row) for row in rows.values()}) == 1  # the same columns everywhere
    assert (rows["c000.wav"]["sample_rate"], rows["c000.wav"]["flags"]) == (8_000, "narrow_band")
    assert (rows["c001.wav"]["channels"], rows["c001.wav"]["flags"]) == (2, "downmixed")
    assert rows["c001.wav"]["place"] == "room 1"
    assert (rows["c002.wav"]["status"], rows["c002.wav"]["reason"]) == ("quarantined", "empty")
    assert rows["c003.wav"]["status"] == "accepted"
    assert any("narrow_band" in note for note in corpus.notes)
    assert not corpus.complete


def test_more_than_one_per_cent_bad_is_refused(tmp_path: Path) -> None:
    csv = small.write(tmp_path / "in", clips=101)
    (tmp_path / "in" / "c005.wav").write_bytes(b"")
    corpus, _ = prepare("manifest", csv, tmp_path)
    assert [file.path for file in corpus.quarantined] == ["c005.wav"]
    said = r"1 of 101 files can't be used \(1 empty\).*c005\.wav.*or leave --strict out"
    with pytest.raises(SerbenchError, match=said):
        prepare("manifest", csv, tmp_path, strict=True)
    (tmp_path / "in" / "c006.wav").write_bytes(b"x")
    with pytest.raises(SerbenchError, match=r"2 of 101 .*\(1 empty, 1 not_audio\), allowed are 1%"):
        prepare("manifest", csv, tmp_path)


def test_a_corpus_that_is_not_at_hand_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="give --root, or run `serbench fetch ravdess`"):
        prepare("ravdess", None, tmp_path)
    with pytest.raises(UsageError, match=r"'manifest' must be at hand: give --root FOLDER or CSV$"):
        prepare("manifest", None, tmp_path)


@pytest.fixture
def official(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A CSV of six clips whose content an official release states."""
    csv = small.write(tmp_path / "in")
    begins = {path.stem: audio.decode(path).digest[:16] for path in (tmp_path / "in").glob("*.wav")}
    monkeypatch.setattr(registry.corpus("manifest"), "official_digests", lambda: begins, raising=False)
    return csv


def test_the_official_release_passes(official: Path, tmp_path: Path) -> None:
    corpus, _ = prepare("manifest", official, tmp_path)
    assert (corpus.complete, corpus.modified, corpus.notes) == (True, False, ())


def test_audio_that_differs_is_refused_or_recorded(official: Path, tmp_path: Path) -> None:
    for number in (2, 4):
        soundfile.write(official.with_name(f"c{number:03d}.wav"), small.noise(90 + number), small.RATE)
    with pytest.raises(
        SerbenchError, match=r"manifest: c002\.wav has digest .*\(2 such files\).*--allow-mod"
    ):
        prepare("manifest", official, tmp_path)
    corpus, _ = prepare("manifest", official, tmp_path, allow_modified=True)
    assert corpus.modified
    assert "2 clips differ" in corpus.notes[-1]


def test_an_official_clip_that_is_missing_is_told(official: Path, tmp_path: Path) -> None:
    official.with_name("c002.wav").write_bytes(b"")
    corpus, _ = prepare("manifest", official, tmp_path, max_bad=0.5)
    assert (corpus.complete, corpus.modified) == (False, False)
    assert corpus.notes[-1] == "1 of 6 official clips missing or quarantined: c002"


@pytest.mark.slow
def test_a_fetched_corpus_is_found_in_the_cache(tmp_path: Path, ravdess_root: Path) -> None:
    (tmp_path / "corpora").mkdir()
    (tmp_path / "corpora" / "ravdess").symlink_to(ravdess_root)
    corpus, root = prepare("ravdess", None, tmp_path)
    assert root == tmp_path / "corpora" / "ravdess"
    assert corpus.complete


def test_features_are_those_of_each_clip(tmp_path: Path) -> None:
    corpus, root = prepare("manifest", small.write(tmp_path / "in"), tmp_path)
    table = feature_table(corpus, root, FEATURE, tmp_path / "cache")
    feature = registry.feature(FEATURE)
    assert table.ids == tuple(clip.id for clip in corpus.utterances)
    assert table.columns == tuple(feature.columns())
    assert table.values.dtype == np.float32
    for clip, row in zip(corpus.utterances, table.values, strict=True):
        samples = audio.mono(audio.decode(root / clip.path))
        np.testing.assert_allclose(row, feature.extract(samples), rtol=1e-4, atol=1e-4)


def test_joined_features_stand_beside_one_another_and_follow_the_weights(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    fetch.fetch("mn04-audioset", cache, pretrained())
    corpus, root = prepare("manifest", small.write(tmp_path / "in"), tmp_path)
    both = "functionals+audioset_embedding"
    joined = feature_table(corpus, root, both, cache)
    parts = [feature_table(corpus, root, name, cache) for name in both.split("+")]
    assert np.array_equal(joined.values, np.hstack([part.values for part in parts]))
    assert joined.columns == (*parts[0].columns, *parts[1].columns)
    assert joined.values.shape[1] == len(joined.columns)
    before = feature_digest(both, cache)
    weights = fetch.weights("mn04-audioset", cache)
    assert weights
    weights.write_bytes(weights.read_bytes() + b" ")
    assert feature_digest(both, cache) != before


def test_only_what_is_missing_is_computed(tmp_path: Path) -> None:
    corpus, root = prepare("manifest", small.write(tmp_path / "in", clips=5), tmp_path)
    first = feature_table(corpus, root, FEATURE, tmp_path / "cache")
    longer, root = prepare("manifest", small.write(tmp_path / "in", clips=6), tmp_path)
    entries = {path: path.stat().st_ino for path in (tmp_path / "cache").rglob("*.array")}
    for clip in corpus.utterances:
        (root / clip.path).unlink()  # reading one again would be an error
    second = feature_table(longer, root, FEATURE, tmp_path / "cache")
    now = {path: path.stat().st_ino for path in (tmp_path / "cache").rglob("*.array")}
    assert (len(entries), len(now)) == (5, 6)
    assert now.items() >= entries.items()
    np.testing.assert_array_equal(first.values, second.values[:5])
    for path in root.glob("*.wav"):
        path.unlink()
    np.testing.assert_array_equal(
        feature_table(longer, root, FEATURE, tmp_path / "cache").values, second.values
    )


def test_a_file_changed_after_the_check_is_refused(tmp_path: Path) -> None:
    corpus, root = prepare("manifest", small.write(tmp_path / "in"), tmp_path)
    soundfile.write(root / "c003.wav", small.noise(99), small.RATE)
    with pytest.raises(SerbenchError, match=r"c003\.wav has changed"):
        feature_table(corpus, root, FEATURE, tmp_path / "cache")
    (root / "c003.wav").unlink()
    with pytest.raises(SerbenchError, match=r"c003\.wav was readable and is not now"):
        feature_table(corpus, root, FEATURE, tmp_path / "cache")


@pytest.mark.slow
def test_ravdess_with_a_clip_cut_in_half(tmp_path: Path, ravdess_root: Path) -> None:
    name = "Actor_05/03-01-03-01-01-01-05.flac"
    for source in ravdess_root.glob("Actor_*/*.flac"):
        link = tmp_path / "in" / source.relative_to(ravdess_root)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(source)
    content = (ravdess_root / name).read_bytes()
    (tmp_path / "in" / name).unlink()
    (tmp_path / "in" / name).write_bytes(content[: len(content) // 2])
    corpus, _ = prepare("ravdess", tmp_path / "in", tmp_path)
    assert len(corpus.utterances) == 1_439
    assert [(file.path, file.reason) for file in corpus.quarantined] == [(name, "truncated")]
    assert not corpus.complete
    assert not corpus.modified
    with pytest.raises(SerbenchError, match=r"1 of 1440 files .*truncated"):
        prepare("ravdess", tmp_path / "in", tmp_path, strict=True)


def test_the_share_of_bad_files_is_an_option(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    csv = small.write(tmp_path / "in")
    (tmp_path / "in" / "c002.wav").write_bytes(b"")
    command = ["prepare", "manifest", "--root", str(csv), "--cache", str(tmp_path / "cache"), "--json"]
    assert cli.main(command) == 1
    said = capsys.readouterr().err
    assert "allowed are 1%" in said and said.endswith("or go on without them with --max-bad 0.167\n")
    assert cli.main([*command, "--max-bad", "0.167"]) == 0 and capsys.readouterr().out
    assert cli.main([*command, "--max-bad", "0.2"]) == 0
    assert json.loads(capsys.readouterr().out)["clips"] == 5
    for wrong in ("2", "-0.1", "nan"):
        assert cli.main([*command, f"--max-bad={wrong}"]) == 2
        assert f"a share is a number from 0 to 1, but got '{wrong}'" in capsys.readouterr().err
    assert cli.main([*command, "--max-bad=half"]) == 2
    assert "argument --max-bad: invalid share value: 'half'" in capsys.readouterr().err
    assert cli.build_parser().parse_args(["run", "--max-bad", "0.2"]).max_bad == 0.2
