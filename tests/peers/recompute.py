"""A reviewer's script, nothing of the project in it: a bundle's numbers from predictions.csv alone.

`python tests/peers/recompute.py results/BUNDLE` prints them as JSON, a system a line.
"""

import csv
import json
import math
import sys
from pathlib import Path
from statistics import NormalDist, mean, stdev

import numpy as np
from sklearn import metrics as sk


def system(folder):
    """Return the row of the leaderboard and those of per_class of runs/SYSTEM, intervals aside."""
    runs = {
        (path.parts[-2], path.parts[-3]): read(path) for path in sorted(folder.glob("*/*/predictions.csv"))
    }
    classes = next(iter(runs.values()))[0]
    runs = {key: run[1:] for key, run in runs.items()}  # (seed, fold) → truth, predicted, probabilities
    seeds = [[run for key, run in runs.items() if key[0] == s] for s in sorted({s for s, _ in runs})]
    seeds = [tuple(map(np.concatenate, zip(*own, strict=True))) for own in seeds]
    pooled, by_run = ([score(*clips) for clips in part] for part in (seeds, runs.values()))
    row = {name: mean(one[name] for one in pooled) for name in pooled[0]}
    row |= {f"{m}_fold_mean": mean(one[m] for one in by_run) for m in ("accuracy", "uar", "macro_f1")}
    row |= {f"{m}_seed_sd": stdev(one[m] for one in pooled) for m in ("accuracy", "uar") if len(pooled) > 1}
    if "ece" in row:
        for name, function in (("auc", sk.roc_auc_score), ("average_precision", sk.average_precision_score)):
            values = [mean(function(t == k, p[:, k]) for k in np.unique(t)) for t, _, p in runs.values()]
            row[name] = np.average(values, weights=[len(truth) for truth, _, _ in runs.values()])
        row["d_prime"] = math.sqrt(2) * NormalDist().inv_cdf(min(max(row["auc"], 1e-6), 1 - 1e-6))
    k, names = range(len(classes)), ["precision", "recall", "f1", "support", *(f"as_{c}" for c in classes)]
    parts = [sk.precision_recall_fscore_support(t, y, labels=k, zero_division=0) for t, y, _ in seeds]
    matrices = [sk.confusion_matrix(t, y, labels=k).T for t, y, _ in seeds]
    cells = np.mean([np.vstack(both) for both in zip(parts, matrices, strict=True)], axis=0)
    return row, [dict(zip(names, column, strict=True)) for column in cells.T.tolist()]


def read(path):
    """Return the class list, and truth, predicted and probabilities of a run."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    classes = [name[2:] for name in rows[0] if name.startswith("p_")]
    truth, predicted = (np.array([classes.index(row[key]) for row in rows]) for key in ("label", "predicted"))
    return (
        classes,
        truth,
        predicted,
        np.array([[float(row[f"p_{c}"] or "nan") for c in classes] for row in rows]),
    )


def score(truth, predicted, p):
    """Return what is computed from clips that are pooled; a bin of ECE is closed below."""
    of = {"labels": np.unique(truth), "zero_division": 0}
    macro, weighted = (
        sk.precision_recall_fscore_support(truth, predicted, average=kind, **of)
        for kind in ("macro", "weighted")
    )
    values = {
        "accuracy": sk.accuracy_score(truth, predicted), "uar": macro[1], "macro_f1": macro[2],
        "weighted_f1": weighted[2], "macro_precision": macro[0], "weighted_precision": weighted[0],
    }  # fmt: skip
    if np.isnan(p).any():  # labels alone, of a system from elsewhere
        return values
    bins, right, top = np.minimum((p.max(1) * 15).astype(int), 14), predicted == truth, p.max(1)
    gaps = [abs(right[bins == b].mean() - top[bins == b].mean()) * (bins == b).mean() for b in set(bins)]
    return values | {"ece": sum(gaps), "brier": ((p - np.eye(p.shape[1])[truth]) ** 2).sum(1).mean()}


if __name__ == "__main__":
    for place in sorted(Path(sys.argv[1]).glob("runs/*")):
        row, classwise = system(place)
        print(json.dumps({"system": place.name, **row, "classes": classwise}))
