"""The figures: pure, the same bytes each time, readable in one column, with their rows and their words."""

import io
from dataclasses import replace

import numpy as np
import pytest
from helpers import make_bundle, make_corpus

from benchmark import bundle, card, files
from benchmark.report import evidence, figures, leaderboard
from benchmark.report.figures import searches, style
from benchmark.schema import SerbenchError

NETWORK = ("trial_id", "step", "score", "loss", "lr")


def search(folder, number, *, trees=False, random=True):
    """Write a search of 12 trials with two hyperparameters, one conditional, and its steps."""
    generator = np.random.default_rng(number)
    names = ["param.lr", "param.kind", "param.n_estimators" if trees else "param.depth"]
    columns = ["trial_id", "number", "state", "reason", "score", "steps", "seconds", *names]
    for kind in ("trials", "random") if random else ("trials",):
        rows = []
        for n in range(1, 13):
            state = "PRUNED" if kind == "trials" and n % 4 == 0 else "COMPLETE"
            size = 25 * n if n % 3 else 50 if trees else ""
            cells = (10 ** generator.uniform(-4, -1), "ab$"[n % 3], size)
            rows.append({
                "trial_id": f"{kind}{n}", "number": n, "state": state, "score": generator.uniform(0.3, 0.6),
                "steps": 4, "seconds": 9 * n, **dict(zip(names, cells, strict=True)),
            })  # fmt: skip
        files.write_csv(folder / f"{kind}.csv", columns, rows)
    best = bundle.best_trial(files.read_csv(folder / "trials.csv"))
    told = {"number": int(best["number"]), "score": float(best["score"]), "steps": 4}
    told["params"] = {name.removeprefix("param."): best[name] or None for name in names}
    files.write_json(folder / "best.json", {"schema_version": 1, "trial_id": best["trial_id"], **told})
    steps = [
        {"trial_id": f"trials{n}", "step": s, "score": s / 10, "loss": None if trees else 1 / s,
         "lr": None if trees else 10.0**-s}
        for n in range(1, 13) for s in range(1, 5)
    ]  # fmt: skip
    files.write_csv(folder / "steps.csv", NETWORK, steps)


