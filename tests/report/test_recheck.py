"""What stands beside the predictions is made again: a change is named where it was made, the cause first."""

import os
import shutil
from pathlib import Path

import pytest
from helpers import change, make_bundle, seal_again

from benchmark import audit, bundle, cli, files, restore
from benchmark.report import leaderboard, recheck

ROOT = Path(__file__).parents[2]
REAL = ROOT / "results" / "ravdess-luna-jimenez-5fold"


@pytest.fixture
def made(tmp_path):
    return make_bundle(tmp_path)


@pytest.fixture
def real(tmp_path):
    """A committed bundle, its files linked: they are replaced here, never written into."""
    return shutil.copytree(REAL, tmp_path / REAL.name, copy_function=os.link)


def test_a_committed_bundle_is_as_it_says(real):
    assert recheck.problems(real) == []


@pytest.mark.parametrize(
    ("file", "old", "new", "named"),
    [
        ("study.yaml", "\nseed: 0", "\nseed: 1", "study.yaml: digests: study: stored 332d5401056a"),
        ("study.yaml", "\ntrials: 40", "\ntrials: 41", "study.yaml: digests: study: stored 332d5401056a"),
        ("study.yaml", "high: 300,", "high: 400,", "study.yaml: digests: spaces: random_forest: stored 3da5"),
        ("study.yaml", "  corpus: 405f", "  corpus: 505f", "study.yaml: digests: corpus: stored 505f"),
        ("study.yaml", "\nbootstrap_seed: 0", "\nbootstrap_seed: 3",
         "study.yaml: bootstrap_seed: stored 3, but the leaderboard was made with 0"),
        ("audit.json", '"status": "green"', '"status": "note"', "audit.json: checks: parts: status: "),
        ("audit.json", "neutral 96", "neutral 97", "audit.json: checks: classes: "),
        ("environment.json", '"code_digest": "592f', '"code_digest": "x', "environment.json: code_digest"),
        ("environment.json", '"commit": "bb62', '"comit": "bb62', "environment.json: commit: stored None"),
    ],
)  # fmt: skip
def test_a_change_is_named_where_it_was_made(real, file, old, new, named):
    change(real / file, old, new)
    problems = recheck.problems(real)
    assert problems[0].startswith(named)


def test_a_trial_of_another_study_is_named(real):
    path = real / "searches" / "mlp" / "fold-1" / "random.csv"
    rows = files.read_csv(path)
    rows[3]["trial_id"] = "0123456789abcdef"
    files.write_csv(path, list(rows[0]), rows)
    (problem,) = recheck.problems(real)
    assert problem.startswith(
        "searches/mlp/fold-1/random.csv: trial 4: trial_id: stored 0123456789abcdef, re"
    )


def test_an_amber_that_was_taken_out_of_the_audit_is_named(made):
    rows = files.read_csv(made / "manifest.csv")
    for row in rows:  # every clip sounds alike
        row["fingerprint"] = "AA" * 128
    files.write_csv(made / "manifest.csv", list(rows[0]), rows)
    problems = recheck.problems(made)
    assert "audit.json: status: stored note, recomputed amber" in problems
    split = restore.split(files.read_json(made / "splits.json"))
    files.write_json(made / "audit.json", audit.audit(restore.corpus(made), split, ()))
    assert recheck.problems(made) == []
    stored = files.read_json(made / "audit.json")
    kept = [check for check in stored["checks"] if check["name"] != "near_duplicates"]
    files.write_json(made / "audit.json", stored | {"checks": kept, "status": "note"})
    assert any("near_duplicates: status: stored None, recomputed amber" in p for p in recheck.problems(made))


@pytest.mark.parametrize("name", ["study.yaml", "audit.json", "environment.json"])
@pytest.mark.parametrize("content", ["", "[1]", "\x00"])
def test_rubbish_is_a_problem_not_a_traceback(made, name, content):
    (made / name).write_text(content)
    assert any(name in problem for problem in recheck.problems(made))


def test_the_cause_comes_first_and_a_verdict_last(made, capsys):
    assert cli.main(["verify", str(made)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 1 and said[0].startswith(f"{made}: verified: {bundle.sealed_files(made)} files, ")
    assert leaderboard.check(made).cells > 500
    change(made / "study.yaml", "bootstrap_seed: 7", "bootstrap_seed: 8")
    seal_again(made)
    assert cli.main(["verify", str(made)]) == 1
    said = capsys.readouterr().out.splitlines()
    first = "study.yaml: bootstrap_seed: stored 8, but the leaderboard was made with 7"
    assert said[0] == first and said[-1] == f"{made}: {len(said) - 1} problems, first: {first}"
    assert sum("leaderboard.csv" in line for line in said) > 4


def test_swapped_files_are_named(made):
    one, two = (made / "per_class" / f"{name}.csv" for name in ("svm", "mlp"))
    texts = one.read_text(), two.read_text()
    files.write_text(one, texts[1]), files.write_text(two, texts[0])
    problems = leaderboard.verify(made)
    assert problems[:2] == ["wrong checksum: per_class/mlp.csv", "wrong checksum: per_class/svm.csv"]
    seal_again(made)
    assert any(problem.startswith("per_class/svm.csv: angry: ") for problem in leaderboard.verify(made))
