"""What differs between two bundles, from what was asked to the numbers; equal ones are said to be equal."""

import json
import re
import shutil
from dataclasses import replace

import pytest
from helpers import SPACE, change, make_bundle, make_corpus, make_random_split, reseal

from benchmark import bundle, files
from benchmark.cli import main
from benchmark.report import diff


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("bundles")
    make_bundle(root, name="one")
    return root


def test_equal_bundles_are_said_to_be_equal(root, tmp_path, capsys):
    shutil.copytree(root / "one", tmp_path / "copy")
    assert main(["diff", str(root / "one"), str(tmp_path / "copy")]) == 0
    assert "are equal: same study, environment, corpus, split and numbers" in capsys.readouterr().out
    assert main(["diff", str(root / "one"), str(tmp_path / "copy"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["equal"] and not any(
        found[key] for key in ("study", "environment", "corpus", "split", "cells")
    )
    assert all(row["effect"] == 0 and row["p"] == 1 for row in found["paired"])


def test_fields_cells_and_systems_that_differ_are_listed(root, tmp_path, capsys):
    folder = make_bundle(tmp_path, name="two", systems={"svm": 2.5, "lstm": 0.5}, trials=8, seal=False)
    there = {"schema_version": 1, "python": "3.12", "packages": {"numpy": "2"}, "hardware": {"cores": 4}}
    files.write_json(folder / "environment.json", there)
    bundle.seal(folder)
    found = diff.diff(root / "one", folder)
    fields = {row["field"]: (row["a"], row["b"]) for row in found["study"]}
    assert fields["trials"] == (4, 8) and fields["name"] == ("one", "two") and "seeds" not in fields
    fields = {row["field"]: (row["a"], row["b"]) for row in found["environment"]}
    assert fields == {
        "python": ("3.11", "3.12"),
        "packages: numpy": ("2.4", "2"),
        "hardware: cores": (None, 4),
        "code_digest": ("0" * 64, None),
        "commit": ("unknown", None),
    }
    assert found["corpus"] == found["split"] == [] and not any(found["clips"].values())
    assert found["systems"] == {
        "only_a": ["mlp", "mlp-published"], "only_b": ["lstm", "lstm-published"],
    }  # fmt: skip
    cells = {(row["system"], row["field"]) for row in found["cells"]}
    assert ("svm", "uar") in cells and not any(system == "majority" for system, _ in cells)
    (svm,) = (row for row in found["paired"] if row["system"] == "svm")
    assert svm["effect"] == pytest.approx(svm["b"] - svm["a"]) and svm["effect"] > 0
    assert svm["lo"] <= svm["effect"] <= svm["hi"] and svm["p"] <= svm["p_holm"] <= 1
    assert main(["diff", str(root / "one"), str(folder)]) == 0
    text = capsys.readouterr().out
    assert re.search(r"^trials +4 +8$", text, flags=re.MULTILINE)
    for words in ("3.12", "Corpus: the same", "2 systems only in a: mlp, mlp-published"):
        assert words in text
    assert "other cells, listed by --json" in text and "Paired tests, the same clips in both" in text


def test_an_edited_search_space_is_named_by_its_parameter(tmp_path):
    for name, high in (("a", 9), ("b", 99)):
        make_bundle(tmp_path, name=name, spaces={"svm": SPACE.replace("high: 9", f"high: {high}")})
    found = diff.diff(tmp_path / "a", tmp_path / "b")
    assert {"field": "spaces: svm: search: C: high", "a": 9, "b": 99} in found["study"]


def test_other_splits_of_the_same_clips_are_paired_others_are_not(root, tmp_path):
    corpus = make_corpus()
    make_bundle(tmp_path, name="random", corpus=corpus, split=make_random_split(corpus, 3))
    found = diff.diff(root / "one", tmp_path / "random")
    fields = {row["field"]: (row["a"], row["b"]) for row in found["split"]}
    assert fields["diagnostic"] == (False, True) and fields["fold 3"][0] is None
    assert fields["fold 1"][1].startswith("60 train, 30 test: 10 speakers s01, s02")
    assert len(found["paired"]) == 5 and found["without"] == ""
    make_bundle(tmp_path, name="fewer", corpus=make_corpus(9))
    found = diff.diff(root / "one", tmp_path / "fewer")
    assert len(found["clips"]["only_a"]) == 9 and found["without"] == "the test clips differ"
    assert "9 clips only in a: s10-angry-0, s10-angry-1, s10-angry-2, …" in diff.text(found)
    make_bundle(tmp_path, name="labels", corpus=make_corpus(classes=("angry", "calm")))
    found = diff.diff(root / "one", tmp_path / "labels")
    assert found["paired"] == [] and found["without"] == "the label sets differ"
    assert "Paired tests: none, as the label sets differ" in diff.text(found)


def test_a_clip_with_other_content_is_found(root, tmp_path):
    corpus = make_corpus()
    first, *others = corpus.utterances
    changed = replace(corpus, utterances=(replace(first, digest="other audio"), *others))
    make_bundle(tmp_path, name="changed", corpus=changed)
    found = diff.diff(root / "one", tmp_path / "changed")
    assert found["clips"] == {"only_a": [], "only_b": [], "changed": [first.id]}
    assert "digest" in {row["field"] for row in found["corpus"]} and not found["equal"]


def test_numbers_are_those_of_the_predictions_whatever_a_resealed_table_says(root, tmp_path):
    shutil.copytree(root / "one", tmp_path / "forged")
    board = files.read_json(tmp_path / "forged/leaderboard.json")
    board["rows"][0]["uar"] += 0.1
    files.write_json(tmp_path / "forged/leaderboard.json", board)
    reseal(tmp_path / "forged")
    assert diff.diff(root / "one", tmp_path / "forged")["cells"] == []


def test_a_bundle_that_does_not_verify_is_refused(root, tmp_path, capsys):
    shutil.copytree(root / "one", tmp_path / "edited")
    (tmp_path / "edited/leaderboard.csv").write_text("rank\n1\n")
    assert main(["diff", str(root / "one"), str(tmp_path / "edited")]) == 1
    assert (
        "does not verify, so nothing was compared: wrong checksum: leaderboard.csv" in capsys.readouterr().err
    )
    change(tmp_path / "edited/runs/mlp/fold-1/seed-1/predictions.csv", "0.", "0.0")
    reseal(tmp_path / "edited")
    assert main(["diff", str(root / "one"), str(tmp_path / "edited")]) == 1
    assert "nothing was compared: runs/mlp/fold-1/seed-1/predictions.csv: " in capsys.readouterr().err
    assert main(["diff", str(root / "one"), str(tmp_path)]) == 2
    assert "must be a bundle" in capsys.readouterr().err
