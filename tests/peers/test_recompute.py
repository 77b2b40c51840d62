"""A reviewer's script: the leaderboard's numbers from predictions.csv with pandas-free scikit-learn alone."""

import csv
import json
import math
from statistics import NormalDist, mean, stdev

import numpy as np
import pytest
from helpers import make_bundle, make_corpus
from sklearn import metrics as sk


def recompute(bundle, system):
    """Return the point metrics of one system; imports nothing of the project."""
    classes = json.loads((bundle / "corpus.json").read_text())["classes"]
    runs = {}
    for path in sorted(bundle.glob(f"runs/{system}/fold-*/seed-*/predictions.csv")):
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        truth, predicted = ([classes.index(row[key]) for row in rows] for key in ("label", "predicted"))
        p = np.array([[float(row[f"p_{c}"]) for c in classes] for row in rows])
        runs[path.parts[-3], path.parts[-2]] = np.array(truth), np.array(predicted), p

    def counts(truth, predicted, p):
        macro, weighted = (
            sk.precision_recall_fscore_support(
                truth, predicted, labels=np.unique(truth), average=average, zero_division=0
            )
            for average in ("macro", "weighted")
        )
        edges = np.minimum((p.max(1) * 15).astype(int), 14)
        right = predicted == truth
        ece = sum(
            abs(right[edges == b].mean() - p.max(1)[edges == b].mean()) * (edges == b).mean()
            for b in np.unique(edges)
        )
        values = {"accuracy": sk.accuracy_score(truth, predicted), "uar": macro[1], "macro_f1": macro[2]}
        values |= {"weighted_f1": weighted[2], "macro_precision": macro[0], "weighted_precision": weighted[0]}
        return values | {"ece": ece, "brier": ((p - np.eye(len(classes))[truth]) ** 2).sum(1).mean()}

    seeds = sorted({seed for _, seed in runs})
    pooled = [
        counts(*map(np.concatenate, zip(*(r for k, r in runs.items() if k[1] == s), strict=True)))
        for s in seeds
    ]
    by_run = [counts(*run) for run in runs.values()]
    row = {name: mean(seed[name] for seed in pooled) for name in pooled[0]}
    row |= {
        f"{name}_fold_mean": mean(run[name] for run in by_run) for name in ("accuracy", "uar", "macro_f1")
    }
    row |= {f"{name}_seed_sd": stdev(seed[name] for seed in pooled) for name in ("accuracy", "uar")}
    clips = [len(truth) for truth, _, _ in runs.values()]
    for name, function in (("auc", sk.roc_auc_score), ("average_precision", sk.average_precision_score)):
        of_runs = [mean(function(t == k, p[:, k]) for k in np.unique(t)) for t, _, p in runs.values()]
        row[name] = np.average(of_runs, weights=clips)
    return row | {"d_prime": math.sqrt(2) * NormalDist().inv_cdf(row["auc"])}


@pytest.mark.parametrize("system", ["svm", "mlp", "mlp-published", "majority"])
def test_scikit_learn_recomputes_the_leaderboard(tmp_path, system):
    bundle = make_bundle(tmp_path, corpus=make_corpus(11, 2), seeds=3, folds=3)
    with (bundle / "leaderboard.csv").open(newline="") as file:
        (stored,) = [row for row in csv.DictReader(file) if row["system"] == system]
    recomputed = recompute(bundle, system)
    points = [
        c
        for c in stored
        if c.startswith(("accuracy", "uar", "macro_", "weighted_")) and c[-3:] not in ("_lo", "_hi")
    ]
    assert set(recomputed) == {*points, "auc", "average_precision", "d_prime", "ece", "brier"}
    for column, value in recomputed.items():
        assert float(stored[column]) == pytest.approx(value, rel=1e-9, abs=1e-9), column
