"""Write, read, seal, verify: what was written comes back, what was changed is named."""

import json
import subprocess
import sys

import numpy as np
import pytest
from helpers import change, make_bundle, make_corpus, make_run, make_split, reseal, seal_again
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark import bundle, card, files, scores
from benchmark.report import leaderboard
from benchmark.schema import SerbenchError


def test_a_fresh_bundle_verifies_and_sha256sum_agrees(made):
    assert bundle.is_sealed(made)
    assert leaderboard.verify(made) == []
    done = subprocess.run(["sha256sum", "--check", "--quiet", "--strict", bundle.SUMS], cwd=made)
    assert done.returncode == 0
    listed = [line.split("  ")[1] for line in (made / bundle.SUMS).read_text().splitlines()]
    found = {p.relative_to(made).as_posix() for p in made.rglob("*") if p.is_file()}
    assert listed == sorted(found - {bundle.SUMS})


def test_a_run_is_read_as_it_was_written_six_digits_and_argmax_of_the_row(tmp_path):
    corpus = make_corpus()
    split = make_split(corpus)
    files.write_json(tmp_path / "corpus.json", {"classes": list(corpus.card.classes)})
    run = make_run(corpus, split.folds[0], "svm", 1, 0.5, np.random.default_rng(0))
    run.probabilities[0] = [0.2, 0.39999996, 0.40000001]  # both become 0.4: the first wins
    result = {"parameters": 1, "seconds": 1.0, "cpus": 1, "gpus": 0, "params": {"C": 1.0}}
    written = bundle.write_run(tmp_path, run, result, [], corpus.card.classes)
    assert written.probabilities[0].tolist() == [0.2, 0.4, 0.4] and written.predicted[0] == 1
    (read,) = bundle.read_runs(tmp_path)
    for field in ("truth", "predicted", "probabilities"):
        assert np.array_equal(getattr(read, field), getattr(written, field))
    assert (read.system, read.fold, read.seed, read.ids, read.speakers) == (
        "svm",
        1,
        1,
        run.ids,
        run.speakers,
    )
    folder = bundle.run_folder(tmp_path, "svm", 1, 1)
    lines = (folder / "predictions.csv").read_text().splitlines()
    assert lines[0] == "utterance_id,speaker,label,predicted,p_angry,p_calm,p_sad"
    assert all(len(cell.lstrip("0.").replace(".", "").split("e")[0]) <= 6 for cell in lines[5].split(",")[4:])
    stored = files.read_json(folder / "result.json")
    assert stored["metrics"] == scores.run_metrics(read) and stored["params"] == {"C": 1.0}
    assert stored["failed"] is False and stored["schema_version"] == 1


def test_costs_add_searches_and_refits(made):
    costs = bundle.read_costs(made)
    # two folds of four trials of 9 s on 2 CPUs, two folds × two seeds of 36 s on one
    assert costs["svm"] == {
        "trials": 8, "failed_trials": 2, "failed_runs": 0, "parameters": 100, "search_seconds": 72.0,
        "cpu_hours": pytest.approx((8 * 9 * 2 + 4 * 36) / 3600), "gpu_hours": 0.0,
    }  # fmt: skip
    assert costs["majority"]["trials"] is None and costs["svm-published"]["search_seconds"] is None


def test_rebuilding_changes_no_byte(made):
    before = {p: p.read_bytes() for p in made.rglob("*") if p.is_file()}
    rows = leaderboard.write(made, pictures=False)
    assert {p: p.read_bytes() for p in made.rglob("*") if p.is_file()} == before
    assert leaderboard.read(made) == json.loads(json.dumps(rows))


