"""What stands in a bundle's tables is what a script of a few lines makes of its predictions."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
import recompute
from helpers import make_bundle, make_corpus

from benchmark import external
from benchmark.report import leaderboard

COMMITTED = sorted(path.parent for path in Path(__file__).parents[2].glob("results/*/SHA256SUMS"))


def stored_rows(path):
    """Return the cells of a table, intervals and what is no metric left out."""
    known = ("accuracy", "uar", "macro_", "weighted_", "auc", "average_", "d_prime", "ece", "brier",
             "precision", "recall", "f1", "support", "as_")  # fmt: skip
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    kept = [key for key in rows[0] if key.startswith(known) and not key.endswith(("_lo", "_hi"))]
    return [{key: float(row[key]) for key in kept} for row in rows], rows


def assert_recomputed(bundle):
    numbers, rows = stored_rows(bundle / "leaderboard.csv")
    uar = {}
    for stored, row in zip(numbers, rows, strict=True):
        recomputed, classwise = recompute.system(bundle / "runs" / row["system"])
        assert recomputed == pytest.approx(stored, rel=1e-9, abs=1e-9), row["system"]
        uar[row["system"]] = recomputed["uar"]
        of_classes, _ = stored_rows(bundle / f"per_class/{row['system']}.csv")
        for one, other in zip(classwise, of_classes, strict=True):
            assert one == pytest.approx(other, rel=1e-9, abs=1e-9), row["system"]
    with (bundle / "pairwise.csv").open(newline="") as file:
        for pair in csv.DictReader(file):
            assert float(pair["effect"]) == pytest.approx(uar[pair["system_a"]] - uar[pair["system_b"]])


def test_scikit_learn_recomputes_every_number_of_a_made_bundle(tmp_path):
    made = make_bundle(tmp_path, corpus=make_corpus(11, 2), seeds=3, folds=3)
    assert_recomputed(made)
    done = subprocess.run([sys.executable, recompute.__file__, made], capture_output=True, check=True)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["system"] for line in lines] == sorted(place.name for place in (made / "runs").iterdir())


def test_a_system_from_elsewhere_with_labels_alone_is_recomputed_as_far_as_it_goes(tmp_path, monkeypatch):
    made = make_bundle(tmp_path)
    clips = list(csv.DictReader((made / "manifest.csv").read_text().splitlines()))
    table = tmp_path / "theirs.csv"
    table.write_text("id,predicted\n" + "".join(f"{row['id']},{row['label']}\n" for row in clips))
    monkeypatch.setattr(leaderboard, "_pictures", lambda known, texts, note: {})
    external.join(made, table, "theirs")
    row, _ = recompute.system(made / "runs" / "theirs")
    assert row["uar"] == row["uar_fold_mean"] == 1 and "auc" not in row and "uar_seed_sd" not in row


@pytest.mark.slow
@pytest.mark.parametrize("bundle", COMMITTED, ids=lambda bundle: bundle.name)
def test_scikit_learn_recomputes_every_number_of_the_committed_bundles(bundle):
    assert_recomputed(bundle)
