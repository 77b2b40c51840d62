"""The cluster bootstrap as matrix products against a loop that calls scikit-learn, on the same resamples."""

from collections.abc import Iterator

import numpy as np
from _bench import Comparison, Side
from sklearn.metrics import recall_score

from benchmark import metrics, statistics

REPEATS = 5
SPEAKERS, CLIPS, CLASSES, SEEDS = 24, 60, 8, 5


def matrix_products(truth, predicted, speaker, resamples: int) -> np.ndarray:
    """UAR of each resample, averaged over seeds."""
    counts = np.stack([metrics.confusion(truth, p, CLASSES, speaker, SPEAKERS) for p in predicted])
    weights = statistics.resample_counts(SPEAKERS, 0, resamples)
    return statistics.bootstrap(weights, counts, lambda c: metrics.uar(c)[:, None]).mean(0)[:, 0]


def scikit_learn_loop(truth, predicted, speaker, resamples: int) -> np.ndarray:
    """The same, clip by clip."""
    clips = [np.flatnonzero(speaker == s) for s in range(SPEAKERS)]
    values = []
    for drawn in statistics.resample_counts(SPEAKERS, 0, resamples):
        rows = np.concatenate([np.repeat(clips[s], int(n)) for s, n in enumerate(drawn)])
        values.append(np.mean([recall_score(truth[rows], p[rows], average="macro") for p in predicted]))
    return np.array(values)


def comparisons(tiny: bool = False) -> Iterator[Comparison]:
    fast, slow = (50, 5) if tiny else (10_000, 20)  # resamples; the loop is timed on the first few alone
    generator = np.random.default_rng(0)
    speaker = np.repeat(np.arange(SPEAKERS), CLIPS)
    truth, *predicted = generator.integers(0, CLASSES, (1 + SEEDS, SPEAKERS * CLIPS))
    data = truth, np.array(predicted), speaker
    yield Comparison(
        f"bootstrap of UAR: {SPEAKERS} speakers, {SPEAKERS * CLIPS:,} clips, {SEEDS} seeds",
        "resamples",
        Side(f"matrix products, {fast:,} resamples", fast, lambda: matrix_products(*data, fast)),
        Side(f"loop over scikit-learn, {slow} resamples", slow, lambda: scikit_learn_loop(*data, slow)),
        lambda ours, other: np.allclose(ours[: len(other)], other, rtol=0, atol=1e-12),
    )
