"""The results card says what was asked, first of all limits what was not run, and nothing that was not so."""

import shutil

import pytest
from helpers import SPACE, make_bundle

from benchmark import card, files
from benchmark.report import leaderboard


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("card"), seal=False)


@pytest.fixture
def made(original, tmp_path):
    return shutil.copytree(original, tmp_path / "made")


def section(text, title):
    return text.partition(f"## {title}\n\n")[2].partition("\n\n## ")[0]


def test_the_card_says_what_was_asked_with_what_and_how_to_do_it_again(made):
    files.write_csv(made.parent / "openings.csv", ["fingerprint"], [{"fingerprint": "of another split"}])
    text = card.text(made)
    asked = section(text, "Asked")
    for part in ("`svm`, `mlp`", "Made corpus 1.0, 90 clips; licence CC0", "`speaker-2fold`, 2 folds",
                 "4 trials a system and fold (tpe) and as many random ones beside", "2 seeds a refit",
                 "opened 0 times"):  # fmt: skip
        assert part in asked, part
    compute = section(text, "Compute")
    # two systems × two folds × four trials of 9 s on 2 CPUs; five rows × two folds × two seeds of 36 s on one
    assert f"Searches and refits: {(2 * 8 * 18 + 5 * 4 * 36) / 3600:.2f} CPU hours, 0.00 GPU hours" in compute
    assert f"Random searches beside: {2 * 8 * 18 / 3600:.2f} CPU hours" in compute
    assert "note = {bundle made}" in section(text, "Cite") and "howpublished = {Nobody 2024}" in text
    assert "serbench verify results/made " in section(text, "Again")
    assert "git checkout" not in text  # of a commit that nobody knows
    environment = files.read_json(made / "environment.json") | {"commit": "0a1b-modified"}
    files.write_json(made / "environment.json", environment)
    assert "git checkout 0a1b -- benchmark search_spaces " in section(card.text(made), "Again")


def test_limits_name_first_what_was_not_run(made):
    limits = section(card.text(made), "Limits").splitlines()
    assert limits[0].startswith("- Not run, of what this program has: `ast@audioset`")
    assert "`svm`," not in limits[0] and "`svm@audioset`" in limits[0]
    assert limits[1].startswith("- Not run here: other protocols (`luna-jimenez-5fold`")
    assert any("conditional on the trained models and on 10 speakers" in line for line in limits)
    assert not any(
        "diagnostic" in line or "random" in line.replace("random-80-20", "") for line in limits[1:]
    )


def test_a_study_without_random_search_says_so_and_never_the_contrary(made):
    for path in made.glob("searches/*/fold-*/random.csv"):
        path.unlink()
    text = card.text(made)
    assert "- Not run: a random search beside" in section(text, "Limits")
    assert "random" not in section(text, "Asked") + section(text, "Compute") + section(
        text, "What stands where"
    )


def test_diagnostics_and_missing_intervals_are_limits(made):
    splits, rows = files.read_json(made / "splits.json"), files.read_json(made / "leaderboard.json")
    files.write_json(made / "splits.json", splits | {"diagnostic": True})
    rows["interval"]["reason"] = "7 test speakers: intervals and ties need 8"
    files.write_json(made / "leaderboard.json", rows)
    limits = section(card.text(made), "Limits")
    assert "- A diagnostic: speakers" in limits and "No intervals, tests or ties: 7 test speakers" in limits
    assert "conditional" not in limits


@pytest.mark.parametrize(
    ("system", "weights", "told"),
    [
        ("ast@audioset", "ast-audioset", "saw ImageNet first, then AudioSet"),
        ("cnn@audioset", "mn04-audioset", "saw ImageNet first, then AudioSet"),
        ("cnn@imagenet", "timm/resnet18.a1_in1k", "timm/resnet18.a1_in1k on the Hugging Face hub"),
    ],
)
def test_pretraining_corpora_are_named(made, system, weights, told):
    family, _, pretraining = system.partition("@")
    space = SPACE.replace("family: svm", f"family: {family}")
    for name in (system, f"{family}@none"):
        (made / "searches" / name / "fold-1").mkdir(parents=True)
        text = f"{space}weights: {{{pretraining}: {weights}}}\npretraining: {pretraining}\n"
        (made / "searches" / name / "fold-1" / "space.yaml").write_text(text)
    lines = section(card.text(made), "Pretraining").splitlines()
    assert len(lines) == 1 and lines[0].startswith(f"- `{system}` starts from `{weights}`")
    assert told in lines[0]


def test_a_published_row_that_nobody_published_is_marked_on_card_and_leaderboard(made):
    for path in made.glob("searches/svm/fold-*/space.yaml"):
        path.write_text(SPACE + "assumed: [C]\n")
    leaderboard.write(made, pictures=False)
    told = "CS231N project report). svm-published: it has no such system; usual defaults or ours."
    assert told in (made / "leaderboard.md").read_text() and told in (made / "leaderboard.tex").read_text()
    settings = section(card.text(made), "Settings that nobody published")
    assert settings.startswith("- `svm-published` carries no published setting")
    assert "mlp" not in settings


def test_names_cannot_break_the_card(made):
    corpus = files.read_json(made / "corpus.json")
    files.write_json(made / "corpus.json", corpus | {"title": "<script>|x", "notes": ["<b>"]})
    text = card.text(made).partition("## Cite")[0]
    assert "<script>" not in text and "&lt;script&gt;" in text and "<b>" not in text
