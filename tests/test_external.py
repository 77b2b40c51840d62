"""Predictions from elsewhere: what joins the table, what is refused with a line, and nothing in between."""

import json

import numpy as np
import pytest
from helpers import change as change_file
from helpers import reseal

from benchmark import bundle, cli, files
from benchmark.report import leaderboard

CLASSES = ("angry", "calm", "sad")


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    """They are drawn in report/test_external_page.py."""
    monkeypatch.setattr(leaderboard, "_pictures", lambda known, texts, note: {})


def predictions(folder, seeds=(1,), lean=1.5):
    """Rows of a colleague's file: every clip once a seed, probabilities of six digits."""
    draw = np.random.default_rng(3)
    rows = []
    for seed in seeds:
        for clip in files.read_csv(folder / "manifest.csv"):
            logits = draw.normal(size=3)
            logits[CLASSES.index(clip["label"])] += lean
            p = np.exp(logits) / np.exp(logits).sum()
            shares = {f"p_{name}": f"{value:.6f}" for name, value in zip(CLASSES, p, strict=True)}
            rows.append({"utterance_id": clip["id"], "seed": str(seed), **shares, "path": clip["path"]})
    return rows


def labels(rows):
    """The same, with the most probable label alone."""
    best = ((row, max(CLASSES, key=lambda name: float(row[f"p_{name}"]))) for row in rows)
    return [{"utterance_id": row["utterance_id"], "predicted": label} for row, label in best]


