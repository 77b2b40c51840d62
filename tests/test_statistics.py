"""Intervals, tests and letters against slow, independent and hand-worked answers."""

from itertools import combinations, product

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark import metrics, statistics


def speaker_counts(generator, speakers=9, seeds=2, classes=3):
    return generator.integers(0, 6, (seeds, speakers, classes, classes))


def test_bootstrap_equals_a_loop_over_resamples_seeds_and_speakers():
    counts = speaker_counts(np.random.default_rng(0))
    weights = statistics.resample_counts(9, seed=3, resamples=50)
    fast = statistics.bootstrap(weights, counts, lambda c: metrics.uar(c)[:, None]).mean(0)[:, 0]
    for drawn, value in zip(weights, fast, strict=True):
        of_seed = []
        for seed in range(2):
            pooled = np.zeros((3, 3))
            for speaker, times in enumerate(drawn):
                for _ in range(int(times)):
                    pooled += counts[seed, speaker]
            of_seed.append(np.mean([pooled[k, k] / pooled[k].sum() for k in range(3)]))
        assert value == pytest.approx(np.mean(of_seed), abs=1e-12)


def test_resamples_draw_as_many_clusters_each_equally_often():
    weights = statistics.resample_counts(24, seed=1)
    assert weights.shape == (10_000, 24) and (weights.sum(1) == 24).all()
    assert weights.mean(0) == pytest.approx(np.ones(24), abs=0.05)
    assert weights.var(0) == pytest.approx(np.full(24, 23 / 24), abs=0.08)
    assert np.array_equal(weights, statistics.resample_counts(24, seed=1))
    assert not np.array_equal(weights, statistics.resample_counts(24, seed=2))


@pytest.mark.parametrize("clusters", [8, 24, 91])
def test_expanded_percentile_agrees_with_a_slow_independent_one(clusters):
    """Hesterberg 2015: z-equivalent of the t quantile, stretched by √(n/(n−1)), then sorted values."""
    samples = np.random.default_rng(clusters).normal(size=2001)
    t = scipy.stats.t.ppf(0.975, clusters - 1)
    level = scipy.stats.norm.cdf(-t * (clusters / (clusters - 1)) ** 0.5)
    ordered = sorted(samples)

    def at(q):
        place = q * (len(ordered) - 1)
        below = int(place)
        above = min(below + 1, len(ordered) - 1)
        return ordered[below] + (place - below) * (ordered[above] - ordered[below])

    low, high = statistics.interval(samples[:, None], clusters)
    assert low[0] == pytest.approx(at(level), abs=1e-12)
    assert high[0] == pytest.approx(at(1 - level), abs=1e-12)


def test_expanded_tail_is_wider_than_the_plain_one_and_tends_to_it():
    tails = [statistics.expanded_tail(n) for n in (5, 8, 24, 1000)]
    assert tails == sorted(tails) and tails[-1] == pytest.approx(0.025, rel=0.01) and tails[0] < 0.001


def test_interval_leaves_out_undefined_resamples():
    samples = np.array([[np.nan, np.nan], [1.0, np.nan], [1.0, np.nan]])
    low, high = statistics.interval(samples, 24)
    assert low[0] == high[0] == 1.0 and np.isnan([low[1], high[1]]).all()


@pytest.mark.parametrize(("speakers", "least"), [(24, 0.93), (8, 0.92)])
def test_intervals_cover_the_truth_about_as_often_as_they_say(speakers, least):
    """Speakers differ in ability; 400 corpora of known mean accuracy; the plain percentile does worse."""
    generator = np.random.default_rng(speakers)
    weights = statistics.resample_counts(speakers, seed=5, resamples=1000)
    covered = plain = 0
    for _ in range(400):
        ability = generator.beta(6, 4, size=speakers)
        right = generator.binomial(40, ability)
        counts = np.zeros((1, speakers, 2, 2))
        counts[0, :, 0, 0], counts[0, :, 0, 1] = right, 40 - right
        (samples,) = statistics.bootstrap(weights, counts, lambda c: metrics.accuracy(c)[:, None])
        low, high = statistics.interval(samples, speakers)
        covered += low[0] <= 0.6 <= high[0]
        low, high = np.quantile(samples, [0.025, 0.975])
        plain += low <= 0.6 <= high
    assert least <= covered / 400 <= 0.98
    assert plain < covered


@given(st.lists(st.integers(-5, 5), min_size=2, max_size=9))
@settings(deadline=None, max_examples=40)
def test_sign_flips_are_exact_against_brute_force(differences):
    d = np.array(differences) / 7
    patterns = [abs(sum(s * v for s, v in zip(signs, differences, strict=True))) for signs in
                product((1, -1), repeat=len(d))]  # fmt: skip
    expected = np.mean([value >= abs(sum(differences)) for value in patterns])
    assert statistics.sign_flips(d[:, None], seed=0)[0] == pytest.approx(expected, abs=1e-12)


