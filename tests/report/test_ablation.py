"""Pretrained less random weights: the pairs, their numbers, and what was not run."""

import re

import numpy as np
from helpers import make_bundle

from benchmark import bundle, scores
from benchmark.cli import build_parser
from benchmark.files import parse, read_csv
from benchmark.report import ablation, leaderboard
from benchmark.spec import SPACES

SYSTEMS = {"cnn@audioset": 0.8, "cnn@none": 0.4}  # each with its published row


def made(tmp_path):
    folder = make_bundle(tmp_path, systems=SYSTEMS, seal=False)
    for path in folder.glob("searches/cnn@*/fold-*/space.yaml"):
        path.write_text((SPACES / "cnn.yaml").read_text())
    return folder


def test_each_family_is_compared_with_itself_searched_and_at_one_recipe(tmp_path):
    folder = made(tmp_path)
    tables = bundle.tables(folder)
    rows = {row["system"]: row for row in tables.ablation}
    assert set(rows) == {"cnn@audioset", "cnn@audioset-published"}
    uar = {row["system"]: row["uar"] for row in tables.leaderboard}
    for name, comparison in (("cnn@audioset", "searched"), ("cnn@audioset-published", "same recipe")):
        row = rows[name]
        assert row["scratch"] == name.replace("audioset", "none")
        assert row["comparison"] == comparison
        assert np.isclose(row["effect"], uar[name] - uar[row["scratch"]])
        assert row["lo"] < row["effect"] < row["hi"]
        assert 0 < row["p"] <= 1


def test_the_searched_row_has_the_numbers_of_the_pairwise_table(tmp_path):
    tables = bundle.tables(made(tmp_path))
    row = next(row for row in tables.ablation if row["comparison"] == "searched")
    pair = next(p for p in tables.pairwise if {p["system_a"], p["system_b"]} == {"cnn@audioset", "cnn@none"})
    assert {key: row[key] for key in ("effect", "lo", "hi")} == {
        key: pair[key] for key in ("effect", "lo", "hi")
    }


def test_what_was_not_run_stands_with_its_command(tmp_path):
    folder = made(tmp_path)
    for path in folder.glob("searches/cnn@*/fold-*/space.yaml"):
        path.write_text((SPACES / "ast.yaml").read_text().replace("family: ast", "family: cnn"))
    files = ablation.files(folder, bundle.tables(folder).ablation, "About.", "made")
    assert set(files) == {"ablation.csv", "ablation.md", "ablation.tex"}
    missing = [row for row in parse("ablation.csv", files["ablation.csv"]) if row["comparison"] == "not run"]
    assert [row["system"] for row in missing] == ["cnn@imagenet"]
    assert missing[0]["effect"] == ""
    command = missing[0]["command"]
    fetch, run = command.split(" && ")
    assert fetch == "serbench fetch deit-base-imagenet"
    given = build_parser().parse_args(run.split()[1:])
    assert (given.corpus, given.families, given.trials) == ("made", "cnn@imagenet,cnn@none", 4)
    assert f"`{command}`" in files["ablation.md"]
    assert "not run" in files["ablation.tex"]


def test_two_networks_of_one_family_are_no_comparison_that_was_not_run(tmp_path):
    folder = make_bundle(tmp_path, systems={"cnn@imagenet": 0.8, "cnn@none": 0.4}, seal=False)
    for system, file in (("cnn@imagenet", "cnn@imagenet.yaml"), ("cnn@none", "cnn.yaml")):
        for path in folder.glob(f"searches/{system}/fold-*/space.yaml"):
            path.write_text((SPACES / file).read_text())
    rows = bundle.tables(folder).ablation
    assert rows == []
    (row,) = parse("ablation.csv", ablation.files(folder, rows, "About.", "made")["ablation.csv"])
    assert (row["system"], row["comparison"]) == ("cnn@audioset", "not run")


def test_of_several_searches_those_of_one_number_are_compared(tmp_path):
    systems = {f"cnn@{pretraining}.{n}": 0.6 for pretraining in ("audioset", "none") for n in (1, 2)}
    folder = make_bundle(tmp_path, systems=systems, seal=False)
    for path in folder.glob("searches/cnn@*/fold-*/space.yaml"):
        path.write_text((SPACES / "cnn.yaml").read_text())
    rows = bundle.tables(folder).ablation
    searched = [(row["system"], row["scratch"]) for row in rows if row["comparison"] == "searched"]
    assert searched == [("cnn@audioset.1", "cnn@none.1"), ("cnn@audioset.2", "cnn@none.2")]
    assert "not run" not in ablation.files(folder, rows, "About.", "made")["ablation.csv"]


def test_the_page_shows_the_comparison_in_points_and_what_was_not_run(tmp_path):
    folder = made(tmp_path)
    for path in folder.glob("searches/cnn@*/fold-*/space.yaml"):
        path.write_text((SPACES / "ast.yaml").read_text().replace("family: ast", "family: cnn"))
    leaderboard.write(folder)
    page = (folder / "report.html").read_text().replace(" class=text", "")
    _, cells = ablation.table(ablation.read((folder / "ablation.csv").read_text()))
    for line in cells:
        assert "<tr>" + "".join(f"<td>{cell}" for cell in line) in page
    assert (
        re.fullmatch(r"[+-]\d+\.\d \[[+-]\d+\.\d, [+-]\d+\.\d\]", cells[0][2]) and cells[-1][2] == "not run"
    )
    assert "<td>serbench fetch deit-base-imagenet &amp;&amp; serbench run" in page


def test_a_bundle_without_pretraining_has_no_such_table(tmp_path):
    folder = make_bundle(tmp_path, systems={"svm": 0.7, "mlp": 0.6})
    assert bundle.tables(folder).ablation == []
    assert not list(folder.glob("ablation.*"))


def test_it_is_written_and_verified_with_the_others(tmp_path):
    folder = made(tmp_path)
    leaderboard.write(folder)
    assert list(read_csv(folder / "ablation.csv")[0]) == [*scores.ABLATION_COLUMNS, "command"]
    (folder / "ablation.csv").write_text((folder / "ablation.csv").read_text().replace("searched", "serched"))
    assert any(problem.startswith("ablation.csv") for problem in leaderboard.verify(folder))