@pytest.mark.parametrize(
    ("file", "old", "new", "named"),
    [
        ("leaderboard.csv", "1,a,svm,", "2,a,svm,", "leaderboard.csv: svm: rank: stored 2, recomputed 1"),
        ("leaderboard.json", '"protocol": "speaker-2fold",\n      "rank"', '"protocol": "x",\n      "rank"',
         "leaderboard.json: rows: svm: protocol: stored x"),
        ("leaderboard.json", '"resamples": 10000', '"resamples": 99', "json: interval: resamples: stored 99"),
        ("per_class/svm.csv", "angry,30,", "angry,31,", "per_class/svm.csv: angry: support: stored 31"),
        ("pairwise.csv", "svm,mlp,0.", "svm,mlp,1.", "pairwise.csv: svm - mlp: effect: stored 1."),
        ("splits.json", '"s01-angry-0"', '"s02-angry-0"', "splits.json: fingerprint: stored"),
        ("manifest.csv", "s01,angry", "s02,angry", "corpus.json: digest: stored"),
        ("study.yaml", "protocol: speaker-2fold", "protocol: other", "study.yaml: protocol: stored other"),
        ("runs/svm/fold-1/seed-2/result.json", '"uar": 0.', '"uar": 1.', "result.json: uar: stored 1."),
        ("runs/svm/fold-1/seed-2/result.json", '"parameters": 100', '"parameters": 7', ""),
        ("searches/svm/fold-1/trials.csv", "3,FAILED", "3,COMPLETE", "leaderboard.csv: svm: failed_trials"),
    ],
)  # fmt: skip
def test_an_edited_cell_is_named_by_the_seal_and_even_when_resealed(made, file, old, new, named):
    change(made / file, old, new)
    problems = leaderboard.verify(made)
    assert problems[0] == f"wrong checksum: {file}"
    seal_again(made)
    again = leaderboard.verify(made)
    assert again == problems[1:]
    assert any(named in problem for problem in again) or not named


def test_an_edited_prediction_is_named_with_every_number_that_hung_on_it(made):
    file = "runs/svm/fold-1/seed-1/predictions.csv"
    change(made / file, ",calm,calm,", ",calm,sad,")
    problems = leaderboard.verify(made)
    assert problems[0] == f"wrong checksum: {file}"
    assert any(file in p and "predicted is not the argmax" in p for p in problems)
    for place in (
        "leaderboard.csv: svm: uar:",
        "leaderboard.json: rows: svm: accuracy_lo:",
        "per_class/svm.csv: calm:",
    ):
        assert any(p.startswith(place) for p in problems), place
    assert not any("leaderboard.csv: mlp" in p for p in problems)


def test_swapped_doubled_and_missing_clips_are_named(made):
    one, two = (bundle.run_folder(made, "svm", fold, 1) / "predictions.csv" for fold in (1, 2))
    texts = one.read_bytes(), two.read_bytes()
    one.write_bytes(texts[1]), two.write_bytes(texts[0])
    assert any("must hold each test clip of fold 1 once" in p for p in leaderboard.verify(made))
    lines = texts[0].decode().splitlines(keepends=True)
    one.write_text("".join([*lines, lines[-1]])), two.write_bytes(texts[1])
    assert any("must hold each test clip of fold 1 once" in p for p in leaderboard.verify(made))
    one.write_text("".join(lines[:-1]))
    assert any("must hold each test clip of fold 1 once" in p for p in leaderboard.verify(made))


def test_a_wrong_label_and_impossible_probabilities_are_named(made):
    file = bundle.run_folder(made, "mlp", 1, 1) / "predictions.csv"
    rows = files.read_csv(file)
    rows[0]["label"] = "sad" if rows[0]["label"] != "sad" else "calm"
    rows[1] |= {"p_angry": "1.5"}
    files.write_csv(file, list(rows[0]), rows)
    problems = leaderboard.verify(made)
    assert any(f"{rows[0]['utterance_id']}: speaker and label differ" in p for p in problems)
    assert any(f"{rows[1]['utterance_id']}: probabilities must" in p for p in problems)


def test_a_label_that_is_no_class_is_named_with_its_clip(made):
    file = bundle.run_folder(made, "mlp", 1, 1) / "predictions.csv"
    rows = files.read_csv(file)
    rows[1]["predicted"] = "bored"
    files.write_csv(file, list(rows[0]), rows)
    told = f"{rows[1]['utterance_id']}: predicted is 'bored', no class of corpus.json"
    assert any(told in problem for problem in leaderboard.verify(made))


