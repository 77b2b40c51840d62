"""A forged bundle whose tables and checksums were made again is told by what its study must have left."""

import shutil

import pytest
import yaml
from helpers import make_bundle, rebuilt, reseal

from benchmark import bundle, external, files
from benchmark.report import leaderboard, recheck, whole


def remove(folder, pattern):
    found = list(folder.glob(pattern))
    assert found
    for path in found:
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def keep_trials(path, kept):
    rows = files.read_csv(path)
    files.write_csv(path, list(rows[0]), [row for row in rows if row["number"] in kept])


@pytest.mark.parametrize(
    ("patterns", "named"),
    [
        (["runs/mlp/*/seed-2"], "missing: runs/mlp/fold-1/seed-2/predictions.csv"),
        (["runs/mlp", "runs/mlp-published", "searches/mlp"], "missing: searches/mlp/fold-1/trials.csv"),
        (["runs/svm-published"], "missing: runs/svm-published/fold-1/seed-1/result.json"),
        (["runs/majority"], "missing: runs/majority/fold-2/seed-2/result.json"),
        (["searches/*/*/random.csv"], "missing: searches/svm/fold-2/random.csv"),
    ],
)
def test_what_was_taken_out_is_named_though_tables_and_seal_were_made_again(made, patterns, named):
    for pattern in patterns:
        remove(made, pattern)
    reseal(made)
    assert named in recheck.sources(made)


@pytest.mark.parametrize("name", ["trials.csv", "random.csv"])
@pytest.mark.parametrize("kept", ["123", "1", "134"])
def test_trials_that_were_taken_out_are_named(made, name, kept):
    keep_trials(made / "searches/svm/fold-1" / name, kept)
    rebuilt(made)
    problems = leaderboard.verify(made)
    told = f"searches/svm/fold-1/{name}: must hold the 4 trials of study.yaml, but holds {len(kept)}"
    assert told in problems and all(problem.startswith("searches/svm/fold-1/") for problem in problems)
    hole = f"searches/svm/fold-1/{name}: trials must be numbered from 1 without a hole, but trial 2"
    assert any(problem.startswith(hole) for problem in problems) == (kept == "134")


def test_a_search_whose_time_was_over_has_fewer_trials_but_no_hole(tmp_path):
    made = make_bundle(tmp_path, time_budget=60.0)
    path = made / "searches/svm/fold-1"
    best = files.read_json(path / "best.json")
    files.write_json(path / "best.json", best | {"search_ended": "time budget of 60 s"})
    for name in ("trials.csv", "random.csv"):
        keep_trials(path / name, "12")
    keep_steps = [row for row in files.read_csv(path / "steps.csv") if row["trial_id"] in ("t1", "t2")]
    files.write_csv(path / "steps.csv", list(keep_steps[0]), keep_steps)
    rebuilt(made)
    assert leaderboard.verify(made) == []
    files.write_json(path / "best.json", best | {"search_ended": "all trials started"})
    told = "searches/svm/fold-1/trials.csv: must hold the 4 trials of study.yaml, but holds 2"
    assert whole.problems(made) == [told]


@pytest.mark.parametrize(
    "name",
    [
        "notes.csv", "per_class/best.csv", "figures/zz.png", "runs/svm/fold-1/seed-1/predictions2.csv",
        "searches/svm/fold-1/.hidden", "__pycache__/x.pyc", "runs/svm.3/fold-1/seed-1/note.txt",
    ],
)  # fmt: skip
def test_an_added_file_is_named_though_the_seal_lists_it(made, name):
    (made / name).parent.mkdir(parents=True, exist_ok=True)
    (made / name).write_text("x")
    reseal(made)
    assert f"added: {name}" in leaderboard.verify(made)


@pytest.mark.parametrize("name", ["journal.jsonl", ".tune/x", ".lock"])
def test_what_a_driver_left_in_a_sealed_bundle_is_named_with_the_cure(made, name):
    (made / name).parent.mkdir(exist_ok=True)
    (made / name).write_text("x")
    (problem,) = leaderboard.verify(made)
    assert problem.startswith(f"added: {name.partition('/')[0]} (of a driver") and "remove it" in problem
    assert recheck.sources(made) == []  # such a bundle can be rebuilt, and its study can end


def test_an_empty_folder_is_named(made):
    (made / "runs" / "evil").mkdir()
    assert leaderboard.verify(made) == ["added: runs/evil/ (an empty folder)"]


def test_models_may_lie_in_a_sealed_bundle_and_be_taken_away_again(made):
    models = made / "models" / "runs" / "svm" / "fold-1" / "seed-1"
    models.mkdir(parents=True)
    (models / "model.json").write_text("{}")
    assert leaderboard.verify(made) == []
    bundle.seal(made)
    assert "models/" not in (made / bundle.SUMS).read_text()
    shutil.rmtree(made / "models")
    assert leaderboard.verify(made) == []


def test_two_seeds_that_changed_places_are_named(made):
    one, two = (bundle.run_folder(made, "svm", 1, seed) for seed in (1, 2))
    one.rename(made / "x"), two.rename(one), (made / "x").rename(two)
    rebuilt(made)
    assert whole.problems(made) == [
        "runs/svm/fold-1/seed-1/result.json: seed: stored 2, recomputed 1",
        "runs/svm/fold-1/seed-2/result.json: seed: stored 1, recomputed 2",
    ]


def test_a_system_of_the_study_cannot_pass_for_an_external_one(made):
    for path in made.glob("runs/mlp/*/seed-*/result.json"):
        about = {"external": {"source": "x", "caveat": "", "sha256": "0", "seeds": 1}}
        files.write_json(path, files.read_json(path) | about)
    remove(made, "runs/mlp/*/seed-2")
    reseal(made)
    problems = whole.problems(made)
    assert "missing: runs/mlp/fold-1/seed-2/result.json" in problems
    assert any("but the study itself ran mlp" in problem for problem in problems)


def test_other_folds_than_the_study_asks_for_are_named(made):
    study = yaml.safe_load((made / "study.yaml").read_text())
    files.write_text(made / "study.yaml", yaml.safe_dump(study | {"folds": [1, 2, 3]}))
    assert whole.problems(made) == ["splits.json: folds: stored [1, 2], but study.yaml asks for [1, 2, 3]"]


def test_second_searches_and_external_systems_belong_to_the_bundle(tmp_path):
    made = make_bundle(tmp_path, systems={"svm": 2.0, "svm.2": 2.1})
    assert not (made / "runs" / "svm.2-published").exists()
    clips = files.read_csv(made / "manifest.csv")
    rows = [{"id": clip["id"], "predicted": clip["label"]} for clip in clips]
    files.write_csv(tmp_path / "theirs.csv", ["id", "predicted"], rows)
    external.join(made, tmp_path / "theirs.csv", "theirs")
    assert (made / "report.html").exists() and leaderboard.verify(made) == []
    remove(made, "runs/svm.2/*/seed-1")
    remove(made, "runs/theirs/fold-1")
    problems = whole.problems(made)
    assert "missing: runs/svm.2/fold-2/seed-1/history.csv" in problems
    assert "missing: runs/theirs/fold-1/seed-1/predictions.csv" in problems
