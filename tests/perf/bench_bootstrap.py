"""The cluster bootstrap as matrix products against a loop that calls scikit-learn, on the same resamples.

Run by `make perf`: `main()` prints a row of tests/perf/README.md (name, alternative, ratio).
"""

from statistics import median
from time import perf_counter

import numpy as np
import pytest
from sklearn.metrics import recall_score

from benchmark import metrics, statistics

SPEAKERS, CLIPS, CLASSES, SEEDS = 24, 60, 8, 5
FAST, SLOW = 10_000, 20  # resamples; the loop is timed on few and counted per resample


def matrix_products(truth, predicted, speaker, resamples: int) -> np.ndarray:
    """UAR of each resample, averaged over seeds."""
    counts = np.stack([metrics.confusion(truth, p, CLASSES, speaker, SPEAKERS) for p in predicted])
    weights = statistics.resample_counts(SPEAKERS, 0, resamples)
    return statistics.bootstrap(weights, counts, lambda c: metrics.uar(c)[:, None])[:, 0]


def scikit_learn_loop(truth, predicted, speaker, resamples: int) -> np.ndarray:
    """The same, clip by clip."""
    clips = [np.flatnonzero(speaker == s) for s in range(SPEAKERS)]
    values = []
    for drawn in statistics.resample_counts(SPEAKERS, 0, resamples):
        rows = np.concatenate([np.repeat(clips[s], int(n)) for s, n in enumerate(drawn)])
        values.append(np.mean([recall_score(truth[rows], p[rows], average="macro") for p in predicted]))
    return np.array(values)


def timed(function, *arguments) -> float:
    """Median seconds of three calls."""
    seconds = []
    for _ in range(3):
        begun = perf_counter()
        function(*arguments)
        seconds.append(perf_counter() - begun)
    return median(seconds)


def main() -> float:
    """Print the row; return the ratio of seconds a resample."""
    generator = np.random.default_rng(0)
    speaker = np.repeat(np.arange(SPEAKERS), CLIPS)
    truth, *predicted = generator.integers(0, CLASSES, (1 + SEEDS, SPEAKERS * CLIPS))
    data = truth, np.array(predicted), speaker
    assert np.allclose(matrix_products(*data, SLOW), scikit_learn_loop(*data, SLOW))
    fast, slow = timed(matrix_products, *data, FAST) / FAST, timed(scikit_learn_loop, *data, SLOW) / SLOW
    print(
        f"| bootstrap, {FAST:,} resamples of {SPEAKERS} speakers, {SEEDS} seeds: {fast * FAST:.2f} s "
        f"| scikit-learn loop: {slow * FAST:.0f} s | {slow / fast:.0f} × |"
    )
    return slow / fast


@pytest.mark.perf
def test_bootstrap_against_a_scikit_learn_loop(capsys):
    with capsys.disabled():
        assert main() > 0


if __name__ == "__main__":
    main()