def test_sign_flips_of_a_clean_win_and_of_no_difference():
    assert statistics.sign_flips(np.full((16, 1), 0.1), seed=0)[0] == 2 / 2**16
    assert statistics.sign_flips(np.zeros((16, 1)), seed=0)[0] == 1
    assert statistics.sign_flips(np.full((24, 1), 0.1), seed=0)[0] == 1 / 100_001
    assert statistics.sign_flips(np.zeros((24, 1)), seed=0)[0] == 1


def test_sampled_sign_flips_agree_with_the_exact_answer_and_repeat_at_a_seed():
    d = np.random.default_rng(2).normal(0.3, 1, size=(17, 3))
    p = statistics.sign_flips(d, seed=4)
    signs = np.array(list(product((1, -1), repeat=17)))
    exact = (np.abs(signs @ d) >= np.abs(d.sum(0)) - 1e-12).mean(0)
    assert p == pytest.approx(exact, abs=4 * np.sqrt(0.25 / 100_000))
    assert np.array_equal(p, statistics.sign_flips(d, seed=4))


def test_mcnemar_is_the_two_sided_binomial_test():
    for one, other in [(0, 0), (5, 0), (3, 9), (9, 3), (40, 41), (700, 600)]:
        expected = scipy.stats.binomtest(one, one + other).pvalue if one + other else 1
        assert statistics.mcnemar(one, other) == pytest.approx(expected, abs=1e-12)


def test_crossed_equals_a_loop_over_resamples_and_drawn_seeds():
    samples = np.random.default_rng(0).random((3, 40))
    drawn = np.random.PCG64([5, 6]).random_raw(80).reshape(40, 2) % 3
    slow = [np.mean([samples[s, r] for s in drawn[r]]) for r in range(40)]
    assert statistics.crossed(samples, (5, 6)) == pytest.approx(slow, abs=1e-15)


@pytest.mark.parametrize("seeds", [2, 5])
def test_crossed_adds_the_variance_of_a_mean_over_so_many_seeds(seeds):
    """Speakers alike, so that seeds alone spread: on average by σ²/S, though only S seeds are seen."""
    generator = np.random.default_rng(seeds)
    runs = [np.repeat(generator.normal(size=(seeds, 1)), 200, axis=1) for _ in range(3000)]
    variances = [statistics.crossed(samples, (1, n)).var(ddof=1) for n, samples in enumerate(runs)]
    assert np.mean(variances) == pytest.approx(1 / seeds, rel=0.06)


@pytest.mark.parametrize(("speakers", "tests"), [(24, 1), (24, 28), (10, 3)])
def test_the_detectable_difference_is_found_four_times_in_five(speakers, tests):
    """Power of the paired t-test by its noncentral distribution, which the formula approximates."""
    differences = np.random.default_rng(speakers).normal(size=(speakers, 2))
    alpha = 0.05 / tests
    least = statistics.min_detectable(differences, alpha)
    for column, effect in enumerate(least):
        shift = effect / (differences[:, column].std(ddof=1) / speakers**0.5)
        limit = scipy.stats.t.ppf(1 - alpha / 2, speakers - 1)
        power = scipy.stats.nct.sf(limit, speakers - 1, shift)
        assert power == pytest.approx(0.8, abs=0.03)


def test_holm_by_hand():
    """Sorted .005 .01 .03 .04 times 4 3 2 1 = .02 .03 .06 .04; the last may not fall below .06."""
    assert statistics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert statistics.holm([0.6, 0.5]) == pytest.approx([1, 1])
    assert list(statistics.holm([])) == []


@pytest.mark.parametrize(
    ("count", "different", "expected"),
    [
        (1, set(), ["a"]),
        (3, set(), ["a", "a", "a"]),
        (2, {(0, 1)}, ["a", "b"]),
        (3, {(0, 2)}, ["a", "ab", "b"]),
        (3, {(0, 1), (0, 2), (1, 2)}, ["a", "b", "c"]),
        (4, {(0, 2), (0, 3), (1, 3)}, ["a", "ab", "bc", "c"]),
        (4, {(1, 2)}, ["ab", "a", "b", "ab"]),
        (5, {(0, 3), (0, 4), (1, 4), (2, 4)}, ["a", "ab", "ab", "bc", "c"]),
    ],
)
def test_letters_by_hand(count, different, expected):
    assert statistics.letters(count, different) == expected


@given(st.integers(1, 7).flatmap(lambda n: st.tuples(
    st.just(n), st.sets(st.sampled_from(list(combinations(range(n), 2)) or [(0, 0)])))))  # fmt: skip
@settings(deadline=None, max_examples=200)
def test_two_systems_share_a_letter_exactly_where_they_do_not_differ(case):
    count, different = case
    different = {pair for pair in different if pair[0] != pair[1]}
    shown = statistics.letters(count, different)
    assert "a" in shown[0] and all(shown)
    for i, j in combinations(range(count), 2):
        assert bool(set(shown[i]) & set(shown[j])) == ((i, j) not in different)
