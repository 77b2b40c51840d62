"""What a file came of is followed: a forged configuration, step or curve is named though all was resealed."""

from pathlib import Path

import pytest
from helpers import SPACE, change, make_bundle, rebuilt

from benchmark import files
from benchmark.report import leaderboard, lineage

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "name", ["ravdess-luna-jimenez-5fold", "ravdess-random-80-20", "ravdess-emobox-6fold"]
)
def test_committed_bundles_follow_their_searches(name):
    assert lineage.problems(ROOT / "results" / name) == []


@pytest.mark.parametrize(
    ("file", "old", "new", "named"),
    [
        ("runs/svm/fold-1/seed-1/result.json", '"C": 1.0', '"C": 123.0', "params: C: stored 123.0"),
        ("runs/svm/fold-1/seed-1/result.json", '"C": 1.0', '"C": 1.0, "D": 2', "params: D: stored 2, recomp"),
        ("runs/svm-published/fold-2/seed-1/result.json", '"C": 1.0', '"C": 2.0', "params: C: stored 2.0"),
        ("runs/majority/fold-1/seed-1/result.json", '"params": {}', '"params": {"C": 1}', "params: "),
        ("searches/svm/fold-1/steps.csv", "t1,2,0.5", "t1,2,0.4", "trial 1: score: stored 0.4"),
        ("searches/svm/fold-1/steps.csv", "t4,2,0.5,,\n", "", "trial 4 must have 2 steps, but has 1"),
        ("searches/svm/fold-1/steps.csv", "t4,2", "t9,2", "trial t9 is not in trials.csv"),
        ("searches/svm/fold-1/trials.csv", "t1,1,COMPLETE,,0.5,2,9.0,1.0", "t1,1,COMPLETE,,0.5,2,9.0,3.0",
         "trials.csv: trial 1: param.C: stored 3.0, recomputed 1.0"),
        ("runs/mlp/fold-1/seed-1/history.csv", "1,0.5,\n", "1,0.5,\n2,0.5,\n3,0.4,\n", "2 steps of"),
        ("runs/mlp/fold-1/seed-1/history.csv", "1,0.5,\n", "", "2 steps of its configuration, but has 0"),
    ],
)  # fmt: skip
def test_a_forged_number_is_named_where_it_stands(made, file, old, new, named):
    path = made / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    rebuilt(made)
    (problem, *_) = lineage.problems(made)
    assert problem.startswith(file) and named in problem
    assert problem in leaderboard.verify(made)


def test_a_space_that_is_not_the_study_s_is_named(tmp_path):
    made = make_bundle(tmp_path, spaces={"svm": SPACE}, seal=False)
    change(made / "searches/svm/fold-1/space.yaml", "high: 9", "high: 8")
    problems = lineage.problems(made)
    assert (
        problems[0] == "searches/svm/fold-1/space.yaml: must be the space of svm in study.yaml, but differs"
    )


def test_rubbish_is_a_problem_not_a_traceback(made):
    files.write_text(made / "searches/svm/fold-1/best.json", "[1]")
    assert "searches/svm/fold-1 cannot be recomputed" in lineage.problems(made)[0]
