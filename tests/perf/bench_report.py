"""A whole report, with every interval, against a loop over scikit-learn that computes resamples alone."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from _bench import Comparison, Side
from helpers import make_bundle, make_corpus
from sklearn.metrics import accuracy_score, f1_score, precision_recall_fscore_support, recall_score

from benchmark import bundle, scores, statistics
from benchmark.report import leaderboard
from benchmark.scores import Run

REPEATS = 3
RESAMPLED = 2  # by the loop, of 10,000


def scikit_learn_loop(runs: list[Run], weights: np.ndarray, classes: int) -> dict[str, np.ndarray]:
    """System → (resamples, statistics) that its intervals are made of, from clips that are read already."""
    speakers = sorted({s for run in runs for s in run.speakers})
    systems = {run.system: [r for r in runs if r.system == run.system] for run in runs}
    return {name: _resampled(own, speakers, weights, classes) for name, own in systems.items()}


def _resampled(runs: list[Run], speakers: list[str], weights: np.ndarray, classes: int) -> np.ndarray:
    of_seeds = []
    for seed in sorted({run.seed for run in runs}):
        own = [run for run in runs if run.seed == seed]
        speaker = np.concatenate([run.speakers for run in own])
        truth, predicted = (np.concatenate([getattr(r, key) for r in own]) for key in ("truth", "predicted"))
        clips = [np.flatnonzero(speaker == name) for name in speakers]
        values = []
        for drawn in weights:
            rows = np.concatenate([np.repeat(clips[s], int(n)) for s, n in enumerate(drawn)])
            t, p = truth[rows], predicted[rows]
            macro = (score(t, p, average="macro", zero_division=0) for score in (recall_score, f1_score))
            by_class = precision_recall_fscore_support(t, p, labels=range(classes), zero_division=0)
            values.append(np.concatenate([[accuracy_score(t, p), *macro], *by_class[:3]]))
        of_seeds.append(values)
    return np.mean(of_seeds, axis=0)


def matrix_products(runs: list[Run], weights: np.ndarray, classes: int) -> dict[str, np.ndarray]:
    """The same as the program computes it."""
    speakers = {s: i for i, s in enumerate(sorted({s for run in runs for s in run.speakers}))}
    made = {}
    for name in {run.system for run in runs}:
        counts = scores._speaker_counts([r for r in runs if r.system == name], speakers, classes)
        made[name] = statistics.bootstrap(weights, counts, scores._interval_statistics).mean(0)
    return made


def comparisons(tiny: bool = False) -> Iterator[Comparison]:
    systems, folds, seeds, speakers, clips = (2, 2, 2, 8, 2) if tiny else (8, 24, 5, 24, 7)
    corpus = make_corpus(speakers, clips, tuple("abcdefgh"))  # clips of a speaker and class
    leans = {f"system{n}": 0.5 + 0.2 * n for n in range(systems)}
    with tempfile.TemporaryDirectory() as place:
        folder = make_bundle(Path(place), corpus=corpus, folds=folds, seeds=seeds, systems=leans)
        runs = bundle.read_runs(folder)
        weights = statistics.resample_counts(speakers, 7)[:RESAMPLED]
        rows = len({run.system for run in runs})  # with published configurations and the majority
        yield Comparison(
            f"report: {systems} systems searched ({rows} rows) × {folds} folds × {seeds} "
            "seeds, every interval, no figures",
            "reports",
            Side("files read, scored, written", 1, lambda: leaderboard.write(folder, pictures=False)),
            Side(
                f"loop over scikit-learn, {RESAMPLED} of {statistics.RESAMPLES:,} resamples, no files",
                RESAMPLED / statistics.RESAMPLES,
                lambda: scikit_learn_loop(runs, weights, 8),
            ),
            lambda ours, other: (
                {row["system"] for row in ours} == set(other)
                and all(row["macro_f1_lo"] < row["macro_f1_hi"] for row in ours if row["rank"])
                and all(
                    np.allclose(values, other[name], rtol=0, atol=1e-12)
                    for name, values in matrix_products(runs, weights, 8).items()
                )
            ),
        )
