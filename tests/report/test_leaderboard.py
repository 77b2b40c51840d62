"""The tables that people read: captions say what the numbers are of, names cannot break a format."""

import re
from dataclasses import replace

import pytest
from helpers import make_bundle, make_corpus

from benchmark import files, scores
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
    leaderboard.write(folder, pictures=False)
    caption = files.read_json(folder / "leaderboard.json")["caption"]
    assert "63 of 1,440 clips, modified audio; speaker-2fold (diagnostic:" in caption
    assert "no intervals or ties: 7 test speakers: intervals and ties need 8" in caption
    assert caption in (folder / "leaderboard.tex").read_text()
    assert " [" not in leaderboard.text(leaderboard.read(folder))


@pytest.mark.parametrize("systems", [{"svm": 1.0}, {}])
def test_one_or_no_searched_system_has_a_table_too(tmp_path, systems):
    folder = make_bundle(tmp_path, systems=systems)
    assert len(leaderboard.read(folder)) == 2 * len(systems) + 1
    assert files.read_csv(folder / "pairwise.csv") == [] and leaderboard.verify(folder) == []


def test_fault_53_names_are_escaped_in_every_table(tmp_path):
    corpus = make_corpus(8, classes=HOSTILE)
    corpus = replace(corpus, card=replace(corpus.card, title=" ".join(HOSTILE)))
    clips = sorted((replace(u, id=f"u{n}") for n, u in enumerate(corpus.utterances)), key=lambda u: u.id)
    folder = make_bundle(tmp_path, corpus=replace(corpus, utterances=tuple(clips)))
    assert leaderboard.verify(folder) == []
    for table in folder.rglob("*.csv"):
        assert not re.search(r'(^|,)"?=', table.read_text(), re.MULTILINE), table
    for table in folder.rglob("*.md"):
        # what stands between fences is shown as it is
        text = re.sub(r"^```bibtex\n.*?^```$", "", table.read_text(), flags=re.MULTILINE | re.DOTALL)
        assert "<script>" not in text and "](y)" not in text.replace(r"\](y)", "")
        header, *lines = [line for line in text.splitlines() if line.startswith("|")]
        cells = [len(re.findall(r"(?<!\\)\|", line)) for line in (header, *lines)]
        assert len(set(cells)) == 1, table
    for table in folder.rglob("*.tex"):
        text = table.read_text().partition("\n")[2]  # a comment names the packages
        assert r"\write18" not in text and r"\textbackslash{}write18\{\}" in text
        assert not re.search(r"(?<!\\)[%#_](?!$)", text, re.MULTILINE)
        rows = [line for line in text.splitlines() if line.endswith(r"\\")]
        cells = [len(re.findall(r"(?<!\\)&", row)) + row.count(r"\multicolumn{2}") for row in rows]
        assert len(set(cells)) == 1, table


def test_terminal_escapes_in_a_name_stay_harmless():
    row = dict.fromkeys(scores.COLUMNS) | {"system": "evil\x1b[31m", "uar": 0.5}
    assert "\x1b" not in leaderboard.text([row])


def search(folder, scores, kind="trials"):
    """Write a search's trials: (state, score) of each number from 1."""
    rows = [{"number": n, "state": s, "score": v, "seconds": 1} for n, (s, v) in enumerate(scores, 1)]
    files.write_csv(folder / f"{kind}.csv", ["number", "state", "score", "seconds"], rows)


def test_validation_compares_the_search_with_random_search_and_the_published_trial(tmp_path):
    folder = make_bundle(tmp_path, systems={"svm": 1.0}, seal=False)
    places = [folder / f"searches/svm/fold-{fold}" for fold in (1, 2)]
    for place, best in zip(places, (0.5, 0.7), strict=True):
        search(place, [("COMPLETE", 0.4), ("COMPLETE", best), ("PRUNED", 0.9), ("FAILED", None)])
        search(place, [("COMPLETE", best - 0.1), ("FAILED", None)], "random")
    leaderboard.write(folder, pictures=False)
    (row,) = files.read_csv(folder / "validation.csv")
    found = {key: float(row[key]) for key in ("searched", "random", "published")}
    assert found == pytest.approx({"searched": 0.6, "random": 0.5, "published": 0.4})
    assert [row[key] for key in ("trials", "complete", "pruned", "failed")] == ["8", "4", "2", "2"]
    assert [row[f"random_{key}"] for key in ("trials", "complete", "pruned", "failed")] == [
        "4",
        "2",
        "0",
        "2",
    ]
    assert (
        "| svm | 60.0 | 50.0 | 40.0 | 8 / 4 / 2 / 2 | 4 / 2 / 0 / 2 |"
        in (folder / "validation.md").read_text()
    )


def test_validation_is_empty_where_a_fold_has_no_baseline_or_no_complete_trial(tmp_path):
    folder = make_bundle(tmp_path, systems={"svm": 1.0}, seal=False)
    for place in folder.glob("searches/svm/fold-*"):
        (place / "random.csv").unlink()
    search(folder / "searches/svm/fold-1", [("FAILED", None), ("COMPLETE", 0.5)])
    leaderboard.write(folder, pictures=False)
    (row,) = files.read_csv(folder / "validation.csv")
    assert (row["searched"], row["random"], row["published"]) == ("0.5", "", "")
    assert row["trials"] == "6" and row["random_trials"] == row["random_failed"] == ""
    told = (folder / "validation.md").read_text()
    assert "andom" not in told and "| System | Search % | Published % | Search:" in told


@pytest.mark.parametrize(
    ("seconds", "told"), [(None, ""), (0, "0.00"), (15, "0.004"), (19, "0.01"), (9000, "2.50")]
)
def test_a_short_search_did_not_take_no_time(tmp_path, seconds, told):
    row = {**leaderboard.read(make_bundle(tmp_path))[0], "search_seconds": seconds}
    header, (cells,) = leaderboard.table_of([row])
    assert cells[header.index("Search h")] == told
