"""The last of a bundle's check: its page and its card say what its files say."""

import shutil

import pytest
from helpers import change, make_bundle, make_corpus, make_split, reseal

from benchmark import card, rebuild
from benchmark.files import write_csv
from benchmark.report import leaderboard


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    folder = tmp_path_factory.mktemp("original")
    write_csv(
        folder / "openings.csv", ["fingerprint"], [{"fingerprint": make_split(make_corpus()).fingerprint}]
    )
    return make_bundle(folder, pictures=True)


@pytest.fixture
def made(original, tmp_path):
    return shutil.copytree(original, tmp_path / "made")


def test_a_whole_bundle_has_no_problem_wherever_it_lies(made):
    assert rebuild.check(made).problems == []


@pytest.mark.parametrize(
    ("file", "old", "new", "named"),
    [
        ("README.md", "- Intervals are conditional", "- No interval is conditional", "README.md: line "),
        ("README.md", "| 1 | svm", "| 1 | SVM", "README.md: line "),
        ("README.md", "were opened 1 times", "were opened one times", "README.md: line "),
        ("report.html", "<td>svm", "<td>SVM", "report.html: stored <td>SVM, recomputed <td>svm"),
        ("report.html", "<h3>Check</h3>", "<h3>Checked</h3>", "report.html: stored <h3>Checked"),
        ("report.html", "made</h1>", "made too</h1>", "report.html: stored <h1>made too"),
    ],
)
def test_a_changed_word_of_card_or_page_is_named_though_resealed(made, file, old, new, named):
    change(made / file, old, new)
    reseal(made)
    problems = rebuild.check(made).problems
    assert problems and all(problem.startswith(named) for problem in problems)


def test_figures_are_those_that_the_page_shows(made):
    (made / "figures/folds.png").write_bytes((made / "figures/forest.png").read_bytes())
    (made / "figures/speakers.pdf").unlink()
    (made / "figures/trees-mlp.pdf").write_bytes(b"x")
    reseal(made)
    assert sorted(leaderboard.verify(made)) == [
        "figures/folds.png: not the picture that report.html shows",
        "figures/speakers.pdf: not there",
        "figures/trees-mlp.pdf: not shown in report.html",
    ]


def test_openings_and_the_program_s_own_systems_stand_outside_of_the_bundle(made):
    change(made / "README.md", "were opened 1 times", "were opened 7 times")
    change(made / "README.md", "this program has: ", "this program has: `another`, ")
    change(made / "report.html", "opened</dt><dd>1 times", "opened</dt><dd>7 times")
    assert list(card.problems(made)) == []
    reseal(made)
    assert rebuild.check(made).problems == []


def test_another_bootstrap_seed_than_the_default_is_a_limit_that_the_card_tells(made, tmp_path):
    line = "- Intervals use bootstrap seed 7, not the default 0.\n"
    change(made / "README.md", line, "")
    reseal(made)
    (problem, *_) = rebuild.check(made).problems
    assert problem.startswith("README.md: line ") and line.strip() in problem
    assert "bootstrap seed" not in (make_bundle(tmp_path / "0", bootstrap_seed=0) / "README.md").read_text()


def test_rubbish_is_a_problem_not_a_traceback(made):
    (made / "README.md").write_bytes(b"\xff")
    assert any(problem.startswith("README.md cannot be") for problem in rebuild.check(made).problems)