def test_a_hyperparameter_that_a_fold_never_drew_is_not_set_there(tmp_path):
    folder = make_bundle(tmp_path, systems={"mlp": 2.0}, seal=False)
    for fold in (1, 2):
        search(folder / f"searches/mlp/fold-{fold}", fold)
    for kind in ("trials", "random"):
        path = folder / f"searches/mlp/fold-1/{kind}.csv"
        rows = files.read_csv(path)
        files.write_csv(path, [name for name in rows[0] if name != "param.lr"], rows)
    known = evidence.read(folder, bundle.tables(folder))
    assert {row["param.lr"] for row in known.searches["mlp"][0].trials} == {""}
    assert "lr" in {row["hyperparameter"] for row in searches.importance("mlp", known.searches["mlp"]).rows}
    drawn = searches.parallel("mlp", known.searches["mlp"])
    assert {row["lr"] for row in drawn.rows if row["fold"] == 1} == {""}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A bundle with a network and a forest, its figures written."""
    systems = {"mlp": 2.0, "random_forest": 1.0}
    corpus = make_corpus(classes=("angry", "$x_1$", "sad"))
    folder = make_bundle(tmp_path_factory.mktemp("made"), corpus=corpus, systems=systems, seal=False)
    for fold in (1, 2):
        search(folder / f"searches/mlp/fold-{fold}", fold)
        search(folder / f"searches/random_forest/fold-{fold}", fold + 2, trees=True)
    leaderboard.write(folder)
    card.write(folder)
    bundle.seal(folder)
    return folder


@pytest.fixture(scope="module")
def known(made):
    return evidence.read(made, bundle.tables(made))


@pytest.fixture(scope="module")
def drawn(known):
    return {drawing.name: drawing for drawing in figures.drawings(known)}


def test_every_figure_that_the_bundle_has_data_for(drawn):
    each = ("confusion", "reliability", "search", "importance", "parallel")
    systems = [f"{kind}-{s}" for s in ("mlp", "random_forest") for kind in each]
    alone = ["forest", "folds", "speakers", "curves-mlp", "trees-random_forest"]
    assert sorted(drawn) == sorted([*systems, *alone])


def test_they_are_files_of_a_sealed_bundle_that_verifies(made, drawn):
    expected = sorted(f"{name}.{kind}" for name in drawn for kind in ("pdf", "png"))
    assert sorted(path.name for path in (made / "figures").iterdir()) == expected
    assert bundle.verify(made) == []
    (made / "figures/forest.png").write_bytes(b"other")
    assert bundle.verify(made) == ["wrong checksum: figures/forest.png"]
    (made / "figures/old.png").write_bytes(b"of a system that left")
    leaderboard.write(made)
    card.write(made)
    bundle.seal(made)
    assert bundle.verify(made) == [] and not (made / "figures/old.png").exists()


def test_the_same_files_each_time(known, drawn):
    for again in figures.drawings(known):
        first = drawn[again.name]
        assert (again.rows, again.alt) == (first.rows, first.alt)
        if again.name in ("forest", "confusion-mlp", "search-mlp", "curves-mlp", "parallel-mlp"):
            assert figures.png(again) == figures.png(first), again.name
            assert figures.pdf(again) == figures.pdf(first), again.name
    assert b"CreationDate" not in figures.pdf(first) and b"Matplotlib" not in figures.png(first)


def test_one_column_wide_and_readable(drawn):
    from matplotlib.text import Text
    from PIL import Image

    for drawing in drawn.values():
        assert drawing.figure.get_size_inches()[0] == style.WIDTH
        texts = [text for text in drawing.figure.findobj(Text) if text.get_text()]
        assert min(text.get_fontsize() for text in texts) >= 6.5, drawing.name
        with Image.open(io.BytesIO(figures.png(drawing))) as image:
            pixels = np.asarray(image.convert("L"))
        assert pixels.shape[1] == round(style.WIDTH * style.DPI)
        assert (pixels[:, [0, -1]] == 255).mean() > 0.9, drawing.name  # nothing is cut at a side


def test_each_says_in_words_and_rows_what_it_shows(drawn):
    for drawing in drawn.values():
        assert drawing.rows and drawing.title and 60 < len(drawing.alt) < 700, drawing.name
        assert all(list(row) for row in drawing.rows)


def test_values_are_those_of_the_tables(known, drawn):
    row = known.tables.leaderboard[0]
    forest = drawn["forest"].rows[0]
    for key in ("uar", "uar_lo", "uar_hi"):
        assert forest[key] == pytest.approx(100 * row[key])
    folds = [r["uar"] for r in drawn["folds"].rows if r["system"] == row["system"]]
    assert np.mean(folds) == pytest.approx(100 * row["uar_fold_mean"])
    confusion = drawn["confusion-mlp"].rows
    assert sum(r["clips"] for r in confusion) == pytest.approx(90)
    diagonal = [r["percent"] for r in confusion if r["class"] == r["labelled_as"]]
    assert np.mean(diagonal) == pytest.approx(100 * row["uar"])
    reliability = drawn["reliability-mlp"].rows
    gap = sum(r["predictions"] * abs(r["accuracy"] - r["confidence"]) for r in reliability)
    assert sum(r["predictions"] for r in reliability) == 180 and 0 < gap / 18000 < 1
    speakers = [r["uar"] for r in drawn["speakers"].rows if r["system"] == row["system"]]
    assert len(speakers) == 10 and np.mean(speakers) == pytest.approx(100 * row["uar"])  # balanced


def test_the_search_starts_with_its_first_trial_and_ends_with_the_best(known, drawn):
    rows = drawn["search-mlp"].rows
    own = [r for r in rows if r["against"] == "trials" and r["search"] == "tpe"]
    best = [float(s.best["score"]) for s in known.searches["mlp"]]
    assert own[-1]["mean"] == pytest.approx(100 * np.mean(best))
    assert [own[-1][key] for key in ("low", "high")] == pytest.approx([100 * f(best) for f in (min, max)])
    hours = [r for r in rows if r["against"] == "cpu_hours" and r["search"] == "tpe"]
    assert hours[-1]["mean"] == pytest.approx(own[-1]["mean"])
    assert hours[-1]["x"] == pytest.approx(sum(9 * n for n in range(1, 13)) * 2 / 3600)
    assert [r["search"] for r in rows].count("test") == 2
    random = [r["mean"] for r in rows if r["against"] == "trials" and r["search"].startswith("random")]
    assert len(random) == 12 and np.all(np.diff(random) > 0)


def test_forest_steps_are_trees_and_curves_are_of_the_selected(known, drawn):
    rows = [r for r in drawn["trees-random_forest"].rows if r["selected"]]
    best = known.searches["random_forest"][0].best
    trial = next(t for t in known.searches["random_forest"][0].trials if t["trial_id"] == best["trial_id"])
    size = float(trial["param.n_estimators"])
    assert [r["trees"] for r in rows if r["fold"] == 1] == [size * k / 4 for k in range(1, 5)]
    kinds = {(r["kind"], r["fold"]) for r in drawn["curves-mlp"].rows}
    assert kinds == {(k, f) for k in ("selected trial", "refit, mean over seeds") for f in (1, 2)}


@pytest.mark.parametrize(
    ("rates", "scale"), [((9e-4, 7e-4), "linear"), ((1e-3, 1e-3), "linear"), ((1e-3, 1e-5), "log")]
)
def test_learning_rates_are_written_as_numbers_over_any_span(known, rates, scale):
    few = [
        replace(s, steps=[{**row, "lr": str(rates[int(row["step"]) % 2])} for row in s.steps])
        for s in known.searches["mlp"]
    ]
    axes = searches.curves("mlp", few, ()).figure.axes[2]
    low, high = axes.get_ylim()
    shown = [t.get_text() for t in axes.get_yticklabels(which="both") if low <= t.get_position()[1] <= high]
    assert axes.get_yscale() == scale
    assert len({float(text.replace("−", "-")) for text in shown if text}) >= 2  # no markup


def test_of_few_different_fractions_three_digits_are_written(known):
    few = [
        replace(s, trials=[{**t, "param.lr": ("0.00126260971", "12", "0.18713444226813133")[k % 3]}
                           for k, t in enumerate(s.trials)])
        for s in known.searches["mlp"]
    ]  # fmt: skip
    texts = {text.get_text() for text in searches.parallel("mlp", few).figure.axes[0].texts}
    assert {"0.00126", "12", "0.187"} <= texts


def test_what_a_bundle_lacks_is_left_out(tmp_path):
    folder = make_bundle(tmp_path, corpus=make_corpus(6), systems={"svm": 1.0}, seal=False, pictures=True)
    names = {path.stem for path in folder.glob("figures/*.png")}
    own = {f"{kind}-svm" for kind in ("confusion", "reliability", "search", "parallel")}
    assert names == {"forest", "folds", "speakers", *own}
    for path in folder.glob("searches/svm/*/random.csv"):
        path.unlink()
    search(folder / "searches/svm/fold-1", 1, random=False)
    known = evidence.read(folder, bundle.tables(folder))
    own = known.searches["svm"]
    assert {r["search"] for r in searches.budget("svm", own, 0.5, "tpe").rows} == {"tpe", "test"}
    folder = make_bundle(tmp_path, systems={}, seal=False, pictures=True, name="none")
    assert [path.name for path in sorted((folder / "figures").iterdir())] == ["forest.pdf", "forest.png"]


def test_many_systems_differ_in_colour_or_marker():
    assert len({(style.colour(k), style.marker(k)) for k in range(49)}) == 49


def test_bytes_are_written_whole_or_not_at_all(tmp_path):
    files.write_texts(tmp_path, {"a.png": b"\x89PNG\r\n", "b.txt": "é"})
    assert (tmp_path / "a.png").read_bytes() == b"\x89PNG\r\n"
    (tmp_path / "c").write_text("a file, not a folder")
    with pytest.raises(SerbenchError, match="results must be writable"):
        files.write_texts(tmp_path, {"a.png": b"new", "c/d": "new"})
    assert (tmp_path / "a.png").read_bytes() == b"\x89PNG\r\n"
