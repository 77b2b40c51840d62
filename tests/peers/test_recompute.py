"""A reviewer's script: a bundle's numbers from predictions.csv with scikit-learn, nothing of the project."""

import csv
import json
import math
from pathlib import Path
from statistics import NormalDist, mean, stdev

import numpy as np
import pytest
from helpers import make_bundle, make_corpus
from sklearn import metrics as sk

COMMITTED = sorted(path.parent for path in Path(__file__).parents[2].glob("results/*/SHA256SUMS"))


def read(bundle, system):
    """Return the class list and fold, seed → (truth, predicted, probabilities)."""
    classes, runs = json.loads((bundle / "corpus.json").read_text())["classes"], {}
    for path in sorted(bundle.glob(f"runs/{system}/fold-*/seed-*/predictions.csv")):
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        truth, predicted = ([classes.index(row[key]) for row in rows] for key in ("label", "predicted"))
        p = np.array([[float(row[f"p_{c}"]) for c in classes] for row in rows])
        runs[path.parts[-3], path.parts[-2]] = np.array(truth), np.array(predicted), p
    return classes, runs


def pool(runs):
    """Return each seed's clips of all folds."""
    by_seed = [[run for key, run in runs.items() if key[1] == seed] for seed in sorted({s for _, s in runs})]
    return [tuple(map(np.concatenate, zip(*own, strict=True))) for own in by_seed]


def score(truth, predicted, p):
    """Return what is computed from clips that are pooled."""
    present = np.unique(truth)
    macro, weighted = (
        sk.precision_recall_fscore_support(truth, predicted, labels=present, average=kind, zero_division=0)
        for kind in ("macro", "weighted")
    )
    bins, right, top = np.minimum((p.max(1) * 15).astype(int), 14), predicted == truth, p.max(1)
    gaps = [abs(right[bins == b].mean() - top[bins == b].mean()) * (bins == b).mean() for b in set(bins)]
    values = {"accuracy": sk.accuracy_score(truth, predicted), "uar": macro[1], "macro_f1": macro[2]}
    values |= {"weighted_f1": weighted[2], "macro_precision": macro[0], "weighted_precision": weighted[0]}
    return values | {"ece": sum(gaps), "brier": ((p - np.eye(p.shape[1])[truth]) ** 2).sum(1).mean()}


def leaderboard(runs):
    """Return a row's numbers: all but intervals."""
    pooled, by_run = ([score(*clips) for clips in parts] for parts in (pool(runs), runs.values()))
    row = {name: mean(seed[name] for seed in pooled) for name in pooled[0]}
    for name in ("accuracy", "uar", "macro_f1"):
        row[f"{name}_fold_mean"] = mean(run[name] for run in by_run)
    row |= {f"{name}_seed_sd": stdev(seed[name] for seed in pooled) for name in ("accuracy", "uar")}
    for name, function in (("auc", sk.roc_auc_score), ("average_precision", sk.average_precision_score)):
        of_runs = [mean(function(t == k, p[:, k]) for k in np.unique(t)) for t, _, p in runs.values()]
        row[name] = np.average(of_runs, weights=[len(truth) for truth, _, _ in runs.values()])
    return row | {"d_prime": math.sqrt(2) * NormalDist().inv_cdf(min(max(row["auc"], 1e-6), 1 - 1e-6))}


def per_class(classes, runs):
    """Return precision, recall, F1, support and confusion of each class, means over seeds."""
    k = range(len(classes))
    of_seeds = [
        np.vstack([
            sk.precision_recall_fscore_support(truth, predicted, labels=k, zero_division=0),
            sk.confusion_matrix(truth, predicted, labels=k).T,
        ])
        for truth, predicted, _ in pool(runs)
    ]  # fmt: skip
    names = ["precision", "recall", "f1", "support", *(f"as_{c}" for c in classes)]
    return [dict(zip(names, column, strict=True)) for column in np.mean(of_seeds, axis=0).T]


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
        classes, runs = read(bundle, row["system"])
        recomputed = leaderboard(runs)
        assert recomputed == pytest.approx(stored, rel=1e-9, abs=1e-9), row["system"]
        uar[row["system"]] = recomputed["uar"]
        of_classes, _ = stored_rows(bundle / f"per_class/{row['system']}.csv")
        for one, other in zip(per_class(classes, runs), of_classes, strict=True):
            assert one == pytest.approx(other, rel=1e-9, abs=1e-9), row["system"]
    with (bundle / "pairwise.csv").open(newline="") as file:
        for pair in csv.DictReader(file):
            assert float(pair["effect"]) == pytest.approx(uar[pair["system_a"]] - uar[pair["system_b"]])


def test_scikit_learn_recomputes_every_number_of_a_made_bundle(tmp_path):
    assert_recomputed(make_bundle(tmp_path, corpus=make_corpus(11, 2), seeds=3, folds=3))


@pytest.mark.slow
@pytest.mark.parametrize("bundle", COMMITTED, ids=lambda bundle: bundle.name)
def test_scikit_learn_recomputes_every_number_of_the_committed_bundles(bundle):
    assert_recomputed(bundle)
