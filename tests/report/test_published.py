"""Numbers from papers: sourced, of the same protocol only, below a rule, never ranked."""

from dataclasses import replace

import pytest
from helpers import make_bundle, make_corpus

from benchmark import files
from benchmark.report import leaderboard, published
from benchmark.schema import SerbenchError


def test_every_number_has_a_source_that_can_be_found_or_is_the_reference_study():
    known = published.read()
    assert len(known) == 19
    for number in known:
        assert number.doi or number.arxiv or "CS231N" in number.source or number.kind == "note", number


def test_only_the_same_corpus_and_protocol_stand_beside():
    shown = published.of("ravdess", "emobox-6fold")
    assert {p.protocol for p in shown} == {"emobox-6fold", ""} and len(shown) == 11
    assert shown[-1].kind == "note"
    assert published.of("ravdess", "loso") == published.of("crema_d", "emobox-6fold") == []


@pytest.mark.parametrize(
    ("row", "rule"),
    [
        ("other,c,p,s,0.5,,,,source,,,", "kind must be"),
        ("system,c,p,s,0.5,,,,,,,", "source must be given"),
        ("system,c,p,s,55,,,,source,,,", "shares from 0 to 1"),
        ("system,c,p,s,,,,,source,,,", "at least one"),
        ("system,c,p,s,half,,,,source,,,", "half"),
    ],
)
def test_a_bad_line_is_named(tmp_path, row, rule):
    header = published.FILE.read_text(encoding="utf-8").partition("\n")[0]
    (tmp_path / "published.csv").write_text(f"{header}\n{row}\n")
    with pytest.raises(SerbenchError, match=rf"published\.csv: s: .*{rule}"):
        published.read(tmp_path / "published.csv")


@pytest.fixture
def folder(tmp_path):
    """A bundle that says that it is of RAVDESS and luna-jimenez-5fold."""
    corpus = make_corpus()
    folder = make_bundle(
        tmp_path, corpus=replace(corpus, card=replace(corpus.card, name="ravdess")), seal=False
    )
    splits = files.read_json(folder / "splits.json")
    files.write_json(folder / "splits.json", splits | {"protocol": "luna-jimenez-5fold"})
    leaderboard.write(folder, pictures=False)
    return folder


def test_they_stand_below_a_rule_beside_fold_means_and_nowhere_else(folder):
    ours, theirs = (folder / "leaderboard.md").read_text().split("\n---\n")
    assert "wav2vec2" not in ours and "| wav2vec2-xlsr fine-tuned |  | 81.8 |" in theirs
    mean = 100 * leaderboard.read(folder)[0]["uar_fold_mean"]
    assert f"| svm (here) | {mean:.1f} |" in theirs
    assert "checkpoint chosen on the test fold" in theirs and "doi:10.3390/app12010327" in theirs
    tex = (folder / "leaderboard.tex").read_text()
    assert tex.count(r"\midrule") == 2 and " & wav2vec2-xlsr fine-tuned (b) & " in tex.split(r"\midrule")[2]
    for name in ("leaderboard.csv", "leaderboard.json", "pairwise.csv"):
        assert "wav2vec2" not in (folder / name).read_text()


def test_human_listeners_are_a_note_and_no_bar(folder):
    for name in ("leaderboard.md", "leaderboard.tex"):
        text = (folder / name).read_text()
        assert "Human listeners: accuracy 67.0" in text and "another task" in text
        assert "exceed" not in text and "| human" not in text and "& human" not in text