def test_added_and_missing_files_are_named(made):
    (made / "extra.txt").write_text("x")
    (made / "audit.json").unlink()
    assert leaderboard.verify(made)[:2] == ["missing: audit.json", "added: extra.txt"]


def test_a_run_taken_away_or_in_the_wrong_place_is_named_even_when_resealed(made):
    folder = bundle.run_folder(made, "svm", 1, 1)
    folder.rename(folder.with_name("seed-9"))
    reseal(made)
    problems = leaderboard.verify(made)
    assert "missing: runs/svm/fold-1/seed-1/result.json" in problems
    assert "added: runs/svm/fold-1/seed-9/result.json" in problems
    assert any(p.startswith("runs/svm/fold-1/seed-9: is not the run") for p in problems)


@pytest.mark.parametrize(
    "file", ["leaderboard.json", "runs/svm/fold-1/seed-1/predictions.csv", "splits.json"]
)
@pytest.mark.parametrize("content", ["", "[1]", "a,b\n1\n", "\x00"])
def test_rubbish_is_a_problem_not_a_traceback(made, file, content):
    (made / file).write_text(content)
    problems = leaderboard.verify(made)
    assert problems[0] == f"wrong checksum: {file}" and len(problems) > 1


def test_a_bundle_with_a_hole_is_not_sealed(tmp_path):
    made = make_bundle(tmp_path, seal=False)
    assert not bundle.is_sealed(made)
    assert "missing: SHA256SUMS (the bundle is not sealed)" in leaderboard.verify(made)
    (bundle.run_folder(made, "mlp", 2, 2) / "history.csv").unlink()
    with pytest.raises(SerbenchError, match=r"lacks 1 files, first runs/mlp/fold-2/seed-2/history\.csv"):
        bundle.seal(made)
    assert not bundle.is_sealed(made)


def test_left_overs_of_a_killed_writer_do_not_enter_the_seal(tmp_path):
    made = make_bundle(tmp_path, seal=False)
    (made / "runs" / ".result.json.77.tmp").write_text("half")
    bundle.seal(made)
    assert ".tmp" not in (made / bundle.SUMS).read_text() and leaderboard.verify(made) == []


def test_the_card_counts_the_openings_of_this_split(made):
    fingerprint = files.read_json(made / "splits.json")["fingerprint"]
    files.write_csv(
        made.parent / "openings.csv", ["fingerprint"], [{"fingerprint": f} for f in (fingerprint, "x")]
    )
    card.write(made)
    assert "were opened 1 times" in (made / "README.md").read_text()


@given(
    st.lists(
        st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\x00")), min_size=2, max_size=2)
    )
)
@settings(deadline=None, max_examples=200)
def test_any_text_survives_csv_and_none_starts_a_formula(tmp_path_factory, cells):
    path = tmp_path_factory.mktemp("csv") / "table.csv"
    rows = [{"a": a, "b": b} for a, b in cells]
    files.write_csv(path, ["a", "b"], rows)
    assert files.read_csv(path) == rows


def test_formulas_are_defused(tmp_path):
    files.write_csv(tmp_path / "t.csv", ["name", "score"], [{"name": "=cmd|' /C calc'!A0", "score": -1.5}])
    assert (tmp_path / "t.csv").read_text().splitlines()[1] == "'=cmd|' /C calc'!A0,-1.5"


def test_a_failed_write_leaves_all_old_files(tmp_path):
    files.write_texts(tmp_path, {"a": "old a", "b": "old b"})
    (tmp_path / "c").write_text("a file, not a folder")
    with pytest.raises(SerbenchError, match="results must be writable"):
        files.write_texts(tmp_path, {"a": "new", "b": "new", "c/d": "new"})
    assert (tmp_path / "a").read_text() == "old a" and (tmp_path / "b").read_text() == "old b"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b", "c"]


