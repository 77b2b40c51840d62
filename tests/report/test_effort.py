"""What a search reached for its effort: against brute force, simulation and cases known by hand."""

from itertools import combinations

import numpy as np
import pytest

from benchmark.report import effort


def trial(score, state="COMPLETE", seconds=36, **params):
    return {"state": state, "score": "" if score is None else str(score), "seconds": str(seconds)} | {
        f"param.{name}": str(value) for name, value in params.items()
    }


def test_expected_maximum_is_the_mean_over_all_subsets():
    scores = [0.3, 0.1, 0.9, 0.4, 0.4, 0.6]
    found = effort.expected_maximum(scores)
    for k in range(1, 7):
        assert found[k - 1] == pytest.approx(np.mean([max(c) for c in combinations(scores, k)]))
    assert effort.expected_maximum([]).shape == (0,)


def test_expected_maximum_is_unbiased_for_independent_draws():
    draws = np.random.default_rng(0).uniform(size=(4000, 6))
    mean = np.mean([effort.expected_maximum(row) for row in draws], axis=0)
    assert mean == pytest.approx([k / (k + 1) for k in range(1, 7)], abs=0.01)


def test_a_long_search_stays_exact():
    found = effort.expected_maximum(list(range(200)))
    assert found[0] == pytest.approx(99.5) and found[-1] == pytest.approx(199) and (np.diff(found) > 0).all()


def test_best_so_far_counts_complete_trials_alone():
    trials = [trial(None, "FAILED"), trial(0.4), trial(0.9, "PRUNED"), trial(0.3), trial(0.5)]
    assert effort.best_so_far(trials) == pytest.approx([np.nan, 0.4, 0.4, 0.4, 0.5], nan_ok=True)
    assert effort.random_curve([trial(0.5), trial(None, "FAILED")]) == pytest.approx([0.25, 0.5])
    assert effort.hours(trials, 2.0) == pytest.approx([0.02] * 5)


def test_a_step_function_is_held_between_its_points():
    found = effort.held(np.array([1.0, 2.0]), np.array([0.3, 0.5]), np.array([0.5, 1.0, 1.9, 5.0]))
    assert found == pytest.approx([np.nan, 0.3, 0.3, 0.5], nan_ok=True)


def test_variance_shares_find_the_hyperparameter_that_matters():
    generator = np.random.default_rng(3)
    folds = []
    for offset in (0.0, 0.4):  # a harder fold must not pass for an effect
        a, b = generator.uniform(size=80), generator.choice(["x", "y"], size=80)
        unset = generator.uniform(size=80) < 0.5
        folds.append([
            trial(offset + 0.1 * u + 0.001 * generator.normal(), a=u, b=v, c="" if off else 1.5, d=1)
            for u, v, off in zip(a, b, unset, strict=True)
        ])  # fmt: skip
    shares = effort.variance_shares(folds)
    assert next(iter(shares)) == "a" and shares["a"] > 0.85
    assert shares["b"] < 0.05 and shares["c"] < 0.05 and shares["d"] == 0.0


def test_noise_explains_nothing_on_average():
    generator = np.random.default_rng(4)
    found = [
        effort.variance_shares([[trial(s, a=u) for s, u in generator.uniform(size=(40, 2))]])["a"]
        for _ in range(200)
    ]
    assert np.median(found) < 0.02 and np.mean(found) < 0.05


def test_variance_shares_of_too_few_trials_are_none_or_nothing():
    assert effort.variance_shares([]) == {} and effort.variance_shares([[trial(0.5, a=1)]]) == {}
    assert effort.variance_shares([[trial(0.5, a=1), trial(0.5, a=2)]]) == {"a": 0.0}


def test_levels_cut_numbers_at_quartiles_and_keep_names():
    assert list(effort.levels(["10", "9", "", "10"])) == [1, 2, 0, 1]
    assert list(effort.levels([str(n) for n in range(1, 9)])) == [0, 0, 1, 1, 2, 2, 3, 3]
    assert effort.levels(["1", "2", "3", "4", "5", ""])[-1] == effort.BINS
