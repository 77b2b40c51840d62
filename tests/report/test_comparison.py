"""Several bundles side by side: ranked together where they may be, apart with a reason, or refused."""

import csv
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from browser import CONTRAST, Reader
from helpers import SPACE, change, make_bundle, make_corpus, make_random_split

from benchmark import bundle, files, statistics
from benchmark.cli import main
from benchmark.report import comparison, comparison_files, leaderboard, paired
from benchmark.schema import UsageError

ROOT = Path(__file__).parents[2]
RANDOM, HONEST = "ravdess-random-80-20", "ravdess-luna-jimenez-5fold"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Sealed bundles of one corpus."""
    root = tmp_path_factory.mktemp("bundles")
    make_bundle(root, name="honest")
    make_bundle(root, name="again", systems={"svm": 1.5, "lstm": 0.5})
    make_bundle(root, name="longer", trials=8)
    make_bundle(root, name="seeds", seeds=3)
    corpus = make_corpus()
    leans = {"mlp": 3.0, "svm": 4.0, "lstm": 2.0}
    make_bundle(root, name="random", corpus=corpus, split=make_random_split(corpus, 3), systems=leans)
    return root


def compared(root, *names):
    return comparison.compare(comparison.read([root / name for name in names]))


@pytest.fixture(scope="module")
def inflated(root):
    return compared(root, "random", "honest")


@pytest.fixture(scope="module")
def out(inflated, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "a<i> & b_"
    comparison_files.write(inflated, out)
    return out


def speaker_uars(folder, system):
    """Each speaker's UAR, a mean over seeds, counted from predictions.csv without the program's own code."""
    right, seeds = (
        {},
        sorted({path.parent.name for path in folder.glob(f"runs/{system}/*/*/predictions.csv")}),
    )
    for path in folder.glob(f"runs/{system}/*/*/predictions.csv"):
        for row in csv.DictReader(path.open()):
            key = row["speaker"], path.parent.name, row["label"]
            right.setdefault(key, []).append(row["label"] == row["predicted"])
    speakers, labels = ({key[place] for key in right} for place in (0, 2))
    return np.array([
        np.mean([[np.mean(right[speaker, seed, label]) for label in labels] for seed in seeds])
        for speaker in sorted(speakers)
    ])  # fmt: skip


def test_equal_split_and_budget_are_ranked_and_tested_together(root):
    found = compared(root, "honest", "again")
    (group,) = found.groups
    ranked = [row for row in group.rows if row["rank"]]
    assert group.reason == "" and [row["rank"] for row in ranked] == [1, 2, 3, 4]
    assert all(a["uar"] >= b["uar"] for a, b in pairwise(ranked))
    assert {(row["bundle"], row["system"]) for row in ranked} == {
        ("honest", "svm"), ("honest", "mlp"), ("again", "svm"), ("again", "lstm"),
    }  # fmt: skip
    for row in group.rows:  # a system's own numbers are those of its bundle
        (own,) = (r for r in leaderboard.read(root / row["bundle"]) if r["system"] == row["system"])
        same = {key for key in own if key not in ("rank", "tie_group")}
        assert {key: row[key] for key in same} == {key: own[key] for key in same}
    uar = {(row["bundle"], row["system"]): row["uar"] for row in group.rows}
    assert len(group.pairwise) == 6
    for pair in group.pairwise:
        one, other = ((pair[f"bundle_{side}"], pair[f"system_{side}"]) for side in "ab")
        assert pair["effect"] == pytest.approx(uar[one] - uar[other]) and pair["lo"] <= pair["effect"]
    assert found.inflation == [] and found.notes == []


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (
            "random",
            "another protocol, random-80-20 instead of speaker-2fold; a diagnostic, as speakers stand",
        ),
        ("longer", "8 trials instead of 4 trials"),
        ("seeds", "3 seeds instead of 2 seeds"),
    ],
)
def test_what_is_not_equal_stands_apart_with_its_reason(root, name, reason):
    first, apart = compared(root, name, "honest").groups  # a diagnostic stands last, wherever it is named
    if name == "random":
        assert first.bundles == ("honest",)
    else:
        first, apart, reason = apart, first, ""
    assert apart.bundles == (name,) and apart.reason.startswith(reason)
    for group in (first, apart):
        assert group.rows[0]["rank"] == 1
        assert {pair["bundle_a"] for pair in group.pairwise} == set(group.bundles)


def test_the_reason_is_told_against_the_first_bundle(root):
    _, apart = compared(root, "honest", "longer").groups
    assert apart.reason == "8 trials instead of 4 trials"
    _, apart = compared(root, "honest", "seeds").groups
    assert apart.reason == "3 seeds instead of 2 seeds"


def test_the_inflation_is_paired_by_speaker(root, inflated):
    (found,) = inflated.inflation
    assert (found.independent, found.random) == ("honest", "random")
    assert [row["system"] for row in found.rows] == [
        "svm",
        "mlp",
        "svm-published",
        "mlp-published",
        "majority",
    ]
    assert found.searched == ["svm", "mlp"]
    differences = []
    for row in found.rows:
        one, other = (speaker_uars(root / name, row["system"]) for name in ("honest", "random"))
        differences.append(other - one)
        # the corpus is balanced, so that the UAR over all clips is the speakers' mean
        assert row["independent"] == pytest.approx(one.mean()) and row["random"] == pytest.approx(
            other.mean()
        )
        assert row["effect"] == pytest.approx((other - one).mean())
    p = statistics.sign_flips(np.stack(differences, axis=1), 7)
    assert [row["p"] for row in found.rows] == pytest.approx(p)
    assert [row["p_holm"] for row in found.rows] == pytest.approx(statistics.holm(p))
    svm = found.rows[0]
    assert 0 < svm["lo"] < svm["effect"] < svm["hi"] < 1 and svm["p"] < 0.05


def test_sides_can_change_places(root):
    one, other = (bundle.read_runs(root / name) for name in ("honest", "random"))
    options = {"names": ("x", "y"), "bootstrap_seed": 7}
    (there,), (back,) = (
        paired.compare(a, b, ["mlp"], make_corpus().card.classes, **options)
        for a, b in ((one, other), (other, one))
    )
    assert (there["effect"], there["lo"], there["hi"]) == (-back["effect"], -back["hi"], -back["lo"])
    assert (there["x"], there["x_lo"], there["p"]) == (back["y"], back["y_lo"], back["p"])


def test_without_equal_budgets_clips_or_spaces_no_inflation_is_told(root, tmp_path):
    assert "their budgets differ" in compared(root, "longer", "random").notes[0]
    corpus = make_corpus()
    fewer = replace(make_random_split(corpus, 3), folds=make_random_split(corpus, 3).folds[:2])
    make_bundle(tmp_path, name="part", corpus=corpus, split=fewer)
    part = comparison.compare(comparison.read([root / "honest", tmp_path / "part"]))
    assert "do not test the same clips" in part.notes[0] and part.inflation == []
    spaces = {"spaces": {"svm": "other", "mlp": "other"}}
    make_bundle(tmp_path, name="spaces", corpus=corpus, split=make_random_split(corpus, 3), digests=spaces)
    other = comparison.compare(comparison.read([root / "honest", tmp_path / "spaces"]))
    assert "no searched system in common" in other.notes[0] and other.inflation == []


def test_another_space_or_code_is_said(root, tmp_path):
    folder = make_bundle(tmp_path, name="code", digests={"spaces": {"svm": "other"}}, seal=False)
    files.write_json(folder / "environment.json", {"schema_version": 1, "code_digest": "abc"})
    bundle.seal(folder)
    code, space = comparison.compare(comparison.read([root / "honest", folder])).notes
    assert "different code (honest 000000000000, code abc)" in code and space.startswith(
        "svm was searched in another space"
    )


def test_few_speakers_leave_intervals_empty(tmp_path):
    corpus = make_corpus(4)
    make_bundle(tmp_path, name="honest", corpus=corpus)
    make_bundle(tmp_path, name="random", corpus=corpus, split=make_random_split(corpus))
    found = compared(tmp_path, "honest", "random")
    row = found.inflation[0].rows[0]
    assert row["effect"] is not None and row["lo"] is row["p"] is row["p_holm"] is None
    comparison_files.write(found, tmp_path / "out")
    assert "no intervals or ties: 4 test speakers" in (tmp_path / "out/comparison.md").read_text().lower()


def refusal(capsys, *arguments):
    status = main([*map(str, arguments)])
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and said.startswith("serbench: ")
    return status, said


def test_what_cannot_be_compared_is_refused_in_one_line(root, tmp_path, capsys):
    out = tmp_path / "out"
    one = root / "honest"
    make_bundle(tmp_path, name="clips", corpus=make_corpus(9))
    status, said = refusal(capsys, "report", one, tmp_path / "clips", "--out", out)
    assert status == 2 and "must be of one corpus, but honest has made " in said
    make_bundle(tmp_path, name="labels", corpus=make_corpus(classes=("angry", "calm")))
    status, said = refusal(capsys, "report", one, tmp_path / "labels", "--out", out)
    assert status == 2 and "one label set, but honest has angry, calm, sad and labels has angry, calm" in said
    status, said = refusal(capsys, "report", one, one, "--out", out)
    assert status == 2 and "honest stands twice: rename" in said
    status, said = refusal(capsys, "report", one, tmp_path, "--out", out)
    assert status == 2 and "must be a bundle" in said
    status, said = refusal(capsys, "report", one, "--out", out)
    assert status == 2 and "name two or more" in said
    status, said = refusal(capsys, "report", one, root / "again", "--out", root / "random")
    assert status == 2 and "must not be a bundle" in said
    shutil.copytree(root / "again", tmp_path / "edited")
    next((tmp_path / "edited/runs").glob("svm/*/*/predictions.csv")).write_text("")
    status, said = refusal(capsys, "report", one, tmp_path / "edited", "--out", out)
    assert status == 1 and "does not verify, so nothing was compared: wrong checksum: runs/svm" in said
    assert not out.exists() and not (root / "random/comparison.json").exists()


def test_the_command_writes_where_the_names_say(root, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["report", str(root / "honest"), str(root / "random"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    place = Path("results/comparisons/honest-vs-random")
    assert told["comparison"] == str(place) and sorted(told) == sorted(
        ["comparison", *files.read_json(place / "comparison.json")]
    )
    for name in ("honest", "random"):
        assert leaderboard.verify(root / name) == []
    assert main(["report", str(root / "honest"), str(root / "again")]) == 0
    table = capsys.readouterr().out
    assert "again" in table and "Comparison: results/comparisons/honest-vs-again" in table


def test_every_file_says_the_same(inflated, out):
    names = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    figures = {
        f"figures/{n}.{k}" for n in ("forest", "inflation", "inflation-speakers") for k in ("png", "pdf")
    }
    tables = {
        "pairwise.csv",
        "inflation.csv",
        *(f"comparison.{k}" for k in ("csv", "json", "md", "tex", "html")),
    }
    assert names == figures | tables
    content, rows = files.read_json(out / "comparison.json"), files.read_csv(out / "comparison.csv")
    told = [row for group in content["groups"] for row in group["rows"]]
    assert [(r["bundle"], r["system"], float(r["uar"])) for r in rows] == [
        (r["bundle"], r["system"], r["uar"]) for r in told
    ]
    assert [row["group"] for row in rows] == ["1"] * 5 + ["2"] * 7
    inflation = files.read_csv(out / "inflation.csv")
    assert [float(r["effect"]) for r in inflation] == [r["effect"] for r in content["inflation"][0]["rows"]]
    seals = {b["bundle"]: b["seal"] for b in content["bundles"]}
    assert {len(seal) for seal in seals.values()} == {64} and len(set(seals.values())) == 2
    before, rule, after = (out / "comparison.md").read_text().partition("\n---\n")
    assert rule and "speaker-2fold, 4 trials" in before and "Not ranked with the first group" in after
    for row in inflated.inflation[0].rows:
        assert f"{100 * row['effect']:+.1f} \\[{100 * row['lo']:+.1f}, " in after


def test_the_same_bytes_each_time_and_nothing_old_is_left(inflated, out, root, tmp_path):
    comparison_files.write(inflated, tmp_path / out.name)
    for path in (p for p in out.rglob("*") if p.is_file()):
        assert (tmp_path / out.name / path.relative_to(out)).read_bytes() == path.read_bytes(), path.name
    comparison_files.write(compared(root, "honest", "again"), tmp_path / out.name)
    left = {path.name for path in (tmp_path / out.name).rglob("*")}
    assert "forest.png" in left and not {"inflation.csv", "inflation.png"} & left


def test_figures_say_in_words_and_rows_what_they_show(inflated):
    from matplotlib.text import Text

    for drawing in comparison_files._drawings(inflated):
        assert drawing.rows and drawing.title and 60 < len(drawing.alt) < 700
        texts = [text for text in drawing.figure.findobj(Text) if text.get_text()]
        assert min(text.get_fontsize() for text in texts) >= 6.5
        if drawing.name == "inflation":
            svm = inflated.inflation[0].rows[0]
            assert drawing.rows[0]["effect"] == pytest.approx(100 * svm["effect"])
            assert f"svm {100 * svm['independent']:.1f} to {100 * svm['random']:.1f}" in drawing.alt
            assert [row["system"] for row in drawing.rows][-1] == "mlp-published"  # not the constant one


def test_the_page_is_whole_and_asks_for_nothing(out):
    text = (out / "comparison.html").read_text(encoding="utf-8")
    assert "<h1>a&lt;i&gt; &amp; b_</h1>" in text and "<i>" not in text
    assert "default-src 'none'" in text and "url(" not in text and len(text.encode()) < 3_000_000
    reader = Reader(text)
    for tag, attributes in reader.tags:
        for name in ("src", "href", "action"):
            assert attributes.get(name, "#").startswith(("#", "data:")), (tag, attributes)
    images = [a for tag, a in reader.tags if tag == "img"]
    assert len(images) == 3 and all(len(a["alt"]) > 60 for a in images)
    for row in files.read_csv(out / "inflation.csv"):
        assert any(
            r[0] == row["system"] and r[3].startswith(f"{100 * float(row['effect']):+.1f} [")
            for r in reader.rows
        )
    anchors = [a["href"] for tag, a in reader.tags if tag == "a" and a["href"].startswith("#")]
    assert {anchor[1:] for anchor in anchors} <= {a.get("id") for _, a in reader.tags}


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [380, 1200])
def test_the_page_fits_and_can_be_read(browser, out, width, dark):
    browser.errors.clear()
    browser.requests.clear()
    browser.open(out / "comparison.html", width=width, dark=dark)
    browser.run("document.querySelectorAll('details').forEach((one) => one.open = true)")
    assert browser.run("document.documentElement.scrollWidth") <= width
    assert browser.run(CONTRAST) == [] and browser.errors == []
    assert all(url.startswith(("data:", "file:")) for url in browser.requests)
    table = "document.querySelector('#inflation table')"
    column = f"[...{table}.tBodies[0].rows].map((r) => parseFloat(r.cells[3].textContent))"
    browser.run(f"{table}.tHead.rows[0].cells[3].querySelector('button').click()")
    assert browser.run(column) == sorted(browser.run(column))


def test_reading_bundles_imports_neither_ray_nor_torch_nor_audio(root, tmp_path):
    heavy = {"torch", "torchaudio", "ray", "mlflow", "optuna", "sklearn", "soundfile", "soxr"}
    for command in (
        ["report", "honest", "random", "--out", str(tmp_path / "out")],
        ["diff", "honest", "random"],
    ):
        code = (
            f"import sys; from benchmark.cli import main; status = main({command!r}); "
            "print(status, *{name.partition('.')[0] for name in sys.modules}, file=sys.stderr)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root
        )  # fmt: skip
        status, *names = done.stderr.split()
        assert status == "0" and not heavy & set(names)


@pytest.mark.slow
def test_committed_bundles_have_the_same_numbers_by_both_ways():
    known = comparison.read([ROOT / "results" / name for name in (RANDOM, HONEST)])
    (found,) = comparison.compare(known).inflation
    assert (found.independent, found.random) == (HONEST, RANDOM)
    for name, side in ((HONEST, "independent"), (RANDOM, "random")):
        rows = {row["system"]: row for row in leaderboard.read(ROOT / "results" / name)}
        for row in found.rows:
            for part in ("", "_lo", "_hi"):
                assert row[f"{side}{part}"] == pytest.approx(rows[row["system"]][f"uar{part}"], abs=1e-9)
    assert all(
        row["lo"] > 0.05 and row["p_holm"] < 0.001 for row in found.rows if row["system"] != "majority"
    )


@pytest.mark.slow
def test_the_committed_comparison_is_what_its_bundles_say():
    committed = ROOT / "results" / "comparisons" / "random-vs-speaker-independent"
    verdict = comparison_files.check(committed)
    assert verdict.problems == [] and verdict.files == 7 and verdict.cells > 500


def test_a_changed_comparison_is_named_by_verify(root, tmp_path, capsys):
    for name in ("honest", "random"):
        shutil.copytree(root / name, tmp_path / name)
    out = tmp_path / "comparisons" / "both"
    bundles = [str(tmp_path / name) for name in ("honest", "random")]
    assert main(["report", *bundles, "--out", str(out)]) == 0
    assert main(["verify", str(out)]) == 0
    assert re.search(r"both: verified: 7 files, [0-9,]+ cells", capsys.readouterr().out)
    change(out / "inflation.csv", "svm,", "svn,")
    change(out / "comparison.html", "<h1>both", "<h1>booth")
    (out / "more.txt").write_text("")
    (out / "figures/forest.png").write_bytes(b"x")
    (out / "figures/forest.pdf").unlink()
    assert main(["verify", str(out)]) == 1
    said = capsys.readouterr().out
    for line in ("inflation.csv: ", "comparison.html: stored <h1>booth", "added: more.txt",
                 "figures/forest.png: not the picture that comparison.html shows",
                 "figures/forest.pdf: not there"):  # fmt: skip
        assert line in said
    assert main(["report", *bundles, "--out", str(out)]) == 0
    (out / "more.txt").unlink()
    change(out / "comparison.html", 'alt="Test UAR', 'alt="Forged UAR')
    assert main(["verify", str(out)]) == 1 and "comparison.html: stored" in capsys.readouterr().out
    shutil.rmtree(out / "figures")
    (out / "comparison.html").unlink()
    assert main(["verify", str(out)]) == 1 and "missing: comparison.html" in capsys.readouterr().out
    for content in ("{", "{}", "[]", '{"bundles": []}'):
        (out / "comparison.json").write_text(content)
        assert main(["verify", str(out)]) == 1 and "must name its bundles" in capsys.readouterr().err
    assert main(["report", *bundles, "--out", str(out)]) == 0
    (tmp_path / "honest/comparison.json").write_text("{}")
    assert main(["verify", str(tmp_path / "honest")]) == 1
    assert "added: comparison.json" in capsys.readouterr().out
    shutil.rmtree(tmp_path / "random")
    assert main(["verify", str(out)]) == 2 and "its bundles must lie in" in capsys.readouterr().err


def test_no_search_of_a_system_is_ranked_above_another_in_whichever_bundle_it_ran(tmp_path):
    systems = {"svm.1": 2.0, "svm.2": 0.7, "mlp.1": 1.0, "mlp.2": 0.8}
    for number, (name, own) in enumerate({"once": {"svm": 2.0, "mlp": 1.0}, "twice": systems}.items()):
        digests = {"study": str(number), "spaces": {system: system[:3] for system in own}}
        spaces = {system: SPACE.replace("svm", system[:3]) for system in own}
        make_bundle(tmp_path, name=name, systems=own, digests=digests, spaces=spaces)
    known = comparison.read([tmp_path / name for name in ("once", "twice")])
    found = comparison.compare(known)
    (group,) = found.groups
    assert any("several searches of one system share" in note for note in found.notes)
    rank = {(row["bundle"], row["system"]): row["rank"] for row in group.rows if row["rank"]}
    assert {rank["once", "svm"], rank["twice", "svm.1"], rank["twice", "svm.2"]} == {1}
    assert {rank["once", "mlp"], rank["twice", "mlp.1"], rank["twice", "mlp.2"]} == {4}
    pairs = {frozenset(pair[f"system_{side}"][:3] for side in "ab") for pair in group.pairwise}
    assert pairs == {frozenset({"svm", "mlp"})} and len(group.pairwise) == 9


def test_searches_in_another_way_are_systems_of_their_own(tmp_path):
    digests = {"spaces": {"svm": "s", "mlp": "m"}}
    spaces = {name: SPACE.replace("svm", name) for name in ("svm", "mlp")}
    for sampler in ("tpe", "random"):
        make_bundle(
            tmp_path, name=sampler, sampler=sampler, digests={"study": sampler, **digests}, spaces=spaces,
            systems={"svm": 2.0 if sampler == "tpe" else 0.7, "mlp": 1.0},
        )  # fmt: skip
    (group,) = comparison.compare(comparison.read([tmp_path / name for name in ("tpe", "random")])).groups
    rank = {(row["bundle"], row["system"]): row["rank"] for row in group.rows if row["rank"]}
    assert rank["tpe", "svm"] == 1 and rank["random", "svm"] == 4 and len(group.pairwise) == 6


def test_one_study_is_not_ranked_twice(root, tmp_path):
    again = make_bundle(tmp_path, name="again", digests={"study": "d1"})
    other = make_bundle(tmp_path, name="other", digests={"study": "d1"})
    with pytest.raises(UsageError, match="again and other are one study"):
        comparison.compare(comparison.read([again, other]))


def test_searches_that_differ_beyond_their_budget_are_told(root, tmp_path):
    folder = make_bundle(tmp_path, name="random_search", sampler="random")
    notes = comparison.compare(comparison.read([root / "honest", folder])).notes
    assert "The searches differ in their sampler: honest tpe, random_search random." in notes