def write(path, rows, *columns, separator=",", encoding="utf-8"):
    columns = columns or tuple(rows[0])
    lines = [separator.join(columns), *(separator.join(row[c] for c in columns) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding=encoding)
    return path


P = ("p_angry", "p_calm", "p_sad")


def join(made, table, *options, family="theirs"):
    return cli.main(["import", str(table), "--bundle", str(made), "--family", family, *options])


def content(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_probabilities_join_the_table_tested_but_not_ranked(made, tmp_path, capsys):
    before = {row["system"]: row for row in leaderboard.read(made)}
    table = write(tmp_path / "theirs.csv", predictions(made, seeds=(7, 42)), "utterance_id", "seed", *P)
    assert join(made, table, "--source", "Doe 2026", "--caveat", "trained on more", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["system"], said["seeds"], said["clips"], said["unused"]) == ("theirs", 2, 90, [])
    assert leaderboard.verify(made) == []
    rows = leaderboard.read(made)
    own = rows[-1]
    assert (own["system"], own["family"], own["pretraining"]) == ("theirs", "theirs", "external")
    assert own["rank"] is own["tie_group"] is own["trials"] is own["cpu_hours"] is own["parameters"] is None
    assert own["n_seeds"] == 2 and own["uar_lo"] < own["uar"] < own["uar_hi"] and own["auc"] > 0.7
    for row in rows[:-1]:  # the tests of the others are adjusted for more pairs, all else is as it was
        assert {**row, "tie_group": ""} == {**before[row["system"]], "tie_group": ""}
    pairs = {(row["system_a"], row["system_b"]) for row in files.read_csv(made / "pairwise.csv")}
    assert pairs == {("svm", "mlp"), ("svm", "theirs"), ("mlp", "theirs")}
    for name in ("leaderboard.md", "leaderboard.tex", "README.md"):
        text = (made / name).read_text()
        assert "theirs (external)" in text and "theirs from Doe 2026, 2 seeds, trained on more" in text, name
    stored = files.read_json(made / "leaderboard.json")["external"]["theirs"]
    assert stored == {
        "source": "Doe 2026", "caveat": "trained on more", "seeds": 2, "sha256": files.sha256(table),
    }  # fmt: skip
    result = files.read_json(bundle.run_folder(made, "theirs", 2, 2) / "result.json")
    assert result["external"] == stored and result["given_seed"] == "42"
    assert sorted(p.name for p in made.parent.iterdir()) == ["made", "theirs.csv"]


def test_columns_of_another_case_are_the_same_columns(made, tmp_path, capsys):
    rows = predictions(made)
    table = write(tmp_path / "theirs.csv", rows, "utterance_id", *P)
    head, _, rest = table.read_text().partition("\n")
    table.write_text(f"{head.title()}\n{rest}")
    assert join(made, table, "--json") == 0
    assert json.loads(capsys.readouterr().out)["unused"] == []
    assert leaderboard.read(made)[-1]["auc"] > 0.7


def test_labels_alone_leave_empty_what_needs_probabilities(made, tmp_path):
    rows = predictions(made)
    assert join(made, write(tmp_path / "a.csv", rows, "utterance_id", *P), family="shares") == 0
    assert join(made, write(tmp_path / "b.csv", labels(rows)), family="labels") == 0
    assert leaderboard.verify(made) == []
    table = {row["system"]: row for row in leaderboard.read(made)}
    for name in ("average_precision", "auc", "d_prime", "ece", "brier"):
        assert table["labels"][name] is None and table["shares"][name] is not None
    for name in ("uar", "uar_lo", "accuracy", "macro_f1", "weighted_precision"):
        assert table["labels"][name] == table["shares"][name]
    assert (made / "per_class/labels.csv").read_text() == (made / "per_class/shares.csv").read_text()
    assert join(made, write(tmp_path / "b.csv", labels(rows)), family="labels") == 2


@pytest.mark.parametrize("column", ["path", "file", "ID", "Clip"])
def test_a_clip_is_found_by_its_path_from_anywhere_or_its_stem(made, tmp_path, column):
    ways = ("{}", "C:\\data\\{}", "/home/doe/{}", "{}")
    rows = predictions(made)
    for k, row in enumerate(rows):
        cell = ways[k % 4].format(row["path"])
        row[column] = cell.rpartition(".")[0] if k % 4 == 3 else cell
    assert join(made, write(tmp_path / "t.csv", rows, column, *P)) == 0
    assert leaderboard.verify(made) == []


def test_semicolons_decimal_commas_and_a_bom_are_read_and_told(made, tmp_path, capsys):
    rows = [{**row, **{name: row[name].replace(".", ",") for name in P}} for row in predictions(made)]
    table = write(tmp_path / "t.csv", rows, "utterance_id", *P, "path", separator=";", encoding="utf-8-sig")
    assert join(made, table) == 0
    told = "t.csv: 90 clips, 1 seed, separated by semicolons; columns not used: path"
    assert told in capsys.readouterr().err
    plain = write(tmp_path / "u.csv", predictions(made), "utterance_id", *P)
    assert join(made, plain, family="same") == 0
    runs = {(r.system, r.fold): r for r in bundle.read_runs(made)}
    assert np.array_equal(runs["theirs", 1].probabilities, runs["same", 1].probabilities)


def change(rows, **cells):
    rows[4] |= cells


WRONG = {
    "a missing clip": (lambda r: r.pop(4), "must stand once a seed, but 1 missing: s01-calm-1"),
    "a doubled clip": (lambda r: r.append(r[4]), "but 1 doubled: s01-calm-1"),
    "an unknown clip": (
        lambda r: change(r, utterance_id="nobody"),
        "but 1 missing: s01-calm-1; 1 unknown: 'nobody' in line 6",
    ),
    "many": (lambda r: r.clear() or r.append({}), "at least one row"),
    "an unknown label": (lambda r: change(r, label="clam"), "s01-calm-1 has the label 'calm' in the bundle"),
    "an unknown prediction": (
        lambda r: change(r, predicted="clam"),
        "line 6: unknown label 'clam': did you mean 'calm'? known: angry, calm, sad",
    ),
    "a sum": (lambda r: change(r, p_sad="0.9", p_calm="0.9"), "line 6: probabilities must lie in 0 to 1 and"),
    "a sign": (lambda r: change(r, p_sad="-0.5", p_calm="1.5", p_angry="0"), "line 6: probabilities must"),
    "no number": (lambda r: change(r, p_sad="n/a"), "line 6: p_sad must be a number, but is 'n/a'"),
    "nan": (lambda r: change(r, p_sad="nan"), "line 6: probabilities must lie in 0 to 1"),
    "another maximum": (
        lambda r: change(r, predicted="sad", p_sad="0.1", p_calm="0.8", p_angry="0.1"),
        "predicted must be the class with the largest probability in six digits, the first of equals, but is "
        "'sad' (1 such lines)",
    ),
    "=cmd": (
        lambda r: change(r, utterance_id="=cmd|' /C calc'!A0"),
        "1 unknown: \"=cmd|' /C calc'!A0\" in line 6",
    ),
    "another split": (
        lambda r: change(r, fold="9"),
        "s02-calm-1 is tested in fold 2 of the bundle's protocol, but fold '9' holds clips of fold 1",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_is_one_clear_line_and_nothing_is_written(made, tmp_path, capsys, case):
    edit, said = WRONG[case]
    folds = {id_: str(f["fold"]) for f in files.read_json(made / "splits.json")["folds"] for id_ in f["test"]}
    rows = predictions(made)
    for row, label in zip(rows, labels(rows), strict=True):
        truth = row["utterance_id"].split("-")[1]
        row |= {"predicted": label["predicted"], "label": truth, "fold": folds[row["utterance_id"]]}
    if case == "another split":
        rows[13]["fold"] = "9"  # of another speaker's fold
    edit(rows)
    before = content(made)
    columns = ("utterance_id", "label", "fold", "predicted", *P)
    rows = [row for row in rows if row]
    table = write(tmp_path / "t.csv", rows, *columns)
    assert join(made, table) == 1
    error = capsys.readouterr().err.strip()
    assert error.startswith("serbench: t.csv: ") and said in error and "\n" not in error
    assert content(made) == before
    assert sorted(p.name for p in made.parent.iterdir()) == ["made", "t.csv"]


def test_columns_are_named_where_they_lack_or_are_unknown(made, tmp_path, capsys):
    rows = predictions(made)
    for columns, said in (
        (("seed", *P), "column 'utterance_id' is needed"),
        (("utterance_id", "seed"), "column 'predicted' is needed"),
        (("utterance_id", "p_angry", "p_sad"), "column 'p_calm' is needed"),
        (("utterance_id", *P, "p_bored"), "unknown column 'p_bored'"),
    ):
        table = write(tmp_path / "t.csv", [{**row, "p_bored": "0"} for row in rows], *columns)
        assert join(made, table) == 1
        assert said in capsys.readouterr().err


def test_of_many_the_first_are_named_and_all_counted(made, tmp_path, capsys):
    rows = predictions(made, seeds=(1, 2))
    assert join(made, write(tmp_path / "t.csv", rows[5:-5], "utterance_id", "seed", *P)) == 1
    error = capsys.readouterr().err
    assert "10 missing: s01-angry-0 (seed 1), s01-angry-1 (seed 1), s01-angry-2 (seed 1), …" in error


@pytest.mark.parametrize("name", ["=cmd", "a b", "../x", "svm-published", "svm", "SVM", "majority", ""])
def test_a_name_that_cannot_be_is_refused(made, tmp_path, name, capsys):
    table = write(tmp_path / "t.csv", predictions(made), "utterance_id", *P)
    before = content(made)
    assert cli.main(["import", str(table), "--bundle", str(made), f"--family={name}"]) == 2
    assert capsys.readouterr().err.startswith("serbench: --family must")
    assert content(made) == before


def test_source_and_caveat_are_escaped_and_one_line(made, tmp_path):
    table = write(tmp_path / "=cmd.csv", predictions(made), "utterance_id", *P)
    assert join(made, table, "--caveat", "two\nlines") == 2
    assert join(made, table, "--caveat", r"<script>50 % \x_y & | [a](b)") == 0
    markdown, tex = ((made / name).read_text() for name in ("leaderboard.md", "leaderboard.tex"))
    assert "<script>" not in markdown and r"\[a\](b)" in markdown
    assert r"50 \% \textbackslash{}x\_y \&" in tex
    assert leaderboard.verify(made) == []


def test_a_bundle_that_does_not_verify_or_is_none_is_refused(made, tmp_path, capsys):
    table = write(tmp_path / "t.csv", predictions(made), "utterance_id", *P)
    (made / "extra.txt").write_text("x")
    assert join(made, table) == 1
    assert "does not verify, so nothing was rebuilt: added: extra.txt" in capsys.readouterr().err
    assert join(tmp_path, table) == 2


@pytest.mark.parametrize(
    ("file", "old", "new", "named"),
    [
        ("predictions.csv", ",calm,", ",sad,", "runs/theirs/fold-1/seed-1/"),
        ("result.json", '"source": "t.csv"', '"source": "u.csv"', "result.json: external: source"),
        ("result.json", '"uar": ', '"uar": 1', "runs/theirs/fold-1/seed-1/result.json: uar"),
    ],
)
def test_a_changed_cell_of_an_external_system_is_named(made, tmp_path, file, old, new, named):
    join(made, write(tmp_path / "t.csv", labels(predictions(made))))
    path = bundle.run_folder(made, "theirs", 1, 1) / file
    path.write_text(path.read_text().replace(old, new, 1))
    problems = leaderboard.verify(made)
    assert problems[0] == f"wrong checksum: runs/theirs/fold-1/seed-1/{file}"
    assert any(named in problem for problem in problems[1:])


def test_only_an_external_system_may_go_without_probabilities(made):
    path = bundle.run_folder(made, "svm", 1, 1) / "predictions.csv"
    rows = [{**row, **dict.fromkeys(P, "")} for row in files.read_csv(path)]
    files.write_csv(path, list(rows[0]), rows)
    assert any("probabilities must lie in 0 to 1" in problem for problem in leaderboard.verify(made))


def test_a_change_that_breaks_off_leaves_the_bundle_as_it_was(made):
    before = content(made)
    with pytest.raises(KeyboardInterrupt), bundle.aside(made) as copy:
        files.write_text(copy / "study.yaml", "half")
        raise KeyboardInterrupt
    assert content(made) == before and [p.name for p in made.parent.iterdir()] == ["made"]


def test_a_name_that_would_read_as_a_search_of_the_study_is_refused(made, tmp_path, capsys):
    table = write(tmp_path / "t.csv", labels(predictions(made)))
    for family, said in (
        ("svm.4", "which would read as a search of this study's svm"),
        ("x" * 81, "at most 80"),
    ):
        assert join(made, table, family=family) == 2
        assert said in capsys.readouterr().err
    assert join(made, table, family="wav2vec2.0") == 0


def test_of_equal_probabilities_the_first_is_what_a_bundle_calls_predicted(made, tmp_path, capsys):
    rows = predictions(made)
    for row, label in zip(rows, labels(rows), strict=True):
        row |= {"predicted": label["predicted"]}
    rows[4] |= {"p_angry": "0.3", "p_calm": "0.3500001", "p_sad": "0.3499999", "predicted": "sad"}
    rows[4] |= {"p_calm": "0.35", "p_sad": "0.35"}
    assert join(made, write(tmp_path / "t.csv", rows, "utterance_id", "predicted", *P)) == 1
    assert "line 6: predicted must be" in capsys.readouterr().err
    rows[4] |= {"predicted": "calm"}
    assert join(made, write(tmp_path / "t.csv", rows, "utterance_id", "predicted", *P)) == 0


def test_what_excel_puts_first_is_passed_over(made, tmp_path):
    for number, first in enumerate(("sep=;\n", "\n\n", "\r\n \n")):
        table = write(tmp_path / "t.csv", labels(predictions(made)), separator=";")
        table.write_text(first + table.read_text())
        assert join(made, table, family=f"theirs-{number}") == 0


def test_cures_fit_what_is_wrong(made, tmp_path, capsys):
    rows = predictions(made)
    percent = [{**row, **{p: str(100 * float(row[p])) for p in P}} for row in rows]
    logits = [{**row, **dict.fromkeys(P, "-3")} for row in rows]
    for wrong, said in ((percent, "divide them by 100"), (logits, "these are no probabilities")):
        assert join(made, write(tmp_path / "t.csv", wrong, "utterance_id", *P)) == 1
        assert said in capsys.readouterr().err
    commas = [{**row, **{p: row[p].replace(".", ",") for p in P}} for row in rows]
    assert join(made, write(tmp_path / "t.csv", commas, "utterance_id", *P)) == 1
    assert "where decimals have a comma, separate by semicolons" in capsys.readouterr().err
    rows[3]["seed"] = ""
    assert join(made, write(tmp_path / "t.csv", rows, "utterance_id", "seed", *P)) == 1
    assert "seed must be given in every line or in none" in capsys.readouterr().err


def test_a_bundle_with_a_forged_study_or_audit_is_not_rebuilt(made, tmp_path, capsys):
    table = write(tmp_path / "t.csv", labels(predictions(made)))
    change_file(made / "audit.json", '"status": "note"', '"status": "green"')
    reseal(made)
    assert join(made, table) == 1
    assert "does not verify, so nothing was rebuilt: audit.json: " in capsys.readouterr().err
