"""The tables that people read: captions say what the numbers are of, names cannot break a format."""

import re
from dataclasses import replace

import pytest
from helpers import make_bundle, make_corpus

from benchmark import bundle, files, scores
from benchmark.report import leaderboard

HOSTILE = ("=cmd", "<script>alert(1)</script>", r"a_b & c%|`*[x](y)\write18{}")


def test_every_format_shows_the_same_rows_best_first(tmp_path):
    folder = make_bundle(tmp_path)
    rows = leaderboard.read(folder)
    assert [row["system"] for row in rows][:2] == ["svm", "mlp"]
    best = f"{100 * rows[0]['uar']:.1f} "
    assert list(files.read_csv(folder / "leaderboard.csv")[0]) == list(scores.COLUMNS)
    assert f"| 1 | svm | a | {best}" in (folder / "leaderboard.md").read_text()
    assert f"1 & svm & a & {best}" in (folder / "leaderboard.tex").read_text()
    lines = leaderboard.text(rows, "A caption.").splitlines()
    assert lines[2].split()[:3] == ["1", "svm", "a"] and lines[-1] == "A caption."
    assert len({line.index("[") for line in lines[2:6]}) == 1  # aligned


def test_caption_says_corpus_protocol_seeds_and_intervals(tmp_path):
    caption = files.read_json(make_bundle(tmp_path) / "leaderboard.json")["caption"]
    for part in ("Made corpus 1.0, 90 clips;", "speaker-2fold, 2 folds, mean over 2 seeds", "95% intervals",
                 "10 speakers", "10,000 resamples, seed 7", "Holm"):  # fmt: skip
        assert part in caption, part
    assert "diagnostic" not in caption and "modified" not in caption


def test_caption_says_what_is_missing_modified_or_diagnostic(tmp_path):
    corpus = make_corpus(7)
    card = replace(corpus.card, official_clips=1440)
    corpus = replace(corpus, card=card, complete=False, modified=True)
    folder = make_bundle(tmp_path, corpus=corpus, seal=False)
    splits = files.read_json(folder / "splits.json")
    files.write_json(folder / "splits.json", splits | {"diagnostic": True})
    leaderboard.write(folder)
    caption = files.read_json(folder / "leaderboard.json")["caption"]
    assert "63 of 1,440 clips, modified audio; speaker-2fold (diagnostic:" in caption
    assert "no intervals or ties: 7 test speakers: intervals and ties need 8" in caption
    assert caption in (folder / "leaderboard.tex").read_text()
    assert " [" not in leaderboard.text(leaderboard.read(folder))


@pytest.mark.parametrize("systems", [{"svm": 1.0}, {}])
def test_one_or_no_searched_system_has_a_table_too(tmp_path, systems):
    folder = make_bundle(tmp_path, systems=systems)
    assert len(leaderboard.read(folder)) == 2 * len(systems) + 1
    assert files.read_csv(folder / "pairwise.csv") == [] and bundle.verify(folder) == []


def test_fault_53_names_are_escaped_in_every_table(tmp_path):
    corpus = make_corpus(8, classes=HOSTILE)
    corpus = replace(corpus, card=replace(corpus.card, title=" ".join(HOSTILE)))
    clips = sorted((replace(u, id=f"u{n}") for n, u in enumerate(corpus.utterances)), key=lambda u: u.id)
    folder = make_bundle(tmp_path, corpus=replace(corpus, utterances=tuple(clips)))
    assert bundle.verify(folder) == []
    for table in folder.rglob("*.csv"):
        assert not re.search(r'(^|,)"?=', table.read_text(), re.MULTILINE), table
    for table in folder.rglob("*.md"):
        text = table.read_text()
        assert "<script>" not in text and "](y)" not in text.replace(r"\](y)", "")
        header, *lines = [line for line in text.splitlines() if line.startswith("|")]
        cells = [len(re.findall(r"(?<!\\)\|", line)) for line in (header, *lines)]
        assert len(set(cells)) == 1, table
    for table in folder.rglob("*.tex"):
        text = table.read_text()
        assert r"\write18" not in text and r"\textbackslash{}write18\{\}" in text
        assert not re.search(r"(?<!\\)[%#_]", text)
        rows = [line for line in text.splitlines() if line.endswith(r"\\")]
        assert len({len(re.findall(r"(?<!\\)&", row)) for row in rows}) == 1


def test_terminal_escapes_in_a_name_stay_harmless():
    row = dict.fromkeys(scores.COLUMNS) | {"system": "evil\x1b[31m", "uar": 0.5}
    assert "\x1b" not in leaderboard.text([row])
