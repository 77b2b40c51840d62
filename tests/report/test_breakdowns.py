"""A group's scores are scikit-learn's and the leaderboard's; intervals stand where speakers allow."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers import make_bundle, make_corpus
from sklearn.metrics import accuracy_score, recall_score

from benchmark import bundle, files, schema
from benchmark.report import breakdowns, leaderboard

RESULTS = Path(__file__).parents[2] / "results"


def columned(corpus):
    """Ten speakers: nine of one room, one of another; calm is never loud; a column that tells clips apart."""
    clips = [
        replace(
            clip,
            columns={
                "room": "b" if clip.speaker == "s10" else "a",
                "loud": "no" if clip.label == "calm" or clip.id.endswith("0") else "yes",
                "take": clip.id,
                "site": "one",
            },
        )
        for clip in corpus.utterances
    ]
    return replace(corpus, utterances=tuple(clips))


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("breakdowns"), corpus=columned(make_corpus()))


@pytest.fixture
def made(original, tmp_path):
    return shutil.copytree(original, tmp_path / "made")


def test_groups_are_those_of_the_manifests_own_columns(original):
    rows = breakdowns.read((original / "breakdowns.csv").read_text())
    assert list(dict.fromkeys(row["column"] for row in rows)) == ["loud", "room", "speaker"]
    groups = {(row["column"], row["group"]): row for row in rows if row["system"] == "svm"}
    assert (groups["room", "a"]["clips"], groups["room", "a"]["speakers"]) == ("81", "9")
    assert (groups["loud", "yes"]["classes"], groups["loud", "no"]["classes"]) == ("2", "3")
    assert len([key for key in groups if key[0] == "speaker"]) == 10


def test_scores_of_a_group_are_scikit_learns(original):
    rows = breakdowns.read((original / "breakdowns.csv").read_text())
    manifest = {row["id"]: row for row in files.read_csv(original / "manifest.csv")}
    for row in rows:
        by_seed = {}
        for path in original.glob(f"runs/{row['system']}/fold-*/seed-*/predictions.csv"):
            for clip in files.read_csv(path):
                if manifest[clip["utterance_id"]][row["column"]] == row["group"]:
                    by_seed.setdefault(path.parent.name, []).append((clip["label"], clip["predicted"]))
        truth, told = zip(*(zip(*pairs, strict=True) for pairs in by_seed.values()), strict=True)
        labels = sorted(set(truth[0]))
        recalls = [
            recall_score(t, p, labels=labels, average="macro") for t, p in zip(truth, told, strict=True)
        ]
        assert row["uar"] == pytest.approx(np.mean(recalls), abs=1e-12)
        assert row["accuracy"] == pytest.approx(np.mean(list(map(accuracy_score, truth, told))), abs=1e-12)


def test_a_group_of_all_clips_has_the_leaderboards_interval(original, monkeypatch):
    monkeypatch.setattr(breakdowns, "groups", lambda manifest: {"all": {row["id"]: "x" for row in manifest}})
    manifest = files.read_csv(original / "manifest.csv")
    (row,) = breakdowns.rows(bundle.read_runs(original), manifest, ["svm"], seed=7)
    (there,) = (r for r in leaderboard.read(original) if r["system"] == "svm")
    for name in breakdowns.COLUMNS[6:]:
        assert row[name] == pytest.approx(there[name], abs=1e-12), name


def test_fewer_than_eight_speakers_have_no_interval(original):
    rows = breakdowns.read((original / "breakdowns.csv").read_text())
    for row in rows:
        assert (row["uar_lo"] is None) == (row["column"] == "speaker" or row["group"] == "b"), row
        assert row["uar_lo"] is None or row["uar_lo"] <= row["uar"] <= row["uar_hi"]
    assert re.search(r"\| a \| 81 \| 9 \| 3 \| \d+\.\d \\\[", (original / "breakdowns.md").read_text())


def test_verify_computes_each_cell_again_and_names_the_wrong_one(made):
    assert leaderboard.verify(made) == []
    rows = breakdowns.read((made / "breakdowns.csv").read_text())
    rows[0]["uar"] += 1e-6
    files.write_csv(made / "breakdowns.csv", breakdowns.COLUMNS, rows)
    problems = leaderboard.verify(made)
    assert problems[0] == "wrong checksum: breakdowns.csv"
    assert problems[1].startswith("breakdowns.csv: loud - no - svm: uar: stored")


def test_columns_do_not_change_a_corpus_digest():
    corpus = make_corpus()
    assert columned(corpus).digest == corpus.digest


@pytest.mark.parametrize("folder", sorted(RESULTS.glob("ravdess-*")), ids=lambda folder: folder.name)
def test_committed_bundles_keep_their_corpus_digest(folder):
    rows = [row for row in files.read_csv(folder / "manifest.csv") if row["status"] == "accepted"]
    clips = sorted([row["id"], row["speaker"], row["label"], row["digest"]] for row in rows)
    digest = "405f3c3de250910900ec9926cfda3cf2b56a2ae404fbbe46d64ef5d1a7902643"
    assert schema.digest(clips) == files.read_json(folder / "corpus.json")["digest"] == digest
    assert {"gender", "intensity", "statement", "repetition"} <= set(rows[0])
