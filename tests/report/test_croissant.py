"""croissant.json: valid for mlcroissant, and its records are the manifest's rows."""

import json
import shutil

import pytest
from helpers import make_bundle, make_corpus

from benchmark import files
from benchmark.report import croissant, leaderboard

mlcroissant = pytest.importorskip("mlcroissant")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_bundle(
        tmp_path_factory.mktemp("croissant"), corpus=make_corpus(classes=("angry, hot", "calm"))
    )


def test_it_is_valid_and_its_records_are_the_manifests_rows(folder):
    dataset = mlcroissant.Dataset(folder / "croissant.json")
    assert not dataset.metadata.ctx.issues.errors
    records = [
        {key.removeprefix("clips/"): value for key, value in record.items()}
        for record in dataset.records("clips")
    ]
    rows = files.read_csv(folder / "manifest.csv")
    assert len(records) == len(rows) == 60
    assert [record["label"].decode() for record in records] == [row["label"] for row in rows]
    assert [record["seconds"] for record in records] == [float(row["seconds"]) for row in rows]


def test_it_says_licence_version_and_how_to_cite(folder):
    told = json.loads((folder / "croissant.json").read_text())
    assert (told["license"], told["version"], told["citeAs"]) == ("CC0", "1.0", "Nobody 2024")
    assert "url" not in told  # this corpus has no DOI
    corpus = files.read_json(folder / "corpus.json") | {"doi": "10.1/x"}
    assert json.loads(croissant.text(corpus, "id\na\n"))["url"] == "https://doi.org/10.1/x"


def test_a_broken_description_is_not_valid(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    told = json.loads((copy / "croissant.json").read_text())
    told["recordSet"][0]["field"][0]["source"]["fileObject"]["@id"] = "nowhere.csv"
    (copy / "croissant.json").write_text(json.dumps(told))
    with pytest.raises(mlcroissant.ValidationError):
        mlcroissant.Dataset(copy / "croissant.json")


def test_verify_names_a_description_that_is_not_of_this_corpus(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    path = copy / "croissant.json"
    path.write_text(path.read_text().replace('"CC0"', '"MIT"'))
    assert any(p.startswith("croissant.json: license: stored MIT") for p in leaderboard.verify(copy))