def test_report_and_verify_load_no_heavy_library():
    code = (
        "import sys, benchmark.bundle, benchmark.card, benchmark.report.leaderboard; "
        "print([m for m in ('torch', 'ray', 'mlflow', 'optuna', 'sklearn', 'soundfile', 'matplotlib') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


EDITS = (
    ("leaderboard.md", "| 1 | svm", "| 2 | svm", "leaderboard.md: line 5: stored | 2 | svm"),
    ("leaderboard.tex", "1 & svm", "2 & svm", "leaderboard.tex: line 10: stored 2 & svm"),
    ("leaderboard.json", '"caption": "Made', '"caption": "Other', "leaderboard.json: caption: stored Other"),
    ("per_class/svm.md", "| angry |", "| happy |", "per_class/svm.md: line 5: stored | happy |"),
    ("validation.csv", "mlp,0.5,0.25,", "mlp,0.5,0.75,", "validation.csv: mlp: random: stored 0.75, recom"),
    ("validation.md", "| svm | 50.0 |", "| svm | 99.0 |", "validation.md: line 6: stored | svm | 99.0 |"),
    ("searches/svm/fold-2/random.csv", ",0.25,", ",0.65,", "validation.csv: svm: random: stored 0.25, recom"),
)


def test_every_table_is_compared_with_what_the_files_make_of_it(made):
    for file, old, new, _ in EDITS:
        change(made / file, old, new)
    seal_again(made)
    problems = leaderboard.verify(made)
    for *_, named in EDITS:
        assert any(named in problem for problem in problems), named
    assert not any(p.startswith(("leaderboard.csv", "pairwise.csv", "runs")) for p in problems)


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('"number": 1', '"number": 4', "best.json: number: stored 4, recomputed 1"),
        ('"trial_id": "t1"', '"trial_id": "t4"', "best.json: trial_id: stored t4, recomputed t1"),
        ('"score": 0.5', '"score": 0.6', "best.json: score: stored 0.6, recomputed 0.5"),
        ('"C": 1.0', '"C": 2.0', "best.json: param.C: stored 2.0, recomputed 1.0"),
        ('"C": 1.0', '"D": 1.0', "best.json: param.D: stored 1.0, recomputed None"),
    ],
)
def test_a_best_that_is_not_the_selection_from_the_trials_is_named(made, old, new, named):
    change(made / "searches/svm/fold-1/best.json", old, new)
    assert any(p.endswith(named) for p in bundle.verify(made))


def test_the_selection_is_the_best_complete_trial_the_earliest_on_a_tie():
    rows = [
        {"number": str(n), "state": state, "score": score}
        for n, (state, score) in enumerate(
            [
                ("PRUNED", "0.9"),
                ("COMPLETE", "0.4"),
                ("COMPLETE", "0.5"),
                ("COMPLETE", "0.50"),
                ("FAILED", ""),
            ]
        )
    ]
    assert bundle.best_trial(rows)["number"] == "2"
    assert bundle.best_trial(rows[::-1])["number"] == "2"
    assert bundle.best_trial(rows[:1] + rows[4:]) is None


def test_a_better_trial_makes_the_stored_best_wrong(made):
    change(made / "searches/svm/fold-1/trials.csv", "t4,4,COMPLETE,,0.5", "t4,4,COMPLETE,,0.7")
    assert any("best.json: number: stored 1, recomputed 4" in p for p in bundle.verify(made))


@pytest.mark.parametrize("name", ["journal.jsonl", ".lock", ".owner", ".tune/state"])
def test_what_a_driver_at_work_needs_is_not_sealed_nor_missed(made, name):
    (made / name).parent.mkdir(exist_ok=True)
    (made / name).write_text("x")
    seal_again(made)
    assert name not in (made / bundle.SUMS).read_text() and bundle.verify(made) == []
    (made / name).unlink()
    assert bundle.verify(made) == []


def test_costs_refuse_a_space_that_no_search_could_have_had(made):
    change(made / "searches/svm/fold-1/space.yaml", "cpus: 2", "cpus: &a 2")
    with pytest.raises(SerbenchError, match="anchors"):
        bundle.read_costs(made)


def test_the_cards_commands_run_from_the_projects_folder_and_write_nothing_into_the_bundle(made):
    card.write(made)
    text = (made / "README.md").read_text()
    assert "serbench verify results/made " in text and "cd results/made && sha256sum -c SHA256SUMS" in text
    assert "serbench run results/made/study.yaml --root CORPUS --name made-again" in text
    assert "`validation.md`" in text
