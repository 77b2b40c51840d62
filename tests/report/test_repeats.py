"""Several searches of one system: the spread between them, and nowhere a best one."""

from dataclasses import replace
from statistics import stdev

import pytest
from helpers import make_bundle

from benchmark import bundle, scores, spec
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


def test_no_search_is_ranked_above_another_of_its_system(tmp_path):
    folder = make_bundle(
        tmp_path, systems={"svm.1": 0.4, "svm.2": 2.0, "mlp.1": 0.9, "mlp.2": 0.9, "lstm": 1.0}
    )
    rows = leaderboard.read(folder)
    uar = {row["system"]: row["uar"] for row in rows}
    means = {name: (uar[f"{name}.1"] + uar[f"{name}.2"]) / 2 for name in ("svm", "mlp")} | {
        "lstm": uar["lstm"]
    }
    ranks = {row["system"]: row["rank"] for row in rows}
    assert ranks["svm.1"] == ranks["svm.2"] and ranks["mlp.1"] == ranks["mlp.2"]
    best = sorted(means, key=lambda name: -means[name])
    assert list(dict.fromkeys(row["system"].partition(".")[0] for row in rows))[:3] == best
    assert sorted({ranks.get(name, ranks.get(f"{name}.1")) for name in best})[0] == 1
    pairs = {(pair["system_a"], pair["system_b"]) for pair in bundle.tables(folder).pairwise}
    assert len(pairs) == 8 and not any(a.partition(".")[0] == b.partition(".")[0] for a, b in pairs)


def test_the_card_shows_the_spread_first_and_asks_of_systems(tmp_path):
    card = (make_bundle(tmp_path, systems={"svm.1": 2.0, "svm.2": 1.0, "mlp": 0.5}) / "README.md").read_text()
    assert card.index("No search is the best one") < card.index("## Asked")
    assert "Which of `svm`, `mlp` recognises" in card and "with another seed" not in card
    assert "`svm`" not in card.partition("Not run, of what")[2].partition("\n")[0]
    assert "that of searches stands in `repeats.md`" in card


def test_a_system_from_elsewhere_is_no_search(tmp_path):
    tables = bundle.tables(make_bundle(tmp_path, systems={"svm.1": 2.0, "svm.2": 1.0}))
    rows = [row | {"trials": None, "pretraining": "external"} for row in tables.leaderboard]
    elsewhere = [row | {"system": row["system"].replace("svm", "wav2vec2")} for row in rows]
    (found,) = repeats.rows([*tables.leaderboard, *elsewhere, rows[0] | {"system": "svm.3"}])
    assert (found["system"], found["searches"]) == ("svm", 2)


def test_whoever_joins_under_the_name_of_a_system_moves_no_rank_and_takes_no_pair(tmp_path):
    runs = bundle.read_runs(make_bundle(tmp_path, systems={"svm.1": 2.0, "svm.2": 1.9, "mlp": 1.0}))
    costs = bundle.read_costs(tmp_path / "made")
    theirs = [replace(run, system="svm") for run in runs if run.system == "majority"]
    classes = ("angry", "calm", "sad")
    tables = scores.tables(
        [*runs, *theirs], classes, costs, protocol="p", bootstrap_seed=0, external={"svm"}, resamples=100
    )
    rank = {row["system"]: row["rank"] for row in tables.leaderboard}
    assert (rank["svm.1"], rank["svm.2"], rank["mlp"], rank["svm"]) == (1, 1, 3, None)
    assert {"svm", "svm.1"} in [{pair["system_a"], pair["system_b"]} for pair in tables.pairwise]
