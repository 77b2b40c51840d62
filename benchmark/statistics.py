"""How sure a number is: bootstrap over speakers (and seeds), sign flips, McNemar, power, Holm, letters. Pure.

Intervals and tests are conditional on the trained models: test speakers are resampled, training is not.
Random numbers are raw PCG64 words, whose stream numpy guarantees, so that a bundle verifies for good.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Sequence

import numpy as np
from scipy.special import bdtr, ndtr, stdtrit

RESAMPLES = 10_000
FLIPS = 100_000
EXACT_UP_TO = 16  # speakers: 65,536 sign patterns
MIN_SPEAKERS = 8
LEVEL = 0.95
POWER = 0.8


def _words(seed: int | Sequence[int], count: int) -> np.ndarray:
    return np.random.PCG64(seed).random_raw(count)


def resample_counts(
    clusters: int, seed: int | Sequence[int], resamples: int = RESAMPLES, draws: int | None = None
) -> np.ndarray:
    """How often each cluster is drawn, with replacement, in each resample: (resamples, clusters) float64.

    `draws` clusters a resample; without it, as many as there are.
    """
    draws = clusters if draws is None else draws
    drawn = (_words(seed, resamples * draws) % np.uint64(clusters)).astype(np.int64)
    flat = np.repeat(np.arange(resamples), draws) * clusters + drawn
    return np.bincount(flat, minlength=resamples * clusters).reshape(resamples, clusters).astype(np.float64)


def bootstrap(
    weights: np.ndarray, counts: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """Statistics of every resample, per seed on the same resample.

    Args:
        weights: (resamples, clusters) of `resample_counts`.
        counts: (seeds, clusters, K, K) confusion counts.
        statistic: (resamples, K, K) → (resamples, statistics).

    Returns:
        (seeds, resamples, statistics) float64; an interval takes the mean over seeds.
    """
    seeds, clusters, k, _ = counts.shape
    flat = counts.reshape(seeds, clusters, k * k).astype(np.float64)
    # Resamples lie innermost in memory, so that sums over classes run along them: three times faster.
    return np.stack([statistic(np.moveaxis((f.T @ weights.T).reshape(k, k, -1), -1, 0)) for f in flat])


def crossed(samples: np.ndarray, seed: int | Sequence[int]) -> np.ndarray:
    """Mean of a resample of seeds, for each resample of speakers: both drawn, apart (Owen 2007).

    S − 1 of S seeds are drawn with replacement, which makes the variance of their mean unbiased (Rao and Wu
    1988); with S it would be (S − 1)/S of that, .8 at five seeds.

    Args:
        samples: (seeds, resamples), two seeds or more.
        seed: of the draw of seeds; each system has its own, for seed 1 of two systems shares nothing.

    Returns:
        (resamples,) float64.
    """
    seeds, resamples = samples.shape
    drawn = resample_counts(seeds, seed, resamples, seeds - 1)
    return (samples.T * drawn).sum(1) / (seeds - 1)


def expanded_tail(clusters: int, level: float = LEVEL) -> float:
    """Tail probability of the expanded percentile interval (Hesterberg 2015, section 5.3).

    Φ(−√(G/(G−1))·t), t the quantile of Student's distribution with G − 1 degrees of freedom.
    """
    t = stdtrit(clusters - 1, (1 + level) / 2)
    return float(ndtr(-np.sqrt(clusters / (clusters - 1)) * t))


def interval(samples: np.ndarray, clusters: int, level: float = LEVEL) -> tuple[np.ndarray, np.ndarray]:
    """Expanded percentile limits of each column; (resamples, …) → two of (…). NaN resamples are left out."""
    tail = expanded_tail(clusters, level)
    empty = np.isnan(samples).all(0)
    filled = np.where(empty, 0.0, samples)  # numpy warns of all-NaN columns
    low, high = np.nanquantile(filled, [tail, 1 - tail], axis=0)
    return np.where(empty, np.nan, low), np.where(empty, np.nan, high)


def sign_flips(differences: np.ndarray, seed: int, flips: int = FLIPS) -> np.ndarray:
    """Two-sided sign-flip p-values of the mean of each column.

    Args:
        differences: (clusters, pairs), one difference a cluster.
        seed: of the flips, used above 16 clusters; the p-value then is (1 + hits) / (1 + flips).
        flips: how many.

    Returns:
        (pairs,) p-values; exact up to 16 clusters.
    """
    clusters = differences.shape[0]
    exact = clusters <= EXACT_UP_TO
    if exact:
        places = np.arange(clusters, dtype=np.uint64)
        bits = np.arange(2**clusters, dtype=np.uint64)[:, None] >> places & np.uint64(1)
    else:
        bits = (_words(seed, flips * clusters) >> np.uint64(63)).reshape(flips, clusters)
    flipped = np.abs((1.0 - 2.0 * bits) @ differences)
    # Patterns equal to the observed one must count whatever the order of the sum.
    slack = 1e-12 * np.abs(differences).sum(0)
    hits = (flipped >= np.abs(differences.sum(0)) - slack).sum(0)
    return hits / len(bits) if exact else (1 + hits) / (1 + flips)


def mcnemar(only_one: int, only_other: int) -> float:
    """Two-sided exact p-value of clips that one of two systems alone got right (McNemar 1947, binomial).

    Clips of one speaker are taken for independent, which they are not: a diagnostic.
    """
    return min(1.0, 2 * float(bdtr(min(only_one, only_other), only_one + only_other, 0.5)))


def min_detectable(differences: np.ndarray, alpha: float, power: float = POWER) -> np.ndarray:
    """Mean difference that a two-sided paired t-test at `alpha` would find with `power` (Bloom 1995).

    (t(1 − α/2) + t(power)) · SD/√G, t the quantiles of Student's distribution with G − 1 degrees of freedom,
    SD that of the G differences seen. The sign-flip test has about the t-test's power.

    Args:
        differences: (clusters, pairs), one difference a cluster.
        alpha: level of the test.
        power: probability to find it.

    Returns:
        (pairs,), in the unit of `differences`.
    """
    clusters = differences.shape[0]
    standard_error = differences.std(0, ddof=1) / np.sqrt(clusters)
    return (stdtrit(clusters - 1, 1 - alpha / 2) + stdtrit(clusters - 1, power)) * standard_error


def holm(p_values: Sequence[float] | np.ndarray) -> np.ndarray:
    """Step-down adjusted p-values (Holm 1979), in the order given."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return adjusted


def letters(count: int, different: set[tuple[int, int]]) -> list[str]:
    """Compact letter display by insert and absorb (Piepho 2004); systems 0 … count−1, best first.

    Two systems share a letter exactly where their pair is not in `different`; the best has an 'a'.
    """
    groups = [frozenset(range(count))]
    for i, j in sorted(different):
        split = []
        for group in groups:
            split += [group - {i}, group - {j}] if {i, j} <= group else [group]
        groups = [g for g in dict.fromkeys(split) if not any(g < other for other in split)]
    groups.sort(key=sorted)
    return ["".join(string.ascii_letters[n] for n, g in enumerate(groups) if i in g) for i in range(count)]
