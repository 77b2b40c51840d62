"""Several searches of one system: the spread between them, and nowhere a best one."""

from statistics import stdev

import pytest
from helpers import make_bundle

from benchmark import bundle, spec
from benchmark.files import parse
from benchmark.report import leaderboard, repeats
from benchmark.schema import UsageError, of_system


def test_a_search_has_a_number_and_the_first_may_lack_it():
    assert of_system("svm") == ("svm", "", 1)
    assert of_system("svm.3") == ("svm", "", 3)
    assert of_system("cnn@audioset.12") == ("cnn", "audioset", 12)
    assert of_system("random_forest@none") == ("random_forest", "none", 1)


def test_searches_of_one_system_share_its_space():
    texts = spec.read_spaces(("svm.1", "svm.2", "svm@audioset.2", "cnn.2", "cnn@none.3"), None)
    assert list(texts) == ["svm.1", "svm.2", "svm@audioset.2", "cnn@audioset.2", "cnn@none.3"]
    assert texts["svm.1"] == texts["svm.2"] == spec.read_spaces(("svm",), None)["svm"]
    assert texts["svm@audioset.2"] == spec.read_spaces(("svm@audioset",), None)["svm@audioset"]
    made = spec.make_spec({"corpus": "ravdess", "systems": ["svm.1", "svm.2", "cnn@none.2"]})
    assert made.space("svm.2").family == "svm"
    assert made.space("cnn@none.2").pretraining == "none"
    with pytest.raises(UsageError, match="unknown family 'swm'"):
        spec.read_spaces(("swm.2",), None)


def test_the_spread_is_that_of_the_rows_of_the_leaderboard(tmp_path):
    folder = make_bundle(
        tmp_path, systems={"svm.1": 2.0, "svm.2": 1.0, "mlp.1": 0.5, "mlp.2": 0.5, "lstm": 1.0}
    )
    uar = {row["system"]: row["uar"] for row in leaderboard.read(folder)}
    found = {row["system"]: row for row in parse("repeats.csv", (folder / "repeats.csv").read_text())}
    assert set(found) == {"svm", "mlp"}
    assert float(found["svm"]["uar"]) == pytest.approx((uar["svm.1"] + uar["svm.2"]) / 2)
    assert float(found["svm"]["uar_search_sd"]) == pytest.approx(stdev([uar["svm.1"], uar["svm.2"]]))
    assert "Several searches" in (folder / "repeats.md").read_text()
    assert leaderboard.verify(folder) == []
    cell = (folder / "repeats.csv").read_text().replace("svm,2,0.", "svm,2,0.1")
    (folder / "repeats.csv").write_text(cell)
    assert any("repeats.csv" in problem for problem in leaderboard.verify(folder))


def test_a_bundle_of_single_searches_has_no_such_table(tmp_path):
    folder = make_bundle(tmp_path)
    assert repeats.files(bundle.tables(folder).leaderboard, "", "made") == {}
    assert not (folder / "repeats.csv").exists()
