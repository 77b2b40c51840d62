"""From predictions to rows: pooling, averages, ranks, ties, pairs."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest, t

from benchmark import metrics, scores
from benchmark.schema import SerbenchError
from benchmark.scores import Run

CLASSES = ("angry", "calm", "sad")
COLUMNS = (
    "rank, tie_group, system, family, pretraining, protocol, n_folds, n_seeds, trials, failed_trials, "
    "failed_runs, accuracy, accuracy_lo, accuracy_hi, accuracy_fold_mean, accuracy_seed_sd, uar, uar_lo, "
    "uar_hi, uar_fold_mean, uar_seed_sd, macro_f1, macro_f1_lo, macro_f1_hi, macro_f1_fold_mean, "
    "weighted_f1, macro_precision, weighted_precision, average_precision, auc, d_prime, ece, brier, "
    "parameters, search_seconds, cpu_hours, gpu_hours"
)  # DESIGN.md, 'The bundle'
COSTS = {"trials": 8, "failed_trials": 1, "failed_runs": 0, "parameters": 10, "search_seconds": 2.0}


def made_runs(system="svm", lean=1.0, speakers=10, folds=(1, 2), seeds=(1, 2), sizes=None, seed=0):
    """Runs whose folds hold different speakers and different numbers of clips."""
    generator = np.random.default_rng([seed, len(system), int(10 * lean)])
    runs = []
    for fold in folds:
        own = [f"s{i:02}" for i in range(speakers) if i % len(folds) == fold - 1]
        named = tuple(np.repeat(own, (sizes or {}).get(fold, 6)))
        truth = np.random.default_rng([fold, 5]).integers(0, 3, len(named))
        for n in seeds:
            p = generator.random((len(named), 3))
            p[np.arange(len(named)), truth] += lean * generator.random(len(named))
            p = np.round(p / p.sum(1, keepdims=True), 6)
            ids = tuple(f"f{fold}-{i}" for i in range(len(named)))
            runs.append(Run(system, "svm", "none", fold, n, ids, named, truth, p.argmax(1), p))
    return runs


def score(runs, costs=None, **options):
    costs = costs if costs is not None else {run.system: COSTS for run in runs}
    options = {"protocol": "made", "bootstrap_seed": 1, "resamples": 500} | options
    return scores.tables(runs, CLASSES, costs, **options)


def test_columns_are_those_of_the_design_in_its_order():
    assert ", ".join(scores.COLUMNS) == COLUMNS
    assert list(score(made_runs()).leaderboard[0]) == COLUMNS.split(", ")


def test_count_metrics_pool_the_clips_of_a_seed_then_average_over_seeds():
    runs = made_runs(sizes={1: 2, 2: 9})
    row = score(runs).leaderboard[0]
    pooled, by_fold = [], []
    for seed in (1, 2):
        own = [metrics.confusion(r.truth, r.predicted, 3) for r in runs if r.seed == seed]
        pooled.append(metrics.uar(own[0] + own[1]))
        by_fold += [metrics.uar(c) for c in own]
    assert row["uar"] == pytest.approx(np.mean(pooled), abs=1e-12)
    assert row["uar_fold_mean"] == pytest.approx(np.mean(by_fold), abs=1e-12)
    assert row["uar_seed_sd"] == pytest.approx(np.std(pooled, ddof=1), abs=1e-12)
    assert row["uar"] != pytest.approx(row["uar_fold_mean"], abs=1e-6)


def test_auc_is_per_fold_and_seed_weighted_by_clips_and_d_prime_follows_it():
    runs = made_runs(sizes={1: 2, 2: 9})
    row = score(runs).leaderboard[0]
    values = [metrics.auc(r.truth, r.probabilities) for r in runs]
    expected = np.average(values, weights=[len(r.ids) for r in runs])
    assert row["auc"] == pytest.approx(expected, abs=1e-12)
    assert row["auc"] != pytest.approx(np.mean(values), abs=1e-6)
    assert row["d_prime"] == pytest.approx(metrics.d_prime(expected), abs=1e-12)


def test_ece_and_brier_pool_the_folds_of_a_seed():
    runs = made_runs(sizes={1: 2, 2: 9})
    row = score(runs).leaderboard[0]
    for name in ("ece", "brier"):
        values = []
        for seed in (1, 2):
            own = [r for r in runs if r.seed == seed]
            truth, p = (np.concatenate([getattr(r, f) for r in own]) for f in ("truth", "probabilities"))
            values.append(metrics.METRICS[name].function(truth, p))
        assert row[name] == pytest.approx(np.mean(values), abs=1e-12)


def test_only_searched_systems_are_ranked_tied_and_paired():
    runs = [*made_runs("svm", 3.0), *made_runs("mlp", 0.5), *made_runs("svm-published", 5.0)]
    costs = {"svm": COSTS, "mlp": COSTS, "svm-published": {"trials": None}}
    tables = score(runs, costs)
    assert [row["system"] for row in tables.leaderboard] == ["svm", "mlp", "svm-published"]
    assert [row["rank"] for row in tables.leaderboard] == [1, 2, None]
    assert tables.leaderboard[2]["tie_group"] is None and tables.leaderboard[2]["uar_lo"] is not None
    assert [(pair["system_a"], pair["system_b"]) for pair in tables.pairwise] == [("svm", "mlp")]
    pair = tables.pairwise[0]
    assert list(pair) == list(scores.PAIR_COLUMNS)
    uar = {row["system"]: row["uar"] for row in tables.leaderboard}
    assert pair["effect"] == uar["svm"] - uar["mlp"]
    assert pair["lo"] < pair["effect"] < pair["hi"] and pair["p"] == pair["p_holm"]


def test_a_pair_says_what_seeds_add_what_clips_say_and_what_could_be_seen():
    runs = [*made_runs("svm", 1.2), *made_runs("mlp", 1.0), *made_runs("cnn", 0.8)]
    pairs = score(runs).pairwise
    for pair in pairs:
        assert pair["crossed_hi"] - pair["crossed_lo"] > pair["hi"] - pair["lo"] > 0
    one = pairs[0]
    clips = {}
    for run in runs:
        for id_, truth, predicted in zip(run.ids, run.truth, run.predicted, strict=True):
            clips.setdefault((run.system, id_), []).append((predicted, truth))
    # Two seeds: where they disagree the first class of the list counts
    right = {key: min(p for p, _ in votes) == votes[0][1] for key, votes in clips.items()}
    a, b = (
        {i for (s, i), good in right.items() if good and s == one[key]} for key in ("system_a", "system_b")
    )
    assert one["mcnemar_p"] == pytest.approx(binomtest(len(a - b), len(a ^ b)).pvalue, abs=1e-12)
    by_speaker = {}
    for run in runs:
        for name in set(run.speakers):
            own = np.array([s == name for s in run.speakers])
            counts = metrics.confusion(run.truth[own], run.predicted[own], 3)
            by_speaker.setdefault((run.system, name), []).append(metrics.uar(counts))
    names = sorted({name for _, name in by_speaker})
    a, b = ([np.mean(by_speaker[one[key], n]) for n in names] for key in ("system_a", "system_b"))
    factor = t.ppf(1 - 0.05 / 3 / 2, 9) + t.ppf(0.8, 9)
    expected = factor * np.std(np.subtract(a, b), ddof=1) / 10**0.5
    assert one["min_detectable"] == pytest.approx(expected, abs=1e-12)


def test_a_pair_does_not_depend_on_the_other_systems_but_for_the_correction():
    svm, mlp, cnn = (made_runs(name, lean) for name, lean in (("svm", 1.2), ("mlp", 1.0), ("cnn", 0.2)))
    (alone,), (among, *_) = score([*svm, *mlp]).pairwise, score([*svm, *mlp, *cnn]).pairwise
    corrected = ("p_holm", "min_detectable")
    assert {k: v for k, v in alone.items() if k not in corrected} == {
        k: v for k, v in among.items() if k not in corrected
    }
    assert alone["min_detectable"] < among["min_detectable"]


def test_one_seed_cannot_be_drawn_again():
    pair = score([*made_runs("svm", seeds=(1,)), *made_runs("mlp", 0.2)]).pairwise[0]
    assert pair["lo"] is not None and pair["crossed_lo"] is None and pair["mcnemar_p"] is not None


def test_letters_follow_the_corrected_p_values():
    runs = [*made_runs("far", 6.0, 16), *made_runs("low", 0.0, 16), *made_runs("mid", 0.1, 16)]
    tables = score(runs)
    by_system = {row["system"]: row["tie_group"] for row in tables.leaderboard}
    for pair in tables.pairwise:
        shared = set(by_system[pair["system_a"]]) & set(by_system[pair["system_b"]])
        assert bool(shared) == (pair["p_holm"] > 0.05)
    assert by_system["far"] == "a"
    assert len({frozenset(letters) for letters in by_system.values()}) == 2


def test_equal_systems_share_rank_and_letter():
    runs = made_runs("svm")
    twins = [replace(run, system="twin") for run in runs]
    tables = score([*runs, *twins])
    assert [(row["rank"], row["tie_group"]) for row in tables.leaderboard] == [(1, "a"), (1, "a")]
    assert tables.pairwise[0]["effect"] == 0 and tables.pairwise[0]["p_holm"] == 1


@pytest.mark.parametrize(("speakers", "enough"), [(7, False), (8, True)])
def test_below_8_speakers_intervals_and_ties_are_empty_with_the_reason(speakers, enough):
    tables = score([*made_runs("svm", speakers=speakers), *made_runs("mlp", 0.2, speakers=speakers)])
    row, pair, first = tables.leaderboard[0], tables.pairwise[0], tables.per_class["svm"][0]
    empty = [row["uar_lo"], row["accuracy_hi"], row["tie_group"], pair["p"], pair["lo"], first["recall_lo"]]
    empty += [pair[key] for key in ("crossed_lo", "crossed_hi", "mcnemar_p", "min_detectable")]
    assert all((value is not None) == enough for value in empty)
    assert row["rank"] == 1 and pair["effect"] is not None
    assert tables.interval["reason"] == ("" if enough else "7 test speakers: intervals and ties need 8")


def test_one_speaker_in_both_folds_is_one_cluster():
    """random-80-20 tests a speaker in every fold; clusters stay speakers."""
    runs = [replace(run, speakers=tuple(f"s{i % 8}" for i in range(len(run.ids)))) for run in made_runs()]
    assert score(runs).interval["speakers"] == 8


def test_per_class_rows_hold_the_confusion_matrix_and_an_absent_class():
    runs = made_runs(speakers=10)
    runs = [replace(r, truth=np.minimum(r.truth, 1)) for r in runs]  # 'sad' has no support
    rows = score(runs).per_class["svm"]
    assert [row["class"] for row in rows] == list(CLASSES)
    pooled = sum(metrics.confusion(r.truth, r.predicted, 3) for r in runs) / 2
    assert np.array([[row[f"as_{c}"] for c in CLASSES] for row in rows]) == pytest.approx(pooled)
    assert rows[2]["support"] == 0 and rows[2]["recall"] == 0 and rows[2]["recall_lo"] is None
    assert rows[0]["recall_lo"] <= rows[0]["recall"] <= rows[0]["recall_hi"]


def test_one_seed_has_no_spread():
    assert score(made_runs(seeds=(1,))).leaderboard[0]["uar_seed_sd"] is None


def test_a_missing_run_is_an_error_not_a_smaller_mean():
    with pytest.raises(SerbenchError, match="every seed needs one run in each fold"):
        score(made_runs()[:-1])


def test_order_of_runs_and_systems_changes_nothing():
    runs = [*made_runs("svm", 1.0), *made_runs("mlp", 0.9)]
    assert score(runs) == score(runs[::-1])
