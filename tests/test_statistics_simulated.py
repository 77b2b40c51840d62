"""What intervals and tests promise, kept: 10,000 made-up corpora of RAVDESS's size at a fixed seed."""

import numpy as np
import pytest

from benchmark import metrics, statistics

RUNS, CHUNK = 10_000, 250
CLIPS = np.array([4, 8, 8, 8, 8, 8, 8, 8])  # of a speaker, a class
RECALL = np.linspace(0.34, 0.7, len(CLIPS))  # of the classes, over all speakers that there could be
SPEAKER_SD = 0.09


def drawn_counts(generator: np.random.Generator, speakers: int) -> np.ndarray:
    """Confusion counts of one seed: (CHUNK, speakers, K, K); speakers differ in how clear they are."""
    effect = SPEAKER_SD * generator.normal(size=(CHUNK, speakers, 1)).clip(-3, 3)
    right = generator.binomial(CLIPS, RECALL + effect)
    k = np.arange(len(CLIPS))
    counts = np.zeros((CHUNK, speakers, len(k), len(k)))
    counts[..., k, k], counts[..., k, k - 1] = right, CLIPS - right
    return counts


@pytest.mark.slow
@pytest.mark.parametrize("speakers", [24, 10])
def test_the_interval_covers_the_truth_in_95_of_100_corpora(speakers):
    generator = np.random.default_rng(speakers)
    weights = statistics.resample_counts(speakers, seed=0, resamples=1_000)
    covered = 0
    for _ in range(RUNS // CHUNK):
        counts = drawn_counts(generator, speakers)  # a corpus in the place of a seed
        samples = statistics.bootstrap(weights, counts, lambda c: metrics.uar(c)[:, None])[..., 0]
        low, high = statistics.interval(samples.T, speakers)
        covered += ((low <= RECALL.mean()) & (RECALL.mean() <= high)).sum()
    assert 0.93 <= covered / RUNS <= 0.97


@pytest.mark.slow
@pytest.mark.parametrize("speakers", [24, 10])
def test_sign_flips_find_a_difference_between_equal_systems_in_5_of_100_corpora(speakers):
    generator = np.random.default_rng(speakers)
    found = 0
    for seed in range(RUNS // CHUNK):
        one, other = (metrics.uar(drawn_counts(generator, speakers)) for _ in range(2))
        found += (statistics.sign_flips((one - other).T, seed, flips=10_000) <= 0.05).sum()
    assert 0.04 <= found / RUNS <= 0.055


@pytest.mark.parametrize(("speakers", "alpha"), [(24, 0.05), (24, 0.05 / 28), (10, 0.05)])
def test_sign_flips_find_the_detectable_difference_in_80_of_100_corpora(speakers, alpha):
    generator = np.random.default_rng(speakers)
    noise = generator.normal(size=(speakers, 1000))
    known = np.resize([-1.0, 1.0], (speakers, 1))
    effect = statistics.min_detectable(known / known.std(ddof=1), alpha)  # of a standard deviation of 1
    p = statistics.sign_flips(noise + effect, seed=1, flips=20_000)
    assert (p <= alpha).mean() == pytest.approx(0.8, abs=0.05)
