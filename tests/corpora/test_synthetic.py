"""The embedded corpus: the same bytes everywhere, no easy win, and speakers that leak."""

import shutil
from collections import Counter

import numpy as np
import pytest
from sklearn.metrics import recall_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from benchmark import audio, protocols
from benchmark.corpora import synthetic
from benchmark.prepare import feature_table, prepare
from benchmark.schema import SerbenchError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made") / "synthetic"
    synthetic.generate(folder)
    return folder


def test_counts_columns_and_names(folder):
    clips = synthetic.scan(folder)
    assert len(clips) == synthetic.CARD.official_clips == 480
    assert Counter(clip.label for clip in clips) == dict.fromkeys(synthetic.CARD.classes, 80)
    assert Counter(clip.speaker for clip in clips) == dict.fromkeys(sorted({c.speaker for c in clips}), 48)
    assert {clip.columns["gender"] for clip in clips} == {"male", "female"}
    assert {clip.columns["statement"] for clip in clips} == {"1", "2", "3", "4"}
    assert [clip.id for clip in clips] == sorted(clip.id for clip in clips)


def test_clips_are_sound_and_all_different(folder):
    decoded = [audio.decode(path) for path in sorted(folder.glob("*.wav"))]
    assert all(clip.flags == () and clip.sample_rate == 16_000 and clip.channels == 1 for clip in decoded)
    assert all(0.7 < clip.seconds < 2.2 for clip in decoded)
    assert len({clip.digest for clip in decoded}) == len(decoded)
    assert max(float(np.abs(clip.samples).max()) for clip in decoded) <= 1.0


def test_a_second_making_gives_the_same_bytes(folder, tmp_path):
    synthetic.generate(tmp_path / "again")
    names = sorted(path.name for path in folder.iterdir())
    assert names == sorted(path.name for path in (tmp_path / "again").iterdir())
    assert all((folder / name).read_bytes() == (tmp_path / "again" / name).read_bytes() for name in names)


def test_what_is_there_is_kept_and_a_new_version_is_made(tmp_path):
    corpus, root = prepare("synthetic", None, tmp_path)
    inodes = {path.name: path.stat().st_ino for path in root.iterdir()}
    assert prepare("synthetic", None, tmp_path)[1] == root == tmp_path / "corpora" / "synthetic-1"
    assert {path.name: path.stat().st_ino for path in root.iterdir()} == inodes
    root.rename(root.with_name("synthetic-0"))  # what an older version made
    assert prepare("synthetic", None, tmp_path)[0] == corpus
    assert sorted(path.name for path in root.parent.iterdir()) == ["synthetic-0", "synthetic-1"]


def test_two_may_make_it_at_once(folder, tmp_path, monkeypatch):
    """The other process is done between this one's look and its rename."""
    monkeypatch.setattr(synthetic, "clip", lambda *_: np.zeros(1))
    write = synthetic._write

    def slow(path, samples):
        write(path, samples)
        if not (tmp_path / "made").exists():
            shutil.copytree(folder, tmp_path / "made")

    monkeypatch.setattr(synthetic, "_write", slow)
    synthetic.generate(tmp_path / "made")
    assert [path.name for path in tmp_path.iterdir()] == ["made"]
    assert len(synthetic.scan(tmp_path / "made")) == 480


def test_a_strange_name_is_refused(folder, tmp_path):
    (tmp_path / "01-bored-1-1.wav").touch()
    with pytest.raises(SerbenchError, match=r"01-bored-1-1\.wav: a name must be"):
        synthetic.scan(tmp_path)


@pytest.mark.slow
def test_speakers_leak_and_nothing_is_easy(tmp_path):
    corpus, root = prepare("synthetic", None, tmp_path)
    table = feature_table(corpus, root, "functionals", tmp_path)
    label = {clip.id: clip.label for clip in corpus.utterances}

    def uar(protocol):
        truth, predicted = [], []
        for fold in protocols.split(protocol, corpus).folds:
            # C = 10 fits its speakers as closely as a search would
            model = make_pipeline(StandardScaler(), SVC(C=10))
            model.fit(table.rows(fold.train), [label[id_] for id_ in fold.train])
            predicted += list(model.predict(table.rows(fold.test)))
            truth += [label[id_] for id_ in fold.test]
        return recall_score(truth, predicted, average="macro")

    independent, random = uar("speaker-5fold"), uar("random-80-20")
    assert 0.55 < independent < 0.75  # chance is .167
    assert independent + 0.08 < random < 0.95
